"""Formulas: the product and the program of archives evaluate them alike, with known answers."""

import json
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

from orchestration_project.domains.finra.contract import LINE_RULES, WEEKLY_FORMULAS
from orchestration_project.domains.finra.tables.weekly import finra_otc_weekly
from orchestration_project.engine.contracts.capture_forms import build_delimited_form, read_records
from orchestration_project.engine.contracts.field_formulas import (
    read_plain_millionths,
    read_signed_number,
    read_whole_number,
)
from orchestration_project.engine.contracts.formulas import (
    OPERATORS,
    ROW,
    UNREADABLE,
    RowSet,
    SourceRows,
    build_row_set,
    evaluate,
    find_summed_columns,
    judge_line,
    read_value,
    show_value,
)
from orchestration_project.errors import ContractError
from orchestration_project.services.evidence import recompute
from tests.domains.test_finra_contract import REJECTED
from tests.domains.weekly import WEEK, checked, line, page

ROWS = [
    {"venue": "B", "firm": 7, "shares": 30, "usd": 5, "text": " x", "day": "2026-01-05"},
    {"venue": "A", "firm": 7, "shares": 30, "usd": None, "text": "", "day": "2026-01-06"},
    {"venue": "A", "firm": None, "shares": 5, "usd": 1, "text": "é", "day": "2026-01-07"},
    {"venue": "C", "firm": 0, "shares": 1, "usd": 0, "text": "1.5", "day": None},
]
IS_A, IS_C = ["equal", "venue", ["text", "A"]], ["equal", "venue", ["text", "C"]]
SHARES = ["sum", "shares"]

CASES = [
    (["sum", "shares"], 66),
    (["sum", "usd"], 6),
    (["sum_complete", "usd"], None),
    (["sum_complete", "shares"], 66),
    (["count", "usd"], 3),
    (["count", SHARES, "venue"], 3),
    (["max", SHARES, "venue"], 35),
    (["min", "day"], "2026-01-05"),
    (["where", IS_A, SHARES], 35),
    (["where", ["not", ["matches", "venue", "^(A|B)$"]], ["max", "venue"]], "C"),
    (["where", ["equal", "venue", ["text", "?"]], ["min", "venue"]], None),
    (["sum_largest", 2, SHARES, "venue"], 65),
    (["where", ["equal", 1, 2], ["sum_largest", 2, SHARES, "venue"]], None),
    (["where", IS_A, ["rank", SHARES, [], "venue"]], 1),
    (["where", ["equal", "venue", ["text", "C"]], ["rank", SHARES, [], "venue"]], 3),
    (["where", IS_A, ["over", [], SHARES]], 66),
    (["where", IS_C, ["up_to", [], "venue", 2, ["min", "shares"]]], 1),
    (["where", IS_C, ["up_to", [], "venue", 3, ["sum", "shares"]]], 36),
    (["where", ["equal", "shares", 5], ["up_to", ["venue"], "shares", 9, SHARES]], 5),
    (["log", 1], 0.0),
    (["log", None], None),
    (["ratio", SHARES, 4], 16.5),
    (["ratio", SHARES, 0], None),
    (["ratio", None, 4], None),
    (["add", 1, ["multiply", 2, ["subtract", 5, 2]]], 7),
    (["greater", 2, 1], True),
    (["greater", None, 1], None),
    (["and", ["equal", None, None], ["not", ["equal", 1, 2]]], True),
    (["if", ["equal", 1, 2], 3], None),
    (["if", ["equal", 1, 1], 3, 4], 3),
    (["format", "CRD:{}", 7], "CRD:7"),
    (["format", "CRD:{}", None], None),
    (["size", ["text", "é"]], 2),
    (["matches", ["text", "-1"], "^-[0-9]"], True),
    (["extract", ["text", "NYSE (N)"], r"\(([^()]*)\)$"], "N"),
    (["extract", ["text", "NYSE"], r"\(([^()]*)\)$"], ""),
    (["check_digit", ["text", "037833100"]], "0"),
    (["check_digit", ["text", "G0177J108"]], "8"),
    (["check_digit", ["text", "9128*@#5?"]], "8"),
    (["check_digit", ["text", "03783a100"]], None),
    (["check_digit", ["text", "0378331"]], None),
    (["scaled", ["text", "1.5E3"], 6], 1_500_000_000),
    (["scaled", ["text", "0.10"], 1], 1),
    (["scaled", ["text", "0.15"], 1], None),
    (["quantity", 1_250_000], Fraction(5, 4)),
    (["whole", ["multiply", ["quantity", 1_250_000], 4]], True),
    (["whole", ["quantity", 1_250_001]], False),
    (["whole", None], True),
    (["quantity", None], None),
    (["day", ["text", "2028-02-29"]], "2028-02-29"),
    (["day", ["text", "2026-02-29"]], None),
    (["day", ["text", "20260205"]], None),
    (["days_after", ["text", "2026-02-26"], 4], "2026-03-02"),
    (["days_after", ["text", "1970-01-01"], ["ratio", 1767709800, 86400]], "2026-01-06"),
    (["days_after", ["text", "2026-02-26"], None], None),
    (["quotient", 3, 2], "1.5"),
    (["quotient", 40, 10], "4"),
    (["quotient", 2, 3], "0.666667"),
    (["quotient", None, 3], None),
    (["join", ["format", "{}!", "day"]], "2026-01-05!, 2026-01-06!, 2026-01-07!"),
    (["join", None], "none"),
    (["single", ["text", "189.83999633789062"]], 189_840_000),
    (["single", ["text", "0.0000123456"]], None),
    (["single", ["text", "1.0000000001"]], None),
    (["root", 2.25], 1.5),
    (["root", None], None),
    (["given", "tier"], "T1"),
    (["given", "market"], None),
]
GIVEN = {"tier": "T1"}

