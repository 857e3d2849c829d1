"""The page of alerts: what raises one, and what a rule of alerts.yaml may hold."""

from orchestration_project.services.alerts.rules.decisions import KINDS, UNRULED_KINDS
from orchestration_project.services.alerts.rules.notification import Match, RoutingRule
from tools.reference_pages.markdown import code, page, section, table
from tools.reference_pages.models import fields_table

NO_COLUMNS = (
    "No condition compares a column of a table. Checks judge numbers of shares, by limits of "
    "`checks.yaml` that are in shares, never in millionths; a rule names the `check`."
)


def write() -> str:
    """Return the page."""
    kinds, others = (
        [(code(name), kind.severity, kind.raised_when) for name, kind in listed.items()]
        for listed in (KINDS, UNRULED_KINDS)
    )
    return page(
        "alerts",
        [
            section("Kinds", table(("kind", "severity", "raised when"), kinds)),
            section("Messages without a runbook", table(("kind", "severity", "sent when"), others)),
            section("Rules", fields_table(RoutingRule)),
            section("Conditions of `match`", NO_COLUMNS, fields_table(Match)),
        ],
    )
