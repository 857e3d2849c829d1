"""Charts of trading over time, drawn from gold, prices and short interest: one asset each."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import dagster as dg
import polars as pl

from orchestration_project.assets.finra.catalogue import (
    OTC_WEEKLY,
    SYMBOL_MOVERS_WEEK,
    TIER_WEEK,
    VENUE_WEEK,
    asset_spec,
)
from orchestration_project.assets.finra.value import DAILY, SYMBOL_WEEK_VALUE
from orchestration_project.domains.finra import chart_figures as plots
from orchestration_project.domains.finra.settings import FinraSettings
from orchestration_project.engine.announcements import normalise_metadata
from orchestration_project.engine.connections.artifacts import ArtifactStore
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.plots.figures import Picture
from orchestration_project.plots.sparkline import svg_uri
from orchestration_project.resources.finra import charts
from orchestration_project.resources.finra.datasets import DATASETS_ON
from orchestration_project.resources.finra.listed import HAS_VALUES
from orchestration_project.services.metadata import build_table, embed_image, store_file

FOLDER = "plots/finra/charts"
SHORT_INTEREST = dg.AssetKey(["finra", "short_interest"])

ROWS_SHOWN = 20
"""The newest rows of the data, beside the picture."""


@dataclass(frozen=True)
class Chart:
    """A chart: its asset, what it shows, and how it is read and drawn.

    ``draw`` takes the rows, and returns the picture; without rows there is nothing to draw.
    """

    noun: str
    title: str
    deps: tuple[dg.AssetKey, ...]
    draw: "DrawChart"

    @property
    def key(self) -> dg.AssetKey:
        """Its asset."""
        return dg.AssetKey(["finra", self.noun])

    @property
    def spec(self) -> dg.AssetSpec:
        """Its asset in the catalogue."""
        description = f"One picture: {self.title}."
        return asset_spec(self.key, description, None, "plot", *self.deps)


class DrawChart(Protocol):
    """Reads the rows of a chart, and draws them; None: nothing is loaded."""

    def __call__(
        self, warehouse: Warehouse, *, is_synthetic: bool
    ) -> tuple[pl.DataFrame, Picture | None]:
        """Return the rows and the picture of them."""
        ...


def _draw_rows(
    read: Callable[[Warehouse], pl.DataFrame],
    draw: Callable[..., Picture],
    warehouse: Warehouse,
    *,
    is_synthetic: bool,
) -> tuple[pl.DataFrame, Picture | None]:
    rows = read(warehouse)
    return rows, None if rows.is_empty() else draw(rows, is_synthetic=is_synthetic)


def _draw_movers(
    warehouse: Warehouse, *, is_synthetic: bool
) -> tuple[pl.DataFrame, Picture | None]:
    week, rows = charts.read_movers(warehouse)
    return rows, plots.movers(rows, week, is_synthetic=is_synthetic) if week else None


ATS_SHARE_TITLE = "Share of ATSs in the shares by week, % of both markets"
OFF_EXCHANGE_TITLE = "Share of OTC in all shares traded by week, %, of symbols with prices"

ALL_CHARTS = (
    Chart(
        "ats_share_chart",
        "the share of ATSs in the shares by week and tier",
        (VENUE_WEEK,),
        partial(
            _draw_rows, charts.read_ats_shares, partial(plots.share_by_tier, title=ATS_SHARE_TITLE)
        ),
    ),
    Chart(
        "off_exchange_share_chart",
        "the share of OTC in all shares traded by week and tier, of symbols with prices",
        (SYMBOL_WEEK_VALUE,),
        partial(
            _draw_rows,
            charts.read_off_exchange_shares,
            partial(plots.share_by_tier, title=OFF_EXCHANGE_TITLE),
        ),
    ),
    Chart(
        "concentration_chart",
        "both bounds of the Herfindahl-Hirschman index (HHI) of firms by week and tier",
        (TIER_WEEK,),
        partial(_draw_rows, charts.read_concentration, plots.concentration),
    ),
    Chart(
        "movers_chart",
        "the symbols with the largest changes in shares in the newest week",
        (SYMBOL_MOVERS_WEEK,),
        _draw_movers,
    ),
    Chart(
        "short_interest_chart",
        "short interest against the price, of the symbols with most shares sold short",
        (SHORT_INTEREST, DAILY),
        partial(_draw_rows, charts.read_short_interest, plots.short_interest),
    ),
    Chart(
        "restatements_chart",
        "restatements by size, and by weeks since publication",
        (OTC_WEEKLY, VENUE_WEEK),
        partial(_draw_rows, charts.read_restatements, plots.restatements),
    ),
)


ABSENT = frozenset(
    key
    for key, is_there in (
        (SYMBOL_WEEK_VALUE, HAS_VALUES),
        (DAILY, HAS_VALUES),
        (SHORT_INTEREST, "short_interest" in {dataset.noun for dataset in DATASETS_ON}),
    )
    if not is_there
)
"""Assets that this installation lacks."""

CHARTS = tuple(all_chart for all_chart in ALL_CHARTS if not ABSENT & {*all_chart.deps})
"""The charts whose inputs this installation has."""


@dg.multi_asset(name="draw_finra_charts", specs=[each.spec for each in CHARTS], can_subset=True)
def finra_charts(
    context: dg.AssetExecutionContext,
    artifacts: dg.ResourceParam[ArtifactStore],
    settings: dg.ResourceParam[FinraSettings],
    warehouse: dg.ResourceParam[Warehouse],
) -> Iterator[dg.MaterializeResult[Any]]:
    """Draw each chart of what is loaded, keep the files, and show them."""
    for chart in CHARTS:
        if chart.key in context.selected_asset_keys:
            rows, picture = chart.draw(warehouse, is_synthetic=settings.is_demo)
            metadata = _describe_chart(artifacts, chart, rows, picture)
            yield dg.MaterializeResult(asset_key=chart.key, metadata=normalise_metadata(metadata))


def _describe_chart(
    artifacts: ArtifactStore, chart: Chart, rows: pl.DataFrame, picture: Picture | None
) -> dict[str, Any]:
    if picture is None:
        return {"outcome": "nothing to draw: what the chart shows is not loaded"}
    return {
        "picture": embed_image(chart.title, svg_uri(picture.svg)),
        "dagster/row_count": len(rows),
        "newest": build_table(rows.tail(ROWS_SHOWN)),
        "svg_file": store_file(artifacts, FOLDER, picture.svg, suffix="svg"),
        "png_file": store_file(artifacts, FOLDER, picture.png, suffix="png"),
    }
