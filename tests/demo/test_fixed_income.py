"""The demo's fixed income: what the Query API answers of the group's datasets."""

import polars as pl
import pytest

from orchestration_project.domains.finra.datasets import DATASETS
from orchestration_project.domains.finra.declaration import FinraDataset
from orchestration_project.engine.contracts.values import has_right_digit
from tests.demo.program import Demo, StartDemo, equal

WHERE = "group/fixedIncomeMarket/name"
TREASURY, BONDS, BREADTH = (
    "treasuryWeeklyAggregates",
    "bondTradeActivity",
    "corporateMarketBreadth",
)


def partitions(demo: Demo, dataset: str, where: str = WHERE) -> list[list[str]]:
    answer = demo.client.get(f"/partitions/{where}/{dataset}").json()
    return [
        available_partition["partitions"] for available_partition in answer["availablePartitions"]
    ]


def records(demo: Demo, dataset: str, where: str = WHERE, **values: str) -> list[dict[str, object]]:
    """Return every record of a partition: paged by what came, retried when refused."""
    query = {
        "compareFilters": [equal(*filter_pair) for filter_pair in values.items()],
        "limit": 5000,
    }
    found: list[dict[str, object]] = []
    while True:
        answer = demo.client.post(
            f"/data/{where}/{dataset}",
            json={**query, "offset": len(found)},
            headers={"Accept": "application/json"},
        )
        if answer.status_code == 429:
            continue
        found += answer.json()
        if len(found) >= int(answer.headers["Record-Total"]):
            return found


@pytest.mark.parametrize("dataset", DATASETS, ids=lambda dataset: dataset.name)
def test_metadata_lists_the_fields_that_a_declaration_asks_for(demo: Demo, dataset: FinraDataset):
    metadata = demo.client.get(f"/metadata/group/{dataset.group}/name/{dataset.name}").json()
    kinds = {field.name: field.kind for field in dataset.contract.fields}
    assert {field["name"]: field["type"] for field in metadata["fields"]} == kinds
    assert metadata["partitionFields"] == list(dataset.contract.partition_fields)


def test_a_partition_is_out_some_days_after_the_day_that_names_it(demo: Demo):
    assert partitions(demo, TREASURY)[0] == ["2022-12-19"]
    assert partitions(demo, TREASURY)[-1] == ["2023-02-06"]  # FINRA ended it
    assert partitions(demo, "treasuryDailyAggregates")[-1] == ["2026-03-13"]
    assert partitions(demo, "treasuryMonthlyAggregates")[-1] == ["2026-02-01"]
    assert partitions(demo, BONDS)[-3:] == [["2026-03-06", tier] for tier in ("T1", "T2", "OTCE")]
    assert partitions(demo, BREADTH)[-2:] == [["2026-03-12"], ["2026-03-13"]]
    assert ["2026-02-16"] not in partitions(demo, BREADTH)  # a holiday


def test_all_but_one_bond_of_a_partition_have_a_cusip_that_checks(demo: Demo):
    found = records(demo, BONDS, weekEnding="2026-02-27", tierIdentifier="T2")
    cusips = pl.DataFrame({"cusip": [bond["cusip"] for bond in found]})
    assert cusips["cusip"].is_unique().all()
    right = cusips.select(has_right_digit("cusip").fill_null(value=False))["cusip"]
    assert (right.sum(), len(found)) == (699, 700)


def test_the_newest_bonds_take_more_pages_than_their_number_of_records_says(demo: Demo):
    values = {"weekEnding": "2026-03-06", "tierIdentifier": "T1"}
    query = {
        "compareFilters": [equal(*filter_pair) for filter_pair in values.items()],
        "limit": 5000,
    }
    first = demo.client.post(f"/data/{WHERE}/{BONDS}", json=query)
    assert first.headers["Record-Total"] == "5200"
    assert int(first.headers["Total-Records-On-Page"]) < 5000
    assert len(records(demo, BONDS, **values)) == 5200


def test_short_interest_comes_out_nine_business_days_after_settlement(demo: Demo):
    found = partitions(demo, "consolidatedShortInterest", "group/otcMarket/name")
    # on March 14th: the 27th of February is out since the 12th
    assert found[-3:] == [["2026-01-30"], ["2026-02-13"], ["2026-02-27"]]
    rows = records(
        demo, "consolidatedShortInterest", "group/otcMarket/name", settlementDate="2026-02-27"
    )
    assert len({row["symbolCode"] for row in rows}) == len(rows) == 5200
    new = [row for row in rows if row["previousShortPositionQuantity"] is None]
    assert len(new) == 104
    assert {row["changePreviousNumber"] for row in new} == {None}
    assert max(float(str(row["daysToCoverQuantity"] or 0)) for row in rows) == 999.99


def test_equity_datasets_come_out_by_day_and_two_months_after_a_month_began(demo: Demo):
    where = "group/otcMarket/name"
    assert partitions(demo, "regShoDaily", where)[-1] == ["2026-03-13"]
    assert partitions(demo, "thresholdList", where)[-1] == ["2026-03-13"]
    months = partitions(demo, "monthlySummary", where)
    assert months[-2:] == [["2026-01-01", "NMS"], ["2026-01-01", "OTCE"]]
    assert partitions(demo, "blocksSummary", where)[-1] == ["2026-01-01"]


def test_sums_of_a_month_are_those_of_its_firms(demo: Demo):
    found = pl.DataFrame(
        records(
            demo,
            "monthlySummary",
            "group/otcMarket/name",
            monthStartDate="2026-01-01",
            tierIdentifier="OTCE",
        )
    )
    sums = found.group_by("summaryTypeCode").agg(
        pl.col("totalMonthlyShareQuantity", "totalMonthlyTradeCount").sum()
    )
    firms, symbols = sums.sort("summaryTypeCode", descending=True).rows()
    assert (firms[0], symbols[0]) == ("OTC_M_SMBL_FIRM", "OTC_M_SMBL")
    assert firms[1:] == symbols[1:]


@pytest.mark.slow
def test_corrected_percentages_have_as_few_decimals_as_published_ones(start_demo: StartDemo):
    start_demo(clock_now="2026-02-24T15:00:00+00:00", seed=7).stop()
    later = start_demo(clock_now="2026-03-13T15:00:00+00:00", seed=7)
    rows = records(later, "blocksSummary", "group/otcMarket/name", monthStartDate="2025-12-01")
    names = [name for name in rows[0] if name.endswith("Percent") and name.startswith("ATS")]
    ats = [str(row[name]) for row in rows for name in names if row["atsOtc"] == "ATS"]
    assert {len(text.partition(".")[2]) for text in ats} == {1, 2}
