"""A folder of downloaded weekly files."""

import hashlib
from datetime import date

import pytest

from orchestration_project.domains.finra.contract import FILE_FIELDS
from orchestration_project.domains.finra.selection import TierWeek
from orchestration_project.engine.captures import Captures, build_parts
from orchestration_project.engine.connections.artifacts import FolderStore
from orchestration_project.engine.contracts.partitioning import Partition
from orchestration_project.engine.source import SourceVersion
from orchestration_project.errors import ConfigurationError, MovedError, SourceError, TransientError
from orchestration_project.resources.finra.files import FinraFiles
from tests.domains.weekly import audited_week
from tests.resources.weeks import NOON, StoppedClock

MONDAY, TIER = date(2025, 11, 10), "OTCE"
WEEK_OF_TIER = Partition(MONDAY, TIER)
NAME = "finra_otc_weekly_otc_20251215.csv"
HEADER = "|".join(FILE_FIELDS)
ROWS = (
    "OTC|AAALF|AAREAL BANK AG AKT|OTC LINK ECN|OTCN|1200|3|2025-12-15",
    "OTC|EP$C|EL PASO ENERGY, PFD (C)  #1|OTC LINK ECN|OTCN|7|1|2025-12-15",
    "OTC|NA|NATIONAL  BANK|OTC LINK ATS|OTCX|100000000|2|2025-12-15",
)
BODY = "\n".join([HEADER, *ROWS]).encode()  # the last line's end is missing, as in FINRA's files


def text_of(market, body):
    return f"{market} {hashlib.sha256(body).hexdigest()[:16]}"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / NAME).write_bytes(BODY)
    return tmp_path / "files"


@pytest.fixture
def files(folder, tmp_path):
    return FinraFiles(folder, Captures(FolderStore(tmp_path / "artifacts")), StoppedClock())


