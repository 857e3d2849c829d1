"""Week, tier and market of a downloaded file."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration_project.domains.finra.calendar import WEEK, publication_date
from orchestration_project.domains.finra.files import TIER_OF_NAME, WeeklyFile, identify
from orchestration_project.errors import ConfigurationError
from tests.properties import bounded

HEADER = "file,tier,week_start,market\n"
EXPECTED_IN_MANIFEST = (
    "file,tier,week_start,market; tier T1|T2|OTCE, week_start a Monday as yyyy-mm-dd, "
    "market ATS|NON_ATS"
)


def refusal(names: list[str], manifest: str | None = None) -> list[str]:
    with pytest.raises(ConfigurationError) as refused:
        identify(names, manifest)
    return str(refused.value).split("\n")


@pytest.mark.parametrize(
    ("name", "week", "tier"),
    [
        ("finra_otc_weekly_otc_20251215.csv", date(2025, 11, 10), "OTCE"),
        ("finra_otc_weekly_tier2_20251215.csv", date(2025, 11, 10), "T2"),
        ("finra_otc_weekly_tier1_20251201.csv", date(2025, 11, 10), "T1"),
        ("finra_otc_weekly_tier1_20250121.csv", date(2024, 12, 30), "T1"),
        ("finra_otc_weekly_otc_20240102.csv", date(2023, 11, 27), "OTCE"),
    ],
)
def test_a_name_gives_the_week_whose_publication_date_it_holds(name: str, week: date, tier: str):
    assert identify([name], None) == [WeeklyFile(week, tier, "ATS", name)]


@bounded
@given(st.sampled_from(sorted(TIER_OF_NAME)), st.integers(0, 800))
def test_every_week_has_a_name_that_leads_back_to_it(of: str, number: int):
    week = date(2014, 5, 12) + number * WEEK
    name = f"finra_otc_weekly_{of}_{publication_date(week, TIER_OF_NAME[of]):%Y%m%d}.csv"
    assert identify([name], None) == [WeeklyFile(week, TIER_OF_NAME[of], "ATS", name)]


@pytest.mark.parametrize(
    "day",
    [
        pytest.param("20250120", id="a holiday"),
        pytest.param("20251216", id="a Tuesday after no holiday"),
        pytest.param("20251217", id="a Wednesday"),
        pytest.param("20251315", id="no date"),
    ],
)
def test_a_name_with_a_day_without_publication_is_refused(day: str):
    name = f"finra_otc_weekly_otc_{day}.csv"
    assert refusal([name]) == [
        f"the file {name} names {day}, on which no week of OTCE is published",
        "  expected: the date on which FINRA published the week (a Monday, after a holiday a "
        "Tuesday)",
        "  what to do: rename the file or list it in manifest.csv",
    ]


@pytest.mark.parametrize(
    "name",
    [
        "weekly.csv",
        "finra_otc_weekly_tier3_20251215.csv",
        "finra_otc_weekly_otc_2025-12-15.csv",
        "finra_otc_weekly_otc_20251215 (1).csv",
        "Finra_otc_weekly_otc_20251215.csv",
    ],
)
def test_a_name_of_another_kind_is_refused(name: str):
    assert refusal([name]) == [
        f"cannot find the week of the file {name}",
        "  expected: finra_otc_weekly_<otc|tier1|tier2>_<publication date, yyyymmdd>.csv, "
        "or a line in manifest.csv (file,tier,week_start,market)",
        "  what to do: rename the file or list it in manifest.csv",
    ]


def test_the_manifest_goes_before_the_name_and_files_come_by_week_tier_and_market():
    name = "finra_otc_weekly_tier1_20251201.csv"
    manifest = f"{HEADER}b.csv,T1,2025-11-10,NON_ATS\n{name},T2,2025-11-03,ATS\n"
    other = "finra_otc_weekly_otc_20251215.csv"
    assert identify(["b.csv", other, name], manifest) == [
        WeeklyFile(date(2025, 11, 3), "T2", "ATS", name),
        WeeklyFile(date(2025, 11, 10), "OTCE", "ATS", other),
        WeeklyFile(date(2025, 11, 10), "T1", "NON_ATS", "b.csv"),
    ]


@pytest.mark.parametrize(
    "manifest",
    [
        pytest.param(f"\ufeff{HEADER}a.csv,T1,2025-11-10,ATS", id="as Excel writes UTF-8"),
        pytest.param(f"{HEADER}\na.csv,T1,2025-11-10,ATS\n\n".replace("\n", "\r\n"), id="Windows"),
        pytest.param(f'{HEADER}"a.csv","T1","2025-11-10","ATS"', id="quoted"),
    ],
)
def test_a_manifest_may_come_from_a_spreadsheet(manifest: str):
    assert identify(["a.csv"], manifest) == [WeeklyFile(date(2025, 11, 10), "T1", "ATS", "a.csv")]


@pytest.mark.parametrize(
    ("lines", "where", "found"),
    [
        ("a.csv,T1,2025-11-11,ATS", "line 2", "week_start 2025-11-11 is a Tuesday"),
        ("a.csv,T1,10.11.2025,ATS", "line 2", "week_start 10.11.2025"),
        ("a.csv,T1,20251110,ATS", "line 2", "week_start 20251110"),
        ("a.csv,T1,2025-W46-1,ATS", "line 2", "week_start 2025-W46-1"),
        ("a.csv,T3,2025-11-10,ATS", "line 2", "file a.csv, tier T3, market ATS"),
        ("a.csv,T1,2025-11-10,OTC", "line 2", "file a.csv, tier T1, market OTC"),
        ("a.csv,T1,2025-11-10", "line 2", "file a.csv, tier T1, market "),
        (",T1,2025-11-10,ATS", "line 2", "file , tier T1, market ATS"),
        ("a.csv", "line 2", "week_start "),
        ("a.csv,T1,2025-11-10,ATS,x", "line 2", "more than 4 fields"),
        ("\na.csv,T1,2025-11-10,ATS\n\na.csv,T2,2025-11-10,ATS", "line 5", "a.csv is listed twice"),
        ('"a.csv,T1,2025-11-10,ATS\n', "line 2", "unexpected end of data"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(lines: str, where: str, found: str):
    assert refusal(["a.csv"], HEADER + lines) == [
        f"manifest.csv cannot be read: {where}",
        f"  expected: {EXPECTED_IN_MANIFEST}",
        f"  found: {found}",
        "  what to do: correct manifest.csv in FINRA_FILES_DIR",
    ]


def test_a_quote_that_does_not_pair_is_named_in_a_manifest_of_any_length():
    lines = "".join(f"{number}.csv,T1,2025-11-10,ATS\n" for number in range(6_000))
    said = refusal([], f'{HEADER}"{lines}')
    assert said[0] == "manifest.csv cannot be read: line 2"
    assert said[2] == "  found: field larger than field limit (131072)"


@pytest.mark.parametrize("header", ["file,tier,week,market", "file;tier;week_start;market"])
def test_a_manifest_with_another_header_is_refused(header: str):
    assert refusal(["a.csv"], f"{header}\n")[::2] == [
        "manifest.csv cannot be read: the header",
        f"  found: {header}",
    ]


def test_an_empty_manifest_is_refused():
    assert refusal([], "")[0] == "manifest.csv cannot be read: the header"


def test_files_that_are_listed_and_absent_are_all_named():
    manifest = f"{HEADER}b.csv,T1,2025-11-10,ATS\na.csv,T2,2025-11-10,ATS\n"
    assert refusal([], manifest) == [
        "manifest.csv lists files that are not in FINRA_FILES_DIR: a.csv, b.csv",
        "  what to do: add the files or take their lines out",
    ]


def test_a_file_counts_by_its_ending_or_because_it_is_listed():
    manifest = f"{HEADER}week.txt,T1,2025-11-10,ATS\n"
    listed = WeeklyFile(date(2025, 11, 10), "T1", "ATS", "week.txt")
    assert identify(["README.md", "week.txt"], manifest) == [listed]
    upper = "finra_otc_weekly_tier1_20251201.CSV"
    assert refusal([upper], None)[0] == f"cannot find the week of the file {upper}"


def test_two_files_of_one_market_of_a_partition_are_refused():
    name = "finra_otc_weekly_tier1_20251201.csv"
    assert refusal(["a.csv", name], f"{HEADER}a.csv,T1,2025-11-10,ATS") == [
        f"two files hold the ATS market of T1 in the week of 2025-11-10: a.csv and {name}",
        "  what to do: leave only the newer one in FINRA_FILES_DIR",
    ]


def test_an_empty_folder_has_no_files():
    assert identify([], None) == identify([], HEADER) == []
