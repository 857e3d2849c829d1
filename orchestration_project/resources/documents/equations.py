"""Equations of documents: pages and chunks of each, and where each upload is."""

from collections.abc import Iterator, Mapping, Sequence

from sqlalchemy import ColumnElement, Connection, Table, and_, exists, func, not_, or_, select

from orchestration_project.domains.documents.tables import (
    documents,
    documents_chunks,
    documents_files,
    documents_pages,
)
from orchestration_project.engine.contracts.balance import Balance
from orchestration_project.engine.contracts.uploads import TOPIC_PREFIX
from orchestration_project.engine.contracts.work_items import DONE_STATES
from orchestration_project.engine.equations import (
    BalanceFilter,
    Equation,
    SubjectBalance,
    read_places,
)
from orchestration_project.resources.documents.source import UPLOAD_PREFIX
from orchestration_project.tables.spine import uploads, work_items

MAX_BATCH_ROWS = 10_000
AFTER_SLASH = "0"
"""The character that follows a slash: texts that begin with a path and a slash are before it."""

PARTS: Mapping[str, tuple[Table, ColumnElement[int]]] = {
    "pages": (documents_pages, documents.c.page_count),
    "chunks": (documents_chunks, documents.c.chunk_count),
}
"""By equation: stored parts of a document, and the column that counts them."""


def read_parts(connection: Connection, chosen: BalanceFilter) -> Iterator[SubjectBalance]:
    """Yield of each document: pages and chunks that its extraction counted = those stored."""
    stored = [
        select(func.count()).where(table.c.document_id == documents.c.document_id).scalar_subquery()
        for table, _ in PARTS.values()
    ]
    counted = [column for _, column in PARTS.values()]
    statement = (
        select(documents.c.document_id, *counted, *stored)
        .where(chosen.holds(documents.c.extracted_at))
        .execution_options(yield_per=MAX_BATCH_ROWS)
    )
    for document_id, *numbers in map(tuple, connection.execute(statement)):
        for name, came_in, count in zip(PARTS, numbers[:2], numbers[2:], strict=True):
            balance = Balance(name, came_in, {"stored": count})
            yield SubjectBalance(documents.name, document_id, balance)


def read_uploads(connection: Connection, chosen: BalanceFilter) -> Iterator[SubjectBalance]:
    """Return the equation of each inbox of uploads.

    An upload has a work item of its inbox, or the row of a file that documents took it as.
    """
    is_chosen = chosen.holds(uploads.c.received_at)
    return read_places(connection, "uploads", uploads.c.inbox, _build_places(), is_chosen)


def _build_places() -> dict[str, ColumnElement[bool]]:
    """Return the condition of each place; an upload is at one, unless it was lost."""
    refused = exists().where(_is_file(["loaded"]), documents_files.c.document_id.is_(None))
    loaded = exists().where(_is_file(["loaded"]))
    listed = exists().where(_is_file(["seen", "stable", "changed"]))
    return {
        "stored": or_(_has_item(*DONE_STATES), and_(loaded, not_(refused))),
        "refused": or_(_has_item("dead"), refused),
        "waiting": or_(
            _has_item("ready", "leased", "failed"),
            and_(not_(loaded), listed),
        ),
    }


def _has_item(*states: str) -> ColumnElement[bool]:
    is_in_inbox = work_items.c.topic == TOPIC_PREFIX + uploads.c.inbox
    is_own = and_(is_in_inbox, work_items.c.item_key == uploads.c.upload_id)
    return exists().where(is_own, work_items.c.state.in_(states))


def _is_file(states: Sequence[str]) -> ColumnElement[bool]:
    folder = UPLOAD_PREFIX + uploads.c.inbox + "/" + uploads.c.upload_id
    path = documents_files.c.path
    condition = and_(path > folder + "/", path < folder + AFTER_SLASH)
    return and_(condition, documents_files.c.state.in_(states))


EQUATIONS = [
    Equation(
        name="pages, chunks",
        meaning="pages and chunks that the extraction of a document counted = those stored",
        table_names=[documents.name],
        read=read_parts,
    ),
    Equation(
        name="uploads",
        meaning="accepted uploads of an inbox = stored + refused + waiting",
        table_names=[uploads.name],
        read=read_uploads,
    ),
]
