"""Backups: databases first, then what the artifact store has since, the manifest last.

Artifacts are only added, so a later list of them covers what the databases name. What a killed
backup leaves has no manifest, and is not used.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple
from uuid import uuid4

from sqlalchemy import insert, select, update

from orchestration_project.engine.connections.artifacts import ArtifactStore, StoredObject
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.backups import (
    BACKUPS,
    INVALID,
    MANIFEST,
    OBJECT_LIST,
    VERIFIED,
    Manifest,
    Part,
    StoredArtifact,
    build_backup_id,
    encode_artifact_line,
    read_artifact_lines,
    read_manifest,
)
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.frames import insert_absent
from orchestration_project.errors import ConfigurationError, OrchestrationError
from orchestration_project.resources.operations.backup_objects import (
    PlaceContents,
    at_once,
    back_up_artifact,
    chunks_of,
    flush,
    name_backup_object,
    read_place,
    write_part,
)
from orchestration_project.resources.operations.database_dumps import Database
from orchestration_project.services.inventory import read_object_names
from orchestration_project.tables.operations_deployment import operations_backups
from orchestration_project.tables.spine import database_labels

INSTALLATION = "installation"
"""Label of the database with the ID of the installation."""

CLOCK_SKEW = timedelta(hours=1)
"""An artifact that was put so shortly before the previous backup is copied again."""

LEFTOVER_AGE = timedelta(days=1)
"""A backup without manifest that began before that is not being made any more."""


@dataclass(frozen=True)
class Installation:
    """The parts that are backed up: two databases and the artifact store.

    Attributes:
        project: The project's database.
        dagster_storage: Dagster's runs, events and schedules.
        store: The artifacts.
        data: What the database holds, demo or real.
        release: Version of this program.
        dagster: Version of Dagster.
        spool: A folder for files on the way.
        domains: What `orchestrate domains` has stored.
    """

    project: Database
    dagster_storage: Database
    store: ArtifactStore
    data: str
    release: str
    dagster: str
    spool: Path
    domains: Sequence[str] = ()


class BackupResult(NamedTuple):
    """A complete backup, with the artifacts that were copied now, and unfinished backups beside."""

    manifest: Manifest
    copied_count: int
    copied_bytes: int
    unfinished: list[str]


def installation_id(warehouse: Warehouse, *, make: bool) -> str | None:
    """Return the ID of the installation; if it has none, ``make`` one or return None."""
    query = select(database_labels.c.value).where(database_labels.c.name == INSTALLATION)
    if make:
        with warehouse.writing() as connection:
            insert_absent(
                connection, database_labels, [{"name": INSTALLATION, "value": uuid4().hex}]
            )
            return connection.execute(query).scalar_one()
    with warehouse.reading() as connection:
        return connection.execute(query).scalar()


def back_up(
    installation: Installation, warehouse: Warehouse, place: ArtifactStore, clock: Clock
) -> BackupResult:
    """Make a backup in a place that may have earlier ones; programs may run meanwhile.

    Artifacts that an earlier backup has are not copied again.

    Raises:
        ConfigurationError: The place has backups of another installation, or cannot be written,
            such as when its disk is full. What this backup wrote of its own is removed.
        TransientError: A database or a bucket is away for now.
    """
    text = installation_id(warehouse, make=True) or ""
    contents = read_place(place)
    previous = _find_previous(place, contents, text)
    started_at = clock.now()
    backup_id = build_backup_id(started_at, uuid4().hex)
    written = _Written(place, f"{BACKUPS}{backup_id}/")
    try:
        with TemporaryDirectory(dir=installation.spool) as spool:
            dagster_storage = installation.dagster_storage.dump(written.write, Path(spool))
            project = installation.project.dump(written.write, Path(spool))
            expected = read_object_names(warehouse)
            artifacts = _Artifacts(installation.store, place, contents.objects, previous)
            listed = Path(spool) / OBJECT_LIST
            artifacts.copy_all(listed)
            sha256, size = written.write(OBJECT_LIST, chunks_of(listed.open("rb")))
        missing = expected - artifacts.names
        missing &= read_object_names(warehouse) if missing else missing  # some were cleaned up
        flush(place, {*written.names, *map(name_backup_object, artifacts.copied)})
        manifest = Manifest(
            backup_id=backup_id,
            installation_id=text,
            data=installation.data,
            release=installation.release,
            dagster=installation.dagster,
            started_at=started_at.isoformat(),
            project=project,
            dagster_storage=dagster_storage,
            objects=Part(OBJECT_LIST, sha256, size),
            object_count=len(artifacts.names),
            object_bytes=artifacts.byte_count,
            missing=sorted(missing),
            domains=installation.domains,
        )
        place.put(f"{written.folder}{MANIFEST}", manifest.to_json())
    except BaseException:
        written.remove()
        raise
    record_backup(warehouse, manifest, place.url, clock.now())
    _record_verifications(warehouse, place, contents)
    _remove_leftovers(place, contents, started_at)
    return BackupResult(
        manifest, len(artifacts.copied), sum(artifacts.copied.values()), contents.unfinished
    )


class _Written:
    """Stores the parts of one backup."""

    def __init__(self, place: ArtifactStore, folder: str) -> None:
        self._place = place
        self.folder = folder
        self.names: list[str] = []

    def write(self, name: str, chunks: Iterator[bytes]) -> tuple[str, int]:
        """Store a part; return its SHA-256 and size in bytes."""
        self.names.append(f"{self.folder}{name}")
        return write_part(self._place, self.names[-1], chunks)

    def remove(self) -> None:
        """Remove the parts, as far as that can be; without a manifest nothing uses them."""
        for name in [*self.names, f"{self.folder}{MANIFEST}"]:
            with suppress(OrchestrationError, FileNotFoundError):
                self._place.delete(name)


class _Artifacts:
    """Copies the artifacts of the store that the place lacks, and lists all of them."""

    def __init__(
        self,
        store: ArtifactStore,
        place: ArtifactStore,
        present: Mapping[str, int],
        previous: "_Previous",
    ) -> None:
        self._store = store
        self._place = place
        self._present = present
        self._previous = previous
        self.names: set[str] = set()
        self.copied: dict[str, int] = {}
        self.byte_count = 0

    def copy_all(self, listed: Path) -> None:
        """Copy, and write the list to a file."""
        with listed.open("wb") as file:
            for artifact in at_once(self._copy, self._store.listed(), self._store, self._place):
                if artifact is not None:
                    self.names.add(artifact.name)
                    self.byte_count += artifact.byte_count
                    file.write(encode_artifact_line(artifact))

    def _copy(self, stored: StoredObject) -> StoredArtifact | None:
        stored_artifact = self._previous.artifacts.get(stored.name)
        if (
            stored_artifact is not None
            and stored_artifact.byte_count == stored.byte_count
            and stored.put_at < self._previous.started_at - CLOCK_SKEW
            and self._present.get(stored_artifact.sha256) == stored_artifact.byte_count
        ):
            return stored_artifact
        try:
            sha256, size = back_up_artifact(self._store, stored.name, self._place)
        except FileNotFoundError:  # a clean-up has removed it since it was listed
            return None
        if sha256 not in self._present:
            self.copied[sha256] = size
        return StoredArtifact(stored.name, size, sha256)


class _Previous(NamedTuple):
    """The latest complete backup in a place: its artifacts by name, and when it started."""

    artifacts: Mapping[str, StoredArtifact]
    started_at: datetime


def _find_previous(place: ArtifactStore, contents: PlaceContents, own: str) -> _Previous:
    """Return the latest backup; a damaged one stands for none.

    Raises:
        ConfigurationError: It is of another installation.
    """
    for backup_id in contents.complete:
        folder = f"{BACKUPS}{backup_id}/"
        try:
            manifest = read_manifest(place.get(f"{folder}{MANIFEST}"), backup_id)
            started_at = datetime.fromisoformat(manifest.started_at)
            if manifest.installation_id == own:
                with closing(place.open(f"{folder}{OBJECT_LIST}")) as lines:
                    artifacts = {line.name: line for line in read_artifact_lines(lines)}
                return _Previous(artifacts, started_at)
        except (OrchestrationError, FileNotFoundError, ValueError):
            continue
        raise ConfigurationError(
            f"{place.url} has backups of another installation",
            expected=f"an empty folder, or backups of installation {own}",
            found=f"backup {backup_id} of installation {manifest.installation_id}",
            remedy="name another folder: --to DIR",
        )
    return _Previous({}, datetime.min)  # noqa: DTZ901 - compared with nothing


def record_backup(
    warehouse: Warehouse,
    manifest: Manifest,
    location: str,
    ended_at: datetime,
    verified_at: datetime | None = None,
) -> None:
    """Add a backup to the table `operations_backups`, unless it is there."""
    row = {
        "backup_id": manifest.backup_id,
        "location": location,
        "started_at": datetime.fromisoformat(manifest.started_at),
        "ended_at": ended_at,
        "release": manifest.release,
        "database_bytes": manifest.database_bytes,
        "blob_count": manifest.object_count,
        "blob_bytes": manifest.object_bytes,
        "missing_count": len(manifest.missing),
        "manifest_sha256": manifest.sha256,
        "verified_at": verified_at,
    }
    is_it = operations_backups.c.backup_id == manifest.backup_id
    with warehouse.writing() as connection:
        if connection.execute(select(operations_backups.c.backup_id).where(is_it)).first() is None:
            connection.execute(insert(operations_backups), row)
        elif verified_at is not None:
            connection.execute(
                update(operations_backups).where(is_it).values(verified_at=verified_at)
            )


def note_verification(place: ArtifactStore, manifest: Manifest, at: datetime) -> bool:
    """Note beside a backup that a restore found it whole; its installation reads that.

    Returns:
        False: the place cannot be written.
    """
    names = {"manifest_sha256": manifest.sha256, "verified_at": at.isoformat()}
    try:
        place.put(f"{BACKUPS}{manifest.backup_id}/{VERIFIED}", json.dumps(names).encode())
    except OrchestrationError:
        return False
    return True


def _record_verifications(
    warehouse: Warehouse, place: ArtifactStore, contents: PlaceContents
) -> None:
    """Record which earlier backups of the place were restored with --check since."""
    for backup_id in contents.complete:
        name = f"{BACKUPS}{backup_id}/{VERIFIED}"
        if name not in contents.files:
            continue
        try:
            document = json.loads(place.get(name))
            at = datetime.fromisoformat(document["verified_at"])
            sha256 = str(document["manifest_sha256"])
        except (*INVALID, OrchestrationError, FileNotFoundError):
            continue
        if at.tzinfo is None:
            continue
        with warehouse.writing() as connection:
            connection.execute(
                update(operations_backups)
                .where(
                    operations_backups.c.backup_id == backup_id,
                    operations_backups.c.manifest_sha256 == sha256,
                )
                .values(verified_at=at)
            )


def _remove_leftovers(place: ArtifactStore, contents: PlaceContents, now: datetime) -> None:
    """Remove the files that backups left which were killed long ago."""
    oldest = build_backup_id(now - LEFTOVER_AGE, "0" * 8)
    for name in _select_files(contents, (text for text in contents.unfinished if text < oldest)):
        with suppress(OrchestrationError, FileNotFoundError):
            place.delete(name)


def _select_files(contents: PlaceContents, backups: Iterable[str]) -> Iterator[str]:
    folders = tuple(f"{BACKUPS}{backup}/" for backup in backups)
    return (name for name in contents.files if folders and name.startswith(folders))
