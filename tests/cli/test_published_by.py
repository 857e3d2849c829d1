"""Rows as FINRA had published them by a day, against a model of publication days and deliveries."""

import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from itertools import pairwise
from typing import Any, NamedTuple

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from orchestration_project.__main__ import main
from orchestration_project.domains.finra.tables.weekly import finra_otc_weekly_history
from orchestration_project.engine.warehouse.as_of import derive_as_of
from orchestration_project.resources.finra.gold_as_of import AS_OF
from orchestration_project.tables.queries.published import published_by
from orchestration_project.tables.queries.row_diff import publication_diff
from orchestration_project.tables.spine import deliveries
from tests.properties import bounded
from tests.resources.weeks import MONDAY, NOON, PUBLISHED, PartitionLoader, StoppedClock, row

OTHER_WEEKS = itertools.count(1)
FIRST = date(2025, 12, 1)


class State(NamedTuple):
    """Values of a row, and the day of its latest change."""

    shares: int
    updated: date | None


class Event(NamedTuple):
    """State of a row from a day on; None: removed. Of one day, the later load counts."""

    day: date
    order: int
    state: State | None


@dataclass
class Model:
    """Deliveries of a partition, of which nothing but publication days and order is known."""

    delivered: list[Mapping[str, State]] = field(default_factory=list)
    published_on: list[date] = field(default_factory=list)
    events: dict[str, list[Event]] = field(default_factory=lambda: defaultdict(list))

    def load(self, rows: Mapping[str, State], today: date, turned_to: int | None = None) -> None:
        """Add a delivery; ``turned_to``: it is that earlier one, which was loaded again."""
        order = len(self.delivered)
        before = self.delivered[-1] if self.delivered else {}
        changed = {key for key in {*before, *rows} if before.get(key) != rows.get(key)}
        if turned_to is None:
            day = self._publication_day(rows, changed, today)
        else:
            day = self.published_on[turned_to]
        for key in changed:
            state = rows.get(key)
            days = {day, state.updated if state and state.updated else day}
            self.events[key] += [Event(day, order, state) for day in days]
        self.delivered.append(rows)
        self.published_on.append(day)

    def _publication_day(self, rows: Mapping[str, State], changed: set[str], today: date) -> date:
        dates = [state.updated for state in rows.values() if state.updated]
        latest = max((day for day in dates if day <= today), default=None)
        before = max(self.published_on, default=date.min)
        if self.published_on and not changed:
            return before
        only_removes = not changed & rows.keys()
        if latest is None or latest < before or (latest == before and only_removes):
            return today
        return latest

    def days(self) -> list[date]:
        """Return the days on which anything changes, and those before them."""
        days = {event.day for events in self.events.values() for event in events}
        return sorted(days | {day - timedelta(1) for day in days})

    def published_by(self, day: date) -> dict[str, int]:
        """Return the shares of the rows of a day."""
        shares = {}
        for key, events in self.events.items():
            latest = max((event for event in events if event.day <= day), default=None)
            if latest and latest.state and latest.state.updated and latest.state.updated <= day:
                shares[key] = latest.state.shares
        return shares


@dataclass(frozen=True)
class Load:
    """A load: days since the one before, rows by symbol with the days since their change."""

    days_passed: int
    rows: Mapping[str, tuple[int, int | None]]
    turned_to: int | None


loads = st.builds(
    Load,
    st.integers(0, 4),
    st.dictionaries(
        st.sampled_from("ABC"),
        st.tuples(st.integers(1, 2), st.sampled_from([0, 1, 2, 3, 5, 9, -2, None])),
        max_size=3,
    ),
    st.sampled_from([None, None, None, 0, 1]),
)


def symbols_of(week: PartitionLoader, day: date) -> dict[str, int]:
    """Return the shares of each symbol of a week, as rows of a day."""
    where = [f"week_start={week.week_start}"]
    chosen = published_by("finra_otc_weekly", day).relation
    names = ["symbol", "share_quantity"]
    with week.warehouse.batches(chosen.select(names, where), chosen.table) as batches:
        rows = pl.concat(batches)
    return dict(rows.select(names).iter_rows())


