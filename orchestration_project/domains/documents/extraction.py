"""The boundary of extraction: the bytes of a file become pages, or a reason why they do not.

`extract` reads one file, `extract_all` also the files within it. Both are pure. Reasons that need
a process of its own, such as a crash, come from `resources/documents/extraction.py`.
"""

from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from importlib import import_module
from typing import NamedTuple

from orchestration_project.domains.documents.decryption import decrypted
from orchestration_project.domains.documents.extracted import (
    Draft,
    Extracted,
    Limits,
    Options,
    PartCount,
)
from orchestration_project.domains.documents.formats import FORMATS, UNKNOWN
from orchestration_project.domains.documents.media_types import declared_type, media_type_of
from orchestration_project.domains.documents.parts import NOT_UNDERSTOOD
from orchestration_project.domains.documents.reasons import DocumentError

DEFAULT, PLAIN = Limits(), Options()


def extract(
    content: bytes, *, name: str, limits: Limits = DEFAULT, options: Options = PLAIN
) -> Extracted:
    """Return the contents of a file, or the reason why it cannot be extracted.

    The same bytes, name, limits and options give the same result. The name only declares a type,
    and decides between formats of plain text; content decides all others.

    Args:
        content: The file.
        name: Its name, with or without folders; it may hold anything.
        limits: What must not be exceeded.
        options: Passwords, and what recognises images.

    Returns:
        Pages, properties and children, or a decisive reason code and no pages. Children are not
        extracted.

    Raises:
        MemoryError: For the process around it, which has a reason code for that.
        ModuleNotFoundError: A library of the extra ``documents`` is not installed.
    """
    draft = Draft(name, UNKNOWN, declared_type(name), limits, options)
    try:
        _read(content, draft)
        return draft.finish(len(content))
    except DocumentError as error:
        return draft.refuse(len(content), error.reason_code, error.detail)
    except RecursionError:
        return draft.refuse(len(content), "nested_too_deep", "elements within elements")
    except (MemoryError, ModuleNotFoundError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # noqa: BLE001 - a panic of Rust has another base class
        return draft.refuse(len(content), "parser_failed", f"{type(error).__name__}: {error}")


def _read(content: bytes, draft: Draft) -> None:
    if not content:
        raise DocumentError("empty_file")
    if len(content) > draft.limits.file_bytes:
        raise DocumentError("too_large", f"{len(content):,} bytes")
    content = decrypted(content, draft.options.passwords) or content
    draft.media_type = media_type_of(content, draft.declared_type)
    if _is_wrong(draft.declared_type, draft.media_type):
        draft.note("wrong_extension", f"{draft.declared_type} declared")
    document_format = FORMATS.get(draft.media_type)
    if document_format is None or document_format.reader is None:
        other = document_format.saved_as if document_format else ""
        detail = f"{draft.media_type}: save it as {other}" if other else draft.media_type
        raise DocumentError("unsupported_type", detail)
    import_module(f"{__package__}.formats.{document_format.reader}").read(content, draft)


def _is_wrong(declared: str | None, found: str) -> bool:
    """Return whether a name declares another type; plain text may be called anything of text."""
    if declared is None or declared == found:
        return False
    return not (FORMATS[declared].is_plain_text and found == "text/plain")


def count_parts(content: bytes, found: Extracted) -> PartCount:
    """Return the parts that the bytes of a document have, and those that were extracted of them.

    Args:
        content: The file; an encrypted one is not counted.
        found: What a reader extracted.
    """
    document_format = FORMATS.get(found.media_type)
    counter = document_format.part_counter if document_format else None
    if counter is None or found.state in ("refused", "encrypted"):
        return PartCount(None, {"pages": len(found.pages)})
    places = {counter.unit: counter.extracted(found), **found.went_to}
    try:
        return PartCount(counter.in_bytes(content, found), places)
    except NOT_UNDERSTOOD:
        return PartCount(None, places)


class Document(NamedTuple):
    """A file that was extracted, or refused.

    Attributes:
        path: Names from the file that was delivered to this one, which is last.
        document_id: SHA-256 of its bytes, in hexadecimal; None if they could not be read.
        parent_id: That of the file that holds it; None for a file that was delivered.
        extracted: What it holds.
    """

    path: tuple[str, ...]
    document_id: str | None
    parent_id: str | None
    extracted: Extracted


class Waiting(NamedTuple):
    """A file that is to be extracted; `path` and `parent_id` as of `Document`."""

    path: tuple[str, ...]
    content: bytes
    parent_id: str | None = None


class Delivered:
    """A file that was delivered, and the files within it, which share the budgets of its limits.

    Whoever extracts takes what is in `waiting`, by `next_up`, and hands the result to `settle`,
    until nothing waits.
    """

    def __init__(self, name: str, content: bytes, limits: Limits) -> None:
        self._limits = limits
        self._children = limits.children
        self._bytes = limits.inflated_bytes
        self.waiting = [Waiting((name,), content)]

    def next_up(self) -> tuple[Waiting, Limits]:
        """Remove and return the file whose turn it is, and the limits that are left for it."""
        left = replace(self._limits, children=self._children, inflated_bytes=self._bytes)
        return self.waiting.pop(), left

    def is_too_deep(self, file: Waiting) -> bool:
        """Return whether a file is deeper than the limit, and so is not to be read."""
        return len(file.path) > self._limits.depth + 1

    def settle(self, file: Waiting, found: Extracted | DocumentError) -> Document:
        """Return the document of a file; its children wait from now on.

        Files that were extracted side by side may together exceed a budget that each of them kept:
        then the one that is settled later is refused.

        Args:
            file: Of `next_up`.
            found: What it holds, or why it cannot be extracted.
        """
        document_id = sha256(file.content).hexdigest()
        if isinstance(found, Extracted):
            count, size = len(found.children), sum(len(child.content) for child in found.children)
            if count > self._children:
                found = DocumentError("too_many_children", "with those of other files within")
            elif size > self._bytes:
                found = DocumentError("archive_too_large", "with other files within")
            else:
                self._children -= count
                self._bytes -= size
        if isinstance(found, DocumentError):
            found = _refuse_document(file.path[-1], len(file.content), found)
        self.waiting.extend(
            Waiting((*file.path, child.name), child.content, document_id)
            for child in reversed(found.children)
        )
        return Document(file.path, document_id, file.parent_id, found)


def unread(name: str, error: DocumentError) -> Document:
    """Return the document of a file whose bytes could not be read."""
    return Document((name,), None, None, _refuse_document(name, 0, error))


def _refuse_document(name: str, byte_count: int, error: DocumentError) -> Extracted:
    declared = declared_type(name)
    draft = Draft(name, declared or UNKNOWN, declared, DEFAULT)
    return draft.refuse(byte_count, error.reason_code, error.detail)


def extract_all(
    content: bytes, *, name: str, limits: Limits = DEFAULT, options: Options = PLAIN
) -> Iterator[Document]:
    """Yield the contents of a file, then those of the files within it, at any depth.

    All files within share the budgets ``children`` and ``inflated_bytes`` of the limits: what
    exceeds one is yielded with its reason code. A crash of a reader ends this process;
    `resources/documents/extraction.py` extracts each file in a process of its own.

    Raises:
        MemoryError: As `extract`.
        ModuleNotFoundError: As `extract`.
    """
    delivered = Delivered(name, content, limits)
    while delivered.waiting:
        file, left = delivered.next_up()
        document_error = (
            DocumentError("nested_too_deep", f"deeper than {limits.depth}")
            if delivered.is_too_deep(file)
            else extract(file.content, name=file.path[-1], limits=left, options=options)
        )
        yield delivered.settle(file, document_error)
