"""Shares with six decimals: what is stored, read, compared and added up."""

import json
from datetime import date, timedelta
from decimal import Decimal
from io import BytesIO

import polars as pl
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from orchestration_project.domains.cboe.tables import market_volume_daily
from orchestration_project.domains.finra.audits import plausibility_audits
from orchestration_project.domains.finra.restatement import sentence, week_change
from orchestration_project.domains.finra.selection import TierWeek
from orchestration_project.domains.finra.tables.weekly import finra_otc_weekly, finra_symbol_week
from orchestration_project.engine.contracts.chain import hash_pieces
from orchestration_project.engine.contracts.values import derive_schema
from orchestration_project.engine.warehouse.frames import build_frame, insert_frame
from orchestration_project.errors import ConfigurationError
from orchestration_project.services.export import WRITERS
from orchestration_project.tables.catalogue import relation, relation_as_of
from orchestration_project.tables.queries.aggregates import aggregate
from orchestration_project.tables.queries.published import published_by
from orchestration_project.tables.queries.row_diff import row_diff
from orchestration_project.tables.schema import as_quantity
from tests.resources.weeks import MONDAY, NOON, PartitionLoader, frame, row

WEEKLY, VIEW = "finra_otc_weekly", "v_finra_otc_weekly"
MANY = Decimal("9223372036854.775807")
"""The most millionths that 64 bits hold."""


def found(partition_loader: PartitionLoader, name: str, *wheres: str) -> list[tuple[object, ...]]:
    chosen = relation(name)
    statement = chosen.select(["symbol", "share_quantity"], wheres)
    columns = ["symbol", "share_quantity"]
    with partition_loader.warehouse.batches(statement, chosen.table) as batches:
        return pl.concat(batches).select(columns).rows()


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    "shares", ["0", "0.000001", "2000", "3000.333333", "9007199254.740993", str(MANY)]
)
def test_shares_come_back_with_every_digit_from_table_view_and_export(partition_loader, shares):
    partition_loader.write_batch(row("AAA", share_quantity=Decimal(shares)))
    assert (
        found(partition_loader, WEEKLY)
        == found(partition_loader, VIEW)
        == [("AAA", Decimal(shares))]
    )
    assert partition_loader.rows(finra_symbol_week, "total_share_quantity") == [(Decimal(shares),)]
    rows = partition_loader.warehouse.frame(finra_otc_weekly.select(), finra_otc_weekly)
    six_places = f"{Decimal(shares):.6f}"
    for form, place in (("csv", -1), ("ndjson", 0)):
        sink = BytesIO()
        WRITERS[form]([rows.select("share_quantity")], sink)
        assert six_places in sink.getvalue().decode().splitlines()[place]


def test_the_database_has_millionths_under_a_name_of_their_own(partition_loader):
    partition_loader.write_batch(row("AAA", share_quantity=Decimal("2000.5")))
    with partition_loader.warehouse.reading() as connection:
        stored = text("SELECT share_quantity_micros FROM finra_otc_weekly")
        assert connection.execute(stored).scalar_one() == 2_000_500_000
        shown = text("SELECT share_quantity FROM v_finra_otc_weekly")
        assert str(connection.execute(shown).scalar_one()) == "2000.500000"
    with partition_loader.warehouse.reading() as connection, pytest.raises(DBAPIError):
        connection.execute(text("SELECT sum(share_quantity) FROM finra_otc_weekly"))


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("where", "symbols"),
    [
        ("share_quantity=2000.5", ["BBB"]),
        ("share_quantity=2000", ["AAA"]),
        ("share_quantity>2000", ["BBB", "CCC"]),
        ("share_quantity<2000.500001", ["AAA", "BBB"]),
        ("share_quantity in (2000.0,10000)", ["AAA", "CCC"]),
        ("share_quantity between 2000.1 and 9999.9", ["BBB"]),
        ("share_quantity>=2000000000", []),
    ],
)
def test_a_condition_is_in_shares(partition_loader, where, symbols):
    shares = {"AAA": "2000", "BBB": "2000.5", "CCC": "10000"}
    partition_loader.write_batch(
        *(row(symbol, share_quantity=Decimal(share)) for symbol, share in shares.items())
    )
    for name in (WEEKLY, VIEW):
        assert [symbol for symbol, _ in found(partition_loader, name, where)] == symbols


def test_a_condition_finer_than_six_decimals_is_refused():
    with pytest.raises(ConfigurationError, match="cannot be compared with share_quantity"):
        relation(WEEKLY).select(["symbol"], ["share_quantity=0.0000001"])


@pytest.mark.slow_after_first
def test_earlier_states_and_changes_are_in_shares(partition_loader, clock):
    first = partition_loader.write_batch(row("AAA", share_quantity=Decimal("10.5"))).known_from
    clock.at += timedelta(days=1)
    again = partition_loader.write_batch(row("AAA", share_quantity=Decimal("10.25")), version="v2")
    assert again.rows_changed == 1
    wheres = ["share_quantity>10.4"]
    day = date(2100, 1, 1)
    for chosen, shares in (
        (relation_as_of(WEEKLY, first), [Decimal("10.5")]),
        (published_by(WEEKLY, day, first).relation, [Decimal("10.5")]),
        (relation(WEEKLY), []),
    ):
        statement = chosen.select(["share_quantity"], wheres)
        with partition_loader.warehouse.batches(statement, chosen.table) as batches:
            assert pl.concat(batches)["share_quantity"].to_list() == shares
    changed = row_diff(WEEKLY, first, again.known_from)
    names = ["old_share_quantity", "new_share_quantity"]
    statement = changed.select(names, ["new_share_quantity<10.3"])
    with partition_loader.warehouse.batches(statement, changed.table) as batches:
        assert pl.concat(batches).select(names).rows() == [(Decimal("10.5"), Decimal("10.25"))]


