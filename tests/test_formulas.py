"""Formulas: the product and the program of archives evaluate them alike, with known answers."""

import json
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

from orchestration_project.catalog import REGISTRY
from orchestration_project.cli.explain import read_rules
from orchestration_project.contracts.formulas import (
    NOT_DECLARED,
    OPERATORS,
    RowSet,
    SourceRows,
    evaluate,
    rules_document,
)
from orchestration_project.errors import ContractError
from orchestration_project.services.evidence import recompute
from orchestration_project.tables.schema import METADATA

ROWS = [
    {"venue": "B", "firm": 7, "shares": 30, "usd": 5, "text": " x", "day": "2026-01-05"},
    {"venue": "A", "firm": 7, "shares": 30, "usd": None, "text": "", "day": "2026-01-06"},
    {"venue": "A", "firm": None, "shares": 5, "usd": 1, "text": "é", "day": "2026-01-07"},
    {"venue": "C", "firm": 0, "shares": 1, "usd": 0, "text": "1.5", "day": None},
]
IS_A = ["equal", "venue", ["text", "A"]]
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
    (["where", ["not", ["in", "venue", ["A", "B"]]], ["max", "venue"]], "C"),
    (["where", ["equal", "venue", ["text", "?"]], ["min", "venue"]], None),
    (["sum_largest", 2, SHARES, "venue"], 65),
    (["where", ["equal", 1, 2], ["sum_largest", 2, SHARES, "venue"]], None),
    (["lowest_of_greatest", ["max", "shares"], "venue"], "A"),
    (["where", IS_A, ["rank", SHARES, [], "venue"]], 1),
    (["where", ["equal", "venue", ["text", "C"]], ["rank", SHARES, [], "venue"]], 3),
    (["where", IS_A, ["over", [], SHARES]], 66),
    (["ratio", SHARES, 4], 16.5),
    (["ratio", SHARES, 0], None),
    (["ratio", None, 4], None),
    (["add", 1, ["multiply", 2, ["subtract", 5, 2]]], 7),
    (["greater", 2, 1], True),
    (["greater", None, 1], None),
    (["and", ["equal", None, None], ["not", ["equal", 1, 2]]], True),
    (["if", ["equal", 1, 2], 3], None),
    (["if", ["equal", 1, 1], 3, 4], 3),
    (["coalesce", ["filled", ["text", ""]], ["text", "b"]], "b"),
    (["format", "CRD:{}", 7], "CRD:7"),
    (["format", "CRD:{}", None], None),
    (["lookup", ["text", "a"], {"a": "b"}], "b"),
    (["lookup", ["text", "c"], {"a": "b"}], None),
    (["size", ["text", "é"]], 2),
    (["matches", ["text", "-1"], "^-[0-9]"], True),
    (["whole", ["text", "9223372036854775807"]], 2**63 - 1),
    (["whole", ["text", "9223372036854775808"]], None),
    (["whole", ["text", "1.0"]], None),
    (["plain", ["text", "1.25"]], 1_250_000),
    (["plain", ["text", "1e3"]], None),
    (["plain", ["text", "0.1234567"]], None),
    (["scaled", ["text", "1.5E3"], 6], 1_500_000_000),
    (["scaled", ["text", "0.10"], 1], 1),
    (["scaled", ["text", "0.15"], 1], None),
    (["signed", ["text", "-2.5"], 1], -25),
    (["signed", ["text", ""], 1], None),
    (["quantity", 1_250_000], Fraction(5, 4)),
    (["quantity", None], None),
    (["day", ["text", "2028-02-29"]], "2028-02-29"),
    (["day", ["text", "2026-02-29"]], None),
    (["day", ["text", "20260205"]], None),
    (["days_after", ["text", "2026-02-26"], 4], "2026-03-02"),
    (["midnight", ["min", "day"]], "2026-01-05T00:00:00.000000Z"),
    (["midnight", None], None),
    (["int64", 2**63], None),
    (["int64", 5], 5),
    (["given", "tier"], "T1"),
    (["given", "market"], None),
]
GIVEN = {"tier": "T1"}


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


def test_the_command_and_the_archive_have_the_same_rules():
    assert read_rules() == REGISTRY.rules


def test_each_column_of_a_table_with_rules_has_a_formula_or_is_not_declared():
    others = REGISTRY.tables_as_of.keys() - REGISTRY.rules.keys()
    document = rules_document(
        REGISTRY.rules.values(), [METADATA.tables[name] for name in sorted(others)]
    )
    assert document[NOT_DECLARED].keys() == others
    assert "market_share" in document[NOT_DECLARED]["finra_tier_week"]
    assert len(REGISTRY.rules.items()) == len(document["tables"]) >= 3
    for name, rules in REGISTRY.rules.items():
        columns = document["tables"][name]["columns"]
        assert list(columns) == [column.key for column in rules.table.columns]
        undeclared = {
            column for column, entry in columns.items() if entry["formula"] == NOT_DECLARED
        }
        assert undeclared == columns.keys() - rules.columns.keys()