READINGS = [
    (read_whole_number, "9223372036854775807", 2**63 - 1),
    (read_whole_number, "9223372036854775808", None),
    (read_whole_number, "1.0", None),
    (read_plain_millionths, "1.25", 1_250_000),
    (read_plain_millionths, "1e3", None),
    (read_plain_millionths, "0.1234567", None),
    (lambda name: read_signed_number(name, 1), "-2.5", -25),
    (lambda name: read_signed_number(name, 1), "2.5", 25),
    (lambda name: read_signed_number(name, 1), "", None),
]


@pytest.mark.parametrize(("reading", "text", "answer"), READINGS)
def test_both_evaluators_read_the_number_of_a_field(reading, text, answer):
    rows = [{"number": text}]
    assert evaluate(reading("number"), RowSet(rows, SourceRows(rows))) == answer
    assert recompute.Formulas({})(reading("number"), rows) == answer


@pytest.mark.parametrize(
    ("formula", "answer"), CASES, ids=lambda case: json.dumps(case, default=str)
)
def test_both_evaluators_have_the_known_answer(formula, answer):
    assert evaluate(formula, RowSet(ROWS, SourceRows(ROWS), GIVEN)) == answer
    of_program = recompute.Formulas(GIVEN, ROWS)(formula, ROWS)
    assert of_program == (Decimal("1.25") if isinstance(answer, Fraction) else answer)


def test_every_operator_is_described_and_known_to_the_program():
    assert recompute.OPERATORS.keys() == OPERATORS.keys()
    used = json.dumps([formula for formula, _ in CASES])
    assert [name for name in OPERATORS if f'["{name}"' not in used] == []


@pytest.mark.parametrize("formula", [["mean", "shares"], "venue"])
def test_a_formula_that_cannot_be_evaluated_is_invalid(formula):
    with pytest.raises(ContractError, match="invalid"):
        evaluate(formula, RowSet(ROWS, SourceRows(ROWS)))


def test_the_program_is_one_file_of_at_most_200_lines():
    with Path(recompute.__file__).open() as program:
        assert len(program.readlines()) <= 200


@pytest.mark.parametrize(
    ("formula", "columns"),
    [
        (["rank", ["where", IS_A, SHARES], ["day"], "venue"], {"shares": "sum"}),
        (["ratio", SHARES, ["sum_complete", "usd"]], {"shares": "sum", "usd": "sum_complete"}),
        (["count", SHARES, "venue"], {"shares": "sum"}),
        (["max", "day"], {}),
        (["count", "usd"], None),
        (["add", SHARES, ["sum_complete", "shares"]], None),
        (["up_to", ["venue"], "day", 2, SHARES], None),
        (["where", ["greater", "shares", 1], SHARES], None),
        (["sum", ["multiply", "shares", "usd"]], None),
    ],
)
def test_columns_of_which_sums_alone_are_read_are_named(formula, columns):
    assert find_summed_columns(formula) == columns


LINES = build_delimited_form("|")
PARTITION = {"tier": "T1", "week_start": WEEK.isoformat()}


@pytest.mark.parametrize(("change", "code", "reason"), REJECTED)
def test_a_line_is_rejected_for_the_code_of_the_contract(change, code, reason):
    body = page(line(), line(change), line(issueSymbolIdentifier="MSFT")).body
    outcomes = [
        judge_line(build_row_set(read.fields, PARTITION), LINE_RULES)
        for read in read_records(body, LINES)
    ]
    is_unreadable = code in ("wrong_field_count", "nul_byte")
    assert outcomes == [ROW, UNREADABLE if is_unreadable else code, ROW], reason


def test_the_formulas_of_a_line_have_the_row_of_the_contract():
    lines = (line(), line(MPID="", totalNotionalSum=""), line(summaryTypeCode="OTC_W_SMBL_FIRM"))
    rows = checked(*lines).rows.sort("market", "venue_id").to_dicts()
    kinds = {column.key: str(column.type) for column in finra_otc_weekly.columns}
    read = [
        {
            name: evaluate(formula, build_row_set(found.fields, PARTITION))
            for name, formula in WEEKLY_FORMULAS.items()
        }
        for found in read_records(page(*lines).body, LINES)
    ]
    read.sort(key=lambda row: (row["market"], row["venue_id"]))
    assert len(read) == len(rows) == 3
    for row, of_line in zip(rows, read, strict=True):
        del row["part_number"]
        expected = {name: read_value(kinds[name], value) for name, value in row.items()}
        assert {name: of_line[name] for name in expected} == expected


def test_lines_have_places_and_sums_are_filtered_by_name():
    body = page(line(summaryTypeCode="ATS_W_SMBL"), line(), line(summaryTypeCode="OTC_W_FIRM")).body
    places = list(read_records(b"\xef\xbb\xbf" + body + b"\n", LINES))
    outcomes = [judge_line(build_row_set(place.fields, PARTITION), LINE_RULES) for place in places]
    assert outcomes == ["symbol_totals", ROW, "other_sums"]
    assert [place.number for place in places] == [2, 3, 4]
    for place in places:
        assert (b"\xef\xbb\xbf" + body)[place.offset :].startswith(place.content)


def test_quantities_are_shown_with_six_decimals():
    assert show_value(Fraction(-5, 4)) == "-1.250000"
    assert show_value(7) == 7
