"""The boundary of extraction: the bytes of a file become pages, or a reason why they do not.

`extract` reads one file, `extract_all` also the files within it. Both are pure. Reasons that need
a process of its own (a crash, a limit of time or memory) come from `resources/documents/worker.py`.
"""

from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module

from orchestration_project.domains.documents.extracted import Child, Draft, Extracted, Limits
from orchestration_project.domains.documents.media_types import (
    OF_EXTENSION,
    TEXT_TYPES,
    declared_type,
    media_type_of,
)
from orchestration_project.domains.documents.reasons import DocumentError

_OFFICE = "application/vnd.openxmlformats-officedocument"

READERS = {
    "text/plain": "plain",
    "text/markdown": "plain",
    "text/csv": "plain",
    "text/tab-separated-values": "plain",
    "text/html": "html",
    "application/xhtml+xml": "html",
    "application/json": "structured",
    "application/jsonl": "structured",
    "application/xml": "structured",
    "application/pdf": "pdf",
    f"{_OFFICE}.wordprocessingml.document": "docx",
    "application/vnd.ms-word.document.macroEnabled.12": "docx",
    f"{_OFFICE}.presentationml.presentation": "pptx",
    "application/vnd.ms-powerpoint.presentation.macroEnabled.12": "pptx",
    f"{_OFFICE}.spreadsheetml.sheet": "spreadsheet",
    "application/vnd.ms-excel.sheet.macroEnabled.12": "spreadsheet",
    "application/vnd.ms-excel.sheet.binary.macroEnabled.12": "spreadsheet",
    "application/vnd.ms-excel": "spreadsheet",
    "application/vnd.oasis.opendocument.spreadsheet": "spreadsheet",
    "application/epub+zip": "epub",
    "application/rtf": "rtf",
    "application/zip": "archives",
    "message/rfc822": "mail",
    "application/vnd.ms-outlook": "outlook",
    "image/png": "image",
    "image/jpeg": "image",
    "image/gif": "image",
    "image/tiff": "image",
    "image/bmp": "image",
    "image/webp": "image",
}
"""Media type to its module in `formats/`, which is imported when a file needs it."""


def extract(content: bytes, *, name: str, limits: Limits = Limits()) -> Extracted:  # noqa: B008 - frozen
    """Return what a file holds, or the reason why it cannot be extracted.

    The same bytes, name and limits give the same result. The name only declares a type, and
    decides between formats of plain text; content decides all others.

    Args:
        content: The file.
        name: Its name, with or without folders; it may hold anything.
        limits: What must not be exceeded.

    Returns:
        Pages, properties and children, or a decisive reason code and no pages. Children are not
        extracted.

    Raises:
        MemoryError: For the process around it, which has a reason code for that.
        ModuleNotFoundError: A library of the extra ``documents`` is not installed.
    """
    draft = Draft(name, "application/octet-stream", declared_type(name), limits)
    try:
        _read(content, draft)
        return draft.finish(len(content))
    except DocumentError as error:
        return draft.refuse(len(content), error.reason_code, error.detail)
    except RecursionError:
        return draft.refuse(len(content), "nested_too_deep", "elements within elements")
    except (MemoryError, ModuleNotFoundError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # noqa: BLE001 - a panic of Rust is no Exception
        return draft.refuse(len(content), "parser_failed", f"{type(error).__name__}: {error}")


def _read(content: bytes, draft: Draft) -> None:
    if not content:
        raise DocumentError("empty_file")
    if len(content) > draft.limits.file_bytes:
        raise DocumentError("too_large", f"{len(content):,} bytes")
    draft.media_type = media_type_of(content, draft.declared_type)
    if _is_wrong(draft.declared_type, draft.media_type):
        draft.note("wrong_extension", f"{draft.declared_type} declared")
    reader = READERS.get(draft.media_type)
    if reader is None:
        raise DocumentError("unsupported_type", draft.media_type)
    import_module(f"{__package__}.formats.{reader}").read(content, draft)


def _is_wrong(declared: str | None, found: str) -> bool:
    """Return whether a name declares another type; plain text may be called anything of text."""
    if declared is None or declared == found:
        return False
    return not (declared in TEXT_TYPES and found in TEXT_TYPES and found == "text/plain")


def extract_all(
    content: bytes,
    *,
    name: str,
    limits: Limits = Limits(),  # noqa: B008 - frozen
) -> Iterator[tuple[tuple[str, ...], Extracted]]:
    """Yield what a file holds, then what the files within it hold, at any depth.

    All files within share the budgets ``children`` and ``inflated_bytes`` of the limits: what
    exceeds one is yielded with its reason code and not read. Children are dropped once they are
    read, so a caller that needs their bytes keeps them.

    Yields:
        The path: names from the file that was given to the one that was read. Then its content.

    Raises:
        MemoryError: As `extract`.
        ModuleNotFoundError: As `extract`.
    """
    budget = _Budget(limits)
    waiting: list[tuple[tuple[str, ...], Child]] = [((), Child(name, content))]
    while waiting:
        above, child = waiting.pop()
        path = (*above, child.name)
        found = budget.extract(child, len(above))
        yield path, replace(found, name=child.name)
        waiting.extend((path, each) for each in reversed(found.children))


class _Budget:
    """What all files within one file may have together."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._children = limits.children
        self._bytes = limits.inflated_bytes

    def extract(self, child: Child, depth: int) -> Extracted:
        """Return what a file holds, or that it exceeds the depth."""
        if depth > self._limits.depth:
            draft = Draft(child.name, _no_look(child), declared_type(child.name), self._limits)
            return draft.refuse(len(child.content), "nested_too_deep", f"depth {depth}")
        left = replace(self._limits, children=self._children, inflated_bytes=self._bytes)
        found = extract(child.content, name=child.name, limits=left)
        self._children -= len(found.children)
        self._bytes -= sum(len(each.content) for each in found.children)
        return found


def _no_look(child: Child) -> str:
    """Return the declared type of a file that is not read."""
    return declared_type(child.name) or OF_EXTENSION[""]
