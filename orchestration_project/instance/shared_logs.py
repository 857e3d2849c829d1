"""Compute logs of steps in the artifact store, where every host can read them.

A step writes files of its own host. While it runs they are stored now and then, and at its end once
more, with a mark that they are complete. A host that lacks a file reads it from the store.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread

from orchestration_project.engine.connections.artifacts import ArtifactStore
from orchestration_project.engine.connections.files import open_partial_file
from orchestration_project.errors import OrchestrationError

FOLDER = "compute_logs"
"""Folder of the artifact store."""

SECONDS_BETWEEN_UPLOADS = 15.0

COPIED_BYTES = 2**20

_logger = logging.getLogger(__name__)


class SharedLogs:
    """Files of compute logs in the artifact store, named as below the local folder.

    Args:
        store: The artifact store.
        folder: The local folder of compute logs.
        seconds: Time between two uploads of a step that runs.
    """

    def __init__(
        self, store: ArtifactStore, folder: Path, *, seconds: float = SECONDS_BETWEEN_UPLOADS
    ) -> None:
        self._store = store
        self._folder = folder.resolve()
        self._seconds = seconds

    @contextmanager
    def stored_meanwhile(self, files: Sequence[Path]) -> Iterator[None]:
        """Store the files while the block runs, whenever they have grown, and at its end."""
        end = Event()
        thread = Thread(target=self._go_on, args=(files, end), name="shared logs", daemon=True)
        thread.start()
        try:
            yield
        finally:
            end.set()
            thread.join()

    def _go_on(self, files: Sequence[Path], end: Event) -> None:
        sizes = dict.fromkeys(files, 0)
        is_last = False
        while not is_last:
            is_last = end.wait(self._seconds)
            for file in files:
                size = file.stat().st_size if file.exists() else 0
                if size > sizes[file] and self.put(file):
                    sizes[file] = size

    def put(self, file: Path) -> bool:
        """Store a file; return whether that worked: a step does not fail for its logs."""
        try:
            with file.open("rb") as content:
                self._store.put(self._name(file), content)
        except (OrchestrationError, OSError) as error:
            _logger.warning(
                "failed to store %s: %s", file, error, extra={"event": "compute_log_not_shared"}
            )
            return False
        return True

    def has(self, file: Path) -> bool:
        """Whether the store has a file; False too where it cannot be reached."""
        try:
            return self._store.found(self._name(file)) is not None
        except OrchestrationError:
            return False

    def read(
        self, file: Path, offset: int, max_bytes: int | None
    ) -> tuple[bytes, int] | tuple[None, int]:
        """Return bytes of a stored file from ``offset``, and where they end; None: no file.

        Args:
            file: Its local path.
            offset: Bytes to skip.
            max_bytes: Maximum number of bytes; None: all that are there.
        """
        try:
            stored_object = self._store.found(self._name(file))
            if stored_object is None:
                return None, offset
            size = max(stored_object.byte_count - offset, 0)
            size = size if max_bytes is None else min(size, max_bytes)
            data = self._store.get_range(self._name(file), offset, size) if size else b""
        except (OrchestrationError, FileNotFoundError):
            return None, offset
        return data, offset + len(data)

    def fetch(self, file: Path) -> bool:
        """Copy a stored file to this host, whole or not at all; return whether it was there."""
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with (
                self._store.open(self._name(file)) as content,
                open_partial_file(file.parent, prefix=".", suffix=".fetched") as (written, partial),
            ):
                while chunk := content.read(COPIED_BYTES):
                    written.write(chunk)
                written.flush()
                partial.replace(file)
        except (OrchestrationError, FileNotFoundError):
            return False
        return True

    def delete(self, folder: Path) -> None:
        """Remove the stored files of a folder."""
        for stored_object in list(self._store.listed(self._name(folder))):
            with suppress(FileNotFoundError):
                self._store.delete(stored_object.name)

    def _name(self, file: Path) -> str:
        return f"{FOLDER}/{file.resolve().relative_to(self._folder).as_posix()}"
