"""Rows that an erasure of a document deletes: its own, its members', and those of its bytes.

The captured bytes of an archive or mail hold all its members. So a member that another document
holds, too, stays and leads to the bytes of that one; and a document that lies in another is erased
with that one only.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import Column, Connection, Table, select, update

from orchestration_project.domains.documents.tables import (
    documents,
    documents_bands,
    documents_chunks,
    documents_files,
    documents_fingerprints,
    documents_members,
    documents_pages,
    documents_similarity,
)
from orchestration_project.engine.contracts.subjects import FoundSubject, Key, SubjectKind
from orchestration_project.engine.contracts.uploads import TOPIC_PREFIX as UPLOADS_PREFIX
from orchestration_project.engine.leases import lock_row
from orchestration_project.engine.work_items import KEYS_PER_STATEMENT
from orchestration_project.errors import ConfigurationError
from orchestration_project.resources.documents.derivation import remove_derived
from orchestration_project.resources.documents.reporting import previews
from orchestration_project.resources.documents.source import is_upload, path_text
from orchestration_project.resources.documents.waiting import REPLAY_PREFIX, TOPIC_PREFIX
from orchestration_project.tables.catalogue import tables
from orchestration_project.tables.schema import HISTORY
from orchestration_project.tables.spine import captures, deliveries, uploads, work_items

DOCUMENT_ID = re.compile("[0-9a-f]{64}", re.ASCII)
"""An identifier that is a document_id; any other is a path."""

ROWS_OF_DOCUMENT: Sequence[Column[Any]] = (
    documents.c.document_id,
    documents_bands.c.document_id,
    documents_chunks.c.document_id,
    documents_files.c.document_id,
    documents_fingerprints.c.document_id,
    documents_members.c.document_id,
    documents_members.c.parent_id,
    documents_pages.c.document_id,
    documents_pages.info[HISTORY].c.document_id,
    documents_similarity.c.document_id,
    documents_similarity.c.similar_id,
)
"""Columns with the ID of a document whose rows are deleted with it."""

NAMING_OTHERS: Sequence[Column[Any]] = (
    documents.c.parent_id,
    documents.c.superseded_by,
    documents_fingerprints.c.group_id,
    documents_similarity.c.group_id,
)
"""Columns in which rows of other documents name one: they are changed."""

FILE_NOT_REACHED = (
    "the file itself, in the folder or bucket of documents: the next poll loads it again unless it "
    "was deleted there first"
)

PREVIEWS_NOT_REACHED = "previews in Dagster's log of chunks that earlier rules had cut"

OTHERS_NOT_REACHED = "text of other documents, and captured bytes, that mention it"


def _select_paths(identifiers: Sequence[str]) -> list[str]:
    """Return the identifiers that are paths, also as `documents_files` writes them."""
    paths = [identifier for identifier in identifiers if not DOCUMENT_ID.fullmatch(identifier)]
    return list(dict.fromkeys([*paths, *map(path_text, paths)]))


def _select_ids(identifiers: Sequence[str]) -> list[str]:
    return [identifier for identifier in identifiers if DOCUMENT_ID.fullmatch(identifier)]


def find_document(connection: Connection, identifiers: Sequence[str]) -> FoundSubject:
    """Return the IDs of all documents that were read from given paths, and the paths of these.

    With them come the texts of which runs have shown a preview, also of members.
    """
    columns, paths = documents_files.c, _select_paths(identifiers)
    ids = dict.fromkeys(_select_ids(identifiers))
    for some in _split_batches(paths):
        of_file = select(columns.document_id).where(
            columns.path.in_(some), columns.document_id.is_not(None)
        )
        ids |= dict.fromkeys(connection.scalars(of_file))
        read = select(captures.c.partition_key).where(
            captures.c.request.in_([json.dumps({"file": path}) for path in some]),
            captures.c.partition_key == captures.c.sha256,
        )
        ids |= dict.fromkeys(connection.scalars(read))
    here: list[str] = []
    for some in _split_batches(list(ids)):
        files = select(columns.path, columns.state).where(columns.document_id.in_(some))
        for path, state in connection.execute(files):
            paths.append(path)
            here += [path] if state != "gone" and not is_upload(path) else []
    places = [FILE_NOT_REACHED, OTHERS_NOT_REACHED, PREVIEWS_NOT_REACHED]
    if here:
        places[0] += f"; at the latest poll, {len(here)} files of it were there"
    names: list[str] = []
    for some in _split_batches(_add_members(connection, list(ids))[0]):
        names += previews(connection, some)
    return FoundSubject(list(dict.fromkeys([*ids, *paths, *names])), places)


def rows_of_document(
    connection: Connection, identifiers: Sequence[str]
) -> Iterable[tuple[Table, Key]]:
    """Yield the rows of documents and paths, and of members that no other document holds.

    Rows of others that name the documents are changed: members that stay lead to another document
    that holds them.

    Raises:
        ConfigurationError: Another document holds one of them: its bytes have it, too.
    """
    lock_row(connection, documents_files.name)  # no poll writes a row that it has read before
    given_names, paths = _select_ids(identifiers), _select_paths(identifiers)
    _require_alone(connection, given_names)
    going, staying = _add_members(connection, given_names)
    for member, holders in staying.items():
        if not _move(connection, member, holders, going):
            going.append(member)
    _forget(connection, going)
    remove_derived(connection, going)
    yield from (
        (column.table, {column.name: name}) for column in ROWS_OF_DOCUMENT for name in going
    )
    yield from ((documents_files, {"path": path}) for path in paths)
    yield from _find_work_items(connection, TOPIC_PREFIX, [*paths, *_find_paths(connection, going)])
    yield from _find_work_items(connection, REPLAY_PREFIX, going)
    for some in _split_batches(going):
        query = select(captures.c.capture_id).where(
            captures.c.partition_key.in_(some), _is_of_documents()
        )
        yield from ((captures, {"capture_id": scalar}) for scalar in connection.scalars(query))
        sent = select(uploads.c.inbox, uploads.c.upload_id).where(uploads.c.sha256.in_(some))
        for inbox, upload_id in connection.execute(sent).all():
            yield uploads, {"inbox": inbox, "upload_id": upload_id}
            yield work_items, {"topic": UPLOADS_PREFIX + inbox, "item_key": upload_id}


def _is_of_documents() -> Any:
    """Return the condition of captures that pages of documents were read from."""
    groups = select(deliveries.c.group_id).where(deliveries.c.table_name == documents_pages.name)
    return captures.c.group_id.in_(groups)


def _require_alone(connection: Connection, ids: Sequence[str]) -> None:
    columns = documents_members.c
    for some in _split_batches(ids):
        row_query = select(columns.parent_id).where(
            columns.document_id.in_(some), columns.parent_id.not_in(some)
        )
        holders = sorted(set(connection.scalars(row_query.limit(KEYS_PER_STATEMENT))))
        if holders:
            raise ConfigurationError(
                "the document lies in another one, whose bytes cannot be cut",
                expected="the documents that hold it erased before",
                found=f"it lies in {', '.join(holders[:3])}",
                remedy="erase these first, or with it: each ID in a line of the file",
            )


def _add_members(
    connection: Connection, ids: Sequence[str]
) -> tuple[list[str], dict[str, set[str]]]:
    """Return documents with all that lies in them alone, and others in them by what holds them."""
    going, held_names = dict.fromkeys(ids), dict[str, set[str]]()
    waiting = list(ids)
    while waiting:
        waiting = [member for member in _find_members(connection, waiting) if member not in going]
        held_names |= _find_holders(connection, waiting)
        waiting = [
            name for name in held_names if name not in going and held_names[name] <= going.keys()
        ]
        going |= dict.fromkeys(waiting)
    staying = {name: held_names[name] - going.keys() for name in held_names if name not in going}
    return list(going), staying


def _find_members(connection: Connection, ids: Sequence[str]) -> list[str]:
    columns = documents_members.c
    values: dict[str, None] = {}
    for some in _split_batches(ids):
        within = select(columns.document_id).where(columns.parent_id.in_(some)).distinct()
        values |= dict.fromkeys(connection.scalars(within.order_by(columns.document_id)))
    return list(values)


def _find_holders(connection: Connection, ids: Sequence[str]) -> dict[str, set[str]]:
    """Return the holders of each member: other documents, or itself if its own bytes were read."""
    columns = documents_members.c
    holders: dict[str, set[str]] = {identifier: set() for identifier in ids}
    for some in _split_batches(ids):
        pairs = select(columns.document_id, columns.parent_id).where(columns.document_id.in_(some))
        for document_id, parent_id in connection.execute(pairs):
            holders[document_id].add(parent_id)
        query = select(captures.c.sha256).where(
            captures.c.sha256.in_(some), captures.c.partition_key == captures.c.sha256
        )
        for document_id in connection.scalars(query):
            holders[document_id].add(document_id)
    return holders


def _move(
    connection: Connection, member: str, holders: Iterable[str], going: Sequence[str]
) -> bool:
    """Have a member that stays name another document that holds it; return whether there is one."""
    columns, texts = captures.c, set(going)
    names = ("sha256", "url", "request", "source", "fetched_at", "run_id")
    statement = (
        select(columns.partition_key, *(columns[name] for name in names))
        .where(columns.partition_key.in_(sorted(holders)), _is_of_documents())
        .order_by(columns.fetched_at.desc(), columns.capture_id)
    )
    rows = [record for record in connection.execute(statement).all() if record.sha256 not in texts]
    if not rows:
        return False
    values = {name: getattr(rows[0], name) for name in names}
    is_own = columns.partition_key == member
    for some in _split_batches(going):
        is_same = is_own & columns.sha256.in_(some)
        connection.execute(update(captures).where(is_same).values(values))
    holder = rows[0].partition_key
    name = select(documents_members.c.path_in_parent).where(
        documents_members.c.parent_id == holder, documents_members.c.document_id == member
    )
    is_itself = holder == member
    parent = {
        "parent_id": None if is_itself else holder,
        "path_in_parent": None if is_itself else connection.scalars(name.limit(1)).first(),
    }
    row = documents.c
    for some in _split_batches(going):
        lay_in_it = (row.document_id == member) & row.parent_id.in_(some)
        connection.execute(update(documents).where(lay_in_it).values(parent))
    return True


def _forget(connection: Connection, going: Sequence[str]) -> None:
    """Clear the name of a document where it took another's place."""
    for some in _split_batches(going):
        column = documents.c.superseded_by
        connection.execute(update(documents).where(column.in_(some)).values(superseded_by=None))


def _find_paths(connection: Connection, ids: Sequence[str]) -> list[str]:
    columns = documents_files.c
    return [
        path
        for some in _split_batches(ids)
        for path in connection.scalars(select(columns.path).where(columns.document_id.in_(some)))
    ]


def _find_work_items(
    connection: Connection, prefix: str, keys: Sequence[str]
) -> Iterator[tuple[Table, Key]]:
    columns = work_items.c
    for some in _split_batches(keys):
        row_query = select(columns.topic, columns.item_key).where(
            columns.item_key.in_(some), columns.topic.startswith(prefix, autoescape=True)
        )
        for row in connection.execute(row_query).all():
            yield work_items, dict(row._mapping)


def _split_batches(values: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(values), KEYS_PER_STATEMENT):
        yield values[start : start + KEYS_PER_STATEMENT]


DOCUMENT = SubjectKind(
    name="document",
    description="document_id, or path of its file: of a path, all its versions",
    find=find_document,
    rows=rows_of_document,
    unmasked={
        *(table for table in tables() if table.name.startswith(documents.name)),
        *(captures.c.url, captures.c.request, work_items.c.item_key),
    },
    is_masked_in_captures=False,
)
"""Documents, for erasures. Bytes and text of others stay as they are."""
