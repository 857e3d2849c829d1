"""PDF: text in reading order, form fields, annotations, ruled tables, properties, attachments."""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from ctypes import c_double
from datetime import datetime, timedelta
from itertools import pairwise
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from orchestration_project.domains.documents.extracted import Draft, in_utc
from orchestration_project.domains.documents.formats.annotations import (
    annotation_lines,
    open_forms,
)
from orchestration_project.domains.documents.formats.ruled import RuledTables
from orchestration_project.domains.documents.reasons import DocumentError
from orchestration_project.domains.documents.recognition import pgm, scale_for

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument, PdfPage, PdfTextPage

DATE = re.compile(
    r"D?:?(\d{4})(\d\d)?(\d\d)?(\d\d)?(\d\d)?(\d\d)?(?:Z|([+-])(\d\d)'?(\d\d)?)?", re.ASCII
)
HYPHEN = "\ufffe"
"""PDFium's mark for a hyphen at a line's end."""

DIVIDED = re.compile(f"(?<=[^\\W\\d_]){HYPHEN}(?=[^\\W\\d_A-Z])")
DIVIDED_LINE = re.compile(f"(?<=[^\\W\\d_])[-{HYPHEN}]\n(?=[^\\W\\d_A-Z])")
END = re.compile(rb"%%EOF")
MAX_ORDERED = 4000
"""Pieces of text of a page whose order is corrected; a page with more keeps the file's order."""


MAX_CUTS = 40
MIN_LINES, MIN_COLUMN_SHARE = 3, 0.2
"""Pieces of text and share of the width that a column of prose has at least."""

MIN_FILLED = 0.6
"""Share of a column's width that three of four lines of prose have at least."""


Edges = tuple[float, float, float, float]
"""Left, bottom, right and top of a piece of text, in points."""


class Box(NamedTuple):
    """A piece of a line: its edges in points from the lower left corner, and its place in order."""

    left: float
    bottom: float
    right: float
    top: float


def read(content: bytes, draft: Draft) -> None:
    """Add the pages, properties and attachments.

    A page with content but without text has the method ``none``. A page that cannot be read is
    noted, and is there without text.

    Raises:
        DocumentError: ``encrypted``, ``truncated``, ``corrupt``, or a limit.
    """
    from pypdfium2 import PdfiumError

    document = _open_document(content, draft.options.passwords)
    try:
        draft.check_pages(len(document))
        open_forms(document, draft)
        images, ruled = 0, RuledTables(draft)
        for number in range(len(document)):
            try:
                images += _read_page(document, document[number], draft, ruled)
            except PdfiumError:
                draft.note("pages_unreadable", str(number + 1))
                draft.add_page("")
        if len(document) == 0 or len(draft.notes.get("pages_unreadable", ())) == len(document):
            raise DocumentError("corrupt", "no page can be read")
        if images:
            cause = f": {draft.ocr_problem.detail}" if draft.ocr_problem else ""
            draft.note("pages_need_ocr", f"{images} of {len(document)} pages{cause}")
        _read_properties(document, draft)
        _read_attachments(document, draft)
    finally:
        document.close()


def _open_document(content: bytes, passwords: Sequence[str]) -> "PdfDocument":
    from pypdfium2 import PdfDocument, PdfiumError

    try:
        return PdfDocument(content)
    except PdfiumError as error:
        text = str(error)
        if "assword" in text or "ecurity" in text:
            for password in passwords:
                with suppress(PdfiumError):
                    return PdfDocument(content, password=password)
            raise DocumentError("encrypted", "a password is needed to open it") from error
        code = "corrupt" if END.search(content[-2048:]) else "truncated"
        raise DocumentError(code, text) from error


def _read_page(document: "PdfDocument", page: "PdfPage", draft: Draft, ruled: RuledTables) -> bool:
    """Add a page; return whether it has content, but no text that could be had.

    Its form fields and annotations come after its text.
    """
    text_page = page.get_textpage()
    try:
        text = _order_text(text_page, len(draft.pages) + 1, draft)
        is_image = not text.strip() and any(True for _ in page.get_objects(max_depth=1))
        marks = list(annotation_lines(document, page, draft))
        if is_image and draft.options.recognise:
            return not _add_recognised_page(page, marks, draft)
        tables = ruled.of_page(page, text_page) if text else ()
        whole = _append_marks(text, marks)
        draft.add_page(whole, tables, method="none" if is_image else "native")
        return is_image
    finally:
        text_page.close()
        page.close()


def _add_recognised_page(page: "PdfPage", marks: Sequence[str], draft: Draft) -> bool:
    """Add a page as its image is recognised; return whether it is."""
    recognitions = draft.recognise(lambda: _render_page(page))
    text, confidence = recognitions[0] if recognitions else ("", None)
    method = "ocr" if recognitions else "none"
    draft.add_page(_append_marks(text, marks), method=method, confidence=confidence)
    return bool(recognitions)


