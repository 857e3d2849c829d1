"""FINRA's further datasets: each is one declaration, and all else follows from it.

Table and history, contract, partitions, asset, checks, job and sensor are made of what stands here.
`docs/adding-a-dataset.md` says how to add one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl
from sqlalchemy import BigInteger, Column, Date, Table, Text

from orchestration_project.tables.schema import (
    ASSET,
    HISTORY,
    count,
    day,
    history_of,
    moment,
    table,
    text,
)

VOLUME_SCALE = 6
"""Decimals of a volume that are kept: as a whole number times 10 to this power, exact."""

WORDS: Mapping[type, str] = {Date: "Date", Text: "String", BigInteger: "Number"}
"""What FINRA calls the type of a field that fills a column."""


@dataclass(frozen=True)
class Field:
    """A field of a dataset, and the column that it fills, from which its type follows.

    Attributes:
        name: In FINRA's words.
        column: Where it goes; what may be NULL may be blank.
        scale: Of a decimal number: it is kept times 10 to this power. 0: a whole number.
        may_be_blank: Of a text that is required: blank means something.
        form: How a text is written, where that can be checked.
    """

    name: str
    column: Column[Any]
    scale: int = 0
    may_be_blank: bool = False
    form: Literal["", "cusip"] = ""

    @property
    def kind(self) -> str:
        """Its type in FINRA's words."""
        return WORDS[type(self.column.type)]


@dataclass(frozen=True)
class Claim:
    """What holds for every row of a delivery, besides what each dataset's audits claim.

    ``breaks`` is true for rows of the table that break it, and never null. A claim that does not
    hold keeps the delivery out; one that only warns lets it in.
    """

    name: str
    says: str
    breaks: pl.Expr
    only_warns: bool = False


@dataclass(frozen=True)
class Calendar:
    """Which days name partitions, and when each is out.

    Attributes:
        weekday: The one day of each week (0: Monday), or None: all days from Monday to Friday.
        delay_days: So many days after the day of its name a partition should be out.
    """

    weekday: int | None
    delay_days: int


@dataclass(frozen=True)
class Dataset:
    """A dataset of the Query API, or what is delivered in its shape.

    Attributes:
        group: FINRA's name of its group.
        name: FINRA's name of it.
        table: Where it lands.
        fields: All that a load asks for, in the order of the table's columns.
        partition_fields: The fields that name a partition, in FINRA's order: a date and, if there
            is another, a text.
        known_values: What that text may be; others are told, and not loaded.
        calendar: Which partitions there are.
        claims: What holds for every row.
        licence: Under what terms it is had.
        is_licensed: Whether it takes a feed of one's own: FINRA does not publish it.
        rule_version: To be raised with every change that could make other rows of the same bytes.
    """

    group: str
    name: str
    table: Table
    fields: Sequence[Field]
    partition_fields: Sequence[str]
    calendar: Calendar
    licence: str
    known_values: Sequence[str] = ()
    claims: Sequence[Claim] = ()
    is_licensed: bool = False
    rule_version: str = "3"

    @property
    def noun(self) -> str:
        """Its name among the assets of this domain."""
        return str(self.table.info[ASSET]).split("/")[1]

    @property
    def history(self) -> Table:
        """Where replaced and removed rows go."""
        return self.table.info[HISTORY]

    @property
    def partition_columns(self) -> Mapping[str, Field]:
        """The fields that name a partition, by their column, in FINRA's order."""
        by_name = {each.name: each for each in self.fields}
        chosen = [by_name[name] for name in self.partition_fields]
        return {each.column.name: each for each in chosen}

    @property
    def known_fields(self) -> Mapping[str, str]:
        """The type of each field, by name, in FINRA's words."""
        return {each.name: each.kind for each in self.fields}


def landed_in(name: str, comment: str, *fields: Field, noun: str = "") -> Table:
    """Declare a dataset's table and its history; ``noun`` is the asset's, if not the table's."""
    declared = table(
        name,
        comment,
        *(each.column for each in fields),
        count("capture_id", "The capture that the row was read from"),
        moment("known_from", "UTC time from which we knew the row"),
    )
    declared.info[ASSET] = f"finra/{noun or name.removeprefix('finra_')}"
    history_of(declared)
    return declared


