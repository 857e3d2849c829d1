"""Flags: which share of partitions and items something is enabled for, and what is wrong with them.

A flag holds for a key by a hash of both, so that the answer never changes while the share does not,
and a larger share only adds keys.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, NamedTuple

from pydantic import Field, StringConstraints, field_serializer

from orchestration_project.engine.contracts.edits import (
    MAX_NAME_CHARACTERS,
    REMEDY,
    Definition,
    EditConflictError,
    EditedKind,
    Stored,
)
from orchestration_project.engine.contracts.moments import Moment
from orchestration_project.errors import ConfigurationError, did_you_mean

MAX_LISTED_KEYS = 500
POSITIONS = 2**64
TIME = "%Y-%m-%d %H:%M UTC"

Key = Annotated[str, StringConstraints(min_length=1, max_length=MAX_NAME_CHARACTERS)]


class Flag(Definition):
    """A flag.

    The API, the edits and their differences have these fields; `operations_flags` has a column for
    each.
    """

    share: float = Field(
        default=0.0,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="Share of keys that it holds for, 0 to 1",
    )
    listed_keys: list[Key] = Field(
        default=[],
        max_length=MAX_LISTED_KEYS,
        description="Keys that it always holds for, such as partitions",
    )
    owner: str = Field(
        min_length=1,
        max_length=MAX_NAME_CHARACTERS,
        description="Person or team that answers for it",
    )
    expires_at: Moment | None = Field(
        default=None, description="Time from which it holds for no key; null: never"
    )

    @field_serializer("expires_at")
    def _as_text(self, value: datetime | None) -> str | None:
        return None if value is None else value.isoformat()

    @property
    def expiry(self) -> str:
        """Time from which it holds for no key, as text in UTC."""
        return "never" if self.expires_at is None else f"{self.expires_at:{TIME}}"

    def is_expired(self, now: datetime) -> bool:
        """Whether it holds for no key any more."""
        return self.expires_at is not None and self.expires_at <= now

    def holds_for(self, key: str) -> bool:
        """Whether its list or its share has a key; it may have expired."""
        return key in self.listed_keys or compute_position(self.name, key) < int(
            self.share * POSITIONS
        )


FLAG_KIND = EditedKind(
    "flag", Flag, "name and owner, e.g. {name: new_layout, share: 0.1, owner: ada}"
)

StoredFlag = Stored[Flag]


def compute_position(flag: str, key: str) -> int:
    """Return where a key stands among all keys of a flag, 0 to 2**64 - 1.

    It is the first 8 bytes, big-endian, of the SHA-256 of the flag's name, a NUL byte and the key,
    in UTF-8. A flag with ``share`` holds for positions below ``share * 2**64``.
    """
    content = flag.encode() + b"\0" + key.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "big")


@dataclass(frozen=True)
class FlagSet:
    """The flags in effect at a time.

    Attributes:
        flags: Flags by name.
        now: Time at which flags may have expired.
    """

    flags: Mapping[str, Flag]
    now: datetime

    def why_off(self, name: str, key: str) -> str:
        """Return why a flag does not hold for a key; empty: it does."""
        flag = self.flags.get(name)
        if flag is None:
            return f"the flag {name} does not exist, so it is off"
        if flag.is_expired(self.now):
            return f"the flag {name} of {flag.owner} expired at {flag.expiry}"
        return "" if flag.holds_for(key) else f"the flag {name} is off for {key[:200]}"


def require_unexpired(flag: Flag, now: datetime) -> None:
    """Make sure that a flag may hold for a key.

    Raises:
        ConfigurationError: It has expired.
    """
    if flag.is_expired(now):
        raise ConfigurationError(
            "invalid flag: expected expires_at after now",
            expected=f"a time after {now:{TIME}}, or null",
            found=flag.expiry,
            remedy=REMEDY,
        )


class FlagUse(NamedTuple):
    """A use of a flag: its name, and what uses it, such as ``schedule nightly``."""

    flag: str
    used_by: str


def group_uses(uses: Sequence[FlagUse]) -> Mapping[str, list[str]]:
    """Return the names of the users of each flag, sorted."""
    names: dict[str, list[str]] = {}
    for use in sorted(set(uses)):
        names.setdefault(use.flag, []).append(use.used_by)
    return names


def find_problems(
    flags: Sequence[Flag], used: Mapping[str, Sequence[str]], now: datetime
) -> list[str]:
    """Return each expired flag, each that nothing uses, and each use of a missing one."""
    names = [flag.name for flag in flags]
    problems = [
        f"{flag.name} of {flag.owner} expired at {flag.expiry}: it is off"
        for flag in flags
        if flag.is_expired(now)
    ]
    problems += [
        f"nothing uses {flag.name} of {flag.owner}" for flag in flags if flag.name not in used
    ]
    for name in sorted(used.keys() - set(names)):
        guess = did_you_mean(name, names)
        hint = f"; {guess}" if guess else ""
        problems.append(f"{name} does not exist, so it is off for {_list_names(used[name])}{hint}")
    return problems


def require_unused(name: str, used: Mapping[str, Sequence[str]]) -> None:
    """Make sure that a flag can be deleted.

    Raises:
        EditConflictError: Something uses it.
    """
    if names := used.get(name):
        raise EditConflictError(
            f"the flag {name} is in use",
            expected="a flag that nothing uses",
            found=_list_names(names),
            remedy="remove the flag from what uses it, or set share: 0 to switch it off",
        )


def _list_names(names: Sequence[str]) -> str:
    remaining_text = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return ", ".join(names[:10]) + remaining_text
