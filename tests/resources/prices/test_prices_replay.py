"""Symbols taken up again from the bytes that were kept of them, on both databases."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select, update

from orchestration_project.domains.prices.contract import RULE_VERSION
from orchestration_project.domains.prices.tables import (
    prices_daily,
    prices_daily_history,
    prices_symbol_months,
)
from orchestration_project.engine.captures import BlobError
from orchestration_project.engine.connections.artifacts import FolderStore
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.values import derive_schema
from orchestration_project.engine.warehouse import QuarantinedError
from orchestration_project.engine.warehouse.target import BOOKKEEPING
from orchestration_project.errors import ConfigurationError
from orchestration_project.resources.prices.load import LoadedPrices
from orchestration_project.resources.prices.replay import PriceReplay
from orchestration_project.services.cleanup.removing import Retention, plan_cleanup
from orchestration_project.tables.schema import METADATA
from orchestration_project.tables.spine import blobs, captures, deliveries, fences, landings
from tests.domains.prices import line
from tests.properties import bounded
from tests.resources.price_loading import (
    BOTH,
    FEBRUARY,
    FRIDAY_EVENING,
    JANUARY,
    LIMITS,
    MONTH,
    PriceLoader,
)
from tests.resources.weeks import StoppedClock


def replaying(price_loader: PriceLoader, group: int | None = None, **options) -> PriceReplay:
    """Return a replay that has no source at all."""
    group_id = None if group is None else f"prices_daily:AAA#{group}"
    store, limits = (
        FolderStore(price_loader.folder.parent / "artifacts"),
        options.pop("limits", LIMITS),
    )
    return PriceReplay(
        price_loader.warehouse,
        store,
        price_loader.clock,
        "replaying",
        limits,
        group_id=group_id,
        **options,
    )


def replay(
    price_loader: PriceLoader, group: int | None = None, *, symbol: str = "AAA", **options
) -> LoadedPrices:
    replay = replaying(price_loader, group, **options)
    return replay.write_batch(replay.take(symbol))


def contents(price_loader: PriceLoader) -> Mapping[str, Sequence[tuple]]:
    return {
        name: price_loader.warehouse.frame(select(table), table).rows()
        for name, table in METADATA.tables.items()
    }


def published(price_loader: PriceLoader) -> list[tuple]:
    """Return the rows that readers see, without whence and since when they are known."""
    names = [name for name in derive_schema(prices_daily) if name not in BOOKKEEPING]
    return rows(price_loader, prices_daily, *names)


def rows(price_loader: PriceLoader, table, *names: str) -> list[tuple]:
    columns: list[Any] = [table.c[name] for name in names]
    statement: Any = select(*columns).order_by(*table.primary_key.columns)
    return price_loader.warehouse.frame(statement, table).rows()


def load_thrice(price_loader: PriceLoader) -> None:
    """Load January and February, then a January that is revised, then more of February."""
    price_loader.write("AAA", *map(line, [*JANUARY, *FEBRUARY[:5]]))
    price_loader.load("AAA", months=BOTH)
    price_loader.write("AAA", *(line(day, 11) for day in [*JANUARY[1:], *FEBRUARY]))
    price_loader.clock.at += timedelta(minutes=1)
    price_loader.load("AAA", months=BOTH[:1], full=True)
    price_loader.write("AAA", *(line(day, 12) for day in FEBRUARY[1:]))
    price_loader.clock.at += timedelta(minutes=1)
    price_loader.load("AAA", full=True)


def as_by_older_rules(price_loader: PriceLoader, symbol: str = "AAA") -> None:
    """Make what is loaded of a symbol what rules of another version had made of it."""
    with price_loader.warehouse.writing() as connection:
        of = prices_daily.c.symbol == symbol
        connection.execute(update(prices_daily).where(of).values(volume=7))
        connection.execute(update(landings).values(rule_version="older"))
        connection.execute(update(fences).values(landed_rule_version="older"))


@pytest.mark.slow
def test_a_replay_of_overlapping_ranges_by_the_same_rules_writes_nothing(price_loader: PriceLoader):
    load_thrice(price_loader)
    before = contents(price_loader)
    replayed = replay(price_loader)
    assert (str(replayed), replayed.write_result) == ("unchanged", None)
    assert {month.month: count for month, count in replayed.row_counts.items()} == {1: 19, 2: 18}
    assert contents(price_loader) == before


@pytest.mark.slow
def test_a_replay_by_newer_rules_is_one_restatement_of_ours_that_is_made_of_all_deliveries(
    price_loader: PriceLoader, clock: StoppedClock
):
    load_thrice(price_loader)
    expected = published(price_loader)
    as_by_older_rules(price_loader)
    clock.at += timedelta(days=1)
    replayed = replay(price_loader)
    assert published(price_loader) == expected
    assert replayed.write_result
    assert (replayed.write_result.change_cause, replayed.write_result.rows_changed) == ("ours", 37)
    history = rows(
        price_loader, prices_daily_history, "volume", "change_cause", "rule_version", "known_to"
    )
    assert [row for row in history if row[1] == "ours"] == [
        (7, "ours", RULE_VERSION, clock.at) for _ in expected
    ]
    assert rows(price_loader, deliveries, "group_id", "replay_of", "part_count", "run_id")[3:] == [
        ("prices_daily:AAA#4", "prices_daily:AAA#3", 3, "replaying")
    ]
    before = contents(price_loader)
    assert str(replay(price_loader)) == "unchanged"
    assert contents(price_loader) == before


@pytest.mark.slow
def test_each_replayed_row_leads_to_the_bytes_and_to_the_run_that_fetched_them(
    light_loader: PriceLoader, clock: StoppedClock
):
    load_thrice(light_loader)
    as_by_older_rules(light_loader)
    clock.at += timedelta(days=1)
    replay(light_loader)
    with light_loader.warehouse.reading() as connection:
        found = connection.execute(
            select(prices_daily.c.trade_date, captures.c.run_id, captures.c.fetched_at)
            .join(captures, prices_daily.c.capture_id == captures.c.capture_id)
            .where(captures.c.group_id == "prices_daily:AAA#4")
        ).all()
    runs = {day: run for day, run, _ in found}
    assert len(runs) == 37
    assert runs[JANUARY[1]] == "run 2"
    assert runs[FEBRUARY[-1]] == "run 3"
    assert {at for _, run, at in found if run == "run 2"} == {FRIDAY_EVENING + timedelta(minutes=1)}


@pytest.mark.slow
def test_an_older_delivery_takes_its_range_back_only_when_asked_and_stays_there(
    light_loader: PriceLoader, clock: StoppedClock
):
    load_thrice(light_loader)
    before = contents(light_loader)
    with pytest.raises(ConfigurationError, match="#1 is older than what is loaded"):
        replay(light_loader, 1)
    assert contents(light_loader) == before
    clock.at += timedelta(days=1)
    older = replay(light_loader, 1, allow_older=True).write_result
    assert older
    assert older.change_cause == "ours"
    assert set(light_loader.closes("AAA").values()) == {10.0, 12.0}
    assert str(replay(light_loader)) == "unchanged"
    clock.at += timedelta(days=1)
    replay(light_loader, 3)  # forward again needs no leave
    assert light_loader.closes("AAA") == dict.fromkeys(JANUARY, 10.0) | dict.fromkeys(
        FEBRUARY[1:], 12.0
    )
    assert str(replay(light_loader)) == "unchanged"


def test_an_older_delivery_stays_older_than_a_quarantined_one(
    light_loader: PriceLoader,
):
    light_loader.write("AAA", *map(line, JANUARY))
    light_loader.load("AAA", months=BOTH[:1])
    light_loader.write("AAA", *(line(day, 11) for day in JANUARY))
    light_loader.load("AAA", months=BOTH[:1], full=True)
    light_loader.write("AAA", *(line(day, 0) for day in JANUARY))
    light_loader.load("AAA", months=BOTH[:1], full=True)
    assert rows(light_loader, deliveries, "outcome") == [("landed",), ("landed",), ("held_back",)]
    with pytest.raises(ConfigurationError, match="#1 is older than what is loaded"):
        replay(light_loader, 1)
    assert str(replay(light_loader, 2)) == "unchanged"
    assert set(light_loader.closes("AAA").values()) == {11.0}


@pytest.mark.slow
def test_a_replay_does_not_publish_an_older_quarantined_delivery(
    light_loader: PriceLoader,
):
    lenient = replace(LIMITS, max_reject_ratio=0.9)
    light_loader.write("AAA", *map(line, JANUARY[:3]), *(line(day, 0) for day in JANUARY[3:]))
    light_loader.load("AAA", months=BOTH[:1])
    replay(light_loader, limits=lenient)
    light_loader.write("AAA", *(line(day, 11) for day in JANUARY))
    light_loader.load("AAA", months=BOTH[:1], full=True)
    with pytest.raises(QuarantinedError, match="has_few_rejects"):
        replay(light_loader, 1, allow_older=True)
    for limits in (LIMITS, lenient):
        assert str(replay(light_loader, limits=limits)) == "unchanged"
    assert light_loader.closes("AAA") == dict.fromkeys(JANUARY, 11.0)


@pytest.mark.slow
def test_a_delivery_that_nothing_later_covers_is_replayed_alone_without_leave(
    light_loader: PriceLoader,
):
    light_loader.write("AAA", *map(line, [*JANUARY, *FEBRUARY]))
    light_loader.load("AAA", months=BOTH[:1])
    light_loader.load("AAA", months=BOTH[1:])
    as_by_older_rules(light_loader)
    loaded = replay(light_loader, 1).write_result
    assert loaded
    assert (loaded.change_cause, loaded.rows_changed) == ("ours", len(JANUARY))


@pytest.mark.slow
def test_a_replay_of_several_deliveries_is_no_delivery_to_replay_by_name(light_loader: PriceLoader):
    load_thrice(light_loader)
    as_by_older_rules(light_loader)
    replay(light_loader)
    with pytest.raises(ConfigurationError, match="replayed several deliveries at once"):
        replay(light_loader, 4)


TWICE = [line(FEBRUARY[0]), line(FEBRUARY[0], 0), line(FEBRUARY[1], 0)]
"""Two of three days that are rejected."""


@pytest.mark.slow
def test_a_quarantined_symbol_loads_once_the_limit_allows_it(
    light_loader: PriceLoader,
):
    light_loader.write("AAA", *map(line, JANUARY))
    light_loader.load("AAA", months=BOTH[:1])
    light_loader.write("AAA", *TWICE)
    light_loader.load("AAA", months=BOTH[1:])
    assert light_loader.states(MONTH) == {"AAA": "refused"}
    with pytest.raises(QuarantinedError, match="has_few_rejects"):
        replay(light_loader)
    assert list(light_loader.closes("AAA")) == JANUARY
    lenient = replace(LIMITS, max_reject_ratio=0.9)
    replayed = replay(light_loader, limits=lenient)
    assert replayed.write_result
    assert (replayed.write_result.change_cause, replayed.write_result.rows_added) == ("more", 1)
    assert list(light_loader.closes("AAA")) == [*JANUARY, FEBRUARY[0]]
    assert light_loader.states(MONTH) == {"AAA": "landed"}
    assert light_loader.states(date(2026, 1, 1)) == {"AAA": "landed"}
    with pytest.raises(QuarantinedError, match="has_few_rejects"):  # nor is it said to be unchanged
        replay(light_loader)
    assert str(replay(light_loader, limits=lenient)) == "unchanged"
    assert [row[0] for row in rows(light_loader, landings, "change_cause")] == ["first", "more"]


def test_what_waits_still_waits_after_a_replay_that_changes_how_many_rows_there_are(
    light_loader: PriceLoader,
):
    light_loader.write("AAA", *map(line, FEBRUARY[:5]))
    light_loader.load("AAA")
    assert light_loader.states(MONTH) == {"AAA": "waiting"}
    before = light_loader.months()
    with light_loader.warehouse.writing() as connection:
        connection.execute(delete(prices_daily).where(prices_daily.c.trade_date == FEBRUARY[0]))
        connection.execute(update(prices_symbol_months).values(row_count=4))
        connection.execute(update(landings).values(rule_version="older"))
        connection.execute(update(fences).values(landed_rule_version="older"))
    assert replay(light_loader).write_result
    assert light_loader.months().equals(before)


@pytest.mark.slow
def test_a_lost_blob_is_named_and_nothing_is_loaded(light_loader: PriceLoader, tmp_path: Path):
    load_thrice(light_loader)
    as_by_older_rules(light_loader)
    [(name,), *_] = rows(light_loader, blobs, "storage_uri")
    (tmp_path / "artifacts" / name).unlink()
    before = contents(light_loader)
    with pytest.raises(BlobError, match=name):
        replay(light_loader)
    assert contents(light_loader) == before


@pytest.mark.slow
def test_bytes_that_a_replay_needs_stay_although_no_row_was_read_from_them(
    light_loader: PriceLoader, clock: StoppedClock, tmp_path: Path
):
    light_loader.write("AAA", *map(line, FEBRUARY))
    light_loader.load("AAA")
    light_loader.write("AAA", *map(line, [*JANUARY[:1], *FEBRUARY]))
    light_loader.load("AAA", full=True)
    light_loader.write("AAA", *map(line, JANUARY))
    light_loader.load("AAA", months=BOTH[:1])
    store = FolderStore(tmp_path / "artifacts")
    long_ago = (Clock().now() - timedelta(days=20)).timestamp()
    for stored_object in store.listed():
        os.utime(tmp_path / "artifacts" / stored_object.name, (long_ago, long_ago))
    clock.at += timedelta(days=20)
    for keep_newest in (1, 0):
        retention = Retention({"captured bytes": 10}, keep_newest)
        plan = plan_cleanup(light_loader.warehouse, store, retention, now=clock.now())
        assert plan.files == {"captured bytes": []}
    assert str(replay(light_loader)) == "unchanged"


@pytest.mark.slow
def test_a_run_over_months_replays_the_symbols_that_were_asked_for_in_them(
    light_loader: PriceLoader,
):
    load_thrice(light_loader)
    light_loader.write("BBB", *map(line, FEBRUARY))
    light_loader.load("BBB")
    assert replaying(light_loader).pieces(BOTH) == ["AAA", "BBB"]
    assert replaying(light_loader).pieces(BOTH[:1]) == ["AAA"]
    assert replaying(light_loader, symbols=["BBB"]).pieces(BOTH[:1]) == ["BBB"]
    with pytest.raises(ConfigurationError, match="there is nothing to replay"):
        replaying(light_loader).pieces(["2025-01-01"])
    with pytest.raises(ConfigurationError, match="has no delivery to replay"):
        replaying(light_loader).take("CCC")


LOADS = st.lists(
    st.tuples(
        st.dictionaries(st.sampled_from(FEBRUARY[:6]), st.integers(1, 3), min_size=1),
        st.sampled_from([BOTH, BOTH[1:], BOTH[:1]]),
        st.booleans(),
    ),
    min_size=1,
    max_size=5,
)


@pytest.mark.slow
@settings(bounded, max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(LOADS)
def test_a_replay_of_any_loads_stores_their_rows_once(
    light_loader: PriceLoader, clock: StoppedClock, loads
):
    """Some deliveries are quarantined, between others and at the end: what waits there loads."""
    symbol = f"S{light_loader.runs}"
    for state, months, is_bad in loads:
        clock.at += timedelta(minutes=1)
        days = {JANUARY[-1]: 5, **dict(sorted(state.items()))}
        lines = [line(day, close) for day, close in days.items()]
        light_loader.write(symbol, *lines, *(lines[:1] if is_bad else ()))
        light_loader.load(symbol, months=months, full=True)
    of_symbol = deliveries.c.partition_key == symbol
    kept = light_loader.warehouse.frame(select(deliveries.c.outcome).where(of_symbol), deliveries)
    expected = published(light_loader)
    if kept["outcome"][-1] == "held_back":
        with pytest.raises(QuarantinedError):
            replay(light_loader, symbol=symbol)
    else:
        as_by_older_rules(light_loader, symbol)
        replay(light_loader, symbol=symbol)
        before = contents(light_loader)
        assert str(replay(light_loader, symbol=symbol)) == "unchanged"
        assert contents(light_loader) == before
    assert published(light_loader) == expected
    clock.at = FRIDAY_EVENING
