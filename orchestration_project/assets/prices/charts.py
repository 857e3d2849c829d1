"""The pictures of prices: candlesticks with volume, and which days are loaded."""

from collections.abc import Sequence
from typing import Any

import dagster as dg
import polars as pl
from pydantic import Field

from orchestration_project.assets.prices.catalogue import CHARTS, DAILY, SETTINGS, asset_spec
from orchestration_project.domains.prices.charts import candlesticks, coverage
from orchestration_project.domains.prices.settings import PricesSettings
from orchestration_project.engine.announcements import normalise_metadata
from orchestration_project.engine.connections.artifacts import ArtifactStore
from orchestration_project.engine.contracts.job_options import describe_job
from orchestration_project.engine.options import JobOptions, show_configured
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import ConfigurationError
from orchestration_project.plots.sparkline import svg_uri
from orchestration_project.resources.prices.charts import ChartRows, read_shown
from orchestration_project.resources.prices.universe import wanted_symbols
from orchestration_project.services.metadata import embed_image, store_file

FOLDER = "plots/prices"
DRAWN, LISTED = 3, 30
"""Symbols with candlesticks, and in the picture of days: an event stays below 100 KB."""

NO_PRICES_METADATA: dict[str, Any] = {"outcome": "no prices are loaded of a wanted symbol"}


class PriceCharts(JobOptions):
    """Symbols that a run draws."""

    symbols: list[str] = Field(
        default_factory=list,
        examples=[["AAPL", "MSFT"]],
        description="Symbols to draw, one file each, the first three shown. Default: the three "
        "with the highest dollar volume.",
    )


show_configured(PriceCharts, "symbols", PricesSettings.of(SETTINGS).prices_symbols)


@dg.multi_asset(
    name="draw_prices",
    specs=[
        asset_spec(
            CHARTS,
            "One picture per symbol, candlesticks and volume: of those that the run names, else "
            "of those with most dollars traded. And one of the days that are loaded.",
            None,
            "plot",
            DAILY,
        )
    ],
)
def charts(
    config: PriceCharts,
    artifacts: dg.ResourceParam[ArtifactStore],
    settings: dg.ResourceParam[PricesSettings],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.MaterializeResult[Any]:
    """Draw the loaded prices, store the image files, and show them."""
    fromkeys = list(dict.fromkeys(config.symbols))
    symbols = fromkeys or wanted_symbols(settings, warehouse)
    shown_chart_rows = read_shown(warehouse, symbols)
    if fromkeys:
        _refuse_without_prices(fromkeys, shown_chart_rows)
    metadata = (
        NO_PRICES_METADATA
        if shown_chart_rows is None
        else _describe_charts(artifacts, shown_chart_rows, symbols, fromkeys, settings)
    )
    return dg.MaterializeResult(asset_key=CHARTS, metadata=normalise_metadata(metadata))


def _refuse_without_prices(symbols: Sequence[str], shown: ChartRows | None) -> None:
    missing = sorted(set(symbols) - set(shown.largest if shown else ()))
    if missing:
        raise ConfigurationError(
            f"no prices are loaded of {', '.join(missing)}",
            expected="symbols with prices in the latest sessions, spelled as in prices_daily",
            remedy="load them by the job prices_daily, or leave them out of the run's config",
        )


def _describe_charts(
    artifacts: ArtifactStore,
    shown: ChartRows,
    symbols: Sequence[str],
    chosen: Sequence[str],
    settings: PricesSettings,
) -> dict[str, Any]:
    is_synthetic = settings.is_demo
    drawn = {
        symbol: candlesticks(symbol, shown.of(symbol), is_synthetic=is_synthetic)
        for symbol in chosen or shown.largest[:DRAWN]
    }
    of_all = coverage(
        *(symbols[:LISTED], shown.days, shown.rows, shown.requested), is_synthetic=is_synthetic
    )
    pictures = {
        "coverage": of_all,
        **{f"chart_{symbol}": drawn[symbol] for symbol in list(drawn)[:DRAWN]},
    }
    present = shown.rows.filter(pl.col("trade_date").is_in(list(shown.days))).height
    return {
        **{
            name: embed_image(name.replace("_", " "), svg_uri(svg))
            for name, svg in pictures.items()
        },
        "coverage_file": store_file(artifacts, FOLDER, pictures["coverage"], suffix="svg"),
        **{
            f"{symbol}_file": store_file(artifacts, FOLDER, svg, suffix="svg")
            for symbol, svg in drawn.items()
        },
        "first_session": shown.days[0].isoformat(),
        "last_session": shown.days[-1].isoformat(),
        "coverage_ratio": present / (len(shown.days) * len(symbols)),
    }


charts_job = dg.define_asset_job(
    "prices_charts",
    selection=dg.AssetSelection.assets(charts),
    description=describe_job(
        "Draws candlesticks, volume, and the loaded days of prices.", "draw_prices", PriceCharts
    ),
    tags={"domain": "prices"},
)
