"""The `diff` command: rows that differ between two times are those of a comparison of both."""

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from orchestration_project.__main__ import main
from orchestration_project.engine.plans import TableDifference
from orchestration_project.services.time_differences import Downstream, TimeDifference
from tests.commands import run_without_failure
from tests.resources.weeks import NOON, row

HISTORY = [
    {"A": 1, "B": 2, "C": 3},
    {"A": 1, "B": 5, "D": 4},  # B changed, C removed, D added
    {"A": 1, "B": 2, "C": 3},  # as at first
    {"B": 7, "E": 1},
]


def run(capfd: Any, *arguments: str) -> list[dict[str, Any]]:
    run_without_failure("diff", "finra_otc_weekly", *arguments, "--format", "ndjson")
    return [json.loads(line) for line in capfd.readouterr().out.splitlines()]


@pytest.fixture
def times(partition_loader, clock) -> list[datetime]:
    """Load each state a day after the other; return when, and a time before."""
    found = [NOON - timedelta(days=1)]
    for version, shares in enumerate(HISTORY):
        clock.at += timedelta(days=1)
        rows = [row(symbol, share_quantity=quantity) for symbol, quantity in shares.items()]
        found.append(partition_loader.write_batch(*rows, version=str(version)).known_from)
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
            for difference in found:
                old, new = shares[difference["symbol"]]
                assert difference["change"] == kinds[old is not None, new is not None]


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
    since = partition_loader.write_batch(row("A")).known_from
    clock.at += timedelta(days=1)
    until = partition_loader.write_batch(
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


def test_a_diff_of_two_days_is_of_their_ends(partition_loader, times, capfd):
    days = [str(at.date()) for at in times[1:3]]
    found = run(capfd, *days)
    assert [(line["symbol"], line["change"]) for line in found] == [
        ("B", "changed"),
        ("C", "removed"),
        ("D", "added"),
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        ["2026-01-06"],
        ["2026-01-06", "2026-01-07", "--from", "2026-01-06T00:00:00Z"],
        ["--published-from", "2026-01-06", "--published-by", "2026-01-07", "--html", "x.html"],
    ],
)
def test_times_that_are_not_two_of_one_kind_are_refused(
    partition_loader, capfd, arguments: list[str]
):
    with pytest.raises(SystemExit):
        main(["diff", "finra_otc_weekly", *arguments])
    assert "expected DAY DAY, or --from TIME" in capfd.readouterr().err


@pytest.mark.slow_after_first
def test_a_report_separates_changes_by_the_source_from_ours(
    partition_loader, clock, times, tmp_path
):
    clock.at += timedelta(days=1)
    same = [row("B", share_quantity=9), row("E", share_quantity=1)]
    partition_loader.write_batch(*same, version="3", rule_version="other")
    file = tmp_path / "diff.html"
    days = [str(times[1].date()), str(clock.at.date())]
    assert main(["diff", "finra_otc_weekly", *days, "--html", str(file)]) == 0
    page = file.read_text()
    assert "1 added, 1 changed, 2 removed rows between the two states" in page
    by_source, ours = page.split("<h2>Changes by our rules</h2>")
    assert count_cells("source", 3, 3, 4) in by_source
    assert "<td>2.000000</td><td>5.000000</td>" in by_source
    assert count_cells("ours", 0, 1, 0) in ours
    assert "<td>7.000000</td><td>9.000000</td>" in ours
    assert "<title>share_quantity before and after, from 7 to 9</title>" in ours
    assert f"<td>other</td>{count_cells(0, 1, 0)}" in ours
    for name in ("finra_symbol_week", "v_finra_otc_weekly", "GET /tables/finra_symbol_week"):
        assert f"<li>{name}</li>" in ours


def count_cells(*values: str | int) -> str:
    """Return the cells of a row that have a cause and counts."""
    numbers = [f'<td class="number">{value}</td>' for value in values if isinstance(value, int)]
    return "".join([*(f"<td>{value}</td>" for value in values if isinstance(value, str)), *numbers])


def test_a_report_is_not_written_over_a_file_unless_forced(
    partition_loader, times, tmp_path, capfd
):
    file = tmp_path / "diff.html"
    file.write_text("before")
    arguments = ["diff", "finra_otc_weekly", "2026-01-06", "2026-01-07", "--html", str(file)]
    assert main(arguments) == 1
    assert "is there already" in capfd.readouterr().err
    assert main([*arguments, "--force"]) == 0
    assert "<h1>Changes of finra_otc_weekly</h1>" in file.read_text()
    with pytest.raises(SystemExit):
        main([*arguments, "--force", "--limit", "1"])
    assert "--limit cannot be used with --html" in capfd.readouterr().err


def test_changes_of_several_or_unknown_causes_have_their_own_heading():
    causes = ("first", "more", "source", "metadata", "ours", "ours or source", "unknown")
    by_cause = {cause: TableDifference("t", added=1) for cause in causes}
    at = datetime(2026, 1, 1, tzinfo=UTC)
    difference = TimeDifference("t", at, at, {}, by_cause, [], Downstream([], [], []))
    assert {name: list(group) for name, group in difference.group_causes().items()} == {
        "Changes by the source": ["first", "more", "source", "metadata"],
        "Changes by our rules": ["ours"],
        "Changes of several or unknown causes": ["ours or source", "unknown"],
    }
