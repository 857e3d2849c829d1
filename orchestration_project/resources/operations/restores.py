"""Restores: missing files, versions and targets are refused before the first byte is written.

A restore that was killed can be repeated: a database is filled in one transaction, or file by
file; what is there already as the backup has it is left alone.
"""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import NamedTuple

from orchestration_project.engine.connections.artifacts import ArtifactStore
from orchestration_project.engine.contracts.backups import (
    BACKUPS,
    MANIFEST,
    DatabaseBackup,
    Manifest,
    Part,
    StoredArtifact,
    compare_sizes,
    format_names,
    read_artifact_lines,
    read_manifest,
    refuse_foreign,
    refuse_newer,
    refuse_older,
)
from orchestration_project.errors import ConfigurationError, ContractError
from orchestration_project.migrations import BASELINE_VERSION, FORMER_COMMIT, NEWEST_VERSION
from orchestration_project.resources.operations.backup_objects import (
    Hashing,
    PlaceContents,
    at_once,
    chunks_of,
    flush,
    read_place,
    refuse_changed,
    restore_artifact,
    sha256_of,
)
from orchestration_project.resources.operations.backups import Installation
from orchestration_project.resources.operations.database_dumps import Database, with_data
from orchestration_project.tables.catalogue import tables


class RestoreResult(NamedTuple):
    """The result of a restore: artifacts that were copied, and databases that were filled."""

    manifest: Manifest
    copied_count: int
    copied_bytes: int
    filled: list[str]
    unfinished: list[str]


@dataclass(frozen=True)
class Restore:
    """A restore of one backup into an installation.

    Attributes:
        place: Where the backup lies.
        manifest: Its manifest.
        contents: What else lies there.
        installation: Into what it is restored.
    """

    place: ArtifactStore
    manifest: Manifest
    contents: PlaceContents
    installation: Installation

    def refuse(self, own_id: str | None) -> None:
        """Refuse a backup that cannot be restored; nothing is written.

        Args:
            own_id: ID of the installation to restore into; None: it has none, or any is accepted.

        Raises:
            ConfigurationError: The backup is of another installation or a newer release, or of
                another kind of database, or the target is not empty.
            ContractError: A part or an artifact is missing or has another size.
        """
        refuse_foreign(self.manifest, own_id, self.installation.data)
        refuse_newer(self.manifest, NEWEST_VERSION, (table.name for table in tables()))
        refuse_older(self.manifest, BASELINE_VERSION, FORMER_COMMIT)
        self._refuse_incomplete()
        for database, backup in self._databases():
            if database.kind != backup.kind:
                raise ConfigurationError(
                    f"the backup holds a database of {backup.kind}, which cannot be restored into "
                    f"{database.kind}",
                    expected=f"a database of {backup.kind}",
                    found=database.shown_url,
                    remedy="correct DATABASE_URL or DAGSTER_DATABASE_URL; to change the kind, "
                    "restore first, then `orchestrate copy-database`",
                )
            database.is_restored(backup)
        self._refuse_other_artifacts()

    def _refuse_incomplete(self) -> None:
        folder = f"{BACKUPS}{self.manifest.backup_id}/"
        parts = {
            f"{folder}{part.name}": part.byte_count
            for part in self.manifest.parts
            if part.byte_count or part.name == self.manifest.objects.name
        }
        missing, changed = compare_sizes(parts, self.contents.files)
        if missing or changed:
            raise self._incomplete("part", missing, changed)
        contents = {artifact.sha256: artifact.byte_count for artifact in self.artifacts()}
        missing, changed = compare_sizes(contents, self.contents.objects)
        if missing or changed:
            affected = {*missing, *changed}
            names = sorted(
                artifact.name for artifact in self.artifacts() if artifact.sha256 in affected
            )
            raise self._incomplete("artifact", names if missing else [], [] if missing else names)

    def _incomplete(self, kind: str, missing: list[str], changed: list[str]) -> ContractError:
        texts = [f"missing: {format_names(missing)}"] if missing else []
        texts += [f"another size: {format_names(changed)}"] if changed else []
        return ContractError(
            f"the backup {self.manifest.backup_id} lacks a {kind} or has a changed one",
            expected=f"all {kind}s that its manifest names, in {self.place.url}",
            found="; ".join(texts),
            remedy="copy the folder again from where it was backed up to, or restore another "
            "backup: --backup ID",
        )

    def _refuse_other_artifacts(self) -> None:
        """Refuse a store with artifacts of the same names that differ in size."""
        expected = {artifact.name: artifact.byte_count for artifact in self.artifacts()}
        byte_counts = {
            stored_object.name: stored_object.byte_count
            for stored_object in self.installation.store.listed()
        }
        _, changed = compare_sizes(expected, byte_counts)
        if changed:
            raise ConfigurationError(
                "the artifact store to restore into has other artifacts of the same names",
                expected="an empty store, or the artifacts of this backup",
                found=f"another size: {format_names(changed)} in {self.installation.store.url}",
                remedy="set ARTIFACTS_URL to an empty folder or prefix",
            )

    def run(self, progress: Callable[[str], object]) -> RestoreResult:
        """Copy the artifacts, then fill the databases, the project's last.

        Raises:
            ContractError: A part or an artifact is not what was stored.
            ConfigurationError: The store or a database cannot be written, such as on a full disk.
        """
        store = self.installation.store
        present = {stored_object.name for stored_object in store.listed()}
        absent = (artifact for artifact in self.artifacts() if artifact.name not in present)
        copied = list(at_once(self._copy, absent, self.place, store))
        flush(store, [stored_artifact.name for stored_artifact in copied])
        byte_count = sum(stored_artifact.byte_count for stored_artifact in copied)
        progress(f"{len(copied)} artifacts copied, {byte_count} bytes")
        filled: list[str] = []
        for database, backup in self._databases():
            if not database.is_restored(backup):
                database.restore(backup, self._read)
                filled.append(database.shown_url)
                progress(f"{sum(backup.row_counts.values())} rows restored: {database.shown_url}")
        return RestoreResult(
            self.manifest, len(copied), byte_count, filled, self.contents.unfinished
        )

    def check_artifacts(self) -> int:
        """Read every artifact in the store and compare its SHA-256; return how many.

        Raises:
            ContractError: One is missing or changed.
        """
        store = self.installation.store
        return sum(1 for _ in at_once(self._check, self.artifacts(), store))

    def check_rows(self) -> None:
        """Compare the numbers of rows of all tables with the manifest.

        Raises:
            ConfigurationError: A database has other rows.
            ContractError: A database has none.
        """
        for database, backup in self._databases():
            if not database.is_restored(backup) and with_data(backup.row_counts):
                raise ContractError(
                    "the restored database is empty",
                    expected=f"{sum(backup.row_counts.values())} rows",
                    found=f"no rows in {database.shown_url}",
                    remedy="look whether something emptied it, and restore again",
                )

    def artifacts(self) -> Iterator[StoredArtifact]:
        """Yield the artifacts of the backup.

        Raises:
            ContractError: Their list is not what was stored.
        """
        name = f"{BACKUPS}{self.manifest.backup_id}/{self.manifest.objects.name}"
        with closing(self.place.open(name)) as lines:
            yield from read_artifact_lines(lines)

    def _databases(self) -> Iterator[tuple[Database, DatabaseBackup]]:
        yield self.installation.dagster_storage, self.manifest.dagster_storage
        yield self.installation.project, self.manifest.project

    def _copy(self, artifact: StoredArtifact) -> StoredArtifact:
        restore_artifact(self.place, artifact, self.installation.store)
        return artifact

    def _check(self, artifact: StoredArtifact) -> None:
        store = self.installation.store
        try:
            sha256 = sha256_of(store, artifact.name)
        except FileNotFoundError:
            sha256 = "of nothing: it is missing"
        refuse_changed(artifact, sha256, store.url)

    def _read(self, part: Part) -> Iterator[bytes]:
        """Yield a part; refuse at its end what is not what was stored."""
        yield from read_part(self.place, self.manifest.backup_id, part)


