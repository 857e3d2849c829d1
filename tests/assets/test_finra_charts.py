"""FINRA's charts, as Dagster draws them over the real demo source, with known answers."""

from datetime import date

import dagster as dg
import pytest
from sqlalchemy import func, select

from orchestration_project.assets.finra import finra_charts
from orchestration_project.definitions import defs
from orchestration_project.domains.finra.tables.weekly import finra_otc_weekly
from orchestration_project.engine.connections.artifacts import open_store
from orchestration_project.services.links import name_in
from orchestration_project.settings import load_settings
from tests import databases
from tests.runs import metadata_by_partition, part_of_daily

WEEK = "2026-01-12"
"""A week of T1 that the demo restates on 2026-03-10, three weeks and more after its publication."""

CHARTS = (
    *("ats_share_chart", "off_exchange_share_chart", "concentration_chart", "movers_chart"),
    *("short_interest_chart", "restatements_chart"),
)


def run(instance, job: str, first: str = "", last: str = "") -> dg.ExecuteInProcessResult:
    tags = {
        "dagster/asset_partition_range_start": first,
        "dagster/asset_partition_range_end": last or first,
    }
    return defs.resolve_job_def(job).execute_in_process(
        instance=instance, tags=tags if first else {}
    )


def draw_and_expect_all_charts(instance) -> dict[str, dict]:
    job = part_of_daily("finra", *finra_charts.keys)
    found = metadata_by_partition(job.execute_in_process(instance=instance))
    assert set(found) == set(CHARTS)
    return {name: metadata[None] for name, metadata in found.items()}


def test_without_data_each_chart_says_that_there_is_nothing_to_draw(url, instance):
    outcomes = {metadata["outcome"] for metadata in draw_and_expect_all_charts(instance).values()}
    assert outcomes == {"nothing to draw: what the chart shows is not loaded"}


@pytest.mark.slow  # loads, restates and derives weeks, and all charts
def test_each_chart_shows_what_is_loaded(url, instance, set_clock):
    for tier in ("T1", "T2", "OTCE"):
        run(instance, "finra_otc_weekly", f"{tier}|{WEEK}", f"{tier}|2026-01-19")
    run(instance, "finra_gold", f"T1|{WEEK}", "T1|2026-01-19")
    run(instance, "finra_tier_week", WEEK, "2026-01-19")
    run(instance, "finra_short_interest", "2026-01-01", "2026-01-16")
    run(instance, "prices_daily", "2026-01-01", "2026-02-01")
    run(instance, "finra_symbol_week_value", WEEK, "2026-01-19")
    set_clock("2026-03-12T15:00:00+00:00")
    run(instance, "finra_otc_weekly", f"T1|{WEEK}")
    charts = draw_and_expect_all_charts(instance)
    for metadata in charts.values():
        assert "picture" in metadata
        store = open_store(load_settings())
        assert store.get(name_in(metadata["png_file"])).startswith(b"\x89PNG")

    rows = finra_otc_weekly.c
    shares = select(rows.market, func.sum(rows.share_quantity)).where(
        rows.week_start == date(2026, 1, 19), rows.tier == "T1"
    )
    by_market = dict(databases.rows(url, shares.group_by(rows.market)))
    shown = [record.data for record in charts["ats_share_chart"]["newest"].records]
    of_week = {row["tier"]: row["share"] for row in shown if row["week_start"] == "2026-01-19"}
    assert of_week["T1"] == pytest.approx(
        float(by_market["ATS"] / sum(by_market.values())), abs=1e-6
    )
    [restated] = [record.data for record in charts["restatements_chart"]["newest"].records]
    assert (restated["week_start"], restated["tier"]) == (WEEK, "T1")
    assert restated["moved_shares"] > 0
    assert 4 < restated["age_weeks"] < 7
