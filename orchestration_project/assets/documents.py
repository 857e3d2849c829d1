"""Assets of documents: files of their source, loaded by the day of their first sight."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import contextmanager
from datetime import date, timedelta
from enum import StrEnum
from functools import cache, partial
from typing import Any, NamedTuple

import dagster as dg
import polars as pl
from pydantic import Field
from sqlalchemy import Table

from orchestration_project.assets.specs import SETTINGS, SOURCE, asset_spec
from orchestration_project.connections.artifacts import ArtifactStore
from orchestration_project.connections.clock import Clock
from orchestration_project.domains.documents.chunks import ChunkRule
from orchestration_project.domains.documents.extracted import MIB, Limits
from orchestration_project.domains.documents.rows import PAGE_COLUMNS, rule_version
from orchestration_project.domains.documents.verdict import Verdict, is_failure
from orchestration_project.domains.operations.alerts import ITEMS_FAILED
from orchestration_project.domains.operations.job_options import job_text
from orchestration_project.domains.operations.presets import Default, PresetTarget
from orchestration_project.engine.captures import Captures
from orchestration_project.engine.leases import is_at_work
from orchestration_project.engine.options import JobOptions, describe_defaults
from orchestration_project.engine.run_items import run_items
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import OrchestrationError
from orchestration_project.resources.documents.arrivals import (
    end_leases,
    oldest_waiting,
    open_arrivals,
    topic_of,
)
from orchestration_project.resources.documents.derivation import DerivedCounts, DocumentDerivation
from orchestration_project.resources.documents.extraction import Extraction
from orchestration_project.resources.documents.items import (
    REPLAY_PREFIX,
    DocumentQueue,
    DocumentSummary,
    FileReader,
    RecordedReader,
    enqueue_outdated,
    record_files,
    record_nothing,
)
from orchestration_project.resources.documents.loading import AfterLoad, DocumentLoader
from orchestration_project.resources.documents.pool import (
    ClaimedDocument,
    DocumentPool,
    Reading,
)
from orchestration_project.resources.documents.reading import reader_settings
from orchestration_project.resources.documents.reporting import (
    RunDocuments,
    as_shown,
    overdue_document_exports,
    run_documents,
    verdict_of,
)
from orchestration_project.resources.documents.source import DocumentSource
from orchestration_project.resources.documents.worker import ReaderSettings
from orchestration_project.services.metadata import (
    check_spec,
    column_schema,
    describe_check,
    not_applicable,
    quoted_table,
    summary_of,
    table_of,
)
from orchestration_project.services.presets import Presets, RunPresets
from orchestration_project.settings import load_shared_settings
from orchestration_project.settings.domains.documents import DocumentsSettings
from orchestration_project.tables.documents import documents as documents_table
from orchestration_project.tables.documents import (
    documents_chunks,
    documents_files,
    documents_pages,
    documents_similarity,
    documents_topics,
)

GROUP = "documents"
OWNERS = ["team:operations"]
FILES, CAPTURE = dg.AssetKey([GROUP, "files"]), dg.AssetKey([GROUP, "capture"])
PAGES, CHUNKS = dg.AssetKey([GROUP, "pages"]), dg.AssetKey([GROUP, "chunks"])
SIMILARITY, TOPICS = dg.AssetKey([GROUP, "similarity"]), dg.AssetKey([GROUP, "topics"])
LOAD_OP, LOAD_JOB, REPLAY_JOB = "documents_load_day", "documents_load", "documents_replay"
VERDICT_CHECK = "has_good_verdict"
IN_TIME_CHECK = "is_loaded_in_time"

FIRST_DAY = date(2026, 1, 1)
"""No file was seen before."""

FILE_TIME = timedelta(minutes=1)
"""Time after which the process that reads a file is killed."""

MAX_FILES_PER_BATCH, MAX_FILES_PER_RUN = 200, 100_000

MEMORY_SHARE = 8
"""A file may have one in so many of the bytes of memory: it is held several times over."""


def _days() -> dg.TimeWindowPartitionsDefinition:
    """Return the UTC days from the first one to today, by the project's clock."""
    ahead = Clock(SETTINGS.demo_clock_now).today("UTC") - Clock().today("UTC")
    return dg.TimeWindowPartitionsDefinition(
        start=FIRST_DAY.isoformat(),
        fmt="%Y-%m-%d",
        timezone="UTC",
        cron_schedule="0 0 * * *",
        end_offset=ahead.days + 1,
    )


