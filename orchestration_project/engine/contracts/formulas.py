"""Formulas of columns, as JSON: what a table's rows are read from, and how each column is computed.

A formula is a column's name, a number, null, or a list: an operator and its arguments. It is
evaluated on rows: one line of a capture, or those rows of a table that share a key. `OPERATORS`
describes each operator; `recompute.py` of an evidence archive evaluates the same formulas.

Values are exact: whole numbers are `int`, quantities `Fraction`, days and times ISO texts, and
ratios the doubles that `ratio` makes.
"""

import hashlib
import json
import math
import re
import struct
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

from sqlalchemy import Table

from orchestration_project.engine.contracts.capture_forms import Form, build_delimited_form
from orchestration_project.errors import ContractError
from orchestration_project.tables.schema import USD_SCALE, key_names

Formula = Any
"""A column's name in any case, a number, None, or a list of an operator and its arguments."""

Value = Any
Row = Mapping[str, Value]

NOT_DECLARED = "not declared"
"""In the place of a formula that no module declares."""

CAPTURES = "captures"
"""Value of `rows_of` where the rows of a table are read from captures."""

GREATEST = 2**63 - 1
JAVA_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,4})?")
CUSIP_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ*@#"
ISO_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


@dataclass(frozen=True)
class LineRules:
    """Rules that choose the lines of a capture that are rows of a table.

    Attributes:
        rejects: Pairs of a reason code and a formula; the first that is true of a line rejects it.
        filters: By name: the formula that is true of lines that are neither rows nor rejects.
        forms: How captures are read: the first form of which they contain the regular expression.
    """

    rejects: Sequence[tuple[str, Formula]]
    filters: Mapping[str, Formula] = field(default_factory=dict)
    forms: Sequence[Form] = field(default_factory=lambda: [build_delimited_form("|")])


class Window(NamedTuple):
    """Days of the input rows of a row, around its own day.

    Attributes:
        column: The column of the day, in both tables.
        first: The first of these days, as days after that of the row; negative: before it.
        last: The last one.
    """

    column: str
    first: int
    last: int


@dataclass(frozen=True)
class TableRules:
    """Rules by which the rows of a table are recomputed.

    Attributes:
        table: The table.
        rows_of: The table whose rows its formulas read; None: its rows are read from captures.
        partition: The columns of its key that a partition's key has, in its order; none: it names
            a period of days.
        columns: Formulas by column.
        lines: Which records of captures are rows; None: captures whose form is not declared, whose
            rows are inputs of other tables alone.
        window: Days of the input rows; None: that of the row.
        rows_of_columns: Tables in the place of ``rows_of``, by column whose formula reads their
            rows. They are derived of the same captures.
    """

    table: Table
    rows_of: str | None
    partition: Sequence[str]
    columns: Mapping[str, Formula]
    lines: LineRules | None = None
    window: Window | None = None
    rows_of_columns: Mapping[str, str] = field(default_factory=dict)

    def source_of(self, column: str) -> str:
        """Return the table whose rows the formula of a column reads."""
        return self.rows_of_columns.get(column) or self.rows_of or self.table.name

    @property
    def group(self) -> Sequence[str]:
        """The columns of its key, those of the partition first."""
        other_names = [name for name in key_names(self.table) if name not in self.partition]
        return [*self.partition, *other_names]

    def read_key(self, text: str) -> dict[str, str]:
        """Return the texts of a row's key by column, of one such as T1|2026-10-05|AAAI.

        Raises:
            ContractError: It has fewer parts than the key.
        """
        parts = text.split("|", len(self.group) - 1)
        if len(parts) < len(self.group):
            raise ContractError(
                f"invalid key {text!r} of {self.table.name}",
                expected="|".join(self.group),
                found=f"{len(parts)} parts",
                remedy="write the parts of the key in this order, with | between them",
            )
        return dict(zip(self.group, parts, strict=True))


