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
    build_table_spec,
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
from orchestration_project.engine.contracts.job_options import describe_job
from orchestration_project.engine.leases import is_at_work
from orchestration_project.engine.options import build_config, describe_defaults
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
from orchestration_project.services.metadata import build_table, redact_table
from orchestration_project.services.presets import Presets, RunPresets
from orchestration_project.settings import load_shared_settings

describe_defaults(DocumentsLoad, DOCUMENTS_LOADING.default_texts(load_shared_settings()))

DOCUMENTS_CONFIG = build_config(DocumentsLoad)

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
        build_table_spec(CAPTURE, documents_table, "state", FILES),
        build_table_spec(
            PAGES,
            documents_pages,
            "silver",
            CAPTURE,
            dict.fromkeys(PAGE_COLUMNS, "document_id"),
        ),
        build_table_spec(CHUNKS, documents_chunks, "gold", PAGES, CHUNK_SOURCES),
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
    load = _DocumentLoad(context, config, artifacts, clock, documents, settings, warehouse)
    started = time.monotonic()
    with load.open_extraction() as extraction:
        for key in context.partition_keys:
            load.load_day(date.fromisoformat(key), extraction)
    seconds = time.monotonic() - started
    found = run_documents(warehouse, context.run.run_id)
    yield from load_results(load.summary, found, load.written, seconds)


class _DocumentLoad:
    """Connections, settings and options of a run that loads or replays documents.

    Attributes:
        summary: Outcomes of the run's items.
        written: Rows by table.
    """

    def __init__(
        self,
        context: dg.AssetExecutionContext,
        config: DocumentsLoad,
        artifacts: ArtifactStore,
        clock: Clock,
        documents: DocumentSource,
        settings: DocumentsSettings,
        warehouse: Warehouse,
    ) -> None:
        self.summary = DocumentSummary()
        self.written = Counter[str]()
        self._context, self._config, self._settings = context, config, settings
        self._clock, self._documents, self._warehouse = clock, documents, warehouse
        self._captures = Captures(artifacts)
        presets = Presets(warehouse, clock)
        run_presets = RunPresets(context.instance, context.run.run_id, settings, presets)
        values = run_presets.values(DOCUMENTS_LOADING, config)
        record_fail_on(context.instance, context.run.run_id, values["fail_on"])
        self._applied = presets.in_force(LOAD_JOB)
        self._rule = ChunkRule(values["chunk_words"], values["chunk_overlap"])
        self._readers = reader_settings(settings, values["ocr"], self._rule)
        ocr = self._readers.ocr
        self._version = rule_version(self._rule, ocr.languages if ocr else "")
        self._memory_bytes = settings.documents_memory_mib * MIB
        self._max_bytes = self._memory_bytes // MEMORY_SHARE
        self._poll_once = cache(open_arrivals(documents, warehouse, clock, settings).poll)

    def open_extraction(self) -> Extraction:
        """Return the processes that read files."""
        max_bytes = self._max_bytes
        return Extraction(
            workers=self._settings.documents_workers,
            memory_bytes=self._memory_bytes,
            timeout=FILE_TIME,
            limits=Limits(file_bytes=max_bytes, text_characters=TEXT_FACTOR * max_bytes),
            max_result_bytes=self._memory_bytes // RESULT_SHARE,
            settings=self._readers,
        )

    def load_day(self, day: date, extraction: Extraction) -> None:
        """Capture, extract and load the files of a day that are due, or replay its documents."""
        work = self._plan_replay(day) if self._config.replay else self._plan_files(day)
        items = file_items(self._warehouse, self._clock)
        items.end_leases(work.topic, partial(is_at_work, self._context.instance))
        loader = self._open_loader(work, extraction)
        for _ in run_items(
            self._context,
            loader,
            items=work.items,
            database=self._warehouse,
            clock=self._clock,
            batches=ItemBatches(work.topic, FILE_TIME, MAX_FILES_PER_BATCH, MAX_FILES_PER_RUN),
            summary=self.summary,
        ):
            pass
        self.written += loader.written

    def _plan_replay(self, day: date) -> _Work:
        """Return the work on the documents of a day that are read by older rules."""
        warehouse, clock, version = self._warehouse, self._clock, self._version
        current_count = count_current(warehouse, day, version=version)
        self.summary.not_read_count = (self.summary.not_read_count or 0) + current_count
        return _Work(
            f"{REPLAY_PREFIX}{day}",
            DocumentQueue(warehouse, clock, documents_table.c.document_id),
            RecordedReader(warehouse, self._captures, self._max_bytes),
            record_nothing,
            partial(enqueue_outdated, warehouse, clock, day, version=version),
        )

    def _plan_files(self, day: date) -> _Work:
        """Return the work on the files of a day that are due; the first one polls the source."""
        return _Work(
            topic_of(day),
            DocumentQueue(self._warehouse, self._clock, documents_files.c.path),
            FileReader(
                self._documents,
                self._warehouse,
                self._captures,
                self._clock,
                str(self._settings.documents_source),
                self._max_bytes,
            ),
            record_files,
            self._poll_once,
        )

    def _open_loader(self, work: _Work, extraction: Extraction) -> DocumentLoader:
        extractor = DocumentExtractor(
            work.read, self._captures, self._warehouse, extraction, self._version
        )
        return DocumentLoader(
            extractor=extractor,
            clock=self._clock,
            run_id=self._context.run.run_id,
            chunk_rule=self._rule,
            version=self._version,
            preset=self._applied.preset.name if self._applied else None,
            note=work.note,
            enqueue=work.enqueue,
        )


load_job = dg.define_asset_job(
    LOAD_JOB,
    selection=dg.AssetSelection.assets(load_documents, derive_documents),
    description=describe_job(
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
    by_type = (
        {"outcomes_by_type": build_table(pl.DataFrame(found.by_type))} if found.by_type else {}
    )
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
            **({"first_chunks": redact_table(found.first_chunks)} if found.first_chunks else {}),
        },
    )
