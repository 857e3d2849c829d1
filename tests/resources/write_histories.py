"""Random histories of two partitions in each write disposition, and a model of dictionaries."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from random import Random
from typing import Any, get_args

import polars as pl
from sqlalchemy import select

from orchestration_project.domains.finra.gold import symbol_week
from orchestration_project.domains.finra.tables.weekly import (
    finra_otc_weekly,
    finra_otc_weekly_history,
    finra_symbol_week,
)
from orchestration_project.engine.contracts.audits import Validated
from orchestration_project.engine.contracts.frame_types import REJECT_SCHEMA
from orchestration_project.engine.contracts.values import combine_batches
from orchestration_project.engine.loads import naming
from orchestration_project.engine.replay import fold_rows, replay_of_all, select_deliveries
from orchestration_project.engine.warehouse import (
    QuarantinedError,
    SupersededError,
    Transform,
    ValidatedBatch,
    WriteResult,
    WriteTarget,
    prepare,
)
from orchestration_project.engine.warehouse.loading import is_loaded
from orchestration_project.engine.warehouse.target import WriteDisposition, skip_summary
from orchestration_project.tables.catalogue import relation_as_of
from tests.expecting import expect_present
from tests.resources.weeks import (
    FAILED,
    NOON,
    PASSED,
    PUBLISHED,
    PartitionLoader,
    StoppedClock,
    frame,
    in_ranges,
    row,
)

MICROSECOND = timedelta(microseconds=1)
SEEN = ("market", "symbol", "share_quantity", "trade_count", "last_update_date", "known_from")
KEPT = (*SEEN, "known_to", "change_cause")
COUNTS = ("rows_added", "rows_changed", "rows_removed", "rows_unchanged")

Key = tuple[str, str]
"""Market and symbol."""

Row = tuple[int, int, date]
"""Shares, trades and the date that is metadata."""

Known = dict[Key, tuple[Row, datetime]]
"""A state of the table, each row with since when it is known."""

DISPOSITIONS: tuple[WriteDisposition, ...] = get_args(WriteDisposition)
KEYS = [(market, symbol) for market in ("ATS", "NON_ATS") for symbol in ("AAA", "AAa", "NA")]
DATES = (PUBLISHED, PUBLISHED + timedelta(days=7))
ACTIONS = {
    "load": 9,
    "bad load": 1,
    "late load": 1,
    "repeat": 1,
    "replay": 3,
    "new rules": 2,
    "replay one": 2,
}
"""Events of partitions, and their relative frequencies."""


@dataclass(frozen=True)
class Step:
    """Event, and its partitions.

    Attributes:
        action: One of `ACTIONS`.
        where: The places of the partitions.
        moves: Whether the clock moves on before it.
        market: What a load is of; blank is the whole partition.
        rows: What a load brings.
        number: Which delivery is replayed alone.
        in_ranges: Whether a load comes range by range, where it may.
    """

    action: str
    where: Sequence[int]
    moves: bool
    market: str
    rows: Mapping[Key, Row]
    number: int
    in_ranges: bool


def random_steps(chance: Random, disposition: WriteDisposition) -> list[Step]:
    """Return what happens to two partitions, some of it to both at once."""
    actions, weights = list(ACTIONS), list(ACTIONS.values())
    return [
        Step(
            action=chance.choices(actions, weights)[0],
            where=chance.choice([(0,), (0, 1), (1,)]),
            moves=chance.random() < 0.5,
            market=chance.choice(["", "", "ATS", "NON_ATS"]),
            rows={
                key: _random_row(chance, key, changes=disposition != "append")
                for key in chance.sample(KEYS, chance.randrange(5))
            },
            number=chance.randrange(6),
            in_ranges=chance.random() < 0.3,
        )
        for _ in range(chance.randint(5, 12))
    ]


def _random_row(chance: Random, key: Key, *, changes: bool) -> Row:
    """Return values of a key, of which there are few; nearly always the same unless it changes."""
    if not changes and chance.random() < 0.9:
        return KEYS.index(key) % 3, 1, chance.choice(DATES)
    return chance.randrange(3), chance.randrange(2), chance.choice(DATES)


@dataclass(frozen=True, eq=False)
class Fetch:
    """State of a source: rows before our rules, of a market or of all.

    ``version`` names that state of the source; ``bad_by`` is the version of the rules by which an
    audit quarantines it.
    """

    number: int
    version: int
    market: str
    rows: Mapping[Key, Row]
    bad_by: int = 0

    def holds(self, key: Key) -> bool:
        """Whether a row lies in its scope."""
        return self.market in ("", key[0])

    def state(self, rules: int, disposition: WriteDisposition) -> dict[Key, Row]:
        """Return the rows that the rules make of it.

        Each version of them counts 100 shares more, but where no row may change; each second one
        rejects rows of 2 shares.
        """
        more = 0 if disposition == "append" else 100 * rules
        return {
            key: (shares + more, trades, updated)
            for key, (shares, trades, updated) in self.rows.items()
            if self.holds(key) and not (rules % 2 == 0 and shares == 2)
        }


@dataclass
class Model:
    """A table with its history, as dictionaries: what each delivery is to do to it.

    Attributes:
        known: The rows, each with since when.
        kept: The rows of the history.
        moments: The table after each delivery.
        loaded: The fetches that loaded, in that order; one that a replay loads again is twice.
        latest: The latest fetch that was delivered alone, whether it loaded.
        before: Source version and rules of the latest delivery that loaded.
    """

    disposition: WriteDisposition
    known: Known = field(default_factory=dict)
    kept: list[tuple[Any, ...]] = field(default_factory=list)
    moments: list[tuple[datetime, Known]] = field(default_factory=list)
    loaded: list[Fetch] = field(default_factory=list)
    latest: Fetch | None = None
    before: tuple[int, int] | None = None

    def folded(self, rules: int) -> dict[Key, Row]:
        """Return the rows of all that loaded, and of the latest delivery, written in order."""
        rows: dict[Key, Row] = {}
        waiting = [] if self.latest is None or self.latest in self.loaded else [self.latest]
        for fetch in (*self.loaded, *waiting):
            if self.disposition == "replace_scope":
                rows = {key: row for key, row in rows.items() if not fetch.holds(key)}
            rows |= fetch.state(rules, self.disposition)
        return rows

    def after(self, rows: Mapping[Key, Row], scope: Fetch | None) -> dict[Key, Row] | None:
        """Return the table after ``rows`` of a scope (None: all); None: they are quarantined."""
        present = {key: row for key, (row, _) in self.known.items()}
        if self.disposition == "append":
            shared = present.keys() & rows.keys()
            if any(present[key][:2] != rows[key][:2] for key in shared):
                return None
            return {**rows, **present}
        if self.disposition == "merge" and scope is not None:
            return {**present, **rows}
        kept = {} if scope is None else {k: r for k, r in present.items() if not scope.holds(k)}
        return {**kept, **rows}

    def write(
        self, rows: Mapping[Key, Row], at: datetime, cause: str
    ) -> tuple[int, int, int, bool]:
        """Make ``rows`` the table; return how many are added, changed, removed; if only dates."""
        only_dates = True
        removed = changed = 0
        for key, (old, since) in self.known.items():
            new = rows.get(key)
            if new == old:
                continue
            is_metadata = new is not None and new[:2] == old[:2]
            only_dates &= is_metadata
            removed, changed = removed + (new is None), changed + (new is not None)
            why = "metadata" if is_metadata else cause
            self.kept.append((*key, *old, since, at, why))
        added = len(rows.keys() - self.known.keys())
        self.known = {
            key: self.known[key] if key in self.known and self.known[key][0] == new else (new, at)
            for key, new in rows.items()
        }
        self.moments.append((at, self.known))
        return added, changed, removed, only_dates and not added


@dataclass
class Partition:
    """A partition in the database, its model, and what was delivered under which name."""

    partition_loader: PartitionLoader
    model: Model
    fetches: dict[str, Fetch] = field(default_factory=dict)

    def target(self, rules: int, token: int | None = None) -> WriteTarget[Any]:
        """Return how a delivery is written."""
        target = self.partition_loader.target(token, rule_version=f"{rules}")
        options: dict[str, Any] = {"summarise": skip_summary, "merge": None}
        transforms = {finra_symbol_week: Transform(symbol_week)}
        spec = replace(target.spec, **options, transforms=transforms)
        return replace(target, spec=spec, write_disposition=self.model.disposition)

    def frame(self, rows: Mapping[Key, Row]) -> pl.DataFrame:
        """Return rows as a parser gives them."""
        return frame(
            [
                row(
                    symbol,
                    market=market,
                    week_start=self.partition_loader.week_start,
                    share_quantity=shares,
                    trade_count=trades,
                    last_update_date=updated,
                )
                for (market, symbol), (shares, trades, updated) in sorted(rows.items())
            ]
        )


@dataclass
class Attempt:
    """A delivery that is to be written, and what the model says of it.

    ``expected`` is the table afterwards, None where it is quarantined or comes too late.
    """

    batch: ValidatedBatch[None]
    expected: dict[Key, Row] | None
    is_ours: bool
    fetch: Fetch
    is_late: bool = False
    is_of_one: bool = True


@dataclass
class History:
    """Drives two partitions through a history, and compares each step with the model."""

    partitions: Sequence[Partition]
    disposition: WriteDisposition
    rules: int = 1
    fetch_count: int = 0
    version: int = 0
    given: tuple[str, Mapping[Key, Row]] = ("", {})

    def take(self, step: Step) -> None:
        """Do what a step says."""
        if step.action in ("replay", "new rules"):
            self.rules += step.action == "new rules"
            self.replay(step.where)
        elif step.action == "replay one":
            self.replay_one(step.where, step.number)
        else:
            self.load(step)

    def load(self, step: Step) -> None:
        """Load what a source gives, alike in all partitions; a repeat gives the same again."""
        self.fetch_count += 1
        if step.action != "repeat":
            self.version, self.given = self.fetch_count, (step.market, step.rows)
        bad_by = self.rules if step.action == "bad load" else 0
        fetch = Fetch(self.fetch_count, self.version, *self.given, bad_by)
        attempts = []
        for place in step.where:
            partition = self.partitions[place]
            is_late = step.action == "late load" and place == step.where[0]
            attempt = self._check_and_attempt(
                partition, fetch, is_late=is_late, is_cut=step.in_ranges
            )
            if attempt is not None:
                attempts.append((partition, attempt))
        self._write_batches(attempts)

    def replay(self, where: Sequence[int]) -> None:
        """Replay all that makes up partitions."""
        attempts = []
        for place in where:
            partition = self.partitions[place]
            if partition.model.latest is not None:
                attempts += self._check_and_list_needed(partition, self._fold(partition))
        self._write_batches(attempts)

    def replay_one(self, where: Sequence[int], number: int) -> None:
        """Replay one delivery, also where a later one loaded."""
        attempts = []
        for place in where:
            partition = self.partitions[place]
            groups = list(partition.fetches)
            if groups:
                group = groups[number % len(groups)]
                attempts += self._check_and_list_needed(
                    partition, self._expect_group_alone(partition, group)
                )
        self._write_batches(attempts)

    def _check_and_attempt(
        self, partition: Partition, fetch: Fetch, *, is_late: bool, is_cut: bool
    ) -> Attempt | None:
        model = partition.model
        state = partition.partition_loader.warehouse.state(
            finra_otc_weekly, partition.partition_loader.partition_key
        )
        if is_late and state.token == 0:
            return None
        rows = fetch.state(self.rules, self.disposition)
        target = partition.target(self.rules, state.token - is_late)
        delivery = partition.partition_loader.delivery(f"v{fetch.version}", scope=_scope(fetch))
        audit = FAILED if fetch.bad_by == self.rules else PASSED
        validated = Validated(partition.frame(rows), pl.DataFrame(schema=REJECT_SCHEMA), [audit])
        if is_cut and self.disposition != "append":
            validated = in_ranges(validated)
        batch = prepare(target, delivery, validated)
        expected = None if validated.is_quarantined or is_late else model.after(rows, fetch)
        if expected is not None and is_loaded(state, batch):
            assert expected == _values(model)
        return Attempt(batch, expected, is_ours=False, fetch=fetch, is_late=is_late)

    def _fold(self, partition: Partition) -> Attempt:
        model, partition_loader = partition.model, partition.partition_loader
        expect_present(model.latest)
        state, recorded = partition_loader.warehouse.recorded(
            finra_otc_weekly, partition_loader.partition_key
        )
        latest, effective = select_deliveries(recorded, partition_loader.partition_key)
        fetches = [partition.fetches[each.fetched_group] for each in effective]
        loads = [partition.frame(fetch.state(self.rules, self.disposition)) for fetch in fetches]
        rows = fold_rows(finra_otc_weekly, effective, combine_batches(loads))
        target = partition.target(self.rules, state.token)
        written, delivery = replay_of_all(latest, effective)
        delivery = replace(delivery, captures=[partition_loader.capture()] * len(effective))
        target = replace(target, write_disposition=written)
        is_bad = any(fetch.bad_by == self.rules for fetch in fetches)
        batch = _batch(target, delivery, rows.sort("market", "symbol"), is_bad)
        expected = None if is_bad else model.after(model.folded(self.rules), None)
        is_ours = model.latest in model.loaded
        is_of_one = len(effective) == 1 and not effective[0].scope
        return Attempt(batch, expected, is_ours, fetches[-1], is_of_one=is_of_one)

    def _expect_group_alone(self, partition: Partition, group: str) -> Attempt:
        model, partition_loader, fetch = (
            partition.model,
            partition.partition_loader,
            partition.fetches[group],
        )
        state, recorded = partition_loader.warehouse.recorded(
            finra_otc_weekly, partition_loader.partition_key
        )
        delivery, [chosen] = select_deliveries(
            recorded, partition_loader.partition_key, group_id=group, allow_older=True
        )
        assert chosen.group_id == group
        rows = fetch.state(self.rules, self.disposition)
        target = partition.target(self.rules, state.token)
        delivery = replace(delivery, captures=[partition_loader.capture()])
        is_bad = fetch.bad_by == self.rules
        batch = _batch(target, delivery, partition.frame(rows), is_bad)
        expected = None if is_bad else model.after(rows, fetch)
        others = [each for each in model.loaded if _share_rows(each, fetch)]
        turns_back = bool(others) and others[-1].number > fetch.number
        return Attempt(batch, expected, turns_back or fetch in model.loaded, fetch)

    def _check_and_list_needed(
        self, partition: Partition, attempt: Attempt
    ) -> list[tuple[Partition, Attempt]]:
        """Return a replay, unless loading it would write no row."""
        if attempt.batch.validated.is_quarantined:
            return [(partition, attempt)]
        is_there = partition.partition_loader.warehouse.are_there([attempt.batch]) == [True]
        assert is_there == (attempt.expected == _values(partition.model))
        return [] if is_there else [(partition, attempt)]

    def _write_batches(self, attempts: Sequence[tuple[Partition, Attempt]]) -> None:
        if not attempts:
            return
        warehouse = attempts[0][0].partition_loader.warehouse
        ended = warehouse.load_batches([attempt.batch for _, attempt in attempts])
        for (partition, attempt), outcome in zip(attempts, ended, strict=True):
            self._check_outcome(partition, attempt, outcome)

    def _check_outcome(self, partition: Partition, attempt: Attempt, outcome: object) -> None:
        model, batch = partition.model, attempt.batch
        if attempt.is_late:
            assert isinstance(outcome, SupersededError)
            return
        is_replay = batch.delivery.replay_of is not None
        if not is_replay:
            group = f"{finra_otc_weekly.name}:{partition.partition_loader.partition_key}"
            partition.fetches[f"{group}#{batch.target.token + 1}"] = attempt.fetch
            model.latest = attempt.fetch
        if attempt.expected is None:
            assert isinstance(outcome, QuarantinedError)
            return
        assert isinstance(outcome, WriteResult)
        was_first = model.before is None
        had = {key[0] for key in model.known}
        cause = self._cause(model, attempt)
        *counts, only_dates = model.write(attempt.expected, outcome.known_from, cause)
        added, changed, removed = counts
        unchanged = batch.validated.row_count - added - changed
        assert tuple(getattr(outcome, name) for name in COUNTS) == (*counts, unchanged)
        only_adds = added and not changed and not removed and not attempt.is_ours
        is_more = only_adds and _reaches_on(batch, attempt.fetch, had)
        named = cause if any(counts) else "none"
        if any(counts) and only_dates:
            named = "metadata"
        assert outcome.change_cause == ("first" if was_first else "more" if is_more else named)
        if attempt.is_of_one:
            model.latest = attempt.fetch
            model.loaded.append(attempt.fetch)
        elif attempt.fetch not in model.loaded:
            model.loaded.append(attempt.fetch)
        model.before = (attempt.fetch.version, self.rules)

    def _cause(self, model: Model, attempt: Attempt) -> str:
        if model.before is None:
            return "source"
        version, rules = model.before
        is_same = version == attempt.fetch.version
        return "ours" if attempt.is_ours or (is_same and rules != self.rules) else "source"


def _batch(target: WriteTarget[None], delivery: Any, rows: pl.DataFrame, is_bad: bool) -> Any:
    audit = FAILED if is_bad else PASSED
    validated = Validated(rows, pl.DataFrame(schema=REJECT_SCHEMA), [audit])
    return prepare(target, delivery, validated)


def _scope(fetch: Fetch) -> dict[str, tuple[str]]:
    return {"market": (fetch.market,)} if fetch.market else {}


def _share_rows(one: Fetch, other: Fetch) -> bool:
    return not one.market or not other.market or one.market == other.market


def _reaches_on(batch: ValidatedBatch[None], fetch: Fetch, had: set[str]) -> bool:
    """Whether rows that were only added restate nothing."""
    if not batch.target.replaces_scope:
        return True
    return bool(batch.delivery.scope) and fetch.market not in had


def _values(model: Model) -> dict[Key, Row]:
    return {key: row for key, (row, _) in model.known.items()}


def check_history(
    partition_loaders: Sequence[PartitionLoader], clock: StoppedClock, number: int
) -> None:
    """Write the history ``number`` and compare each step, each moment and what is derived.

    Three of them in a row are of the three dispositions.
    """
    disposition = DISPOSITIONS[number % len(DISPOSITIONS)]
    steps = random_steps(Random(number), disposition)  # noqa: S311 - no secret
    clock.at = NOON
    partitions = [
        Partition(partition_loader, Model(disposition)) for partition_loader in partition_loaders
    ]
    driver = History(partitions, disposition)
    for done, step in enumerate(steps, start=1):
        clock.at += timedelta(days=1) if step.moves else timedelta(0)
        with naming(history=number, disposition=disposition, steps=steps[:done]):
            driver.take(step)
    for partition in partitions:
        with naming(history=number, disposition=disposition, steps=steps):
            _check_moments(partition.partition_loader, partition.model)


def _check_moments(partition_loader: PartitionLoader, model: Model) -> None:
    times = [at for at, _ in model.moments]
    assert times == sorted(set(times))
    before: Known = {}
    for at, known in model.moments:
        assert expect_distinct_rows_as_of(partition_loader, at - MICROSECOND) == before
        assert expect_distinct_rows_as_of(partition_loader, at) == known
        before = known
    history = finra_otc_weekly_history
    statement = select(*(history.c[name] for name in KEPT)).where(
        history.c.week_start == partition_loader.week_start
    )
    assert sorted(partition_loader.warehouse.frame(statement, history).rows()) == sorted(model.kept)
    table = finra_symbol_week
    names = ("symbol", "total_share_quantity")
    derived = select(*(table.c[name] for name in names)).where(
        table.c.week_start == partition_loader.week_start
    )
    sums: dict[str, int] = {}
    for (_, symbol), ((shares, _, _), _) in model.known.items():
        sums[symbol] = sums.get(symbol, 0) + shares
    assert dict(partition_loader.warehouse.frame(derived, table).rows()) == sums


def expect_distinct_rows_as_of(partition_loader: PartitionLoader, at: datetime) -> Known:
    """Return what `as-of` says was known of the partition at a moment."""
    relation = relation_as_of(finra_otc_weekly.name, at)
    statement = relation.select(SEEN, [f"week_start={partition_loader.week_start}"])
    with partition_loader.warehouse.batches(statement, finra_otc_weekly) as batches:
        found = [seen_row for batch in batches for seen_row in batch.select(SEEN).rows()]
    assert len({record[:2] for record in found}) == len(found)
    return {(market, symbol): (tuple(rest), since) for market, symbol, *rest, since in found}
