"""Rules of the tables whose numbers can be recomputed from captures, for evidence."""

from collections.abc import Mapping

from orchestration_project.contracts.formulas import TableRules
from orchestration_project.domains.finra.contract import LINE_RULES, WEEKLY_FORMULAS
from orchestration_project.domains.finra.gold import SYMBOL_WEEK_FORMULAS, VENUE_WEEK_FORMULAS
from orchestration_project.tables.finra import (
    finra_otc_weekly,
    finra_symbol_week,
    finra_venue_week,
)

WEEKLY, WEEK = finra_otc_weekly.name, ("tier", "week_start")

RULES: Mapping[str, TableRules] = {
    rules.table.name: rules
    for rules in (
        TableRules(finra_otc_weekly, None, WEEK, WEEKLY_FORMULAS, LINE_RULES),
        TableRules(finra_symbol_week, WEEKLY, WEEK, SYMBOL_WEEK_FORMULAS),
        TableRules(finra_venue_week, WEEKLY, WEEK, VENUE_WEEK_FORMULAS),
    )
}
"""By table; a table comes after the one whose rows it reads."""
