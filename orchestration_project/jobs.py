"""The named jobs."""

import dagster as dg

finra_otc_weekly = dg.define_asset_job(
    "finra_otc_weekly",
    selection=dg.AssetSelection.groups("finra"),
    description="Loads weeks of FINRA's OTC data: fetch, check, land, derive.",
    tags={"domain": "finra"},
)
