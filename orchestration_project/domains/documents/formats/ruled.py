"""Tables of PDF pages with ruling lines: of the lines that PDFium has, pdfplumber makes cells.

The page is not parsed a second time. Lines and cells are bounded, so that the time is, too.
"""

import ctypes
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from orchestration_project.domains.documents.extracted import Cell, Draft, Table

if TYPE_CHECKING:
    from pypdfium2 import PdfPage, PdfTextPage

MAX_OBJECTS = 20_000
"""Objects of a page that are looked at for lines."""

MAX_EDGES, MAX_MEETINGS = 2_000, 4_000
"""Lines of a page, and pairs of them that may meet; a page with more has no tables."""

MAX_CELLS = 50_000
"""Cells of a document, which take about ten seconds; pages after that have no tables."""

TOLERANCE = 3
"""Points between two lines that are one, and by which one may miss another."""

MIN_LENGTH = 3
"""Points; what is shorter is a dot or the end of a line."""

MIN_EDGES = 4
"""Lines around a cell."""

Cells = Sequence[tuple[float, float, float, float]]


class Edge(NamedTuple):
    """A horizontal or vertical line, in points from the lower left corner."""

    left: float
    bottom: float
    right: float
    top: float


class RuledTables:
    """Finds the tables of the pages of a document."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._cells_left = MAX_CELLS

    def of_page(self, page: "PdfPage", text_page: "PdfTextPage") -> list[Table]:
        """Return the tables of a page whose cells have lines around them, from the top.

        A page beyond a limit is noted, and its text has the cells nevertheless.
        """
        edges = list(_read_edges(page))
        if len(edges) < MIN_EDGES:
            return []
        entries = _find_tables(edges) if len(edges) <= MAX_EDGES else None
        self._cells_left -= sum(map(len, entries or ()))
        if entries is None or self._cells_left < 0:
            self._draft.note("tables_left_out", f"page {len(self._draft.pages) + 1}")
            return []
        tables = [tuple(_read_rows(cells, text_page)) for cells in entries]
        return [Table(rows) for rows in tables if any(any(row) for row in rows)]


def _read_edges(page: "PdfPage") -> Iterator[Edge]:
    """Yield the lines that are drawn on a page, up to one more than the limit of each count."""
    from pypdfium2 import raw

    handle, count = page.raw, 0
    for position in range(min(raw.FPDFPage_CountObjects(handle), MAX_OBJECTS)):
        drawn = raw.FPDFPage_GetObject(handle, position)
        if not drawn or raw.FPDFPageObj_GetType(drawn) != raw.FPDF_PAGEOBJ_PATH:
            continue
        for edge in _read_path_edges(raw, drawn):
            yield edge
            count += 1
            if count > MAX_EDGES:
                return


def _read_path_edges(raw: Any, drawn: Any) -> Iterator[Edge]:
    matrix = raw.FS_MATRIX()
    if not raw.FPDFPageObj_GetMatrix(drawn, matrix):
        return
    start = last = (0.0, 0.0)
    x, y = ctypes.c_float(), ctypes.c_float()
    for number in range(min(raw.FPDFPath_CountSegments(drawn), MAX_OBJECTS)):
        segment = raw.FPDFPath_GetPathSegment(drawn, number)
        raw.FPDFPathSegment_GetPoint(segment, x, y)
        point = (
            matrix.a * x.value + matrix.c * y.value + matrix.e,
            matrix.b * x.value + matrix.d * y.value + matrix.f,
        )
        kind = raw.FPDFPathSegment_GetType(segment)
        if kind == raw.FPDF_SEGMENT_MOVETO:
            start = point
        elif kind == raw.FPDF_SEGMENT_LINETO:
            yield from _build_edge(last, point)
        if raw.FPDFPathSegment_GetClose(segment):
            yield from _build_edge(point, start)
        last = point


def _build_edge(first: tuple[float, float], last: tuple[float, float]) -> Iterator[Edge]:
    """Yield the line between two points, if it is straight and long enough."""
    (left, right), (bottom, top) = sorted((first[0], last[0])), sorted((first[1], last[1]))
    width, height = right - left, top - bottom
    if min(width, height) <= 1 and max(width, height) >= MIN_LENGTH:
        yield Edge(left, bottom, right, top)


def _find_tables(edges: Sequence[Edge]) -> list[Cells] | None:
    """Return the cells of each table; None: too many lines may meet."""
    from pdfplumber.table import (
        cells_to_tables,
        edges_to_intersections,
        intersections_to_cells,
        merge_edges,
    )

    merged = merge_edges([_convert_edge(edge) for edge in edges], *[TOLERANCE] * 4)
    flat = sum(each["orientation"] == "h" for each in merged)
    if flat * (len(merged) - flat) > MAX_MEETINGS:
        return None
    crossings = edges_to_intersections(merged, TOLERANCE, TOLERANCE)
    return [cells for cells in cells_to_tables(intersections_to_cells(crossings)) if len(cells) > 1]


def _convert_edge(edge: Edge) -> dict[str, Any]:
    """Return a line as pdfplumber has it: its places count from the top."""
    is_flat = edge.right - edge.left >= edge.top - edge.bottom
    top, bottom = -edge.top, -edge.bottom
    left, right = edge.left, edge.right
    if is_flat:
        top = bottom = (top + bottom) / 2
    else:
        left = right = (left + right) / 2
    return {
        "orientation": "h" if is_flat else "v",
        "x0": left,
        "x1": right,
        "top": top,
        "bottom": bottom,
        "width": right - left,
        "height": bottom - top,
        "doctop": top,
    }


def _read_rows(cells: Cells, text_page: "PdfTextPage") -> Iterator[tuple[Cell, ...]]:
    """Yield the rows of a table; a place that a wider or higher cell covers is empty."""
    tops, lefts = sorted({cell[1] for cell in cells}), sorted({cell[0] for cell in cells})
    places = {(cell[1], cell[0]): cell for cell in cells}
    for top in tops:
        row = [places.get((top, left)) for left in lefts]
        yield tuple(None if cell is None else _read_text(cell, text_page) for cell in row)


def _read_text(cell: tuple[float, float, float, float], text_page: "PdfTextPage") -> str | None:
    left, top, right, bottom = cell
    text_bounded = text_page.get_text_bounded(left, -bottom, right, -top)
    return (
        "\n".join(" ".join(line.split()) for line in text_bounded.splitlines() if line.strip())
        or None
    )
