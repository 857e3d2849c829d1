"""Fields and formulas of a declared dataset whose table the package's versions have."""

from collections.abc import Mapping, Sequence

from sqlalchemy import BigInteger, Boolean, Date

from orchestration_project.engine.contracts.capture_forms import Form
from orchestration_project.engine.contracts.contract import (
    Contract,
    build_line_rules,
    build_row_formulas,
)
from orchestration_project.engine.contracts.field_formulas import BLANK, replace_field
from orchestration_project.engine.contracts.formulas import Formula, LineRules, TableRules
from orchestration_project.engine.own.contracts import find_day_field
from orchestration_project.engine.own.declarations import Dataset
from orchestration_project.engine.own.fields import MAX_DIGITS, Field, decimal
from orchestration_project.tables.schema import SCALE, USD_SCALE, Quantity, UtcTimestamp
from orchestration_project.tables.schema import Field as TableField


def build_fields(fields: Sequence[TableField]) -> Sequence[Field]:
    """Return the declared fields of a table's fields, each under the name of its column."""
    return [
        Field(
            field.column.key,
            _find_type(field),
            field.column.comment or field.name,
            source=field.name if field.formula is None else "",
            optional=bool(field.column.nullable),
            formula=field.formula,
        )
        for field in fields
    ]


def _find_type(field: TableField) -> object:
    """Return the declared type of a field."""
    column = field.column
    if isinstance(column.type, Quantity) or column.info.get(SCALE) or field.scale:
        return decimal(MAX_DIGITS, USD_SCALE)
    types = {Date: "date", UtcTimestamp: "timestamp", Boolean: bool, BigInteger: int}
    return next((name for kind, name in types.items() if isinstance(column.type, kind)), str)


def build_table_rules(dataset: Dataset, contract: Contract, forms: Sequence[Form]) -> TableRules:
    """Return the rules by which rows are recomputed from captures, for evidence.

    Args:
        dataset: The declared dataset, which has a field with the day of a record.
        contract: Its contract.
        forms: How captures are read.
    """
    column = dataset.partitions.column
    rejects = [(code, _read(dataset, item)) for code, item in build_line_rules(contract).rejects]
    return TableRules(
        contract.table,
        None,
        (column,),
        {name: _read(dataset, formula) for name, formula in build_row_formulas(contract).items()},
        LineRules(rejects, _build_filters(dataset), forms),
    )


def _build_filters(dataset: Dataset) -> Mapping[str, Formula]:
    """Return formulas of records that are left out, by the reason, but of blank ones."""
    day, given_names = find_day_field(dataset), ["given", dataset.partitions.column]
    other_days: Formula = ["not", ["equal", day, given_names]]
    reading = dataset.source.reading
    unpivot = reading.unpivot or (reading.zipped.unpivot if reading.zipped else ())
    if not unpivot or not reading.null_values:
        return {"other_days": other_days}
    name, cell = unpivot
    is_null = _is_null(cell, reading.null_values)
    first, last = (
        ["over", [name], ["where", ["not", is_null], [operator, day]]]
        for operator in ("min", "max")
    )
    is_between: Formula = ["and", ["greater", given_names, first], ["greater", last, given_names]]
    return {"other_days": other_days, "not_listed": ["and", is_null, ["not", is_between]]}


def _is_null(name: str, null_values: Sequence[str]) -> Formula:
    """Return whether a field has a text that means no value."""
    formulas: list[Formula] = [["equal", name, ["text", text]] for text in null_values]
    return (
        formulas[0]
        if len(formulas) == 1
        else ["not", ["and", *(["not", formula] for formula in formulas)]]
    )


def _read(dataset: Dataset, formula: Formula) -> Formula:
    """Return a formula that reads fields as the declaration says.

    Texts that mean no value are blank, and a field may be a part of another one.
    """
    null_values = dataset.source.reading.null_values
    for name in [
        own_field.source_name
        for own_field in dataset.source_fields
        if own_field.optional and null_values
    ]:
        reading: Formula = ["if", _is_null(name, null_values), BLANK, name]
        formula = replace_field(formula, name, reading)
    for name, (field, pattern) in (dataset.source.reading.extract or {}).items():
        formula = replace_field(formula, name, ["extract", field, pattern])
    return formula
