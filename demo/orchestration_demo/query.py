"""Query of a caller: the request body, validated and turned into a selection of rows."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from operator import and_

import polars as pl

from orchestration_demo.fields import Dataset

DEFAULT_LIMIT = 1_000
MAX_LIMIT = 5_000
MAX_OFFSET = 500_000
MAX_DIGITS = 18
"""Digits of a number in a GET; Python reads no text of thousands."""

DELIMITERS = (",", "|", "\t")

_COMPARISONS = {
    "EQUAL": pl.Expr.eq,
    "NOT_EQUAL": pl.Expr.ne,
    "GREATER": pl.Expr.gt,
    "LESSER": pl.Expr.lt,
    "GTE": pl.Expr.ge,
    "LTE": pl.Expr.le,
}
_KEYS = frozenset(
    {
        "fields",
        "compareFilters",
        "dateRangeFilters",
        "domainFilters",
        "limit",
        "offset",
        "sortFields",
        "delimiter",
        "quoteValues",
    }
)

Value = str | int | float


class BadRequestError(Exception):
    """Invalid request; the text names the defect, as FINRA's 400 does."""


@dataclass(frozen=True)
class Condition:
    """One filter: a field, a comparison (a `compareType`, or IN) and the values to compare with."""

    field: str
    comparison: str
    values: tuple[Value, ...]

    def expression(self) -> pl.Expr:
        """Return the condition over the rows of a dataset."""
        column = pl.col(self.field)
        if self.comparison == "IN":
            return column.is_in(list(self.values))
        return _COMPARISONS[self.comparison](column, self.values[0])


@dataclass(frozen=True)
class Selection:
    """Requested rows, fields and order: all parts that do not depend on the page.

    ``order`` holds pairs of a field and whether it descends.
    """

    fields: tuple[str, ...]
    conditions: tuple[Condition, ...] = ()
    order: tuple[tuple[str, bool], ...] = ()

    def predicate(self, columns: list[str]) -> pl.Expr:
        """Return the conditions that speak of ``columns`` alone, as one."""
        known = [each.expression() for each in self.conditions if each.field in columns]
        return reduce(and_, known, pl.lit(True))


@dataclass(frozen=True)
class Query:
    """A checked request: a selection, the page of it, and how delimited text is to be written."""

    selection: Selection
    limit: int = DEFAULT_LIMIT
    offset: int = 0
    delimiter: str = ","
    is_quoted: bool = True


def parse_query(dataset: Dataset, body: bytes) -> Query:
    """Return the request ``body`` as a query to ``dataset``; an empty body requests everything."""
    requested = _object(body)
    if unknown := sorted(requested.keys() - _KEYS):
        raise BadRequestError(f"Unknown parameter: {', '.join(unknown)}")
    fields = tuple(dict.fromkeys(_field(dataset, name) for name in _list(requested, "fields")))
    delimiter = requested.get("delimiter", ",")
    if delimiter not in DELIMITERS:
        raise BadRequestError(f"Invalid delimiter: {delimiter!r}")
    is_quoted = requested.get("quoteValues", True)
    if not isinstance(is_quoted, bool):
        raise BadRequestError(f"quoteValues must be true or false, not {is_quoted!r}")
    conditions = _conditions(dataset, requested)
    selection = Selection(
        fields or tuple(dataset.fields), conditions, _order(dataset, requested, conditions)
    )
    return page_of(selection, requested, delimiter, is_quoted)


def page_of(
    selection: Selection,
    requested: Mapping[str, object],
    delimiter: str = ",",
    is_quoted: bool = True,
) -> Query:
    """Return the query for the page of ``selection`` by limit and offset in ``requested``."""
    limit = _count(requested, "limit", DEFAULT_LIMIT)
    offset = _count(requested, "offset", 0)
    if limit < 1:
        raise BadRequestError("limit must be at least 1")
    if offset > MAX_OFFSET:
        raise BadRequestError(f"offset {offset} exceeds the maximum of {MAX_OFFSET}")
    return Query(selection, min(limit, MAX_LIMIT), offset, delimiter, is_quoted)