def read_part(place: ArtifactStore, backup_id: str, part: Part) -> Iterator[bytes]:
    """Yield the bytes of a part.

    Raises:
        ContractError: At the end, if its SHA-256 is not that of the manifest.
    """
    hashing = Hashing(chunks_of(place.open(f"{BACKUPS}{backup_id}/{part.name}")))
    yield from hashing
    if hashing.sha256 != part.sha256:
        raise ContractError(
            f"the part {part.name} of the backup {backup_id} was changed",
            expected=f"SHA-256 {part.sha256}",
            found=f"SHA-256 {hashing.sha256} in {place.url}",
            remedy="copy the folder again from where it was backed up to, or restore another "
            "backup: --backup ID",
        )


def open_restore(
    place: ArtifactStore, backup_id: str | None, installation: Installation
) -> Restore:
    """Read the manifest of a backup, and compare the list of artifacts with it.

    Args:
        place: A place of backups.
        backup_id: The backup; None: the latest that is complete.
        installation: Into what it is to be restored.

    Raises:
        ConfigurationError: The backup does not exist, or is not complete.
        ContractError: Its manifest or list was changed.
    """
    contents = read_place(place)
    chosen = backup_id or next(iter(contents.complete), None)
    if chosen is None or chosen not in contents.complete:
        raise _build_backup_error(place, chosen, contents)
    manifest = read_manifest(place.get(f"{BACKUPS}{chosen}/{MANIFEST}"), chosen)
    try:
        for _ in read_part(place, chosen, manifest.objects):
            pass
    except FileNotFoundError:
        pass  # `refuse` names all parts that are missing
    return Restore(place, manifest, contents, installation)


def _build_backup_error(
    place: ArtifactStore, wanted: str | None, contents: PlaceContents
) -> ConfigurationError:
    unfinished = f"; without manifest, so killed: {format_names(contents.unfinished)}"
    return ConfigurationError(
        f"{place.url} has no complete backup" + (f" {wanted}" if wanted else ""),
        expected="a folder that `orchestrate backup --to` filled",
        found=f"complete: {format_names(contents.complete) or 'none'}"
        + (unfinished if contents.unfinished else ""),
        remedy="correct --from or --backup",
    )
