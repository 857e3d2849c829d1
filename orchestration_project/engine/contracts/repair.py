"""Damaged artifacts: how one can be repaired, how a repair ends, and what is lost without it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal

DAMAGED = "damaged/"
"""Prefix of the names of objects that repairs set aside, by day, and of those they write."""

SET_ASIDE = re.compile(rf"{DAMAGED}(\d{{4}}-\d\d-\d\d)/.", re.ASCII)

Problem = Literal["missing", "truncated", "changed", "unreadable"]
"""How an object differs from what was stored."""

Way = Literal["copy", "source", "derived"]
"""Origin of the bytes of a repair: a copy or backup, the source, or rows and other artifacts."""

WAYS: Sequence[Way] = ("copy", "source", "derived")
"""In the order in which they are tried: the cheapest one first."""

State = Literal["damaged", "repaired", "rederived", "lost"]

Result = Literal["repaired", "rederived", "absent", "other_bytes", "failed"]
"""Result of a way: it has the same bytes, or equal rows in other bytes; it does not have them; it
has other bytes; or it failed and may succeed later."""

NAMES: Mapping[Way, str] = {
    "copy": "the copy",
    "source": "the source",
    "derived": "a derivation",
}

RESULTS: Mapping[Result, str] = {
    "repaired": "has the bytes",
    "rederived": "has equal rows in other bytes",
    "absent": "does not have the bytes",
    "other_bytes": "has other bytes",
    "failed": "failed",
}


@dataclass(frozen=True)
class Attempt:
    """One way that was tried.

    Attributes:
        way: The way.
        result: How it ended.
        reason: What was found, for people; empty: the result says it.
    """

    way: Way
    result: Result
    reason: str = ""

    def __str__(self) -> str:
        """Return a clause for people."""
        text = f"{NAMES[self.way]} {RESULTS[self.result]}"
        return f"{text} ({self.reason})" if self.reason else text


@dataclass(frozen=True)
class Outcome:
    """State of a damaged artifact after the ways that were tried.

    Attributes:
        state: damaged: a way failed and may succeed later.
        way: The way that repaired it.
        reason: What each way found, a sentence.
    """

    state: State
    way: Way | None
    reason: str


def is_expired(name: str, today: date, days: int) -> bool:
    """Return whether an object was set aside by a repair ``days`` or more before today."""
    match = SET_ASIDE.match(name)
    try:
        day = date.fromisoformat(match[1]) if match else None
    except ValueError:  # such as a month 13: not a name of ours
        day = None
    return day is not None and day <= today - timedelta(days=days)


def derive_outcome(attempts: Sequence[Attempt]) -> Outcome:
    """Return the state after attempts, of which the last one may have repaired the artifact.

    It is lost once every way is known not to have the bytes, or there is none; a way that failed
    may have them.
    """
    reason = (
        "; ".join(map(str, attempts))
        or "nothing has its bytes: no copy is named, and no source or rows have them"
    )
    last = attempts[-1] if attempts else None
    if last is not None and (last.result == "repaired" or last.result == "rederived"):
        return Outcome(last.result, last.way, reason)
    is_open = any(attempt.result == "failed" for attempt in attempts)
    return Outcome("damaged" if is_open else "lost", None, reason)


@dataclass(frozen=True)
class LostCapture:
    """A capture whose bytes are lost.

    Attributes:
        source: Source of its delivery.
        dataset: Dataset in the source.
        partition_key: Its partition.
        fetched_at: When it was fetched, UTC.
        rows: Rows that were read from it and are in the database, by table.
        later_at: When the next capture of the partition with whole bytes was fetched; None: none.
    """

    source: str
    dataset: str
    partition_key: str
    fetched_at: datetime
    rows: Mapping[str, int]
    later_at: datetime | None


MAX_CAPTURES_NAMED = 3


def explain_loss(captures: Sequence[LostCapture]) -> str:
    """Return sentences about the data that is lost with the bytes of these captures."""
    if not captures:
        return "Bytes that no capture needs are lost."
    names = [_describe_capture(capture) for capture in captures[:MAX_CAPTURES_NAMED]]
    number = len(captures) - MAX_CAPTURES_NAMED
    return " ".join(
        [*names, f"{number} other captures had the same bytes."] if number > 0 else names
    )


def _describe_capture(capture: LostCapture) -> str:
    text = f"{capture.dataset} of {capture.source}"
    what = f"The bytes of {text}, partition {capture.partition_key}, fetched at "
    rows = ", ".join(f"{count} rows in {name}" for name, count in sorted(capture.rows.items()))
    rows = f"the database still has {rows}" if rows else "no current row was read from them"
    later = (
        f"a later capture of {_format_minute(capture.later_at)} is whole"
        if capture.later_at
        else "no later capture is whole"
    )
    return f"{what}{_format_minute(capture.fetched_at)}, are lost; {rows}; {later}."


def _format_minute(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