DAYS = _days()


class Ocr(StrEnum):
    """Whether images are recognised."""

    auto = "auto"
    always = "always"
    never = "never"


class FailOn(StrEnum):
    """The verdict from which a run fails."""

    never = "never"
    bad = "bad"
    watch = "watch"


class DocumentsLoad(JobOptions):
    """Options of reading and cutting documents; the applied preset has those that are left out."""

    chunk_words: int | None = Field(
        default=None, ge=20, le=10_000, examples=[256], description="Maximum words of a chunk."
    )
    chunk_overlap: int | None = Field(
        default=None,
        ge=0,
        le=5_000,
        examples=[32],
        description="Words at the end of a chunk with which the next one begins, at most half of "
        "chunk_words.",
    )
    ocr: Ocr | None = Field(
        default=None,
        description="Recognition of images by Tesseract; auto: where it is installed.",
    )
    fail_on: FailOn | None = Field(
        default=None,
        description="Verdict from which the run fails; watch: any that is not good.",
    )


DOCUMENTS_LOADING = PresetTarget(
    job=LOAD_JOB,
    op=LOAD_OP,
    model=DocumentsLoad,
    fields={
        name: Default(setting=f"documents_{name}")
        for name in ("chunk_words", "chunk_overlap", "ocr", "fail_on")
    },
)
"""Fields that a preset may set for loads, and for replays too."""

describe_defaults(DocumentsLoad, DOCUMENTS_LOADING.default_texts(load_shared_settings()))

CHUNK_SOURCES = {
    "document_id": "document_id",
    "chunk_id": "document_id",
    "page_number": "page_number",
    "start_offset": "text",
    "end_offset": "text",
    "section_path": "headings",
    "word_count": "text",
    "text": "text",
}
"""Columns of `documents_chunks`, and those of `documents_pages` that they come from."""

SIMILARITY_SOURCES = {
    "document_id": "document_id",
    "similar_id": "document_id",
    "score": "text",
    "group_id": "document_id",
}
TOPIC_SOURCES = {
    "document_id": "document_id",
    "rank": "text",
    "keyword": "text",
    "score": "text",
}
"""Columns of derived tables, and those of `documents_chunks` whose words they come from."""

files = asset_spec(
    FILES,
    str(documents_files.comment),
    column_schema(documents_files.columns),
    SOURCE,
    owners=OWNERS,
    **{"dagster/table_name": documents_files.name},
)
"""Nothing makes it here: polls of the source fill it."""


