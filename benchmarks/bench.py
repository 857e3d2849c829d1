"""Tools of every measure: the rig, the sizes, and repeats that take turns."""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from benchmarks.child import call
from benchmarks.rig import Place, Rig, Source
from benchmarks.sizes import Sizes

TABLE = "finra_otc_weekly"

Report = dict[str, Any]
Sides = Mapping[str, Callable[[], Report]]


def key(week: str, tier: str = "T1") -> str:
    """Return Dagster's key of a partition."""
    return f"{tier}|{week}"


def speeds(reports: Sequence[Report]) -> list[float]:
    """Return the rows a second of each repeat."""
    return [each["firm_rows"] / each["seconds"] for each in reports]


def seconds(reports: Sequence[Report]) -> list[float]:
    """Return the seconds of each repeat."""
    return [each["seconds"] for each in reports]


@dataclass(frozen=True)
class Bench:
    """A rig, how much is measured on it, and how often."""

    rig: Rig
    sizes: Sizes
    repeats: int

    def in_turns(self, sides: Sides, *, at_most: int | None = None) -> dict[str, list[Report]]:
        """Call each side once, then each once more, and so on: what changes hits all of them."""
        found: dict[str, list[Report]] = {name: [] for name in sides}
        for _ in range(min(self.repeats, at_most or self.repeats)):
            for name, run in sides.items():
                found[name].append(run())
        return found

    def load(self, source: Source, count: int) -> Report:
        """Load the last ``count`` weeks in one run of ours, into a new PostgreSQL database."""
        with self.rig.place() as place:
            report = self.load_at(place, source, count)
            rows = self.rig.count(str(place.database_url), TABLE)
        return {**report, "firm_rows": rows}

    def load_at(self, place: Place, source: Source, count: int, **options: bool) -> Report:
        """Load the last ``count`` weeks in one run of ours at ``place``."""
        first, last = source.weeks[-count], source.weeks[-1]
        return place.call("load", source, first=key(first), last=key(last), **options)

    def load_sqlite(self, source: Source, count: int) -> Report:
        """Load the last ``count`` weeks in one run of ours, into a new SQLite database."""
        with self.rig.sqlite_place() as place:
            report = self.load_at(place, source, count)
            with closing(sqlite3.connect(place.state / "real.sqlite")) as reader:
                rows = reader.execute(f"SELECT count(*) FROM {TABLE}").fetchone()[0]  # noqa: S608 - ours
        return {**report, "firm_rows": rows}

    def peer(self, name: str, source: Source, count: int, **more: object) -> Report:
        """Let a peer load the last ``count`` weeks into a new PostgreSQL database."""
        with self.rig.database() as url:
            return call(
                f"benchmarks.peers:{name}",
                {"RUNTIME__DLTHUB_TELEMETRY": "false"},
                url=source.url,
                database_url=url,
                weeks=source.weeks[-count:],
                tier="T1",
                **more,
            )
