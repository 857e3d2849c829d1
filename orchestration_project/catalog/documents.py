"""Documents: files of a folder, a bucket or uploads, with text, tables and chunks."""

import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from uuid import uuid4

from orchestration_project.domains.documents.options import DocumentOptions
from orchestration_project.domains.documents.reasons import REASONS
from orchestration_project.domains.documents.settings import DocumentsSettings
from orchestration_project.domains.documents.tables import documents_pages
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.connections.files import ensure_state_folder
from orchestration_project.engine.contracts.pipelines import DAY
from orchestration_project.engine.contracts.problems import OldestMissing
from orchestration_project.engine.contracts.subjects import SubjectKind
from orchestration_project.engine.contracts.work_items import PERMANENT_REMEDIES
from orchestration_project.engine.environment import open_client
from orchestration_project.engine.listed_datasets import DatasetList
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.work_items import WorkItems
from orchestration_project.errors import ConfigurationError
from orchestration_project.registry import (
    CommandModule,
    Connection,
    ConnectionMaker,
    Domain,
    DomainDefinitions,
    Environment,
    Job,
    PartitionedTable,
)
from orchestration_project.resources.documents.equations import EQUATIONS
from orchestration_project.resources.documents.source import (
    RECOVERIES,
    UPLOAD_PREFIX,
    DocumentSource,
    NoFiles,
)
from orchestration_project.resources.documents.waiting import (
    REPLAY_PREFIX,
    TOPIC_PREFIX,
    list_datasets,
    oldest_waiting,
)
from orchestration_project.services.erasure.requests import SubjectKinds
from orchestration_project.services.inbox.uploads import LoadedInboxes
from orchestration_project.services.status import Deadlines, ItemTopics
from orchestration_project.settings import (
    Settings,
    child_environment,
    project_folder,
    switched_off,
)
from orchestration_project.settings.profile import DEMO_PACKAGE

DEMO_FOLDER = "documents_demo"
DEMO_COUNT = 300

PROBED_FILES = 1_000
"""Files that a probe lists, at most."""


@contextmanager
def _open(given: Environment) -> Iterator[DocumentSource]:
    from orchestration_project.resources.documents.bucket import DocumentBucket
    from orchestration_project.resources.documents.folder import DocumentFolder
    from orchestration_project.resources.documents.s3_bucket import S3Bucket

    settings = DocumentsSettings.of(given.settings)
    match settings.documents_source:
        case "demo":
            yield DocumentFolder(_ensure_demo_files(settings), "STATE_DIR")
        case "folder":
            yield DocumentFolder(Path(str(settings.documents_dir)), "DOCUMENTS_DIR")
        case "s3":
            with open_client(settings, "documents_s3", breaker=given.breaker) as http:
                bucket = S3Bucket(
                    str(settings.documents_url),
                    setting="DOCUMENTS_URL",
                    http=http,
                    environment=child_environment(),
                    now=Clock().now,
                )
                yield DocumentBucket(bucket, "DOCUMENTS_URL")
        case "inbox":
            yield NoFiles()
        case None:
            raise switched_off("Documents", "DOCUMENTS_SOURCE", "folder, s3 or inbox")


def _ensure_demo_files(settings: Settings) -> Path:
    """Return the folder of the demo's files, which are generated when they are missing.

    They appear at once: another process never sees a part of them.

    Raises:
        ConfigurationError: They cannot be written.
    """
    folder = settings.state_path / DEMO_FOLDER
    if not folder.exists():
        ensure_state_folder(settings)
        partial = folder.with_name(f"{DEMO_FOLDER}.{uuid4().hex}")
        module = f"{DEMO_PACKAGE}.documents"
        options = [f"--into={partial}", f"--count={DEMO_COUNT}", f"--seed={settings.demo_seed}"]
        completed = subprocess.run(  # noqa: S603 - our own program and settings
            [sys.executable, "-m", module, *options],
            cwd=project_folder(),
            capture_output=True,
            text=True,
            check=False,
        )
        if completed.returncode:
            raise ConfigurationError(
                "the demo's documents cannot be generated",
                expected=f"{DEMO_COUNT} files in {partial}",
                found=completed.stderr.strip().rpartition("\n")[2][:500],
                remedy="is STATE_DIR writable, and the extra documents installed?",
            )
        try:
            partial.rename(folder)
        except OSError:  # another process was first
            shutil.rmtree(partial, ignore_errors=True)
    return folder / "files"