def _spec(
    key: dg.AssetKey,
    table: Table,
    kinds: Set[str],
    source: dg.AssetKey,
    made_of: Mapping[str, str] | None = None,
) -> dg.AssetSpec:
    """Return the spec of a table; ``made_of`` names the column of the source of each column."""
    lineage = {name: [dg.TableColumnDep(source, of)] for name, of in (made_of or {}).items()}
    return asset_spec(
        key,
        str(table.comment),
        column_schema(table.columns),
        kinds,
        source,
        owners=OWNERS,
        **{
            "dagster/table_name": table.name,
            **({"dagster/column_lineage": dg.TableColumnLineage(lineage)} if made_of else {}),
        },
    )


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
        _spec(CAPTURE, documents_table, {"state"}, FILES),
        _spec(
            PAGES,
            documents_pages,
            {"table", "silver"},
            CAPTURE,
            dict.fromkeys(PAGE_COLUMNS, "document_id"),
        ),
        _spec(CHUNKS, documents_chunks, {"table", "gold"}, PAGES, CHUNK_SOURCES),
        _spec(SIMILARITY, documents_similarity, {"table", "gold"}, CHUNKS, SIMILARITY_SOURCES),
        _spec(TOPICS, documents_topics, {"table", "gold"}, CHUNKS, TOPIC_SOURCES),
    ],
    check_specs=[
        check_spec(
            VERDICT_CHECK,
            asset=CAPTURE,
            description="The verdict on the run's documents is good. The verdict bad is an error, "
            "watch a warning.",
            severity=dg.AssetCheckSeverity.ERROR,
            limit="below 85 of 100 watch; below 70, or with a critical reason, bad",
            remedy="read reason_code and reason in the table documents; correct the files",
        )
    ],
    partitions_def=DAYS,
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def load_documents(
    context: dg.AssetExecutionContext,
    config: DocumentsLoad,
    artifacts: dg.ResourceParam[ArtifactStore],
    clock: dg.ResourceParam[Clock],
    documents: dg.ResourceParam[DocumentSource],
    settings: dg.ResourceParam[DocumentsSettings],
    warehouse: dg.ResourceParam[Warehouse],
) -> Iterator[dg.MaterializeResult[Any]]:
    """Capture, extract and load the files of each day that are due, or replay its documents.

    Similarity and topics are derived for documents that changed.
    """
    captures, summary = Captures(artifacts), DocumentSummary()
    presets = Presets(warehouse, clock)
    of_run = RunPresets(context.instance, context.run.run_id, settings, presets)
    values = of_run.values(DOCUMENTS_LOADING, config)
    applied = presets.in_force(LOAD_JOB)
    rule = ChunkRule(values["chunk_words"], values["chunk_overlap"])
    readers = reader_settings(settings, values["ocr"])
    version = rule_version(rule, readers.ocr.languages if readers.ocr else "")
    max_bytes = settings.documents_memory_mib * MIB // MEMORY_SHARE
    keys = [date.fromisoformat(key) for key in context.partition_keys]

    poll_once = cache(open_arrivals(documents, warehouse, clock, settings).poll)

    def work_of(day: date) -> _Work:
        if context.job_name == REPLAY_JOB:
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
    with _extraction(settings, readers, max_bytes) as extraction:
        for day in keys:
            work = work_of(day)
            end_leases(warehouse, clock, work.topic, partial(is_at_work, context.instance))
            loader = DocumentLoader(
                read=work.read,
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
                topic=work.topic,
                item_timeout=FILE_TIME,
                batch_size=MAX_FILES_PER_BATCH,
                max_items=MAX_FILES_PER_RUN,
                pool=DocumentPool(captures, warehouse, extraction, loader.version),
                summary=summary,
            ):
                pass
            written += loader.written
    seconds = time.monotonic() - started
    derived, error = _derived(DocumentDerivation(warehouse, keys[0], keys[-1], context.run.run_id))
    found = run_documents(warehouse, context.run.run_id)
    verdict = verdict_of(
        warehouse,
        keys[0],
        keys[-1],
        context.run.run_id,
        summary.reason_counts,
        overdue_document_exports(warehouse, clock, settings),
    )
    yield dg.MaterializeResult(
        asset_key=CAPTURE,
        metadata={
            **as_shown(verdict),
            **summary.as_metadata(),
            **_outcomes(found),
            **_noticed(verdict, summary),
        },
        check_results=[_checked(verdict, summary)],
    )
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
    if error is not None:
        error.within(run=context.run.run_id)
        raise dg.Failure(str(error), allow_retries=False) from error
    yield dg.MaterializeResult(
        asset_key=SIMILARITY,
        metadata={
            "rows_written": derived.pairs,
            "compared_count": derived.documents,
            "same_text_count": derived.unchanged,
            "removed_pair_count": derived.pairs_removed,
            "cut_count": derived.cut,
        },
    )
    yield dg.MaterializeResult(asset_key=TOPICS, metadata={"rows_written": derived.keywords})
    if verdict is not None and is_failure(verdict.level, values["fail_on"]):
        raise dg.Failure(
            f"the verdict on the run's documents is {verdict.level}: {'; '.join(verdict.reasons)}; "
            f"it fails the run, as fail_on is {values['fail_on']}",
            metadata=as_shown(verdict),
            allow_retries=False,
        )


def _outcomes(found: RunDocuments) -> Mapping[str, Any]:
    return {"outcomes_by_type": table_of(pl.DataFrame(found.by_type))} if found.by_type else {}


