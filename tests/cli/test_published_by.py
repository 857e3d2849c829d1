"""Rows as FINRA had published them by a day, against a model of all versions of all rows."""

import itertools
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestration_project.__main__ import main
from tests.properties import bounded
from tests.resources.weeks import MONDAY, NOON, Desk, row

OTHER_WEEKS = itertools.count(1)
DAYS = [date(2025, 12, 1), date(2025, 12, 20), date(2026, 1, 5), date(2026, 1, 9)]
FIRST = DAYS[0]

deliveries = st.dictionaries(
    st.sampled_from("ABCD"),
    st.tuples(st.integers(1, 3), st.sampled_from([None, *DAYS])),
    max_size=4,
)
histories = st.lists(st.tuples(deliveries, st.integers(1, 3)), min_size=1, max_size=5)


class Version(NamedTuple):
    """A state of a row, valid from the time of a load to that of another."""

    shares: int
    updated: date | None
    known_from: datetime
    known_to: datetime | None = None


def exported(file, day: date, *options: str) -> dict[str, int]:
    """Return the shares of each symbol, as the command exports them."""
    arguments = ["--published-by", str(day), "--format", "parquet", "--output", str(file)]
    assert main(["export", "finra_otc_weekly", *arguments, "--force", *options]) == 0
    found = pl.read_parquet(file)
    return dict(found.select("symbol", "share_quantity").iter_rows())


def expected(versions: Sequence[Version], day: date) -> int | None:
    """Return the shares of a row on a day; None: it was not there, or nobody knows."""
    published = [each for each in versions if each.updated is not None and each.updated <= day]
    if not published:
        return None
    found = max(published, key=lambda each: (each.updated, each.known_from))
    end = datetime.combine(day, time(), UTC) + timedelta(days=1)
    is_last = found is max(versions, key=lambda each: each.known_from)
    is_removed = is_last and found.known_to is not None and found.known_to < end
    return None if is_removed else found.shares


def known_at(versions: Sequence[Version], at: datetime) -> list[Version]:
    """Return the versions that were loaded by a time, as they were known then."""
    return [
        each if each.known_to and each.known_to <= at else each._replace(known_to=None)
        for each in versions
        if each.known_from <= at
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    "desk", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)], indirect=True
)
@given(history=histories)
@settings(bounded, max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_latest_state_that_was_published_by_a_day_is_exported(desk, clock, tmp_path, history):
    week = Desk(
        desk.warehouse, tmp_path / "artifacts", week_start=MONDAY + timedelta(7 * next(OTHER_WEEKS))
    )
    versions: dict[str, list[Version]] = {}
    times: list[datetime] = []
    for number, (delivered, days_passed) in enumerate(history):
        clock.at += timedelta(days_passed)
        landed = week.land(
            *(
                row(
                    symbol,
                    week_start=week.week_start,
                    share_quantity=shares,
                    initial_published_date=None if updated is None else FIRST,
                    last_update_date=updated,
                )
                for symbol, (shares, updated) in delivered.items()
            ),
            version=str(number),
        )
        times.append(landed.known_from)
        for symbol in {*versions, *delivered}:
            of_row = versions.setdefault(symbol, [])
            now = delivered.get(symbol)
            before = of_row[-1] if of_row and of_row[-1].known_to is None else None
            if before and (before.shares, before.updated) == now:
                continue
            if before:
                of_row[-1] = before._replace(known_to=landed.known_from)
            if now:
                of_row.append(Version(now[0], now[1], landed.known_from))
    own = ["--where", f"week_start={week.week_start}"]
    file = tmp_path / "rows.parquet"
    for day in DAYS:
        found = exported(file, day, *own)
        model = {symbol: expected(each, day) for symbol, each in versions.items() if each}
        assert found == {symbol: shares for symbol, shares in model.items() if shares}
    at = times[len(times) // 2]
    found = exported(file, DAYS[2], *own, "--as-of", at.isoformat())
    then = {symbol: known_at(each, at) for symbol, each in versions.items()}
    model = {symbol: expected(each, DAYS[2]) for symbol, each in then.items() if each}
    assert found == {symbol: shares for symbol, shares in model.items() if shares}


@pytest.mark.slow_on_postgresql
def test_rows_whose_earlier_state_was_never_loaded_are_named(desk, tmp_path, capfd):
    first = date(2025, 12, 1)
    desk.land(
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
    assert keys.read_text().splitlines()[1:] == ["2025-11-10,T1,ATS,BBB,XATS"]

    assert main(["export", "finra_otc_weekly", *chosen, "--where", "symbol=AAA", "--force"]) == 0
    assert "missing_earlier_state" not in capfd.readouterr().err


@pytest.mark.slow_on_postgresql
def test_a_row_that_was_removed_by_the_day_is_left_out(desk, clock, capfd):
    desk.land(row("AAA", last_update_date=FIRST), row("BBB", last_update_date=FIRST))
    clock.at = NOON + timedelta(days=5)
    desk.land(row("BBB", last_update_date=FIRST), version="v2")
    for days, symbols in ((0, "AAA\r\nBBB"), (5, "BBB")):
        day = (NOON + timedelta(days=days)).date()
        chosen = ["--columns", "symbol", "--published-by", str(day)]
        assert main(["export", "finra_otc_weekly", *chosen]) == 0
        assert capfd.readouterr().out == f"symbol\r\n{symbols}\r\n"


def test_a_table_without_dates_of_publication_is_refused(desk, capfd):
    assert main(["export", "fx_rates_daily", "--published-by", "2026-01-01"]) == 1
    assert "does not say when it published a row" in capfd.readouterr().err
    assert main(["export", "finra_otc_weekly", "--missing", "keys.csv"]) == 1
    assert "--missing needs --published-by" in capfd.readouterr().err
