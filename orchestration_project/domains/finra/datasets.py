"""FINRA's further datasets, each one declaration: all else follows from it.

Contract, partitions, asset, checks, jobs and sensor are made of what stands here and of the table.
`docs/how-to/add-a-dataset.md` says how to add one. Those of equities stand in `equity_datasets.py`.

Fields of the Treasury datasets: those that public clients list. One has them as an enumeration
with FINRA's descriptions (`TreasuryDailyAggregates` of a `BaseClient`), one parses a recorded
answer of treasuryDailyAggregates (`treble.ingest`), and one reads the header of
treasuryMonthlyAggregates (`TraceAggregate`), whose volumes it found to be billions of US dollars.
"""

from datetime import date

import polars as pl

from orchestration_project.contracts.contract import Claim
from orchestration_project.contracts.partitioning import Calendar
from orchestration_project.domains.finra.calendar import is_closed
from orchestration_project.domains.finra.declaration import FIXED_INCOME, FinraDataset
from orchestration_project.domains.finra.equity_datasets import EQUITY_DATASETS
from orchestration_project.tables.finra_datasets import (
    BOND_FIELDS,
    BREADTH_FIELDS,
    TREASURY_DAILY_FIELDS,
    TREASURY_FIELDS,
    TREASURY_MONTHLY_FIELDS,
    fact_bond_trade_activity,
    finra_corporate_market_breadth,
    finra_treasury_daily,
    finra_treasury_monthly,
    finra_treasury_weekly,
)

PUBLIC_LICENCE = "FINRA's Specific Terms for Fixed Income Data: public, not to be charged for"

HAS_A_VOLUME = Claim(
    "has_a_volume_in_every_row",
    "No row lacks both volumes.",
    pl.all_horizontal(pl.col("ats_interdealer_volume", "dealer_customer_volume").is_null()),
    only_warns=True,
)

TREASURY_WEEKLY = FinraDataset(
    group=FIXED_INCOME,
    name="treasuryWeeklyAggregates",
    table=finra_treasury_weekly,
    fields=TREASURY_FIELDS,
    partition_fields=("beginningOfWeekDate",),
    calendar=Calendar(weekday=0, delay_days=8, last_day=date(2023, 2, 6)),
    first_day=date(2022, 12, 19),
    licence=PUBLIC_LICENCE,
    claims=(HAS_A_VOLUME,),
)

TREASURY_DAILY = FinraDataset(
    group=FIXED_INCOME,
    name="treasuryDailyAggregates",
    table=finra_treasury_daily,
    fields=TREASURY_DAILY_FIELDS,
    partition_fields=("tradeDate",),
    calendar=Calendar(weekday=None, delay_days=1, is_holiday=is_closed),
    licence=PUBLIC_LICENCE,
    claims=(HAS_A_VOLUME,),
)

TREASURY_MONTHLY = FinraDataset(
    group=FIXED_INCOME,
    name="treasuryMonthlyAggregates",
    table=finra_treasury_monthly,
    fields=TREASURY_MONTHLY_FIELDS,
    partition_fields=("beginningOfTheMonthDate",),
    calendar=Calendar(weekday=None, month_days=(1,), delay_days=45),
    licence=PUBLIC_LICENCE,
    claims=(HAS_A_VOLUME,),
)

BOND_TRADE_ACTIVITY = FinraDataset(
    group=FIXED_INCOME,
    name="bondTradeActivity",
    table=fact_bond_trade_activity,
    rule_version="4",
    fields=BOND_FIELDS,
    partition_fields=("weekEnding", "tierIdentifier"),
    known_values=("T1", "T2", "OTCE"),
    calendar=Calendar(weekday=4, delay_days=7),
    licence="the contract of the feed: trades by CUSIP are not public",
    is_licensed=True,
    claims=(
        Claim(
            "has_trades_where_it_has_volume",
            "No bond has volume without a trade, or trades without volume.",
            (pl.col("volume_total") > 0) != (pl.col("trade_count") > 0),
            only_warns=True,
        ),
    ),
)

CORPORATE_MARKET_BREADTH = FinraDataset(
    group=FIXED_INCOME,
    name="corporateMarketBreadth",
    table=finra_corporate_market_breadth,
    fields=BREADTH_FIELDS,
    partition_fields=("tradeReportDate",),
    calendar=Calendar(weekday=None, delay_days=1, is_holiday=is_closed),
    licence=PUBLIC_LICENCE,
    claims=(
        Claim(
            "has_no_more_moves_than_trades",
            "No more bonds rose, fell and stayed than there were trades.",
            pl.sum_horizontal("advance_count", "decline_count", "unchanged_count")
            > pl.col("trade_count"),
            only_warns=True,
        ),
    ),
)

DATASETS = (
    TREASURY_WEEKLY,
    TREASURY_DAILY,
    TREASURY_MONTHLY,
    BOND_TRADE_ACTIVITY,
    CORPORATE_MARKET_BREADTH,
    *EQUITY_DATASETS,
)
"""All of them: what is added here is loaded."""
