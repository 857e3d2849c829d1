"""Rules of the tables whose numbers can be recomputed from captures, for evidence."""

from collections.abc import Mapping

from orchestration_project.domains.finra.across import (
    ALL_TIERS_FORMULAS,
    CONCENTRATION_FORMULAS,
    ROLLING_FORMULAS,
    TIER_FORMULAS,
    WEEKS_IN_WINDOW,
)
from orchestration_project.domains.finra.contract import LINE_RULES, WEEKLY_FORMULAS
from orchestration_project.domains.finra.datasets import DATASETS
from orchestration_project.domains.finra.declaration import FinraDataset
from orchestration_project.domains.finra.gold import SYMBOL_WEEK_FORMULAS, VENUE_WEEK_FORMULAS
from orchestration_project.domains.finra.movers import (
    ANOMALY_FORMULAS,
    SYMBOL_MOVER_FORMULAS,
    VENUE_MOVER_FORMULAS,
)
from orchestration_project.domains.finra.tables.market import (
    finra_symbol_anomalies_week,
    finra_symbol_movers_week,
    finra_venue_movers_week,
    finra_venue_week_all_tiers,
)
from orchestration_project.domains.finra.tables.weekly import (
    finra_concentration_week,
    finra_otc_weekly,
    finra_symbol_rolling_6w,
    finra_symbol_week,
    finra_tier_week,
    finra_venue_week,
)
from orchestration_project.engine.contracts.contract import build_line_rules, build_row_formulas
from orchestration_project.engine.contracts.formulas import TableRules, Window
from orchestration_project.engine.contracts.partitioning import keep_day

WEEKLY, WEEK = finra_otc_weekly.name, ("tier", "week_start")
SYMBOLS, VENUES = finra_symbol_week.name, finra_venue_week.name
TWO_WEEKS = Window("week_start", -7, 0)
SIX_WEEKS = Window("week_start", -7 * (WEEKS_IN_WINDOW - 1), 0)

SYMBOL_WINDOWS = (
    (finra_symbol_rolling_6w, ROLLING_FORMULAS, SIX_WEEKS),
    (finra_concentration_week, CONCENTRATION_FORMULAS, TWO_WEEKS),
    (finra_symbol_movers_week, SYMBOL_MOVER_FORMULAS, TWO_WEEKS),
    (finra_symbol_anomalies_week, ANOMALY_FORMULAS, SIX_WEEKS),
)
"""Tables that are derived of several weeks of symbols."""


def _build_rules(dataset: FinraDataset) -> TableRules:
    partitioning, contract = dataset.partitioning, dataset.contract
    day = partitioning.day_column if partitioning.row_day is keep_day else ""
    names = [name for name in (partitioning.value_column, day) if name]
    return TableRules(
        dataset.table, None, names, build_row_formulas(contract), build_line_rules(contract)
    )


RULES: Mapping[str, TableRules] = {
    rules.table.name: rules
    for rules in (
        TableRules(finra_otc_weekly, None, WEEK, WEEKLY_FORMULAS, LINE_RULES),
        TableRules(finra_symbol_week, WEEKLY, WEEK, SYMBOL_WEEK_FORMULAS),
        TableRules(finra_venue_week, WEEKLY, WEEK, VENUE_WEEK_FORMULAS),
        *(
            TableRules(table, SYMBOLS, WEEK, formulas, window=window)
            for table, formulas, window in SYMBOL_WINDOWS
        ),
        TableRules(finra_venue_movers_week, VENUES, WEEK, VENUE_MOVER_FORMULAS, window=TWO_WEEKS),
        TableRules(
            finra_tier_week,
            VENUES,
            WEEK[1:],
            TIER_FORMULAS,
            rows_of_columns={"symbol_count": SYMBOLS},
        ),
        TableRules(finra_venue_week_all_tiers, VENUES, WEEK[1:], ALL_TIERS_FORMULAS),
        *(_build_rules(dataset) for dataset in DATASETS),
    )
}
"""By table; a table comes after the one whose rows it reads."""
