"""Files are read, and extracted in worker processes; what goes wrong is a reason of that file.

A reader that hangs, crashes or needs too much memory ends its own process alone. Files within a
file are items of the pool like others, so a bad one does not cost the file that holds it.
"""

import errno
import os
import stat
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from orchestration_project.domains.documents.extracted import MIB, Extracted, Limits
from orchestration_project.domains.documents.extraction import (
    Delivered,
    Document,
    Waiting,
    unread,
)
from orchestration_project.domains.documents.reasons import DocumentError
from orchestration_project.engine.pools import ProcessPool
from orchestration_project.engine.worker_process import ItemError
from orchestration_project.errors import ConfigurationError, OrchestrationError
from orchestration_project.resources.documents.worker import (
    File,
    ReaderSettings,
    apply_to_each,
    extract_file,
)

LIBRARIES = {
    "charset_normalizer": "charset-normalizer",
    "lxml": "lxml",
    "markdown_it": "markdown-it-py",
    "msoffcrypto": "msoffcrypto-tool",
    "olefile": "olefile",
    "pdfplumber": "pdfplumber",
    "puremagic": "puremagic",
    "py3langid": "py3langid",
    "pypdfium2": "pypdfium2",
    "python_calamine": "python-calamine",
    "selectolax": "selectolax",
    "striprtf": "striprtf",
}
"""Module to package; all are of the extra ``documents``."""

MEMORY_BYTES, TIMEOUT = 512 * MIB, timedelta(seconds=60)
MAX_RESULT_BYTES = 256 * MIB

REASONS_OF_ENDS = {
    "timeout": "parser_timed_out",
    "memory": "parser_out_of_memory",
    "exit": "parser_crashed",
    "exception": "parser_failed",
    "result": "result_too_large",
    "item": "parser_failed",
}
"""Reason of an `ItemError` to that of the document."""

ALLOCATION_FAILED = "memory allocation of "
"""Written by libraries in Rust before they end their process."""

BLOCK = 4 * MIB

GROUP_FILES, GROUP_BYTES = 8, MIB // 4
"""Sent to a worker together at most: a message costs as much as reading a small file."""


class Source(NamedTuple):
    """A file to deliver: its name, and how to get its bytes.

    Attributes:
        name: What documents show, e.g. a path.
        read: Returns the bytes; it raises `DocumentError` with the reason if it cannot.
    """

    name: str
    read: Callable[[], bytes]


def require_libraries() -> None:
    """Check that the libraries of the readers are installed.

    Raises:
        ConfigurationError: One is missing.
    """
    missing = [package for module, package in LIBRARIES.items() if find_spec(module) is None]
    if missing:
        raise ConfigurationError(
            "documents cannot be read: libraries are missing",
            expected="the extra documents of this package",
            found=f"not installed: {', '.join(missing)}",
            remedy="pip install 'orchestration_project[documents]', or in a checkout: "
            "pip install '.[documents]'",
        )


