"""Weeks in every situation that a load can meet, and what loads that nothing disturbs make of them.

The weeks take turns: one is new, one is restated, of one a few rows change, one does not add up.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tests.databases import Rows, contents
from tests.faults.loads import Job, Process, load_keys, loaded
from tests.faults.matrix import OF_A_LOAD, Database
from tests.faults.publisher import Publisher, key_of, week_of
from tests.faults.scene import Place, Sums, known, published
from tests.faulty_server import FaultyServer

SITUATIONS = ("new", "restated", "touched", "held back")
NEXT = {"new": "A", "restated": "B", "touched": "C", "held back": "D"}
"""The state of a week that the source has next."""

STAGES_OF = {
    "new": [stage for stage in OF_A_LOAD if stage != "history"],
    "restated": OF_A_LOAD,
    "touched": OF_A_LOAD,
    "held back": [
        stage for stage in OF_A_LOAD if stage not in ("rows", "history", "derived", "landing row")
    ],
}


def situation_of(number: int) -> str:
    """Return the situation of a week by its number."""
    return SITUATIONS[number % len(SITUATIONS)]


@dataclass(frozen=True)
class Undisturbed:
    """What there is before the loads, and after them.

    Attributes:
        count: The number of weeks.
        before: The database in which some of them are landed; not to be changed.
        told: What came of each load.
        points: How many points a load in each situation passes.
    """

    count: int
    before: Place
    before_published: Mapping[str, Sums]
    after_published: Mapping[str, Sums]
    after: Mapping[str, Rows]
    known: Mapping[str, Rows]
    told: Sequence[str]
    points: Mapping[str, int]

    def publisher(self) -> Publisher:
        """Return the source, in the state that the loads meet."""
        return _publisher(self.count)


def undisturbed(database: Database, folder: Path, server: str, count: int) -> Undisturbed:
    """Load ``count`` weeks into a database that stays as it is then, and on in a copy of it."""
    before = Place.prepared(database, folder / "before", server)
    landed = [key_of(n) for n in range(count) if situation_of(n) != "new"]
    with FaultyServer(Publisher(count)) as source:
        loaded(Job(before.url, before.folder, source.url, landed))
    after = before.copy(folder / "after")
    told: list[str] = []
    points: dict[str, int] = {}
    with FaultyServer(_publisher(count)) as source:
        job = Job(after.url, after.folder, source.url, [])
        for number, situation in enumerate(SITUATIONS):
            process = Process(load_keys, replace(job, keys=[key_of(number)]))
            told += process.answer()
            points[situation] = process.seen.number
        rest = [key_of(number) for number in range(len(SITUATIONS), count)]
        told += loaded(replace(job, keys=rest))
    found = (published(before), published(after), contents(after.url), known(after))
    return Undisturbed(count, before, *found, told, points)


def _publisher(count: int) -> Publisher:
    publisher = Publisher(count)
    for number in range(count):
        publisher.states[week_of(number)] = NEXT[situation_of(number)]
    return publisher
