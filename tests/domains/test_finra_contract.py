"""The weekly contract: FINRA's strings into rows, rejects and sums."""

import hashlib
from collections import Counter
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from orchestration_project.domains.finra.contract import (
    API_FIELDS,
    OTHER_SUMS,
    check_week,
)
from orchestration_project.domains.finra.gold import symbol_week, venue_sums, venue_week
from orchestration_project.domains.finra.tables.weekly import finra_otc_weekly
from orchestration_project.engine.contracts.audits import Validated
from orchestration_project.engine.contracts.parts import Part
from orchestration_project.engine.contracts.values import derive_schema, parse_scaled
from orchestration_project.errors import ContractError
from tests.domains.weekly import (
    FIRM,
    TOTAL,
    WEEK,
    audited_week,
    checked,
    file,
    line,
    page,
    quantities,
)
from tests.properties import bounded

MAX_INT64 = 2**63 - 1
REAL_DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "finra"
REAL_FILE = REAL_DATA / "finra_otc_weekly_otc_20251215.csv"


def test_a_firm_row_becomes_a_row_of_the_table():
    rows = checked(line()).rows
    assert rows.to_dicts() == [
        {
            "week_start": date(2025, 11, 10),
            "tier": "T1",
            "market": "ATS",
            "symbol": "AAPL",
            "venue_id": "UBSA",
            "week_end": date(2025, 11, 14),
            "mpid": "UBSA",
            "firm_crd_number": None,
            "participant_name": "UBSA UBS ATS",
            "issue_name": "Apple Inc. Common Stock",
            "share_quantity": 1000,
            "trade_count": 20,
            "notional_usd": 250_000_250_000,
            "product_type": "NMS",
            "initial_published_date": date(2025, 12, 1),
            "last_update_date": date(2025, 12, 2),
            "last_reported_date": date(2025, 11, 28),
            "part_number": 1,
        }
    ]


def test_its_types_are_those_of_the_table():
    expected = derive_schema(finra_otc_weekly)
    del expected["capture_id"], expected["known_from"]
    for rows in (checked(line()).rows, checked().rows):
        assert dict(rows.schema) == {**expected, "part_number": pl.Int64()}


def test_what_may_be_blank_and_is_becomes_null():
    blank: dict[str, str] = dict.fromkeys(
        (
            *("issueName", "totalNotionalSum", "productTypeCode"),
            *("initialPublishedDate", "lastUpdateDate", "lastReportedDate"),
        ),
        "",
    )
    (row,) = checked(line(blank, MPID="", marketParticipantName="", firmCRDNumber="7")).rows.rows(
        named=True
    )
    assert {name for name, value in row.items() if value is None} == {
        *("mpid", "participant_name", "issue_name", "notional_usd", "product_type"),
        *("initial_published_date", "last_update_date", "last_reported_date"),
    }


def test_symbols_are_exact_to_the_byte():
    symbols = [
        *("NA", "NAN", "NULL", "TRUE", "1E5", "EP$C", "ABCp", "ABCP", "NEE$U", "BRK.B", "null"),
        *("007", "\\N", '"', "A A", "É"),
    ]
    week = checked(*(line(issueSymbolIdentifier=symbol) for symbol in symbols))
    assert week.rejects.rows() == []
    assert week.rows["symbol"].to_list() == sorted(symbols, key=str.encode)


def test_names_keep_their_double_spaces_and_marks():
    name = "Acme  Corp., #2 (The)  ADR"
    row = checked(line(issueName=name, marketParticipantName=name)).rows
    assert row["issue_name", "participant_name"].rows() == [(name, name)]


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("mpid", "crd", "name", "venue_id"),
    [
        ("UBSA", "7654", "UBS", "UBSA"),
        ("", "7654", "Some Firm LLC", "CRD:7654"),
        ("", "0", "De Minimis Firms", "CRD:0"),
        ("", "", "De Minimis Firms", "CRD:0"),
        ("", "", "Some  Firm", "NAME:Some  Firm"),
        ("  ", "", "Some Firm", "NAME:Some Firm"),
        ("", "007", "Some Firm", "CRD:7"),
    ],
)
def test_a_venue_is_its_mpid_else_its_crd_number_else_its_name(
    mpid: str, crd: str, name: str, venue_id: str
):
    row = checked(line(MPID=mpid, firmCRDNumber=crd, marketParticipantName=name)).rows
    assert row["venue_id"].to_list() == [venue_id]