def read_file(path: Path, *, max_bytes: int) -> bytes:
    """Return the bytes of a regular file, or of what a link to one leads to.

    Raises:
        DocumentError: ``not_a_file``, ``too_large``, ``unreadable``, ``vanished`` or
            ``changed_while_read``.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe would wait for a writer
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            return _read(file.fileno(), max_bytes)
    except FileNotFoundError as error:
        raise DocumentError("vanished", str(error.strerror)) from error
    except IsADirectoryError as error:
        raise DocumentError("not_a_file", "a folder") from error
    except (OSError, ValueError) as error:
        is_device = isinstance(error, OSError) and error.errno in (errno.ENXIO, errno.ENODEV)
        code = "not_a_file" if is_device else "unreadable"
        raise DocumentError(code, getattr(error, "strerror", None) or str(error)) from error


def _read(descriptor: int, max_bytes: int) -> bytes:
    before = os.fstat(descriptor)
    if not stat.S_ISREG(before.st_mode):
        kind = "a folder" if stat.S_ISDIR(before.st_mode) else "a device, pipe or socket"
        raise DocumentError("not_a_file", kind)
    if before.st_size > max_bytes:
        raise DocumentError("too_large", f"{before.st_size:,} bytes, limit {max_bytes:,}")
    content = bytearray()
    while len(content) <= before.st_size and (block := os.read(descriptor, BLOCK)):
        content += block
    after = os.fstat(descriptor)
    if len(content) != before.st_size or after.st_mtime_ns != before.st_mtime_ns:
        raise DocumentError(
            "changed_while_read", f"{before.st_size:,} bytes before, {len(content):,} read"
        )
    return bytes(content)


class Extraction:
    """Extracts files in the worker processes of a pool, each within limits."""

    def __init__(
        self,
        *,
        workers: int,
        memory_bytes: int = MEMORY_BYTES,
        timeout: timedelta = TIMEOUT,
        cpu_seconds: int | None = None,
        limits: Limits | None = None,
        settings: ReaderSettings | None = None,
        max_result_bytes: int = MAX_RESULT_BYTES,
        function: Callable[[File], Extracted] = extract_file,
    ) -> None:
        """Prepare the pool; workers start when they are needed.

        Args:
            workers: Files that are extracted at a time.
            memory_bytes: What a worker may allocate.
            timeout: Wall clock for one file.
            cpu_seconds: CPU time for one file, by default that of `timeout`.
            limits: What each delivered file must not exceed.
            settings: Passwords, and how images are recognised, for which `timeout` is extended.
            max_result_bytes: What the result for one file may have, its children included.
            function: What extracts a file, for tests of what may end a worker.

        Raises:
            ConfigurationError: A limit is too small, or a library is missing.
        """
        require_libraries()
        self._limits = limits or Limits()
        self._settings = settings or ReaderSettings()
        ocr = self._settings.ocr
        self._timeout = timeout + timedelta(seconds=ocr.seconds if ocr else 0)
        self._cpu_seconds = cpu_seconds or max(1, round(timeout.total_seconds()))
        self._function = function
        self._pool = ProcessPool(workers, memory_bytes, max_result_bytes=max_result_bytes)

    def __enter__(self) -> "Extraction":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.close()

    def extract(self, sources: Iterable[Source]) -> Iterator[Document]:
        """Yield each file and the files within it, in the order in which they are done.

        Sources are read as workers become free, and files within a file before other sources, so
        few of them are held at a time.

        Raises:
            TransientError: A worker cannot be started.
            ConfigurationError: A worker cannot load the readers.
        """
        work = _Work(sources, self._limits, self._cpu_seconds, self._settings)
        function = partial(apply_to_each, self._function)
        while True:
            for files, result in self._pool.run(function, work.groups(), timeout=self._timeout):
                yield from work.settle(files, result)
                yield from work.settled()
            yield from work.settled()
            if not work.is_left:
                return


class _Work:
    """Files for the pool: of the sources, and of the files within those that were extracted."""

    def __init__(
        self,
        sources: Iterable[Source],
        limits: Limits,
        cpu_seconds: int,
        settings: ReaderSettings,
    ) -> None:
        self._sources = iter(sources)
        self._limits = limits
        self._cpu_seconds = cpu_seconds
        self._settings = settings
        self._open: dict[int, tuple[File, Delivered, Waiting]] = {}
        self._backlog: deque[Delivered] = deque()
        self._alone: deque[File] = deque()
        self._settled: deque[Document] = deque()

    @property
    def is_left(self) -> bool:
        """Whether files within others, or of a group that failed, still wait."""
        return bool(self._backlog or self._alone)

    def groups(self) -> Iterator[Sequence[File]]:
        """Yield the files that wait, small ones together; it may end while others are to come.

        Recognition takes seconds for an image, so where it is configured each file is alone.
        """
        group: list[File] = []
        byte_count = 0
        for file in self._files():
            byte_count += len(file.content)
            if group and byte_count > GROUP_BYTES:
                yield group
                group, byte_count = [], len(file.content)
            group.append(file)
            if len(group) == GROUP_FILES or self._settings.ocr:
                yield group
                group, byte_count = [], 0
            while self._alone:
                yield [self._alone.popleft()]
        if group:
            yield group
        while self._alone:
            yield [self._alone.popleft()]

    def _files(self) -> Iterator[File]:
        while True:
            while self._backlog:
                yield from self._files_of(self._backlog.popleft())
            source = next(self._sources, None)
            if source is None:
                return
            try:
                content = source.read()
            except DocumentError as error:
                self._settled.append(unread(source.name, error))
                continue
            yield from self._files_of(Delivered(source.name, content, self._limits))

    def _files_of(self, delivered: Delivered) -> Iterator[File]:
        while delivered.waiting:
            waiting, left = delivered.next_up()
            if delivered.is_too_deep(waiting):
                error = DocumentError("nested_too_deep", f"deeper than {left.depth}")
                self._settled.append(delivered.settle(waiting, error))
                continue
            file = File(waiting.path[-1], waiting.content, left, self._cpu_seconds, self._settings)
            self._open[id(file)] = (file, delivered, waiting)
            yield file

    def settle(
        self, files: Sequence[File], result: Sequence[Extracted] | OrchestrationError
    ) -> Iterator[Document]:
        """Yield the documents of files; the files within them wait from now on.

        If one of several ended the worker, each waits to be extracted alone.
        """
        if not isinstance(result, OrchestrationError):
            for file, found in zip(files, result, strict=True):
                yield self._settle(file, found)
            return
        error = _error_of(result)
        if len(files) == 1:
            yield self._settle(files[0], error)
        else:
            self._alone.extend(files)

    def _settle(self, file: File, found: Extracted | DocumentError) -> Document:
        _, delivered, waiting = self._open.pop(id(file))
        document = delivered.settle(waiting, found)
        if delivered.waiting and delivered not in self._backlog:
            self._backlog.append(delivered)
        return document

    def settled(self) -> Iterator[Document]:
        """Yield the documents that needed no worker."""
        while self._settled:
            yield self._settled.popleft()


def _error_of(result: OrchestrationError) -> DocumentError:
    """Return the reason for which a worker extracted nothing from a file.

    Raises:
        OrchestrationError: No error of the file.
    """
    if not isinstance(result, ItemError):
        raise result
    found = result.found.splitlines()[0] if result.found else ""
    if "SIGXCPU" in found:
        return DocumentError("parser_timed_out", "CPU time")
    if ALLOCATION_FAILED in (result.found or ""):
        return DocumentError("parser_out_of_memory", found)
    return DocumentError(REASONS_OF_ENDS[result.reason_code], found)
