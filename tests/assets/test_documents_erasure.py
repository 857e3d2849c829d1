"""Erasure of a document: its rows, members and bytes go, and what others hold stays."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from orchestration_demo.documents.packages import archive
from sqlalchemy import String, func, select, update

from orchestration_project.domains.documents.tables import (
    documents,
    documents_files,
    documents_members,
    documents_pages,
)
from orchestration_project.errors import ConfigurationError
from orchestration_project.resources.documents.erasure import (
    DOCUMENT,
    NAMING_OTHERS,
    ROWS_OF_DOCUMENT,
)
from orchestration_project.services.erasure.erasing import Erased, Places, erase, preview
from orchestration_project.services.erasure.requests import ErasureRequests
from orchestration_project.services.erasure.rules import Subject
from orchestration_project.services.inventory import take_inventory
from orchestration_project.settings import load_settings
from orchestration_project.tables.catalogue import tables
from orchestration_project.tables.erasures import operations_erasures
from orchestration_project.tables.spine import captures, work_items
from tests import databases
from tests.document_desk import BOTH, DocumentDesk
from tests.document_desk import folder as folder
from tests.resources.definitions import RESOURCES
from tests.resources.planted import flush, in_database, places_of, plant, plant_artifacts

PATH = "letter of ann.txt"
TEXT = "Dear Ann, this is the text of one letter."


class Desk(DocumentDesk):
    """A desk that erases."""

    @property
    def places(self) -> Places:
        """Where an erasure looks."""
        return Places(
            *(self.warehouse, self.artifacts, self.instance, load_settings().state_path),
            only_database=True,
            log_keep_days=30,
        )

    def erase(self, *identifiers: str, places: Places | None = None) -> Erased:
        requests = ErasureRequests(self.warehouse, self.clock)
        request_id = requests.add(
            "documents/document", identifiers, user_name="ada", reason="asked for"
        )
        found = erase(
            places or self.places,
            requests.read(request_id),
            DOCUMENT,
            requests,
            clock=self.clock,
            run_id="run",
            wait_seconds=0,
        )
        assert found
        return found

    def assert_whole(self, *, has_planted_rows: bool = False) -> None:
        """The store has all bytes that rows name and no others, and rows fit their chain."""
        inventory = take_inventory(self.warehouse, self.artifacts, read_all=True)
        assert (inventory.found.missing, inventory.found.unnamed, inventory.changed) == ([], [], [])
        held = {sha256 for (sha256,) in self.rows(captures.c.sha256)}
        named = self.rows(documents_pages.c.capture_id)
        assert named
        assert {each for (each,) in named} <= {each for (each,) in self.rows(captures.c.capture_id)}
        assert inventory.read_count == len(held)
        assert has_planted_rows or databases.chain_problems(self.warehouse) == []


@pytest.fixture
def desk(url, folder, kept_instance) -> Iterator[Desk]:
    with dg.build_resources(RESOURCES, kept_instance) as made:
        yield Desk(folder, kept_instance, made)


@pytest.mark.slow
@BOTH
def test_a_document_that_was_planted_everywhere_is_found_nowhere(desk, tmp_path: Path):
    desk.write(other_txt="kept as it is")
    (desk.folder / PATH).write_text(TEXT)
    desk.load()
    document_id = desk.id_of(PATH)
    state = desk.places.state_folder
    plant(desk.warehouse, PATH)
    with desk.warehouse.writing() as connection:  # names of others that only resemble it
        for column in (documents_files.c.path, work_items.c.item_key):
            own = column.contains("; ")
            connection.execute(update(column.table).where(own).values({column.name: PATH + ".b"}))
        for each in tables():
            if each in DOCUMENT.unmasked and each is not documents_files:
                keys = each.primary_key.columns
                key = next(column for column in keys if isinstance(column.type, String))
                connection.execute(each.delete().where(key.contains(PATH)))
        connection.execute(captures.delete().where(captures.c.url.contains("; ")))
        connection.execute(
            work_items.update()
            .where(work_items.c.item_key == PATH + ".b")
            .values(reason=f"of {PATH} and {document_id}")
        )
    plant_artifacts(desk.artifacts, state, PATH)
    (state / "logs" / "ids.out").write_text(f"loaded {document_id}: {state}/{PATH}\n")
    found = desk.erase(PATH)
    assert found.rows.deleted.keys() >= {
        *("documents", "documents_files", "documents_pages", "documents_chunks"),
        *("captures", "deliveries", "landings", "fences", "work_items"),
    }
    flush(desk.warehouse)
    for text in (document_id, TEXT[:30]):
        assert places_of(text, state, desk.artifacts) == []
        assert in_database(desk.warehouse, text) == []
    assert desk.rows(documents_files.c.path) == [(PATH + ".b",), ("other.txt",)]
    assert {each for each in in_database(desk.warehouse, PATH) if "/" not in each} == {
        *("documents_files", "work_items")  # the names of others
    }
    assert desk.texts() == ["kept as it is"]
    [(places,)] = desk.rows(operations_erasures.c.not_reached)
    assert "at the latest poll, 1 files of it were there" in json.loads(places)[0]


@pytest.mark.slow
def test_no_preview_of_an_erased_document_stays_in_dagsters_log(desk):
    kept, letter = "it is kept as it is", 'Dear Bob, the "let\u00f6r" is in an archive'
    within = archive([("b.txt", f"{letter},\n{'and as long as this ' * 20}".encode())])
    desk.write(a_txt=TEXT, b_zip=within, other_txt=kept)
    desk.load()
    log = Path(desk.instance.root_directory)
    places = replace(desk.places, state_folder=log)
    for text in (TEXT, letter[:9], kept):
        assert places_of(text, log, desk.artifacts)
    for path in ("a.txt", "b.zip"):
        desk.erase(path, places=places)
    for text in (TEXT, letter[:9]):
        assert places_of(text, log, desk.artifacts) == []
    assert places_of(kept, log, desk.artifacts)


@pytest.mark.slow
@BOTH
def test_members_go_with_their_archive_unless_another_document_holds_them(desk):
    desk.write(
        a_zip=archive([("only.txt", b"only in a"), ("both.txt", b"in a and in b")]),
        own_txt="delivered itself",
    )
    desk.load()
    desk.write(
        b_zip=archive([("same.txt", b"in a and in b"), ("deep.zip", archive([("x", b"deep")]))]),
        c_zip=archive([("own.txt", b"delivered itself")]),
    )
    desk.load()
    assert len(desk.rows(documents_members.c.document_id)) == 6
    desk.erase(desk.id_of("a.zip"))
    assert sorted(desk.texts()) == ["deep", "delivered itself", "in a and in b"]
    desk.assert_whole()
    [parent] = [parent for parent, path in _members(desk) if path == "same.txt"]
    assert parent == desk.id_of("b.zip")
    with pytest.raises(ConfigurationError, match="lies in another one") as refusal:
        desk.erase("own.txt")
    assert desk.id_of("c.zip") in str(refusal.value)
    desk.erase("own.txt", desk.id_of("c.zip"))
    assert sorted(desk.texts()) == ["deep", "in a and in b"]
    desk.erase("b.zip")
    assert desk.rows(documents.c.document_id) == desk.rows(captures.c.sha256) == []


def _members(desk: Desk) -> list[tuple[Any, ...]]:
    with desk.warehouse.reading() as connection:
        wanted = select(documents.c.parent_id, documents.c.path_in_parent)
        return [tuple(row) for row in connection.execute(wanted.where(documents.c.parent_id != ""))]


@pytest.mark.slow
@pytest.mark.parametrize("url", ["sqlite", "postgresql"], indirect=True)
def test_neither_a_replay_nor_a_poll_brings_back_what_was_deleted_in_the_folder(
    desk, monkeypatch: pytest.MonkeyPatch
):
    desk.write(a_txt="first version", b_txt="another file")
    desk.load()
    desk.write(a_txt="second version, which is longer")
    desk.load()
    (desk.folder / "a.txt").unlink()
    subject = Subject(("a.txt",))
    seen = preview(desk.places, DOCUMENT, subject, at=desk.clock.now())
    assert len(desk.texts()) == 3
    found = desk.erase("a.txt")
    assert (seen.rows, seen.store) == (found.rows, found.store)
    monkeypatch.setenv("DOCUMENTS_CHUNK_WORDS", "20")
    desk.load()
    desk.load(replay=True)
    assert desk.texts() == ["another file"]
    assert desk.rows(documents_files.c.path) == [("b.txt",)]
    desk.assert_whole()
    desk.write(a_txt="first version")  # delivered again
    desk.load()
    assert sorted(desk.texts()) == ["another file", "first version"]


@pytest.mark.slow
def test_an_erasure_of_one_version_leaves_the_file_and_its_later_one(desk):
    desk.write(a_txt="first version")
    desk.load()
    first = desk.id_of("a.txt")
    desk.write(a_txt="second version, which is longer")
    desk.load()
    desk.erase(desk.id_of("a.txt"))
    assert desk.texts() == ["first version"]
    assert desk.rows(func.count(documents.c.superseded_by)) == [(0,)]
    desk.erase(first)
    assert desk.texts() == []


def test_every_column_of_a_document_s_id_is_erased():
    """A new table with rows of documents has to be listed in `ROWS_OF_DOCUMENT`."""
    named = {
        column
        for each in tables()
        for column in each.columns
        if each.name.startswith("documents")
        and column.name.endswith(("document_id", "parent_id", "similar_id", "superseded_by"))
    }
    assert named <= {*ROWS_OF_DOCUMENT, *NAMING_OTHERS}
    assert not {*ROWS_OF_DOCUMENT} & {*NAMING_OTHERS}
