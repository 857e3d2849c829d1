"""Fields of the datasets: names, types and order, as in the metadata endpoint."""

from collections.abc import Mapping
from dataclasses import dataclass

GROUP, FIXED_INCOME = "otcMarket", "fixedIncomeMarket"
PARTITION_FIELDS = ("weekStartDate", "tierIdentifier")

_WEEKLY_FIELDS = {
    "weekStartDate": "Date",
    "tierIdentifier": "String",
    "tierDescription": "String",
    "issueSymbolIdentifier": "String",
    "issueName": "String",
    "firmCRDNumber": "Integer",
    "MPID": "String",
    "marketParticipantName": "String",
    "summaryStartDate": "Date",
    "totalWeeklyTradeCount": "Integer",
    "totalWeeklyShareQuantity": "Integer",
    "totalNotionalSum": "Number",
    "productTypeCode": "String",
    "summaryTypeCode": "String",
    "initialPublishedDate": "Date",
    "lastUpdateDate": "Date",
    "lastReportedDate": "Date",
}


@dataclass(frozen=True, eq=False)
class Dataset:
    """A dataset: its fields with their types, in order, and which of them a query may filter by.

    Types are Date (`yyyy-MM-dd`), String, Integer and Number (up to two decimals).
    """

    name: str
    fields: Mapping[str, str]
    filterable: frozenset[str]
    is_sortable: bool
    group: str = GROUP
    partition_fields: tuple[str, ...] = PARTITION_FIELDS

    def field(self, name: str) -> str | None:
        """Return the field of that ``name`` in any case, as the dataset spells it."""
        return next((field for field in self.fields if field.casefold() == name.casefold()), None)


WEEKLY_SUMMARY = Dataset(
    "weeklySummary", _WEEKLY_FIELDS, frozenset(_WEEKLY_FIELDS), is_sortable=True
)
HISTORIC = Dataset(
    "weeklySummaryHistoric",
    {**_WEEKLY_FIELDS, "historicalweek": "Date", "historicalmonth": "Date"},
    frozenset({*PARTITION_FIELDS, "historicalweek", "historicalmonth"}),
    is_sortable=False,
)


def _fixed_income(name: str, fields: Mapping[str, str], *partition_fields: str) -> Dataset:
    filterable = frozenset(fields)
    return Dataset(name, fields, filterable, True, FIXED_INCOME, partition_fields)


TREASURY = _fixed_income(
    "treasuryWeeklyAggregates",
    {
        "beginningOfWeekDate": "Date",
        "productCategory": "String",
        "yearsToMaturity": "String",
        "benchmark": "String",
        "atsInterdealerVolume": "Number",
        "dealerCustomerVolume": "Number",
    },
    "beginningOfWeekDate",
)
_TREASURY_TRADES = {
    "productCategory": "String",
    "yearsToMaturity": "String",
    "benchmark": "String",
    "atsInterdealerCount": "Number",
    "dealerCustomerCount": "Number",
    "atsInterdealerVolume": "Number",
    "dealerCustomerVolume": "Number",
}
TREASURY_DAILY = _fixed_income(
    "treasuryDailyAggregates",
    {"tradeDate": "Date", **_TREASURY_TRADES, "volumeWeightedAveragePrice": "Number"},
    "tradeDate",
)
TREASURY_MONTHLY = _fixed_income(
    "treasuryMonthlyAggregates",
    {"beginningOfTheMonthDate": "Date", **_TREASURY_TRADES},
    "beginningOfTheMonthDate",
)
BONDS = _fixed_income(
    "bondTradeActivity",  # what a licensed feed delivers: FINRA has no such public dataset
    {
        "weekEnding": "Date",
        "tierIdentifier": "String",
        "cusip": "String",
        "totalVolume": "Number",
        "tradeCount": "Number",
    },
    "weekEnding",
    "tierIdentifier",
)
BREADTH = _fixed_income(
    "corporateMarketBreadth",
    {
        "tradeReportDate": "Date",
        "productCategory": "String",
        "totalTrades": "Number",
        "advances": "Number",
        "declines": "Number",
        "unchanged": "Number",
        "fiftyTwoWeekHigh": "Number",
        "fiftyTwoWeekLow": "Number",
        "totalVolume": "Number",
    },
    "tradeReportDate",
)
_SHORT_INTEREST_FIELDS = {
    "accountingYearMonthNumber": "Number",
    "symbolCode": "String",
    "issueName": "String",
    "issuerServicesGroupExchangeCode": "String",
    "marketClassCode": "String",
    "currentShortPositionQuantity": "Number",
    "previousShortPositionQuantity": "Number",
    "stockSplitFlag": "String",
    "averageDailyVolumeQuantity": "Number",
    "daysToCoverQuantity": "Number",
    "revisionFlag": "String",
    "changePercent": "Number",
    "changePreviousNumber": "Number",
    "settlementDate": "Date",
}
SHORT_INTEREST = Dataset(
    "consolidatedShortInterest",
    _SHORT_INTEREST_FIELDS,
    frozenset(_SHORT_INTEREST_FIELDS),
    is_sortable=True,
    partition_fields=("settlementDate",),
)


