"""Symbols as work items: claimed by one run at a time, settled as they are loaded, retried."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError

from orchestration_project.assets.prices.months import by_month
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
from tests.resources.prices.test_prices_batches import Refused
from tests.resources.prices_desk import FEBRUARY, MONTH, NOT_ASKED, Desk
from tests.resources.weeks import StoppedClock

DONE = ("done", 1, None)


def landed(load: PriceLoad, taken: Sequence) -> Mapping[str, LoadedPrices | OrchestrationError]:
    """Land what a run took, and again what another run delivered first."""
    ended = dict(load.land(taken))
    late = [symbol for symbol, each in ended.items() if isinstance(each, SupersededError)]
    for again in load.batches(late) if late else ():
        ended |= load.land(again)
    return ended


def taken(desk: Desk, *symbols: str) -> tuple[PriceLoad, Sequence]:
    """Have a run claim and fetch symbols that it has not landed yet."""
    load = desk.loading(*symbols)
    [batch] = load.batches(load.pieces(["2026-02-01"]))
    return load, batch


def item(desk: Desk, key: str):
    found = WorkItems(desk.warehouse, desk.clock).list_items(topic=SYMBOLS_TOPIC)
    return next(each for each in found if each.item_key == key)


def test_each_symbol_that_is_asked_for_is_an_item_settled_as_it_ended(desk: Desk):
    for symbol in ("AAA", "DOWN", "BROKEN"):
        desk.write(symbol, *map(line, FEBRUARY))
    desk.write("BEHIND", *map(line, FEBRUARY[:-1]))
    desk.write("TWICE", *map(line, [FEBRUARY[0], *FEBRUARY]))
    desk.source.errors = {
        "DOWN": TransientError("it is down", retry_in_seconds=7200),
        "BROKEN": ContractError("it is broken"),
    }
    desk.load("AAA", "BEHIND", "GONE", "UNKNOWN", "DOWN", "BROKEN", "TWICE")
    assert desk.items() == {
        "AAA": DONE,
        "BEHIND": ("skipped", 1, None),
        "GONE": ("skipped", 1, None),
        "DOWN": ("failed", 1, None),
        "BROKEN": ("dead", 1, None),
        "TWICE": ("dead", 1, None),
    }  # no request for one that cannot be spelled
    done, down = item(desk, "AAA|2026-02-01|2026-02-01"), item(desk, "DOWN|2026-02-01|2026-02-01")
    assert (done.version, done.result_version) == ("2026-02-27 files", RULE_VERSION)
    assert (done.run_id, done.reason_code, done.reason) == ("run 1", None, None)
    assert (down.reason_code, down.reason) == ("transient", "it is down")
    assert down.due_at == desk.clock.at + timedelta(hours=2)
    behind = item(desk, "BEHIND|2026-02-01|2026-02-01")
    assert (behind.reason_code, behind.reason) == (
        "waiting",
        "the source's newest price is of 2026-02-26",
    )
    broken = item(desk, "BROKEN|2026-02-01|2026-02-01")
    assert str(broken.reason).startswith("it is broken; what to do")


def test_what_is_landed_makes_no_item_and_a_later_session_is_new_work(
    light_desk: Desk, clock: StoppedClock
):
    clock.at -= timedelta(days=1)
    light_desk.write("AAA", *map(line, FEBRUARY))
    light_desk.load("AAA")
    before = item(light_desk, "AAA|2026-02-01|2026-02-01")
    light_desk.load("AAA")
    assert item(light_desk, "AAA|2026-02-01|2026-02-01") == before
    clock.at += timedelta(days=1)
    light_desk.load("AAA")
    after = item(light_desk, "AAA|2026-02-01|2026-02-01")
    assert (before.version, after.version) == ("2026-02-26 files", "2026-02-27 files")
    assert light_desk.items() == {"AAA": DONE}


def test_a_run_by_hand_works_on_what_is_done_or_dead_or_waits_for_its_next_attempt(
    light_desk: Desk,
):
    for symbol in ("AAA", "DOWN", "BROKEN"):
        light_desk.write(symbol, *map(line, FEBRUARY))
    light_desk.source.errors = {
        "DOWN": TransientError("it is down"),
        "BROKEN": ContractError("it is broken"),
    }
    light_desk.load("AAA", "DOWN", "BROKEN")
    light_desk.source.errors = {}
    light_desk.load("AAA", "DOWN", "BROKEN")
    assert set(light_desk.states(MONTH).values()) == {"landed"}
    assert light_desk.items() == {
        "AAA": DONE,
        "DOWN": ("done", 2, None),
        "BROKEN": ("done", 2, None),
    }
    light_desk.load("AAA", full=True)
    light_desk.load("AAA", full=True)
    assert light_desk.items()["AAA"] == ("done", 2, None)  # `full` is another version
    assert [each.symbol for each in light_desk.source.asked].count("AAA") == 3


def test_work_that_failed_and_needs_no_request_any_more_is_done_by_the_next_run(
    light_desk: Desk,
):
    light_desk.write("AAA", *map(line, FEBRUARY))
    light_desk.source.errors = {"AAA": TransientError("it is down")}
    light_desk.load("AAA")
    light_desk.source.errors = {}
    light_desk.load("AAA", months=("2026-01-01", "2026-02-01"))  # an item of its own
    failed = item(light_desk, "AAA|2026-02-01|2026-02-01")
    assert failed.state == "failed"
    light_desk.load("AAA")
    assert item(light_desk, "AAA|2026-02-01|2026-02-01").state == "done"
    assert len(light_desk.source.asked) == 2


def test_retried_work_waits_for_a_run_over_its_months(light_desk: Desk):
    light_desk.write("AAA", *map(line, FEBRUARY))
    light_desk.source.errors = {"AAA": TransientError("it is down")}
    light_desk.load("AAA", months=("2026-01-01", "2026-02-01"))
    assert retried_work(light_desk.warehouse) == []
    WorkItems(light_desk.warehouse, light_desk.clock).retry(SYMBOLS_TOPIC)
    [found] = retried_work(light_desk.warehouse)
    assert found.work == ("AAA", date(2026, 1, 1), MONTH)
    assert found.retried_at == light_desk.clock.at
    light_desk.source.errors = {}
    light_desk.load("AAA", months=("2026-01-01", "2026-02-01"))
    assert retried_work(light_desk.warehouse) == []
    assert light_desk.items() == {"AAA": ("done", 2, None)}


# Two runs at once


@pytest.mark.slow_on_postgresql
def test_a_symbol_that_a_run_under_way_has_claimed_is_left_to_it_and_reported_as_it_stands(
    desk: Desk,
):
    desk.under_way = {"run 1", "run 2"}
    for symbol in ("AAA", "BBB"):
        desk.write(symbol, *map(line, FEBRUARY))
    first, batch = taken(desk, "AAA")
    ended = desk.load("AAA", "BBB")
    assert str(ended["AAA"]) == "waiting: the run run 1 loads it"
    assert desk.states(MONTH) == {"BBB": "landed"}  # nothing is noted of what is left
    assert desk.items() == {"AAA": ("leased", 0, "run 1"), "BBB": DONE}
    outcomes = [
        ItemResult(symbol, each) for symbol, each in ended.items() if isinstance(each, LoadedPrices)
    ]
    [month] = by_month(["2026-02-01"], outcomes)
    assert month.error is None
    assert month.loaded is not None
    assert (month.loaded.row_count, month.loaded.unchanged_count) == (19, 0)
    assert {state: n for state, n in month.loaded.states.items() if n} == {
        "landed": 1,
        "waiting": 1,
    }
    [waits] = month.loaded.open
    assert (waits.symbol, waits.reason, waits.run_id) == ("AAA", "the run run 1 loads it", "run 1")
    assert str(first.land(batch)["AAA"]).startswith("19 rows added")
    assert desk.items() == {"AAA": DONE, "BBB": DONE}
    assert [each.symbol for each in desk.source.asked] == ["AAA", "BBB"]


@pytest.mark.slow_on_postgresql
def test_runs_at_once_over_the_same_symbols_ask_for_each_once_and_neither_waits(desk: Desk):
    symbols = [f"S{number:02}" for number in range(24)]
    desk.under_way = {"run 1", "run 2"}
    for symbol in symbols:
        desk.write(symbol, *map(line, FEBRUARY))
    loads = [desk.loading(*symbols), desk.loading(*reversed(symbols))]

    def load(run: PriceLoad) -> dict[str, LoadedPrices | OrchestrationError]:
        ended: dict[str, LoadedPrices | OrchestrationError] = {}
        keys = run.pieces(["2026-02-01"])
        for place in range(0, len(keys), 4):
            for batch in run.batches(keys[place : place + 4]):
                ended |= landed(run, batch)
        return ended

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(load, loads))
    assert [len(each) for each in found] == [24, 24]
    assert not [
        each for run in found for each in run.values() if not isinstance(each, LoadedPrices)
    ]
    written = [s for run in found for s, each in run.items() if getattr(each, "landed", None)]
    assert sorted(written) == symbols
    assert set(desk.states(MONTH).values()) == {"landed"}
    assert {state for state, *_ in desk.items().values()} == {"done"}
    assert sorted(each.symbol for each in desk.source.asked) == symbols
    with desk.warehouse.reading() as connection:
        assert len(connection.execute(select(landings.c.group_id)).all()) == 24


@pytest.mark.slow_on_postgresql
def test_work_that_a_killed_run_left_is_an_attempt_and_the_next_run_loads_it(desk: Desk):
    desk.write("AAA", *map(line, FEBRUARY))
    taken(desk, "AAA")  # and run 1 reports no more
    assert desk.items() == {"AAA": ("leased", 0, "run 1")}
    desk.load("AAA")
    assert desk.states(MONTH) == {"AAA": "landed"}
    assert desk.items() == {"AAA": ("done", 2, None)}


def test_a_run_ends_the_leases_of_runs_that_have_ended_whatever_their_months(desk: Desk):
    for symbol in ("AAA", "BBB"):
        desk.write(symbol, *map(line, FEBRUARY))
    taken(desk, "AAA")
    taken(desk, "BBB")
    desk.under_way = {"run 2"}
    third = desk.loading("CCC")
    third.ready()
    assert desk.items() == {"AAA": ("failed", 1, None), "BBB": ("leased", 0, "run 2")}
    found = item(desk, "AAA|2026-02-01|2026-02-01")
    assert (found.reason_code, found.reason) == (
        "run_ended",
        "the run run 1 ended before it settled the item",
    )


@pytest.mark.slow_on_postgresql
def test_a_lease_that_expires_during_its_run_lets_one_run_load(desk: Desk, clock: StoppedClock):
    desk.under_way = {"run 1", "run 2"}
    for symbol in ("AAA", "BBB"):
        desk.write(symbol, *map(line, FEBRUARY))
    first, batch = taken(desk, "AAA", "BBB")
    clock.at += SYMBOL_LEASE
    second, later = taken(desk, "AAA")
    ended = landed(first, batch)  # it comes first all the same: the fence decides
    assert [str(each)[:13] for each in ended.values()] == ["19 rows added"] * 2
    assert desk.items() == {"BBB": DONE, "AAA": ("leased", 1, "run 2")}
    assert {symbol: str(each) for symbol, each in landed(second, later).items()} == {
        "AAA": NOT_ASKED
    }
    assert desk.items()["AAA"][::2] == ("done", None)
    assert dict(desk.months().select("symbol", "run_id").rows()) == {"AAA": "run 1", "BBB": "run 1"}


@pytest.mark.slow_on_postgresql
def test_a_run_that_lost_its_lease_and_comes_late_leaves_the_symbol_as_the_other_loaded_it(
    desk: Desk, clock: StoppedClock
):
    desk.under_way = {"run 1", "run 2"}
    desk.write("AAA", *map(line, FEBRUARY))
    first, batch = taken(desk, "AAA")
    clock.at += SYMBOL_LEASE
    desk.write("AAA", *(line(day, 12) for day in FEBRUARY))
    desk.load("AAA")
    before = item(desk, "AAA|2026-02-01|2026-02-01")
    [late] = first.land(batch).values()
    assert isinstance(late, SupersededError)
    assert item(desk, "AAA|2026-02-01|2026-02-01") == before
    [again] = first.batches(["AAA"])
    assert str(first.land(again)["AAA"]) == NOT_ASKED
    assert set(desk.closes("AAA").values()) == {12.0}


@pytest.mark.slow_on_postgresql
def test_a_run_that_asks_for_a_later_session_takes_a_symbol_over_from_one_under_way(
    desk: Desk, clock: StoppedClock
):
    desk.under_way = {"run 1", "run 2"}
    clock.at -= timedelta(days=1)
    desk.write("AAA", *map(line, FEBRUARY))
    first, batch = taken(desk, "AAA")
    clock.at = closes_at(FEBRUARY[-1]).astimezone(UTC)
    second, newer = taken(desk, "AAA")
    assert item(desk, "AAA|2026-02-01|2026-02-01").version == "2026-02-27 files"
    assert str(landed(first, batch)["AAA"]) == "18 rows added, 0 changed, 0 removed, 0 unchanged"
    assert desk.items() == {"AAA": ("leased", 0, "run 2")}  # the older version settles nothing
    assert str(landed(second, newer)["AAA"]) == "1 rows added, 0 changed, 0 removed, 18 unchanged"
    assert desk.items()["AAA"][::2] == ("done", None)
    assert list(desk.closes("AAA")) == FEBRUARY
    first, batch = taken(desk, "AAA")  # an earlier version never takes over
    assert len(batch) == 1


# What cannot be settled


def test_what_is_not_settled_is_not_loaded_and_the_next_run_does_both(light_desk: Desk):
    light_desk.write("AAA", *map(line, FEBRUARY))
    with light_desk.warehouse.writing() as connection:
        connection.execute(
            text(
                "CREATE TRIGGER refuse BEFORE UPDATE ON work_items WHEN NEW.state = 'done' "
                "BEGIN SELECT RAISE(ABORT, 'it is refused'); END"
            )
        )
    with pytest.raises(IntegrityError):  # a defect, which ends the run
        light_desk.load("AAA")
    assert (light_desk.closes("AAA"), light_desk.states(MONTH)) == ({}, {})
    assert light_desk.items() == {"AAA": ("leased", 0, "run 1")}
    with light_desk.warehouse.writing() as connection:
        connection.execute(text("DROP TRIGGER refuse"))
    light_desk.load("AAA")
    assert light_desk.items() == {"AAA": ("done", 2, None)}
    assert light_desk.states(MONTH) == {"AAA": "landed"}


def test_what_fails_of_the_transaction_is_a_failed_attempt_of_each_symbol_in_it(
    light_desk: Desk, tmp_path: Path, clock: StoppedClock
):
    for symbol in ("AAA", "BBB"):
        light_desk.write(symbol, *map(line, FEBRUARY))
    whole = light_desk.warehouse
    with Refused(f"sqlite:///{tmp_path}/w.sqlite", clock=clock) as light_desk.warehouse:
        light_desk.load("AAA", "BBB")
    light_desk.warehouse = whole
    assert light_desk.items() == dict.fromkeys(("AAA", "BBB"), ("failed", 1, None))
    assert item(light_desk, "AAA|2026-02-01|2026-02-01").reason == "the server restarts"
