"""Objects of the artifact store that are replaced by whole ones.

The bytes are written beside, read back and verified, and only then copied to their name; what was
there is set aside first. A process that is killed leaves the damaged object, or the whole one.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import date
from typing import BinaryIO
from uuid import uuid4

from orchestration_project.engine.captures import (
    STREAM_BYTES,
    BlobError,
    Captures,
    compress_file,
    hash_file,
    name_blob,
)
from orchestration_project.engine.connections.artifacts import ArtifactStore
from orchestration_project.engine.contracts.repair import DAMAGED, Problem, is_expired
from orchestration_project.engine.packs import Blob
from orchestration_project.errors import ConfigurationError, OrchestrationError


def find_problem(store: ArtifactStore, blob: Blob) -> Problem | None:
    """Return how a blob differs from what was captured, None if it is whole; it is read to its end.

    Raises:
        TransientError: The store does not answer.
    """
    stored = None
    try:
        stored = store.found(blob.storage_uri)
        if stored is None:
            return "missing"
        Captures(store).verify(blob)
    except BlobError:
        needed = (blob.byte_offset or 0) + blob.stored_byte_count
        return "truncated" if stored is not None and stored.byte_count < needed else "changed"
    except (ConfigurationError, OSError):
        return "unreadable"
    return None


def find_file_problem(
    store: ArtifactStore, name: str, sha256: str, byte_count: int
) -> Problem | None:
    """Return how an object that is stored as it is differs from its SHA-256, None if it is whole.

    Raises:
        TransientError: The store does not answer.
    """
    try:
        stored_object = store.found(name)
        if stored_object is None:
            return "missing"
        with store.open(name) as file:
            digest, _ = hash_file(file)
    except FileNotFoundError:
        return "missing"
    except (ConfigurationError, OSError):
        return "unreadable"
    if digest == sha256:
        return None
    return "truncated" if stored_object.byte_count < byte_count else "changed"


def put_blob(store: ArtifactStore, blob: Blob, body: BinaryIO, day: date) -> Blob:
    """Store the bytes of a damaged blob again, as an object of its own.

    Args:
        store: The artifact store.
        blob: The damaged blob; a pack that it is in stays as it is, for the others in it.
        body: Its bytes.
        day: Day of the repair, by which what was there is set aside.

    Returns:
        Where it is now.

    Raises:
        ConfigurationError: The store returns other bytes than were written; the object is as it
            was.
        TransientError: ``body`` has other bytes than the blob, or the store does not answer.
    """
    name = name_blob(blob.sha256) if blob.byte_offset is not None else blob.storage_uri
    sizes: list[int] = []

    def problem_of_draft(draft: str) -> Problem | None:
        return find_problem(store, Blob(blob.sha256, blob.byte_count, sum(sizes), draft))

    chunks = compress_file(body, blob.sha256, blob.byte_count, sizes)
    _put_verified(store, name, chunks, problem_of_draft, day)
    return Blob(blob.sha256, blob.byte_count, sum(sizes), name)


def put_file(store: ArtifactStore, name: str, sha256: str, body: BinaryIO, day: date) -> None:
    """Store the bytes of a damaged object again as they are.

    Raises:
        ConfigurationError: The store returns other bytes than those of the SHA-256.
        TransientError: The store does not answer.
    """
    chunks = iter(lambda: body.read(STREAM_BYTES), b"")
    _put_verified(
        store, name, chunks, lambda draft: find_file_problem(store, draft, sha256, 0), day
    )


def _put_verified(
    store: ArtifactStore,
    name: str,
    chunks: Iterator[bytes],
    problem_of_draft: Callable[[str], Problem | None],
    day: date,
) -> None:
    """Write an object beside, verify it, set aside what is under its name, and put it there.

    Raises:
        ConfigurationError: It is not whole; what is under ``name`` stays.
    """
    draft = f"{DAMAGED}{day}/drafts/{uuid4().hex}"
    store.put_chunks(draft, chunks)
    try:
        if problem_of_draft(draft) is not None:
            raise ConfigurationError(
                f"the artifact {name} cannot be repaired",
                expected=f"the bytes that were written, at {store.url}",
                found="other bytes",
                remedy="look for what changes objects there; set ARTIFACTS_URL to another store",
            )
        set_aside(store, name, day)
        store.copy(draft, name)
    finally:
        with suppress(OrchestrationError):  # it expires
            store.delete(draft)


def set_aside(store: ArtifactStore, name: str, day: date) -> None:
    """Copy the object ``name``, if it exists, to a name of that day."""
    if store.found(name) is not None:
        store.copy(name, f"{DAMAGED}{day}/{name}")


def delete_expired(store: ArtifactStore, today: date, days: int) -> int:
    """Delete objects set aside ``days`` ago or earlier, and leftovers of killed repairs.

    Args:
        store: The artifact store.
        today: Day of the project's clock, by which the names are dated.
        days: Days for which they are kept.

    Returns:
        The number of deleted objects.
    """
    old = [
        stored_object.name
        for stored_object in store.listed(DAMAGED.rstrip("/"))
        if is_expired(stored_object.name, today, days)
    ]
    for name in old:
        store.delete(name)
    return len(old)
