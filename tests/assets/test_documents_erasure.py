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
from tests.document_loader import BOTH, DocumentLoader
from tests.document_loader import folder as folder
from tests.expecting import expect_present
from tests.resources.definitions import RESOURCES
from tests.resources.planted import flush, in_database, places_of, plant, plant_artifacts

PATH = "letter of ann.txt"
TEXT = "Dear Ann, this is the text of one letter."


class ErasingLoader(DocumentLoader):
    """A document loader that erases."""

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
        return expect_present(
            erase(
                places or self.places,
                requests.read(request_id),
                DOCUMENT,
                requests,
                clock=self.clock,
                run_id="run",
                wait_seconds=0,
            )
        )

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
def document_loader(url, folder, kept_instance) -> Iterator[ErasingLoader]:
    with dg.build_resources(RESOURCES, kept_instance) as made:
        yield ErasingLoader(folder, kept_instance, made)


@pytest.mark.slow
@BOTH
def test_a_document_that_was_planted_everywhere_is_found_nowhere(document_loader, tmp_path: Path):
    document_loader.write(other_txt="kept as it is")
    (document_loader.folder / PATH).write_text(TEXT)
    document_loader.load()
    document_id = document_loader.id_of(PATH)
    state = document_loader.places.state_folder
    plant(document_loader.warehouse, PATH)
    with document_loader.warehouse.writing() as connection:  # names of others that only resemble it
        for column in (documents_files.c.path, work_items.c.item_key):
            own = column.contains("; ")
            connection.execute(update(column.table).where(own).values({column.name: PATH + ".b"}))
        for table in tables():
            if table in DOCUMENT.unmasked and table is not documents_files:
                keys = table.primary_key.columns
                key = next(column for column in keys if isinstance(column.type, String))
                connection.execute(table.delete().where(key.contains(PATH)))
        connection.execute(captures.delete().where(captures.c.url.contains("; ")))
        connection.execute(
            work_items.update()
            .where(work_items.c.item_key == PATH + ".b")
            .values(reason=f"of {PATH} and {document_id}")
        )
    plant_artifacts(document_loader.artifacts, state, PATH)
    (state / "logs" / "ids.out").write_text(f"loaded {document_id}: {state}/{PATH}\n")
    found = document_loader.erase(PATH)
    assert found.rows.deleted.keys() >= {
        *("documents", "documents_files", "documents_pages", "documents_chunks"),
        *("captures", "deliveries", "landings", "fences", "work_items"),
    }
    flush(document_loader.warehouse)
    for text in (document_id, TEXT[:30]):
        assert places_of(text, state, document_loader.artifacts) == []
        assert in_database(document_loader.warehouse, text) == []
    assert document_loader.rows(documents_files.c.path) == [(PATH + ".b",), ("other.txt",)]
    assert {each for each in in_database(document_loader.warehouse, PATH) if "/" not in each} == {
        *("documents_files", "work_items")  # the names of others
    }
    assert document_loader.texts() == ["kept as it is"]
    [(places,)] = document_loader.rows(operations_erasures.c.not_reached)
    assert "at the latest poll, 1 files of it were there" in json.loads(places)[0]


@pytest.mark.slow
def test_no_preview_of_an_erased_document_stays_in_dagsters_log(document_loader):
    kept, letter = "it is kept as it is", 'Dear Bob, the "let\u00f6r" is in an archive'
    within = archive([("b.txt", f"{letter},\n{'and as long as this ' * 20}".encode())])
    document_loader.write(a_txt=TEXT, b_zip=within, other_txt=kept)
    document_loader.load()
    log = Path(document_loader.instance.root_directory)
    places = replace(document_loader.places, state_folder=log)
    for text in (TEXT, letter[:9], kept):
        assert places_of(text, log, document_loader.artifacts)
    for path in ("a.txt", "b.zip"):
        document_loader.erase(path, places=places)
    for text in (TEXT, letter[:9]):
        assert places_of(text, log, document_loader.artifacts) == []
    assert places_of(kept, log, document_loader.artifacts)


