"""The estimate of traded value beside FINRA's own, as Dagster checks it over the real demo."""

from typing import Any

import dagster as dg
import pytest
from sqlalchemy import select, update

from orchestration_project.definitions import defs
from orchestration_project.domains.finra.calendar import TIERS
from orchestration_project.domains.finra.tables.weekly import finra_symbol_week_value
from orchestration_project.domains.prices.tables import prices_daily
from tests import databases

WEEK = "2026-01-26"
"""The newest week of which the demo has published all tiers."""


def run(instance, job: str, first: str, last: str) -> dg.ExecuteInProcessResult:
    tags = {
        "dagster/asset_partition_range_start": first,
        "dagster/asset_partition_range_end": last,
    }
    return defs.resolve_job_def(job).execute_in_process(instance=instance, tags=tags)


def agreement(instance) -> dg.AssetCheckEvaluation:
    evaluations = run(instance, "finra_symbol_week_value", WEEK, WEEK).get_asset_check_evaluations()
    [found] = [
        evaluation
        for evaluation in evaluations
        if evaluation.check_name == "agrees_with_finra_notional"
    ]
    return found


@pytest.mark.slow
def test_prices_of_the_demo_agree_with_finra_s_traded_value_and_doubled_ones_do_not(url, instance):
    for tier in TIERS:
        run(instance, "finra_otc_weekly", f"{tier}|{WEEK}", f"{tier}|{WEEK}")
    run(instance, "prices_daily", "2026-01-01", "2026-02-01")
    found = agreement(instance)
    tiers = {tier for (tier,) in databases.rows(url, select(finra_symbol_week_value.c.tier))}
    assert found.passed, found.metadata
    assert found.metadata["weeks"].value == len(tiers) > 0
    assert found.metadata["weeks_differing"].value == 0

    databases.execute(url, update(prices_daily).values(close=prices_daily.c.close * 2))
    found = agreement(instance)
    assert not found.passed
    assert found.severity == dg.AssetCheckSeverity.WARN
    differing = found.metadata["differing"]
    assert isinstance(differing, dg.TableMetadataValue)
    rows: list[dict[str, Any]] = [dict(record.data) for record in differing.records]
    assert {row["tier"] for row in rows} == tiers
    assert all(1.6 < row["factor"] < 2.4 for row in rows)