def _equities(name: str, fields: Mapping[str, str], *partition_fields: str) -> Dataset:
    filterable = frozenset(fields)
    return Dataset(name, fields, filterable, is_sortable=True, partition_fields=partition_fields)


REG_SHO = _equities(
    "regShoDaily",
    {
        "tradeReportDate": "Date",
        "securitiesInformationProcessorSymbolIdentifier": "String",
        "shortParQuantity": "Number",
        "shortExemptParQuantity": "Number",
        "totalParQuantity": "Number",
        "marketCode": "String",
        "reportingFacilityCode": "String",
    },
    "tradeReportDate",
)
_PUBLICATION = {
    "lastUpdateDate": "Date",
    "initialPublishedDate": "Date",
    "lastReportedDate": "Date",
}
OTC_MONTHLY = _equities(
    "monthlySummary",
    {
        "monthStartDate": "Date",
        "tierIdentifier": "String",
        "issueSymbolIdentifier": "String",
        "issueName": "String",
        "firmCRDNumber": "Number",
        "marketParticipantName": "String",
        "summaryStartDate": "Date",
        "totalMonthlyTradeCount": "Number",
        "totalMonthlyShareQuantity": "Number",
        "totalNotionalSum": "Number",
        "productTypeCode": "String",
        "summaryTypeCode": "String",
        **_PUBLICATION,
    },
    "monthStartDate",
    "tierIdentifier",
)
THRESHOLD_LIST = _equities(
    "thresholdList",
    {
        "tradeDate": "Date",
        "issueSymbolIdentifier": "String",
        "issueName": "String",
        "marketClassCode": "String",
        "thresholdListFlag": "String",
        "marketCategoryDescription": "String",
        "regShoThresholdFlag": "String",
        "rule4320Flag": "String",
    },
    "tradeDate",
)


def _blocks(name: str, market: str, *venue: str) -> Dataset:
    measures = (
        *("TradeRank", "ShareRank", "TradePercent", "SharePercent", "BlockCount", "BlockQuantity"),
        *("BlockTradeRank", "BlockShareRank", "BlockTradePercent", "BlockSharePercent"),
        *("BlockBusinessTradePercent", "BlockBusinessSharePercent"),
        *("BlockBusinessTradeRank", "BlockBusinessShareRank"),
    )
    numbers = (
        *("totalTradeCount", "totalShareQuantity", "averageTradeSize", "averageTradeSizeRank"),
        *("averageBlockSize", "averageBlockSizeRank"),
        *(f"{market}{each}" for each in measures),
    )
    fields = {
        "monthStartDate": "Date",
        **dict.fromkeys(venue, "String"),
        "summaryStartDate": "Date",
        **dict.fromkeys(numbers, "Number"),
        **dict.fromkeys(("summaryTypeCode", "summaryTypeDescription", "atsOtc"), "String"),
        **_PUBLICATION,
    }
    return _equities(name, fields, "monthStartDate")


ATS_BLOCKS = _blocks("blocksSummary", "ATS", "MPID", "marketParticipantName")
OTC_BLOCKS = _blocks("otcBlocksSummary", "OTC", "crdFirmName")
DATASETS = (
    *(WEEKLY_SUMMARY, HISTORIC),
    *(TREASURY, TREASURY_DAILY, TREASURY_MONTHLY, BONDS, BREADTH),
    *(SHORT_INTEREST, REG_SHO, OTC_MONTHLY, THRESHOLD_LIST, ATS_BLOCKS, OTC_BLOCKS),
)


def dataset(group: str, name: str) -> Dataset | None:
    """Return the dataset of that ``group`` and ``name`` in any case."""
    wanted = (group.casefold(), name.casefold())
    return next(
        (each for each in DATASETS if (each.group.casefold(), each.name.casefold()) == wanted), None
    )


def metadata(dataset: Dataset, listed: Mapping[str, str]) -> dict[str, object]:
    """Return what `GET /metadata/…` answers for ``dataset`` while it has the fields ``listed``."""
    return {
        "datasetGroup": dataset.group,
        "datasetName": dataset.name,
        "partitionFields": list(dataset.partition_fields),
        "fields": [
            {"name": name, "type": kind} | ({"format": "yyyy-MM-dd"} if kind == "Date" else {})
            for name, kind in listed.items()
        ],
    }
