"""Objects of the artifact store that are replaced by whole ones.

The bytes are written beside, read back and verified, and only then copied to their name; what was
there is set aside first. A process that is killed leaves the damaged object, or the whole one.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import date
from typing import BinaryIO
from uuid import uuid4

from orchestration_project.connections.artifacts import ArtifactStore
from orchestration_project.contracts.repair import DAMAGED, Problem, is_expired
from orchestration_project.engine.captures import (
    STREAM_BYTES,
    BlobError,
    Captures,
    blob_name,
    compress_file,
    hash_file,
)
from orchestration_project.engine.packs import PACKS, Blob
from orchestration_project.errors import ConfigurationError, OrchestrationError


def problem_of(store: ArtifactStore, blob: Blob) -> Problem | None:
    """Return how a blob differs from what was captured, None if it is whole; it is read to its end.

    Raises:
        TransientError: The store does not answer.
    """
    found = None
    try:
        found = store.found(blob.storage_uri)
        if found is None:
            return "missing"
        Captures(store).verify(blob)
    except BlobError:
        needed = (blob.byte_offset or 0) + blob.stored_byte_count
        return "truncated" if found is not None and found.byte_count < needed else "changed"
    except (ConfigurationError, OSError):
        return "unreadable"
    return None


def problem_of_file(
    store: ArtifactStore, name: str, sha256: str, byte_count: int
) -> Problem | None:
    """Return how an object that is stored as it is differs from its SHA-256, None if it is whole.

    Raises:
        TransientError: The store does not answer.
    """
    try:
        found = store.found(name)
        if found is None:
            return "missing"
        with store.open(name) as file:
            digest, _ = hash_file(file)
    except FileNotFoundError:
        return "missing"
    except (ConfigurationError, OSError):
        return "unreadable"
    if digest == sha256:
        return None
    return "truncated" if found.byte_count < byte_count else "changed"


def put_blob(store: ArtifactStore, blob: Blob, body: BinaryIO, day: date) -> Blob:
    """Store the bytes of a damaged blob again, as an object of its own.

    Args:
        store: The artifact store.
        blob: The damaged blob; a pack that it is in stays as it is, for the others in it.
        body: A seekable file with its bytes.
        day: Day of the repair, by which what was there is set aside.

    Returns:
        Where it is now.

    Raises:
        BlobError: The store returns other bytes than were written; the object is as it was.
        TransientError: ``body`` has other bytes than the blob, or the store does not answer.
    """
    name = blob_name(blob.sha256) if blob.byte_offset is not None else blob.storage_uri
    sizes: list[int] = []
    body.seek(0)

    def is_whole(draft: str) -> bool:
        Captures(store).verify(Blob(blob.sha256, blob.byte_count, sum(sizes), draft))
        return True

    put_verified(
        store, name, compress_file(body, blob.sha256, blob.byte_count, sizes), is_whole, day
    )
    return Blob(blob.sha256, blob.byte_count, sum(sizes), name)


def put_file(store: ArtifactStore, name: str, sha256: str, body: BinaryIO, day: date) -> None:
    """Store the bytes of a damaged object again as they are.

    Raises:
        ConfigurationError: The store returns other bytes than were written.
        TransientError: The store does not answer.
    """

    def is_whole(draft: str) -> bool:
        with store.open(draft) as file:
            return hash_file(file)[0] == sha256

    body.seek(0)
    put_verified(store, name, iter(lambda: body.read(STREAM_BYTES), b""), is_whole, day)


def put_verified(
    store: ArtifactStore,
    name: str,
    chunks: Iterator[bytes],
    is_whole: Callable[[str], bool],
    day: date,
) -> None:
    """Write an object beside, verify it, set aside what is under its name, and put it there.

    Args:
        store: The artifact store.
        name: Name of the object.
        chunks: Its bytes as stored.
        is_whole: Whether the object of a name, which was just written, is whole.
        day: Day of the repair.

    Raises:
        ConfigurationError: It is not; what is under ``name`` stays.
    """
    draft = f"{DAMAGED}{day}/drafts/{uuid4().hex}"
    store.put_chunks(draft, chunks)
    try:
        if not is_whole(draft):
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
    """Keep what is under ``name``, if there is something, under a name of that day."""
    if store.found(name) is not None:
        store.copy(name, f"{DAMAGED}{day}/{name}")


def delete_expired(store: ArtifactStore, today: date, days: int) -> int:
    """Delete what was set aside ``days`` ago or earlier, and what killed repairs left.

    Args:
        store: The artifact store.
        today: Day of the project's clock, by which the names are dated.
        days: Days for which it is kept.

    Returns:
        The number of deleted objects.
    """
    old = [each.name for each in store.listed() if is_expired(each.name, today, days)]
    for name in old:
        store.delete(name)
    return len(old)


def restore_pack(store: ArtifactStore, other: ArtifactStore, name: str, day: date) -> bool:
    """Put a pack that another store has whole in the place of a damaged one.

    Returns:
        Whether the other store has it, with the bytes of the SHA-256 in its name.

    Raises:
        TransientError: A store does not answer.
    """
    if not name.startswith(PACKS):
        return False
    sha256 = name.rpartition("/")[2].partition(".")[0]
    try:
        content = other.get(name)
    except FileNotFoundError:
        return False
    if hashlib.sha256(content).hexdigest() != sha256:
        return False

    def is_whole(draft: str) -> bool:
        return hashlib.sha256(store.get(draft)).hexdigest() == sha256

    put_verified(store, name, iter([content]), is_whole, day)
    return True


def copy_object(store: ArtifactStore, other: ArtifactStore, name: str) -> int | None:
    """Copy an object to another store, in constant memory.

    Returns:
        Its size, bytes; None: the store does not have it.

    Raises:
        TransientError: A store does not answer.
    """
    try:
        opened = store.open(name)
    except FileNotFoundError:
        return None
    sizes: list[int] = []
    with opened as file:
        other.put_chunks(name, _counted(iter(lambda: file.read(STREAM_BYTES), b""), sizes))
    return sum(sizes)


def _counted(chunks: Iterable[bytes], sizes: list[int]) -> Iterator[bytes]:
    for chunk in chunks:
        sizes.append(len(chunk))
        yield chunk
