"""Old backups: removed with the artifacts that no other backup of the place names."""

from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import datetime
from typing import NamedTuple

from orchestration_project.engine.connections.artifacts import ArtifactStore
from orchestration_project.engine.contracts.backups import (
    BACKUPS,
    MANIFEST,
    OBJECT_LIST,
    build_backup_id,
    read_artifact_lines,
)
from orchestration_project.errors import OrchestrationError
from orchestration_project.resources.operations.backup_objects import (
    PlaceContents,
    name_backup_object,
    read_place,
)


class RemovedBackups(NamedTuple):
    """IDs of removed backups, and the number and bytes of the artifacts that went with them."""

    backup_ids: list[str]
    artifact_count: int
    artifact_bytes: int


def remove_old_backups(place: ArtifactStore, before: datetime) -> RemovedBackups:
    """Remove the backups of a place that started before a time; the latest one always stays.

    Artifacts stay while a backup without manifest is in the place, as it may be under way, and
    where the list of a backup cannot be read.

    Args:
        place: A place of backups.
        before: An aware time.

    Raises:
        ConfigurationError: The place cannot be written.
        TransientError: A bucket is away for now.
    """
    oldest = build_backup_id(before, "0" * 8)
    contents = read_place(place)
    old = [text for text in contents.complete[1:] if text < oldest]
    for backup_id in old:
        folder = f"{BACKUPS}{backup_id}/"
        files = [name for name in contents.files if name.startswith(folder)]
        for name in sorted(files, key=lambda name: not name.endswith(f"/{MANIFEST}")):
            with suppress(FileNotFoundError):
                place.delete(name)  # the manifest first: without it nothing restores the rest
    unnamed = _find_unnamed(place, contents, set(old)) if old else {}
    for sha256 in unnamed:
        with suppress(FileNotFoundError):
            place.delete(name_backup_object(sha256))
    return RemovedBackups(old, len(unnamed), sum(unnamed.values()))


def _find_unnamed(
    place: ArtifactStore, contents: PlaceContents, removed: set[str]
) -> dict[str, int]:
    """Return the artifacts that no backup names, with their bytes; none where that is unknown."""
    if contents.unfinished:
        return {}
    try:
        named = set(
            _iterate_named(place, [name for name in contents.complete if name not in removed])
        )
    except (OrchestrationError, FileNotFoundError):
        return {}
    return {sha256: size for sha256, size in contents.objects.items() if sha256 not in named}


def _iterate_named(place: ArtifactStore, backup_ids: list[str]) -> Iterator[str]:
    for backup_id in backup_ids:
        with closing(place.open(f"{BACKUPS}{backup_id}/{OBJECT_LIST}")) as lines:
            yield from (line.sha256 for line in read_artifact_lines(lines))
