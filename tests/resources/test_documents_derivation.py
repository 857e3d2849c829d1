"""Similarity of documents in both databases: pairs, groups, repeats."""

from collections.abc import Mapping
from datetime import timedelta

import pytest
from sqlalchemy import func, insert, select, update

from orchestration_project.domains.documents.fingerprints import fingerprint_of
from orchestration_project.domains.documents.tables import (
    documents,
    documents_bands,
    documents_fingerprints,
    documents_pages,
    documents_similarity,
)
from orchestration_project.resources.documents.derivation import (
    BATCH_DOCUMENTS,
    DerivedCounts,
    DocumentDerivation,
    remove_derived,
    write_fingerprints,
)
from orchestration_project.resources.documents.similarity import BUCKET_DOCUMENTS, PAIR_COUNT
from tests.resources.weeks import NOON

DERIVED = (
    documents_similarity,
    documents_fingerprints,
    documents_bands,
)
WORDS = [f"word{chr(97 + number // 26)}{chr(97 + number % 26)}" for number in range(400)]


class Library:
    """Documents of one day, whose pages a test writes."""

    def __init__(self, warehouse) -> None:
        self.warehouse = warehouse
        self.extractions = 0

    def add(self, texts: Mapping[str, str], *, run_id: str = "run", days: int = 0) -> None:
        """Write documents by id, as an extraction does; each line of a text is a page."""
        self.extractions += 1
        at = NOON + timedelta(seconds=self.extractions)
        with self.warehouse.writing() as connection:
            for document_id, text in texts.items():
                own = documents.c.document_id == document_id
                values = {"extracted_at": at, "run_id": run_id}
                if not connection.execute(update(documents).where(own).values(values)).rowcount:
                    seen = NOON - timedelta(days=days)
                    row = {"document_id": document_id, "first_seen_at": seen}
                    connection.execute(insert(documents), {**DOCUMENT, **row, **values})
                pages = documents_pages
                connection.execute(pages.delete().where(pages.c.document_id == document_id))
                for number, page in enumerate(text.split("\n"), start=1):
                    row = {"document_id": document_id, "page_number": number, "text": page}
                    connection.execute(insert(pages), {**PAGE, **row})

    def compute(self, texts: Mapping[str, str]) -> None:
        """Write fingerprints of documents, as the load of the latest extraction does."""
        at = NOON + timedelta(seconds=self.extractions)
        found = {key: fingerprint_of(text.split("\n")) for key, text in texts.items()}
        with self.warehouse.writing() as connection:
            write_fingerprints(connection, at, found)

    def derive(self, run_id: str = "run") -> DerivedCounts:
        today = NOON.date()
        return DocumentDerivation(self.warehouse, today, today, run_id).run()

    def rows(self, table) -> list[tuple]:
        with self.warehouse.reading() as connection:
            return sorted(tuple(row) for row in connection.execute(select(table)))

    def pairs(self) -> dict[tuple[str, str], float]:
        return {(row[0], row[1]): row[2] for row in self.rows(documents_similarity)}

    def check_groups(self) -> dict[str, str]:
        """Return the group of each document, by its pairs; that of its fingerprint is the same."""
        found = {}
        for one, other, _, group in self.rows(documents_similarity):
            assert found.setdefault(one, group) == found.setdefault(other, group) == group
        wanted = documents_fingerprints.c
        with self.warehouse.reading() as connection:
            rows = connection.execute(select(wanted.document_id, wanted.group_id)).all()
        assert {row[0]: row[1] for row in rows if row[1]} == found
        return found


DOCUMENT = {
    "media_type": "text/plain",
    "byte_count": 1,
    "page_count": 1,
    "word_count": 1,
    "state": "loaded",
    "rule_version": "1",
    "chunk_count": 1,
}
PAGE = {"tables": "[]", "headings": "[]", "method": "native", "capture_id": 1, "known_from": NOON}


@pytest.fixture
def library(warehouse) -> Library:
    return Library(warehouse)


def text_of(words: list[str]) -> str:
    return " ".join(words)


def changed(count: int, mark: str) -> str:
    """Return the text of 400 words of which the last ``count`` are others."""
    return text_of([*WORDS[: 400 - count], *(f"{mark}{word}" for word in WORDS[:count])])


def test_similar_documents_are_pairs_and_groups_by_their_smallest_id(library):
    library.add({"c": changed(0, ""), "b": changed(0, ""), "d": changed(40, "x"), "z": "alone"})
    library.add({"u": text_of(WORDS[::-1]), "v": f"{text_of(WORDS[::-1])} more", "e": ""})
    counts = library.derive()
    assert (counts.documents, counts.pairs, counts.cut) == (7, 4, 0)
    pairs = library.pairs()
    assert set(pairs) == {("b", "c"), ("b", "d"), ("c", "d"), ("u", "v")}
    assert pairs["b", "c"] == 1.0
    assert pairs["b", "d"] == pytest.approx(358 / 438, abs=0.15)
    assert library.check_groups() == {"b": "b", "c": "b", "d": "b", "u": "u", "v": "u"}


