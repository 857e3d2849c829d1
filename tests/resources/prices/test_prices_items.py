"""Symbols as work items: claimed by one run at a time, settled as they are loaded, retried."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError

from orchestration_project.assets.prices.months import summarize_by_month
from orchestration_project.domains.prices.calendar import closes_at
from orchestration_project.domains.prices.contract import RULE_VERSION
from orchestration_project.engine.loads import ItemResult
from orchestration_project.engine.warehouse import SupersededError
from orchestration_project.engine.work_items import WorkItems
from orchestration_project.errors import ContractError, OrchestrationError, TransientError
from orchestration_project.resources.prices.load import LoadedPrices, PriceLoad
from orchestration_project.resources.prices.work import SYMBOL_LEASE, SYMBOLS_TOPIC, retried_work
from orchestration_project.tables.spine import landings
from tests.domains.prices import line
from tests.resources.price_loading import FEBRUARY, MONTH, NOT_REQUESTED, PriceLoader
from tests.resources.prices.test_prices_batches import Refused
from tests.resources.weeks import StoppedClock

DONE = ("done", 1, None)


def loaded(load: PriceLoad, taken: Sequence) -> Mapping[str, LoadedPrices | OrchestrationError]:
    """Load what a run took, and again what another run delivered first."""
    ended = dict(load.write_batch(taken))
    late = [symbol for symbol, value in ended.items() if isinstance(value, SupersededError)]
    for again in load.batches(late) if late else ():
        ended |= load.write_batch(again)
    return ended


def taken(price_loader: PriceLoader, *symbols: str) -> tuple[PriceLoad, Sequence]:
    """Have a run claim and fetch symbols that it has not loaded yet."""
    load = price_loader.loading(*symbols)
    [batch] = load.batches(load.pieces(["2026-02-01"]))
    return load, batch


def item(price_loader: PriceLoader, key: str):
    found = WorkItems(price_loader.warehouse, price_loader.clock).list_items(topic=SYMBOLS_TOPIC)
    return next(work_item for work_item in found if work_item.item_key == key)


@pytest.mark.slow_after_first
def test_each_symbol_that_is_asked_for_is_an_item_settled_as_it_ended(price_loader: PriceLoader):
    for symbol in ("AAA", "DOWN", "BROKEN"):
        price_loader.write(symbol, *map(line, FEBRUARY))
    price_loader.write("BEHIND", *map(line, FEBRUARY[:-1]))
    price_loader.write("TWICE", *map(line, [FEBRUARY[0], *FEBRUARY]))
    price_loader.source.errors = {
        "DOWN": TransientError("it is down", retry_in_seconds=7200),
        "BROKEN": ContractError("it is broken"),
    }
    price_loader.load("AAA", "BEHIND", "GONE", "UNKNOWN", "DOWN", "BROKEN", "TWICE")
    assert price_loader.items() == {
        "AAA": DONE,
        "BEHIND": ("skipped", 1, None),
        "GONE": ("skipped", 1, None),
        "DOWN": ("failed", 1, None),
        "BROKEN": ("dead", 1, None),
        "TWICE": ("dead", 1, None),
    }  # no request for one that cannot be spelled
    done, down = (
        item(price_loader, "AAA|2026-02-01|2026-02-01"),
        item(price_loader, "DOWN|2026-02-01|2026-02-01"),
    )
    assert (done.version, done.result_version) == ("2026-02-27 files", RULE_VERSION)
    assert (done.run_id, done.reason_code, done.reason) == ("run 1", None, None)
    assert (down.reason_code, down.reason) == ("transient", "it is down")
    assert down.due_at == price_loader.clock.at + timedelta(hours=2)
    behind = item(price_loader, "BEHIND|2026-02-01|2026-02-01")
    assert (behind.reason_code, behind.reason) == (
        "waiting",
        "the source's newest price is of 2026-02-26",
    )
    broken = item(price_loader, "BROKEN|2026-02-01|2026-02-01")
    assert str(broken.reason).startswith("it is broken; what to do")


def test_loaded_months_make_no_item_but_a_later_session_does(
    light_loader: PriceLoader, clock: StoppedClock
):
    clock.at -= timedelta(days=1)
    light_loader.write("AAA", *map(line, FEBRUARY))
    light_loader.load("AAA")
    before = item(light_loader, "AAA|2026-02-01|2026-02-01")
    light_loader.load("AAA")
    assert item(light_loader, "AAA|2026-02-01|2026-02-01") == before
    clock.at += timedelta(days=1)
    light_loader.load("AAA")
    after = item(light_loader, "AAA|2026-02-01|2026-02-01")
    assert (before.version, after.version) == ("2026-02-26 files", "2026-02-27 files")
    assert light_loader.items() == {"AAA": DONE}


@pytest.mark.slow
def test_a_run_by_hand_works_on_what_is_done_or_dead_or_waits_for_its_next_attempt(
    light_loader: PriceLoader,
):
    for symbol in ("AAA", "DOWN", "BROKEN"):
        light_loader.write(symbol, *map(line, FEBRUARY))
    light_loader.source.errors = {
        "DOWN": TransientError("it is down"),
        "BROKEN": ContractError("it is broken"),
    }
    light_loader.load("AAA", "DOWN", "BROKEN")
    light_loader.source.errors = {}
    light_loader.load("AAA", "DOWN", "BROKEN")
    assert set(light_loader.states(MONTH).values()) == {"landed"}
    assert light_loader.items() == {
        "AAA": DONE,
        "DOWN": ("done", 2, None),
        "BROKEN": ("done", 2, None),
    }
    light_loader.load("AAA", full=True)
    light_loader.load("AAA", full=True)
    assert light_loader.items()["AAA"] == ("done", 2, None)  # `full` is another version
    assert [request.symbol for request in light_loader.source.requested].count("AAA") == 3


def test_work_that_failed_and_needs_no_request_any_more_is_done_by_the_next_run(
    light_loader: PriceLoader,
):
    light_loader.write("AAA", *map(line, FEBRUARY))
    light_loader.source.errors = {"AAA": TransientError("it is down")}
    light_loader.load("AAA")
    light_loader.source.errors = {}
    light_loader.load("AAA", months=("2026-01-01", "2026-02-01"))  # an item of its own
    failed = item(light_loader, "AAA|2026-02-01|2026-02-01")
    assert failed.state == "failed"
    light_loader.load("AAA")
    assert item(light_loader, "AAA|2026-02-01|2026-02-01").state == "done"
    assert len(light_loader.source.requested) == 2


def test_retried_work_waits_for_a_run_over_its_months(light_loader: PriceLoader):
    light_loader.write("AAA", *map(line, FEBRUARY))
    light_loader.source.errors = {"AAA": TransientError("it is down")}
    light_loader.load("AAA", months=("2026-01-01", "2026-02-01"))
    assert retried_work(light_loader.warehouse) == []
    WorkItems(light_loader.warehouse, light_loader.clock).retry(SYMBOLS_TOPIC)
    [found] = retried_work(light_loader.warehouse)
    assert found.work == ("AAA", date(2026, 1, 1), MONTH)
    assert found.retried_at == light_loader.clock.at
    light_loader.source.errors = {}
    light_loader.load("AAA", months=("2026-01-01", "2026-02-01"))
    assert retried_work(light_loader.warehouse) == []
    assert light_loader.items() == {"AAA": ("done", 2, None)}


# Two runs at once


@pytest.mark.slow
@pytest.mark.slow_on_postgresql
def test_a_symbol_that_a_run_under_way_has_claimed_is_left_to_it_and_reported_as_it_stands(
    price_loader: PriceLoader,
):
    price_loader.under_way = {"run 1", "run 2"}
    for symbol in ("AAA", "BBB"):
        price_loader.write(symbol, *map(line, FEBRUARY))
    first, batch = taken(price_loader, "AAA")
    ended = price_loader.load("AAA", "BBB")
    assert str(ended["AAA"]) == "waiting: the run run 1 loads it"
    assert price_loader.states(MONTH) == {"BBB": "landed"}  # nothing is noted of what is left
    assert price_loader.items() == {"AAA": ("leased", 0, "run 1"), "BBB": DONE}
    outcomes = [
        ItemResult(symbol, value)
        for symbol, value in ended.items()
        if isinstance(value, LoadedPrices)
    ]
    [month] = summarize_by_month(["2026-02-01"], outcomes)
    assert month.error is None
    assert month.loaded is not None
    assert (month.loaded.row_count, month.loaded.unchanged_count) == (19, 0)
    assert {state: n for state, n in month.loaded.states.items() if n} == {
        "landed": 1,
        "waiting": 1,
    }
    [waits] = month.loaded.open
    assert (waits.symbol, waits.reason, waits.run_id) == ("AAA", "the run run 1 loads it", "run 1")
    assert str(first.write_batch(batch)["AAA"]).startswith("19 rows added")
    assert price_loader.items() == {"AAA": DONE, "BBB": DONE}
    assert [request.symbol for request in price_loader.source.requested] == ["AAA", "BBB"]


@pytest.mark.slow
@pytest.mark.slow_on_postgresql
def test_runs_at_once_over_the_same_symbols_ask_for_each_once_and_neither_waits(
    price_loader: PriceLoader,
):
    symbols = [f"S{number:02}" for number in range(24)]
    price_loader.under_way = {"run 1", "run 2"}
    for symbol in symbols:
        price_loader.write(symbol, *map(line, FEBRUARY))
    loads = [price_loader.loading(*symbols), price_loader.loading(*reversed(symbols))]

    def load(run: PriceLoad) -> dict[str, LoadedPrices | OrchestrationError]:
        ended: dict[str, LoadedPrices | OrchestrationError] = {}
        keys = run.pieces(["2026-02-01"])
        for place in range(0, len(keys), 4):
            for batch in run.batches(keys[place : place + 4]):
                ended |= loaded(run, batch)
        return ended

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(load, loads))
    assert [len(months) for months in found] == [24, 24]
    assert not [
        value for run in found for value in run.values() if not isinstance(value, LoadedPrices)
    ]
    written = [
        s for run in found for s, value in run.items() if getattr(value, "write_result", None)
    ]
    assert sorted(written) == symbols
    assert set(price_loader.states(MONTH).values()) == {"landed"}
    assert {state for state, *_ in price_loader.items().values()} == {"done"}
    assert sorted(request.symbol for request in price_loader.source.requested) == symbols
    with price_loader.warehouse.reading() as connection:
        assert len(connection.execute(select(landings.c.group_id)).all()) == 24


@pytest.mark.slow_on_postgresql
def test_work_that_a_killed_run_left_is_an_attempt_and_the_next_run_loads_it(
    price_loader: PriceLoader,
):
    price_loader.write("AAA", *map(line, FEBRUARY))
    taken(price_loader, "AAA")  # and run 1 reports no more
    assert price_loader.items() == {"AAA": ("leased", 0, "run 1")}
    price_loader.load("AAA")
    assert price_loader.states(MONTH) == {"AAA": "landed"}
    assert price_loader.items() == {"AAA": ("done", 2, None)}


@pytest.mark.slow_after_first
def test_a_run_ends_the_leases_of_runs_that_have_ended_whatever_their_months(
    price_loader: PriceLoader,
):
    for symbol in ("AAA", "BBB"):
        price_loader.write(symbol, *map(line, FEBRUARY))
    taken(price_loader, "AAA")
    taken(price_loader, "BBB")
    price_loader.under_way = {"run 2"}
    third = price_loader.loading("CCC")
    third.ready()
    assert price_loader.items() == {"AAA": ("failed", 1, None), "BBB": ("leased", 0, "run 2")}
    found = item(price_loader, "AAA|2026-02-01|2026-02-01")
    assert (found.reason_code, found.reason) == (
        "run_ended",
        "the run run 1 ended before it settled the item",
    )


@pytest.mark.slow
@pytest.mark.slow_on_postgresql
def test_a_lease_that_expires_during_its_run_lets_one_run_load(
    price_loader: PriceLoader, clock: StoppedClock
):
    price_loader.under_way = {"run 1", "run 2"}
    for symbol in ("AAA", "BBB"):
        price_loader.write(symbol, *map(line, FEBRUARY))
    first, batch = taken(price_loader, "AAA", "BBB")
    clock.at += SYMBOL_LEASE
    second, later = taken(price_loader, "AAA")
    ended = loaded(first, batch)  # it comes first all the same: the fence decides
    assert [str(value)[:13] for value in ended.values()] == ["19 rows added"] * 2
    assert price_loader.items() == {"BBB": DONE, "AAA": ("leased", 1, "run 2")}
    assert {symbol: str(value) for symbol, value in loaded(second, later).items()} == {
        "AAA": NOT_REQUESTED
    }
    assert price_loader.items()["AAA"][::2] == ("done", None)
    assert dict(price_loader.months().select("symbol", "run_id").rows()) == {
        "AAA": "run 1",
        "BBB": "run 1",
    }


@pytest.mark.slow_on_postgresql
def test_a_run_that_lost_its_lease_and_comes_late_leaves_the_symbol_as_the_other_loaded_it(
    price_loader: PriceLoader, clock: StoppedClock
):
    price_loader.under_way = {"run 1", "run 2"}
    price_loader.write("AAA", *map(line, FEBRUARY))
    first, batch = taken(price_loader, "AAA")
    clock.at += SYMBOL_LEASE
    price_loader.write("AAA", *(line(day, 12) for day in FEBRUARY))
    price_loader.load("AAA")
    before = item(price_loader, "AAA|2026-02-01|2026-02-01")
    [late] = first.write_batch(batch).values()
    assert isinstance(late, SupersededError)
    assert item(price_loader, "AAA|2026-02-01|2026-02-01") == before
    [again] = first.batches(["AAA"])
    assert str(first.write_batch(again)["AAA"]) == NOT_REQUESTED
    assert set(price_loader.closes("AAA").values()) == {12.0}


@pytest.mark.slow
@pytest.mark.slow_on_postgresql
def test_a_run_that_asks_for_a_later_session_takes_a_symbol_over_from_one_under_way(
    price_loader: PriceLoader, clock: StoppedClock
):
    price_loader.under_way = {"run 1", "run 2"}
    clock.at -= timedelta(days=1)
    price_loader.write("AAA", *map(line, FEBRUARY))
    first, batch = taken(price_loader, "AAA")
    clock.at = closes_at(FEBRUARY[-1]).astimezone(UTC)
    second, newer = taken(price_loader, "AAA")
    assert item(price_loader, "AAA|2026-02-01|2026-02-01").version == "2026-02-27 files"
    assert str(loaded(first, batch)["AAA"]) == "18 rows added, 0 changed, 0 removed, 0 unchanged"
    assert price_loader.items() == {
        "AAA": ("leased", 0, "run 2")
    }  # the older version settles nothing
    assert str(loaded(second, newer)["AAA"]) == "1 rows added, 0 changed, 0 removed, 18 unchanged"
    assert price_loader.items()["AAA"][::2] == ("done", None)
    assert list(price_loader.closes("AAA")) == FEBRUARY
    first, batch = taken(price_loader, "AAA")  # an earlier version never takes over
    assert len(batch) == 1


# What cannot be settled


def test_what_is_not_settled_is_not_loaded_and_the_next_run_does_both(light_loader: PriceLoader):
    light_loader.write("AAA", *map(line, FEBRUARY))
    with light_loader.warehouse.writing() as connection:
        connection.execute(
            text(
                "CREATE TRIGGER refuse BEFORE UPDATE ON work_items WHEN NEW.state = 'done' "
                "BEGIN SELECT RAISE(ABORT, 'it is refused'); END"
            )
        )
    with pytest.raises(IntegrityError):  # a defect, which ends the run
        light_loader.load("AAA")
    assert (light_loader.closes("AAA"), light_loader.states(MONTH)) == ({}, {})
    assert light_loader.items() == {"AAA": ("leased", 0, "run 1")}
    with light_loader.warehouse.writing() as connection:
        connection.execute(text("DROP TRIGGER refuse"))
    light_loader.load("AAA")
    assert light_loader.items() == {"AAA": ("done", 2, None)}
    assert light_loader.states(MONTH) == {"AAA": "landed"}


def test_what_fails_of_the_transaction_is_a_failed_attempt_of_each_symbol_in_it(
    light_loader: PriceLoader, tmp_path: Path, clock: StoppedClock
):
    for symbol in ("AAA", "BBB"):
        light_loader.write(symbol, *map(line, FEBRUARY))
    whole = light_loader.warehouse
    with Refused(f"sqlite:///{tmp_path}/w.sqlite", clock=clock) as light_loader.warehouse:
        light_loader.load("AAA", "BBB")
    light_loader.warehouse = whole
    assert light_loader.items() == dict.fromkeys(("AAA", "BBB"), ("failed", 1, None))
    assert item(light_loader, "AAA|2026-02-01|2026-02-01").reason == "the server restarts"
