"""The page of evidence archives: what each member holds, and the formulas of `rules.json`."""

from orchestration_project.catalog import REGISTRY
from orchestration_project.contracts.formulas import OPERATORS
from orchestration_project.services.evidence.rules import CONTENTS
from reference_pages.markdown import code, page, section, table

REASONS = {
    "is_stale": "state of the derivation, which a later load changes",
    "finra_tier_week.symbol_count": "counts rows of a second table",
    "finra_symbol_anomalies_week": "standard deviation of doubles, rounded in the order of weeks",
    "finra_symbol_changes, finra_symbol_renames, finra_symbols": "all weeks, and words of names",
    "finra_symbol_week_short, finra_symbol_week_value": "rows of several tables",
    "off_exchange_share_daily, off_exchange_share_weekly": "columns by tape, and a calendar",
    "prices_returns, prices_corporate_actions": "the row before, and logarithms",
    "fact_bond_trade_activity": "check digits of CUSIPs",
    "finra_short_interest": "its partition is not a column",
    "fx_rates_daily, market_volume_daily, prices_daily": "captures that are not a row a line",
    "documents_pages, events_webhooks, mqtt_mirror, plugins_rows, web_items, web_pages": (
        "texts and JSON, not numbers"
    ),
}
"""Reasons why columns, or tables, have no formula."""


def write() -> str:
    """Return the page."""
    members = [(code(name), content) for name, content in CONTENTS.items()]
    operators = [(code(name), operator.meaning) for name, operator in OPERATORS.items()]
    return page(
        "evidence",
        [
            section("Members", table(("member", "content"), members)),
            section("Tables with formulas", table(("table", "rows of", "columns"), _tables())),
            section(
                "Without a formula",
                table(
                    ("table or column", "reason"),
                    ((_codes(names), reason) for names, reason in REASONS.items()),
                ),
            ),
            section("Operators of formulas", table(("operator", "value"), operators)),
        ],
    )


def _codes(names: str) -> str:
    return ", ".join(code(name) for name in names.split(", "))


def _tables() -> list[tuple[str, str, str]]:
    """Return each table of `rules.json`, what its formulas read, and how many columns have one."""
    return [
        (
            code(name),
            code(rules.rows_of) if rules.rows_of else "lines of captures",
            f"{len(rules.columns)} of {len(rules.table.columns)}",
        )
        for name, rules in REGISTRY.rules.items()
    ]
