"""Pieces in every situation that a load can meet, and what undisturbed loads make of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.databases import Rows, contents
from tests.faults.loads import Process, load_keys, loaded
from tests.faults.matrix import Database
from tests.faults.pipelines import Pipeline, Source, alike, is_large, situation_of
from tests.faults.places import Place, Sums, known, published
from tests.faulty_server import FaultyServer


@dataclass(frozen=True)
class Undisturbed:
    """State before the loads, and after them.

    Attributes:
        pipeline: Whose loads they are.
        count: The number of pieces.
        before: The database in which some of them are loaded; not to be changed.
        outcomes: What came of each load.
        points: How many points a load of a piece passes, by situation and size.
    """

    pipeline: Pipeline
    count: int
    before: Place
    before_published: Mapping[str, Sums]
    after_published: Mapping[str, Sums]
    after: Mapping[str, Rows]
    known: Mapping[str, Rows]
    outcomes: Sequence[str]
    points: Mapping[tuple[str, bool], int]

    def source(self) -> Source:
        """Return the source, in the state that the loads meet."""
        return self.pipeline.source_next(self.count)


def undisturbed(
    pipeline: Pipeline, database: Database, folder: Path, server: str, count: int
) -> Undisturbed:
    """Load ``count`` pieces into a database that stays as it is then, and on in a copy of it."""
    before = Place.prepared(database, folder / "before", server, pipeline)
    present = [number for number in range(count) if situation_of(number) != "new"]
    with FaultyServer(pipeline.source(count)) as source:
        loaded(before.job(source.url, *present))
    after = before.copy(folder / "after")
    outcomes: list[str] = []
    points: dict[tuple[str, bool], int] = {}
    with FaultyServer(pipeline.source_next(count)) as source:
        first = sorted(numbers[0] for numbers in alike(count).values())
        for number in first:
            process = Process(load_keys, after.job(source.url, number))
            outcomes += process.wait_and_check_answer()
            points[situation_of(number), is_large(number)] = process.seen.number
        if rest := range(len(first), count):
            outcomes += loaded(after.job(source.url, *rest))
    found = (published(before), published(after), contents(after.url), known(after))
    return Undisturbed(pipeline, count, before, *found, outcomes, points)