def list_in_manifest(folder, *lines):
    text = "\r\n".join(["file,tier,week_start,market", *lines])
    (folder / "manifest.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())  # as Excel saves it


def test_a_file_is_the_week_of_its_name(files):
    assert files.name == "files"
    assert list(files.published()) == [("2025-11-10", "OTCE")]
    assert files.version(WEEK_OF_TIER) == SourceVersion(
        f"weekly download: {text_of('ATS', BODY)}",
        "weekly download",
        None,
        scope={"market": ("ATS",)},
    )


def test_a_new_file_or_manifest_entry_is_seen_at_once(files, folder):
    (folder / "own.csv").write_bytes(BODY)
    list_in_manifest(folder, "own.csv,OTCE,2025-11-10,NON_ATS")
    both = f"weekly download: {text_of('ATS', BODY)}, {text_of('NON_ATS', BODY)}"
    assert files.version(WEEK_OF_TIER).text == both
    list_in_manifest(folder, "own.csv,T2,2025-11-10,ATS")
    alone = f"weekly download: {text_of('ATS', BODY)}"
    assert [files.version(Partition(MONDAY, tier)).text for tier in (TIER, "T2")] == [alone, alone]
    (folder / NAME).unlink()
    assert list(files.published()) == [("2025-11-10", "T2")]


def test_every_week_that_has_a_file_may_have_changed(files):
    held, gone = TierWeek(TIER, MONDAY), TierWeek("T1", MONDAY)
    assert list(files.maybe_changed([held, gone], since=MONDAY, until=MONDAY)) == [held]


def test_files_of_weeks_before_a_day_can_be_left_out(files):
    assert list(files.published(since=MONDAY)) == [("2025-11-10", "OTCE")]
    assert list(files.published(since=date(2025, 11, 11))) == []


def test_a_file_is_kept_as_it_is_and_read_to_the_byte(files, tmp_path):
    kept = []
    [capture] = files.extract_version(WEEK_OF_TIER, files.version(WEEK_OF_TIER), kept)
    assert kept == [capture]
    one = capture
    assert (one.body, one.url, one.request) == (BODY, f"file:{NAME}", {"market": "ATS"})
    assert (one.response_headers, one.http_status, one.row_count) == ({}, None, 3)
    assert (one.fetched_at, one.market) == (NOON, "ATS")
    [[part]] = Captures(FolderStore(tmp_path / "artifacts")).pieces([capture.without_body()])
    assert part.body == BODY
    checked = audited_week(
        build_parts([capture]), week_start=MONDAY, tier=TIER, record_total=None, max_reject_ratio=0
    )
    assert checked.rows.select("market", "symbol", "mpid", "share_quantity").rows() == [
        ("ATS", "AAALF", "OTCN", 1200),
        ("ATS", "EP$C", "OTCN", 7),
        ("ATS", "NA", "OTCX", 100_000_000),
    ]
    assert [(audit.name, audit.outcome) for audit in checked.audits] == [
        ("has_all_rows_of_record_total", "not_applicable"),
        ("holds_only_its_week_and_tier", "not_applicable"),
        ("has_unique_keys", "passed"),
        ("reconciles_with_symbol_totals", "not_applicable"),
        ("has_few_rejects", "passed"),
        ("has_firm_rows", "passed"),
    ]


def test_two_markets_of_a_week_are_two_parts_in_one_scope(files, folder):
    other = BODY.replace(b"|OTCN|", b"||")
    (folder / "non_ats.csv").write_bytes(other)
    list_in_manifest(folder, "non_ats.csv,OTCE,2025-11-10,NON_ATS")
    version = files.version(WEEK_OF_TIER)
    assert version.text == (f"weekly download: {text_of('ATS', BODY)}, {text_of('NON_ATS', other)}")
    assert version.scope == {"market": ("ATS", "NON_ATS")}
    captures = files.extract_version(WEEK_OF_TIER, version, [])
    assert [capture.market for capture in captures] == ["ATS", "NON_ATS"]
    assert list(files.published()) == [("2025-11-10", "OTCE")]


def test_a_manifest_lists_files_of_any_name_and_week(files, folder):
    (folder / "Some Téxt.csv").write_bytes(BODY)
    list_in_manifest(folder, "Some Téxt.csv,T1,2021-01-04,ATS")
    assert list(files.published()) == [("2021-01-04", "T1"), ("2025-11-10", "OTCE")]
    assert files.version(Partition(date(2021, 1, 4), "T1")).scope == {"market": ("ATS",)}


def test_a_folder_that_is_not_there_is_a_wrong_setting(tmp_path):
    files = FinraFiles(tmp_path / "none", Captures(FolderStore(tmp_path)), StoppedClock())
    with pytest.raises(ConfigurationError, match="FINRA_FILES_DIR cannot be read") as refusal:
        files.published()
    assert refusal.value.expected == f"a readable folder at {tmp_path}/none"


def test_a_manifest_that_is_no_text_is_a_wrong_setting(files, folder):
    (folder / "manifest.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match="FINRA_FILES_DIR cannot be read"):
        files.published()


def test_a_week_without_a_file_is_refused(files, folder):
    with pytest.raises(SourceError, match="no file holds T1, week 2025-11-10") as refusal:
        files.version(Partition(MONDAY, "T1"))
    assert refusal.value.expected == f"a file of that week in {folder}"


@pytest.mark.parametrize("body", [b"", HEADER.encode(), HEADER.encode() + b"\n"])
def test_an_empty_file_is_kept_and_refused(files, folder, body):
    (folder / NAME).write_bytes(body)
    kept = []
    with pytest.raises(SourceError, match=f"{NAME} holds no rows") as refusal:
        files.extract_version(WEEK_OF_TIER, files.version(WEEK_OF_TIER), kept)
    assert refusal.value.found == f"{len(body)} bytes"
    assert [capture.body for capture in kept] == [body]


def test_a_file_that_was_cut_off_is_kept_and_refused(files, folder):
    (folder / NAME).write_bytes(BODY.rstrip(b"\n")[:-40])
    kept = []
    with pytest.raises(TransientError, match="ends within a line"):
        files.extract_version(WEEK_OF_TIER, files.version(WEEK_OF_TIER), kept)
    assert len(kept) == 1


def test_a_file_changed_since_its_version_has_moved_and_is_kept(files, folder):
    version = files.version(WEEK_OF_TIER)
    newer = BODY + b"\nOTC|ZZZ|Z|OTC LINK ECN|OTCN|1|1|2025-12-15"
    (folder / NAME).write_bytes(newer)
    kept = []
    with pytest.raises(MovedError) as moved:
        files.extract_version(WEEK_OF_TIER, version, kept)
    assert (moved.value.expected, moved.value.found) == (
        f"weekly download: {text_of('ATS', BODY)}",
        f"weekly download: {text_of('ATS', newer)}",
    )
    assert [capture.body for capture in kept] == [newer]
    assert len(files.extract_version(WEEK_OF_TIER, files.version(WEEK_OF_TIER), [])) == 1


def test_a_file_that_came_since_the_version_was_read_is_a_move(files, folder):
    version = files.version(WEEK_OF_TIER)
    (folder / "non_ats.csv").write_bytes(BODY)
    list_in_manifest(folder, "non_ats.csv,OTCE,2025-11-10,NON_ATS")
    with pytest.raises(MovedError):
        files.extract_version(WEEK_OF_TIER, version, [])


def test_a_file_that_cannot_be_read_is_refused_and_what_was_read_before_is_kept(files, folder):
    version = files.version(WEEK_OF_TIER)
    (folder / "non_ats.csv").mkdir()
    list_in_manifest(folder, "non_ats.csv,OTCE,2025-11-10,NON_ATS")
    kept = []
    with pytest.raises(SourceError, match=r"file non_ats\.csv cannot be read") as refusal:
        files.extract_version(WEEK_OF_TIER, version, kept)
    assert refusal.value.found == "no regular file"
    assert [capture.url for capture in kept] == [f"file:{NAME}"]