@pytest.mark.slow
@BOTH
def test_members_go_with_their_archive_unless_another_document_holds_them(document_loader):
    document_loader.write(
        a_zip=archive([("only.txt", b"only in a"), ("both.txt", b"in a and in b")]),
        own_txt="delivered itself",
    )
    document_loader.load()
    document_loader.write(
        b_zip=archive([("same.txt", b"in a and in b"), ("deep.zip", archive([("x", b"deep")]))]),
        c_zip=archive([("own.txt", b"delivered itself")]),
    )
    document_loader.load()
    assert len(document_loader.rows(documents_members.c.document_id)) == 6
    document_loader.erase(document_loader.id_of("a.zip"))
    assert sorted(document_loader.texts()) == ["deep", "delivered itself", "in a and in b"]
    document_loader.assert_whole()
    [parent] = [parent for parent, path in _members(document_loader) if path == "same.txt"]
    assert parent == document_loader.id_of("b.zip")
    with pytest.raises(ConfigurationError, match="lies in another one") as refusal:
        document_loader.erase("own.txt")
    assert document_loader.id_of("c.zip") in str(refusal.value)
    document_loader.erase("own.txt", document_loader.id_of("c.zip"))
    assert sorted(document_loader.texts()) == ["deep", "in a and in b"]
    document_loader.erase("b.zip")
    assert (
        document_loader.rows(documents.c.document_id)
        == document_loader.rows(captures.c.sha256)
        == []
    )


def _members(document_loader: ErasingLoader) -> list[tuple[Any, ...]]:
    with document_loader.warehouse.reading() as connection:
        wanted = select(documents.c.parent_id, documents.c.path_in_parent)
        return [tuple(row) for row in connection.execute(wanted.where(documents.c.parent_id != ""))]


@pytest.mark.slow
@pytest.mark.parametrize("url", ["sqlite", "postgresql"], indirect=True)
def test_neither_a_replay_nor_a_poll_brings_back_what_was_deleted_in_the_folder(
    document_loader, monkeypatch: pytest.MonkeyPatch
):
    document_loader.write(a_txt="first version", b_txt="another file")
    document_loader.load()
    document_loader.write(a_txt="second version, which is longer")
    document_loader.load()
    (document_loader.folder / "a.txt").unlink()
    subject = Subject(("a.txt",))
    seen = preview(document_loader.places, DOCUMENT, subject, at=document_loader.clock.now())
    assert len(document_loader.texts()) == 3
    found = document_loader.erase("a.txt")
    assert (seen.rows, seen.store) == (found.rows, found.store)
    monkeypatch.setenv("DOCUMENTS_CHUNK_WORDS", "20")
    document_loader.load()
    document_loader.load(replay=True)
    assert document_loader.texts() == ["another file"]
    assert document_loader.rows(documents_files.c.path) == [("b.txt",)]
    document_loader.assert_whole()
    document_loader.write(a_txt="first version")  # delivered again
    document_loader.load()
    assert sorted(document_loader.texts()) == ["another file", "first version"]


@pytest.mark.slow
def test_an_erasure_of_one_version_leaves_the_file_and_its_later_one(document_loader):
    document_loader.write(a_txt="first version")
    document_loader.load()
    first = document_loader.id_of("a.txt")
    document_loader.write(a_txt="second version, which is longer")
    document_loader.load()
    document_loader.erase(document_loader.id_of("a.txt"))
    assert document_loader.texts() == ["first version"]
    assert document_loader.rows(func.count(documents.c.superseded_by)) == [(0,)]
    document_loader.erase(first)
    assert document_loader.texts() == []


def test_every_column_of_a_document_s_id_is_erased():
    """A new table with rows of documents has to be listed in `ROWS_OF_DOCUMENT`."""
    named = {
        column
        for table in tables()
        for column in table.columns
        if table.name.startswith("documents")
        and column.name.endswith(("document_id", "parent_id", "similar_id", "superseded_by"))
    }
    assert named <= {*ROWS_OF_DOCUMENT, *NAMING_OTHERS}
    assert not {*ROWS_OF_DOCUMENT} & {*NAMING_OTHERS}
