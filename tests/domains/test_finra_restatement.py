"""Changes of a week by a delivery: known answers, and what holds for any change."""

from datetime import date
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration_project.domains.finra.restatement import (
    MAX_MOVES,
    Move,
    WeekChange,
    notice_kind,
    sentence,
    week_change,
)
from orchestration_project.domains.finra.selection import TierWeek
from tests.properties import bounded

WEEK = TierWeek("T1", date(2026, 1, 19))
SCHEMA = {
    "market": pl.String(),
    "symbol": pl.String(),
    "venue_id": pl.String(),
    "share_quantity": pl.Int64(),
    "trade_count": pl.Int64(),
}


def rows(*found: tuple[str, str, int, int]) -> pl.DataFrame:
    """Return rows of the ATS market: symbol, venue, shares, trades."""
    return pl.DataFrame([("ATS", *cause) for cause in found], SCHEMA, orient="row")


def change(
    replaced: pl.DataFrame, written: pl.DataFrame, kept: pl.DataFrame, *, is_metadata: bool = False
) -> WeekChange:
    marked = replaced.with_columns(is_metadata=pl.lit(value=is_metadata))
    return week_change(replaced=marked, written=written, kept=kept)


RESTATED = change(
    rows(("AAA", "XATS", 100, 4), ("GONE", "XATS", 30, 1), ("AAA", "YATS", 50, 5)),
    rows(("AAA", "XATS", 180, 5), ("NEW", "XATS", 7, 2), ("AAA", "YATS", 50, 6)),
    rows(("AAA", "ZATS", 800, 10), ("BBB", "XATS", 20, 1)),
)
"""Two rows changed, one of them in trades alone, one came, one went."""

NOTHING = rows()


def test_rows_symbols_shares_and_trades_are_those_before_and_after():
    expected = WeekChange(
        rows_before=5,
        rows_after=5,
        rows_added=1,
        rows_changed=2,
        rows_relabelled=0,
        rows_removed=1,
        symbols_before=3,
        symbols_added_count=1,
        symbols_removed_count=1,
        symbols_added=("NEW",),
        symbols_removed=("GONE",),
        shares_before=Decimal(1000),
        shares_after=Decimal(1057),
        trades_before=21,
        trades_after=24,
        moved_shares=Decimal(117),
        moves=(
            Move("AAA", "ATS", "XATS", Decimal(100), Decimal(180)),
            Move("GONE", "ATS", "XATS", Decimal(30), Decimal(0)),
            Move("NEW", "ATS", "XATS", Decimal(0), Decimal(7)),
        ),
    )
    assert expected == RESTATED
    assert RESTATED.restated_rows == 4
    assert RESTATED.symbols_after == 3
    assert RESTATED.moved_share_ratio == pytest.approx(117 / 1057)


def test_a_restatement_is_reported_in_one_sentence():
    assert sentence("source", RESTATED, WEEK) == (
        "T1, week 2026-01-19, was restated: 2 of 5 rows changed, 1 new, 1 gone; "
        "1 symbol gone (GONE), 1 symbol new (NEW); "
        "shares 1,000 → 1,057 (+5.70%), trades 21 → 24 (+14.29%)."
    )


def test_newer_rules_of_ours_are_not_blamed_on_finra():
    text = sentence("ours", RESTATED, WEEK)
    assert text.startswith("T1, week 2026-01-19, was corrected by newer rules of ours: 2 of 5")


def test_an_older_delivery_that_is_published_again_is_said_to_be_one():
    text = sentence("ours", RESTATED, WEEK, turns_back=True)
    assert text.startswith("T1, week 2026-01-19, was set back to an earlier delivery: 2 of 5")


def test_a_part_of_the_week_is_named():
    text = sentence("source", RESTATED, WEEK, part="market=ATS")
    assert text.startswith("T1, week 2026-01-19, market=ATS, was restated")


def test_a_new_week_is_reported_as_one():
    first = change(NOTHING, rows(("AAA", "XATS", 1200, 3), ("BBB", "XATS", 1, 1)), NOTHING)
    assert sentence("first", first, WEEK) == (
        "New week loaded: T1, week 2026-01-19: 2 rows of 2 symbols, 1,201 shares in 4 trades."
    )
    assert notice_kind("first", first, limit=2) == "landed"


def test_more_of_a_week_is_not_a_restatement():
    had, more = rows(("AAA", "XATS", 9, 1)), rows(("AAA", "YATS", 1, 1))
    other = change(NOTHING, more, had)
    assert sentence("more", other, WEEK, part="market=ATS+NON_ATS") == (
        "More of a week loaded: T1, week 2026-01-19, market=ATS+NON_ATS: 0 of 1 rows changed, "
        "1 new; shares 9 → 10 (+11.11%), trades 1 → 2 (+100.00%)."
    )
    assert notice_kind("more", other, limit=2) == "landed"


