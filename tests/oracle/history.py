"""Folds deliveries into current rows and history (SCD2) with the clocks of load and source."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from tests.oracle.archive import Row

NEW_YORK = ZoneInfo("America/New_York")
UNCOMPARED = ("capture_id", "known_from")
"""Columns of a row that are not values of the source."""


@dataclass
class Table:
    """Current rows by key, replaced and removed rows, and the publication day by scope."""

    key: Sequence[str]
    metadata: Sequence[str] = ()
    is_dated: bool = False
    rows: dict[tuple, Row] = field(default_factory=dict)
    history: list[Row] = field(default_factory=list)
    published: dict[object, tuple[str | None, bool | None]] = field(default_factory=dict)

    def load(
        self,
        delivered: dict[tuple, Row],
        landed_at: str,
        rule_version: str,
        is_in_scope: Callable[[Row], bool],
        scope: object = None,
        is_removing: bool = True,
    ) -> tuple[int, int, int, int]:
        """Load a delivery; return the rows added, changed, removed and unchanged."""
        loaded = {key: row for key, row in self.rows.items() if is_in_scope(row)}
        ended_on, is_load_day = self.publication_day(delivered, landed_at, scope, loaded)
        added = changed = removed = 0
        for key, row in delivered.items():
            old = loaded.get(key)
            if old is not None and not self.differing(old, row):
                continue
            if old is None:
                added += 1
            else:
                changed += 1
                only_metadata = self.differing(old, row) <= set(self.metadata)
                cause = "metadata" if only_metadata else "source"
                self.end(old, landed_at, cause, rule_version, ended_on, is_load_day)
            self.rows[key] = row | {"known_from": landed_at}
        if is_removing:
            for key in loaded.keys() - delivered.keys():
                removed += 1
                self.end(
                    self.rows.pop(key), landed_at, "source", rule_version, ended_on, is_load_day
                )
        return added, changed, removed, len(delivered) - added - changed

    def differing(self, old: Row, new: Row) -> set[str]:
        """Return the columns in which two rows of a key differ."""
        return {name for name in new if name not in UNCOMPARED and old[name] != new[name]}

    def end(
        self,
        old: Row,
        known_to: str,
        cause: str,
        rule_version: str,
        ended_on: str | None,
        is_load_day: bool | None,
    ) -> None:
        """Move a row to the history."""
        state = old | {"known_to": known_to, "change_cause": cause, "rule_version": rule_version}
        if self.is_dated:
            state |= {"ended_on": ended_on, "is_load_day": is_load_day}
        self.history.append(state)

    def publication_day(
        self, delivered: dict[tuple, Row], landed_at: str, scope: object, loaded: dict[tuple, Row]
    ) -> tuple[str | None, bool | None]:
        """Return the day on which a delivery was published, and whether it is that of its load.

        It is the latest day of change of its rows, not after the load. If that is not later than
        any loaded row's, it is the day of the load in New York.
        """
        if not self.is_dated:
            return None, None
        load_day = day_in_new_york(landed_at).isoformat()
        days = {row["last_update_date"] for row in delivered.values()} - {None}
        latest = max((day for day in days if day <= load_day), default=None)
        previous = max(
            (row["last_update_date"] for row in loaded.values() if row["last_update_date"]),
            default=None,
        )
        is_load_day = latest is None or (previous is not None and latest <= previous)
        self.published[scope] = (load_day if is_load_day else latest, is_load_day)
        return self.published[scope]

    def as_of(self, moment: str) -> list[Row]:
        """Return the rows that were known at a time, written as the exports write it."""
        current = [row for row in self.rows.values() if row["known_from"] <= moment]
        past = [row for row in self.history if row["known_from"] <= moment < row["known_to"]]
        return self.ordered(current + past)

    def published_by(self, day: str) -> list[Row]:
        """Return the rows as their source had published them by a day, whenever they were loaded.

        A row counts from its last_update_date and ends on the day of its next delivery; of two
        states of one day the later delivery counts.
        """
        states: dict[tuple, Row] = {}
        for row in sorted([*self.history, *self.rows.values()], key=lambda row: row["known_from"]):
            begin, end = row["last_update_date"], row.get("ended_on")
            if begin is not None and begin <= day and (end is None or end > day):
                states[tuple(row[name] for name in self.key)] = row
        return self.ordered(states.values())

    def ordered(self, rows: Iterable[Row]) -> list[Row]:
        """Return rows by key, with the columns of the table alone."""
        names = next(iter(self.rows.values()), {}).keys()
        chosen = [{name: row[name] for name in names} for row in rows]
        return sorted(chosen, key=lambda row: tuple(row[name] for name in self.key))


def difference(before: Iterable[Row], after: Iterable[Row], key: Sequence[str]) -> list[Row]:
    """Return the rows that were added, changed or removed between two states of a table."""
    old = {tuple(row[name] for name in key): row for row in before}
    new = {tuple(row[name] for name in key): row for row in after}
    changes = []
    for place in sorted(old.keys() | new.keys()):
        was, is_now = old.get(place), new.get(place)
        if was == is_now:
            continue
        change = "added" if was is None else "removed" if is_now is None else "changed"
        row = dict(zip(key, place, strict=True)) | {"change": change}
        for name in was or is_now or {}:
            if name not in key:
                row[f"old_{name}"] = was and was[name]
                row[f"new_{name}"] = is_now and is_now[name]
        changes.append(row)
    return changes


def day_in_new_york(moment: str) -> date:
    """Return the day of a UTC time in New York."""
    return datetime.fromisoformat(moment).astimezone(NEW_YORK).date()


def write_moment(moment: datetime) -> str:
    """Return a time as the exports write it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