def _object(body: bytes) -> dict[str, object]:
    try:
        requested = json.loads(body) if body.strip() else {}
    except (ValueError, RecursionError) as error:
        raise BadRequestError(f"Malformed JSON: {error}") from error
    if not isinstance(requested, dict):
        raise BadRequestError("The request body must be a JSON object")
    return requested


def _list(requested: Mapping[str, object], key: str) -> list[object]:
    items = requested.get(key) or []
    if not isinstance(items, list):
        raise BadRequestError(f"{key} must be a list")
    return items


def _filters(requested: Mapping[str, object], key: str) -> list[dict[str, object]]:
    filters = []
    for item in _list(requested, key):
        if not isinstance(item, dict):
            raise BadRequestError(f"{key} must hold objects")
        filters.append(item)
    return filters


def _field(dataset: Dataset, name: object) -> str:
    found = dataset.field(str(name))
    if found is None:
        raise BadRequestError(f"Invalid field: {name}")
    return found


def _count(requested: Mapping[str, object], key: str, default: int) -> int:
    value = requested.get(key, default)
    if isinstance(value, str) and value.isdecimal() and len(value) <= MAX_DIGITS:
        value = int(value)  # GET sends digits
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise BadRequestError(f"{key} must be a whole number that is not negative, not {value!r}")
    return value


def _conditions(dataset: Dataset, requested: Mapping[str, object]) -> tuple[Condition, ...]:
    found: list[Condition] = []
    for item in _filters(requested, "compareFilters"):
        comparison = str(item.get("compareType", "")).upper()
        if comparison not in _COMPARISONS:
            raise BadRequestError(f"Invalid compareType: {item.get('compareType')}")
        found.append(_condition(dataset, item, comparison, [item.get("fieldValue")]))
    for item in _filters(requested, "dateRangeFilters"):
        field = _field(dataset, item.get("fieldName"))
        if dataset.fields[field] != "Date":
            raise BadRequestError(f"dateRangeFilters need a date field, not {field}")
        found.append(_condition(dataset, item, "GTE", [item.get("startDate")]))
        found.append(_condition(dataset, item, "LTE", [item.get("endDate")]))
    found += [
        _condition(dataset, item, "IN", _list(item, "values"))
        for item in _filters(requested, "domainFilters")
    ]
    return tuple(found)


def _condition(
    dataset: Dataset, item: Mapping[str, object], comparison: str, values: list[object]
) -> Condition:
    field = _field(dataset, item.get("fieldName"))
    if field not in dataset.filterable:
        raise BadRequestError(f"{dataset.name} cannot be filtered by {field}")
    kind = dataset.fields[field]
    return Condition(field, comparison, tuple(_value(field, kind, value) for value in values))


def _value(field: str, kind: str, value: object) -> Value:
    """Return ``value`` in the type of its field; FINRA takes numbers as text too."""
    if value is None or isinstance(value, bool | list | dict):
        raise BadRequestError(f"Invalid value for {field}: {value!r}")
    try:
        return _READERS[kind](str(value))
    except ValueError as error:
        raise BadRequestError(f"Invalid value for {field}: {value!r}") from error


def _day(text: str) -> str:
    """Return the day in ``text`` as the rows hold it; a time of day after it does not count."""
    return datetime.fromisoformat(text).date().isoformat()


_READERS: Mapping[str, Callable[[str], Value]] = {
    "Date": _day,
    "Integer": int,
    "Number": float,
    "String": str,
}


def _order(
    dataset: Dataset, requested: Mapping[str, object], conditions: tuple[Condition, ...]
) -> tuple[tuple[str, bool], ...]:
    names = [str(name) for name in _list(requested, "sortFields")]
    fixed = {each.field for each in conditions if each.comparison == "EQUAL"}
    if names and not dataset.is_sortable:
        raise BadRequestError(f"{dataset.name} cannot be sorted")
    if names and not fixed.issuperset(dataset.partition_fields):
        raise BadRequestError(
            f"sortFields need EQUAL compareFilters on all of {', '.join(dataset.partition_fields)}"
        )
    return tuple((_field(dataset, name.removeprefix("-")), name.startswith("-")) for name in names)
