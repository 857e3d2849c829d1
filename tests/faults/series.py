"""Pieces that are struck one after the other, each until a clean run has loaded it."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

from sqlalchemy import text

from tests.databases import contents, rows
from tests.faults.items import LEASED_AT, end_leases, items_of, set_forward, take_back
from tests.faults.loads import INLINE_ITEMS, NOW, Job, Process, load_keys, loaded
from tests.faults.pipelines import Source, situation_of
from tests.faults.places import Place, Reader, check_nothing_is_left, check_same_rows, known
from tests.faults.points import Plan, Seen
from tests.faults.undisturbed import Undisturbed
from tests.faulty_server import FaultyServer

HELD = text("SELECT 1 FROM deliveries WHERE outcome = 'held_back' AND partition_key = :key")


@dataclass
class Series:
    """The pieces, where they are loaded, and what struck each.

    Attributes:
        source: What they are loaded from.
        hours: How much later than the first load the next one is.
        lost: How many attempts at each item ended with its run.
    """

    place: Place
    expected: Undisturbed
    source_url: str
    source: Source
    struck: list[tuple[int, Seen]] = field(default_factory=list)
    waiting: list[int] = field(default_factory=list)
    hours: int = 0
    lost: Counter[str] = field(default_factory=Counter)

    def job(self, *numbers: int, plan: Plan | None = None) -> Job:
        """Return the load of these pieces, an hour after the one before, whose leases end."""
        self.hours += 1
        set_forward(self.place.folder, self.hours)
        return self.place.job(self.source_url, *numbers, plan=plan)

    def begin(self, number: int, plan: Plan | None = None) -> Process:
        """Begin the load of a piece, once all before it are loaded."""
        self.settle_and_check()
        return Process(load_keys, self.job(number, plan=plan))

    def leave(self, number: int, process: Process | None = None) -> None:
        """Leave a piece to the next clean run; ``process`` was struck while it loaded it."""
        self.waiting.append(number)
        if process is not None:
            self.struck.append((number, process.seen))

    def settle_and_check(self) -> None:
        """Load cleanly what waits; what a struck load finished already is not done twice."""
        if self.expected.pipeline.has_items:
            self._check_and_count_leases()
        numbers = [number for number in self.waiting if not self._is_held_back(number)]
        self.waiting.clear()
        clean = replace(self.job(*numbers), items=INLINE_ITEMS)
        outcomes = loaded(clean) if numbers else []
        for number, words in zip(numbers, outcomes, strict=True):
            assert self.is_as_expected(number, words), (number, words, self.struck[-1:])

    def _check_and_count_leases(self) -> None:
        """Count the attempts that ended with a killed run; its leases end now, or have expired."""
        items = items_of(self.place.url)
        leased = [key for key, item in items.items() if item.state == "leased"]
        if self.struck and self.struck[-1][0] in self.waiting:
            stage = self.struck[-1][1].stage
            assert leased or stage not in LEASED_AT, stage
            assert not leased or stage != "after COMMIT", leased
        self.lost.update(leased)
        if len(self.struck) % 2:
            end_leases(self.place.url, NOW + timedelta(hours=self.hours))

    def is_as_expected(self, number: int, words: str) -> bool:
        """Whether a load said what it says undisturbed, or that there is nothing left to do."""
        if words == self.expected.pipeline.unchanged:
            return True
        return _without_numbers(words) == _without_numbers(self.expected.outcomes[number])

    def _is_held_back(self, number: int) -> bool:
        """Whether the evidence of the piece is recorded: each further run would do so again."""
        if situation_of(number) != "quarantined":
            return False
        return bool(
            rows(self.place.url, HELD.bindparams(key=self.expected.pipeline.key_of(number)))
        )


def _without_numbers(words: str) -> str:
    """Leave out how many deliveries there were: what was fetched in vain may be one as well."""
    return re.sub(r"#\d+", "", words)


@contextmanager
def series(
    expected: Undisturbed, folder: Path, *, has_more_evidence: bool = False
) -> Iterator[Series]:
    """Give a series, read it all the while, and compare at its end with undisturbed loads.

    A load that fails may record what it fetched all the same, so that the tables have more
    evidence than they would have.
    """
    place = expected.before.copy(folder / "place")
    source = expected.source()
    with FaultyServer(source) as server, Reader(place) as reader:
        struck = Series(place, expected, server.url, source)
        yield struck
        struck.settle_and_check()
    reader.check_saw_only(expected.before_published, expected.after_published)
    for key, count in struck.lost.items():
        take_back(place.url, key, attempts=count, claims=count)
    if has_more_evidence:
        check_same_rows(known(place), expected.known)
    else:
        check_same_rows(contents(place.url), expected.after)
    check_nothing_is_left(place)
    place.forget()


StrikePiece = Callable[[Series, int], None]


def strike_each(struck: Series, is_wanted: Callable[[int], bool], strike: StrikePiece) -> None:
    """Strike the pieces that are wanted, in order, and load all others cleanly."""
    for number in range(struck.expected.count):
        if is_wanted(number):
            strike(struck, number)
        else:
            struck.leave(number)
