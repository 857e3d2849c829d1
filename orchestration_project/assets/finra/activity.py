"""The picture of FINRA's trading, drawn from gold."""

from typing import Any

import dagster as dg
import polars as pl

from orchestration_project.assets.finra.catalogue import (
    CONCENTRATION_WEEK,
    OTC_WEEKLY,
    SYMBOL_WEEK,
    TIER_WEEK,
    TRADE_ACTIVITY,
    VENUE_WEEK,
    asset_spec,
)
from orchestration_project.domains.finra.activity import Activity, by_tier
from orchestration_project.domains.finra.figures import trade_activity as drawn
from orchestration_project.domains.finra.settings import FinraSettings
from orchestration_project.engine.announcements import normalise_metadata
from orchestration_project.engine.connections.artifacts import ArtifactStore
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.plots.sparkline import sparkline, svg_uri
from orchestration_project.resources.finra.activity import read_activity
from orchestration_project.services.metadata import (
    build_table,
    embed_image,
    link_partition,
    store_file,
)

FOLDER = "plots/finra/trade_activity"


@dg.multi_asset(
    name="draw_finra_trade_activity",
    specs=[
        asset_spec(
            TRADE_ACTIVITY,
            "One picture of the trading that is loaded: shares, trades and concentration by week, "
            "and the largest symbols and venues of the newest week that has all tiers.",
            None,
            "plot",
            *(SYMBOL_WEEK, VENUE_WEEK, CONCENTRATION_WEEK, TIER_WEEK),
        )
    ],
)
def trade_activity(
    artifacts: dg.ResourceParam[ArtifactStore],
    settings: dg.ResourceParam[FinraSettings],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.MaterializeResult[Any]:
    """Draw the loaded weeks of trade activity, store the image files, and show them."""
    activity, is_synthetic = read_activity(warehouse), settings.is_demo
    if activity is None:
        nothing = {"outcome": "nothing to draw: no week is loaded"}
        return dg.MaterializeResult(asset_key=TRADE_ACTIVITY, metadata=nothing)
    picture = drawn(activity, is_synthetic=is_synthetic)
    return dg.MaterializeResult(
        asset_key=TRADE_ACTIVITY,
        metadata=normalise_metadata(
            {
                "picture": embed_image(
                    "The trading by week, and the largest", svg_uri(picture.svg)
                ),
                **_summarize_week(activity),
                **_draw_lines(activity, is_synthetic=is_synthetic),
                "svg_file": store_file(artifacts, FOLDER, picture.svg, suffix="svg"),
                "png_file": store_file(artifacts, FOLDER, picture.png, suffix="png"),
                "made_of": activity.made_of,
                **_build_tables(activity),
            }
        ),
    )


def _summarize_week(activity: Activity) -> dict[str, Any]:
    """Return the weekly figures as Dagster metadata, with the week they belong to."""
    week = activity.week_start
    links = (link_partition(OTC_WEEKLY, f"{tier}|{week}") for tier in activity.tiers)
    share = activity.de_minimis_share
    return {
        "week_start": week.isoformat(),
        "made_of_weekly": dg.MetadataValue.md(", ".join(links)),
        "share_quantity": activity.total("share_quantity"),
        "trade_count": activity.total("trade_count"),
        "symbol_count": activity.symbol_count,
        "venue_count": activity.venue_count,
        **({} if share is None else {"de_minimis_share": share}),
        "weeks_shown": len(activity.weeks),
    }


def _draw_lines(activity: Activity, *, is_synthetic: bool) -> dict[str, Any]:
    """Return a small line for each tier of the week: its shares."""
    lines = {
        tier: sparkline(by_tier(activity, tier, "share_quantity"), is_synthetic=is_synthetic)
        for tier in activity.tiers
    }
    return {
        f"shares_{tier}": embed_image(f"Shares of {tier} by week", line)
        for tier, line in lines.items()
    }


def _build_tables(activity: Activity) -> dict[str, Any]:
    tables: dict[str, pl.DataFrame] = {
        "top_symbols": activity.symbols,
        "top_venues": activity.venues,
        "tiers": activity.tier_weeks.drop("week_start"),
    }
    names_last = pl.selectors.exclude("name"), pl.selectors.by_name("name", require_all=False)
    return {name: build_table(rows.select(*names_last)) for name, rows in tables.items()}
