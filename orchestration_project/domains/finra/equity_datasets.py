"""FINRA's datasets of the group otcMarket: open to all, without a credential."""

import polars as pl

from orchestration_project.contracts.contract import Claim
from orchestration_project.contracts.partitioning import Calendar
from orchestration_project.domains.finra.calendar import settlement_date
from orchestration_project.domains.finra.declaration import OTC_MARKET, FinraDataset
from orchestration_project.tables.finra_datasets import SHORT_INTEREST_FIELDS, finra_short_interest

EQUITY_LICENCE = "FINRA's terms of use for its public equity data"

SHORT_INTEREST = FinraDataset(
    group=OTC_MARKET,
    name="consolidatedShortInterest",
    table=finra_short_interest,
    fields=SHORT_INTEREST_FIELDS,
    partition_fields=("settlementDate",),
    calendar=Calendar(weekday=None, month_days=(1, 16), delay_days=30),
    row_day=settlement_date,
    licence=EQUITY_LICENCE,
    claims=(
        Claim(
            "has_changes_that_add_up",
            "The change since the settlement date before is the difference of both positions.",
            (
                pl.col("short_quantity") - pl.col("previous_short_quantity")
                != pl.col("short_change")
            ).fill_null(value=False),
            only_warns=True,
        ),
    ),
)

EQUITY_DATASETS = (SHORT_INTEREST,)
