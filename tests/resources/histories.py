"""Random histories of a partition: what is loaded, and a model that knows what was true when."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any

import polars as pl
from hypothesis import strategies as st
from sqlalchemy import select

from orchestration_project.domains.finra.tables.weekly import (
    finra_otc_weekly,
    finra_otc_weekly_history,
)
from orchestration_project.engine.contracts.audits import Validated
from orchestration_project.engine.contracts.frame_types import REJECT_SCHEMA
from orchestration_project.engine.warehouse.delivery import prepare
from orchestration_project.engine.warehouse.loading import is_loaded
from orchestration_project.tables.catalogue import relation_as_of
from tests.resources.weeks import (
    NOON,
    PUBLISHED,
    PartitionLoader,
    StoppedClock,
    frame,
    in_ranges,
    row,
)

MICROSECOND = timedelta(microseconds=1)
SEEN = ("symbol", "share_quantity", "trade_count", "last_update_date", "known_from")
KEPT = ("symbol", "share_quantity", "known_from", "known_to", "change_cause")

Row = tuple[int, int, date]
"""Shares, trades and the date that is metadata."""

State = dict[str, Row]

SYMBOLS = st.sampled_from(["AAA", "AAa", "NA"])
SMALL = st.integers(0, 2)
EDITS = st.one_of(
    st.tuples(st.just("set"), SYMBOLS, SMALL),
    st.tuples(st.just("trades"), SYMBOLS, SMALL),
    st.tuples(st.just("touch"), SYMBOLS, SMALL),
    st.tuples(st.just("remove"), SYMBOLS, SMALL),
)
STEPS = st.one_of(
    st.tuples(st.just("restate"), st.lists(EDITS, min_size=1, max_size=3)),
    st.tuples(st.just("go back"), SMALL),
    st.tuples(st.just("repeat"), SMALL),
    st.tuples(st.just("replay"), SMALL),
    st.tuples(st.just("new rules"), SMALL),
)
HISTORIES = st.lists(st.tuples(STEPS, st.booleans()), min_size=1, max_size=7)
"""Event of a partition, and whether the clock moves before it."""


@dataclass(frozen=True)
class Fetched:
    """State of a source: its rows before our rules, and its version."""

    number: int
    rows: State


@dataclass(frozen=True)
class Event:
    """A delivery: what was fetched, by which rules, and whether it turns time back."""

    fetched: Fetched
    rules: int
    is_replay: bool = False
    turns_back: bool = False

    @property
    def state(self) -> State:
        """The rows that the rules make of it: each version of them counts 100 shares more."""
        return {
            symbol: (shares + 100 * self.rules, trades, updated)
            for symbol, (shares, trades, updated) in self.fetched.rows.items()
        }


def events_of(history: Sequence[Any]) -> list[tuple[Event, bool]]:
    """Return the deliveries of a history, each with whether the clock moved before it."""
    events: list[tuple[Event, bool]] = []
    fetched: list[Fetched] = [Fetched(0, {"AAA": (1, 1, PUBLISHED)})]
    event = Event(fetched[0], 1)
    events.append((event, True))
    for (action, what), moves in history:
        event = _next(event, fetched, action, what)
        events.append((event, moves))
    return events


def _next(event: Event, fetched: list[Fetched], action: str, what: Any) -> Event:
    if action == "new rules":
        return Event(event.fetched, event.rules + 1, is_replay=True)
    if action == "replay":
        chosen = fetched[what % len(fetched)]
        back = chosen.number < event.fetched.number
        return Event(chosen, event.rules, is_replay=True, turns_back=back)
    newest = {
        "restate": lambda: _edited(event.fetched.rows, what),
        "go back": lambda: dict(fetched[what % len(fetched)].rows),
        "repeat": lambda: dict(event.fetched.rows),
    }[action]()
    fetched.append(Fetched(len(fetched), newest))
    return Event(fetched[-1], event.rules)


def _edited(rows: State, edits: Sequence[tuple[str, str, int]]) -> State:
    rows = dict(rows)
    for action, symbol, number in edits:
        shares, trades, updated = rows.get(symbol, (0, 1, PUBLISHED))
        if action == "set":
            rows[symbol] = (number, trades, updated)
        elif action == "trades":
            rows[symbol] = (shares, number, updated)
        elif action == "touch" and symbol in rows:
            rows[symbol] = (shares, trades, PUBLISHED + timedelta(days=number))
        elif action == "remove":
            rows.pop(symbol, None)
    return rows


Known = dict[str, tuple[Row, datetime]]
"""A state, each row with since when we knew it."""


@dataclass
class Model:
    """Model of the present rows, the rows as of each time, and the history."""

    known: Known
    moments: list[tuple[datetime, Known]]
    kept: list[tuple[Any, ...]]
    before: Event | None = None

    def write_batch(self, event: Event, at: datetime) -> None:
        """Take in a delivery that was loaded at a moment."""
        cause = self._cause(event)
        state = event.state
        for symbol, (old, since) in self.known.items():
            new = state.get(symbol)
            if new != old:
                only_dates = new is not None and new[:2] == old[:2]
                why = "metadata" if only_dates else cause
                self.kept.append((symbol, old[0], since, at, why))
        self.known = {
            symbol: self.known[symbol]
            if symbol in self.known and self.known[symbol][0] == new
            else (new, at)
            for symbol, new in state.items()
        }
        self.moments.append((at, self.known))
        self.before = event

    def _cause(self, event: Event) -> str:
        before = self.before
        if before is None or event.turns_back:
            return "ours"
        same = before.fetched.number == event.fetched.number
        return "ours" if same and before.rules != event.rules else "source"


def check_history(
    partition_loader: PartitionLoader, clock: StoppedClock, history: Sequence[Any]
) -> None:
    """Load a history and compare what is known of every moment with the model."""
    clock.at = NOON
    captures = [partition_loader.capture()]
    model = Model({}, [], [])
    for number, (event, moves) in enumerate(events_of(history)):
        clock.at += timedelta(days=1) if moves else timedelta(0)
        rows = frame(
            [
                row(
                    symbol,
                    tier=partition_loader.tier,
                    week_start=partition_loader.week_start,
                    share_quantity=shares,
                    trade_count=trades,
                    last_update_date=updated,
                )
                for symbol, (shares, trades, updated) in sorted(event.state.items())
            ]
        )
        state = partition_loader.warehouse.state(finra_otc_weekly, partition_loader.partition_key)
        target = partition_loader.target(state.token, rule_version=f"{event.rules}")
        # what is derived and reported is not compared here
        unasked: Any = {"transforms": {}, "summarise": lambda **_: None, "merge": None}
        target = replace(target, spec=replace(target.spec, **unasked))
        delivery = partition_loader.delivery(
            f"v{event.fetched.number}",
            captures,
            replay_of="an earlier one" if event.is_replay else None,
            turns_back=event.turns_back,
        )
        validated = Validated(rows, pl.DataFrame(schema=REJECT_SCHEMA))
        if number % 2:  # either comes after the other, and after its like
            validated = in_ranges(validated)
        batch = prepare(target, delivery, validated)
        if event.is_replay and is_loaded(state, batch):
            continue
        model.write_batch(event, partition_loader.warehouse.write_batch(batch).known_from)
    _check_moments(partition_loader, model)


def _check_moments(partition_loader: PartitionLoader, model: Model) -> None:
    times = [at for at, _ in model.moments]
    assert times == sorted(set(times))
    assert expect_distinct_rows_as_of(partition_loader, times[0] - MICROSECOND) == {}
    for number, (at, known) in enumerate(model.moments):
        until = times[number + 1] - MICROSECOND if number + 1 < len(times) else at + MICROSECOND
        assert expect_distinct_rows_as_of(partition_loader, at) == known
        assert expect_distinct_rows_as_of(partition_loader, until) == known
    history = finra_otc_weekly_history
    statement = select(*(history.c[name] for name in KEPT)).where(
        history.c.week_start == partition_loader.week_start
    )
    assert sorted(partition_loader.warehouse.frame(statement, history).rows()) == sorted(model.kept)


def expect_distinct_rows_as_of(partition_loader: PartitionLoader, at: datetime) -> Known:
    """Return what `as-of` says was known of the partition at a moment."""
    relation = relation_as_of(finra_otc_weekly.name, at)
    statement = relation.select(SEEN, [f"week_start={partition_loader.week_start}"])
    with partition_loader.warehouse.batches(statement, finra_otc_weekly) as batches:
        found = [seen_row for batch in batches for seen_row in batch.select(SEEN).rows()]
    assert len({symbol for symbol, *_ in found}) == len(found)
    return {symbol: ((n, trades, day), since) for symbol, n, trades, day, since in found}
