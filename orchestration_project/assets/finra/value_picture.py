"""The picture of what was traded and what it was worth, by week and tier."""

from typing import Any

import dagster as dg
import polars as pl

from orchestration_project.assets.finra.catalogue import SYMBOL_WEEK, asset_spec
from orchestration_project.assets.finra.value import SYMBOL_WEEK_VALUE, symbol_week_value
from orchestration_project.domains.finra.figures import traded_value
from orchestration_project.domains.finra.settings import FinraSettings
from orchestration_project.engine.announcements import normalise_metadata
from orchestration_project.engine.connections.artifacts import ArtifactStore
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.plots.sparkline import svg_uri
from orchestration_project.resources.finra import listed
from orchestration_project.resources.finra.value import read_valued_weeks
from orchestration_project.services.metadata import build_table, embed_image, store_file

VALUE_PICTURE = dg.AssetKey(["finra", "value_picture"])
FOLDER = "plots/finra/value"
NO_VALUE_METADATA: dict[str, Any] = {
    "outcome": "no week has a value: see the check of symbol_week_value"
}


@dg.multi_asset(
    name="draw_finra_value",
    specs=[
        asset_spec(
            VALUE_PICTURE,
            "One picture of the trading that has a value: estimated dollars, shares and trades by "
            "week and tier.",
            None,
            "plot",
            *(SYMBOL_WEEK, SYMBOL_WEEK_VALUE),
        )
    ],
)
def value_picture(
    artifacts: dg.ResourceParam[ArtifactStore],
    settings: dg.ResourceParam[FinraSettings],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.MaterializeResult[Any]:
    """Draw the derived values of weeks, store the image files, and show them."""
    weeks = read_valued_weeks(warehouse)
    metadata = (
        NO_VALUE_METADATA
        if weeks is None
        else _describe_weeks(artifacts, weeks, is_synthetic=settings.is_demo)
    )
    return dg.MaterializeResult(asset_key=VALUE_PICTURE, metadata=normalise_metadata(metadata))


def _describe_weeks(
    artifacts: ArtifactStore, weeks: pl.DataFrame, *, is_synthetic: bool
) -> dict[str, Any]:
    picture = traded_value(weeks, is_synthetic=is_synthetic)
    last = weeks.drop_nulls("notional_dollars")["week_start"].max()
    newest = weeks.filter(pl.col("week_start") == last)
    valued, shares = (newest[name].sum() for name in ("valued_share_quantity", "share_quantity"))
    return {
        "picture": embed_image("Value, shares and trades by week", svg_uri(picture.svg)),
        "week_start": newest["week_start"][0].isoformat(),
        "notional_dollars": newest["notional_dollars"].sum(),
        "share_quantity": shares,
        "valued_share": float(valued) / float(shares),
        "tiers": build_table(newest.drop("week_start")),
        "svg_file": store_file(artifacts, FOLDER, picture.svg, suffix="svg"),
        "png_file": store_file(artifacts, FOLDER, picture.png, suffix="png"),
    }


symbol_week_value_job = dg.define_asset_job(
    listed.VALUE.job,
    selection=dg.AssetSelection.assets(symbol_week_value, value_picture),
    description=listed.VALUE.description,
    tags={"domain": "finra"},
)