def _volume(name: str, column: str, comment: str) -> Field:
    return Field(
        name, count(column, f"{comment}, in FINRA's unit x 10^6", optional=True), VOLUME_SCALE
    )


_TREASURY_FIELDS = (
    Field("beginningOfWeekDate", day("week_start", "Monday of the week", key=True)),
    Field(
        "productCategory", text("product_category", "Such as Bills or Nominal Coupons", key=True)
    ),
    Field(
        "yearsToMaturity",
        text("years_to_maturity", "Range of remaining years; blank: not told apart", key=True),
        may_be_blank=True,
    ),
    Field(
        "benchmark",
        text("benchmark", "On-the-run or Off-the-run; blank: not told apart", key=True),
        may_be_blank=True,
    ),
    _volume("atsInterdealerVolume", "ats_interdealer_volume", "Volume on ATSs and between dealers"),
    _volume(
        "dealerCustomerVolume", "dealer_customer_volume", "Volume between dealers and customers"
    ),
)

TREASURY_WEEKLY = Dataset(
    group="fixedIncomeMarket",
    name="treasuryWeeklyAggregates",
    table=landed_in(
        "finra_treasury_weekly",
        "One row per week, product category, range of maturity and benchmark: the trading in US "
        "Treasury securities reported to FINRA.",
        *_TREASURY_FIELDS,
    ),
    fields=_TREASURY_FIELDS,
    partition_fields=("beginningOfWeekDate",),
    calendar=Calendar(weekday=0, delay_days=8),
    licence="FINRA's Specific Terms for Fixed Income Data: public, not to be charged for",
    claims=(
        Claim(
            "has_a_volume_in_every_row",
            "No row lacks both volumes.",
            pl.all_horizontal(pl.col("ats_interdealer_volume", "dealer_customer_volume").is_null()),
            only_warns=True,
        ),
    ),
)

_BOND_FIELDS = (
    Field("weekEnding", day("week_ending", "Friday of the week", key=True)),
    Field("tierIdentifier", text("tier", "Bucket of liquidity: T1, T2 or OTCE", key=True)),
    Field(
        "cusip",
        text("cusip", "The bond: nine characters, the last a check digit", key=True),
        form="cusip",
    ),
    Field("totalVolume", count("volume_total", "Par value traded in the week, US dollars")),
    Field("tradeCount", count("trade_count", "Trades in the week")),
)

BOND_TRADE_ACTIVITY = Dataset(
    group="fixedIncomeMarket",
    name="bondTradeActivity",
    table=landed_in(
        "fact_bond_trade_activity",
        "One row per week, tier and bond: the par value and the trades of a licensed feed.",
        *_BOND_FIELDS,
        noun="bond_trade_activity",
    ),
    fields=_BOND_FIELDS,
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

_BREADTH_FIELDS = (
    Field("tradeReportDate", day("trade_date", "Day of the trades", key=True)),
    Field("productCategory", text("product_category", "Such as high yield", key=True)),
    Field("totalTrades", count("trade_count", "Trades")),
    Field("advances", count("advance_count", "Bonds whose price rose")),
    Field("declines", count("decline_count", "Bonds whose price fell")),
    Field("unchanged", count("unchanged_count", "Bonds whose price stayed")),
    Field("fiftyTwoWeekHigh", count("new_high_count", "Bonds at their highest of 52 weeks")),
    Field("fiftyTwoWeekLow", count("new_low_count", "Bonds at their lowest of 52 weeks")),
    _volume("totalVolume", "total_volume", "Volume traded"),
)

CORPORATE_MARKET_BREADTH = Dataset(
    group="fixedIncomeMarket",
    name="corporateMarketBreadth",
    table=landed_in(
        "finra_corporate_market_breadth",
        "One row per day and product category: how many corporate bonds rose, fell and stayed.",
        *_BREADTH_FIELDS,
    ),
    fields=_BREADTH_FIELDS,
    partition_fields=("tradeReportDate",),
    calendar=Calendar(weekday=None, delay_days=1),
    licence="FINRA's Specific Terms for Fixed Income Data: public, not to be charged for",
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

DATASETS = (TREASURY_WEEKLY, BOND_TRADE_ACTIVITY, CORPORATE_MARKET_BREADTH)
"""All of them: what is added here is loaded."""
