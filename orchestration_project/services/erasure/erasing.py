"""Erasure of a subject from all places, in an order that survives the end of the process.

Rows go first, so that runs which start later find nothing. Then runs in progress end, and passes
over tables and store go on until one finds nothing. At last freed pages are overwritten.
"""

import json
import logging
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import dagster as dg
from sqlalchemy import Table

from orchestration_project.engine.connections.artifacts import ArtifactStore, FolderStore
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.connections.log_files import FOLDER as LOG_FOLDER
from orchestration_project.engine.connections.log_files import list_segment_paths
from orchestration_project.engine.contracts.chain import ERASURE
from orchestration_project.engine.contracts.subjects import SubjectKind
from orchestration_project.engine.leases import is_at_work
from orchestration_project.engine.run_statuses import RUNNING_STATUSES
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.chain_amending import record_amendments
from orchestration_project.errors import TransientError
from orchestration_project.services.erasure.dagster_tables import (
    erase_in_dagster,
    rewrite_in_dagster,
)
from orchestration_project.services.erasure.files import erase_files, rewrite_databases
from orchestration_project.services.erasure.requests import ErasureRequest, ErasureRequests
from orchestration_project.services.erasure.rows import RowCounts, convert_counts, erase_rows
from orchestration_project.services.erasure.rules import Subject
from orchestration_project.services.erasure.stored import (
    RecordedBlobs,
    StoreCounts,
    StoreErasure,
    read_recorded,
)
from orchestration_project.tables.catalogue import tables
from orchestration_project.tables.erasures import operations_erasure_requests
from orchestration_project.tables.spine import blobs, captures

logger = logging.getLogger(__name__)

MAX_PASSES = 5

WAIT_SECONDS, SECONDS_BETWEEN_LINES = 600, 60

NOT_REACHED: Sequence[str] = (
    "archives of evidence, exports and downloads that were handed out",
    "backups and copies of the database, of the artifact store and of STATE_DIR; replicas and "
    "earlier versions of objects in a bucket that keeps them",
    "the sources and senders themselves: what they still have is fetched again",
    "issues and messages that were sent: to Jira, and alerts by e-mail, chat or webhook",
    "logs outside STATE_DIR: of the system, of proxies, of the database server, of a collector",
    "blocks of a disk that the file system has freed, and memory of processes that run",
    "identifiers in names of files, in pictures, in encrypted or unknown compressed formats, or "
    "cut in two by a limit",
)
"""Places that no erasure reaches."""

NOT_REACHED_SERVERS = (
    "databases other than SQLite and PostgreSQL: freed pages, which their own tools overwrite",
    "PostgreSQL: the write-ahead log until it is recycled, its archive and standbys",
    "PostgreSQL: old versions of rows in tables that had the subject no more, which VACUUM FULL of "
    "the table removes, and in pg_statistic, which a superuser rewrites with VACUUM FULL",
)

ALWAYS_REWRITTEN = {operations_erasure_requests, captures, blobs}
"""Tables whose rows an erasure changes whatever it finds."""


@dataclass(frozen=True)
class Places:
    """Places that an erasure searches.

    Attributes:
        warehouse: The database.
        artifacts: The store.
        instance: Dagster's.
        state_folder: STATE_DIR.
        left_out: Files and folders below it that belong to simulated sources.
        only_database: Whether no other database uses the store.
        log_keep_days: Number of days after which program logs are deleted.
        real_clock: The real time, by which they are deleted.
    """

    warehouse: Warehouse
    artifacts: ArtifactStore
    instance: dg.DagsterInstance
    state_folder: Path
    left_out: Sequence[Path] = ()
    only_database: bool = False
    log_keep_days: int = field(kw_only=True)
    real_clock: Clock = field(default_factory=Clock)

    @property
    def unsearched(self) -> Collection[Path]:
        """Paths that are not searched: simulators, program logs, the store, and the database."""
        folders = [self.artifacts.folder] if isinstance(self.artifacts, FolderStore) else []
        file = self.warehouse.file
        logs = list_segment_paths(self.state_folder / LOG_FOLDER)
        return {*self.left_out, *logs, *folders, *([] if file is None else [file])}


