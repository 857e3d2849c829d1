"""The audits that decide whether a delivery may be loaded."""

import json
from decimal import Decimal

import pytest

from orchestration_project.domains.finra.audits import AUDITS
from orchestration_project.domains.finra.contract import check_week
from orchestration_project.engine.contracts.audits import Audit
from orchestration_project.engine.contracts.parts import Part
from orchestration_project.errors import ContractError
from tests.domains.weekly import FIRM, TOTAL, WEEK, audited_week, file, line, page, quantities

MAX_UNITS = (2**63 - 1) // 2
MAX_SHARES = (2**63 - 1) // 10**6 // 2
PASSED = dict.fromkeys(AUDITS, "passed")


def audited(
    *lines: str,
    record_total: int | None = -1,
    max_reject_ratio: float = 0.0,
    parts: list[Part] | None = None,
) -> dict[str, Audit]:
    """Audit a page of ``lines``; without a ``record_total``, that of the lines."""
    found = audited_week(
        parts or [page(*lines)],
        week_start=WEEK,
        tier="T1",
        record_total=len(lines) if record_total == -1 else record_total,
        max_reject_ratio=max_reject_ratio,
    )
    return {audit.name: audit for audit in found.audits}


def outcomes(found: dict[str, Audit]) -> dict[str, str]:
    return {name: audit.outcome for name, audit in found.items()}


def test_a_whole_delivery_passes_every_audit_with_its_numbers():
    found = audited(line(), line(TOTAL))
    assert list(found.values()) == [
        Audit("has_all_rows_of_record_total", "passed", "Record-Total 2", "2 rows"),
        Audit("holds_only_its_week_and_tier", "passed", "0 rows of other weeks or tiers", "0", []),
        Audit("has_unique_keys", "passed", "0 keys with several rows", "0", []),
        Audit(
            "reconciles_with_symbol_totals",
            "passed",
            "0 symbols whose firm rows differ",
            "0 of 1",
            [],
        ),
        Audit(
            "has_few_rejects",
            "passed",
            "at most 0.0000% of lines rejected",
            "0.0000% (0 of 2)",
            [],
        ),
        Audit("has_firm_rows", "passed", "at least 1", "1 of 2 lines"),
    ]
    assert not any(audit.blocks for audit in found.values())


@pytest.mark.parametrize("record_total", [1, 3])
def test_a_row_too_few_or_too_many_fails_the_record_total_alone(record_total: int):
    found = audited(line(), line(TOTAL), record_total=record_total)
    name = "has_all_rows_of_record_total"
    assert outcomes(found) == {**PASSED, name: "failed"}
    assert found[name] == Audit(name, "failed", f"Record-Total {record_total}", "2 rows")
    assert found[name].blocks


def test_rejected_lines_and_sums_count_as_rows_received():
    found = audited(line(), "not a row", line(TOTAL), max_reject_ratio=0.5)
    assert outcomes(found) == PASSED


@pytest.mark.parametrize(
    "change", [{"weekStartDate": "2025-11-03"}, {"tierIdentifier": "NMS"}, {"weekStartDate": ""}]
)
def test_a_row_of_another_week_or_tier_fails_and_is_named(change: dict[str, str]):
    found = audited(line(), line(TOTAL), line(TOTAL, quantities("B", "0", "0"), change))
    stranger = found["holds_only_its_week_and_tier"]
    names = {"weekStartDate": "2025-11-10", "tierIdentifier": "T1"} | change
    week, tier = names["weekStartDate"] or "blank", names["tierIdentifier"]
    assert stranger.outcome == "failed"
    assert stranger.expected == "0 rows of others than weekStartDate 2025-11-10, tierIdentifier T1"
    assert stranger.found == f"1, e.g. weekStartDate {week}, tierIdentifier {tier}"
    assert stranger.offenders == [{"part_number": 1, "line_number": 4, **names}]


def test_a_rejected_row_of_another_week_is_a_stranger_too():
    found = audited(line(weekStartDate="2025-11-03", MPID="", marketParticipantName=""))
    assert found["holds_only_its_week_and_tier"].found.startswith("1, e.g. ")


