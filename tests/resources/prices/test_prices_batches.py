"""Symbols that load together: each as if alone, and none harmed by another."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from orchestration_project.domains.prices.tables import prices_daily
from orchestration_project.engine.captures import Capture, Captures
from orchestration_project.engine.connections.artifacts import FolderStore
from orchestration_project.engine.http.shared_state import SqliteState
from orchestration_project.engine.warehouse import QuarantinedError, SupersededError, Warehouse
from orchestration_project.errors import ContractError, SourceError, TransientError
from orchestration_project.resources.prices import load
from orchestration_project.resources.prices.load import LoadedPrices
from orchestration_project.resources.prices.quota import Quota
from orchestration_project.resources.prices.source import PriceRange
from orchestration_project.tables.schema import METADATA
from tests.domains.prices import csv, line
from tests.properties import bounded
from tests.resources.price_loading import (
    BOTH,
    FEBRUARY,
    FRIDAY_EVENING,
    JANUARY,
    MONTH,
    NOT_REQUESTED,
    Metered,
    PriceLoader,
    light,
)
from tests.resources.weeks import StoppedClock

DAYS = [*JANUARY[-2:], *FEBRUARY[:5]]


def contents(price_loader: PriceLoader) -> Mapping[str, Sequence[tuple]]:
    return {
        name: sorted(price_loader.warehouse.frame(select(table), table).rows(), key=str)
        for name, table in METADATA.tables.items()
        if name != "database_labels"
    }


# As one by one

FILES = {
    "as before": lambda: None,
    "days": lambda: csv(*map(line, DAYS)),
    "revised": lambda: csv(line(DAYS[0]), *(line(day, 11) for day in DAYS[1:])),
    "a day less": lambda: csv(*map(line, [*DAYS[:3], *DAYS[4:]])),
    "dividend": lambda: csv(*map(line, DAYS[:-1]), line(DAYS[-1], 9, dividend=1)),
    "behind": lambda: csv(*map(line, DAYS[:-3])),
    "jump": lambda: csv(*map(line, DAYS[:-1]), line(DAYS[-1], 90)),
    "rejected day": lambda: csv(*map(line, DAYS[:-1]), line(DAYS[-1], high=1)),
    "other days": lambda: csv(*map(line, JANUARY[:3])),
    "a day twice": lambda: csv(*map(line, [*DAYS, DAYS[-1]])),
    "few good": lambda: csv(*(line(day, 0) for day in DAYS[:4]), line(DAYS[4])),
    "no prices": lambda: b"<html>",
    "gone": lambda: b"",
}
"""Next response of the source for a symbol."""

ROUNDS = st.lists(
    st.tuples(
        st.lists(st.sampled_from(list(FILES)), min_size=4, max_size=4),
        st.sampled_from([BOTH, BOTH[1:]]),
        st.booleans(),
    ),
    min_size=2,
    max_size=4,
)
EACH_ONCE = [
    (["days"] * 4, BOTH, False),
    (["revised", "a day less", "dividend", "behind"], BOTH[1:], True),
    (["jump", "rejected day", "other days", "a day twice"], BOTH, True),
    (["few good", "no prices", "gone", "as before"], BOTH, True),
    (["days", "revised", "dividend", "dividend"], BOTH[1:], False),
]


def put(price_loader: PriceLoader, symbol: str, kind: str) -> None:
    """Have the source hold this of a symbol."""
    file = price_loader.folder / f"{symbol}.csv"
    body = FILES[kind]()
    if body:
        file.write_bytes(body)
    elif kind == "gone":
        file.unlink(missing_ok=True)


def check_loaded_alike(
    together: PriceLoader, alone: PriceLoader, symbols: Sequence[str], rounds: Sequence
) -> None:
    """Load the same by batches and symbol by symbol, and compare all there is to see."""
    store = FolderStore(alone.folder.parent / "artifacts")
    alone.source = Metered(together.folder, Captures(store), alone.clock)
    for kinds, months, full in rounds:
        together.clock.at += timedelta(hours=21)
        for symbol, kind in zip(symbols, kinds, strict=False):
            put(together, symbol, kind)
        ended = together.load(*symbols, months=months, full=full)
        for symbol in symbols:
            alone.runs = together.runs - 1
            [(_, expected)] = alone.load(symbol, months=months, full=full).items()
            assert str(ended[symbol]) == str(expected)
            assert type(ended[symbol]) is type(expected)
            if isinstance(expected, LoadedPrices):
                found = ended[symbol]
                assert isinstance(found, LoadedPrices)
                assert (found.row_counts, found.open) == (expected.row_counts, expected.open)
                assert bool(found.write_result) == bool(expected.write_result)
                if found.write_result and expected.write_result:
                    assert found.write_result.change == expected.write_result.change
    assert contents(together) == contents(alone)


@pytest.mark.slow
@settings(bounded, max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ROUNDS)
def test_a_batch_leaves_what_its_symbols_leave_one_by_one(
    tmp_path_factory: pytest.TempPathFactory, rounds
):
    folder, clock = tmp_path_factory.mktemp("alike"), StoppedClock(FRIDAY_EVENING)
    with light(folder / "together", clock) as together, light(folder / "alone", clock) as alone:
        check_loaded_alike(together, alone, ["S1", "S2", "UNKNOWN", "S3", "S4"], rounds)


@pytest.mark.slow
def test_a_batch_loads_each_kind_of_symbol_as_a_single_load_does(
    price_loader: PriceLoader, tmp_path: Path, clock: StoppedClock
):
    with light(tmp_path / "alone", clock) as alone:
        check_loaded_alike(price_loader, alone, ["S1", "S2", "S3", "S4", "UNKNOWN"], EACH_ONCE)


# One that fails


def test_a_symbol_that_fails_does_not_fail_others_of_its_batch(
    light_loader: PriceLoader, tmp_path: Path, clock: StoppedClock
):
    symbols = ["AAA", "DOWN", "BROKEN", "TWICE", "GONE", "UNKNOWN", "BBB", "CCC"]
    for symbol in ("AAA", "DOWN", "BROKEN", "BBB", "CCC"):
        light_loader.write(symbol, *map(line, FEBRUARY))
    light_loader.write("TWICE", *map(line, [FEBRUARY[0], *FEBRUARY]))
    light_loader.source.quota = Quota(
        SqliteState(tmp_path),
        system="vendor",
        requests_per_day=6,
        vendor="The vendor",
        now=clock.now,
    )
    light_loader.source.errors = {
        "DOWN": TransientError("it is down"),
        "BROKEN": ContractError("it is broken"),
    }
    ended = light_loader.load(*symbols)
    assert {symbol: type(value) for symbol, value in ended.items()} == {
        "AAA": LoadedPrices,
        "DOWN": TransientError,
        "BROKEN": ContractError,
        "TWICE": QuarantinedError,
        "GONE": LoadedPrices,
        "UNKNOWN": LoadedPrices,
        "BBB": LoadedPrices,
        "CCC": LoadedPrices,
    }
    assert light_loader.states(MONTH) == {
        "AAA": "landed",
        "DOWN": "waiting",
        "BROKEN": "refused",
        "TWICE": "refused",
        "GONE": "refused",
        "UNKNOWN": "unmapped",
        "BBB": "landed",
        "CCC": "waiting",
    }
    published = light_loader.warehouse.frame(select(prices_daily), prices_daily)
    assert set(published["symbol"]) == {"AAA", "BBB"}
    assert "TWICE" in str(ended["TWICE"])


@pytest.mark.slow
@pytest.mark.slow_on_postgresql
def test_a_symbol_that_another_run_loaded_first_is_skipped(
    price_loader: PriceLoader,
):
    for symbol in ("AAA", "BBB", "CCC"):
        price_loader.write(symbol, *map(line, FEBRUARY))
    load = price_loader.loading("AAA", "BBB", "CCC")
    [taken] = load.batches(load.pieces(["2026-02-01"]))
    price_loader.write("BBB", *(line(day, 12) for day in FEBRUARY))
    price_loader.load("BBB")
    ended = load.write_batch(taken)
    assert isinstance(ended["BBB"], SupersededError)
    assert "partition=BBB" in str(ended["BBB"])
    assert [str(ended[symbol])[:13] for symbol in ("AAA", "CCC")] == ["19 rows added"] * 2
    assert set(price_loader.closes("AAA").values()) == {10.0}
    assert set(price_loader.closes("BBB").values()) == {12.0}
    runs = dict(price_loader.months().select("symbol", "run_id").rows())
    assert runs == {"AAA": "run 1", "BBB": "run 2", "CCC": "run 1"}
    [again] = load.batches(["BBB"])
    assert str(load.write_batch(again)["BBB"]) == NOT_REQUESTED


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("days", "error", "is_answered", "stands"),
    [
        (FEBRUARY, TransientError("it is down"), False, ("landed", None)),
        (FEBRUARY, SourceError("it sent a page"), True, ("landed", None)),
        (
            FEBRUARY[:-1],
            SourceError("it sent a page"),
            True,
            ("waiting", "the source's newest price is of 2026-02-26"),
        ),
    ],
)
def test_a_failed_symbol_keeps_the_rows_that_another_run_loaded(
    light_loader: PriceLoader, monkeypatch: pytest.MonkeyPatch, days, error, is_answered, stands
):
    fetch, requests = light_loader.source.fetch, list[PriceRange]()

    def fails_late(requested: PriceRange, kept: list[Capture]) -> Sequence[Capture]:
        requests.append(requested)
        if len(requests) > 1:
            return fetch(requested, kept)
        light_loader.load("AAA")
        if is_answered:
            fetch(requested, kept)
        raise error

    monkeypatch.setattr(light_loader.source, "fetch", fails_late)
    light_loader.write("AAA", *map(line, days))
    [ended] = light_loader.load("AAA").values()
    assert isinstance(ended, SupersededError if is_answered else TransientError)
    assert light_loader.months().select("state", "reason").rows() == [stands]


class Refused(Warehouse):
    """A database that takes no load."""

    def load_batches(self, *_: object, **__: object):
        raise TransientError("the server restarts")


def test_what_fails_of_the_transaction_is_the_error_of_each_symbol_in_it(
    light_loader: PriceLoader, tmp_path: Path, clock: StoppedClock
):
    for symbol in ("AAA", "BBB"):
        light_loader.write(symbol, *map(line, FEBRUARY))
    whole = light_loader.warehouse
    with Refused(f"sqlite:///{tmp_path}/w.sqlite", clock=clock) as light_loader.warehouse:
        ended = light_loader.load("AAA", "BBB")
    errors = [value for value in ended.values() if isinstance(value, TransientError)]
    assert [str(error.within(number=number)) for number, error in enumerate(errors)] == [
        "the server restarts\n  where: number=0",
        "the server restarts\n  where: number=1",
    ]
    light_loader.warehouse = whole
    assert len(light_loader.load("AAA", "BBB")) == 2
    assert light_loader.states(MONTH) == {"AAA": "landed", "BBB": "landed"}


# What is loaded together


def sizes(
    price_loader: PriceLoader, *symbols: str, months: Sequence[str] = BOTH
) -> list[list[str]]:
    load = price_loader.loading(*symbols)
    batches = load.batches(load.pieces(months))
    return [[symbol_work.symbol for symbol_work in taken] for taken in batches]


def test_a_batch_ends_with_the_symbol_whose_answer_is_large(
    light_loader: PriceLoader, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(load, "MAX_BATCH_BYTES", 512 * 1024)  # not decades of eight symbols
    for symbol in ("AAA", "BIG", "BBB", "CCC"):
        light_loader.write(symbol, *map(line, FEBRUARY))
    of_old = [line(date(1990, 1, 1) + timedelta(days=number), 10.123456) for number in range(9_000)]
    light_loader.write("BIG", *of_old)
    assert sizes(light_loader, "AAA", "BIG", "BBB", "CCC") == [["AAA", "BIG"], ["BBB", "CCC"]]


def test_a_batch_has_no_more_than_a_hundred_symbols_and_fewer_of_many_months(
    light_loader: PriceLoader,
):
    symbols = [f"S{number}" for number in range(250)]
    light_loader.source.overrides.update(dict.fromkeys(symbols, ""))
    assert [len(size) for size in sizes(light_loader, *symbols)] == [100, 100, 50]
    years = [f"{year}-{month:02}-01" for year in range(2006, 2026) for month in range(1, 13)]
    assert {len(size) for size in sizes(light_loader, *symbols[:16], months=years)} == {8}


def test_symbols_that_the_source_spells_alike_are_all_left_out_whatever_batch_they_come_in(
    light_loader: PriceLoader, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(load, "MAX_BATCH_SYMBOLS", 2)
    light_loader.source.overrides["AAAw"] = "AAA"
    for symbol in ("AAA", "BBB"):
        light_loader.write(symbol, *map(line, FEBRUARY))
    light_loader.load("AAA", "BBB", "AAAw")
    assert light_loader.states(MONTH) == {"AAA": "unmapped", "BBB": "landed", "AAAw": "unmapped"}
    assert set(light_loader.months()["reason"]) == {None, "another symbol would be spelled AAA too"}
    assert light_loader.closes("AAA") == light_loader.closes("AAAw") == {}


def test_a_symbol_that_is_named_twice_is_loaded_once(light_loader: PriceLoader):
    light_loader.write("AAA", *map(line, FEBRUARY))
    assert sizes(light_loader, "AAA", "AAA") == [["AAA"]]


@pytest.mark.slow
def test_symbols_loaded_together_share_a_later_known_from(
    light_loader: PriceLoader, clock: StoppedClock
):
    for symbol in ("AAA", "BBB"):
        light_loader.write(symbol, *map(line, FEBRUARY))
    light_loader.load("AAA")
    clock.at = datetime(2026, 2, 27, 23, 0, tzinfo=UTC)  # set back
    light_loader.write("AAA", *(line(day, 11) for day in FEBRUARY))
    light_loader.load("AAA", "BBB", full=True)
    found = light_loader.warehouse.frame(select(prices_daily), prices_daily)
    assert set(found["known_from"]) == {FRIDAY_EVENING + timedelta(microseconds=1)}