SHARES, TRADES = "totalWeeklyShareQuantity", "totalWeeklyTradeCount"
REJECTED = [
    ({"issueSymbolIdentifier": ""}, "blank_symbol", "issueSymbolIdentifier is blank"),
    ({"issueSymbolIdentifier": " "}, "blank_symbol", "issueSymbolIdentifier is blank"),
    ({SHARES: "-5"}, "negative_quantity", f"{SHARES} is negative: -5"),
    ({TRADES: "-1.5"}, "negative_quantity", f"{TRADES} is negative: -1.5"),
    (
        {SHARES: "10.1234567"},
        "fractional_quantity",
        f"{SHARES} has more than 6 decimals: 10.1234567",
    ),
    ({TRADES: "10.0"}, "fractional_quantity", f"{TRADES} is written with a fraction: 10.0"),
    ({SHARES: "ten"}, "not_a_number", f"{SHARES} is not a number: ten"),
    ({SHARES: "1E5"}, "not_a_number", f"{SHARES} is not a number: 1E5"),
    ({SHARES: "1,000"}, "not_a_number", f"{SHARES} is not a number: 1,000"),
    ({SHARES: "1 5"}, "not_a_number", f"{SHARES} is not a number: 1 5"),
    ({SHARES: "٣"}, "not_a_number", f"{SHARES} is not a number: ٣"),
    ({SHARES: "x" * 99}, "not_a_number", f"{SHARES} is not a number: {'x' * 60}"),
    (
        {SHARES: "9223372036854.775808"},
        "quantity_too_large",
        f"{SHARES} is above 9223372036854: 9223372036854.775808",
    ),
    ({TRADES: "9" * 40}, "quantity_too_large", f"{TRADES} is above 2^63-1: {'9' * 40}"),
    ({SHARES: ""}, "missing_quantity", f"{SHARES} is blank"),
    ({TRADES: ""}, "missing_quantity", f"{TRADES} is blank"),
    (
        {"lastReportedDate": "2025-02-30"},
        "impossible_date",
        "lastReportedDate is no date: 2025-02-30",
    ),
    (
        {"lastUpdateDate": "12/15/2025"},
        "impossible_date",
        "lastUpdateDate is no date: 12/15/2025",
    ),
    (
        {"initialPublishedDate": "2025-1-5"},
        "impossible_date",
        "initialPublishedDate is no date: 2025-1-5",
    ),
    (
        {"lastUpdateDate": "0000-01-01"},  # which no database could give back
        "impossible_date",
        "lastUpdateDate is no date: 0000-01-01",
    ),
    *(
        ({SHARES: text}, "not_a_number", f"{SHARES} is not a number: {text}")
        for text in ("NaN", "Infinity", "1e308", "0x10", "+5", "1_000")
    ),
    *(
        (
            {"totalNotionalSum": text},
            "not_an_amount",
            f"totalNotionalSum is no amount that 64 bits keep exactly: {text}",
        )
        for text in ("NaN", "-inf", "1e308", "9" * 40)
    ),
    (
        {"MPID": " ", "firmCRDNumber": "", "marketParticipantName": " "},
        "missing_venue",
        "MPID, firmCRDNumber and marketParticipantName are all blank",
    ),
    *(
        ({name: "é" * 501}, "text_too_long", f"{name} has 1002 bytes, more than 1000")
        for name in ("issueSymbolIdentifier", "issueName", "MPID", "marketParticipantName")
    ),
    ({"firmCRDNumber": "n/a"}, "not_a_crd_number", "firmCRDNumber is no number: n/a"),
    (
        {"totalNotionalSum": "12.3456789"},
        "not_an_amount",
        "totalNotionalSum is no amount that 64 bits keep exactly: 12.3456789",
    ),
    (
        {"totalNotionalSum": "٣"},
        "not_an_amount",
        "totalNotionalSum is no amount that 64 bits keep exactly: ٣",
    ),
    (
        {"summaryTypeCode": "ATS_D_SMBL"},
        "unknown_summary_type",
        "summaryTypeCode is unknown: ATS_D_SMBL",
    ),
    ({"summaryTypeCode": ""}, "unknown_summary_type", "summaryTypeCode is unknown: "),
    (
        {"issueSymbolIdentifier": "A|B"},
        "wrong_field_count",
        "the line has 18 fields, the header has 17",
    ),
    (
        {"issueName": "\0"},
        "nul_byte",
        "the line holds a NUL byte, which no database text can keep",
    ),
]


