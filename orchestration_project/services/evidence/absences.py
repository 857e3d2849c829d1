"""Names the tables and columns whose numbers have no formula, with the reasons."""

from collections.abc import Iterable, Mapping

from orchestration_project.engine.contracts.formulas import (
    NOT_DECLARED,
    TableRules,
    find_undeclared_columns,
)

ALL_WEEKS, TEXTS = "all weeks, and words of names", "texts and JSON, not numbers"
SESSIONS = "a calendar of sessions"
FOLDED = "states of messages, folded in their order"

WITHOUT_FORMULA = {
    "is_stale": "state of the derivation, which a later load changes",
    **dict.fromkeys(("finra_symbol_changes", "finra_symbol_renames", "finra_symbols"), ALL_WEEKS),
    "finra_symbol_week_short": "rows of other tables, under other spellings of symbols",
    "finra_symbol_week_value": "prices of another table, its splits, and a calendar of sessions",
    "off_exchange_share_weekly": "rows by tape of columns by tape, and a calendar of sessions",
    **dict.fromkeys(("missing_count", "is_after_gap"), SESSIONS),
    **dict.fromkeys(("volatility_20d", "volatility_60d"), SESSIONS),
    "prices_symbol_spellings": "spellings of vendors, not numbers",
    **dict.fromkeys(("documents_chunks", "documents_similarity"), TEXTS),
    **dict.fromkeys(("documents_pages", "events_webhooks", "mqtt_mirror", "plugins_rows"), TEXTS),
    **dict.fromkeys(("web_changes", "web_items", "web_pages"), TEXTS),
    **dict.fromkeys(("mqtt_component_dependencies", "mqtt_components", "mqtt_metrics"), FOLDED),
    **dict.fromkeys(("mqtt_projects", "mqtt_tasks"), FOLDED),
}
"""Why tables, columns of a table, or columns of all tables have no formula."""


def explain_absence(table: str, column: str = "") -> str:
    """Return why a table, or a column of it, has no formula."""
    places = (f"{table}.{column}", column, table)
    reasons = (WITHOUT_FORMULA[name] for name in places if name in WITHOUT_FORMULA)
    return next(reasons, NOT_DECLARED)


def list_absences(rules: Mapping[str, TableRules], others: Iterable[str]) -> dict[str, str]:
    """Return why other tables, and columns of tables with rules, have no formula, by place."""
    columns = find_undeclared_columns(rules.values())
    return {
        **{f"{table}.{column}": explain_absence(table, column) for table, column in columns},
        **{table: explain_absence(table) for table in sorted(others)},
    }
