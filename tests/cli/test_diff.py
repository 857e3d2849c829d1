"""The `diff` command: rows that differ between two times are those of a comparison of both."""

import json
from datetime import date, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from orchestration_project.__main__ import main
from tests.resources.weeks import NOON, row

HISTORY = [
    {"A": 1, "B": 2, "C": 3},
    {"A": 1, "B": 5, "D": 4},  # B changed, C removed, D added
    {"A": 1, "B": 2, "C": 3},  # as at first
    {"B": 7, "E": 1},
]


def run(capfd: Any, *arguments: str) -> list[dict[str, Any]]:
    assert main(["diff", "finra_otc_weekly", *arguments, "--format", "ndjson"]) == 0
    return [json.loads(line) for line in capfd.readouterr().out.splitlines()]


@pytest.fixture
def times(partition_loader, clock) -> list[datetime]:
    """Load each state a day after the other; return when, and a time before."""
    found = [NOON - timedelta(days=1)]
    for version, shares in enumerate(HISTORY):
        clock.at += timedelta(days=1)
        rows = [row(symbol, share_quantity=quantity) for symbol, quantity in shares.items()]
        found.append(partition_loader.land(*rows, version=str(version)).known_from)
    return found


def as_text(shares: int | None) -> str | None:
    return None if shares is None else f"{shares}.000000"


@pytest.mark.slow
def test_a_diff_is_what_two_states_differ_in(partition_loader, times, capfd):
    states: list[dict[str, int]] = [{}, *HISTORY]
    assert len(times) == len(states) > 2
    for first, since in enumerate(times):
        for second in range(first, len(times)):
            before, after = states[first], states[second]
            expected = {
                symbol: (as_text(before.get(symbol)), as_text(after.get(symbol)))
                for symbol in sorted({*before, *after})
                if before.get(symbol) != after.get(symbol)
            }
            between = ["--from", since.isoformat(), "--to", times[second].isoformat()]
            found = run(capfd, *between)
            shares = {
                each["symbol"]: (each["old_share_quantity"], each["new_share_quantity"])
                for each in found
            }
            assert shares == expected
            assert [each["symbol"] for each in found] == sorted(shares)
            kinds = {(True, False): "removed", (False, True): "added", (True, True): "changed"}
            for each in found:
                old, new = shares[each["symbol"]]
                assert each["change"] == kinds[old is not None, new is not None]


@pytest.mark.slow_on_postgresql
def test_a_diff_is_a_table_with_conditions_columns_and_formats(
    partition_loader, times, tmp_path, capfd
):
    between = ["--from", times[1].isoformat(), "--to", times[2].isoformat()]
    file = tmp_path / "diff.parquet"
    chosen = ["--columns", "symbol,change,new_share_quantity", "--where", "change=added"]
    arguments = [*between, *chosen, "--output", str(file)]
    assert main(["diff", "finra_otc_weekly", *arguments]) == 0
    assert pl.read_parquet(file).rows() == [("D", "added", 4)]
    assert len(run(capfd, *between, "--limit", "2")) == 2


@pytest.mark.slow_on_postgresql
def test_a_change_of_dates_alone_is_one_and_names_both(partition_loader, clock, capfd):
    since = partition_loader.land(row("A")).known_from
    clock.at += timedelta(days=1)
    until = partition_loader.land(
        row("A", last_update_date=date(2026, 2, 2)), version="v2"
    ).known_from
    [found] = run(capfd, "--from", since.isoformat(), "--to", until.isoformat())
    assert (found["change"], found["old_last_update_date"], found["new_last_update_date"]) == (
        "changed",
        "2025-12-01",
        "2026-02-02",
    )


@pytest.mark.parametrize(
    ("table", "since", "until", "message"),
    [
        ("finra_venue_week", "2026-01-05T00:00:00Z", "2026-01-06T00:00:00Z", "keeps no history"),
        ("finra_otc_weekly", "2026-01-06T00:00:00Z", "2026-01-05T00:00:00Z", "invalid times"),
        ("finra_otc_weekly", "2026-01-06", "2026-01-07T00:00:00Z", "invalid --from '2026-01-06'"),
        ("nothing", "2026-01-05T00:00:00Z", "2026-01-06T00:00:00Z", "table or view not found"),
    ],
)
def test_what_cannot_be_compared_is_a_clear_message(
    partition_loader, capfd, table, since, until, message
):
    assert main(["diff", table, "--from", since, "--to", until]) == (2 if table == "nothing" else 1)
    assert message in capfd.readouterr().err
