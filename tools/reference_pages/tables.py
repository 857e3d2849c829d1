"""The page of tables and views: what a row is, and each column with its type, key and unit."""

import ast
import inspect
from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Column, Table
from sqlalchemy.sql import visitors

from orchestration_project.domains.cboe.tables import MADE_OF as MADE_OF_CBOE
from orchestration_project.domains.finra.tables.lineage import MADE_OF as MADE_OF_FINRA
from orchestration_project.domains.prices.tables import MADE_OF as MADE_OF_PRICES
from orchestration_project.tables.catalogue import METADATA, TABLE_MODULES
from orchestration_project.tables.operations_events import EVENTS
from orchestration_project.tables.schema import HISTORY, INTERNAL
from orchestration_project.tables.views import VIEWS, View
from tools.reference_pages.markdown import code, codes, page, paragraph, section, table

MADE_OF = MADE_OF_CBOE | MADE_OF_FINRA | MADE_OF_PRICES
TYPES = {
    "BIGINT": "integer, 64 bits",
    "BOOLEAN": "boolean",
    "DATE": "date",
    "DATETIME": "timestamp, UTC",
    "DOUBLE": "double",
    "NUMERIC": "decimal",
    "TEXT": "text",
}
DATA_MODULES = (
    "cboe",
    "finra_datasets",
    "finra_equity_datasets",
    "finra_market",
    "finra_short",
    "finra_symbols",
    "finra_weekly",
    "fx",
    "prices",
)
"""Subjects of tables with data that analysts read."""

OTHER_MODULES = (
    "access",
    "documents",
    "erasures",
    "events",
    "mqtt",
    "operations_alerts",
    "operations_artifacts",
    "operations_deployment",
    "operations_edits",
    "operations_events",
    "operations_objectives",
    "operations_runs",
    "plugins",
    "saas",
    "spine",
    "web",
    "webhooks",
)
"""Modules of `tables/` that serve operations; the dictionary leaves them out."""

TITLES = {
    "access": "Access",
    "cboe": "Market volume of exchanges",
    "finra_datasets": "Further FINRA datasets",
    "finra_equity_datasets": "FINRA equity datasets",
    "finra_market": "FINRA venues, movers and anomalies",
    "finra_short": "FINRA short sales and short interest",
    "finra_symbols": "FINRA symbol master",
    "finra_weekly": "FINRA OTC weekly data",
    "fx": "Reference rates",
    "operations_alerts": "Alerts and their deliveries",
    "operations_artifacts": "Artifacts and exports",
    "operations_events": "Data events",
    "operations_runs": "Runs and sessions",
    "prices": "Daily prices",
    "saas": "PeopleForce and Jira",
    "spine": "Captures, deliveries and loads",
    "webhooks": "Webhook deliveries",
}


@dataclass(frozen=True)
class Group:
    """The tables and views that one module declares."""

    name: str
    tables: list[Table]

    @property
    def title(self) -> str:
        """The heading."""
        return TITLES.get(self.name, self.name.replace("_", " ").capitalize())


def groups() -> Iterator[Group]:
    """Yield the modules that declare tables, histories beside what they are of."""
    for subject, module in TABLE_MODULES.items():
        assigned = [
            target.id
            for statement in ast.parse(inspect.getsource(module)).body
            if isinstance(statement, ast.Assign | ast.AnnAssign)
            for target in getattr(statement, "targets", [getattr(statement, "target", None)])
            if isinstance(target, ast.Name) and statement.value is not None
        ]
        values = [getattr(module, name) for name in assigned]
        values = [each.table if isinstance(each, View) else each for each in values]
        declared = {each.name: each for each in values if isinstance(each, Table)}
        if declared:
            yield Group(subject, list(declared.values()))


def histories() -> dict[str, Table]:
    """Return the table that each history is of, by the history's name."""
    return {
        each.info[HISTORY].name: each for each in METADATA.tables.values() if HISTORY in each.info
    }


def data_tables() -> list[Table]:
    """Return the tables and views that the dictionary has, without histories."""
    of = histories()
    return [
        each
        for group in groups()
        if group.name in DATA_MODULES
        for each in group.tables
        if each.name not in of and not each.info.get(INTERNAL)
    ]


def sources(declared: Table) -> list[str]:
    """Return the tables whose rows a view shows or a table is derived of, by name."""
    view = VIEWS.get(declared.name)
    if view is not None:
        named = {each.name for each in visitors.iterate(view.select) if isinstance(each, Table)}
    else:
        columns = [each for made in MADE_OF.get(declared.name, {}).values() for each in made]
        named = {each.table.name for each in columns}
    return sorted(named - {declared.name})


def write() -> str:
    """Return the page."""
    return page("tables", [_overview(), *(_group(each) for each in groups())])


def _overview() -> str:
    rows = [
        (f"[`{each.name}`](#{each.name})", group.title, each.comment)
        for group in groups()
        for each in group.tables
        if not each.info.get(INTERNAL) and each.name not in histories()
    ]
    return section("Overview", table(("table or view", "group", "one row is"), rows))


def _group(group: Group) -> str:
    of = histories()
    shown = [each for each in group.tables if each.name not in of]
    picture = f"![Entity diagram: {group.title}](diagrams/{group.name}.svg)" if shown[1:] else ""
    return section(group.title, picture, *map(_table, shown))


def _table(declared: Table) -> str:
    history, origin = declared.info.get(HISTORY), sources(declared)
    facts = [
        "A view." if declared.name in VIEWS else "",
        "Internal: `export` lists it only on request." if declared.info.get(INTERNAL) else "",
        f"Derived from {codes(origin)}." if origin else "",
    ]
    indexes = [codes(str(part) for part in each.expressions) for each in declared.indexes]
    if indexes:
        facts.append(f"Indexes: {'; '.join(sorted(indexes))}.")
    columns = table(
        ("column", "type", "key", "NULL", "meaning and unit"), map(_column, declared.columns)
    )
    parts = [paragraph(str(declared.comment)), paragraph(" ".join(filter(None, facts))), columns]
    if history is not None:
        own = [each for each in history.columns if each.key not in declared.columns]
        parts += [
            paragraph(
                f"{code(history.name)} has the same columns for each earlier state of a row; its "
                "key also contains `known_from`. It adds:"
            ),
            table(("column", "type", "key", "NULL", "meaning and unit"), map(_column, own)),
        ]
    if declared.name == "operations_events":
        parts.append(_events())
    return section(code(declared.name), *parts, level=3)


def _column(column: Column[object]) -> tuple[str, ...]:
    kind = str(column.type).partition("(")[0]
    return (
        code(column.key),
        TYPES[kind],
        "yes" if column.primary_key else "",
        "yes" if column.nullable else "",
        str(column.comment),
    )


def _events() -> str:
    rows = ((code(name), *map(str, event)) for name, event in EVENTS.items())
    return table(("event", "when", "`reference`", "`detail`", "from"), rows)