def _append_marks(text: str, marks: Sequence[str]) -> str:
    return "\n".join([*([text.rstrip()] if text.strip() else []), *marks]) if marks else text


def _render_page(page: "PdfPage") -> bytes:
    """Return the image of a page as a PGM file."""
    scale = cast(Any, scale_for(*page.get_size()))  # declared as a whole number
    bitmap = page.render(scale, grayscale=True, may_draw_forms=False, limit_image_cache=True)
    try:
        return pgm(bytes(bitmap.buffer), bitmap.width, bitmap.height, bitmap.stride)
    finally:
        bitmap.close()


def _order_text(page: "PdfTextPage", number: int, draft: Draft) -> str:
    """Return the text of a page in reading order, which PDF does not record.

    Pieces in an order of no reader are sorted by place. Columns whose lines are drawn side by
    side are read one after the other, with a note.
    """
    text = page.get_text_range()
    count = page.count_rects() if text else 0
    if not 1 < count <= MAX_ORDERED:
        return _clean(text)
    edges = list(_read_boxes(page, count))
    is_against_order = is_scrambled(edges)
    is_interleaved = not is_against_order and has_filled_columns(edges)
    if not is_interleaved and not is_against_order:
        return _clean(text)
    boxes = [Box(*edge) for edge in edges]
    lines = [[page.get_text_bounded(*boxes[place]) for place in line] for line in ordered(boxes)]
    joined = ("\n".join(" ".join(p.strip() for p in pieces) for pieces in lines)).strip()
    joined = DIVIDED_LINE.sub("", joined)
    is_whole = len("".join(joined.split())) >= 0.98 * len("".join(text.split()))
    if is_interleaved:
        draft.note("reading_order_guessed", f"page {number}")
    return _clean(joined if is_whole else text)


def has_filled_columns(boxes: Sequence[Edges]) -> bool:
    """Return whether pieces that come line by line are the columns of prose, and not a table.

    The lines of prose fill their column, while most cells of a table are shorter than its widest.
    """
    beside = sum(
        left > end and bottom < upper and top > lower
        for (_, lower, end, upper), (left, bottom, _, top) in pairwise(boxes)
    )
    if beside < MIN_LINES:
        return False
    pieces = [Box(*box) for box in boxes]
    return any(
        _is_filled(pieces, column)
        for part in _iterate_parts(pieces, list(range(len(pieces))), 0)
        for column in part
    )


def _iterate_parts(
    boxes: Sequence[Box], places: list[int], depth: int
) -> Iterator[list[list[int]]]:
    """Yield each part of a page that is cut into columns, as `ordered` cuts it."""
    height = _measure_height(boxes, places)
    if columns := _split_columns(boxes, places, height):
        yield columns
    elif depth < MAX_CUTS:
        for rows in _split_rows(boxes, places, height):
            yield from _iterate_parts(boxes, rows, depth + 1)