def _explain_unused(settings: Settings) -> str:
    is_off = DocumentsSettings.of(settings).documents_source is None
    return "DOCUMENTS_SOURCE is not set: no documents are loaded" if is_off else ""


def _check_source(source: DocumentSource, _: Environment) -> str:
    first = sum(1 for _ in islice(source.listing().files, PROBED_FILES))
    count = f"{first} files" if first < PROBED_FILES else f"{first} files or more"
    return f"{source.shown_name} can be read: {count}"


def _list_loaded_inboxes(settings: Settings) -> Sequence[str]:
    documents_settings = DocumentsSettings.of(settings)
    return [documents_settings.documents_inbox] if documents_settings.documents_source else []


REMEDIES = PERMANENT_REMEDIES | {
    code: f"{reason.meaning}; {reason.remedy}"
    for code, reason in REASONS.items()
    if reason.category != "recoverable"
}
"""By reason code of permanent failures: changes that a retry needs."""


def _find_oldest_waiting(
    settings: Settings, warehouse: Warehouse, clock: Clock
) -> Sequence[OldestMissing]:
    oldest_missing = None if _explain_unused(settings) else oldest_waiting(warehouse, clock.now())
    return [oldest_missing] if oldest_missing else []


def _list_subject_kinds(_: Settings) -> Sequence[SubjectKind]:
    from orchestration_project.resources.documents.erasure import DOCUMENT

    return [DOCUMENT]


CONNECTION = Connection(
    description="Files of documents: a folder, a bucket, or none beside uploads.",
    shown_name="the files of documents",
    open=_open,
    preflight="documents",
    probe=_check_source,
    tried=lambda _: "listed the files of documents",
    unused=_explain_unused,
)


def _build_definitions() -> DomainDefinitions:
    from orchestration_project.assets import documents
    from orchestration_project.assets.replays import ReplaySelection, build_replay_job
    from orchestration_project.sensors.documents import (
        documents_freshness_hourly,
        documents_on_arrival,
    )

    class ReplayDocuments(ReplaySelection, DocumentOptions):
        """Days whose captured documents are extracted again, and how."""

    return DomainDefinitions(
        assets=[documents.files, documents.load_documents, documents.derive_documents],
        jobs=[
            Job(
                definition=documents.load_job,
                parameters=(DAY,),
            ),
            build_replay_job("documents", [documents.REPLAY], ReplayDocuments),
            Job(definition=documents.derive_job, parameters=(DAY,)),
            Job(definition=documents.documents_freshness_job, parameters=()),
        ],
        asset_checks=[documents.files_are_loaded_in_time, documents.judge_documents],
        schedules=[documents_freshness_hourly],
        sensors=[documents_on_arrival],
        replays=[documents.REPLAY],
        registrations=RECOVERIES,
    )


DOCUMENTS = Domain(
    name="documents",
    source_setting="documents_source",
    define=_build_definitions,
    tables=[
        PartitionedTable(
            table=documents_pages,
            scope_of=lambda key: {"document_id": key},
            partitions_of=lambda *_: None,
        )
    ],
    api=[
        "orchestration_project.gateway.api.documents",
        "orchestration_project.gateway.api.documents_timeline",
    ],
    state_paths=[DEMO_FOLDER, "language_model"],
    registrations=[
        CommandModule(
            command="load", name="documents", module="orchestration_project.cli.documents_run"
        ),
        ConnectionMaker(lambda: {"documents": CONNECTION}),
        DatasetList(list_datasets),
        Deadlines(_find_oldest_waiting),
        *EQUATIONS,
        ItemTopics(
            prefix=TOPIC_PREFIX, open=WorkItems, remedies=REMEDIES, upload_prefix=UPLOAD_PREFIX
        ),
        ItemTopics(prefix=REPLAY_PREFIX, open=WorkItems, remedies=REMEDIES),
        LoadedInboxes(_list_loaded_inboxes),
        SubjectKinds(_list_subject_kinds),
    ],
)
