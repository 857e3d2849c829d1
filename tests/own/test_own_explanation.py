"""Explanation of values of declared tables: field, record, parse and load."""

from contextlib import ExitStack

import pytest

from orchestration_project import Daily, Dataset, Field, decimal, file_source, positive
from orchestration_project.engine.captures import Captures
from orchestration_project.engine.contracts.chain import ChainKey
from orchestration_project.engine.own.contracts import declare_table
from orchestration_project.engine.own_sources import Declaration
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import ConfigurationError
from orchestration_project.services.own_explanation import explain_own
from orchestration_project.tables.schema import METADATA
from tests.own.file_loading import FileLoading, LaterClock

DAY = "2026-01-05"
KEY = ChainKey(bytes(range(32)))
JSON = '{"rows": [{"id": 1, "price": {"close": "1.20"}}, {"id": 2, "price": {"close": "-3"}}]}'


class Explained(FileLoading):
    """Loads of a dataset, and explanations of its values."""

    def declare_fields(self, *fields, key, **reading):
        self.declared = Dataset(
            "explained",
            key=[key],
            partitions=Daily("2026-01-01"),
            fields=fields,
            source=file_source("{partition}.csv", **reading),
            max_reject_ratio=1,
        )

    def explain(self, key, column):
        table, fields = declare_table(self.declared, "shop")
        declaration = Declaration(self.declared, "defs/shop/source.py", table, fields, b"")
        with self.warehouse.reading() as connection:
            return explain_own(connection, Captures(self.store), declaration, key, column)


@pytest.fixture
def files(tmp_path, prepared):
    with ExitStack() as stack:
        url, clock = prepared.sqlite(tmp_path / "warehouse.sqlite"), LaterClock()
        opened = stack.enter_context(Warehouse(url, clock=clock, chain_key=lambda: KEY))
        yield Explained(opened, tmp_path, clock)


def test_a_value_of_a_csv_has_its_field_line_and_load(files):
    amount = Field("amount", decimal(9, 2), "euros", source="Amount", check=positive)
    files.declare_fields(Field("name", str, "its name"), amount, key="name", format="csv")
    files.load_file(files.declared, DAY, "name,Amount\nAnn,1.10\n Bob ,22.5\n")
    found = files.explain(f"{DAY}|Bob", "amount")
    assert found.formula == [
        "field",
        "Amount",
        {
            "declared_in": "defs/shop/source.py",
            "format": "csv",
            "type": "ExactDecimal(digits=9, places=2)",
            "checks": ["above 0"],
            "is_optional": False,
        },
    ]
    assert (found.published, found.recomputed, found.is_equal) == ("22.500000", "22.500000", True)
    [record] = found.inputs
    assert (record.line_number, record.line, record.values) == (3, " Bob ,22.5", {"Amount": "22.5"})
    assert (record.fetched_by, record.problem) == ("run", None)
    assert found.last_change is not None
    assert (found.last_change.cause, found.last_change.run_id) == ("first", "run")
    assert found.last_change.signature is not None
    assert files.explain(f"{DAY}|Ann", "day").formula[0] == "partition"


def test_a_derived_value_has_its_formula_and_the_texts_that_it_is_computed_from(files):
    close, volume = Field("close", int, "euros", source="Close"), Field("volume", int, "shares")
    turnover = Field("turnover", int, "euros", formula=["multiply", "close", "volume"])
    names = Field("name", str, "its name"), close, volume, turnover
    files.declare_fields(*names, key="name", format="csv")
    files.load_file(files.declared, DAY, "name,Close,volume\nAnn,7,3\n")
    found = files.explain(f"{DAY}|Ann", "turnover")
    assert found.formula[:2] == ["derived", ["multiply", "close", "volume"]]
    assert (found.published, found.recomputed, found.is_equal) == (21, 21, True)
    assert found.inputs[0].values == {"Close": "7", "volume": "3"}


def test_a_value_of_json_has_its_record(files):
    close = Field("close", decimal(9, 2), "euros", source="price.close")
    files.declare_fields(Field("id", int, "number"), close, key="id", format="json", records="rows")
    files.load_file(files.declared, DAY, JSON)
    found = files.explain(f"{DAY}|2", "close")
    assert (found.published, found.is_equal) == ("-3.000000", True)
    assert found.inputs[0].values == {"price.close": "-3"}
    assert found.inputs[0].line == '{"id": "2", "price.close": "-3"}'


def test_a_later_rule_and_a_missing_capture_say_why_no_record_fits(files):
    name, amount = Field("name", str, "its name"), Field("amount", int, "euros")
    files.declare_fields(name, amount, key="name", format="csv")
    files.load_file(files.declared, DAY, "name,amount\nAnn,0\n")
    for table in [METADATA.tables["explained"], METADATA.tables["explained_history"]]:
        METADATA.remove(table)
    strict = Field("amount", int, "euros", check=positive)
    files.declare_fields(name, strict, key="name", format="csv")
    found = files.explain(f"{DAY}|Ann", "amount")
    assert (found.published, found.recomputed, found.is_equal) == (0, None, False)
    assert "by the present declaration" in str(found.inputs[0].problem)
    for file in (files.folder / "artifacts").rglob("*.zst"):
        file.unlink()
    assert "artifact" in str(files.explain(f"{DAY}|Ann", "amount").inputs[0].problem)


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("key", "column", "expected"),
    [
        (f"{DAY}|Bob", "amount", "day|name"),
        ("Ann", "amount", "day|name"),
        ("yesterday|Ann", "amount", "day|name"),
        (f"{DAY}|Ann", "amounts", "name, amount"),
        (f"{DAY}|Ann", "capture_id", "name, amount"),
    ],
)
def test_a_wrong_key_or_column_says_what_there_is(files, key, column, expected):
    fields = Field("name", str, "its name"), Field("amount", int, "euros")
    files.declare_fields(*fields, key="name", format="csv")
    files.load_file(files.declared, DAY, "name,amount\nAnn,1\n")
    with pytest.raises(ConfigurationError, match=r"invalid (key|column)") as raised:
        files.explain(key, column)
    assert raised.value.expected == expected
