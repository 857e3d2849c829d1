"""Rules that sort rows out, audits and their summaries, and what is shown of bytes."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import MetaData

from orchestration_project.engine.contracts.audits import (
    Audit,
    AuditSummary,
    summarize_audits,
)
from orchestration_project.engine.contracts.chain import hash_content, hash_pieces
from orchestration_project.engine.contracts.contract import (
    Contract,
    build_line_rules,
    build_row_formulas,
    split_rows,
)
from orchestration_project.engine.contracts.delimited import parse_parts
from orchestration_project.engine.contracts.formulas import build_row_set, evaluate, judge_line
from orchestration_project.engine.contracts.parts import Part
from orchestration_project.engine.contracts.rules import (
    RowRule,
    apply_rules,
    escape_bytes,
)
from orchestration_project.engine.contracts.values import (
    derive_schema,
    format_decimals,
    parse_scaled,
    parse_signed_scaled,
)
from orchestration_project.tables.schema import METADATA, Field, count, day, quantity, table
from orchestration_project.tables.spine import audits
from tests.properties import bounded

NUMBER = pl.col("number")
RULES = [
    RowRule("too_low", NUMBER < 0, pl.format("{} is below 0", NUMBER)),
    RowRule("odd", NUMBER % 2 == 1, pl.lit("it is odd")),
    RowRule("even_lower", NUMBER < -5, pl.lit("never the first rule that breaks")),
]


DERIVED_FIELDS = (
    Field("tradeDate", day("trade_date", "Day of the trades", key=True)),
    Field("advances", count("advance_count", "Bonds whose price rose")),
    Field("declines", count("decline_count", "Bonds whose price fell", optional=True)),
)
MOVES = Field(
    "net_count",
    count("net_count", "Bonds that rose, less those that fell"),
    is_signed=True,
    formula=["subtract", "advance_count", "decline_count"],
)


PRICE_FIELDS = (
    Field("tradeDate", day("trade_date", "Day of the trades", key=True)),
    Field("price", quantity("price", "Dollars a share")),
    Field("rate", quantity("rate", "Euros a dollar", optional=True)),
)
PRODUCT = Field(
    "product",
    quantity("product", "Price times rate", optional=True),
    is_signed=True,
    formula=["multiply", "price", "rate"],
)


class Derived(NamedTuple):
    """Values of rows, and reason codes of rejects, of a load and of evidence."""

    loaded: Sequence[Any]
    expected: Sequence[Any]
    rejected: Sequence[str]
    outcomes: Sequence[str]

    @property
    def agrees(self) -> bool:
        rejects = [outcome for outcome in self.outcomes if outcome != "row"]
        return Counter(self.loaded) == Counter(self.expected) and self.rejected == rejects


def derive_twice(fields: Sequence[Field], derived: Field, lines: Sequence[str]) -> Derived:
    """Return what a load and evidence make of lines."""
    columns = [field.column._copy() for field in (*fields, derived)]
    declared = table("moves", "Moves", *columns, metadata=MetaData())
    contract = Contract(declared, fields, ["tradeDate"], derived=[derived])
    names = [field.name for field in fields]
    parts = [Part(1, "\n".join(["|".join(names), *lines, ""]).encode())]
    parsed = parse_parts(parts, names, of="moves")
    split = split_rows(contract, parsed, parts, partition_texts=["2026-01-05"])
    formulas, rules = build_row_formulas(contract), build_line_rules(contract)
    lowered = [name.lower() for name in names]
    records = [
        build_row_set(dict(zip(lowered, line.split("|"), strict=True)), {}) for line in lines
    ]
    outcomes = [judge_line(record, rules) for record in records]
    expected = [
        evaluate(formulas[derived.column.key], record)
        for record, outcome in zip(records, outcomes, strict=True)
        if outcome == "row"
    ]
    loaded = split.rows[derived.column.key].to_list()
    return Derived(loaded, expected, split.rejects["reason_code"].to_list(), outcomes)


@bounded
@given(st.lists(st.tuples(st.integers(0, 2**63 - 1), st.none() | st.integers(0, 9)), max_size=5))
def test_a_derived_column_is_the_one_that_evidence_computes_from_the_line(
    counts: list[tuple[int, int | None]],
):
    lines = [f"2026-01-05|{rose}|{'' if fell is None else fell}" for rose, fell in counts]
    derived = derive_twice(DERIVED_FIELDS, MOVES, lines)
    assert derived.agrees, derived
    assert len(derived.expected) == sum(fell is not None for _, fell in counts)


@bounded
@given(
    st.lists(
        st.tuples(
            st.decimals(0, 9_000_000, places=6), st.none() | st.decimals(0, 9_000_000, places=6)
        ),
        max_size=5,
    )
)
def test_a_product_that_no_column_keeps_exactly_is_a_reject_in_evidence_too(
    factors: list[tuple[Decimal, Decimal | None]],
):
    texts = [[str(price), "" if rate is None else str(rate)] for price, rate in factors]
    lines = ["|".join(["2026-01-05", *pair]) for pair in texts]
    derived = derive_twice(PRICE_FIELDS, PRODUCT, lines)
    assert derived.agrees, derived
    products = [
        None if rate is None else Fraction(price) * Fraction(rate) for price, rate in factors
    ]
    is_kept = [
        product is None or ((units := product * 10**6).denominator == 1 and units < 2**63)
        for product in products
    ]
    assert derived.outcomes == ["row" if kept else "not_an_amount" for kept in is_kept]


def test_products_of_six_decimals_are_rows_or_rejects_by_their_value():
    lines = ["2026-01-05|6.82|3", "2026-01-05|0.5|0.000001", "2026-01-05|4000000|4000000"]
    derived = derive_twice(PRICE_FIELDS, PRODUCT, lines)
    assert derived.agrees, derived
    assert derived.loaded == [Decimal("20.46")]
    assert derived.outcomes == ["row", "not_an_amount", "not_an_amount"]


@bounded
@given(st.lists(st.integers(-9, 9)))
def test_each_row_is_good_or_has_the_reason_of_the_first_rule_it_breaks(numbers: list[int]):
    good, broken = apply_rules(
        pl.DataFrame({"number": numbers}, schema={"number": pl.Int64}), RULES
    )
    assert good.rows() == [(number,) for number in numbers if number >= 0 and number % 2 == 0]
    assert broken.rows() == [
        (number, "too_low", f"{number} is below 0") if number < 0 else (number, "odd", "it is odd")
        for number in numbers
        if number < 0 or number % 2 == 1
    ]
    assert good.columns == ["number"]
    assert broken.columns == ["number", "reason_code", "reason"]


@bounded
@given(st.lists(st.integers(-9, 9)))
def test_a_cheaper_condition_that_holds_for_every_offender_changes_nothing(numbers: list[int]):
    rows = pl.DataFrame({"number": numbers}, schema={"number": pl.Int64})
    gated = [replace(rule, only_if=NUMBER <= NUMBER) for rule in RULES]
    accepted, rejected = apply_rules(rows, gated)
    expected_accepted, expected_rejected = apply_rules(rows, RULES)
    assert accepted.equals(expected_accepted)
    assert rejected.equals(expected_rejected)


@pytest.mark.parametrize(
    ("outcome", "severity", "blocks"),
    [
        ("failed", "error", True),
        ("failed", "warning", False),
        ("passed", "error", False),
        ("not_applicable", "error", False),
    ],
)
def test_a_failed_audit_of_severity_error_blocks_and_no_other(outcome, severity, blocks: bool):
    assert Audit("a", outcome, "", "", severity=severity).blocks is blocks


def test_the_first_20_offenders_are_kept_as_ascii_json():
    audit = Audit("a", "failed", "", "", [{"é": number} for number in range(25)])
    assert json.loads(audit.offenders_json) == [{"é": number} for number in range(20)]
    assert audit.offenders_json.isascii()
    dated = Audit("a", "failed", "", "", [{"day": date(2025, 1, 6), "total": 2**70}])
    assert dated.offenders_json == '[{"day": "2025-01-06", "total": 1180591620717411303424}]'
    assert Audit("a", "passed", "", "").offenders_json == "[]"


def hash_of(*values: tuple[str | None, int | None]) -> str:
    schema = {"text": pl.String, "number": pl.Int64}
    return hash_content(pl.DataFrame(values, schema=schema, orient="row"))


def test_equal_values_have_equal_hashes_of_64_hex_digits():
    one, same = hash_of(("a", 1), (None, None)), hash_of(("a", 1), (None, None))
    assert one == same
    assert len(one) == 64
    assert set(one) <= set("0123456789abcdef")


@pytest.mark.parametrize(
    "values",
    [
        pytest.param([("a", 2)], id="another number"),
        pytest.param([("A", 1)], id="another case"),
        pytest.param([(None, 1)], id="null"),
        pytest.param([("", 1)], id="empty"),
        pytest.param([("\\N", 1)], id="the text that stands for null"),
        pytest.param([('"a"', 1)], id="quotes"),
        pytest.param([("a", None)], id="no number"),
        pytest.param([("a", 1), ("a", 1)], id="twice"),
        pytest.param([("a,1\na", 1)], id="what looks like two rows"),
        pytest.param([], id="nothing"),
    ],
)
def test_other_values_have_other_hashes(values: list[tuple[str | None, int | None]]):
    others = [[("a", 1)], [(None, 1)], [("", 1)]]
    assert hash_of(*values) not in {hash_of(*other) for other in others if other != values}


def test_the_order_of_rows_is_part_of_the_hash():
    assert hash_of(("a", 1), ("b", 2)) != hash_of(("b", 2), ("a", 1))


VALUES = st.tuples(
    st.sampled_from([None, "", "a", "ab", "b"]), st.sampled_from([None, 0, 1, 2**63 - 1])
)


@bounded
@given(st.lists(VALUES, max_size=12), st.lists(VALUES, max_size=12))
def test_rows_have_one_hash_if_and_only_if_they_are_equal(one, other):
    assert (hash_of(*one) == hash_of(*other)) == (one == other)


@bounded
@given(st.lists(st.lists(VALUES, max_size=4), min_size=1, max_size=5))
def test_a_piece_has_the_hash_that_it_has_alone(pieces):
    schema = {"text": pl.String, "number": pl.Int64}
    rows = pl.DataFrame([row for piece in pieces for row in piece], schema=schema, orient="row")
    together = hash_pieces(rows, [len(piece) for piece in pieces])
    assert together == [hash_of(*piece) for piece in pieces]


@bounded
@given(st.binary(max_size=200))
def test_bytes_are_shown_as_printable_ascii_from_which_they_can_be_had_again(line: bytes):
    shown = escape_bytes(line)
    assert shown.isascii()
    assert shown.isprintable()
    assert shown.encode().decode("unicode_escape").encode("latin-1") == line


def test_a_long_line_is_cut_and_says_how_long_it_was():
    assert escape_bytes(b"abc", 3) == "abc"
    assert escape_bytes(b"abcd", 3) == "abc... (4 bytes)"
    assert len(escape_bytes(b"\xff" * 5000)) == 4096 * 4 + len("... (5000 bytes)")


def test_a_summary_counts_partitions_and_keeps_limits_and_the_failed_ones():
    rows: list[dict[str, object]] = [
        {
            "name": "has_unique_keys",
            "partition_key": key,
            "outcome": outcome,
            "expected": limit,
            "found": "none",
        }
        for key, outcome, limit in (
            ("a", "passed", "two"),
            ("b", "failed", "one"),
            ("c", "not_applicable", "two"),
        )
    ]
    latest = pl.DataFrame(rows, schema=derive_schema(audits, list(rows[0])))
    assert summarize_audits(latest, ["has_rows", "has_unique_keys"]) == [
        AuditSummary("has_rows", [], 0, 0, [], []),
        AuditSummary(
            "has_unique_keys", ["one", "two"], 1, 1, [rows[1]], ["expected two, found none"]
        ),
    ]


@pytest.mark.parametrize(
    ("text", "scale", "scaled"),
    [
        ("-12.34", 6, -12_340_000),
        ("12.34", 6, 12_340_000),
        ("-1.5E3", 2, -150_000),
        ("-0", 6, 0),
        ("-1250", 0, -1250),
        ("1250.0", 0, 1250),
        ("-0.5", 0, None),
        ("-1.2345678", 6, None),
        ("--1", 6, None),
        ("+1", 6, None),
        ("-", 6, None),
        ("- 1", 6, None),
        ("", 6, None),
        ("-9223372036854775807", 0, -(2**63) + 1),
        ("-9223372036854775808", 0, None),
    ],
)
def test_a_signed_amount_is_scaled_exactly_or_not_at_all(text, scale, scaled):
    assert parse_signed_scaled(pl.Series([text]), scale).to_list() == [scaled]


def test_a_signed_field_may_be_negative_or_blank_and_all_else_is_a_reject():
    fields = (
        Field("when", day("day", "Day", key=True)),
        Field("change", count("change", "Change", optional=True), is_signed=True),
        Field("percent", count("percent", "x 100", optional=True), scale=2, is_signed=True),
    )
    declared = table("signed_amounts", "Of a test.", *(field.column for field in fields))
    METADATA.remove(declared)  # none of the project's
    lines = ["when|change|percent", "2026-01-01|-7|-0.5", "2026-01-02||", "2026-01-03|7|--1"]
    parts = [Part(1, "\n".join(lines).encode())]
    parsed = parse_parts(parts, ["when", "change", "percent"], of="signed")
    contract = Contract(declared, fields, ("when",))
    found = split_rows(contract, parsed, parts, partition_texts=["2026-01-01"])
    assert found.rows.rows() == [(date(2026, 1, 1), -7, -50, 1), (date(2026, 1, 2), None, None, 1)]
    [reject] = found.rejects.to_dicts()
    assert (reject["reason_code"], reject["line_number"]) == ("not_an_amount", 4)


@bounded
@given(st.lists(st.integers(0, 10**18 - 1) | st.none()))
def test_amounts_as_decimal_texts_are_read_as_the_same_amounts(amounts: list[int | None]):
    texts = format_decimals(pl.Series("rate", amounts, dtype=pl.Int64), 6)
    assert parse_scaled(texts, 6).to_list() == amounts


def test_decimal_texts_have_every_decimal_of_their_scale():
    texts = format_decimals(pl.Series("rate", [1088530, -5, 0, None]), 6)
    assert texts.to_list() == ["1.088530", "-0.000005", "0.000000", None]
