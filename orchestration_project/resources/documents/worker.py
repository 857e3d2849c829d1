"""The program of a worker process: it extracts a file, without network and within limits.

It imports the readers that the file needs, and neither Dagster nor polars, whose memory would count
as the reader's. `extraction` starts the workers and turns what ends them into reason codes.
"""

import ctypes
import resource
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import ZIP_STORED, BadZipFile, ZipFile

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

MEMBER_HEADER = struct.Struct("<26x2H")
"""Start of a member of a zip archive: what ends in the lengths of its name and its extra field."""


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
        language_model: File of the unpacked model; None: each worker decompresses it.
    """

    passwords: tuple[str, ...] = field(default=(), repr=False)
    ocr: OcrRule | None = None
    chunk_rule: ChunkRule | None = None
    language_model: Path | None = None

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
    # before the file's text needs the memory
    identifier(partial(map_language_model, file.settings.language_model))
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


def map_language_model(file: Path | None) -> tuple[Any, ...] | None:
    """Return the unpacked model, large arrays in the file; None: it is missing or damaged."""
    if file is None:
        return None
    try:
        return _map_arrays(file)
    except (OSError, ValueError, KeyError, struct.error, BadZipFile):
        return None


def _map_arrays(file: Path) -> tuple[Any, ...]:
    """Return the result of py3langid's `load_model`, from an archive of stored members."""
    import numpy as np

    with file.open("rb") as opened, ZipFile(opened) as archive:
        content = mmap(opened.fileno(), 0, access=ACCESS_READ)

        def read_array(name: str) -> Any:
            member = archive.getinfo(f"{name}.npy")
            if member.compress_type != ZIP_STORED:
                raise ValueError
            with archive.open(member) as array:
                np.lib.format.read_magic(array)
                shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(array)
                start = array.tell()
            start += member.header_offset + MEMBER_HEADER.size
            start += sum(MEMBER_HEADER.unpack_from(content, member.header_offset))
            return np.ndarray(shape, dtype, content, start, order="F" if is_fortran else "C")

        return (
            read_array("ptc"),
            read_array("pc"),
            read_array("classes").tolist(),
            memoryview(np.require(read_array("nextmove"), requirements="A")),
            read_array("nextmove_row").tolist(),
            read_array("out_feat").tolist(),
        )


def apply_to_each(
    function: Callable[[File], Extracted], files: Sequence[File]
) -> Sequence[Extracted]:
    """Return the result of a function for each file; the exception of one costs all of them."""
    return [function(file) for file in files]
