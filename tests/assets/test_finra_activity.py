"""The picture of the trading, as Dagster draws it over the real demo source."""

from datetime import date
from xml.etree import ElementTree

import dagster as dg
import pytest
from sqlalchemy import func, select

from orchestration_project.definitions import defs
from orchestration_project.domains.finra.tables.weekly import finra_symbol_week, finra_venue_week
from orchestration_project.engine.connections.artifacts import open_store
from orchestration_project.services.links import name_in
from orchestration_project.settings import load_settings
from tests import databases
from tests.expecting import expect_success
from tests.runs import metadata_by_partition, part_of_daily, texts_of

WEEK = "2026-01-26"
"""The newest week of which the demo has published all tiers."""

WEEK_START = date.fromisoformat(WEEK)
DE_MINIMIS = "CRD:0"


def load(instance, first: str, last: str, job: str = "finra_otc_weekly") -> None:
    tags = {
        "dagster/asset_partition_range_start": first,
        "dagster/asset_partition_range_end": last,
    }
    defs.resolve_job_def(job).execute_in_process(instance=instance, tags=tags)


def draw(instance) -> dg.ExecuteInProcessResult:
    job = part_of_daily("finra", dg.AssetKey(["finra", "trade_activity"]))
    return job.execute_in_process(instance=instance, raise_on_error=False)


def check_link_and_read(link: str) -> bytes:
    assert link.startswith("/api/v1/files?name=plots/finra/trade_activity/")
    return open_store(load_settings()).get(name_in(link))


def draw_metadata(instance) -> dict:
    result = expect_success(draw(instance))
    return metadata_by_partition(result)["trade_activity"][None]


def test_without_a_loaded_week_it_reports_nothing_to_draw(url, instance):
    assert draw_metadata(instance) == {"outcome": "nothing to draw: no week is loaded"}


@pytest.mark.slow
def test_it_shows_the_newest_week_of_all_tiers_in_numbers_tables_and_files(url, instance):
    load(instance, "T1|2026-01-19", "T1|2026-02-09")
    for tier in ("T2", "OTCE"):
        load(instance, f"{tier}|2026-01-19", f"{tier}|{WEEK}")
    load(instance, "T1|2026-01-19", f"T1|{WEEK}", "finra_gold")
    load(instance, WEEK, WEEK, "finra_tier_week")
    shown = draw_metadata(instance)

    venues, symbols = finra_venue_week.c, finra_symbol_week.c
    of_week = venues.week_start == WEEK_START
    sums = select(func.sum(venues.share_quantity), func.sum(venues.trade_count)).where(of_week)
    assert databases.rows(url, sums) == [(shown["share_quantity"], shown["trade_count"])]
    count = select(func.count(venues.venue_id.distinct()))
    named = count.where(of_week, venues.venue_id != DE_MINIMIS)
    assert databases.rows(url, named) == [(shown["venue_count"],)]
    assert shown["week_start"] == WEEK
    assert shown["weeks_shown"] == 4

    largest = (
        select(symbols.symbol, symbols.total_share_quantity)
        .where(symbols.week_start == WEEK_START)
        .order_by(symbols.total_share_quantity.desc())
        .limit(10)
    )
    top = [record.data for record in shown["top_symbols"].records]
    assert [(row["symbol"], row["share_quantity"]) for row in top] == databases.rows(url, largest)
    assert all(row["name"] for row in top)
    assert any(row["hhi_upper_change"] is not None for row in top)
    assert DE_MINIMIS not in [row.data["venue_id"] for row in shown["top_venues"].records]
    assert [row.data["tier"] for row in shown["tiers"].records] == ["OTCE", "T1", "T2"]
    assert shown["made_of_weekly"].count("/assets/finra/otc_weekly?view=partitions&partition=") == 3

    svg = check_link_and_read(shown["svg_file"])
    assert ElementTree.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"  # noqa: S314
    assert check_link_and_read(shown["png_file"]).startswith(b"\x89PNG")


@pytest.mark.slow
def test_drawn_twice_it_is_the_same_file_and_the_events_are_small(url, instance):
    load(instance, f"OTCE|{WEEK}", f"OTCE|{WEEK}")
    first, second = draw_metadata(instance), draw_metadata(instance)
    assert first == second
    assert len(first["picture"]) < 80_000
    assert len(first["shares_OTCE"]) < 1000
    for name in ("picture", "shares_OTCE"):
        assert "SYNTHETIC DATA" in texts_of(first[name])
    assert first["top_venues"].records
    assert first["tiers"].records == []
