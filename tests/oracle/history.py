"""Compares states of tables, and folds deliveries into rows and history (SCD2) with both clocks."""

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from operator import eq
from zoneinfo import ZoneInfo

from tests.oracle.inputs import Row, index_rows, is_dated, key_of, place_of
from tests.oracle.readers import METADATA, PARSERS, partition_of

MAX_RELATIVE_ERROR = 1e-12
"""A double of two orders of summing; exact values have no tolerance."""

NO_COLUMN = "no column"

NEW_YORK = ZoneInfo("America/New_York")
UNCOMPARED = ("capture_id", "known_from")
"""Columns of a row that are not values of the source."""


def compare_states(
    old: Mapping[tuple, Row],
    new: Mapping[tuple, Row],
    uncompared: Collection[str] = (),
    is_equal: Callable[[object, object], bool] = eq,
) -> Iterator[tuple[tuple, str, list[tuple]]]:
    """Yield each row's key, its kind of change, and column, old and new of values that differ."""
    for place in sorted(old.keys() | new.keys(), key=repr):
        was, becomes = old.get(place, {}), new.get(place, {})
        names = (was.keys() | becomes.keys()).difference(uncompared)
        values = ((name, was.get(name, NO_COLUMN), becomes.get(name, NO_COLUMN)) for name in names)
        differing = [(name, *pair) for name, *pair in values if not is_equal(*pair)]
        kind = "changed" if differing else "unchanged"
        yield place, "added" if not was else kind if becomes else "removed", differing


def difference(before: Iterable[Row], after: Iterable[Row], key: Sequence[str]) -> list[Row]:
    """Return the rows that were added, changed or removed between two states of a table."""
    old, new = index_rows(before, key), index_rows(after, key)
    changes = []
    for place, kind, _ in compare_states(old, new):
        if kind != "unchanged":
            was, becomes = old.get(place, {}), new.get(place, {})
            row = dict(zip(key, place, strict=True)) | {"change": kind}
            for name in (was or becomes).keys() - set(key):
                row |= {f"old_{name}": was.get(name), f"new_{name}": becomes.get(name)}
            changes.append(row)
    return changes


def compare(
    expected: Iterable[Row], exported: Sequence[Row], key: Sequence[str]
) -> tuple[int, list[tuple]]:
    """Return the number of compared values, and key, column, expected and exported of others."""
    left, right = index_rows(expected, key), index_rows(exported, key)
    counts = Counter(place_of(row, key) for row in exported)
    differences: list[tuple] = [
        (place, "key", 1, number) for place, number in counts.items() if number > 1
    ]
    count = 0
    for place, kind, differing in compare_states(left, right, is_equal=is_equal):
        if kind in ("added", "removed"):
            differences.append((place, "row", place in left, place in right))
        else:
            count += len(left[place].keys() | right[place].keys())
            differences += [(place, *values) for values in differing]
    return count, differences


def is_equal(expected: object, exported: object) -> bool:
    """Return whether two values are equal; a decimal is exported as text with six decimals."""
    if isinstance(expected, float) and isinstance(exported, float | int):
        return abs(expected - exported) <= MAX_RELATIVE_ERROR * max(1.0, abs(expected))
    if isinstance(expected, Decimal):
        return f"{expected:.6f}" == exported
    return expected == exported and isinstance(expected, bool) == isinstance(exported, bool)


@dataclass
class Folded:
    """A table after its deliveries, and by delivery: counts of rows, and day of publication."""

    name: str
    current: dict[tuple, Row] = field(default_factory=dict)
    history: list[Row] = field(default_factory=list)
    rejects: list[Row] = field(default_factory=list)
    loads: dict[str, str] = field(default_factory=dict)
    counts: dict[str, Counter[str]] = field(default_factory=dict)
    published: dict[str, tuple[str, bool]] = field(default_factory=dict)

    @property
    def rows(self) -> list[Row]:
        return list(self.current.values())

    def load(self, delivery: Row, rows: dict[tuple, Row]) -> None:
        """Load the rows of a delivery, which is complete for its partition, and there its days."""
        at, group, key = delivery["landed_at"], delivery["group_id"], key_of(self.name)
        ranges = json.loads(delivery["scope"]).items()
        loaded = {
            place: row
            for place, row in self.current.items()
            if partition_of(row, key) == delivery["partition_key"]
            and all(days["first"] <= row[name] <= days["last"] for name, days in ranges)
        }
        ended: Row = {"known_to": at, "rule_version": delivery["rule_version"]}
        if is_dated(self.name):
            self.published[group] = publication_day(rows.values(), loaded.values(), at)
            ended |= dict(zip(("ended_on", "is_load_day"), self.published[group], strict=True))
        counts = self.counts[group] = Counter()
        for place, kind, differing in compare_states(loaded, rows, UNCOMPARED):
            counts[kind] += 1
            if kind in ("changed", "removed"):
                is_metadata = kind == "changed" and {name for name, *_ in differing} <= METADATA
                ended["change_cause"] = "metadata" if is_metadata else "source"
                self.history.append(self.current.pop(place) | ended)
            if kind in ("added", "changed"):
                self.current[place] = rows[place] | {"known_from": at}
        self.loads[delivery["partition_key"]] = at

    def as_of(self, moment: str) -> list[Row]:
        """Return the rows that were known at a time, written as the exports write it."""
        known = (row for row in [*self.history, *self.rows] if row["known_from"] <= moment)
        return self.choose_columns(row for row in known if moment < row.get("known_to", "9999"))

    def published_by(self, day: str) -> list[Row]:
        """Return the rows as their source had published them by a day, whenever they were loaded.

        Of two states of one day the later delivery counts.
        """
        states = sorted([*self.history, *self.rows], key=lambda row: row["known_from"])
        begun = (row for row in states if (row["last_update_date"] or "9999") <= day)
        held = (row for row in begun if row.get("ended_on", "9999") > day)
        return self.choose_columns(index_rows(held, key_of(self.name)).values())

    def published_table(self, day: str) -> "Folded":
        """Return the table by publication; a partition is loaded with the latest of its rows."""
        rows, key = self.published_by(day), key_of(self.name)
        by_load = sorted(rows, key=lambda row: row["known_from"])
        loads = {partition_of(row, key): row["known_from"] for row in by_load}
        return Folded(self.name, index_rows(rows, key), loads=loads)

    def choose_columns(self, rows: Iterable[Row]) -> list[Row]:
        """Return rows with the columns of the table alone."""
        names = next(iter(self.rows), {}).keys()
        return [{name: row[name] for name in names} for row in rows]


def fold(deliveries: Iterable[Row], name: str) -> Folded:
    """Fold the deliveries of a table that is loaded by partitions, in the order of their loads."""
    folded = Folded(name)
    for delivery in deliveries:
        if delivery["table_name"] == name:
            parsed = PARSERS[name](delivery)
            folded.rejects += parsed.rejects
            if delivery["landed_at"]:
                folded.load(delivery, parsed.rows)
    return folded


def publication_day(
    delivered: Iterable[Row], loaded: Iterable[Row], landed_at: str
) -> tuple[str, bool]:
    """Return the latest day of change of delivered rows, not after their load in New York.

    If it is not later than any loaded row's, return the day of the load; and whether that is so.
    """
    load_day = datetime.fromisoformat(landed_at).astimezone(NEW_YORK).date().isoformat()
    days = {row["last_update_date"] for row in delivered} - {None}
    latest = max((day for day in days if day <= load_day), default="")
    previous = max((row["last_update_date"] or "" for row in loaded), default="")
    is_load_day = latest <= previous
    return (load_day if is_load_day else latest), is_load_day
