"""Bad input through the load: each row ends with its reason code, and none stops the batch."""

import os
from collections.abc import Iterable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from orchestration_demo.documents.packages import archive
from sqlalchemy import select

from orchestration_project.assets.documents import loading as assets
from orchestration_project.domains.documents.reasons import REASONS
from orchestration_project.domains.documents.tables import documents
from orchestration_project.resources.documents.extraction import Extraction
from orchestration_project.tables.spine import balances, work_items
from tests import databases
from tests.assets.bad_documents import (
    CHANGING,
    FILES,
    GONE,
    GOOD,
    OUTSIDE,
    READER_ENDS,
    RENAMED,
    BadInput,
    write_good,
)
from tests.assets.test_documents import DAY, folder, outcomes, run, tick
from tests.resources.document_functions import lose_pages, misbehave

__all__ = ["folder"]


@pytest.fixture
def extract_by(monkeypatch: pytest.MonkeyPatch):
    """Have files extracted by a function of the tests."""

    def extract(function: Any) -> None:
        monkeypatch.setattr(assets, "Extraction", partial(Extraction, function=function))

    return extract


def ends(url: str) -> dict[str, tuple[str, str, str]]:
    """Return of each path the states of its document and of its item, and the reason code."""
    columns = work_items.c
    items = databases.rows(url, select(columns.item_key, columns.state, columns.reason_code))
    of_documents = outcomes(url)
    found: dict[str, tuple[str, str, str]] = {}
    for path, item, item_code in items:
        state, code = of_documents.get(path, ("", item_code or ""))
        found[path] = (state, item, code)
    return found


def assert_ends(url: str, rows: Iterable[BadInput]) -> None:
    """Assert that each row ended with its reason code, and none as a success that it is not."""
    found = ends(url)
    inner = databases.rows(
        url, select(documents.c.reason_code).where(documents.c.parent_id.is_not(None))
    )
    for row in rows:
        state, item, code = found[row.path]
        if row.is_within:
            assert (row.reason_code,) in inner, row
            continue
        assert code == row.reason_code, (row, found[row.path])
        reason = REASONS.get(code)
        expected = reason.state if reason else "loaded"
        assert state in (expected, ""), row  # nothing is known of a file that was not read
        assert (item in ("failed", "dead")) == (expected not in ("loaded", "empty")), row
    assert found[GOOD] == ("loaded", "done", "")


@pytest.mark.slow
def test_each_bad_file_ends_with_its_reason_code_and_none_stops_the_others(
    url, folder: Path, instance, monkeypatch: pytest.MonkeyPatch
):
    (folder.parent / OUTSIDE).write_text("not to be read")
    for row in FILES:
        row.write(folder)
    write_good(folder)
    assert tick(instance) == [DAY]
    (folder / GONE).unlink()
    (folder / RENAMED).rename(folder / "new-name.txt")
    monkeypatch.setattr(os, "read", partial(grown_and_read, os.read, folder / CHANGING))
    run(instance)
    assert_ends(url, FILES)
    assert ends(url)["new-name.txt"] == ("loaded", "done", "")


def grown_and_read(read: Any, file: Path, descriptor: int, size: int) -> bytes:
    """Read as `os.read`; a file grows before, as by a program that still writes it."""
    if os.path.realpath(f"/proc/self/fd/{descriptor}") == str(file):
        with file.open("ab") as writing:
            writing.write(b" and more")
    return read(descriptor, size)


@pytest.mark.slow
def test_what_a_file_does_to_its_reader_is_its_reason_and_the_others_are_loaded(
    url, folder: Path, instance, extract_by, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DOCUMENTS_MEMORY_MIB", "256")
    extract_by(misbehave)
    hanging, *others = READER_ENDS
    hanging.write(folder)
    with monkeypatch.context() as soon:  # no other file is to be late
        soon.setattr(assets, "FILE_TIME", timedelta(seconds=0.5))
        assert tick(instance) == [DAY]
        run(instance)
    for row in others:
        row.write(folder)
    write_good(folder)
    assert tick(instance) == [DAY]
    run(instance)
    assert_ends(url, READER_ENDS)


@pytest.mark.slow
def test_a_document_that_lost_parts_is_quarantined_with_its_numbers(
    url, folder: Path, instance, extract_by
):
    (folder / "lossy.txt").write_text("three words lost")
    (folder / "a.zip").write_bytes(archive([("lossy.txt", b"these are four words")]))
    (folder / "whole.txt").write_text("two words")
    extract_by(lose_pages)
    assert tick(instance) == [DAY]
    run(instance)
    item = work_items.c
    items = databases.rows(url, select(item.item_key, item.state, item.reason))
    ended = {path: (state, reason or "") for path, state, reason in items}
    assert {path: state for path, (state, _) in ended.items()} == {
        "lossy.txt": "dead",
        "a.zip": "dead",
        "whole.txt": "done",
    }
    assert "parts: 3 != 0 words" in ended["lossy.txt"][1]
    assert "parts: 4 != 0 words" in ended["a.zip"][1]
    recorded = balances.c
    stored = select(recorded.came_in, recorded.went_to).where(recorded.state == "unbalanced")
    assert sorted(databases.rows(url, stored)) == [(3, '{"words": 0}'), (4, '{"words": 0}')]
