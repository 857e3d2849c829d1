"""Reports of a run: the verdict on its documents, outcomes by media type, the first chunks."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, NamedTuple

from sqlalchemy import Connection, and_, func, or_, select

from orchestration_project.domains.documents.reasons import UNREAD_REASONS
from orchestration_project.domains.documents.tables import (
    documents,
    documents_chunks,
    documents_files,
    documents_fingerprints,
)
from orchestration_project.domains.documents.verdict import Verdict, judge
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.work_items import FAILED_STATES, SETTLED_STATES
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import ConfigurationError
from orchestration_project.resources.documents.items import of_days
from orchestration_project.resources.documents.waiting import REPLAY_PREFIX, TOPIC_PREFIX
from orchestration_project.services.exports import read_declared_exports
from orchestration_project.services.exports.work import find_overdue_exports
from orchestration_project.settings import Settings
from orchestration_project.tables.spine import work_items

TYPES_SHOWN, CHUNKS_SHOWN, PREVIEW_CHARACTERS = 50, 5, 200
MIN_PREVIEW_CHARACTERS = 20
"""Shorter texts are not shown: an erasure masks previews in Dagster's log, wherever they stand."""

PREFIXES = (f"{documents.name}_", f"v_{documents.name}_")
"""Beginnings of the names of other tables and views of documents."""

REASONS_SHOWN = 3
"""Reason codes in a message; the most frequent ones."""

STATES = ("loaded", "empty", "needs_ocr", "encrypted", "refused")


class RunDocuments(NamedTuple):
    """Documents of a run, with those within others.

    Attributes:
        by_type: Counts by media type and state, the most frequent type first.
        page_count: Their pages.
        chunk_count: Their chunks.
        first_chunks: The first chunk of some documents: file, page, words and the text's beginning
            in one line.
    """

    by_type: Sequence[Mapping[str, object]]
    page_count: int
    chunk_count: int
    first_chunks: Sequence[Mapping[str, object]]


@dataclass(frozen=True)
class SettledItems:
    """Files and recorded documents whose latest attempt was a run's.

    Attributes:
        count: How many.
        unread: Those without bytes, by reason code; they have no document.
        dead: Those that failed and are not retried, by reason code.
    """

    count: int
    unread: Mapping[str, int]
    dead: Mapping[str, int]

    @property
    def dead_in_words(self) -> str:
        """Number of files that failed and are not retried, by reason code; empty: none did."""
        if not self.dead:
            return ""
        ordered = sorted(self.dead.items(), key=lambda each: (-each[1], each[0]))
        reasons = ", ".join(f"{count} {code}" for code, count in ordered[:REASONS_SHOWN])
        other_number = sum(count for _, count in ordered[REASONS_SHOWN:])
        reasons += f", {other_number} others" if other_number else ""
        total = sum(self.dead.values())
        return f"{total} of {self.count} files failed and are not retried: {reasons}"


def settled_items(warehouse: Warehouse, first: date, last: date, run_id: str) -> SettledItems:
    """Return how the items ended that a run settled, of partitions from a first to a last one."""
    columns = work_items.c
    is_of_days = or_(
        *(
            and_(columns.topic >= f"{prefix}{first}", columns.topic <= f"{prefix}{last}")
            for prefix in (TOPIC_PREFIX, REPLAY_PREFIX)
        )
    )
    query = (
        select(columns.state, columns.reason_code, func.count())
        .where(columns.state.in_(SETTLED_STATES), is_of_days, columns.run_id == run_id)
        .group_by(columns.state, columns.reason_code)
    )
    with warehouse.reading() as connection:
        rows = [(row[0], row[1], int(row[2])) for row in connection.execute(query)]
    unread, dead = Counter[str](), Counter[str]()
    for state, code, count in rows:
        if state in FAILED_STATES and code in UNREAD_REASONS:
            unread[code] += count
        if state == "dead":
            dead[code or "no reason"] += count
    return SettledItems(sum(count for *_, count in rows), unread, dead)


def run_documents(warehouse: Warehouse, run_id: str) -> RunDocuments:
    """Return the results of a run's documents."""
    columns = documents.c
    is_own = columns.run_id == run_id
    query = (
        select(
            columns.media_type,
            columns.state,
            func.count().label("document_count"),
            func.sum(columns.page_count).label("pages"),
            func.sum(columns.chunk_count).label("chunks"),
        )
        .where(is_own)
        .group_by(columns.media_type, columns.state)
    )
    shown_query = (
        select(columns.document_id)
        .where(is_own, columns.chunk_count > 0)
        .order_by(columns.document_id)
        .limit(CHUNKS_SHOWN)
    )
    with warehouse.reading() as connection:
        rows = connection.execute(query).all()
        ids = list(connection.execute(shown_query).scalars())
        chunks = [_read_first_chunk(connection, document_id) for document_id in ids]
    by_type: dict[str, Counter[str]] = {}
    for row in rows:
        by_type.setdefault(row.media_type, Counter())[row.state] += int(row.document_count)
        by_type[row.media_type]["pages"] += int(row.pages)
    ordered = sorted(by_type.items(), key=lambda item: (-_count_documents(item[1]), item[0]))
    return RunDocuments(
        [
            {"media_type": name, **{state: counts[state] for state in (*STATES, "pages")}}
            for name, counts in ordered[:TYPES_SHOWN]
        ],
        sum(int(row.pages) for row in rows),
        sum(int(row.chunks) for row in rows),
        chunks,
    )


