"""One document with what belongs to it: paths, children, keywords and similar documents."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, case, or_, select

from orchestration_project.domains.documents.tables import (
    documents,
    documents_files,
    documents_similarity,
)

LISTED = 100
"""Entries of each list; the tables have all."""

Row = Mapping[str, Any]


class FoundDocument(NamedTuple):
    """A document, by what tables have of it.

    Attributes:
        row: Its row of `documents`.
        paths: Where it lies, or lay.
        children: Attachments or members.
        keywords: The highest score first.
        similar: Other documents with score and group, the highest score first.
    """

    row: Row
    paths: Sequence[str]
    children: Sequence[Row]
    similar: Sequence[Row]


def read_document(connection: Connection, document_id: str) -> FoundDocument | None:
    """Return a document; None: there is none of this id."""
    columns = documents.c
    row = connection.execute(select(documents).where(columns.document_id == document_id))
    record = row.mappings().one_or_none()
    if record is None:
        return None
    files = documents_files.c
    paths = select(files.path).where(files.document_id == document_id).order_by(files.path)
    children = (
        select(columns.document_id, columns.path_in_parent, columns.media_type, columns.state)
        .where(columns.parent_id == document_id)
        .order_by(columns.path_in_parent, columns.document_id)
    )
    return FoundDocument(
        dict(record),
        list(connection.execute(paths.limit(LISTED)).scalars()),
        _read_rows(connection, children),
        _read_rows(connection, _select_similar(document_id)),
    )


def _read_rows(connection: Connection, wanted: Select[*tuple[Any, ...]]) -> list[Row]:
    return [dict(row) for row in connection.execute(wanted.limit(LISTED)).mappings()]


def _select_similar(document_id: str) -> Select[*tuple[Any, ...]]:
    pairs = documents_similarity.c
    other = case((pairs.document_id == document_id, pairs.similar_id), else_=pairs.document_id)
    return (
        select(other.label("document_id"), pairs.score, pairs.group_id)
        .where(or_(pairs.document_id == document_id, pairs.similar_id == document_id))
        .order_by(pairs.score.desc(), other)
    )