@pytest.mark.slow_after_first
@pytest.mark.parametrize(("change", "code", "reason"), REJECTED)
def test_a_line_that_breaks_a_rule_is_rejected_alone_with_reason_and_place(
    change: dict[str, str], code: str, reason: str
):
    bad, good = line(change), line(issueSymbolIdentifier="MSFT")
    week = checked(line(), bad, good)
    header = "|".join(API_FIELDS)
    assert week.rejects.to_dicts() == [
        {
            "part_number": 1,
            "line_number": 3,
            "reason_code": code,
            "reason": reason,
            "byte_offset": len(header) + 1 + len(line()) + 1,
            "record": bad.encode().decode("latin-1").encode("unicode_escape").decode(),
        }
    ]
    assert week.rows["symbol"].to_list() == ["AAPL", "MSFT"]
    assert week.received_count == 3


def test_a_line_that_is_not_utf8_is_rejected_alone():
    body = page(line(), line(issueName="X")).body.replace(b"|X|", b"|\xe9|")
    week = check_week([Part(1, body)], week_start=WEEK, tier="T1")
    assert week.rejects["line_number", "reason_code", "reason"].rows() == [
        (3, "not_utf8", "the line is not UTF-8")
    ]
    assert len(week.rows) == 1


def test_a_row_that_breaks_several_rules_is_rejected_once_for_the_first():
    rejects = checked(line(quantities("", "-1", "x"))).rejects
    assert rejects["reason_code"].to_list() == ["blank_symbol"]


def test_the_largest_quantity_is_loaded():
    largest = "9223372036854.775807"
    row = checked(line(quantities("A", largest, "0" * 30 + "7"))).rows
    assert row["share_quantity", "trade_count"].rows() == [(Decimal(largest), 7)]


@pytest.mark.parametrize(
    ("text", "scaled"),
    [
        ("0", 0),
        ("250000.25", 250_000_250_000),
        ("0.000001", 1),
        ("1.230000000", 1_230_000),
        ("1.5E7", 15_000_000_000_000),
        ("1.5e-5", 15),
        ("100E-2", 1_000_000),
        ("9223372036854.775807", MAX_INT64),
        ("9223372036854.775808", None),
        ("1E9999", None),
        ("1E999999999", None),
        ("9" * 5000, None),
        ("0.0000001", None),
        ("1.00000000000000000000000000000000000001", None),
        ("-1", None),
        ("-0", None),
        ("+1", None),
        (" 1 ", None),
        ("1_000", None),
        ("1,000", None),
        ("٣", None),
        ("1.", None),
        (".5", None),
        ("NaN", None),
        ("Infinity", None),
        ("", None),
    ],
)
def test_an_amount_is_scaled_exactly_or_not_at_all(text: str, scaled: int | None):
    assert parse_scaled(pl.Series([text]), 6).to_list() == [scaled]


@bounded
@given(
    st.lists(
        st.one_of(
            st.decimals(0, 10**14, places=6).map(str),
            st.decimals(0, 10**20, places=2).map(lambda number: f"{number:E}"),
            st.from_regex(r"[0-9]{1,25}(\.[0-9]{1,9})?(E-?[0-9]{1,2})?", fullmatch=True),
        ),
        max_size=20,
    )
)
def test_scaled_amounts_are_those_of_decimal_arithmetic(texts: list[str]):
    assert parse_scaled(pl.Series(texts, dtype=pl.String), 6).to_list() == [
        _scaled_by_decimal(text.replace("+", "")) for text in texts
    ]


def _scaled_by_decimal(text: str) -> int | None:
    numerator, denominator = Decimal(text).as_integer_ratio()
    whole, rest = divmod(numerator * 10**6, denominator)
    return whole if rest == 0 and whole <= MAX_INT64 else None


