"""JSON, JSONL and XML: a line for each value, with the path to it."""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, NoReturn

from orchestration_project.domains.documents.extracted import Draft, cut_pages
from orchestration_project.domains.documents.reasons import DocumentError
from orchestration_project.domains.documents.text import decode, lines_of, with_line_feeds

PART_CHARACTERS = 2**16
"""Characters of lines that are joined at a time."""

MAX_DEPTH = 200
"""Objects within objects."""

UNFINISHED = re.compile(
    r"(t|tr|tru|f|fa|fal|fals|n|nu|nul|-|\.|[eE][+-]?|\\?u[0-9a-fA-F]{0,4})?\s*"
)
"""What a text that ends too early may have left of a value or an escape."""


class _Pairs(list[tuple[str, Any]]):
    """The members of an object; a name that occurs twice stays."""


class NonstandardValueError(ValueError):
    """NaN or Infinity, which Python's reader accepts and JSON does not have."""


def refuse_constant(name: str) -> NoReturn:
    """Refuse NaN and infinities.

    Raises:
        NonstandardValueError: Always.
    """
    raise NonstandardValueError(f"{name} is not a value of JSON")


class _Number(str):
    """A number as it is written: no digit is lost."""

    __slots__ = ()


def read(content: bytes, draft: Draft) -> None:
    """Add ``path: value`` for each value of JSON, text and attributes of XML, page by page."""
    if draft.media_type == "application/xml":
        lines = _read_xml_lines(content)
    else:
        decoded = decode(content)
        for code, detail in decoded.notes:
            draft.note(code, detail)
        is_jsonl = draft.media_type == "application/jsonl"
        lines = (
            _read_json_lines(decoded.pieces.read(), draft) if is_jsonl else _read_json(decoded.text)
        )
    for page in cut_pages(_join_lines(lines)):
        draft.add_page(page)


def _join_lines(lines: Iterable[str]) -> Iterator[str]:
    """Yield lines joined to parts of some size: a value may have several."""
    part, size = list[str](), 0
    is_first = True
    for line in lines:
        part.append(line if is_first else f"\n{line}")
        is_first = False
        size += len(line)
        if size >= PART_CHARACTERS:
            yield "".join(with_line_feeds(part))
            part, size = [], 0
    yield "".join(with_line_feeds(part))


def _read_json(text: str) -> Iterator[str]:
    try:
        value = _parse_json(text)
    except NonstandardValueError as error:
        raise DocumentError("corrupt", str(error)) from error
    except json.JSONDecodeError as error:
        is_end = error.msg.startswith("Unterminated") or UNFINISHED.fullmatch(text, error.pos)
        code = "truncated" if is_end else "corrupt"
        problem = error.msg.removesuffix(" at")
        raise DocumentError(code, f"{problem} at line {error.lineno}") from error
    yield from _render_values(value)


def _read_json_lines(pieces: Iterable[str], draft: Draft) -> Iterator[str]:
    """Yield the values of each line; lines that are not JSON as they are."""
    is_any = False
    for number, line in enumerate(lines_of(pieces), start=1):
        if not line.strip():
            continue
        try:
            yield from _render_values(_parse_json(line), f"[{number}]")
            is_any = True
        except (json.JSONDecodeError, NonstandardValueError):
            draft.note("lines_unreadable", f"line {number}")
            yield line.removesuffix("\n")
    if not is_any:
        raise DocumentError("corrupt", "no line is JSON")


def _parse_json(text: str) -> Any:
    return json.loads(
        text,
        object_pairs_hook=_Pairs,
        parse_int=_Number,
        parse_float=_Number,
        parse_constant=refuse_constant,
    )


def _render_values(value: Any, path: str = "", depth: int = 0) -> Iterator[str]:
    if depth > MAX_DEPTH:
        _refuse_depth()
    if isinstance(value, list) and not value:
        yield f"{path}: {shown(value)}" if path else shown(value)
    elif isinstance(value, _Pairs):
        for name, item in value:
            yield from _render_values(item, f"{path}.{name}" if path else name, depth + 1)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _render_values(item, f"{path}[{index}]", depth + 1)
    else:
        yield f"{path}: {shown(value)}" if path else shown(value)


def shown(value: Any) -> str:
    """Return a value without others in it as text."""
    if isinstance(value, _Pairs):
        return "{}"
    return value if isinstance(value, str) else json.dumps(value)


def _refuse_depth() -> NoReturn:
    raise DocumentError("nested_too_deep", f"more than {MAX_DEPTH} levels")


def _read_xml_lines(content: bytes) -> Iterator[str]:
    """Yield for each element its attributes as ``name=value``, its text, and what follows it."""
    from orchestration_project.domains.documents.xml import local_name, parse_xml

    root = parse_xml(content)
    stack: list[Any] = [root]
    while stack:
        part = stack.pop()
        if isinstance(part, str):
            yield from filter(None, [" ".join(part.split())])
            continue
        named = [f"{str(key).rpartition('}')[2]}={value}" for key, value in part.attrib.items()]
        shown_text = " ".join((part.text or "").split())
        if named or shown_text:
            yield f"{local_name(part)}: {' '.join([*named, shown_text]).strip()}"
        for child in reversed(part):
            stack.extend([child.tail or "", child])
