"""Declarations of derived tables, their queries, and what is refused of both."""

import subprocess
import sys

import polars as pl
import pytest

from orchestration_project import Field, decimal, derived, positive
from orchestration_project.engine.own.results import convert_frame, convert_result
from orchestration_project.engine.own.sql import read_inputs
from orchestration_project.errors import ConfigurationError, ContractError

DATABASES = ("sqlite", "postgresql")
NAME = Field("name", str, "its name")
RATE = Field("rate", decimal(6, 2), "its rate", check=positive)


def declared(**given):
    """Return a declaration with a query, but for what is given."""
    usual = {"key": ["name"], "fields": [NAME, RATE], "sql": "SELECT name, rate FROM rates"}
    return derived("made", **{**usual, **given})


@pytest.mark.parametrize("database", DATABASES)
@pytest.mark.parametrize(
    ("sql", "inputs"),
    [
        ('WITH a AS (SELECT * FROM Rates r) SELECT * FROM a JOIN "days" d USING (x)', "days rates"),
        ("SELECT * FROM (SELECT * FROM b) AS q WHERE x IN (SELECT x FROM c)", "b c"),
        (
            "SELECT (SELECT max(x) FROM b WHERE b.y = a.y) FROM a UNION SELECT 1 FROM d;",
            "a b d",
        ),
        (
            "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t) SELECT n FROM t, a",
            "a",
        ),
        ("SELECT 'FROM x', \"from\" FROM a -- FROM y", "a"),
    ],
)
def test_inputs_are_tables_and_no_other_names(sql, inputs, database):
    assert list(read_inputs(sql, database)) == inputs.split()


def test_the_parser_writes_no_warning_of_its_extras():
    code = (
        "from orchestration_project.engine.own.sql import read_inputs\n"
        "print(*read_inputs('SELECT 1 FROM a', 'sqlite'))"
    )
    command = [sys.executable, "-W", "default::UserWarning", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - ours
    assert (done.stdout, done.stderr) == ("a\n", "")


@pytest.mark.parametrize("database", DATABASES)
@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("SELECT a\nFROM", "line 2, column 1"),
        ("SELECT max(x FROM y", "line 1, column 14"),
        ("SELECT 'a\nFROM b", "line 2: Missing '"),
        ("INSERT INTO a SELECT 1", "INSERT"),
        ("DROP TABLE a", "DROP"),
        ("WITH d AS (DELETE FROM a RETURNING x) SELECT * FROM d", "DELETE"),
        ("SELECT 1 FROM a; SELECT 2 FROM a", "2 statements"),
        ("SELECT * FROM a FOR UPDATE", "LOCK"),
        ("SELECT * FROM other.a", "other.a"),
        (" -- nothing", "0 statements"),
    ],
)
def test_a_query_that_cannot_be_read_or_writes_is_refused_with_its_place(sql, found, database):
    with pytest.raises(ConfigurationError, match="invalid SQL") as refused:
        read_inputs(sql, database)
    assert found in refused.value.found


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"sql": ""}, "either sql= or function="),
        ({"function": len, "inputs": ["a"]}, "either sql= or function="),
        ({"sql": "", "function": len}, "names of tables"),
        ({"fields": []}, "at least one"),
        ({"fields": [NAME, NAME]}, "each name once"),
        ({"key": []}, "at least one field"),
        ({"key": ["nam"]}, "names of its fields"),
        ({"key": ["rate"]}, "required fields of the types"),
        ({"fields": [NAME, Field("b", str, "b", source="c")]}, "none"),
        ({"partition_by": "rate"}, "a field of the key"),
        ({"input_columns": {"a": "b"}}, "partition_by beside them"),
    ],
)
def test_a_wrong_declaration_says_what_was_expected(given, expected):
    with pytest.raises(ConfigurationError) as refused:
        declared(**given)
    assert expected in refused.value.expected


def test_a_timestamp_names_no_partition():
    moment = Field("at", "timestamp", "when")
    with pytest.raises(ConfigurationError, match="partition_by of derived table 'made'"):
        declared(key=["at"], fields=[moment], partition_by="at")


def conformed(frame):
    made = declared(sql="", function=len, inputs=["a"])
    return convert_result(made, convert_frame(made, frame), {})


def test_frames_of_polars_and_pandas_are_held_to_the_declaration():
    import pandas as pd

    expected = [("a", "1.250000"), ("b", "2.000000")]
    rates = pl.Series(["1.25", "2"]).str.to_decimal(scale=2)
    for frame in (
        pl.DataFrame({"rate": rates, "name": ["a", "b"]}),
        pl.LazyFrame({"rate": rates, "name": ["a", "b"]}),
        pd.DataFrame({"name": ["a", "b"], "rate": rates.to_list()}),
    ):
        assert [(name, str(rate)) for name, rate in conformed(frame).rows()] == expected


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        ([1, 2], "a frame of polars or pandas"),
        (pl.DataFrame({"name": ["a"]}), "name, rate"),
        (pl.DataFrame({"name": ["a"], "rate": [1.5]}), "an exact decimal"),
        (pl.DataFrame({"name": ["a"], "rate": [-1]}), "above 0"),
        (pl.DataFrame({"name": ["a"], "rate": [10_000]}), "below 10000"),
        (pl.DataFrame({"name": ["a", "a"], "rate": [1, 2]}), "each name once"),
    ],
)
def test_a_frame_that_is_not_as_declared_fails(frame, expected):
    with pytest.raises(ContractError, match="made is not derived") as refused:
        conformed(frame)
    assert expected in refused.value.expected