def test_finras_own_sums_are_no_rows():
    week = checked(
        line(),
        line(TOTAL),
        *(line(TOTAL, summaryTypeCode=code, totalWeeklyTradeCount="") for code in OTHER_SUMS),
    )
    assert (len(week.rows), len(week.rejects), week.received_count) == (1, 0, 6)
    sums = {"market": "ATS", "symbol": "AAPL", "share_quantity": 1000, "trade_count": 20}
    assert week.totals.to_dicts() == [sums]
    assert week.firm_sums.to_dicts() == [sums]


def test_a_symbols_total_without_a_venue_is_fine_and_one_without_shares_is_not():
    week = checked(line(TOTAL), line(TOTAL, quantities("B", "x")))
    assert week.rejects["line_number", "reason_code"].rows() == [(3, "not_a_number")]


def test_rows_of_both_markets_are_distinguished():
    rows = checked(line(FIRM), line()).rows
    assert rows["market", "venue_id"].rows() == [("ATS", "UBSA"), ("NON_ATS", "CRD:7654")]


GOOD_OR_BAD = st.fixed_dictionaries(
    {
        "issueSymbolIdentifier": st.sampled_from(["A", "NA", "", "A|B"]),
        "MPID": st.sampled_from(["UBSA", ""]),
        "firmCRDNumber": st.sampled_from(["", "0", "x"]),
        "marketParticipantName": st.sampled_from(["Firm", ""]),
        "totalWeeklyShareQuantity": st.sampled_from(["1", "-1", "", str(2**63)]),
        "totalNotionalSum": st.sampled_from(["", "1.5", "1E3", "x"]),
        "lastUpdateDate": st.sampled_from(["", "2025-12-01", "2025-13-01"]),
        "summaryTypeCode": st.sampled_from(
            ["ATS_W_SMBL_FIRM", "OTC_W_SMBL_FIRM", "ATS_W_SMBL", "OTC_W_FIRM", "NEW"]
        ),
    }
)


@pytest.mark.slow
@bounded
@given(st.lists(GOOD_OR_BAD, max_size=12))
@example([])
def test_each_line_is_loaded_rejected_or_a_sum_exactly_once(changes: list[dict[str, str]]):
    week = checked(
        *(line(change, issueName=str(number)) for number, change in enumerate(changes, 2))
    )
    loaded = [int(name) for name in week.rows["issue_name"]]
    rejected = week.rejects["line_number"].to_list()
    sums = [
        number
        for number, change in enumerate(changes, 2)
        if change["summaryTypeCode"] in ("ATS_W_SMBL", "OTC_W_FIRM") and number not in rejected
    ]
    assert sorted([*loaded, *rejected, *sums]) == list(range(2, len(changes) + 2))
    assert week.received_count == len(changes)


@pytest.mark.slow
@bounded
@given(st.permutations(range(6)), st.integers(1, 6))
def test_the_order_of_lines_and_the_cut_into_pages_do_not_matter(order: list[int], cut: int):
    lines = [
        line(issueSymbolIdentifier=symbol, MPID=mpid)
        for symbol, mpid in (("A", "X"), ("A", "Y"), ("B", "X"), ("B", "Y"), ("C", "X"), ("", "X"))
    ]
    shuffled = [lines[place] for place in order]
    pages = [page(*shuffled[:cut]), page(*shuffled[cut:], number=2)]
    week = check_week(pages, week_start=WEEK, tier="T1")
    assert week.rows.drop("part_number").equals(checked(*lines).rows.drop("part_number"))
    assert len(week.rejects) == 1


def test_a_page_without_a_column_is_refused():
    body = "|".join(API_FIELDS).replace("|MPID", "").encode()
    with pytest.raises(ContractError, match="the weekly data: lacks MPID"):
        check_week([Part(1, body)], week_start=WEEK, tier="T1")


FILE_LINE = "OTC|ECOX|Eco Innovation|OTC Link ECN|OTCN|500|5|2025-12-15"


