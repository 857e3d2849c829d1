"""Copies of the artifact store from which damaged artifacts are repaired: a store, or backups."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import NamedTuple

from orchestration_project.engine.connections.artifacts import ArtifactStore, open_artifacts
from orchestration_project.engine.contracts.backups import (
    BACKUPS,
    MANIFEST,
    OBJECT_LIST,
    name_backup_object,
    read_artifact_lines,
)
from orchestration_project.errors import ConfigurationError
from orchestration_project.services.repair.damage import DamagedArtifact


class ArtifactCopy(NamedTuple):
    """A copy of the artifact store, or a place of backups.

    Attributes:
        store: Where it lies.
        names: Names of its objects by the name of an artifact, the newest first; of others, the
            same name.
    """

    store: ArtifactStore
    names: Mapping[str, Sequence[str]] = {}

    def find_names(self, name: str) -> Sequence[str]:
        """Return the names of the objects that may be an artifact."""
        return self.names.get(name, [name])


def open_copy(url: str, store: ArtifactStore, damaged: Sequence[DamagedArtifact]) -> ArtifactCopy:
    """Open a copy of a store, or a place of backups, for the repair of some artifacts.

    Args:
        url: A folder, file:// or s3:// URL.
        store: The store that is repaired.
        damaged: The artifacts, whose names in the backups are read.

    Raises:
        ConfigurationError: It cannot be opened, has nothing, or is the store itself.
    """
    copy = open_artifacts(url, setting="copy_url")
    if copy.url == store.url or next(copy.listed(), None) is None:
        raise ConfigurationError(
            "invalid copy_url: expected a copy of the artifact store, or backups, e.g. /mnt/copy",
            found=f"{copy.url}, {'the store itself' if copy.url == store.url else 'empty'}",
            remedy="mount its disk, or correct the URL",
        )
    expected_names = {name for damaged_artifact in damaged for name in damaged_artifact.names}
    names: dict[str, list[str]] = {}
    files = sorted(
        (stored_object.name for stored_object in copy.listed(BACKUPS.rstrip("/"))), reverse=True
    )
    for file in [name for name in files if name.endswith(f"/{MANIFEST}")]:
        with closing(copy.open(f"{file.removesuffix(MANIFEST)}{OBJECT_LIST}")) as lines:
            for artifact in read_artifact_lines(lines):
                if artifact.name in expected_names:
                    names.setdefault(artifact.name, []).append(name_backup_object(artifact.sha256))
    return ArtifactCopy(copy, {name: list(dict.fromkeys(texts)) for name, texts in names.items()})
