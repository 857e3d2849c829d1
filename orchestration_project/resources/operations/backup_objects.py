"""Artifacts between the store and a place of backups: listed, copied once, compared by SHA-256."""

import fcntl
import hashlib
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from itertools import count, islice
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeVar
from uuid import uuid4

from orchestration_project.engine.connections.artifacts import (
    PARTIAL,
    ArtifactStore,
    FolderStore,
    S3Store,
)
from orchestration_project.engine.connections.files import PRIVATE_FILE_MODE
from orchestration_project.engine.contracts.backups import (
    BACKUPS,
    MANIFEST,
    OBJECTS,
    StoredArtifact,
    is_backup_id,
    name_backup_object,
)
from orchestration_project.errors import ConfigurationError, ContractError
from orchestration_project.resources.operations.database_dumps import CHUNK_BYTES

THREADS = 1
"""Artifacts that are copied at the same time between folders; two threads of one process wait for
each other, and took 1.4 times as long."""

BUCKET_THREADS = 8
"""The same to or from a bucket, which answers each request after a while."""

FLUSHED_ALONE = 1000
"""More files are flushed together with whatever else the system has to write."""

_PROCESS = uuid4().hex
_NUMBERS = count()

Item = TypeVar("Item")
Result = TypeVar("Result")

BATCH = 32
"""Artifacts that a thread gets together: each hand-over costs as much as a small artifact."""

QUEUED = 2
"""Batches that wait for each thread; a list of a million names is not queued at once."""


def open_place(place: str, option: str) -> ArtifactStore:
    """Open a place of backups: a folder, relative to the present one, or an s3:// URL.

    Args:
        place: As the user gives it.
        option: The option that gave it, for messages.

    Raises:
        ConfigurationError: It is neither.
    """
    scheme, mark, _ = place.partition("://")
    if not mark and place:
        return FolderStore(Path(place).expanduser().resolve())
    if scheme == "s3":
        return S3Store(place, setting=option)
    raise ConfigurationError(
        f"invalid {option}: expected a folder or an s3:// URL, e.g. /backups or s3://bucket/backups",
        found=place,
    )


def refuse_nested(place: ArtifactStore, store: ArtifactStore, option: str) -> None:
    """Refuse a place within the artifact store, or the other way round.

    Raises:
        ConfigurationError: One lies in the other.
    """
    mine, its = (f"{artifact_store.url.rstrip('/')}/" for artifact_store in (place, store))
    if mine.startswith(its) or its.startswith(mine):
        raise ConfigurationError(
            f"invalid {option}: expected a place outside the artifact store, e.g. /backups",
            found=f"{place.url}, and the store is {store.url}",
        )


class PlaceContents(NamedTuple):
    """The contents of a place of backups.

    Attributes:
        complete: IDs of the backups that have a manifest, the latest first.
        unfinished: IDs of the others: they were killed, or are being made.
        files: Size in bytes of each file of a backup, by name in the place.
        objects: Size in bytes of each artifact, by its SHA-256.
    """

    complete: list[str]
    unfinished: list[str]
    files: Mapping[str, int]
    objects: Mapping[str, int]


def read_place(place: ArtifactStore) -> PlaceContents:
    """List a place of backups; one that does not exist is empty."""
    files: dict[str, int] = {}
    objects: dict[str, int] = {}
    for name, size, _ in place.listed():
        if name.startswith(OBJECTS):
            objects[name.rpartition("/")[2]] = size
        elif name.startswith(BACKUPS):
            files[name] = size
    names = {name.split("/")[1] for name in files}
    backups = sorted(filter(is_backup_id, names), reverse=True)
    complete = [backup for backup in backups if f"{BACKUPS}{backup}/{MANIFEST}" in files]
    return PlaceContents(
        complete, [backup for backup in backups if backup not in complete], files, objects
    )


