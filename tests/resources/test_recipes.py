"""The SQL of the how-to pages about the past and a row's source, run on both databases."""

import re
from datetime import date, timedelta

import pytest
from sqlalchemy import text

from orchestration_project.errors import ContractError
from orchestration_project.settings import PROJECT_ROOT
from orchestration_project.tables.spine import blobs
from tests.resources.weeks import FAILED, MONDAY, NOON, PartitionLoader, rejected, row

PAGES = [
    (PROJECT_ROOT / "docs" / "how-to" / name).read_text()
    for name in ("query-the-past.md", "measure-restatements.md", "trace-a-row.md")
]
RECIPES = dict(
    re.findall(
        r"^## ([^\n]*)\n(?:(?!^## ).)*?```sql\n(.*?)```",
        "\n".join(PAGES),
        re.DOTALL | re.MULTILINE,
    )
)


@pytest.fixture
def requested(partition_loader, clock):
    """Load a week on 5 January, its restatement on the 12th, and give what asks a recipe."""
    partition_loader.write_batch(
        row("AAA", notional_usd=1_500_000), row("BBB"), row("CCC"), row("DDD")
    )
    clock.at = NOON + timedelta(days=7)
    partition_loader.write_batch(
        row("AAA", share_quantity=150, notional_usd=1_500_000),
        row("BBB", last_update_date=date(2026, 1, 12)),
        row("CCC"),
        row("EEE"),
        version="v2",
        rejects=rejected(3, 7),
    )

    def ask(heading):
        with partition_loader.warehouse.reading() as connection:
            found = connection.execute(text(RECIPES[heading]))
            return [dict(mapping) for mapping in found.mappings()]

    return ask


def only(rows, *names):
    return [tuple(record[name] for name in names) for record in rows]


def test_these_are_the_recipes():
    headings = re.findall(r"^## (.*)", "\n".join(PAGES), re.M)
    assert list(RECIPES) == [heading for heading in headings if heading != "See also"]


def test_what_did_we_know_then(requested):
    assert only(requested("Rows as of a time"), "symbol", "share_quantity") == [
        ("AAA", 100),
        ("BBB", 100),
        ("CCC", 100),
        ("DDD", 100),
    ]


@pytest.mark.slow_on_postgresql
@pytest.mark.parametrize(("seconds", "shares"), [(-1, 100), (0, 150)])
def test_a_state_ends_in_the_microsecond_in_which_the_next_begins(
    partition_loader, requested, seconds, shares
):
    at = NOON + timedelta(days=7, microseconds=seconds)
    sql = RECIPES["Rows as of a time"].replace(
        "2026-01-08 00:00:00.000000+00", at.strftime("%Y-%m-%d %H:%M:%S.%f+00")
    )
    with partition_loader.warehouse.reading() as connection:
        found = dict(only(connection.execute(text(sql)).mappings(), "symbol", "share_quantity"))
    assert found["AAA"] == shares
    assert ("EEE" in found, "DDD" in found) == (shares == 150, shares == 100)


@pytest.mark.slow_on_postgresql
def test_what_changed_between_two_times(requested):
    names = ("symbol", "change", "shares_before", "shares_after", "trades_before", "trades_after")
    assert only(requested("Changes between two times"), *names) == [
        ("AAA", "changed", 100, 150, 1, 1),
        ("DDD", "removed", 100, None, 1, None),
        ("EEE", "added", None, 100, None, 1),
    ]


@pytest.mark.slow_on_postgresql
def test_what_was_restated_when_and_how_much(partition_loader, requested, clock):
    [found] = requested("Restatements, with their size")
    assert (found["partition_key"], found["cause"]) == ("T1|2025-11-10", "source")
    names = ("rows_added", "rows_changed", "rows_removed")
    assert only([found], *names) == [(1, 1, 1)]
    names = ("shares_before", "shares_after", "shares_moved", "trades_before", "trades_after")
    assert [tuple(map(int, record)) for record in only([found], *names)] == [(400, 450, 250, 4, 4)]

    clock.at += timedelta(days=7)
    loaded = partition_loader.write_batch(
        row("AAA", share_quantity=140), row("BBB"), row("CCC"), version="v3"
    )
    first, second = requested("Restatements, with their size")
    assert first == found
    change = loaded.change
    assert {name: int(second[name]) for name in second if name.startswith(("rows", "shares"))} == {
        "rows_added": change.rows_added,
        "rows_changed": change.rows_changed,
        "rows_removed": change.rows_removed,
        "shares_before": change.shares_before,
        "shares_after": change.shares_after,
        "shares_moved": change.moved_shares,
    }


def test_which_rows_did_a_restatement_move_most(partition_loader, requested, clock):
    names = ("symbol", "shares_before", "shares_after", "shares_moved")
    heading = "Rows that a restatement moved most"
    moves = [("DDD", 100, 0, -100), ("EEE", 0, 100, 100), ("AAA", 100, 150, 50)]
    assert only(requested(heading), *names) == moves
    clock.at += timedelta(days=7)
    loaded = partition_loader.write_batch(
        row("AAA", share_quantity=1), row("CCC", share_quantity=7), version="v3"
    )
    assert only(requested(heading), *names) == [
        (move.symbol, move.shares_before, move.shares_after, move.change)
        for move in loaded.change.moves
    ]


@pytest.mark.slow_on_postgresql
def test_where_does_this_row_come_from(partition_loader, requested):
    [found] = requested("From a row to its bytes and runs")
    [(sha256, byte_count, storage_uri)] = partition_loader.rows(
        blobs, "sha256", "byte_count", "storage_uri"
    )
    assert (found["symbol"], found["share_quantity"]) == ("AAA", 150)
    assert (found["fetched_by"], found["landed_by"], found["replay_of"]) == ("run", "run", None)
    assert (found["change_cause"], found["request"]) == ("source", '{"offset": 0}')
    assert (found["sha256"], found["byte_count"]) == (sha256, byte_count)
    assert (found["url"], found["storage_uri"]) == ("https://api.finra.org/data", storage_uri)


@pytest.mark.slow_on_postgresql
def test_which_lines_of_a_week_were_refused_and_why(requested):
    found = requested("Rejects of a week")
    assert only(found, "reason_code", "line_number", "record", "part_number") == [
        ("blank_symbol", 3, r"|\xe9|x", 1),
        ("blank_symbol", 7, r"|\xe9|x", 1),
    ]


@pytest.mark.slow_on_postgresql
def test_which_partitions_are_quarantined(partition_loader, requested):
    assert requested("Quarantined partitions") == []
    other = PartitionLoader(
        partition_loader.warehouse, partition_loader.folder, week_start=MONDAY + timedelta(7)
    )
    with pytest.raises(ContractError):
        other.write_batch(row("AAA"), audits=[FAILED])
    assert only(
        requested("Quarantined partitions"), "partition_key", "name", "expected", "found"
    ) == [("T1|2025-11-17", "has_few_rejects", "at most 1", "2")]
    other.write_batch(row("AAA"), version="v2")
    assert requested("Quarantined partitions") == []


@pytest.mark.slow_on_postgresql
def test_what_does_a_week_look_like_to_a_reader(requested):
    first, *others = requested("A week with names and dollars")
    assert {name: str(value) for name, value in first.items()} == {
        "tier_name": "NMS Tier 1",
        "market_name": "ATS",
        "venue_name": "XATS LLC",
        "symbol": "AAA",
        "share_quantity": "150.000000",
        "trade_count": "1",
        "notional_dollars": "1.500000",
    }
    assert only(others, "symbol") == [("BBB",), ("CCC",), ("EEE",)]
