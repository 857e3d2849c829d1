"""What `run` derives once weeks are landed: gold across weeks and tiers, and the picture."""

import dagster as dg

from orchestration_project.cli.execution import execute
from orchestration_project.domains.finra.recomputation import tier_ranges, week_ranges
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.resources.finra.activity import made_of
from orchestration_project.resources.finra.gold import outdated_tier_weeks, outdated_windows
from orchestration_project.tables.finra import finra_otc_weekly


def derive(instance: dg.DagsterInstance, warehouse: Warehouse) -> list[dg.JobExecutionResult]:
    """Run the jobs of the gold that is out of date, as the sensors would."""
    # Not above: it reads the settings, and wrong ones are to end `main` with a message.
    from orchestration_project.assets.finra import WEEKS, WEEKS_OF_ALL_TIERS

    landed = warehouse.changes(finra_otc_weekly)
    windows = filter(WEEKS.has_partition_key, outdated_windows(warehouse, landed))
    results = [execute(instance, "finra_gold", between=each) for each in tier_ranges(windows)]
    weeks = filter(WEEKS_OF_ALL_TIERS.has_partition_key, outdated_tier_weeks(warehouse, landed))
    results += [execute(instance, "finra_tier_week", between=each) for each in week_ranges(weeks)]
    return results


def draw(instance: dg.DagsterInstance, warehouse: Warehouse) -> list[dg.JobExecutionResult]:
    """Draw the picture of what is landed, unless the latest shows that already."""
    from orchestration_project.sensors.finra.derived import drawn_version

    version = made_of(warehouse)
    if version is None or version == drawn_version(instance):
        return []
    return [execute(instance, "finra_trade_activity")]
