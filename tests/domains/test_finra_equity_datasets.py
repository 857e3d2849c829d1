"""Contracts of FINRA's equity datasets: known answers, and what is rejected or warned about."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal

import pytest

from orchestration_project.domains.finra.declaration import FinraDataset
from orchestration_project.domains.finra.equity_datasets import (
    ATS_BLOCKS,
    EQUITY_DATASETS,
    OTC_BLOCKS,
    OTC_MONTHLY,
    REG_SHO_DAILY,
    THRESHOLD_LIST,
)
from orchestration_project.engine.contracts.audits import Validated
from orchestration_project.engine.contracts.contract import validate
from orchestration_project.engine.contracts.partitioning import Partition
from orchestration_project.engine.contracts.parts import Part
from orchestration_project.errors import SourceError
from tests.domains.datasets import check_filters_and_list_values, known_partitions

DAY, MONTH = Partition(date(2026, 9, 30)), Partition(date(2026, 7, 1))
NMS = Partition(date(2026, 7, 1), "NMS")


def checked(
    dataset: FinraDataset, partition: Partition, *rows: Mapping[str, object], limit: float = 0.5
) -> Validated:
    """Return what becomes of ``rows``, by the names of their fields; other fields are empty."""
    names = [field.name for field in dataset.fields]
    lines = ["|".join(names)]
    lines += ["|".join(str(row.get(name, "")) for name in names) for row in rows]
    parts = [Part(1, "\n".join(lines).encode())]
    return validate(
        dataset.contract,
        dataset.parse(parts, partition),
        parts,
        partition_texts=dataset.partitioning.texts_of(partition),
        record_total=len(rows),
        max_reject_ratio=limit,
    )


def failed(found: Validated) -> list[str]:
    return [audit.name for audit in found.audits if audit.outcome == "failed"]


def sale(symbol: str, facility: str, short: object, exempt: object, total: object, **other: object):
    return {
        "tradeReportDate": "2026-09-30",
        "securitiesInformationProcessorSymbolIdentifier": symbol,
        "reportingFacilityCode": facility,
        "marketCode": facility[0],
        "shortParQuantity": short,
        "shortExemptParQuantity": exempt,
        "totalParQuantity": total,
    } | other


@pytest.mark.parametrize("dataset", EQUITY_DATASETS, ids=lambda each: each.name)
def test_equity_datasets_are_open_to_all_and_go_on(dataset: FinraDataset):
    assert (dataset.access, dataset.needs_credential) == ("open to all", False)
    assert dataset.partitioning.calendar.last_day is None


def test_short_volumes_keep_fractions_of_shares_by_facility_and_the_case_of_symbols():
    found = checked(
        REG_SHO_DAILY,
        DAY,
        sale("A", "NQTRF", "388551.214956", 45, "1009929.273351"),
        sale("A", "NYTRF", 10, 0, "1465.9293"),
        sale("BRK/B", "NQTRF", 0, 0, 0),
        sale("ABRpD", "NQTRF", 7, 7, 7),
    )
    assert found.rows.drop("part_number", "trade_date").rows() == [
        ("A", "NQTRF", "N", Decimal("388551.214956"), 45, Decimal("1009929.273351")),
        ("A", "NYTRF", "N", 10, 0, Decimal("1465.9293")),
        ("ABRpD", "NQTRF", "N", 7, 7, 7),
        ("BRK/B", "NQTRF", "N", 0, 0, 0),
    ]
    assert failed(found) == []


def test_more_short_sales_than_trades_only_warn_and_a_seventh_decimal_is_rejected():
    found = checked(
        REG_SHO_DAILY,
        DAY,
        sale("A", "NQTRF", 11, 0, 10),
        sale("B", "NQTRF", "1.2345678", 0, 10),
        sale("C", "NQTRF", 1, 2, 10),
    )
    assert found.rejects["reason_code"].to_list() == ["not_an_amount"]
    assert failed(found) == ["has_no_more_short_sales_than_trades"]
    assert not found.is_quarantined


def firm(symbol: str, crd: object, name: str, shares: object, trades: object, **other: object):
    return {
        "monthStartDate": "2026-07-01",
        "tierIdentifier": "NMS",
        "summaryTypeCode": "OTC_M_SMBL_FIRM",
        "issueSymbolIdentifier": symbol,
        "issueName": "Acme Inc",
        "firmCRDNumber": crd,
        "marketParticipantName": name,
        "totalMonthlyShareQuantity": shares,
        "totalMonthlyTradeCount": trades,
    } | other


def test_a_month_has_rows_by_symbol_issue_name_and_firm_with_exact_values():
    found = checked(
        OTC_MONTHLY,
        NMS,
        firm("NVA", 0, "De Minimis Firms", 100, 3, totalNotionalSum="1234.56"),
        firm("NVA", 0, "De Minimis Firms", 40, 2, issueName="Acme Inc New"),
        firm("NVA", 116797, "CITADEL SECURITIES LLC", 900, 9),
    )
    columns = ("symbol", "issue_name", "firm_crd_number", "share_quantity", "notional_usd")
    assert found.rows.select(columns).rows() == [
        ("NVA", "Acme Inc", 0, 100, 1_234_560_000),
        ("NVA", "Acme Inc", 116797, 900, None),
        ("NVA", "Acme Inc New", 0, 40, None),
    ]
    assert failed(found) == []


def test_sums_of_a_month_are_not_asked_for_and_are_rejected_where_they_come():
    assert check_filters_and_list_values(OTC_MONTHLY, NMS)["summaryTypeCode"] == "OTC_M_SMBL_FIRM"
    total = firm("NVA", 1, "", 140, 5, summaryTypeCode="OTC_M_SMBL")
    found = checked(OTC_MONTHLY, NMS, firm("NVA", 0, "De Minimis Firms", 100, 3), total)
    [reason] = found.rejects["reason"].to_list()
    assert "summaryTypeCode is not written as ^OTC_M_SMBL_FIRM$: OTC_M_SMBL" in reason
    assert found.rows["share_quantity"].to_list() == [100]


def test_a_month_is_named_by_tier_and_first_day_and_other_tiers_are_reported():
    months = OTC_MONTHLY.partitioning
    assert months.key_of(NMS) == "NMS|2026-07-01"
    assert months.partition_of("NMS|2026-07-01", today=date(2026, 10, 1)) == NMS
    assert check_filters_and_list_values(OTC_MONTHLY, NMS) == {
        "monthStartDate": "2026-07-01",
        "tierIdentifier": "NMS",
        "summaryTypeCode": "OTC_M_SMBL_FIRM",
    }
    listed = [("2026-07-01", "NMS"), ("2026-07-01", "T1")]
    assert known_partitions(OTC_MONTHLY, listed) == ([NMS], ["T1"])
    with pytest.raises(SourceError, match="monthlySummary whose day names none"):
        known_partitions(OTC_MONTHLY, [("2026-07", "NMS")])


def test_a_security_is_listed_by_one_rule_and_older_lists_have_one_flag():
    def listed(symbol: str, flag: str, reg_sho: str = "", rule_4320: str = ""):
        return {
            "tradeDate": "2026-09-30",
            "issueSymbolIdentifier": symbol,
            "thresholdListFlag": flag,
            "regShoThresholdFlag": reg_sho,
            "rule4320Flag": rule_4320,
        }

    right = [listed("AACAY", "NR", "N", "Y"), listed("ABCD", "R"), listed("ALEUY", "", "Y", "N")]
    found = checked(THRESHOLD_LIST, DAY, *right)
    assert failed(found) == []
    columns = ("symbol", "threshold_list_flag", "reg_sho_flag", "rule_4320_flag")
    assert found.rows.select(columns).rows() == [
        ("AACAY", "NR", "N", "Y"),
        ("ABCD", "R", None, None),
        ("ALEUY", None, "Y", "N"),
    ]
    wrong = checked(THRESHOLD_LIST, DAY, *right, listed("ZZZZ", "", "N", "N"))
    assert failed(wrong) == ["is_listed_by_a_rule"]
    assert not wrong.is_quarantined


@pytest.mark.parametrize(
    ("dataset", "market", "venue", "keys"),
    [
        (ATS_BLOCKS, "ATS", {"MPID": "UBSA", "marketParticipantName": "UBSA UBS ATS"}, ["UBSA"]),
        (OTC_BLOCKS, "OTC", {"crdFirmName": "SIDOTI & COMPANY, LLC"}, ["SIDOTI & COMPANY, LLC"]),
    ],
    ids=["ats", "otc"],
)
def test_blocks_are_rows_by_size_and_venue_with_exact_percents(dataset, market, venue, keys):
    row = {
        **venue,
        "monthStartDate": "2026-07-01",
        "totalTradeCount": 1000,
        "totalShareQuantity": 281_000,
        "averageTradeSize": 281,
        f"{market}BlockCount": 12,
        f"{market}BlockQuantity": 150_000,
        "averageBlockSize": "12500",
        f"{market}SharePercent": "0.57",
        f"{market}BlockShareRank": 3,
        "lastUpdateDate": "2026-09-08",
    }
    sizes = [row | {"summaryTypeCode": code} for code in ("10K", "200K", "10K-200K")]
    found = checked(dataset, MONTH, *sizes)
    assert failed(found) == []
    columns = (
        *("block_size", "block_trade_count", "average_block_size", "share_percent"),
        *("block_share_rank", "last_update_date", "block_business_share_percent"),
    )
    assert found.rows.select(columns).rows() == [
        (code, 12, 12_500, 570_000, 3, date(2026, 9, 8), None)
        for code in ("10K", "10K-200K", "200K")
    ]
    name = "mpid" if market == "ATS" else "participant_name"
    assert found.rows[name].unique().to_list() == keys
    more = checked(dataset, MONTH, row | {"summaryTypeCode": "2K", f"{market}BlockCount": 1001})
    assert failed(more) == ["has_no_more_blocks_than_trades"]
    twice = checked(dataset, MONTH, sizes[0], sizes[0])
    assert failed(twice) == ["has_unique_keys"]
