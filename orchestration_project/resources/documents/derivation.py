"""Similarity of documents: derived from their pages, for those that changed.

It follows from a document's fingerprint, which is kept. A batch is one transaction, so a run that
is killed leaves whole batches, and the next run of the partition derives the rest.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import groupby
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    bindparam,
    delete,
    or_,
    select,
    union,
    update,
)

from orchestration_project.domains.documents.fingerprints import (
    Fingerprint,
    Signature,
    fingerprint_of,
    signature_of_text,
)
from orchestration_project.domains.documents.tables import (
    documents,
    documents_fingerprints,
    documents_pages,
)
from orchestration_project.engine.leases import lock_row
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.frames import insert_absent
from orchestration_project.resources.documents.items import of_days
from orchestration_project.resources.documents.similarity import (
    add_pairs,
    pieces,
    remove_pairs,
)

BATCH_DOCUMENTS = 200
"""Documents of a transaction."""

LISTED_DOCUMENTS = 50_000
"""Documents whose ids are held at a time."""

LOCK = "documents|derivation"
"""One transaction at a time compares: two that do not see each other would miss their pairs."""


@dataclass
class DerivedCounts:
    """Counts of what a run derived.

    Attributes:
        documents: Documents that were compared.
        unchanged: Those of them whose text has the words of before.
        pairs: Pairs that were added.
        pairs_removed: Pairs of earlier texts.
        cut: Documents with more similar ones than are found or kept.
    """

    documents: int = 0
    unchanged: int = 0
    pairs: int = 0
    pairs_removed: int = 0
    cut: int = 0


class DocumentDerivation:
    """Derives the similarity of the documents of some days, and of those of a run.

    Args:
        warehouse: The database.
        first: First day of first sight.
        last: Last one.
        run_id: Its documents may be of earlier days.
    """

    def __init__(self, warehouse: Warehouse, first: date, last: date, run_id: str) -> None:
        self._warehouse = warehouse
        self._chosen = (of_days(first, last), documents.c.run_id == run_id)

    def run(self) -> DerivedCounts:
        """Derive outdated documents, whose text or rules changed; a second run changes nothing."""
        counts = DerivedCounts()
        for some in self._batches(_is_outdated()):
            extracted = dict(some)
            fingerprints = self._fingerprints(list(extracted))
            with self._warehouse.writing() as connection:
                _write(connection, extracted, fingerprints, counts)
        return counts

    def _batches(self, is_wanted: ColumnElement[bool]) -> Iterator[Sequence[tuple[str, datetime]]]:
        """Yield id and time of extraction of the chosen documents for which a condition holds.

        The condition no longer holds of those that were yielded.
        """
        joined = documents.outerjoin(
            documents_fingerprints,
            documents_fingerprints.c.document_id == documents.c.document_id,
        )
        row_query = union(
            *(
                select(documents.c.document_id, documents.c.extracted_at)
                .select_from(joined)
                .where(chosen, is_wanted)
                for chosen in self._chosen
            )
        ).subquery()
        ordered = select(row_query).order_by(row_query.c.document_id).limit(LISTED_DOCUMENTS)
        while True:
            with self._warehouse.reading() as connection:
                rows = [(row[0], row[1]) for row in connection.execute(ordered)]
            yield from pieces(rows, BATCH_DOCUMENTS)
            if len(rows) < LISTED_DOCUMENTS:
                return

    def _fingerprints(self, ids: Sequence[str]) -> Mapping[str, Fingerprint]:
        """Return the fingerprint of each document: that of its load, or by its pages.

        A page at a time is in memory.
        """
        with self._warehouse.reading() as connection:
            fingerprints = _read_fingerprints(connection, ids, _is_loaded())
        return fingerprints | self._of_pages(
            [identifier for identifier in ids if identifier not in fingerprints]
        )

    def _of_pages(self, ids: Sequence[str]) -> dict[str, Fingerprint]:
        columns = documents_pages.c
        row_query = (
            select(columns.document_id, columns.text)
            .where(columns.document_id.in_(ids))
            .order_by(columns.document_id, columns.page_number)
            .execution_options(yield_per=1)
        )
        fromkeys = dict.fromkeys(ids, Fingerprint())
        with self._warehouse.reading() as connection:
            rows = connection.execute(row_query)
            for document_id, pages in groupby(rows, key=lambda row: row.document_id):
                fromkeys[document_id] = fingerprint_of(page.text for page in pages)
        return fromkeys


def remove_derived(connection: Connection, ids: Sequence[str]) -> None:
    """Delete the rows derived from documents, and their pairs with other documents."""
    lock_row(connection, LOCK)
    for some in pieces(sorted(ids), BATCH_DOCUMENTS):
        before = _read_fingerprints(connection, some, documents_fingerprints.c.is_compared)
        remove_pairs(connection, _parse_signatures(before))
        is_own = documents_fingerprints.c.document_id.in_(some)
        connection.execute(delete(documents_fingerprints).where(is_own))


def write_fingerprints(
    connection: Connection, extracted_at: datetime, found: Mapping[str, Fingerprint]
) -> None:
    """Write fingerprints that a load computed; a document that was compared keeps its own.

    Args:
        connection: Of the transaction that writes the documents.
        extracted_at: Of these documents.
        found: Fingerprints by document.
    """
    table = documents_fingerprints
    for some in pieces(sorted(found), BATCH_DOCUMENTS):
        is_own = table.c.document_id.in_(some)
        connection.execute(delete(table).where(is_own, table.c.is_compared.is_(False)))
        rows = [_build_row(key, extracted_at, found[key], is_compared=False) for key in some]
        insert_absent(connection, table, rows)


def _is_outdated() -> ColumnElement[bool]:
    columns = documents_fingerprints.c
    return or_(
        columns.document_id.is_(None),
        columns.extracted_at != documents.c.extracted_at,
        columns.is_compared.is_(False),
    )


def _is_loaded() -> ColumnElement[bool]:
    """Return whether a load wrote a fingerprint, and nothing is derived from it."""
    columns = documents_fingerprints.c
    current = select(documents.c.document_id).where(
        documents.c.document_id == columns.document_id,
        documents.c.extracted_at == columns.extracted_at,
    )
    return and_(columns.is_compared.is_(False), current.exists())


def _write(
    connection: Connection,
    extracted: Mapping[str, datetime],
    found: Mapping[str, Fingerprint],
    counts: DerivedCounts,
) -> None:
    """Write the fingerprints of documents, and pairs and groups that follow."""
    lock_row(connection, LOCK)
    before = _read_fingerprints(connection, list(found), documents_fingerprints.c.is_compared)
    changed = {key: value for key, value in found.items() if before.get(key) != value}
    earlier = {key: fingerprint for key, fingerprint in before.items() if key in changed}
    counts.documents += len(found)
    counts.unchanged += len(found) - len(changed)
    counts.pairs_removed += remove_pairs(connection, _parse_signatures(earlier))
    _write_fingerprints(connection, extracted, changed, set(before))
    pair_count, cut_count = add_pairs(connection, _parse_signatures(changed))
    counts.pairs += pair_count
    counts.cut += cut_count


def _parse_signatures(prints: Mapping[str, Fingerprint]) -> dict[str, Signature]:
    return {
        key: signature_of_text(value.signature) for key, value in prints.items() if value.signature
    }


def _read_fingerprints(
    connection: Connection, ids: Sequence[str], is_wanted: ColumnElement[bool]
) -> dict[str, Fingerprint]:
    """Return the stored fingerprints for which a condition holds."""
    columns = documents_fingerprints.c
    query = select(columns.document_id, columns.signature).where(
        columns.document_id.in_(ids), is_wanted
    )
    return {row.document_id: Fingerprint(row.signature) for row in connection.execute(query)}


def _write_fingerprints(
    connection: Connection,
    extracted: Mapping[str, datetime],
    changed: Mapping[str, Fingerprint],
    stored: set[str],
) -> None:
    """Write fingerprints that changed, and of the others which extraction they stand for."""
    table = documents_fingerprints
    is_own = table.c.document_id == bindparam("own_id")
    as_loaded = select(table.c.document_id).where(
        table.c.document_id.in_(list(changed)), _is_loaded()
    )
    entries = set(connection.execute(as_loaded).scalars())
    if entries:
        is_done = table.c.document_id.in_(sorted(entries))
        connection.execute(update(table).where(is_done).values(is_compared=True))
    rows = [
        _build_row(key, extracted[key], value, is_compared=True)
        for key, value in changed.items()
        if key not in entries
    ]
    inserted = {key for (key,) in insert_absent(connection, table, rows)}
    for row in rows:
        if row["document_id"] not in inserted:
            own = table.c.document_id == row["document_id"]
            connection.execute(update(table).where(own).values(row))
    same = [{"own_id": key, "at": extracted[key]} for key in sorted(stored - set(changed))]
    if same:
        connection.execute(update(table).where(is_own).values(extracted_at=bindparam("at")), same)


def _build_row(
    document_id: str, extracted_at: datetime, found: Fingerprint, *, is_compared: bool
) -> Mapping[str, Any]:
    return {
        "document_id": document_id,
        "extracted_at": extracted_at,
        "signature": found.signature,
        "group_id": None,
        "is_compared": is_compared,
    }