def _derived(derivation: DocumentDerivation) -> tuple[DerivedCounts, OrchestrationError | None]:
    """Derive similarity and topics; what was loaded is reported also if that fails."""
    try:
        return derivation.run(), None
    except OrchestrationError as error:
        return DerivedCounts(), error


@contextmanager
def _extraction(
    settings: DocumentsSettings, readers: ReaderSettings, max_bytes: int
) -> Iterator[Extraction]:
    with Extraction(
        workers=settings.documents_workers,
        memory_bytes=settings.documents_memory_mib * MIB,
        timeout=FILE_TIME,
        limits=Limits(file_bytes=max_bytes),
        settings=readers,
    ) as extraction:
        yield extraction


def _noticed(verdict: Verdict | None, summary: DocumentSummary) -> Mapping[str, Any]:
    """Return a notice of failed files, unless the check of the verdict raises an alert of them."""
    if not summary.dead_in_words or (verdict is not None and verdict.level != "good"):
        return {}
    remedy = "what to do: orchestrate items list --state dead"
    return {"notice": f"{summary.dead_in_words}; {remedy}", "notice_kind": ITEMS_FAILED}


def _checked(verdict: Verdict | None, summary: DocumentSummary) -> dg.AssetCheckResult:
    if verdict is None:
        metadata: Mapping[str, Any] = not_applicable("the run extracted no document")
    else:
        outcome = {
            "outcome": f"{verdict.level}, score {verdict.score:.1f}",
            "expected": "good",
            "found": "; ".join(verdict.reasons) or verdict.level,
            **({"failed": summary.dead_in_words} if summary.dead_counts else {}),
        }
        metadata = outcome if verdict.level != "good" else {"outcome": outcome["outcome"]}
    is_bad = verdict is not None and verdict.level == "bad"
    return dg.AssetCheckResult(
        asset_key=CAPTURE,
        check_name=VERDICT_CHECK,
        passed=verdict is None or verdict.level == "good",
        severity=dg.AssetCheckSeverity.ERROR if is_bad else dg.AssetCheckSeverity.WARN,
        description=summary_of(metadata),
        metadata=metadata,
    )


@dg.asset_check(
    asset=FILES,
    name=IN_TIME_CHECK,
    **describe_check(
        "No stable file waits for a run longer than an hour.",
        severity=dg.AssetCheckSeverity.WARN,
        limit="1 hour after a file is stable",
        remedy="start documents_load, or switch the sensor documents_on_arrival on",
    )._asdict(),
)
def files_are_loaded_in_time(
    clock: dg.ResourceParam[Clock], warehouse: dg.ResourceParam[Warehouse]
) -> dg.AssetCheckResult:
    """Look for files that wait; the source is not asked."""
    late = oldest_waiting(warehouse, clock.now())
    metadata: Mapping[str, Any] = {"outcome": "no file waits for long"}
    if late is not None:
        metadata = {
            "outcome": "late",
            "expected": "a run within an hour",
            "found": late.reason,
            "what_to_do": late.remedy,
        }
    return dg.AssetCheckResult(
        asset_key=FILES,
        check_name=IN_TIME_CHECK,
        passed=late is None,
        severity=dg.AssetCheckSeverity.WARN,
        description=summary_of(metadata),
        metadata=metadata,
    )


freshness_job = dg.define_asset_job(
    "documents_freshness",
    selection=dg.AssetSelection.checks(files_are_loaded_in_time),
    description="Checks whether a stable file waits for a run longer than an hour.",
    tags={"domain": GROUP},
)

load_job = dg.define_asset_job(
    LOAD_JOB,
    selection=dg.AssetSelection.assets(load_documents),
    description=job_text(
        "Loads the files of a day that wait: capture, extract, write pages and chunks, derive "
        "similarity and topics.",
        LOAD_OP,
        DocumentsLoad,
    ),
    tags={"domain": GROUP},
)

replay_job = dg.define_asset_job(
    REPLAY_JOB,
    selection=dg.AssetSelection.assets(load_documents),
    description=job_text(
        "Extracts captured documents of a day again that other rules made; the source is not read.",
        LOAD_OP,
        DocumentsLoad,
    ),
    tags={"domain": GROUP},
)