def test_a_file_takes_week_and_market_from_the_delivery_and_never_from_its_update_date():
    parts = [file(FILE_LINE), file(FILE_LINE, market="NON_ATS", number=2)]
    week = check_week(parts, week_start=WEEK, tier="OTCE")
    names = ["week_start", "tier", "market", "symbol", "venue_id", "notional_usd", "part_number"]
    assert week.rows.select(names).rows() == [
        (WEEK, "OTCE", "ATS", "ECOX", "OTCN", None, 1),
        (WEEK, "OTCE", "NON_ATS", "ECOX", "OTCN", None, 2),
    ]
    assert week.rows["last_update_date"].to_list() == [date(2025, 12, 15)] * 2
    assert week.foreign_rows.rows() == []


def test_a_files_rows_of_another_tier_are_strangers():
    lines = [FILE_LINE, FILE_LINE.replace("OTC|", "Not Applicable|", 1)]
    week = check_week([file(*lines)], week_start=WEEK, tier="T1")
    assert week.foreign_rows.rows() == [(1, 2, "2025-11-10", "OTCE")]


@pytest.fixture(scope="module")
def real() -> Validated:
    if not REAL_DATA.is_dir():
        pytest.skip(f"the folder of real data is absent: {REAL_DATA}")
    body = REAL_FILE.read_bytes()
    assert hashlib.sha256(body).hexdigest() == (
        "3c9664fc922059a2ddc9dab3d300b7e646994e995333f3b6471b335648b619a7"
    )
    parts = [Part(1, body, "ATS")]
    return audited_week(
        parts, week_start=WEEK, tier="OTCE", record_total=None, max_reject_ratio=0.005
    )


def test_the_real_file_has_the_rows_symbols_shares_and_trades_of_its_readme(real: Validated):
    rows = real.rows
    found = (len(rows), rows["symbol"].n_unique(), len(real.rejects))
    assert found == (5_328, 3_111, 0)
    assert (rows["share_quantity"].sum(), rows["trade_count"].sum()) == (1_335_995_901, 472_776)
    assert [(audit.name, audit.outcome) for audit in real.audits] == [
        ("has_all_rows_of_record_total", "not_applicable"),
        ("holds_only_its_week_and_tier", "not_applicable"),
        ("has_unique_keys", "passed"),
        ("reconciles_with_symbol_totals", "not_applicable"),
        ("has_few_rejects", "passed"),
        ("has_firm_rows", "passed"),
    ]


def test_the_real_file_has_the_top_symbols_and_the_concentration_of_its_readme(real: Validated):
    symbols = symbol_week(real.rows).sort("total_share_quantity", descending=True)
    assert symbols["symbol", "total_share_quantity"].head(3).rows() == [
        ("ECOX", 259_127_041),
        ("OZSC", 122_767_691),
        ("EARI", 114_436_996),
    ]
    ecox = symbols.row(0, named=True)
    assert [round(ecox[name], 10) for name in ("hhi_lower", "hhi_upper")] == [0.9299147466] * 2
    by_venue = real.rows.filter(symbol="ECOX")["venue_id", "share_quantity"].rows()
    assert by_venue == [("OTCN", 249_703_875), ("OTCX", 9_423_166)]


def test_the_real_file_has_the_venues_and_their_shares_of_its_readme(real: Validated):
    venues = venue_week(venue_sums(real.rows)).sort("rank")
    assert venues["rank"].to_list() == list(range(1, 10))
    assert [
        (venue, f"{share:.6%}") for venue, share in venues["venue_id", "tier_share"].head(3).rows()
    ] == [("OTCN", "82.188393%"), ("OTCX", "14.423180%"), ("ARCA", "3.069141%")]


def test_the_real_files_figures_are_those_of_a_plain_reading(real: Validated):
    lines = REAL_FILE.read_bytes().decode("ascii").split("\n")[1:]
    plain: Counter[tuple[str, str]] = Counter()
    for filled in filter(None, lines):
        _, symbol, _, _, mpid, shares, _, _ = filled.split("|")
        plain[symbol, mpid] += int(shares)
    loaded: dict[Any, int] = {
        (symbol, venue): shares
        for symbol, venue, shares in real.rows["symbol", "venue_id", "share_quantity"].rows()
    }
    assert loaded == dict(plain)