class Hashing:
    """Passes chunks on; has their SHA-256 and size afterwards."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = chunks
        self._sha256 = hashlib.sha256()
        self.byte_count = 0

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self._sha256.update(chunk)
            self.byte_count += len(chunk)
            yield chunk

    @property
    def sha256(self) -> str:
        """SHA-256 of what was passed on, hex."""
        return self._sha256.hexdigest()


def chunks_of(file: BinaryIO) -> Iterator[bytes]:
    """Yield a file in chunks, and close it."""
    with file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def back_up_artifact(store: ArtifactStore, name: str, place: ArtifactStore) -> tuple[str, int]:
    """Copy an artifact to a place of backups; return its SHA-256 and size in bytes.

    Raises:
        FileNotFoundError: The store has no such artifact (any more).
        ConfigurationError: The place cannot be written, such as when its disk is full.
    """
    hashing = Hashing(chunks_of(store.open(name)))
    if isinstance(place, FolderStore):
        _write_file(place, hashing, lambda: name_backup_object(hashing.sha256))
    else:
        for _ in hashing:  # a bucket renames nothing, so the name is found first
            pass
        place.put_chunks(name_backup_object(hashing.sha256), chunks_of(store.open(name)))
    return hashing.sha256, hashing.byte_count


def restore_artifact(place: ArtifactStore, artifact: StoredArtifact, store: ArtifactStore) -> None:
    """Copy an artifact from a place of backups into the store.

    Raises:
        ContractError: Its bytes are not those that were backed up; into a folder, nothing is
            copied.
        ConfigurationError: The store cannot be written, such as when its disk is full.
    """

    def verified_name() -> str:
        refuse_changed(artifact, hashing.sha256, place.url)
        return artifact.name

    source = name_backup_object(artifact.sha256)
    is_small = artifact.byte_count <= CHUNK_BYTES
    chunks = iter([place.get(source)]) if is_small else chunks_of(place.open(source))
    hashing = Hashing(chunks)
    if isinstance(store, FolderStore):
        _write_file(store, hashing, verified_name)
    else:
        store.put_chunks(artifact.name, iter(hashing))
        verified_name()


def _write_file(target: FolderStore, chunks: Iterable[bytes], name: Callable[[], str]) -> None:
    """Write chunks and rename the file to what ``name`` returns then; `flush` is to follow.

    Its lock marks it as used, so that no other process cleans it up. System calls by themselves
    take a third of the time of `pathlib`: most artifacts are small.
    """
    folder = str(target.folder)
    partial = f"{folder}/{PARTIAL}/{_PROCESS}-{next(_NUMBERS)}"
    try:
        descriptor = _create_file(partial)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            for chunk in chunks:
                _write_all(descriptor, chunk)
            _rename(partial, f"{folder}/{name()}")
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(partial)  # noqa: PTH108 - see above
            raise
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ConfigurationError(
            f"cannot write below {target.folder}",
            expected="a folder with free space that this user may write",
            found=str(error.strerror),
            remedy="free some disk, fix the permissions or name another folder, and repeat it: "
            "what is copied is not copied again",
        ) from error


def _create_file(path: str) -> int:
    """Create a file for this user alone and open it, with its folder if that is missing."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    try:
        return os.open(path, flags, PRIVATE_FILE_MODE)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120 - as above
        return os.open(path, flags, PRIVATE_FILE_MODE)


def _rename(old: str, new: str) -> None:
    try:
        os.rename(old, new)  # noqa: PTH104 - as above
    except FileNotFoundError:
        os.makedirs(os.path.dirname(new), exist_ok=True)  # noqa: PTH103, PTH120 - as above
        os.rename(old, new)  # noqa: PTH104 - as above


def _write_all(descriptor: int, chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        view = view[os.write(descriptor, view) :]


def write_part(place: ArtifactStore, name: str, chunks: Iterable[bytes]) -> tuple[str, int]:
    """Store chunks in a place of backups; return their SHA-256 and size in bytes.

    Raises:
        ConfigurationError: The place cannot be written, such as when its disk is full.
    """
    hashing = Hashing(chunks)
    if isinstance(place, FolderStore):
        _write_file(place, hashing, lambda: name)
    else:
        place.put_chunks(name, iter(hashing))
    return hashing.sha256, hashing.byte_count


def flush(store: ArtifactStore, names: Collection[str]) -> None:
    """Have the files ``names`` that were copied into a folder on disk; a bucket needs nothing."""
    if not isinstance(store, FolderStore):
        return
    if len(names) > FLUSHED_ALONE:
        os.sync()
        return
    paths = {store.folder / name for name in names}
    for path in sorted(paths) + sorted({path.parent for path in paths}):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def sha256_of(store: ArtifactStore, name: str) -> str:
    """Read an object to its end; return its SHA-256.

    Raises:
        FileNotFoundError: There is none.
    """
    hashing = Hashing(chunks_of(store.open(name)))
    for _ in hashing:
        pass
    return hashing.sha256


def at_once(
    function: Callable[[Item], Result], items: Iterable[Item], *stores: ArtifactStore
) -> Iterator[Result]:
    """Yield the results of a function for each item, in no order, in a few threads.

    The first error ends it.

    Args:
        function: What is done with an item.
        items: Any number of them.
        *stores: Between which it copies; they decide how many threads there are.
    """
    is_local = all(isinstance(store, FolderStore) for store in stores)
    threads = THREADS if is_local else BUCKET_THREADS
    remaining = iter(items)
    with ThreadPoolExecutor(threads) as pool:
        waiting: set[Future[list[Result]]] = set()
        try:
            while batch := list(islice(remaining, BATCH)):
                waiting.add(pool.submit(_process_each, function, batch))
                if len(waiting) >= QUEUED * threads:
                    ended, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    for future in ended:
                        yield from future.result()
            while waiting:
                ended, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in ended:
                    yield from future.result()
        finally:
            for future in waiting:
                future.cancel()


def _process_each(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    return [function(item) for item in items]


def refuse_changed(artifact: StoredArtifact, sha256: str, where: str) -> None:
    """Refuse an artifact with other bytes than those that were backed up.

    Raises:
        ContractError: Its SHA-256 differs.
    """
    if sha256 != artifact.sha256:
        raise ContractError(
            f"the artifact {artifact.name} is not what was backed up",
            expected=f"SHA-256 {artifact.sha256}",
            found=f"SHA-256 {sha256} in {where}",
            remedy="restore another backup (--backup ID) into an empty store; report a disk that "
            "changes files",
        )
