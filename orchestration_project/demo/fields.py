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
DATASETS = (
    *(WEEKLY_SUMMARY, HISTORIC),
    *(TREASURY, TREASURY_DAILY, TREASURY_MONTHLY, BONDS, BREADTH),
    SHORT_INTEREST,
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
