"""Rules of the tables whose numbers can be recomputed from captures, for evidence."""

from collections.abc import Mapping

from orchestration_project.contracts.contract import line_rules, row_formulas
from orchestration_project.contracts.formulas import TableRules
from orchestration_project.contracts.partitioning import same_day
from orchestration_project.domains.finra.contract import LINE_RULES, WEEKLY_FORMULAS
from orchestration_project.domains.finra.datasets import DATASETS
from orchestration_project.domains.finra.declaration import FinraDataset
from orchestration_project.domains.finra.gold import SYMBOL_WEEK_FORMULAS, VENUE_WEEK_FORMULAS
from orchestration_project.tables.finra import (
    finra_otc_weekly,
    finra_symbol_week,
    finra_venue_week,
)

WEEKLY, WEEK = finra_otc_weekly.name, ("tier", "week_start")


def _dataset_rules(dataset: FinraDataset) -> TableRules:
    partitioning, contract = dataset.partitioning, dataset.contract
    names = [name for name in (partitioning.value_column, partitioning.day_column) if name]
    return TableRules(dataset.table, None, names, row_formulas(contract), line_rules(contract))


def _has_formulas(dataset: FinraDataset) -> bool:
    """Return whether its lines name their partition, and its rules can be stated as formulas."""
    return dataset.row_day is same_day and not any(field.form for field in dataset.fields)


RULES: Mapping[str, TableRules] = {
    rules.table.name: rules
    for rules in (
        TableRules(finra_otc_weekly, None, WEEK, WEEKLY_FORMULAS, LINE_RULES),
        TableRules(finra_symbol_week, WEEKLY, WEEK, SYMBOL_WEEK_FORMULAS),
        TableRules(finra_venue_week, WEEKLY, WEEK, VENUE_WEEK_FORMULAS),
        *(_dataset_rules(dataset) for dataset in DATASETS if _has_formulas(dataset)),
    )
}
"""By table; a table comes after the one whose rows it reads."""