def test_a_change_of_dates_alone_is_not_a_restatement():
    dates = change(
        rows(("AAA", "XATS", 9, 1)), rows(("AAA", "XATS", 9, 1)), NOTHING, is_metadata=True
    )
    assert (dates.restated_rows, dates.rows_relabelled, dates.moves) == (0, 1, ())
    assert sentence("metadata", dates, WEEK) == (
        "T1, week 2026-01-19: only dates that FINRA keeps about rows changed, in 1 of 1; "
        "shares and trades stayed as they were."
    )
    assert notice_kind("metadata", dates, limit=0) is None
    assert notice_kind("metadata", RESTATED, limit=0) is None


def test_of_many_symbols_the_first_are_named_and_the_others_counted():
    many = change(rows(*((f"S{n}", "XATS", n, 1) for n in range(9, 0, -1))), NOTHING, NOTHING)
    assert "9 symbols gone (S1, S2, S3, S4, S5 and 4 more)" in sentence("source", many, WEEK)


def test_a_name_that_changed_leaves_the_shares_as_they_were():
    renamed = change(rows(("AAA", "XATS", 9, 1)), rows(("AAA", "XATS", 9, 1)), NOTHING)
    assert sentence("source", renamed, WEEK).endswith(
        "1 of 1 rows changed; shares 9 as before, trades 1 as before."
    )
    assert notice_kind("source", renamed, limit=0) is None


@pytest.mark.parametrize("cause", ["source", "ours"])
def test_a_restatement_is_a_notice_above_the_limit_alone(cause):
    ratio = RESTATED.moved_share_ratio
    assert notice_kind(cause, RESTATED, limit=ratio) is None
    assert notice_kind(cause, RESTATED, limit=ratio * 0.999) == "restatement"


def test_moves_that_cancel_each_other_out_count():
    swapped = change(
        rows(("AAA", "XATS", 10, 1), ("BBB", "XATS", 90, 1)),
        rows(("AAA", "XATS", 90, 1), ("BBB", "XATS", 10, 1)),
        NOTHING,
    )
    assert (swapped.shares_before, swapped.shares_after) == (100, 100)
    assert swapped.moved_share_ratio == pytest.approx(1.6)


def test_equal_moves_come_in_the_order_of_the_key():
    equal = change(rows(("B", "X", 1, 1), ("A", "Y", 1, 1), ("A", "X", 1, 1)), NOTHING, NOTHING)
    assert [(move.symbol, move.venue_id) for move in equal.moves] == [
        ("A", "X"), ("A", "Y"), ("B", "X"),
    ]  # fmt: skip


def test_the_largest_quantities_there_are_do_not_wrap():
    largest = 2**63 - 1
    flipped = change(rows(("A", "X", largest, 1)), rows(("B", "X", largest, 1)), NOTHING)
    assert flipped.moved_shares == 2 * largest
    assert flipped.moved_share_ratio == 2


STATES = st.dictionaries(
    st.tuples(st.sampled_from("ABCD"), st.sampled_from(["X", "Y", "Z"])),
    st.tuples(st.sampled_from([0, 1, 50]), st.integers(1, 2)),
)
"""Few quantities, so that rows often stay as they are."""


@given(before=STATES, after=STATES)
@bounded
def test_a_reported_change_adds_up_for_any_two_states(before, after):
    def of(state, keys):
        return rows(*((*key, *state[key]) for key in sorted(keys)))

    same = {key for key in before if before[key] == after.get(key)}
    found = change(of(before, set(before) - same), of(after, set(after) - same), of(before, same))

    assert (found.rows_before, found.rows_after) == (len(before), len(after))
    assert found.rows_added - found.rows_removed == len(after) - len(before)
    assert found.rows_changed == len(set(before) & set(after)) - len(same)
    shares = {key: (before.get(key, (0,))[0], after.get(key, (0,))[0]) for key in before | after}
    moves = {key: new - old for key, (old, new) in shares.items()}
    assert found.shares_before + sum(moves.values()) == found.shares_after
    assert found.moved_shares == sum(map(abs, moves.values()))
    by_size = sorted((abs(move) for move in moves.values() if move), reverse=True)
    assert [abs(move.change) for move in found.moves] == by_size[:MAX_MOVES]
    for move in found.moves:
        assert (move.shares_before, move.shares_after) == shares[move.symbol, move.venue_id]
    symbols = [{symbol for symbol, _ in state} for state in (before, after)]
    assert (found.symbols_before, found.symbols_after) == tuple(map(len, symbols))
    assert set(found.symbols_added) == symbols[1] - symbols[0]
    assert set(found.symbols_removed) == symbols[0] - symbols[1]
    assert 0 <= found.moved_share_ratio <= 2