def serialize_rules(rules: TableRules) -> dict[str, Any]:
    """Return the rules of a table, as `rules.json` has them."""
    declared: dict[str, Any] = {
        "rows_of": rules.rows_of or CAPTURES,
        "partition": list(rules.partition),
        "key": list(rules.group),
        "columns": {
            column.key: {
                "type": str(column.type),
                "is_nullable": bool(column.nullable),
                "description": column.comment,
                "formula": rules.columns.get(column.key, NOT_DECLARED),
            }
            for column in rules.table.columns
        },
    }
    for name, rows_of in rules.rows_of_columns.items():
        declared["columns"][name]["rows_of"] = rows_of
    if rules.window is not None:
        declared["window"] = list(rules.window)
    if rules.rows_of is None:
        declared["forms"] = (
            [] if rules.lines is None else [form.to_json() for form in rules.lines.forms]
        )
    if rules.lines is not None:
        declared["rejects"] = [list(reject) for reject in rules.lines.rejects]
        declared["filters"] = dict(rules.lines.filters)
    return declared


def parse_rules(declared: Mapping[str, Any], table: Table) -> TableRules:
    """Return the rules of a table that `to_json` wrote."""
    formulas = {name: column["formula"] for name, column in declared["columns"].items()}
    return TableRules(
        table,
        None if declared["rows_of"] == CAPTURES else declared["rows_of"],
        declared["partition"],
        {name: formula for name, formula in formulas.items() if formula != NOT_DECLARED},
        _read_line_rules(declared) if declared.get("forms") else None,
        Window(*declared["window"]) if "window" in declared else None,
        {
            name: column["rows_of"]
            for name, column in declared["columns"].items()
            if "rows_of" in column
        },
    )


def _read_line_rules(declared: Mapping[str, Any]) -> LineRules:
    rejects = [(code, condition) for code, condition in declared["rejects"]]
    forms = [Form(**form) for form in declared["forms"]]
    return LineRules(rejects, declared["filters"], forms)


def build_rules_document(
    tables: Iterable[TableRules], absences: Mapping[str, str]
) -> dict[str, Any]:
    """Return the content of `rules.json`: rules by table, their SHA-256 by place, operators.

    ``absences`` has why tables, or their columns, have no formula: table or table.column.
    """
    declared = {rules.table.name: serialize_rules(rules) for rules in tables}
    return {
        "format": 1,
        "operators": {name: operator.meaning for name, operator in OPERATORS.items()},
        "tables": declared,
        NOT_DECLARED: dict(absences),
        "sha256": {
            text: hash_formula(content)
            for name, rules in declared.items()
            for text, content in _iterate_places(name, rules)
        },
    }


def find_undeclared_columns(tables: Iterable[TableRules]) -> list[tuple[str, str]]:
    """Return tables and columns of tables with rules that have no formula."""
    return [
        (rules.table.name, column.key)
        for rules in tables
        for column in rules.table.columns
        if column.key not in rules.columns
    ]


