"""A week in pieces and ranges is the week at once."""

from collections.abc import Sequence
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestration_project.domains.finra.audits import checked_week
from orchestration_project.domains.finra.contract import API_FIELDS, SYMBOL
from orchestration_project.engine.contracts.audits import Validated
from orchestration_project.engine.contracts.key_ranges import KeyRange, split_keys
from orchestration_project.engine.contracts.parts import Part
from orchestration_project.errors import ContractError
from tests.domains.weekly import FIRM, TOTAL, WEEK, Listed, line, page, quantities

bounded = settings(max_examples=12, deadline=None)

KEY = ["market", "symbol", "venue_id"]

SYMBOLS = st.sampled_from(["", "A", "AA", "B", "Z", "a", "é", "😀"])
QUANTITIES = st.sampled_from(["0", "1", "7", "x", "9223372036854775807"])
LINES = st.builds(
    lambda symbol, shares, kind, venue, week: line(
        quantities(symbol, shares), kind, {"weekStartDate": week}, venue
    ),
    SYMBOLS,
    QUANTITIES,
    st.sampled_from([{}, FIRM, TOTAL]),
    st.sampled_from([{}, {"marketParticipantName": "another"}]),
    st.sampled_from(["2025-11-10"] * 9 + ["2025-11-03"]),
)
PIECES = st.lists(st.lists(LINES, max_size=6), min_size=1, max_size=4)


def judged(pieces: Sequence[Sequence[Part]], rows_at_once: int) -> Validated | ContractError:
    total = sum(part.body.count(b"\n") for parts in pieces for part in parts)
    try:
        return checked_week(
            pieces,
            Listed(),
            week_start=WEEK,
            tier="T1",
            record_total=total,
            max_reject_ratio=0.5,
            rows_at_once=rows_at_once,
        )
    except ContractError as refusal:
        return refusal


def facts(found: Validated) -> list[Any]:
    """Return all that is found, without the order of ranges."""
    rows = pl.concat(found.pieces()).sort(*KEY, "part_number", "share_quantity", "trade_count")
    return [rows.to_dicts(), found.rejects.to_dicts(), list(found.audits), found.row_count]


@pytest.mark.slow
@bounded
@given(PIECES, st.integers(1, 5))
def test_pieces_and_ranges_find_what_all_at_once_finds(bodies: list[list[str]], at_once: int):
    parts = [page(*lines, number=number) for number, lines in enumerate(bodies, start=1)]
    whole, found = judged([parts], 10**6), judged([[part] for part in parts], at_once)
    if isinstance(whole, ContractError):
        assert str(found) == str(whole)
        return
    assert isinstance(found, Validated)
    assert whole.ranges is None
    assert facts(found) == facts(whole)
    assert found.is_quarantined == whole.is_quarantined


@bounded
@given(PIECES, st.integers(1, 5))
def test_a_range_is_in_key_order_holds_its_symbols_alone_and_no_more_than_it_must(
    bodies: list[list[str]], at_once: int
):
    found = judged([[page(*lines, number=n)] for n, lines in enumerate(bodies, start=1)], at_once)
    if isinstance(found, ContractError) or found.ranges is None:
        return
    assert found.rows.is_empty()
    seen: list[str] = []
    for condition, rows in found.ranges:
        span = condition["symbol"]
        assert isinstance(span, KeyRange)
        assert rows.filter(span.holds(pl.col("symbol"))).equals(rows)
        assert rows.select(KEY).equals(rows.select(KEY).sort(KEY))
        assert len(rows) <= at_once or rows["symbol"].n_unique() == 1
        seen += sorted(rows["symbol"].unique())
    assert seen == sorted(set(seen), key=str.encode)


@pytest.mark.slow
@bounded
@given(PIECES, st.integers(1, 5))
def test_equal_rows_make_equal_ranges_whatever_the_pages(bodies: list[list[str]], at_once: int):
    lines = list({key_of(record): record for body in bodies for record in body}.values())
    split = [[page(text)] for text in lines] or [[page()]]
    again = [[page(*lines[:1])], [page(*reversed(lines[1:]))]]
    one, other = judged(split, at_once), judged(again, at_once)
    if isinstance(one, ContractError) or isinstance(other, ContractError):
        return
    assert (one.ranges is None) == (other.ranges is None)
    for (condition, rows), (also, others) in zip(one.ranges or (), other.ranges or (), strict=True):
        assert condition == also
        assert rows.drop("part_number").equals(others.drop("part_number"))


def key_of(text: str) -> tuple[str, ...]:
    """Return what two lines of a week may not have in common."""
    fields = dict(zip(API_FIELDS, text.split("|"), strict=True))
    return tuple(fields[name] for name in ("summaryTypeCode", SYMBOL, "MPID", "firmCRDNumber"))


def test_such_ranges_are_there_to_be_compared():
    lines = [line(quantities(symbol, "1")) for symbol in "BAC"]
    found = judged([[page(*lines)], [page()]], 2)
    assert isinstance(found, Validated)
    assert found.ranges
    assert [rows["symbol"].to_list() for _, rows in found.ranges] == [["A"], ["B"], ["C"]]


def test_the_first_offenders_are_in_key_order_however_many():
    symbols = [f"S{number:02}" for number in range(40)]
    twice = [
        line(quantities(symbol, "1"), kind) for symbol in symbols for kind in ({}, FIRM, FIRM, {})
    ]
    total = len(twice)
    offenders = []
    for at_once in (10**6, 7):
        found = judged([[page(*twice)], [page()]], at_once)
        assert isinstance(found, Validated)
        [audit] = [audit for audit in found.audits if audit.name == "has_unique_keys"]
        assert audit.found == f"{total // 2}"
        offenders.append(audit.offenders)
    assert offenders[0] == offenders[1]
    assert [offender["symbol"] for offender in offenders[0]] == symbols[:20]


@pytest.mark.parametrize(
    ("counts", "most", "ends"),
    [
        ([], 10, []),
        ([("A", 10)], 10, []),
        ([("A", 5), ("B", 5)], 10, []),
        ([("A", 5), ("B", 6)], 10, ["A"]),
        ([("A", 50), ("B", 1), ("C", 9), ("D", 1)], 10, ["A", "C"]),
        ([("b", 9), ("Z", 9), ("é", 9)], 10, ["Z", "b"]),
    ],
)
def test_symbols_are_cut_where_the_next_would_be_too_many(counts: Any, most: int, ends: list[str]):
    schema = {"symbol": pl.String, "row_count": pl.Int64}
    spans = split_keys(pl.DataFrame(counts, schema, orient="row"), most)
    assert [span.until for span in spans] == [*ends, None]
    assert [span.after for span in spans] == [None, *ends]
