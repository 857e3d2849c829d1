"""FINRA's datasets of the group otcMarket: open to all, without a credential.

Fields: those that public clients list. One has each dataset as an enumeration with FINRA's
descriptions (`DailyShortSaleVolume`, `MonthlySummary`, `ThresholdList`, `ATSBlockSummary` and
`OTCBlockSummary` of a `BaseClient`). Others agree: a design page of a store of short volumes, which
asked for regShoDaily (28,574 rows a day, quantities with fractions); `alpaxa_quant`, which asks for
the fields of monthlySummary and otcBlocksSummary; a catalogue of the group (`finraCatalog`), whose
author read all of them without login; and `FinraBlocksSummaryData` for blocksSummary.
"""

import polars as pl

from orchestration_project.contracts.contract import Claim
from orchestration_project.contracts.partitioning import Calendar
from orchestration_project.domains.finra.calendar import is_closed, settlement_date
from orchestration_project.domains.finra.declaration import OTC_MARKET, FinraDataset
from orchestration_project.tables.finra_datasets import SHORT_INTEREST_FIELDS, finra_short_interest
from orchestration_project.tables.finra_equity_datasets import (
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

EQUITY_LICENCE = "FINRA's terms of use for its public equity data"

SHORT_INTEREST = FinraDataset(
    group=OTC_MARKET,
    name="consolidatedShortInterest",
    table=finra_short_interest,
    rule_version="4",
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

REG_SHO_DAILY = FinraDataset(
    group=OTC_MARKET,
    name="regShoDaily",
    table=finra_reg_sho_daily,
    fields=REG_SHO_FIELDS,
    partition_fields=("tradeReportDate",),
    calendar=Calendar(weekday=None, delay_days=1, is_holiday=is_closed),
    licence=EQUITY_LICENCE,
    claims=(
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

OTC_MONTHLY = FinraDataset(
    group=OTC_MARKET,
    name="monthlySummary",
    table=finra_otc_monthly,
    rule_version="4",
    fields=MONTHLY_FIELDS,
    partition_fields=("monthStartDate", "tierIdentifier"),
    known_values=("NMS", "OTCE"),
    only_rows={"summaryTypeCode": MONTHLY_ROWS},
    calendar=Calendar(weekday=None, month_days=(1,), delay_days=70),
    licence=EQUITY_LICENCE,
    metadata_columns=PUBLICATION_COLUMNS,
    claims=(
        Claim(
            "has_trades_where_it_has_shares",
            "No firm has shares without a trade, or trades without shares.",
            (pl.col("share_quantity") > 0) != (pl.col("trade_count") > 0),
            only_warns=True,
        ),
    ),
)

THRESHOLD_LIST = FinraDataset(
    group=OTC_MARKET,
    name="thresholdList",
    table=finra_threshold_list,
    fields=THRESHOLD_FIELDS,
    partition_fields=("tradeDate",),
    calendar=Calendar(weekday=None, delay_days=1, is_holiday=is_closed),
    licence=EQUITY_LICENCE,
    claims=(
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

ATS_BLOCKS = FinraDataset(
    group=OTC_MARKET,
    name="blocksSummary",
    table=finra_ats_blocks,
    rule_version="4",
    fields=ATS_BLOCK_FIELDS,
    partition_fields=("monthStartDate",),
    calendar=Calendar(weekday=None, month_days=(1,), delay_days=70),
    licence=EQUITY_LICENCE,
    metadata_columns=PUBLICATION_COLUMNS,
    claims=(HAS_NO_MORE_BLOCKS,),
)

OTC_BLOCKS = FinraDataset(
    group=OTC_MARKET,
    name="otcBlocksSummary",
    table=finra_otc_blocks,
    rule_version="4",
    fields=OTC_BLOCK_FIELDS,
    partition_fields=("monthStartDate",),
    calendar=Calendar(weekday=None, month_days=(1,), delay_days=70),
    licence=EQUITY_LICENCE,
    metadata_columns=PUBLICATION_COLUMNS,
    claims=(HAS_NO_MORE_BLOCKS,),
)

EQUITY_DATASETS = (
    SHORT_INTEREST,
    REG_SHO_DAILY,
    OTC_MONTHLY,
    THRESHOLD_LIST,
    ATS_BLOCKS,
    OTC_BLOCKS,
)
