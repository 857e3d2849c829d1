"""One archive about one subject, written beside its place and renamed when it is whole."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path, PurePath
from typing import Any, BinaryIO

import dagster as dg
import polars as pl
from sqlalchemy import Connection, select

from orchestration_project.engine.captures import BlobError, Captures
from orchestration_project.engine.connections.artifacts import ArtifactStore
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.connections.files import ensure_state_folder
from orchestration_project.engine.contracts.formulas import TableRules, build_rules_document
from orchestration_project.engine.environment import open_shared_store
from orchestration_project.engine.packs import Blob
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.as_of import AsOf, StateAsOf, UnderivableError
from orchestration_project.errors import ConfigurationError
from orchestration_project.redaction import redacted
from orchestration_project.registry import PartitionedTable
from orchestration_project.services.evidence import recompute
from orchestration_project.services.evidence.absences import list_absences
from orchestration_project.services.evidence.archive import Archive
from orchestration_project.services.evidence.inputs import DerivedInputs, add_inputs, read_inputs
from orchestration_project.services.evidence.rules import (
    CAPTURED_BYTES,
    RECOMPUTE,
    RULES_FILE,
    Manifest,
)
from orchestration_project.services.evidence.run_events import check_results, run_events
from orchestration_project.services.evidence.subjects import (
    EvidenceRequest,
    EvidenceSubject,
    find_subject,
)
from orchestration_project.services.evidence.surroundings import iterate_settings, render_versions
from orchestration_project.services.evidence.tables import (
    iterate_frame_lines,
    iterate_lines,
    select_rows,
)
from orchestration_project.services.export import open_atomic_file
from orchestration_project.services.ledger import Ledger, record_runs
from orchestration_project.services.ledger.rules.entries import SESSION_TAGS
from orchestration_project.services.plans import find_plan_id, name_plan
from orchestration_project.services.presets import ConfigValue, EffectiveConfig
from orchestration_project.settings import Settings
from orchestration_project.tables.operations_runs import operations_runs
from orchestration_project.tables.spine import blobs, captures, deliveries

FOLDER = "evidence"
"""Below STATE_DIR, and in an artifact store that all hosts share."""

SUFFIX = ".zip"


@dataclass(frozen=True)
class Sources:
    """Sources of evidence.

    Attributes:
        config: The settings and presets that are in effect.
        applied: What applied presets set.
        tables: Tables with history by name, and what a partition of each is.
        bytes_of: The captured bytes, None where just their hashes are requested.
        rules: Rules of tables whose numbers can be recomputed, by table.
        derived: Derivations of tables as of a time, by table.
        artifacts: The store of the documents of applied plans; None: they are left out.
    """

    warehouse: Warehouse
    instance: dg.DagsterInstance
    config: EffectiveConfig
    applied: Mapping[str, ConfigValue]
    tables: Mapping[str, PartitionedTable]
    bytes_of: Captures | None = None
    rules: Mapping[str, TableRules] = field(default_factory=dict)
    derived: AsOf = field(default_factory=dict)
    artifacts: ArtifactStore | None = None


@dataclass(frozen=True)
class ExportedArchive:
    """An archive that was written."""

    path: Path
    byte_count: int
    sha256: str
    manifest: Manifest


def export_evidence(
    sources: Sources,
    wanted: EvidenceRequest,
    settings: Settings,
    file: str | None = None,
    *,
    now: datetime,
) -> ExportedArchive:
    """Write the archive of what is requested: of one state of our database, a batch at a time.

    Runs of it that the ledger lacks are recorded before.

    Args:
        sources: What it is taken from.
        wanted: What it is about.
        settings: Whose STATE_DIR.
        file: Where to; without it, below STATE_DIR, in the place of an earlier one of the same.
        now: The project's time.

    Raises:
        ConfigurationError: What is asked for is not recorded, or the file must not be written.
    """
    record_subject(sources.instance, Ledger(sources.warehouse, Clock(now)), wanted)
    with sources.warehouse.reading() as connection:
        subject = find_subject(connection, wanted, now)
        inputs = read_inputs(connection, subject, sources.rules)
        if wanted.include_inputs:
            subject = add_inputs(subject, inputs)
        path = _build_path(settings, subject) if file is None else resolve_file(settings, file)
        with open_atomic_file(path, replace=file is None) as sink, Archive(sink) as archive:
            _write(archive, connection, sources, subject, inputs)
            about = {name: redacted(value) for name, value in subject.about.items()}
            manifest = archive.finish(about)
    with path.open("rb") as written:
        sha256 = hashlib.file_digest(written, "sha256").hexdigest()
    return ExportedArchive(path, path.stat().st_size, sha256, manifest)


def record_subject(instance: dg.DagsterInstance, ledger: Ledger, wanted: EvidenceRequest) -> None:
    """Record the run of a request, or the runs that its session tags, if the ledger lacks them.

    The ledger follows Dagster with a delay; a run has its link to evidence from its start on.
    """
    filters = [dg.RunsFilter(run_ids=[wanted.run_id])] if wanted.run_id else []
    if wanted.session:
        filters += [dg.RunsFilter(tags={tag: wanted.session}) for tag in SESSION_TAGS]
    for runs_filter in filters:
        record_runs(instance, ledger, runs_filter)


def share_archive(archive: ExportedArchive, settings: Settings) -> bool:
    """Put an archive of STATE_DIR/evidence into the artifact store, if all hosts share that.

    Returns:
        Whether every gateway can serve it.

    Raises:
        TransientError: The store cannot be reached.
    """
    store = open_shared_store(settings)
    if store is None or archive.path.parent != settings.state_path / FOLDER:
        return False
    with archive.path.open("rb") as content:
        store.put(f"{FOLDER}/{archive.path.name}", content)
    return True


def measure_archives(settings: Settings) -> dict[str, int]:
    """Return the archives of this host and of the shared artifact store: bytes by name."""
    store = open_shared_store(settings)
    shared = store.listed(FOLDER) if store else ()
    byte_counts = {
        stored_object.name.removeprefix(f"{FOLDER}/"): stored_object.byte_count
        for stored_object in shared
    }
    for path in (settings.state_path / FOLDER).glob(f"*{SUFFIX}"):
        if path.is_file():
            byte_counts[path.name] = path.stat().st_size
    return {
        name: byte_counts[name]
        for name in sorted(byte_counts)
        if name.endswith(SUFFIX) and "/" not in name
    }


def open_archive(settings: Settings, name: str) -> Path | BinaryIO:
    """Return the file of an archive that `measure_archives` names, or open it in the shared store.

    Raises:
        FileNotFoundError: It was removed meanwhile.
    """
    path = settings.state_path / FOLDER / name
    store = open_shared_store(settings)
    return path if path.exists() or store is None else store.open(f"{FOLDER}/{name}")


def _build_path(settings: Settings, subject: EvidenceSubject) -> Path:
    return ensure_state_folder(settings, FOLDER) / f"{subject.name}{SUFFIX}"


def resolve_file(settings: Settings, file: str) -> Path:
    """Return where a run's config says; a relative path stays below STATE_DIR.

    Raises:
        ConfigurationError: It leads elsewhere than it seems to, or is not the name of an archive.
    """
    pure_path = PurePath(file)
    folder = ensure_state_folder(settings, FOLDER).resolve()
    path = folder / pure_path
    is_plain = "\0" not in file and ".." not in pure_path.parts and path.suffix == SUFFIX
    if not is_plain or not (pure_path.is_absolute() or path.resolve().is_relative_to(folder)):
        raise ConfigurationError(
            f"evidence is not written to {file!r}",
            expected=f"a path that ends in {SUFFIX}, without '..'; a relative one below {folder}",
            remedy="name another file, or none",
        )
    return path


def _write(
    archive: Archive,
    connection: Connection,
    sources: Sources,
    subject: EvidenceSubject,
    inputs: Mapping[str, DerivedInputs],
) -> None:
    settings = iterate_settings(connection, subject, sources.config, sources.applied)
    archive.add_lines("settings.jsonl", settings)
    archive.add("versions.json", render_versions(connection, subject, sources.config.config_hash))
    for rows in select_rows(connection, subject, sources.tables):
        archive.add_lines(rows.name, iterate_lines(connection, rows.relation))
    for name, derived in _read_derived_rows(connection, sources, subject, inputs).items():
        archive.add_lines(f"rows/{name}.jsonl", iterate_frame_lines(derived))
    archive.add(RULES_FILE, f"{json.dumps(_describe_rules(sources, inputs))}\n".encode())
    archive.add(RECOMPUTE, Path(recompute.__file__).read_bytes())
    run_ids = sorted(connection.execute(subject.runs).scalars())
    archive.add_lines("checks.jsonl", check_results(sources.instance, run_ids))
    archive.add_lines("run_events.jsonl", run_events(sources.instance, run_ids))
    if sources.artifacts is not None:
        _write_plans(archive, connection, subject, sources.artifacts)
    if sources.bytes_of is not None:
        _write_bytes(archive, connection, subject, sources.bytes_of)


def _write_plans(
    archive: Archive, connection: Connection, subject: EvidenceSubject, artifacts: ArtifactStore
) -> None:
    """Write the documents of the plans that the runs applied, and name those that are missing.

    The session of such a run has the ID of its plan.
    """
    sessions = select(operations_runs.c.session).where(operations_runs.c.run_id.in_(subject.runs))
    plan_ids = set(map(find_plan_id, connection.execute(sessions).scalars())) - {""}
    missing = []
    for plan_id in sorted(plan_ids):
        try:
            archive.add(name_plan(plan_id), artifacts.get(name_plan(plan_id)))
        except FileNotFoundError:
            missing.append(json.dumps({"plan": plan_id, "why": "its document is not stored"}))
    archive.add_lines("missing_plans.jsonl", missing)


def _describe_rules(sources: Sources, inputs: Mapping[str, DerivedInputs]) -> dict[str, Any]:
    """Return the rules of all tables, and the inputs of those that are derived.

    What has no formula is named with the reason.
    """
    other_names = {*sources.tables, *sources.derived} - sources.rules.keys()
    rules = build_rules_document(sources.rules.values(), list_absences(sources.rules, other_names))
    read = {name: [derived.table, derived.partitions] for name, derived in inputs.items()}
    return {**rules, "inputs": read}


def _read_derived_rows(
    connection: Connection,
    sources: Sources,
    subject: EvidenceSubject,
    inputs: Mapping[str, DerivedInputs],
) -> dict[str, pl.DataFrame]:
    """Return the rows of tables that can be recomputed of the loaded rows of the subject."""
    condition = deliveries.c.partition_key == subject.partition
    loaded = select(deliveries.c.table_name).where(condition, deliveries.c.outcome == "landed")
    names = set(connection.execute(loaded.where(subject.deliveries)).scalars())
    state, rows = StateAsOf(connection, subject.at, None), {}
    for name, derived in inputs.items():
        entries = {subject.partition, *subject.inputs.get(derived.table, ())}
        if derived.table in names and entries.issuperset(derived.partitions):
            try:
                rows[name] = sources.derived[name](state, derived.key).rows
            except UnderivableError:  # a tier of the week is not loaded
                continue
    return rows


def _write_bytes(
    archive: Archive, connection: Connection, subject: EvidenceSubject, store: Captures
) -> None:
    """Write each captured content once, verified; name those that are not to be had."""
    statement = (
        select(*(blobs.c[name] for name in Blob._fields))
        .where(
            blobs.c.sha256.in_(
                select(captures.c.sha256).where(captures.c.group_id.in_(subject.groups))
            )
        )
        .order_by(blobs.c.sha256)
    )
    missing = []
    for blob in (Blob(*row) for row in connection.execute(statement).all()):
        try:
            body = store.read(blob)
        except BlobError as error:  # cleaned up, or lost: the rest is evidence all the same
            missing.append(
                json.dumps({"sha256": blob.sha256, "why": f"{error.what}: {error.found}"})
            )
            continue
        archive.add(f"{CAPTURED_BYTES}{blob.sha256}", body)
    archive.add_lines("missing_bytes.jsonl", missing)