def gold_of(week: PartitionLoader, day: date) -> dict[str, int]:
    """Return the shares of each symbol of a week with rows, as gold of a day."""
    found = derive_as_of(week.warehouse, AS_OF, "finra_symbol_week", week.partition_key, day=day)
    return dict(found.rows.select("symbol", "total_share_quantity").iter_rows())


Shares = Mapping[str, tuple[int | None, int | None]]
"""Shares on two days by symbol."""


def changed_shares(week: PartitionLoader, first: date, last: date) -> Shares:
    """Return the shares on two days of each symbol that differs."""
    chosen = publication_diff("finra_otc_weekly", first, last)
    names = ["symbol", "old_share_quantity", "new_share_quantity"]
    where = [f"week_start={week.week_start}"]
    with week.warehouse.batches(chosen.select(names, where), chosen.table) as batches:
        rows = pl.concat(batches)
    return {symbol: (old, new) for symbol, old, new in rows.select(names).iter_rows()}


def differing(shares: Shares) -> Shares:
    """Return the shares that are not the same; other values of a row may differ, too."""
    return {symbol: (old, new) for symbol, (old, new) in shares.items() if old != new}


def load_all(week: PartitionLoader, clock: StoppedClock, history: Sequence[Load]) -> Model:
    """Load deliveries into a week; return the model of them."""
    model = Model()
    groups: list[str] = []
    clock.at = NOON
    for number, load in enumerate(history):
        clock.at += timedelta(load.days_passed)
        today = clock.at.date()
        turned_to = load.turned_to if (load.turned_to or 0) < number else None
        rows: Mapping[str, State] = {
            symbol: State(shares, None if lag is None else today - timedelta(lag))
            for symbol, (shares, lag) in load.rows.items()
        }
        replayed = {}
        if turned_to is not None:
            rows = model.delivered[turned_to]
            replayed = {"replay_of": groups[turned_to], "turns_back": True}
        loaded = week.write_batch(
            *(
                row(
                    symbol,
                    share_quantity=state.shares,
                    initial_published_date=None if state.updated is None else FIRST,
                    last_update_date=state.updated,
                )
                for symbol, state in rows.items()
            ),
            version=str(number),
            **replayed,
        )
        groups.append(loaded.group_id)
        model.load(rows, today, turned_to)
    return model


def require_states_of_model(
    partition_loader: PartitionLoader, clock: StoppedClock, history: Sequence[Load]
) -> None:
    """Load deliveries, and require that rows, gold and diffs of each day are those of a model."""
    week = replace(partition_loader, week_start=MONDAY + timedelta(7 * next(OTHER_WEEKS)))
    model = load_all(week, clock, history)
    recorded = select(deliveries.c.published_on).where(
        deliveries.c.partition_key == week.partition_key
    )
    days = week.warehouse.frame(recorded, deliveries)["published_on"].to_list()
    assert sorted(days) == sorted(model.published_on)
    for day in model.days():
        assert symbols_of(week, day) == model.published_by(day), day
    for day in {*model.published_on}:
        if rows := model.published_by(day):
            assert gold_of(week, day) == rows, day
    for first, last in pairwise(sorted({*model.published_on})):
        before, after = model.published_by(first), model.published_by(last)
        shares = {key: (before.get(key), after.get(key)) for key in {*before, *after}}
        changes = changed_shares(week, first, last)
        assert changes.keys() <= shares.keys()
        assert differing(changes) == differing(shares)