def test_a_key_that_comes_twice_fails_and_is_named():
    twice = [line(), line(totalWeeklyShareQuantity="1"), line(issueSymbolIdentifier="aapl")]
    unique = audited(*twice)["has_unique_keys"]
    assert (unique.outcome, unique.found) == ("failed", "1")
    key = {"market": "ATS", "symbol": "AAPL", "venue_id": "UBSA"}
    assert unique.offenders == [{**key, "rows": 2}]


def test_a_symbol_whose_firm_rows_do_not_add_up_is_named_with_both_sums():
    found = audited(
        line(quantities("A", "600", "6")),
        line(quantities("A", "400", "4"), MPID="OTHR"),
        line(TOTAL, quantities("A", "1001", "10")),
    )
    assert outcomes(found) == {**PASSED, "reconciles_with_symbol_totals": "failed"}
    reconciled = found["reconciles_with_symbol_totals"]
    assert reconciled.found == "1 of 1"
    assert reconciled.offenders == [
        {
            "market": "ATS",
            "symbol": "A",
            "share_quantity": 1000,
            "trade_count": 10,
            "share_quantity_of_finra": 1001,
            "trade_count_of_finra": 10,
        }
    ]


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    "lines",
    [
        pytest.param(
            [line(quantities("A", "1", "2")), line(TOTAL, quantities("A", "1"))], id="in trades"
        ),
        pytest.param([line()], id="no total at all"),
        pytest.param([line(TOTAL)], id="a total without firm rows"),
        pytest.param([line(FIRM), line(TOTAL)], id="in another market"),
        pytest.param([line(), line(TOTAL, issueSymbolIdentifier="aapl")], id="in another case"),
        pytest.param([line(), line(TOTAL), line(TOTAL)], id="a total that comes twice"),
    ],
)
def test_firm_rows_must_add_up_for_each_market_and_symbol_in_shares_and_trades(lines: list[str]):
    assert audited(*lines)["reconciles_with_symbol_totals"].outcome == "failed"


def test_a_rejected_row_whose_quantities_can_be_read_counts():
    unnamed = {"MPID": "", "marketParticipantName": ""}
    found = audited(
        line(quantities("A", "600")),
        line(quantities("A", "400"), unnamed),
        line(TOTAL, quantities("A", "1000", "2")),
        line(quantities("", "1"), issueName=""),
        line(TOTAL, quantities("", "1")),
        max_reject_ratio=0.6,
    )
    assert outcomes(found) == PASSED


def test_a_rejected_row_whose_quantity_cannot_be_read_is_missed():
    found = audited(
        line(quantities("A", "4OO")), line(TOTAL, quantities("A", "400")), max_reject_ratio=1.0
    )
    assert found["reconciles_with_symbol_totals"].offenders[0]["share_quantity"] == 0


@pytest.mark.slow_after_first
@pytest.mark.parametrize("blank", ["", " ", "\u3000"])
def test_a_row_without_a_symbol_is_in_no_sum_and_counts_as_received_and_rejected(blank: str):
    lines = [line(), line(TOTAL), line(quantities(blank, "1"), MPID="OTHR")]
    found = audited(*lines, max_reject_ratio=0.5)
    assert outcomes(found) == PASSED
    assert found["has_few_rejects"].found == "33.3333% (1 of 3)"
    assert found["reconciles_with_symbol_totals"].found == "0 of 1"
    assert audited(*lines, max_reject_ratio=0.3)["has_few_rejects"].outcome == "failed"


def test_a_total_without_a_symbol_is_no_symbols_total():
    found = audited(line(), line(TOTAL), line(TOTAL, quantities("", "1")), max_reject_ratio=0.5)
    assert outcomes(found) == PASSED


def test_sums_beyond_64_bits_do_not_wrap():
    # 4 x 2^62 millionths are 0 in 64 bits, which a symbol's total of 0 would match.
    written = f"{2**62 // 10**6}.{2**62 % 10**6:06}"
    rows = [line(quantities("A", written), MPID="", marketParticipantName="")] * 4
    reconciled = audited(*rows, line(TOTAL, quantities("A", "0", "4")))[
        "reconciles_with_symbol_totals"
    ]
    assert reconciled.outcome == "failed"
    assert reconciled.offenders[0]["share_quantity"] == 4 * Decimal(written)
    [offender] = json.loads(reconciled.offenders_json)
    assert offender["share_quantity"] == float(4 * Decimal(written))