def _count_documents(counts: Counter[str]) -> int:
    return sum(counts[state] for state in STATES)


def _read_first_chunk(connection: Connection, document_id: str) -> Mapping[str, object]:
    columns, files = documents_chunks.c, documents_files.c
    query = (
        select(
            columns.page_number,
            columns.word_count,
            func.substr(columns.text, 1, PREVIEW_CHARACTERS).label("text"),
        )
        .where(columns.document_id == document_id)
        .order_by(columns.page_number, columns.start_offset)
        .limit(1)
    )
    path = select(func.min(files.path)).where(files.document_id == document_id)
    [row] = connection.execute(query).all()
    text = one_line(row.text)
    return {
        "file": connection.execute(path).scalar() or document_id[:12],
        "page": row.page_number,
        "words": row.word_count,
        "text": text if len(text) >= MIN_PREVIEW_CHARACTERS else "",
    }


def previews(connection: Connection, ids: Sequence[str]) -> list[str]:
    """Return the texts of documents that runs may have shown in their metadata."""
    has_chunks = select(documents.c.document_id).where(
        documents.c.document_id.in_(ids), documents.c.chunk_count > 0
    )
    first_chunks = [
        _read_first_chunk(connection, row) for row in connection.scalars(has_chunks).all()
    ]
    return [str(chunk["text"]) for chunk in first_chunks if chunk["text"]]


def one_line(text: str) -> str:
    """Return a text in one line; what is not printable is escaped."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in " ".join(text.split())
    )


def verdict_of(
    warehouse: Warehouse,
    first: date,
    last: date,
    run_id: str,
    unread: Mapping[str, int],
    overdue: Sequence[str] | None,
) -> Verdict | None:
    """Return the verdict on the delivered documents of a run; None: it had none.

    Args:
        warehouse: Has the documents.
        first: Their first partition.
        last: Their last one.
        run_id: The run.
        unread: Files that could not be read, by reason code.
        overdue: Exports of documents that are overdue, so that what was loaded does not reach
            their targets; None: documents are not exported.
    """
    columns, prints = documents.c, documents_fingerprints.c
    is_current = and_(
        prints.document_id == columns.document_id,
        prints.extracted_at == columns.extracted_at,
        prints.is_compared,
    )
    query = (
        select(
            columns.state,
            columns.reason_code,
            columns.page_count,
            columns.chunk_count,
            prints.signature.is_not(None).label("is_compared"),
        )
        .select_from(documents.outerjoin(documents_fingerprints, is_current))
        .where(of_days(first, last), columns.parent_id.is_(None), columns.run_id == run_id)
    )
    with warehouse.reading() as connection:
        rows = connection.execute(query).all()
    count = len(rows) + sum(unread.values())
    if not count:
        return None
    reached = {
        "extracted": sum(row.state in ("loaded", "empty") for row in rows),
        "normalized": sum(row.page_count > 0 for row in rows),
        "chunked": sum(row.chunk_count > 0 for row in rows),
        "similarity": sum(bool(row.is_compared) for row in rows),
    }
    if overdue is not None:
        reached["exported"] = 0 if overdue else reached["chunked"]
    reasons = Counter(row.reason_code for row in rows if row.reason_code)
    return judge(count, reached, reasons + Counter(unread), overdue or ())


def overdue_document_exports(
    warehouse: Warehouse, clock: Clock, settings: Settings
) -> Sequence[str] | None:
    """Return the names of exports of documents that are overdue; None: none is declared."""
    try:
        declared = read_declared_exports(settings)
    except ConfigurationError:
        return None  # the check of the configuration reports it
    chosen = {
        name: value
        for name, value in declared.items()
        if value.export.table == documents.name or value.export.table.startswith(PREFIXES)
    }
    if not chosen:
        return None
    return [export.name for export in find_overdue_exports(warehouse, clock, chosen)]


def as_shown(verdict: Verdict | None) -> Mapping[str, Any]:
    """Return the verdict as metadata."""
    if verdict is None:
        return {}
    return {
        "document_verdict": verdict.level,
        "document_score": round(verdict.score, 1),
        "verdict_reasons": "; ".join(verdict.reasons) or "none",
    }
