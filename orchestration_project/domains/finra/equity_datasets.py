"""FINRA's datasets of the group otcMarket: open to all, without a credential.

Fields: those that public clients list. One has each dataset as an enumeration with FINRA's
descriptions (`DailyShortSaleVolume`, `MonthlySummary`, `ThresholdList`, `ATSBlockSummary` and
`OTCBlockSummary` of a `BaseClient`). Others agree: a design page of a store of short volumes, which
asked for regShoDaily (28,574 rows a day, quantities with fractions); `alpaxa_quant`, which requests
the fields of monthlySummary and otcBlocksSummary; a catalogue of the group (`finraCatalog`), whose
author read all of them without login; and `FinraBlocksSummaryData` for blocksSummary.
"""

import polars as pl

from orchestration_project.domains.finra.calendar import FIRST_WEEK_OF_ALL, settlement_date
from orchestration_project.domains.finra.declaration import (
    MIDNIGHT,
    OTC_MARKET,
    TRADING_DAYS,
    finra_dataset,
)
from orchestration_project.domains.finra.tables.datasets import (
    SHORT_INTEREST_FIELDS,
    finra_short_interest,
)
from orchestration_project.domains.finra.tables.equity_datasets import (
    ATS_BLOCK_FIELDS,
    MONTHLY_FIELDS,
    MONTHLY_ROWS,
    OTC_BLOCK_FIELDS,
    REG_SHO_FIELDS,
    THRESHOLD_FIELDS,
    finra_ats_blocks,
    finra_otc_blocks,
    finra_otc_monthly,
    finra_reg_sho_daily,
    finra_threshold_list,
)
from orchestration_project.engine.contracts.contract import Claim
from orchestration_project.engine.own.partitions import Monthly

EQUITY_LICENCE = "FINRA's terms of use for its public equity data"

SHORT_INTEREST = finra_dataset(
    OTC_MARKET,
    "consolidatedShortInterest",
    finra_short_interest,
    SHORT_INTEREST_FIELDS,
    Monthly(
        FIRST_WEEK_OF_ALL,
        day=(1, 16),
        published=MIDNIGHT,
        delay_days=30,
        column="settlement_date",
        row_day=settlement_date,
    ),
    rule_version="4",
    licence=EQUITY_LICENCE,
    checks=(
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

REG_SHO_DAILY = finra_dataset(
    OTC_MARKET,
    "regShoDaily",
    finra_reg_sho_daily,
    REG_SHO_FIELDS,
    TRADING_DAYS,
    licence=EQUITY_LICENCE,
    checks=(
        Claim(
            "has_no_more_short_sales_than_trades",
            "Short sales are at most all trades, and exempt ones at most all short sales.",
            (pl.col("short_quantity") > pl.col("total_quantity"))
            | (pl.col("short_exempt_quantity") > pl.col("short_quantity")),
            only_warns=True,
        ),
    ),
)

PUBLICATION_COLUMNS = ("initial_published_date", "last_update_date", "last_reported_date")

OTC_MONTHLY = finra_dataset(
    OTC_MARKET,
    "monthlySummary",
    finra_otc_monthly,
    MONTHLY_FIELDS,
    Monthly(
        FIRST_WEEK_OF_ALL,
        published=MIDNIGHT,
        delay_days=70,
        column="trade_month",
        value_column="tier",
        values=("NMS", "OTCE"),
    ),
    rule_version="4",
    only_rows={"summaryTypeCode": MONTHLY_ROWS},
    licence=EQUITY_LICENCE,
    metadata_columns=PUBLICATION_COLUMNS,
    checks=(
        Claim(
            "has_trades_where_it_has_shares",
            "No firm has shares without a trade, or trades without shares.",
            (pl.col("share_quantity") > 0) != (pl.col("trade_count") > 0),
            only_warns=True,
        ),
    ),
)

THRESHOLD_LIST = finra_dataset(
    OTC_MARKET,
    "thresholdList",
    finra_threshold_list,
    THRESHOLD_FIELDS,
    TRADING_DAYS,
    licence=EQUITY_LICENCE,
    checks=(
        Claim(
            "is_listed_by_a_rule",
            "Each security is listed by Regulation SHO or by FINRA Rule 4320.",
            ~(
                pl.col("threshold_list_flag").is_in(["R", "NR"]).fill_null(value=False)
                | (pl.col("reg_sho_flag") == "Y").fill_null(value=False)
                | (pl.col("rule_4320_flag") == "Y").fill_null(value=False)
            ),
            only_warns=True,
        ),
    ),
)

HAS_NO_MORE_BLOCKS = Claim(
    "has_no_more_blocks_than_trades",
    "No venue has more blocks than trades, or more shares in blocks than shares.",
    (pl.col("block_trade_count") > pl.col("trade_count"))
    | (pl.col("block_share_quantity") > pl.col("share_quantity")),
    only_warns=True,
)

ATS_BLOCKS = finra_dataset(
    OTC_MARKET,
    "blocksSummary",
    finra_ats_blocks,
    ATS_BLOCK_FIELDS,
    Monthly(FIRST_WEEK_OF_ALL, published=MIDNIGHT, delay_days=70, column="trade_month"),
    rule_version="4",
    licence=EQUITY_LICENCE,
    metadata_columns=PUBLICATION_COLUMNS,
    checks=(HAS_NO_MORE_BLOCKS,),
)

OTC_BLOCKS = finra_dataset(
    OTC_MARKET,
    "otcBlocksSummary",
    finra_otc_blocks,
    OTC_BLOCK_FIELDS,
    Monthly(FIRST_WEEK_OF_ALL, published=MIDNIGHT, delay_days=70, column="trade_month"),
    rule_version="4",
    licence=EQUITY_LICENCE,
    metadata_columns=PUBLICATION_COLUMNS,
    checks=(HAS_NO_MORE_BLOCKS,),
)

EQUITY_DATASETS = (
    SHORT_INTEREST,
    REG_SHO_DAILY,
    OTC_MONTHLY,
    THRESHOLD_LIST,
    ATS_BLOCKS,
    OTC_BLOCKS,
)