@dataclass
class Erased:
    """Counts of an erasure, or of a dry run.

    Attributes:
        rows: Rows by table.
        store: What was found in the store, of all passes.
        files: Files of STATE_DIR that had the subject.
        dagster: Rows of Dagster's tables in PostgreSQL that had it, by table.
        not_reached: Places that are not reached, sentences.
    """

    rows: RowCounts = field(default_factory=RowCounts)
    store: StoreCounts = field(default_factory=StoreCounts)
    files: Sequence[str] = ()
    dagster: dict[str, int] = field(default_factory=dict[str, int])
    not_reached: Sequence[str] = NOT_REACHED


class _DryRunError(Exception):
    """Undoes the transaction of a dry run."""

    def __init__(self, recorded: RecordedBlobs) -> None:
        super().__init__()
        self.recorded = recorded


def preview(places: Places, kind: SubjectKind, subject: Subject, *, at: datetime) -> Erased:
    """Return the data that an erasure would find; nothing is changed."""
    with places.warehouse.reading() as connection:
        known_subject = kind.find(connection, subject.identifiers)
    subject = Subject(
        [*subject.identifiers, *known_subject.identifiers], companions=kind.companions
    )
    erased, store = Erased(), _store(places, kind, subject)
    try:
        with places.warehouse.writing() as connection:
            erased.rows = erase_rows(connection, kind, subject)
            raise _DryRunError(read_recorded(connection))
    except _DryRunError as error:
        erased.store = store.erase(error.recorded, at, is_dry_run=True)
    _erase_logs(places, subject, erased, is_dry_run=True)
    erased.not_reached = [*known_subject.not_reached, *_list_unreached(places, erased)]
    return erased


def erase(
    places: Places,
    request: ErasureRequest,
    kind: SubjectKind,
    requests: ErasureRequests,
    *,
    clock: Clock,
    run_id: str,
    wait_seconds: int = WAIT_SECONDS,
) -> Erased | None:
    """Erase a subject; a repetition after any interruption goes on.

    Returns:
        The counts; None: it was erased before, and only freed pages were overwritten.

    Raises:
        TransientError: Runs in progress do not end, or other processes lock a database.
        ConfigurationError: Captured bytes must go, and another database may need them.
    """
    if request.identifiers is None:
        earlier = requests.changed_tables(request.request_id) | _list_own_tables(kind)
        _overwrite(places, None, earlier, None)
        requests.end(request.request_id)
        return None
    with places.warehouse.reading() as connection:
        known_subject = kind.find(connection, request.identifiers)
    request = requests.extend(request, known_subject.identifiers)
    subject = Subject(request.identifiers or (), companions=kind.companions)
    data = _erase_data(
        places, kind, subject, clock, run_id, wait_seconds, reason=request.request_id
    )
    _erase_logs(places, subject, data, is_dry_run=False)
    data.not_reached = [*known_subject.not_reached, *_list_unreached(places, data)]
    requests.record(request, _build_row(data, run_id))
    changed = {*data.rows.deleted, *data.rows.masked} | _list_own_tables(kind)
    _overwrite(places, subject, changed, list(data.dagster))
    requests.end(request.request_id)
    return data


def _erase_data(
    places: Places,
    kind: SubjectKind,
    subject: Subject,
    clock: Clock,
    run_id: str,
    wait_seconds: int,
    *,
    reason: str,
) -> Erased:
    """Erase rows and bytes until a pass finds nothing: a run in progress may have added some."""
    erased, store = Erased(), _store(places, kind, subject)
    for number in range(MAX_PASSES):
        rows = _erase_rows(places.warehouse, kind, subject, reason, clock.now())
        _wait_for_runs(places.instance, run_id, wait_seconds)
        if number:  # what these runs have recorded meanwhile
            rows.add(_erase_rows(places.warehouse, kind, subject, reason, clock.now()))
        with places.warehouse.reading() as connection:
            recorded = read_recorded(connection)
        stored = store.erase(recorded, clock.now(), is_dry_run=False)
        erased.rows.add(rows)
        erased.store.add(stored)
        if number and rows.is_empty and stored.is_empty:
            return erased
    raise TransientError(
        "the subject comes back while it is erased",
        expected=f"nothing left after {MAX_PASSES} passes",
        found="rows or bytes that were added meanwhile",
        remedy="erase it in the source first, stop the job that fetches it, and start this again",
    )


