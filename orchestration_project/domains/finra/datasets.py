"""FINRA's further datasets, each one declaration: all else follows from it.

Contract, partitions, asset, checks, jobs and sensor are made of what stands here and of the table.
`docs/how-to/add-a-dataset.md` says how to add one. Those of equities stand in `equity_datasets.py`.

Fields of the Treasury datasets: those that public clients list. One has them as an enumeration
with FINRA's descriptions (`TreasuryDailyAggregates` of a `BaseClient`), one parses a recorded
answer of treasuryDailyAggregates (`treble.ingest`), and one reads the header of
treasuryMonthlyAggregates (`TraceAggregate`), whose volumes it found to be billions of US dollars.
"""

import polars as pl

from orchestration_project.domains.finra.calendar import FIRST_WEEK_OF_ALL
from orchestration_project.domains.finra.declaration import (
    FIXED_INCOME,
    MIDNIGHT,
    TRADING_DAYS,
    finra_dataset,
)
from orchestration_project.domains.finra.equity_datasets import EQUITY_DATASETS
from orchestration_project.domains.finra.tables.datasets import (
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
from orchestration_project.engine.contracts.contract import Claim
from orchestration_project.engine.own.partitions import Monthly, Weekly

PUBLIC_LICENCE = "FINRA's Specific Terms for Fixed Income Data: public, not to be charged for"

HAS_A_VOLUME = Claim(
    "has_a_volume_in_every_row",
    "No row lacks both volumes.",
    pl.all_horizontal(pl.col("ats_interdealer_volume", "dealer_customer_volume").is_null()),
    only_warns=True,
)

TREASURY_WEEKLY = finra_dataset(
    FIXED_INCOME,
    "treasuryWeeklyAggregates",
    finra_treasury_weekly,
    TREASURY_FIELDS,
    Weekly(
        "2022-12-19",
        weekday="Monday",
        published=MIDNIGHT,
        delay_days=8,
        column="week_start",
        until="2023-02-06",
    ),
    licence=PUBLIC_LICENCE,
    checks=(HAS_A_VOLUME,),
)

TREASURY_DAILY = finra_dataset(
    FIXED_INCOME,
    "treasuryDailyAggregates",
    finra_treasury_daily,
    TREASURY_DAILY_FIELDS,
    TRADING_DAYS,
    licence=PUBLIC_LICENCE,
    checks=(HAS_A_VOLUME,),
)

TREASURY_MONTHLY = finra_dataset(
    FIXED_INCOME,
    "treasuryMonthlyAggregates",
    finra_treasury_monthly,
    TREASURY_MONTHLY_FIELDS,
    Monthly(FIRST_WEEK_OF_ALL, published=MIDNIGHT, delay_days=45, column="trade_month"),
    licence=PUBLIC_LICENCE,
    checks=(HAS_A_VOLUME,),
)

BOND_TRADE_ACTIVITY = finra_dataset(
    FIXED_INCOME,
    "bondTradeActivity",
    fact_bond_trade_activity,
    BOND_FIELDS,
    Weekly(
        FIRST_WEEK_OF_ALL,
        weekday="Friday",
        published=MIDNIGHT,
        delay_days=7,
        column="week_ending",
        value_column="tier",
        values=("T1", "T2", "OTCE"),
    ),
    rule_version="4",
    licence="the contract of the feed: trades by CUSIP are not public",
    is_licensed=True,
    checks=(
        Claim(
            "has_trades_where_it_has_volume",
            "No bond has volume without a trade, or trades without volume.",
            (pl.col("volume_total") > 0) != (pl.col("trade_count") > 0),
            only_warns=True,
        ),
    ),
)

CORPORATE_MARKET_BREADTH = finra_dataset(
    FIXED_INCOME,
    "corporateMarketBreadth",
    finra_corporate_market_breadth,
    BREADTH_FIELDS,
    TRADING_DAYS,
    licence=PUBLIC_LICENCE,
    checks=(
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