@pytest.mark.parametrize("name", ["share_quantity", "trade_count"])
def test_a_partition_that_does_not_add_up_in_64_bits_is_refused(name: str):
    largest = MAX_SHARES if name == "share_quantity" else MAX_UNITS
    huge, one = (str(largest), "1") if name == "share_quantity" else ("1", str(largest))
    with pytest.raises(ContractError) as refused:
        audited(line(quantities("A", huge, one)), line(quantities("B", "1", "1")))
    assert str(refused.value).split("\n") == [
        f"the partition's {name} cannot be added up in 64 bits",
        f"  expected: at most {largest}",
        f"  found: {largest + 1}",
        "  what to do: look for absurd quantities in the capture and report them to the source",
    ]


def test_one_whose_total_is_the_largest_number_passes():
    half = {"MPID": "OTHR", **quantities("A", "1", "20")}
    found = audited(
        line(quantities("A", str(MAX_SHARES - 1))),
        line(half),
        line(TOTAL, quantities("A", str(MAX_SHARES), "21")),
    )
    assert outcomes(found) == PASSED


@pytest.mark.parametrize(("limit", "outcome"), [(0.25, "passed"), (0.2499, "failed")])
def test_rejects_may_be_as_many_as_the_limit_says_and_not_more(limit: float, outcome: str):
    lines = [line(), line(TOTAL), line(TOTAL, quantities("B", "0", "0")), "bad\u00e9"]
    few = audited(*lines, max_reject_ratio=limit)["has_few_rejects"]
    assert few == Audit(
        "has_few_rejects",
        "passed" if outcome == "passed" else "failed",
        f"at most {limit:.4%} of lines rejected",
        "25.0000% (1 of 4)",
        [
            {
                "part_number": 1,
                "line_number": 5,
                "reason_code": "wrong_field_count",
                "record": r"bad\xc3\xa9",
            }
        ],
    )


def test_no_more_than_20_offenders_are_kept():
    lines = [
        line(quantities(f"S{number:02}", "x"), weekStartDate="", MPID=f"V{number:02}")
        for number in range(25)
    ]
    twice = [line(issueSymbolIdentifier=f"T{number:02}") for number in range(25)] * 2
    found = audited(*lines, *twice)
    kept = {name: len(audit.offenders) for name, audit in found.items()}
    countless = ("has_all_rows_of_record_total", "has_firm_rows")
    assert kept == {**dict.fromkeys(AUDITS, 20), **dict.fromkeys(countless, 0)}
    assert found["reconciles_with_symbol_totals"].found == "50 of 50"
    first = [offender["symbol"] for offender in found["has_unique_keys"].offenders]
    assert first == [f"T{number:02}" for number in range(20)]


FILE_LINE = "NMS Tier 1|AAPL|Apple Inc.|UBS ATS|UBSA|500|5|2025-12-01"


def test_audits_that_need_what_a_file_lacks_are_not_applicable():
    found = audited(record_total=None, parts=[file(FILE_LINE)])
    assert outcomes(found) == {
        "has_all_rows_of_record_total": "not_applicable",
        "holds_only_its_week_and_tier": "not_applicable",
        "has_unique_keys": "passed",
        "reconciles_with_symbol_totals": "not_applicable",
        "has_few_rejects": "passed",
        "has_firm_rows": "passed",
    }
    assert [(value.expected, value.found) for value in found.values()][:4] == [
        ("a Record-Total; files have none", "1 rows"),
        ("0 rows of other weeks or tiers; files name no week", "no week"),
        ("0 keys with several rows", "0"),
        ("0 symbols whose firm rows differ; files have no totals", "no totals"),
    ]
    assert not any(audit.blocks for audit in found.values())


