"""Inboxes for files: their declarations, names of files, and pieces of uploads."""

import pytest

from orchestration_project.engine.contracts.uploads import (
    FILE,
    FileInbox,
    Piece,
    find_name_problem,
    read_inboxes,
    read_piece,
    upload_id_of,
)
from orchestration_project.errors import ConfigurationError
from orchestration_project.tables.spine import uploads, work_items


def test_inboxes_have_the_limits_that_are_declared_and_defaults():
    read = read_inboxes("inboxes: {scans: {max_mib: 2, quota_mib: 3}, mail: {}}")
    assert read["scans"].max_bytes == 2 * 2**20
    assert read["scans"].quota_bytes == 3 * 2**20
    assert read["mail"] == FileInbox()
    assert read_inboxes("inboxes:") == {}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("inboxes: {scans: {max_mib: 0}}", "max_mib"),
        ("inboxes: {scans: {size: 1}}", "size"),
        ("inboxes: {scans: {max_mib: 0}, mail: {size: 1}}", "found 0; line 1: inboxes.mail"),
        ("inboxes:\n  mail: {}\n  Scans: {}", "line 3: 'Scans': expected a-z"),
        ("inboxes: {Scans: {}}", "'Scans': expected a-z, 0-9 and _ in a name"),
        ("inboxes: {", "line 1"),
    ],
)
def test_an_invalid_declaration_is_named(text: str, found: str):
    with pytest.raises(ConfigurationError, match="invalid inboxes for files") as refused:
        read_inboxes(text)
    assert found in str(refused.value.found)
    assert refused.value.remedy == "correct the file that INBOXES_FILE names"


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("../a b.pdf", ""),
        (" ", "expected characters other than spaces"),
        ("a\n", "expected no control characters"),
        ("a\ud800", "expected no control characters"),
        ("ä" * 500, ""),
        ("ä" * 501, "expected at most 1000 bytes in UTF-8"),
    ],
)
def test_names_are_data_of_bounded_length(name: str, problem: str):
    assert find_name_problem(name) == problem


def test_pieces_are_read_of_a_content_range():
    assert read_piece(" bytes 8-11/20 ") == Piece(8, 4, 20)
    assert read_piece("bytes 8-11/20").end == 12
    assert read_piece("bytes 7-7/8") == Piece(7, 1, 8)
    assert read_piece("bytes */20") == Piece(0, 0, 20)


NO_RANGE = "expected bytes first-last/total, or bytes */total"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", NO_RANGE),
        ("bytes 1/2", NO_RANGE),
        ("bytes ٣-4/9", NO_RANGE),
        ("bytes 3-2/4", "expected first <= last < total"),
        ("bytes 0-4/4", "expected first <= last < total"),
    ],
)
def test_another_content_range_is_refused(text: str, problem: str):
    with pytest.raises(ValueError, match="expected") as refused:
        read_piece(text)
    assert str(refused.value) == problem


def test_an_upload_is_known_by_name_and_bytes():
    assert upload_id_of("a.pdf", "aa") == "e03df502ac4a4d8d81be5526110febf5"
    assert upload_id_of("a.pdf", "aa") != upload_id_of("b.pdf", "aa")


def test_the_work_item_of_a_file_is_erased_with_it():
    key = {"inbox": "scans", "upload_id": "u1"}
    assert FILE.related is not None
    assert [*FILE.related(uploads, key)] == [
        (work_items, {"topic": "uploads/scans", "item_key": "u1"})
    ]
    assert [*FILE.related(work_items, key)] == []
