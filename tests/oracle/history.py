"""Folds deliveries into current rows and history (SCD2) with the clocks of load and source."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo

from tests.oracle.archive import Row, index_rows
from tests.oracle.documented import is_dated, key_of
from tests.oracle.tables import METADATA, PARSERS, partition_of

NEW_YORK = ZoneInfo("America/New_York")
UNCOMPARED = ("capture_id", "known_from")
"""Columns of a row that are not values of the source."""


@dataclass
class Folded:
    """A table after its deliveries, and by delivery: counts of rows, and day of publication."""

    name: str
    current: dict[tuple, Row] = field(default_factory=dict)
    history: list[Row] = field(default_factory=list)
    rejects: list[Row] = field(default_factory=list)
    loads: dict[str, str] = field(default_factory=dict)
    counts: dict[str, tuple[int, ...]] = field(default_factory=dict)
    published: dict[str, tuple[str, bool]] = field(default_factory=dict)

    @property
    def rows(self) -> list[Row]:
        """The current rows."""
        return list(self.current.values())

    def load(
        self, delivery: Row, rows: dict[tuple, Row], is_in_scope: Callable[[Row], bool]
    ) -> None:
        """Load the rows of a delivery, which is complete for the rows in its scope."""
        at = delivery["landed_at"] or ""
        loaded = {key: row for key, row in self.current.items() if is_in_scope(row)}
        ended: Row = {"known_to": at, "rule_version": delivery["rule_version"]}
        if is_dated(self.name):
            published = publication_day(rows.values(), loaded.values(), at)
            self.published[delivery["group_id"]] = published
            ended |= dict(zip(("ended_on", "is_load_day"), published, strict=True))
        differing = {
            key: {name for name in row if name not in UNCOMPARED and row[name] != loaded[key][name]}
            for key, row in rows.items()
            if key in loaded
        }
        changed = [key for key, names in differing.items() if names]
        removed, added = loaded.keys() - rows.keys(), rows.keys() - loaded.keys()
        for key in (*changed, *removed):
            only_metadata = key in rows and differing[key] <= set(METADATA)
            cause = "metadata" if only_metadata else "source"
            self.history.append(self.current.pop(key) | ended | {"change_cause": cause})
        for key in (*changed, *added):
            self.current[key] = rows[key] | {"known_from": at}
        self.loads[delivery["partition_key"]] = at
        sizes = len(added), len(changed), len(removed), len(differing) - len(changed)
        self.counts[delivery["group_id"]] = sizes

    def as_of(self, moment: str) -> list[Row]:
        """Return the rows that were known at a time, written as the exports write it."""
        current = [row for row in self.rows if row["known_from"] <= moment]
        past = [row for row in self.history if row["known_from"] <= moment < row["known_to"]]
        return self.choose_columns(current + past)

    def published_by(self, day: str) -> list[Row]:
        """Return the rows as their source had published them by a day, whenever they were loaded.

        A row counts from its last_update_date and ends on the day of its next delivery; of two
        states of one day the later delivery counts.
        """
        states = sorted([*self.history, *self.rows], key=lambda row: row["known_from"])
        begun = (row for row in states if (row["last_update_date"] or "9999") <= day)
        held = (row for row in begun if row.get("ended_on") is None or row["ended_on"] > day)
        return self.choose_columns(index_rows(held, key_of(self.name)).values())

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
                folded.load(delivery, parsed.rows, scope_of(delivery))
    return folded


def scope_of(delivery: Row) -> Callable[[Row], bool]:
    """Return which rows a delivery is complete for: those of its partition, and of its days."""
    key, ranges = key_of(delivery["table_name"]), json.loads(delivery["scope"]).items()
    return lambda row: (
        partition_of(row, key) == delivery["partition_key"]
        and all(days["first"] <= row[name] <= days["last"] for name, days in ranges)
    )


def publication_day(
    delivered: Iterable[Row], loaded: Iterable[Row], landed_at: str
) -> tuple[str, bool]:
    """Return the day on which a delivery was published, and whether it is that of its load.

    It is the latest day of change of its rows, not after the load. If that is not later than
    any loaded row's, it is the day of the load in New York.
    """
    load_day = datetime.fromisoformat(landed_at).astimezone(NEW_YORK).date().isoformat()
    days = {row["last_update_date"] for row in delivered} - {None}
    latest = max((day for day in days if day <= load_day), default="")
    previous = max((row["last_update_date"] or "" for row in loaded), default="")
    is_load_day = latest <= previous
    return (load_day if is_load_day else latest), is_load_day


def difference(before: Iterable[Row], after: Iterable[Row], key: Sequence[str]) -> list[Row]:
    """Return the rows that were added, changed or removed between two states of a table."""
    old, new = index_rows(before, key), index_rows(after, key)
    changes = []
    for place in old.keys() | new.keys():
        was, becomes = old.get(place), new.get(place)
        if was != becomes:
            kind = "added" if was is None else "removed" if becomes is None else "changed"
            row = dict(zip(key, place, strict=True)) | {"change": kind}
            for name in (was or becomes or {}).keys() - set(key):
                row[f"old_{name}"] = was and was[name]
                row[f"new_{name}"] = becomes and becomes[name]
            changes.append(row)
    return changes
