"""The configuration that is in effect: each value with its origin, a hash, and what changed.

Secrets take no part, not even as digests: a digest that everybody can read invites guessing, and a
password that was changed as it should be is not a drift. Whether one is set does take part.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

HASH_DIGITS = 16
"""Hex digits of a SHA-256: 64 bits need no protection against forgery here, and fit a tag."""


@dataclass(frozen=True)
class ConfigValue:
    """A value as it is shown, and where it comes from: default, file, environment or a preset."""

    value: str
    origin: str


@dataclass(frozen=True)
class ConfigDifference:
    """A value that is another than it was; empty text where there is, or was, none."""

    name: str
    before: str
    now: str
    origin: str


@dataclass(frozen=True)
class EffectiveConfig:
    """All values by name, without secrets, and the names of those that change no result."""

    entries: Mapping[str, ConfigValue]
    without_effect: frozenset[str] = field(default=frozenset(), compare=False)

    @cached_property
    def config_hash(self) -> str:
        """The hash of the values that change results, wherever they come from."""
        return self._hash(without=self.without_effect)

    @cached_property
    def full_hash(self) -> str:
        """The hash of all values: what was found under others may not hold."""
        return self._hash(without=frozenset())

    def _hash(self, *, without: frozenset[str]) -> str:
        values = {name: entry.value for name, entry in self.entries.items() if name not in without}
        text = json.dumps(values, sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()[:HASH_DIGITS]

    def to_json(self) -> str:
        """Return the entries as a JSON object by name."""
        return json.dumps({name: asdict(entry) for name, entry in self.entries.items()})

    @classmethod
    def from_json(cls, text: str) -> "EffectiveConfig":
        """Return the configuration that `to_json` wrote."""
        document: Mapping[str, Mapping[str, str]] = json.loads(text)
        return cls({name: ConfigValue(**entry) for name, entry in document.items()})


def compare_configs(before: EffectiveConfig, now: EffectiveConfig) -> Sequence[ConfigDifference]:
    """Return the changed values, by name."""
    nothing = ConfigValue("", "")
    names = sorted({*before.entries, *now.entries})
    pairs = ((text, before.entries.get(text, nothing), now.entries.get(text)) for text in names)
    return [
        ConfigDifference(
            name, old.value, new.value if new else "", new.origin if new else "removed"
        )
        for name, old, new in pairs
        if new is None or old.value != new.value or name not in before.entries
    ]


def collect_leaves(tree: Mapping[str, Any], *above: str) -> Mapping[str, str]:
    """Return the values of a run's config by their path, such as `ops.load.config.full`."""
    names: dict[str, str] = {}
    for name, value in tree.items():
        path = (*above, str(name))
        if isinstance(value, Mapping):
            names |= collect_leaves(value, *path)
        else:
            names[".".join(path)] = json.dumps(value, default=str)  # YAML knows days
    return names