def test_a_file_of_another_tier_is_quarantined():
    found = audited(record_total=None, parts=[file(FILE_LINE.replace("Tier 1", "Tier 2"))])
    stranger = found["holds_only_its_week_and_tier"]
    assert stranger.found == "1, e.g. weekStartDate 2025-11-10, tierIdentifier T2"
    assert (stranger.outcome, stranger.blocks) == ("failed", True)


def test_the_same_firm_in_both_markets_and_on_two_pages_is_two_keys():
    both = [page(line()), page(line(summaryTypeCode="OTC_W_SMBL_FIRM"), number=2)]
    week = check_week(both, week_start=WEEK, tier="T1")
    assert len(week.rows) == 2
    assert audited(parts=both, record_total=2)["has_unique_keys"].outcome == "passed"


def test_an_empty_delivery_is_short_of_its_record_total_and_of_rows():
    short = dict.fromkeys(("has_all_rows_of_record_total", "has_firm_rows"), "failed")
    assert outcomes(audited(record_total=4)) == {**PASSED, **short}


def test_sums_alone_are_no_week():
    found = audited(line(summaryTypeCode="ATS_W_FIRM"))
    assert outcomes(found) == {**PASSED, "has_firm_rows": "failed"}
    assert found["has_firm_rows"].found == "0 of 1 lines"
    assert found["has_firm_rows"].blocks


def naming_file(names: dict[str, str], market: str = "ATS", number: int = 1) -> Part:
    """Return a file of one row that has further columns, which name what it holds."""
    described = file(FILE_LINE, market=market, number=number).body.decode().split("\n")
    lines = ["|".join(names), "|".join(names.values())]
    text = "\n".join(f"{ours}|{more}" for ours, more in zip(described, lines, strict=True))
    return Part(number, text.encode(), market)


OWN_NAMES = {
    "weekStartDate": "2025-11-10",
    "tierIdentifier": "T1",
    "summaryTypeCode": "ATS_W_SMBL_FIRM",
}


def test_a_file_whose_rows_name_its_week_tier_and_market_passes():
    found = audited(record_total=None, parts=[naming_file(OWN_NAMES)])
    assert found["holds_only_its_week_and_tier"].outcome == "passed"
    assert not any(audit.blocks for audit in found.values())


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"weekStartDate": "2025-11-03"}, "weekStartDate 2025-11-03"),
        ({"weekStartDate": "11/10/2025"}, "weekStartDate 11/10/2025"),
        ({"weekStartDate": ""}, "weekStartDate blank"),
        ({"tierIdentifier": "T2"}, "tierIdentifier T2"),
        ({"summaryTypeCode": "OTC_W_SMBL_FIRM"}, "summaryTypeCode OTC_W_SMBL_FIRM"),
        ({"summaryTypeCode": "ATS_W_SMBL"}, "summaryTypeCode ATS_W_SMBL"),
        ({"summaryTypeCode": "DARK"}, "summaryTypeCode DARK"),
    ],
)
def test_a_file_whose_rows_name_another_week_tier_or_market_is_refused_with_both(change, named):
    found = audited(record_total=None, parts=[naming_file(OWN_NAMES | change)])
    stranger = found["holds_only_its_week_and_tier"]
    assert stranger.blocks
    assert stranger.expected == (
        "0 rows of others than weekStartDate 2025-11-10, tierIdentifier T1, "
        "summaryTypeCode ATS_W_SMBL_FIRM"
    )
    assert stranger.found.startswith("1, e.g. weekStartDate ")
    assert named in stranger.found


def test_one_column_is_enough_to_name_a_week_in_whatever_case():
    found = audited(record_total=None, parts=[naming_file({"WEEKSTARTDATE": "2025-11-03"})])
    assert found["holds_only_its_week_and_tier"].blocks


def test_a_file_that_names_its_week_stands_beside_one_that_does_not():
    other = naming_file({"weekStartDate": "2025-11-03"}, market="NON_ATS", number=2)
    found = audited(record_total=None, parts=[file(FILE_LINE), other])
    stranger = found["holds_only_its_week_and_tier"]
    assert stranger.blocks
    assert [offender["part_number"] for offender in stranger.offenders] == [2]