def test_the_same_fractions_again_are_unchanged_and_write_no_history(partition_loader):
    rows = [row("AAA", share_quantity=Decimal("10.5")), row("BBB", share_quantity=7)]
    partition_loader.write_batch(*rows)
    again = partition_loader.write_batch(*rows, version="v2")
    assert (again.change_cause, again.rows_unchanged) == ("none", 2)
    assert partition_loader.count(finra_otc_weekly.info["history"]) == 0


def test_whole_shares_have_the_hash_that_they_had_as_whole_numbers():
    whole = pl.DataFrame({"shares": [1, None, 2000, 2000]}, {"shares": pl.Int64})
    quantities = whole.cast(pl.Decimal(38, 6))
    assert hash_pieces(quantities, [1, 3]) == hash_pieces(whole, [1, 3])
    fractions = quantities.with_columns(
        pl.col("shares") + pl.Series(["0", "0", "0", "0.5"]).cast(pl.Decimal(38, 6))
    )
    both = hash_pieces(fractions, [1, 3])
    assert both[0] == hash_pieces(whole, [1, 3])[0]  # whichever pieces come with it
    assert both[1] == hash_pieces(fractions[1:], [3])[0] != hash_pieces(whole, [1, 3])[1]


DAYS, SHARES = 2_600, Decimal("12000000000.000001")


def volumes(partition_loader: PartitionLoader) -> None:
    """Write ten years of days on which all exchanges together trade 12 billion shares."""
    usual = {
        name: Decimal(1) if kind == pl.Decimal else 2 * 10**17 if name.endswith("usd") else 1
        for name, kind in derive_schema(market_volume_daily).items()
    }
    usual |= {"participant_code": "N", "participant_name": "NYSE (N)", "known_from": NOON}
    rows = [
        usual | {"trade_date": MONDAY + timedelta(days=number), "total_share_quantity": SHARES}
        for number in range(DAYS)
    ]
    with partition_loader.warehouse.writing() as connection:
        insert_frame(connection, market_volume_daily, build_frame(rows, market_volume_daily))


def test_sums_of_ten_years_are_exact_and_do_not_overflow(partition_loader):
    volumes(partition_loader)
    measures = [
        *("sum(total_share_quantity)", "avg(total_share_quantity)", "max(total_share_quantity)"),
        *("sum(total_notional_usd)", "sum(total_trade_count)", "min(tape_a_share_quantity)"),
    ]
    statement = aggregate(
        relation(market_volume_daily.name), ["participant_code"], measures, [], limit=2
    )
    with partition_loader.warehouse.reading() as connection:
        [(code, total, mean, most, dollars, trades, least)] = connection.execute(statement)
    assert (code, total, most, least) == ("N", DAYS * SHARES, SHARES, 1)
    assert str(total) == "31200000000000.002600"
    assert mean == pytest.approx(1.2e10)
    assert (dollars, trades) == (DAYS * 2 * 10**17, DAYS)


@pytest.mark.slow_after_first
def test_sums_of_a_view_and_of_changes_of_either_sign_are_in_shares(partition_loader):
    shares = (Decimal("0.999999"), Decimal("0.000002"), Decimal(5))
    partition_loader.write_batch(
        *(row(f"S{number}", share_quantity=share) for number, share in enumerate(shares))
    )
    for name in (WEEKLY, VIEW):
        measures = [f"{name}(share_quantity)" for name in ("sum", "min", "max", "avg")]
        statement = aggregate(relation(name), [], measures, [], limit=2)
        nothing = aggregate(relation(name), [], measures[:3], ["symbol=NONE"], limit=2)
        with partition_loader.warehouse.reading() as connection:
            [(total, least, most, mean)] = connection.execute(statement)
            assert connection.execute(nothing).all() == [(None, None, None)]
        assert (total, least, most) == (Decimal("6.000001"), Decimal("0.000002"), 5)
        assert mean == pytest.approx(2.000000333)


def test_the_limit_of_a_row_is_in_shares():
    rows = frame([row(share_quantity=Decimal("100.5"), trade_count=2)])
    name = "has_no_implausible_share_quantity"
    outcomes = {
        limit: {
            audit.name: audit
            for audit in plausibility_audits(
                [rows], max_row_shares=limit, fetched_on=date(2026, 1, 5)
            )
        }[name]
        for limit in (100, 101)
    }
    assert [outcome.outcome for outcome in outcomes.values()] == ["failed", "passed"]
    [offender] = json.loads(outcomes[100].offenders_json)
    assert offender["share_quantity"] == 100.5


def test_what_an_alert_says_of_a_restatement_is_in_shares():
    rows = [frame([row(share_quantity=Decimal(each))]) for each in ("1000.5", "2000")]
    replaced, written = rows
    change = week_change(
        replaced=replaced.with_columns(is_metadata=False), written=written, kept=written.clear()
    )
    assert (change.moved_shares, change.shares_after) == (Decimal("999.5"), 2000)
    assert "shares 1,000.500000 → 2,000 (+99.90%)" in sentence(
        "source", change, TierWeek("T1", MONDAY)
    )


def test_millionths_of_either_sign_are_decimals():
    assert [str(as_quantity(number)) for number in (0, 1, -1, -2_500_000)] == [
        *("0.000000", "0.000001", "-0.000001", "-2.500000")
    ]
