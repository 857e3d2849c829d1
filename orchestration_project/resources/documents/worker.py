"""The program of a worker process: it extracts a file, without network and within limits.

It imports the readers that the file needs, and neither Dagster nor polars, whose memory would count
as the reader's. `extraction` starts the workers and turns what ends them into reason codes.
"""

import ctypes
import resource
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from orchestration_project.domains.documents.chunks import ChunkRule, chunk_spans
from orchestration_project.domains.documents.extracted import Extracted, Limits, Options
from orchestration_project.domains.documents.extraction import count_parts, extract
from orchestration_project.domains.documents.fingerprints import fingerprint_of
from orchestration_project.domains.documents.language import identifier
from orchestration_project.resources.documents.tesseract import OcrRule, Tesseract

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
"""Flags of unshare(2): namespaces of users, which needs no rights, and of networks."""

OPEN_FILES = 64
"""A reader works on bytes; Python opens its modules."""


class File(NamedTuple):
    """A file to extract.

    Attributes:
        name: It declares a type, and is not opened.
        content: Its bytes.
        limits: What must not be exceeded.
        cpu_seconds: CPU time that the extraction may take, all its threads together.
        settings: What the reader may use.
    """

    name: str
    content: bytes
    limits: Limits
    cpu_seconds: int
    settings: "ReaderSettings"


@dataclass(frozen=True)
class ReaderSettings:
    """Means of a worker's readers, which it gets through its socket alone.

    Attributes:
        passwords: Tried on encrypted files.
        ocr: How images are recognised; None: not at all.
        chunk_rule: How pages are cut; None: not at all.
    """

    passwords: tuple[str, ...] = field(default=(), repr=False)
    ocr: OcrRule | None = None
    chunk_rule: ChunkRule | None = None

    def options(self) -> Options:
        """Return the options of a file's reader, with the time for recognition from now on."""
        return Options(self.passwords, Tesseract(self.ocr) if self.ocr else None)


class Isolation:
    """The rights that this process gives up, once, before the first file."""

    def __init__(self) -> None:
        self._is_applied = False
        self.has_network = True

    def apply(self) -> None:
        """Leave the network where the kernel allows it, and write no files from now on."""
        if self._is_applied:
            return
        self._is_applied = True
        libc = ctypes.CDLL(None, use_errno=True)
        self.has_network = libc.unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0
        _lower(resource.RLIMIT_NOFILE, OPEN_FILES)
        _lower(resource.RLIMIT_FSIZE, 0)


ISOLATION = Isolation()
"""The one of this process."""


def _lower(kind: int, limit: int) -> None:
    with suppress(ValueError, OSError):  # it is lower already
        resource.setrlimit(kind, (limit, limit))


def extract_file(file: File) -> Extracted:
    """Return the contents of a file with fingerprint, chunks and count of parts, or a reason code.

    A process that needs more CPU time is ended by SIGXCPU. In the process of a pool alone: its
    limits stay.

    Raises:
        MemoryError: The limit of memory is reached.
    """
    ISOLATION.apply()
    used = resource.getrusage(resource.RUSAGE_SELF)
    until = int(used.ru_utime + used.ru_stime) + 1 + file.cpu_seconds
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (until, hard))
    identifier()  # before the file's text needs the memory
    extracted = extract(
        file.content, name=file.name, limits=file.limits, options=file.settings.options()
    )
    rule = file.settings.chunk_rule
    return replace(
        extracted,
        fingerprint=fingerprint_of(page.text for page in extracted.pages),
        chunk_spans=tuple(chunk_spans(extracted.pages, rule)) if rule else None,
        parts=count_parts(file.content, extracted),
    )


def apply_to_each(
    function: Callable[[File], Extracted], files: Sequence[File]
) -> Sequence[Extracted]:
    """Return the result of a function for each file; the exception of one costs all of them."""
    return [function(file) for file in files]