histories = st.lists(loads, min_size=1, max_size=5)
few = settings(bounded, max_examples=3, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.slow
@pytest.mark.parametrize("partition_loader", ["sqlite"], indirect=True)
@given(history=histories)
@few
def test_a_state_by_publication_follows_from_publication_days_and_order_alone(
    partition_loader, clock, history
):
    require_states_of_model(partition_loader, clock, history)


@pytest.mark.slow
@given(history=histories)
@settings(few, max_examples=40)
def test_many_states_by_publication_follow_from_publication_days_and_order_alone(
    partition_loader, clock, history
):
    require_states_of_model(partition_loader, clock, history)


@pytest.mark.slow
@pytest.mark.parametrize("partition_loader", ["sqlite"], indirect=True)
def test_a_past_state_depends_on_no_later_delivery_that_is_dated_later(partition_loader, clock):
    history = [
        Load(0, {"A": (1, 5), "B": (1, 3)}, None),
        Load(3, {"A": (1, 8)}, None),
        Load(2, {"A": (2, 1), "B": (1, 8)}, None),
        Load(1, {"A": (1, 0), "B": (2, 4)}, None),
        Load(2, {}, 0),
    ]
    require_states_of_model(partition_loader, clock, history)
    require_states_of_model(partition_loader, clock, history[:-1])


@pytest.mark.slow
@pytest.mark.slow_on_postgresql
def test_rows_whose_earlier_state_was_never_loaded_are_named(partition_loader, tmp_path, capfd):
    first = date(2025, 12, 1)
    partition_loader.write_batch(
        row("AAA", initial_published_date=first, last_update_date=first),
        row("BBB", initial_published_date=first, last_update_date=date(2026, 1, 5)),
        row("CCC", initial_published_date=None, last_update_date=None),
        row("DDD", initial_published_date=date(2026, 1, 5), last_update_date=date(2026, 1, 5)),
    )
    keys = tmp_path / "keys.csv"
    chosen = ["--columns", "symbol", "--published-by", "2025-12-31", "--missing", str(keys)]
    assert main(["export", "finra_otc_weekly", *chosen]) == 0
    output, error = capfd.readouterr()
    assert output == "symbol\r\nAAA\r\n"
    assert (
        "missing_earlier_state: 1 rows were changed after 2025-12-31, and their earlier state was "
        "never loaded; they are left out: 2025-11-10|T1|ATS|BBB|XATS"
    ) in error
    assert "1 rows have no date of publication" in error
    assert keys.read_text().splitlines() == [
        "week_start,tier,market,symbol,venue_id,reason",
        "2025-11-10,T1,ATS,BBB,XATS,missing_earlier_state",
        "2025-11-10,T1,ATS,CCC,XATS,undated",
    ]

    assert main(["export", "finra_otc_weekly", *chosen, "--where", "symbol=AAA", "--force"]) == 0
    assert "missing_earlier_state" not in capfd.readouterr().err


@pytest.mark.slow_on_postgresql
def test_a_row_that_was_removed_by_the_day_is_left_out(partition_loader, clock, capfd):
    partition_loader.write_batch(
        row("AAA", last_update_date=FIRST), row("BBB", last_update_date=FIRST)
    )
    clock.at = NOON + timedelta(days=5)
    partition_loader.write_batch(row("BBB", last_update_date=FIRST), version="v2")
    for days, symbols in ((0, "AAA\r\nBBB"), (5, "BBB")):
        day = (NOON + timedelta(days=days)).date()
        chosen = ["--columns", "symbol", "--published-by", str(day)]
        assert main(["export", "finra_otc_weekly", *chosen]) == 0
        assert capfd.readouterr().out == f"symbol\r\n{symbols}\r\n"


@pytest.mark.slow_on_postgresql
def test_rows_that_the_source_does_not_date_are_named(partition_loader, clock, tmp_path, capfd):
    updated, keys = date(2025, 12, 20), tmp_path / "keys.csv"
    undated: dict[str, Any] = {"initial_published_date": None}
    partition_loader.write_batch(
        row("AAA", last_update_date=updated, **undated),
        row("BBB", last_update_date=FIRST, **undated),
    )
    clock.at = NOON + timedelta(days=5)
    partition_loader.write_batch(row("AAA", last_update_date=updated, **undated), version="v2")
    chosen = [
        "export",
        "finra_otc_weekly",
        "--columns",
        "symbol",
        "--missing",
        str(keys),
        "--force",
    ]
    named = {
        updated - timedelta(1): ("BBB", "AAA,XATS,undated_first_publication"),
        date(2026, 1, 9): ("AAA\r\nBBB", None),
        date(2026, 1, 10): ("AAA", "BBB,XATS,undated_removal"),
        MONDAY - timedelta(1): (None, None),
    }
    for day, (symbols, reason) in named.items():
        assert main([*chosen, "--force", "--published-by", str(day)]) == 0
        output, error = capfd.readouterr()
        assert output == (f"symbol\r\n{symbols}\r\n" if symbols else "symbol\r\n"), day
        rows = [f"2025-11-10,T1,ATS,{reason}"] if reason else []
        assert keys.read_text().splitlines()[1:] == rows, day
        assert (f"all keys: {keys}" in error) == bool(rows)


@pytest.mark.slow_after_first
@pytest.mark.parametrize("ranges_of", [0, 1])
@pytest.mark.slow_on_postgresql
def test_trades_that_move_to_another_venue_count_once_on_every_day(
    partition_loader, clock, ranges_of
):
    moved = date(2025, 12, 20)
    partition_loader.write_batch(
        row("AAA"), row("ZZZ", "UBSA", share_quantity=1000), ranges_of=ranges_of
    )
    clock.at = NOON + timedelta(days=25)
    at_other_venue = row("ZZZ", "XATS", share_quantity=1000, last_update_date=moved)
    partition_loader.write_batch(row("AAA"), at_other_venue, version="v2", ranges_of=ranges_of)
    for day in (PUBLISHED, moved - timedelta(1), moved, moved + timedelta(1), clock.at.date()):
        assert (
            symbols_of(partition_loader, day)
            == gold_of(partition_loader, day)
            == {"AAA": 100, "ZZZ": 1000}
        )
    ended = partition_loader.rows(finra_otc_weekly_history, "venue_id", "ended_on", "is_load_day")
    assert ended == [("UBSA", moved, False)]


@pytest.mark.slow_on_postgresql
def test_a_removed_row_stays_absent_on_that_day_whenever_it_is_added_again(partition_loader, clock):
    first, second = row("AAA"), row("ZZZ")
    partition_loader.write_batch(first, second)
    removed, added = NOON.date() + timedelta(10), NOON.date() + timedelta(12)
    clock.at = NOON + timedelta(days=10)
    partition_loader.write_batch(first, version="v2")
    clock.at = NOON + timedelta(days=12)
    partition_loader.write_batch(first, second, version="v3")  # with its old date
    shares = {"AAA": 100, "ZZZ": 100}
    for day in (removed - timedelta(1), added):
        assert symbols_of(partition_loader, day) == shares
    for day in (removed, added - timedelta(1)):
        assert symbols_of(partition_loader, day) == {"AAA": 100}


@pytest.mark.slow_on_postgresql
def test_a_diff_between_two_days_by_publication_has_no_other_clock(partition_loader, clock, capfd):
    moved = date(2025, 12, 20)
    partition_loader.write_batch(row("AAA"), row("ZZZ", "UBSA"))
    clock.at = NOON + timedelta(days=25)
    partition_loader.write_batch(
        row("AAA"), row("ZZZ", "XATS", last_update_date=moved), version="v2"
    )
    command = ["diff", "finra_otc_weekly", "--columns", "symbol,venue_id,change"]
    days = ["--published-from", str(moved - timedelta(1)), "--published-by", str(moved)]
    assert main([*command, *days, "--where", "tier=T1"]) == 0
    output = capfd.readouterr().out
    assert output == "symbol,venue_id,change\r\nZZZ,UBSA,removed\r\nZZZ,XATS,added\r\n"
    with pytest.raises(SystemExit, match="2"):
        main([*command, *days, "--from", "2026-01-01T00:00:00Z"])
    assert "--published-from DAY and --published-by DAY" in capfd.readouterr().err


def test_a_table_without_dates_of_publication_is_refused(partition_loader, capfd):
    assert main(["export", "fx_rates_daily", "--published-by", "2026-01-01"]) == 1
    assert "does not say when it published a row" in capfd.readouterr().err
    assert main(["export", "finra_otc_weekly", "--missing", "keys.csv"]) == 1
    assert "--missing needs --published-by" in capfd.readouterr().err