def _is_filled(boxes: Sequence[Box], column: Sequence[int]) -> bool:
    width = max(boxes[p].right for p in column) - min(boxes[p].left for p in column)
    widths = sorted(boxes[number].right - boxes[number].left for number in column)
    return widths[len(widths) // 4] >= MIN_FILLED * width


def _read_boxes(page: "PdfTextPage", count: int) -> Iterator[Edges]:
    """Yield the boxes of a page's text; the helper of pypdfium2 makes four objects for each."""
    from pypdfium2 import PdfiumError
    from pypdfium2.raw import FPDFText_GetRect

    left, top, right, bottom = c_double(), c_double(), c_double(), c_double()
    handle = page.raw
    for position in range(count):
        if not FPDFText_GetRect(handle, position, left, top, right, bottom):
            raise PdfiumError(f"piece {position} of the text has no place")
        yield left.value, bottom.value, right.value, top.value


def _clean(text: str) -> str:
    """Return text without the marks of PDFium for a hyphen and for unmapped glyphs.

    A word that continues in small letters was divided there; other hyphens stay.
    """
    if HYPHEN in text:
        text = DIVIDED.sub("", text).replace(HYPHEN, "-")
    return text.replace("\uffff", "\ufffd")


def is_scrambled(boxes: Iterable[Edges]) -> bool:
    """Return whether pieces come in an order in which no reader goes; a look until the first.

    Text goes down a column, and then up to the next one on its right. A piece that lies higher
    than the one before it and is not right of it is against the order.
    """
    upper, end = inf, inf  # of the piece before it
    for left, bottom, right, top in boxes:
        if bottom > upper and left < end:
            return True
        upper, end = top, right
    return False


def ordered(boxes: Sequence[Box]) -> list[list[int]]:
    """Return the places of boxes by line, in reading order.

    The page is cut into wide columns of several pieces where nothing lies between them, else at its
    widest empty row, until neither is there: a column is read before what lies right of it.
    """
    return _cut(boxes, list(range(len(boxes))), 0)


def _cut(boxes: Sequence[Box], places: list[int], depth: int) -> list[list[int]]:
    height = _measure_height(boxes, places)
    parts = _split_columns(boxes, places, height) or _split_rows(boxes, places, height)
    if not parts or depth >= MAX_CUTS:
        return _group_by_line(boxes, places, height)
    return [line for part in parts for line in _cut(boxes, part, depth + 1)]


def _measure_height(boxes: Sequence[Box], places: Sequence[int]) -> float:
    heights = sorted(boxes[number].top - boxes[number].bottom for number in places)
    return max(heights[len(heights) // 2], 1.0)


def _split_columns(boxes: Sequence[Box], places: list[int], height: float) -> list[list[int]]:
    """Return the columns from left to right; nothing where these would be cells of a table."""
    columns = _group_places(places, [(boxes[p].left, boxes[p].right) for p in places], height)
    left, right = min(boxes[p].left for p in places), max(boxes[p].right for p in places)
    is_prose = all(
        len(column) >= MIN_LINES
        and max(boxes[p].right for p in column) - min(boxes[p].left for p in column)
        >= MIN_COLUMN_SHARE * (right - left)
        for column in columns
    )
    return columns if len(columns) > 1 and is_prose else []


def _split_rows(boxes: Sequence[Box], places: list[int], height: float) -> list[list[int]]:
    """Return the boxes above and those below the widest empty row; empty if there is none."""
    rows = _group_places(places, [(-boxes[p].top, -boxes[p].bottom) for p in places], height)
    if len(rows) < 2:
        return []
    gaps = [
        min(boxes[p].bottom for p in above) - max(boxes[p].top for p in below)
        for above, below in pairwise(rows)
    ]
    cut = gaps.index(max(gaps)) + 1
    return [[p for row in part for p in row] for part in (rows[:cut], rows[cut:])]


def _group_places(
    places: Sequence[int], spans: Sequence[tuple[float, float]], gap: float
) -> list[list[int]]:
    """Return places in groups, between which nothing lies for at least ``gap`` points."""
    groups = list[list[int]]()
    end = 0.0
    for (start, stop), number in sorted(zip(spans, places, strict=True)):
        if not groups or start - end >= gap:
            groups.append([])
            end = stop
        groups[-1].append(number)
        end = max(end, stop)
    return groups


def _group_by_line(boxes: Sequence[Box], places: Sequence[int], height: float) -> list[list[int]]:
    """Return places by line from above, each from left to right."""
    lines = list[list[int]]()
    middle = 0.0
    for place in sorted(places, key=lambda p: (-boxes[p].bottom - boxes[p].top, boxes[p].left)):
        number = (boxes[place].bottom + boxes[place].top) / 2
        if not lines or middle - number > height / 2:
            lines.append([])
            middle = number
        lines[-1].append(place)
    return [sorted(line, key=lambda place: boxes[place].left) for line in lines]


def _read_properties(document: "PdfDocument", draft: Draft) -> None:
    metadata_dict = document.get_metadata_dict(skip_empty=True)
    draft.title, draft.author = metadata_dict.get("Title"), metadata_dict.get("Author")
    draft.created_at = pdf_time(metadata_dict.get("CreationDate", ""))


def pdf_time(text: str) -> datetime | None:
    """Return a date of PDF, such as ``D:20260102030405+01'00'``, in UTC; None for another text."""
    match = DATE.match(text.strip())
    if not match:
        return None
    year, *parts = (int(part) if part else None for part in match.groups()[:6])
    month, day, hour, minute, second = (
        default if part is None else part
        for part, default in zip(parts, (1, 1, 0, 0, 0), strict=True)
    )
    offset = timedelta(hours=int(match[8] or 0), minutes=int(match[9] or 0))
    try:
        local = in_utc(datetime(year or 0, month, day, hour, minute, second))  # noqa: DTZ001 - zone below
        return local + offset if match[7] == "-" else local - offset
    except (ValueError, OverflowError):
        return None


def _read_attachments(document: "PdfDocument", draft: Draft) -> None:
    from pypdfium2 import PdfiumError

    for position in range(document.count_attachments()):
        try:
            attachment = document.get_attachment(position)
            name, content = attachment.get_name(), bytes(attachment.get_data())
        except PdfiumError:
            draft.note("parts_unreadable", f"attachment {position + 1}")
            continue
        draft.add_child(name, content)
