"""The data dictionary: entity diagram, joins, and every column with its unit and rule of NULL."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from sqlalchemy import Column, Date, Double, Table

from orchestration_project.tables.schema import SCALE, Quantity, UtcTimestamp, key_names
from orchestration_project.tables.views import VIEWS
from tools.reference_pages.markdown import code, codes, page, paragraph, section, table
from tools.reference_pages.tables import TYPES, data_tables

UNITS = (
    (r"_usd$", "US dollars x 10^6"),
    (r"_dollars$", "US dollars"),
    (r"_(count|id|number|rank)$|^rank", "number"),
    (r"(quantity|shares)$|^volume$|_change$", "shares"),
    (r"_weeks$", "weeks"),
)
"""Pattern of an integer column's name, and its unit. Another name's unit is a number."""

SCALED_UNITS = (
    ("billions of US dollars", "billions of US dollars"),
    ("US dollars", "US dollars"),
    ("percent of par", "percent of par"),
    ("percent", "percent"),
    ("shares per old share", "ratio"),
    ("days,", "days"),
    ("shares", "shares"),
    ("Units of the currency", "units"),
    ("in FINRA's unit", "in FINRA's unit"),
)
"""Words of the description of an exact decimal, and its unit; the first that it has counts."""

DOUBLE_UNITS = (
    (r"_per_week$|_mean$|_deviation$", "shares"),
    (r"^average_trade_size$", "shares per trade"),
    (r"_share(_of_\w+)?$", "0-1"),
)
"""Pattern of the name of a number of double precision, and its unit."""


def unit(column: Column[object]) -> str:
    """Return the unit of a column's values; nothing of texts and flags."""
    meaning, kind = str(column.comment), column.type
    if SCALE in column.info or "x 10^6" in meaning:
        scaled = next((unit for words, unit in SCALED_UNITS if words in meaning), "shares")
        return scaled if isinstance(kind, Quantity) else f"{scaled} x 10^6"
    if isinstance(kind, Date):
        return "day"
    if isinstance(kind, UtcTimestamp):
        return "UTC"
    if isinstance(kind, Double):
        if "US dollars" in meaning or "0-1" in meaning:
            return "US dollars" if "US dollars" in meaning else "0-1"
        if column.key == "average_trades_per_week":
            return "trades"
        return next((unit for name, unit in DOUBLE_UNITS if re.search(name, column.name)), "ratio")
    if str(kind) == "BIGINT" or column.name.endswith("_dollars"):
        found = (unit for pattern, unit in UNITS if re.search(pattern, column.name))
        return next(found, "number")
    return ""


def null_rule(column: Column[object]) -> str:
    """Return what NULL means in a column; nothing where it is never NULL."""
    if not column.nullable:
        return ""
    written = re.search(r"NULL: ([^;]+)", str(column.comment))
    return written.group(1) if written else "not reported, or not known"


def joins(tables: Sequence[Table]) -> Iterator[tuple[str, str, Sequence[str]]]:
    """Yield each table whose columns hold another one's whole key: many of its rows to one."""
    for many in tables:
        for one in tables:
            key = key_names(one)
            if many is not one and one.name not in VIEWS and set(key) <= set(many.columns.keys()):
                is_same = set(key) == set(key_names(many))
                if not is_same or many.name in VIEWS or many.name > one.name:
                    yield many.name, one.name, key


def write() -> str:
    """Return the page."""
    tables = data_tables()
    return page("dictionary", [_diagram(), _joins(tables), _charts(), _columns(tables)])


def _diagram() -> str:
    alt = "Entity diagram: tables and views with their keys; arrows lead to what is made of them"
    return section("Entity diagram", f"![{alt}](diagrams/dictionary.svg)")


def _joins(tables: Sequence[Table]) -> str:
    rows = [(code(many), code(one), codes(key)) for many, one, key in joins(tables)]
    note = (
        "Many rows of the first table join one row of the second. Prices join a week by `symbol` "
        "and a `trade_date` from `week_start` to six days after it."
    )
    return section("Joins", paragraph(note), table(("table", "joins", "by"), rows))


def _charts() -> str:
    note = (
        "The job `finra_daily` draws these tables: shares of ATSs and of OTC, concentration of "
        "firms, movers, short interest against the price, and restatements by size and age. Each "
        "is an asset with its picture. `cboe_daily` draws the share off exchange by day."
    )
    return section("Charts", paragraph(note))


def _columns(tables: Sequence[Table]) -> str:
    where: Mapping[tuple[str, ...], list[str]] = defaultdict(list)
    for each in tables:
        for column in each.columns:
            kind = TYPES[str(column.type).partition("(")[0]]
            facts = (column.key, kind, unit(column), null_rule(column), str(column.comment))
            where[facts].append(each.name)
    rows = [
        (code(name), kind, of, null, meaning, codes(names))
        for (name, kind, of, null, meaning), names in sorted(where.items())
    ]
    columns = ("column", "type", "unit", "NULL means", "meaning", "tables")
    return section("Columns", table(columns, rows))
