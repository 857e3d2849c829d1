"""The ticks of a pair of systems: its interval, whether it is paused, and its latest looks."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select, update

from orchestration_project.domains.saas.tables import saas_ticks
from orchestration_project.domains.saas.ticks import Tick
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.frames import insert_absent

PEOPLEFORCE_JIRA = "peopleforce>jira"

DEFAULT_INTERVAL = timedelta(minutes=5)
"""From one look to the next, until a row of saas_ticks says otherwise."""


@dataclass(frozen=True)
class Ticks:
    """The tick of one pair; each method is one transaction."""

    warehouse: Warehouse
    pair: str

    def tick(self) -> Tick:
        """Return it as it is."""
        with self.warehouse.reading() as connection:
            row = connection.execute(select(saas_ticks).where(self._is_it)).mappings().first()
        if row is None:
            return Tick(self.pair, DEFAULT_INTERVAL)
        values = {name: value for name, value in row.items() if name != "interval_seconds"}
        return Tick(interval=timedelta(seconds=row["interval_seconds"]), **values)

    def begin(self, at: datetime) -> None:
        """Note that a look begins."""
        self._set(started_at=at)

    def end(self, began_at: datetime) -> None:
        """Note that the look that began then ended well."""
        self._set(synced_at=began_at)

    def trigger(self, at: datetime) -> None:
        """Request a look now."""
        self._set(triggered_at=at)

    def change(self, *, interval: timedelta | None, is_paused: bool | None) -> None:
        """Change the interval or the pause, if given."""
        values: dict[str, Any] = {}
        if interval is not None:
            values["interval_seconds"] = int(interval.total_seconds())
        if is_paused is not None:
            values["is_paused"] = is_paused
        if values:
            self._set(**values)

    @property
    def _is_it(self) -> Any:
        return saas_ticks.c.pair == self.pair

    def _set(self, **values: Any) -> None:
        usual = {
            "pair": self.pair,
            "interval_seconds": int(DEFAULT_INTERVAL.total_seconds()),
            "is_paused": False,
            "triggered_at": None,
            "started_at": None,
            "synced_at": None,
        }
        with self.warehouse.writing() as connection:
            insert_absent(connection, saas_ticks, [usual])
            connection.execute(update(saas_ticks).where(self._is_it).values(**values))