def _iterate_places(name: str, rules: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for part, content in rules.items():
        if part == "columns":
            yield from ((f"{name}/columns/{column}", entry) for column, entry in content.items())
        else:
            yield f"{name}/{part}", content


def hash_formula(formula: Formula) -> str:
    """Return the SHA-256 (hex) of a formula, or of rules, as JSON with sorted names."""
    text = json.dumps(formula, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


class SourceRows:
    """The rows that a formula may look at beyond its own, by columns that they share."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows
        self._groups: dict[tuple[str, ...], dict[tuple[Value, ...], list[Row]]] = {}

    def sharing(self, names: Sequence[str], row: Row) -> list[Row]:
        """Return the rows that have the values of ``row`` in these columns."""
        columns = tuple(names)
        if columns not in self._groups:
            groups = self._groups.setdefault(columns, defaultdict(list))
            for other in self._rows:
                groups[tuple(other[name] for name in columns)].append(other)
        return self._groups[columns].get(tuple(row[name] for name in columns), [])


@dataclass(frozen=True)
class RowSet:
    """Rows that a formula is evaluated on.

    Attributes:
        rows: One line, or the rows that share a key.
        source: All rows of the table, for formulas that look at more than those of a key.
        given: What comes from elsewhere: the partition, the request, the time of the load.
    """

    rows: Sequence[Row]
    source: SourceRows
    given: Mapping[str, Value] = field(default_factory=dict)

    def of(self, rows: Sequence[Row]) -> "RowSet":
        """Return other rows of the same source."""
        return RowSet(rows, self.source, self.given)

    def grouped(self, keys: Sequence[Formula]) -> "list[RowSet]":
        """Return each row alone; with keys, the rows that share their values."""
        if not keys:
            return [self.of([row]) for row in self.rows]
        groups: dict[tuple[Value, ...], list[Row]] = defaultdict(list)
        for values, row in zip(zip(*map(self.values, keys), strict=True), self.rows, strict=True):
            groups[values].append(row)
        return [self.of(rows) for rows in groups.values()]

    def values(self, formula: Formula, keys: Sequence[Formula] = ()) -> list[Value]:
        """Return a formula's value of each row, or group of rows."""
        if isinstance(formula, str) and not keys:
            return [row[formula] for row in self.rows]
        return [evaluate(formula, group) for group in self.grouped(keys)]


def evaluate(formula: Formula, rows: RowSet) -> Value:
    """Return the value of a formula.

    Raises:
        ContractError: It has an operator that is not known, or a column in which its rows differ.
    """
    if isinstance(formula, str):
        return _find_shared_value(formula, rows)
    if not isinstance(formula, list | tuple):
        return formula
    name, *arguments = formula
    if name not in OPERATORS:
        raise ContractError(
            f"invalid operator {name!r}",
            expected=f"one of {', '.join(OPERATORS)}",
            found=json.dumps(formula)[:100],
            remedy="correct the formula",
        )
    return OPERATORS[name].compute(rows, *arguments)


def _find_shared_value(name: str, rows: RowSet) -> Value:
    values = {row.get(name.lower(), "") for row in rows.rows}
    if len(values) > 1:
        raise ContractError(
            f"invalid formula: {name} is one value",
            expected="rows that share it, or an operator such as sum around it",
            found=f"{len(values)} values",
            remedy="correct the formula",
        )
    return next(iter(values), None)


class Operator(NamedTuple):
    """An operator: what it does with rows and arguments, and what that means."""

    compute: Callable[..., Value]
    meaning: str


OPERATORS: dict[str, Operator] = {}


def operator(name: str, meaning: str) -> Callable[[Callable[..., Value]], Callable[..., Value]]:
    """Add a function as an operator."""

    def add(compute: Callable[..., Value]) -> Callable[..., Value]:
        OPERATORS[name] = Operator(compute, meaning)
        return compute

    return add


def _add_numeric(name: str, meaning: str, compute: Callable[[Value, Value], Value]) -> None:
    """Add an operator on two values that is null where one of them is."""

    def apply(rows: RowSet, left: Formula, right: Formula) -> Value:
        values = evaluate(left, rows), evaluate(right, rows)
        return None if None in values else compute(*values)

    OPERATORS[name] = Operator(apply, meaning)


_add_numeric("add", "sum of two values; null where one is null", lambda left, right: left + right)
_add_numeric(
    "subtract", "difference of two values; null where one is null", lambda left, right: left - right
)
_add_numeric(
    "multiply", "product of two values; null where one is null", lambda left, right: left * right
)
_add_numeric("greater", "whether the first value is greater", lambda left, right: left > right)
_add_numeric(
    "ratio",
    "quotient of the doubles nearest to two values; null where one is null or the second not "
    "above 0",
    lambda part, whole: float(part) / float(whole) if whole > 0 else None,
)


@operator("root", "the double nearest to the square root of a value; null: null")
def _root(rows: RowSet, formula: Formula) -> float | None:
    value = evaluate(formula, rows)
    return None if value is None else math.sqrt(value)


@operator("log", "the double nearest to the natural logarithm of a value above 0; null: null")
def _log(rows: RowSet, formula: Formula) -> float | None:
    value = evaluate(formula, rows)
    return None if value is None else math.log(value)


@operator("text", "the argument itself")
def _text(_: RowSet, text: str) -> str:
    return text


@operator("given", "what comes from elsewhere: a column of the partition, loaded_at, capture_id")
def _given(rows: RowSet, name: str) -> Value:
    return rows.given.get(name)


@operator("equal", "whether two values are equal; null equals null alone")
def _equal(rows: RowSet, left: Formula, right: Formula) -> bool:
    return evaluate(left, rows) == evaluate(right, rows)


@operator("not", "whether a value is false")
def _not(rows: RowSet, condition: Formula) -> bool:
    return not evaluate(condition, rows)


@operator("and", "whether all values are true")
def _and(rows: RowSet, *conditions: Formula) -> bool:
    return all(evaluate(condition, rows) for condition in conditions)


@operator("whole", "whether a number has no fraction; null: true")
def _whole(rows: RowSet, formula: Formula) -> bool:
    value = evaluate(formula, rows)
    return value is None or Fraction(value).denominator == 1


@operator("if", "the second value where the first is true, else the third")
def _if(rows: RowSet, condition: Formula, chosen: Formula, other: Formula = None) -> Value:
    return evaluate(chosen if evaluate(condition, rows) else other, rows)


@operator("format", "a text with a value in the place of {}; null where that is null")
def _format(rows: RowSet, template: str, formula: Formula) -> str | None:
    value = evaluate(formula, rows)
    return None if value is None else template.replace("{}", str(value))


@operator("size", "the bytes of a text in UTF-8")
def _size(rows: RowSet, formula: Formula) -> int:
    return len((evaluate(formula, rows) or "").encode())


@operator("matches", "whether a text contains a regular expression")
def _matches(rows: RowSet, formula: Formula, pattern: str) -> bool:
    return re.search(pattern, evaluate(formula, rows) or "") is not None


@operator("extract", "what the first group of a regular expression is in a text; blank: nothing")
def _extract(rows: RowSet, formula: Formula, pattern: str) -> str:
    match = re.search(pattern, evaluate(formula, rows) or "")
    return match[1] if match else ""


@operator("check_digit", "the check digit of a CUSIP's first eight characters; null: other ones")
def _check_digit(rows: RowSet, formula: Formula) -> str | None:
    marks = (evaluate(formula, rows) or "")[:8]
    if len(marks) < 8 or set(marks) - set(CUSIP_ALPHABET):
        return None
    weights = (CUSIP_ALPHABET.index(mark) * (1 + index % 2) for index, mark in enumerate(marks))
    return str(-sum(sum(divmod(weight, 10)) for weight in weights) % 10)


@operator(
    "scaled",
    "the number of a text, which may have an exponent, times 10 to the second argument, if that is "
    "whole and of 64 bits; else null",
)
def _scaled(rows: RowSet, formula: Formula, scale: int) -> int | None:
    return _parse_units(evaluate(formula, rows) or "", scale)


def _parse_units(text: str, scale: int) -> int | None:
    if JAVA_NUMBER.fullmatch(text) is None:
        return None
    number = Fraction(Decimal(text)) * 10**scale
    return int(number) if number.denominator == 1 and number <= GREATEST else None


@operator("quantity", "whole millionths as the quantity that they mean")
def _quantity(rows: RowSet, formula: Formula) -> Fraction | None:
    units = evaluate(formula, rows)
    return None if units is None else Fraction(units, 10**USD_SCALE)


@operator("day", "a text yyyy-mm-dd that is a day; null: another text")
def _day(rows: RowSet, formula: Formula) -> str | None:
    text = evaluate(formula, rows) or ""
    try:
        return date.fromisoformat(text).isoformat() if ISO_DAY.fullmatch(text) else None
    except ValueError:
        return None


@operator(
    "single", "millionths of the shortest decimal with the 32-bit fraction of a text; or null"
)
def _single(rows: RowSet, formula: Formula) -> int | None:
    number = float(evaluate(formula, rows))
    texts = (f"{number:.{digits}g}" for digits in range(1, 10))
    shortest = next((text for text in texts if _convert_to_single(float(text)) == number), None)
    return None if shortest is None else round(Decimal(shortest) * 10**USD_SCALE)


def _convert_to_single(number: float) -> float:
    """Return the nearest number with a fraction of 32 bits."""
    return struct.unpack("f", struct.pack("f", number))[0]


_add_numeric(
    "days_after",
    "the day so many whole days after a day; null where one is null",
    lambda day, count: (date.fromisoformat(day) + timedelta(days=count)).isoformat(),
)
_add_numeric(
    "quotient",
    "the decimal of at most 6 places nearest to a quotient, as text; null where one is null",
    lambda part, whole: f"{round(Decimal(part) / whole, USD_SCALE).normalize():f}",
)


@operator("join", "the texts of the rows, sorted, with commas between; none: no row has one")
def _join(rows: RowSet, formula: Formula, *keys: Formula) -> str:
    return ", ".join(sorted(_select_known(rows.values(formula, keys)))) or "none"


def _select_known(values: Iterable[Value]) -> list[Value]:
    return [value for value in values if value is not None]


@operator("sum", "sum of the values of each row, without nulls; with keys, of each group of rows")
def _sum(rows: RowSet, formula: Formula, *keys: Formula) -> Value:
    return sum(_select_known(rows.values(formula, keys)))


@operator("sum_complete", "as sum; null where a row, or group, has null")
def _sum_complete(rows: RowSet, formula: Formula, *keys: Formula) -> Value:
    values = rows.values(formula, keys)
    return None if None in values else sum(values)


@operator("count", "number of rows whose value is not null; with keys, of groups of rows")
def _count(rows: RowSet, formula: Formula, *keys: Formula) -> int:
    return len(_select_known(rows.values(formula, keys)))


@operator("min", "least value of the rows; null: none has one")
def _min(rows: RowSet, formula: Formula, *keys: Formula) -> Value:
    return min(_select_known(rows.values(formula, keys)), default=None)


@operator("max", "greatest value of the rows; null: none has one")
def _max(rows: RowSet, formula: Formula, *keys: Formula) -> Value:
    return max(_select_known(rows.values(formula, keys)), default=None)


@operator("sum_largest", "sum of so many greatest values of groups; null: no groups")
def _sum_largest(rows: RowSet, count: int, formula: Formula, *keys: Formula) -> Value:
    largest = sorted(rows.values(formula, keys), reverse=True)[:count]
    return sum(largest) if largest else None


@operator("where", "the second argument, of those rows alone for which the first is true")
def _where(rows: RowSet, condition: Formula, formula: Formula) -> Value:
    chosen = [row for row in rows.rows if evaluate(condition, rows.of([row]))]
    return evaluate(formula, rows.of(chosen))


@operator("over", "the second argument, of all rows of the table that share these columns")
def _over(rows: RowSet, names: Sequence[str], formula: Formula) -> Value:
    return evaluate(formula, rows.of(rows.source.sharing(names, rows.rows[0])))


@operator(
    "up_to",
    "the last argument, of the last so many rows that share some columns, in the order of their "
    "key, and have no greater value in a column than the row",
)
def _up_to(rows: RowSet, names: Sequence[str], by: str, count: int, formula: Formula) -> Value:
    values = rows.rows[0]
    earlier = [row for row in rows.source.sharing(names, values) if row[by] <= values[by]]
    return evaluate(formula, rows.of(earlier[-count:]))


@operator(
    "rank",
    "1 and the number of groups whose value is greater, among the rows that share the columns of "
    "the second argument; null where the value is null",
)
def _rank(rows: RowSet, formula: Formula, names: Sequence[str], *keys: Formula) -> int | None:
    ranked = evaluate(formula, rows)
    if ranked is None:
        return None
    other_items = rows.of(rows.source.sharing(names, rows.rows[0])).values(formula, keys)
    return 1 + sum(value > ranked for value in _select_known(other_items))


def find_shared_columns(formula: Formula) -> list[Sequence[str]]:
    """Return the columns that rows share which a formula looks at beyond its own."""
    if not isinstance(formula, list | tuple):
        return []
    number = {"over": 1, "rank": 2, "up_to": 1}.get(formula[0])
    inner = [columns for part in formula[1:] for columns in find_shared_columns(part)]
    return [*([formula[number]] if number else []), *inner]


def find_columns(formula: Formula, names: Iterable[str]) -> set[str]:
    """Return which of these columns a formula reads."""
    if isinstance(formula, list | tuple):
        return {name for part in formula for name in find_columns(part, names)}
    return {formula} & set(names) if isinstance(formula, str) else set()


def find_summed_columns(formula: Formula) -> dict[str, str] | None:
    """Return the operators, by column, of those columns of which a formula reads sums alone.

    Rows that are alike in its other columns can be read as one, with these sums. None: it reads
    more of single rows, such as their number.
    """
    columns: dict[str, set[str]] = {}
    _collect_readings(formula, columns)
    if any(operators & PER_ROW and len(operators) > 1 for operators in columns.values()):
        return None
    summed = {name: operator for name, (operator, *_) in columns.items() if operator != "other"}
    return None if "" in summed else summed


PER_ROW = {"sum", "sum_complete", "count"}
"""Operators that read each row alone, if they have no keys."""


def _collect_readings(formula: Formula, columns: dict[str, set[str]]) -> None:
    """Add by what operator each column is read; of more than a column's sum, under a blank name."""
    if isinstance(formula, str):
        columns.setdefault(formula, set()).add("other")
    elif isinstance(formula, list | tuple):
        name, *arguments = formula
        if name == "up_to":
            columns.setdefault("", set()).add(name)
        elif name in PER_ROW and len(arguments) == 1:
            is_sum = name != "count" and isinstance(arguments[0], str)
            columns.setdefault(arguments[0] if is_sum else "", set()).add(name)
        else:
            for argument in arguments:
                _collect_readings(argument, columns)


ROW = "row"
UNREADABLE = "unreadable_line"
"""Outcome of a line that cannot be split into the fields of the header."""


def judge_line(line: RowSet, rules: LineRules) -> str:
    """Return how the rules judge a record: row, reject code, or name of a filter."""
    if not line.rows[0]:
        return UNREADABLE
    for outcome, condition in (*rules.rejects, *rules.filters.items()):
        if evaluate(condition, line):
            return outcome
    return ROW


def build_row_set(
    fields: Mapping[str, str], given: Mapping[str, Value], others: SourceRows | None = None
) -> RowSet:
    """Return a record as the one row that formulas of records are evaluated on.

    ``others`` are all records of its capture, for formulas that look at more than one.
    """
    return RowSet([fields], others or SourceRows([]), given)


def read_value(type_name: str, value: Value) -> Value:
    """Return a value as formulas have it, of one as a database, frame or export has it."""
    if value is None:
        return None
    if type_name.startswith("NUMERIC"):
        return Fraction(Decimal(value))
    if type_name == "BIGINT":
        return int(value)
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%dT%H:%M:%S.%f}Z"
    return value.isoformat() if isinstance(value, date) else value


MAX_ULPS = 2
"""Doubles are equal that differ by so many units in the last place: polars 2.1 divides a column by
its sum as it multiplies with the inverse, which was measured to differ by one unit at most."""


def are_equal(published: Value, recomputed: Value) -> bool:
    """Return whether a value is that of a formula."""
    if isinstance(published, float) and isinstance(recomputed, float):
        return abs(published - recomputed) <= MAX_ULPS * math.ulp(published)
    return published == recomputed


def show_value(value: Value) -> Any:
    """Return a value as exports have it: quantities with six decimals, as text."""
    if not isinstance(value, Fraction):
        return value
    units = int(value * 10**USD_SCALE)
    sign = "-" if units < 0 else ""
    return f"{sign}{abs(units) // 10**USD_SCALE}.{abs(units) % 10**USD_SCALE:06d}"