def test_fingerprints_of_a_load_give_what_those_of_the_pages_give(library):
    texts = {"a": changed(0, ""), "b": changed(10, "x"), "e": ""}
    library.add(texts)
    library.derive()
    wanted = [library.rows(table) for table in DERIVED]
    with library.warehouse.writing() as connection:
        remove_derived(connection, list(texts))
    library.compute(dict.fromkeys(texts, "of an earlier load that nothing was derived from"))
    library.compute(texts)
    with library.warehouse.writing() as connection:  # so that they cannot be read again
        connection.execute(documents_pages.delete())
    assert library.derive().documents == 3
    assert [library.rows(table) for table in DERIVED] == wanted


@pytest.mark.slow_on_postgresql
def test_a_fingerprint_of_an_earlier_load_does_not_count_and_one_that_is_compared_stays(library):
    library.add({"a": changed(0, ""), "b": changed(0, "")})
    library.compute({"a": "other words"})
    library.add({"a": changed(0, "")})
    assert library.derive().pairs == 1
    before = [library.rows(table) for table in DERIVED]
    library.compute({"a": "other words"})
    assert [library.rows(table) for table in DERIVED] == before
    library.add({"a": "quite other words"})
    library.compute({"a": "quite other words"})
    counts = library.derive()
    assert (counts.documents, counts.pairs_removed) == (1, 1)


def test_deriving_again_does_nothing_and_equal_text_of_a_replay_changes_no_row(library):
    library.add({"a": changed(0, ""), "b": changed(10, "x")})
    library.derive()
    before = [library.rows(table) for table in DERIVED]
    assert library.derive() == DerivedCounts()
    assert [library.rows(table) for table in DERIVED] == before
    library.add({"a": changed(0, ""), "b": changed(10, "x")})
    counts = library.derive()
    assert (counts.documents, counts.unchanged, counts.pairs) == (2, 2, 0)
    others = [table for table in DERIVED if table is not documents_fingerprints]
    assert [library.rows(table) for table in others] == [
        rows for table, rows in zip(DERIVED, before, strict=True) if table in others
    ]


@pytest.mark.slow_on_postgresql
def test_new_text_takes_old_pairs_away_and_divides_a_group(library):
    chain = {name: changed(60 * number, "x") for number, name in enumerate("abcd")}
    library.add(chain)
    library.derive()
    assert set(library.pairs()) >= {("a", "b"), ("b", "c"), ("c", "d")}
    assert ("a", "d") not in library.pairs()
    assert set(library.check_groups().values()) == {"a"}
    library.add({"b": "quite another text", "a": "nothing of before"})
    counts = library.derive()
    assert counts.pairs_removed >= 2
    assert library.check_groups() == {"c": "c", "d": "c"}
    library.add({"a": changed(60, "x")})
    library.derive()
    assert set(library.check_groups().values()) == {"a"}


def test_a_document_that_connects_two_groups_unites_them(library):
    library.add({"c": changed(0, ""), "d": changed(2, "p"), "x": changed(160, "q")})
    library.add({"y": changed(160, "q")})
    library.derive()
    assert library.check_groups() == {"c": "c", "d": "c", "x": "x", "y": "x"}
    library.add({"b": changed(80, "q")})
    library.derive()
    assert set(library.check_groups()) == set("bcdxy")
    assert set(library.check_groups().values()) == {"b"}


@pytest.mark.slow
@pytest.mark.slow_on_postgresql
def test_copies_of_a_template_are_one_group_with_a_bounded_number_of_pairs(library):
    count = BATCH_DOCUMENTS + 20
    ids = [f"{number * 37 % count:04}" for number in range(count)]
    library.add(dict.fromkeys(ids, "this template has only a few words"))
    counts = library.derive()
    assert counts.pairs == BUCKET_DOCUMENTS * (BUCKET_DOCUMENTS - 1) // 2 + PAIR_COUNT * (
        count - BUCKET_DOCUMENTS
    )
    assert counts.cut == count - BUCKET_DOCUMENTS
    assert set(library.pairs().values()) == {1.0}
    assert library.check_groups() == dict.fromkeys(sorted(ids), "0000")
    with library.warehouse.reading() as connection:
        size = connection.execute(select(func.count()).select_from(documents_bands)).scalar_one()
    assert size == BUCKET_DOCUMENTS * 32


def test_only_documents_of_the_days_and_of_the_run_are_derived(library):
    library.add({"a": "one text here"}, run_id="earlier", days=3)
    library.add({"b": "second text here"}, run_id="other")
    library.add({"c": "third text here"}, run_id="run", days=3)
    library.derive("run")
    assert {row[0] for row in library.rows(documents_fingerprints)} == {"b", "c"}


@pytest.mark.slow_on_postgresql
def test_one_batch_or_many_and_any_order_derive_the_same(library, warehouse):
    texts = {f"{number:03}": changed(number, f"m{number % 3}") for number in range(60)}
    library.add(texts)
    library.derive()
    groups = library.check_groups()
    with warehouse.writing() as connection:
        remove_derived(connection, list(texts))
    assert not any(library.rows(table) for table in DERIVED)
    for key in reversed(texts):
        library.add({key: texts[key]})
    library.derive()
    assert library.check_groups() == groups


def test_what_was_derived_of_a_removed_document_is_gone_and_others_stay(library, warehouse):
    library.add({"a": changed(0, ""), "b": changed(1, "x"), "c": changed(2, "x"), "d": "else"})
    library.derive()
    with warehouse.writing() as connection:
        remove_derived(connection, ["a", "unknown"])
    assert all("a" not in row for table in DERIVED for row in library.rows(table))
    assert library.check_groups() == {"b": "b", "c": "b"}
