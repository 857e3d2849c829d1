"""A job whose partitions a test requests with gaps between them; its runs are never launched."""

import dagster as dg

LETTERS = [f"{number:03}" for number in range(110)]


@dg.asset(
    partitions_def=dg.StaticPartitionsDefinition(LETTERS),
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def pages() -> None:
    """One page per partition."""


defs = dg.Definitions(assets=[pages], jobs=[dg.define_asset_job("printing", [pages])])