def _erase_rows(
    warehouse: Warehouse, kind: SubjectKind, subject: Subject, reason: str, at: datetime
) -> RowCounts:
    """Erase rows; where there are any, the chains of their tables record it."""
    with warehouse.writing() as connection:
        attempt = connection.begin_nested()
        counts = erase_rows(connection, kind, subject)
        attempt.rollback()
        if not counts.is_empty:
            with record_amendments(connection, ERASURE, reason, at):
                counts = erase_rows(connection, kind, subject)
        return counts


def _store(places: Places, kind: SubjectKind, subject: Subject) -> StoreErasure:
    return StoreErasure(
        places.warehouse,
        places.artifacts,
        kind,
        subject,
        only_database=places.only_database,
    )


def _wait_for_runs(instance: dg.DagsterInstance, run_id: str, seconds: int) -> None:
    """Wait for the runs in progress, which may hold what was read before.

    Raises:
        TransientError: One did not end in time.
    """
    filters = dg.RunsFilter(statuses=RUNNING_STATUSES)
    waiting = {run.run_id for run in instance.get_runs(filters)} - {run_id}
    for passed in range(seconds + 1):
        waiting = {name for name in waiting if is_at_work(instance, name)}
        if not waiting:
            return
        if passed % SECONDS_BETWEEN_LINES == 0:
            logger.info(
                "waiting for %s runs in progress",
                len(waiting),
                extra={"event": "erasure_waits_for_runs"},
            )
        time.sleep(min(1, seconds - passed))
    raise TransientError(
        "runs in progress may hold data of the subject",
        expected=f"an end of the runs in progress within {seconds} seconds",
        found=", ".join(sorted(waiting)),
        remedy="wait for them or terminate them, and start this again",
    )


def _erase_logs(places: Places, subject: Subject, found: Erased, *, is_dry_run: bool) -> None:
    files = erase_files(
        places.state_folder, subject, left_out=places.unsearched, is_dry_run=is_dry_run
    )
    found.files = files.changed
    found.store.damaged += files.unreadable
    found.dagster = dict(erase_in_dagster(places.instance, subject, is_dry_run=is_dry_run))


def _overwrite(
    places: Places,
    subject: Subject | None,
    changed: Collection[str],
    dagster_tables: Sequence[str] | None,
) -> None:
    """Overwrite freed pages of all databases; of PostgreSQL, in the tables that were changed."""
    rewritten = [table for table in tables() if table.name in changed or table in ALWAYS_REWRITTEN]
    places.warehouse.rewrite_tables(rewritten)
    rewrite_databases(places.state_folder, subject, left_out=places.unsearched)
    rewrite_in_dagster(places.instance, dagster_tables)


def _list_own_tables(kind: SubjectKind) -> set[str]:
    """Return the tables in which the kind's rows may change beside those that are counted."""
    return {item.name for item in kind.unmasked if isinstance(item, Table)}


def _list_unreached(places: Places, found: Erased) -> Sequence[str]:
    last_day = places.real_clock.now().date() + timedelta(days=places.log_keep_days)
    sentences = [
        "program logs in STATE_DIR/logs of each host, until LOG_KEEP_DAYS deletes them: "
        f"{last_day} (UTC) is the last day on which they may have the subject",
        *NOT_REACHED,
    ]
    if places.warehouse.file is None:
        sentences += NOT_REACHED_SERVERS
    if found.store.unnamed:
        sentences.append(
            f"{len(found.store.unnamed)} objects of the artifact store that this database does not "
            "name: start the job with only_database: true where no other database uses the store"
        )
    sentences += [f"damaged or unreadable: {name}" for name in dict.fromkeys(found.store.damaged)]
    return sentences


def _build_row(found: Erased, run_id: str) -> dict[str, object]:
    return {
        "rows_deleted": found.rows.deleted.total(),
        "rows_masked": found.rows.masked.total(),
        "captures_deleted": found.store.deleted,
        "captures_redacted": found.store.redacted,
        "artifacts_deleted": len(found.store.artifacts),
        "files_changed": len(found.files) + len(found.dagster),
        "tables": json.dumps(convert_counts(found.rows)),
        "not_reached": json.dumps(list(found.not_reached)),
        "run_id": run_id,
    }
