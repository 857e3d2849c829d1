"""Loads files of documents by the day of their first sight."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import date, timedelta
from functools import cache, partial
from typing import Any, NamedTuple

import dagster as dg
import polars as pl

from orchestration_project.assets.documents.catalogue import (
    CAPTURE,
    CHUNK_SOURCES,
    CHUNKS,
    DAYS,
    FILES,
    GROUP,
    PAGES,
    table_spec,
)
from orchestration_project.assets.documents.checks import record_fail_on
from orchestration_project.assets.documents.derivation import derive_documents
from orchestration_project.domains.documents.chunks import ChunkRule
from orchestration_project.domains.documents.extracted import MIB, Limits
from orchestration_project.domains.documents.options import (
    DOCUMENTS_LOADING,
    LOAD_JOB,
    LOAD_OP,
    DocumentsLoad,
)
from orchestration_project.domains.documents.rows import PAGE_COLUMNS, rule_version
from orchestration_project.domains.documents.settings import DocumentsSettings
from orchestration_project.domains.documents.tables import documents as documents_table
from orchestration_project.domains.documents.tables import (
    documents_chunks,
    documents_files,
    documents_pages,
)
from orchestration_project.engine.captures import Captures
from orchestration_project.engine.connections.artifacts import ArtifactStore
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.job_options import job_text
from orchestration_project.engine.leases import is_at_work
from orchestration_project.engine.options import config_of, describe_defaults
from orchestration_project.engine.replay_plans import Replay, ReplayFilter
from orchestration_project.engine.run_items import ItemBatches, run_items
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.resources.documents.arrivals import open_arrivals
from orchestration_project.resources.documents.extraction import (
    ClaimedDocument,
    DocumentExtractor,
    Extraction,
    Reading,
)
from orchestration_project.resources.documents.items import (
    NOT_READ,
    OUTCOMES,
    DocumentQueue,
    DocumentSummary,
    FileReader,
    RecordedReader,
    count_current,
    enqueue_outdated,
    record_files,
    record_nothing,
)
from orchestration_project.resources.documents.loading import AfterLoad, DocumentLoader
from orchestration_project.resources.documents.replay import plan_replay
from orchestration_project.resources.documents.reporting import RunDocuments, run_documents
from orchestration_project.resources.documents.setups import reader_settings
from orchestration_project.resources.documents.source import DocumentSource
from orchestration_project.resources.documents.waiting import (
    LISTED_PAGES,
    REPLAY_PREFIX,
    file_items,
    topic_of,
)
from orchestration_project.services.metadata import quoted_table, table_of
from orchestration_project.services.presets import Presets, RunPresets
from orchestration_project.settings import load_shared_settings

describe_defaults(DocumentsLoad, DOCUMENTS_LOADING.default_texts(load_shared_settings()))

DOCUMENTS_CONFIG = config_of(DocumentsLoad)

FILE_TIME = timedelta(minutes=2)
"""Time after which the process that reads a file is killed."""

MAX_FILES_PER_BATCH, MAX_FILES_PER_RUN = 200, 100_000

MEMORY_SHARE = 8
"""A file may have one in so many of the bytes of memory: it is held several times over."""

TEXT_FACTOR = 2
"""Characters of text for each byte that a file may have: lines of JSON have paths."""

RESULT_SHARE = 2
"""A result may have one in so many of the bytes of memory."""


class _Work(NamedTuple):
    """Topic, queue and functions of the loader of a partition, for a load or a replay."""

    topic: str
    items: DocumentQueue
    read: Callable[[ClaimedDocument], Reading]
    note: AfterLoad
    enqueue: Callable[[], object]


@dg.multi_asset(
    name=LOAD_OP,
    specs=[
        table_spec(CAPTURE, documents_table, "state", FILES),
        table_spec(
            PAGES,
            documents_pages,
            "silver",
            CAPTURE,
            dict.fromkeys(PAGE_COLUMNS, "document_id"),
        ),
        table_spec(CHUNKS, documents_chunks, "gold", PAGES, CHUNK_SOURCES),
    ],
    partitions_def=DAYS,
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def load_documents(
    context: dg.AssetExecutionContext,
    config: DOCUMENTS_CONFIG,  # pyright: ignore[reportInvalidTypeForm] - a class of these options
    artifacts: dg.ResourceParam[ArtifactStore],
    clock: dg.ResourceParam[Clock],
    documents: dg.ResourceParam[DocumentSource],
    settings: dg.ResourceParam[DocumentsSettings],
    warehouse: dg.ResourceParam[Warehouse],
) -> Iterator[dg.MaterializeResult[Any]]:
    """Capture, extract and load the files of each day that are due, or replay its documents."""
    captures, summary = Captures(artifacts), DocumentSummary()
    presets = Presets(warehouse, clock)
    of_run = RunPresets(context.instance, context.run.run_id, settings, presets)
    values = of_run.values(DOCUMENTS_LOADING, config)
    record_fail_on(context.instance, context.run.run_id, values["fail_on"])
    applied = presets.in_force(LOAD_JOB)
    rule = ChunkRule(values["chunk_words"], values["chunk_overlap"])
    readers = reader_settings(settings, values["ocr"], rule)
    version = rule_version(rule, readers.ocr.languages if readers.ocr else "")
    max_bytes = settings.documents_memory_mib * MIB // MEMORY_SHARE
    keys = [date.fromisoformat(key) for key in context.partition_keys]

    poll_once = cache(open_arrivals(documents, warehouse, clock, settings).poll)

    def work_of(day: date) -> _Work:
        if config.replay:
            current_count = count_current(warehouse, day, version=version)
            summary.not_read_count = (summary.not_read_count or 0) + current_count
            return _Work(
                f"{REPLAY_PREFIX}{day}",
                DocumentQueue(warehouse, clock, documents_table.c.document_id),
                RecordedReader(warehouse, captures, max_bytes),
                record_nothing,
                partial(enqueue_outdated, warehouse, clock, day, version=version),
            )
        return _Work(
            topic_of(day),
            DocumentQueue(warehouse, clock, documents_files.c.path),
            FileReader(
                documents, warehouse, captures, clock, str(settings.documents_source), max_bytes
            ),
            record_files,
            poll_once,
        )

    written: Counter[str] = Counter()
    started = time.monotonic()
    with Extraction(
        workers=settings.documents_workers,
        memory_bytes=settings.documents_memory_mib * MIB,
        timeout=FILE_TIME,
        limits=Limits(file_bytes=max_bytes, text_characters=TEXT_FACTOR * max_bytes),
        max_result_bytes=settings.documents_memory_mib * MIB // RESULT_SHARE,
        settings=readers,
    ) as extraction:
        for day in keys:
            work = work_of(day)
            items = file_items(warehouse, clock)
            items.end_leases(work.topic, partial(is_at_work, context.instance))
            loader = DocumentLoader(
                extractor=DocumentExtractor(work.read, captures, warehouse, extraction, version),
                clock=clock,
                run_id=context.run.run_id,
                chunk_rule=rule,
                version=version,
                preset=applied.preset.name if applied else None,
                note=work.note,
                enqueue=work.enqueue,
            )
            for _ in run_items(
                context,
                loader,
                items=work.items,
                database=warehouse,
                clock=clock,
                batches=ItemBatches(work.topic, FILE_TIME, MAX_FILES_PER_BATCH, MAX_FILES_PER_RUN),
                summary=summary,
            ):
                pass
            written += loader.written
    seconds = time.monotonic() - started
    found = run_documents(warehouse, context.run.run_id)
    yield from load_results(summary, found, written, seconds)


load_job = dg.define_asset_job(
    LOAD_JOB,
    selection=dg.AssetSelection.assets(load_documents, derive_documents),
    description=job_text(
        LISTED_PAGES.description,
        LOAD_OP,
        DocumentsLoad,
    ),
    tags={"domain": GROUP},
)

REPLAY = Replay(
    table=documents_pages.name,
    job=LOAD_JOB,
    op=LOAD_OP,
    plan=plan_replay,
    has_options=False,
    unit="days",
    filters=(
        ReplayFilter(name="from", description="days of first sight from this on", is_date=True),
        ReplayFilter(name="to", description="days up to this one", is_date=True),
    ),
    counts=[*(f"{outcome}_document_count" for outcome in OUTCOMES), NOT_READ],
)


def load_results(
    summary: DocumentSummary, found: RunDocuments, written: Mapping[str, int], seconds: float
) -> Iterator[dg.MaterializeResult[Any]]:
    """Yield the result of each asset of a load.

    Args:
        summary: Outcomes of the run's items.
        found: The run's documents.
        written: Rows by table.
        seconds: Time that reading and loading took.
    """
    by_type = {"outcomes_by_type": table_of(pl.DataFrame(found.by_type))} if found.by_type else {}
    yield dg.MaterializeResult(asset_key=CAPTURE, metadata={**summary.as_metadata(), **by_type})
    yield dg.MaterializeResult(
        asset_key=PAGES,
        metadata={
            "rows_written": written[documents_pages.name],
            "page_count": found.page_count,
            "pages_per_second": round(found.page_count / max(seconds, 0.001), 1),
        },
    )
    yield dg.MaterializeResult(
        asset_key=CHUNKS,
        metadata={
            "rows_written": written[documents_chunks.name],
            "chunk_count": found.chunk_count,
            **({"first_chunks": quoted_table(found.first_chunks)} if found.first_chunks else {}),
        },
    )
