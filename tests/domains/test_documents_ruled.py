"""Tables of PDF pages: cells by their lines, as pdfplumber alone finds them, and within bounds."""

from collections.abc import Sequence
from io import BytesIO

import pdfplumber
import pytest
from hypothesis import given
from hypothesis import strategies as st
from orchestration_demo.documents.pdf import (
    literal,
    objects_to_pdf,
    story_pdf,
    stream,
)

from orchestration_project.domains.documents.extraction import extract
from orchestration_project.domains.documents.formats import ruled
from tests.domains.documents import a_story, codes
from tests.properties import bounded

LEFT, TOP, WIDTH, HEIGHT = 72, 780, 100, 22
CELLS = (("Item", "Count", "Price"), ("apples", "17", "2.50"), ("pears and", "", "1.10"))


def lines(rows: int, columns: int, *, ends: bytes) -> bytes:
    """Return the lines of a grid, each painted with these operators."""
    right, bottom = LEFT + columns * WIDTH, TOP - rows * HEIGHT
    flat = [(LEFT, TOP - n * HEIGHT, right, TOP - n * HEIGHT) for n in range(rows + 1)]
    steep = [(LEFT + n * WIDTH, TOP, LEFT + n * WIDTH, bottom) for n in range(columns + 1)]
    return b"".join(b"%d %d m %d %d l " % ruling + ends for ruling in flat + steep)


def boxes(rows: int, columns: int) -> bytes:
    places = [(row, column) for row in range(rows) for column in range(columns)]
    return b"".join(
        b"%d %d %d %d re S\n" % (LEFT + column * WIDTH, TOP - (row + 1) * HEIGHT, WIDTH, HEIGHT)
        for row, column in places
    )


def bars(rows: int, columns: int) -> bytes:
    flat = [(LEFT, TOP - n * HEIGHT, columns * WIDTH, 1) for n in range(rows + 1)]
    bottom = TOP - rows * HEIGHT
    steep = [(LEFT + n * WIDTH, bottom, 1, rows * HEIGHT) for n in range(columns + 1)]
    return b"".join(b"%d %d %d %d re f\n" % ruling for ruling in flat + steep)


def page_of(*drawn: bytes) -> bytes:
    """Return a file with a page for each content."""
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>", b"", b"<< /Type /Font /Subtype /Type1"]
    objects[2] += b" /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>"
    kids = list[bytes]()
    for line in drawn:
        objects += [stream(line), b""]
        kids.append(b"%d 0 R" % len(objects))
        objects[-1] = (
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842]"
            b" /Resources << /Font << /F1 3 0 R >> >> /Contents %d 0 R >>" % (len(objects) - 1)
        )
    objects[1] = b"<< /Type /Pages /Count %d /Kids [%b] >>" % (len(kids), b" ".join(kids))
    return objects_to_pdf(objects)


def texts(cells: Sequence[Sequence[str]]) -> bytes:
    return b"".join(
        b"BT /F1 10 Tf %d %d Td %b Tj ET\n"
        % (LEFT + column * WIDTH + 4, TOP - row * HEIGHT - 15, literal(text))
        for row, cell in enumerate(cells)
        for column, text in enumerate(cell)
    )


@pytest.mark.parametrize(
    "drawn",
    [
        lines(3, 3, ends=b"S\n"),
        lines(3, 3, ends=b"") + b"S\n",
        b"q 0.5 0 0 0.5 0 0 cm 2 0 0 2 0 0 cm\n" + lines(3, 3, ends=b"S\n") + b"Q\n",
        boxes(3, 3),
        bars(3, 3),
    ],
    ids=["lines", "one path", "scaled", "boxes", "bars"],
)
def test_cells_with_lines_around_them_are_a_table_however_these_are_drawn(drawn: bytes):
    found = extract(page_of(drawn + texts(CELLS)), name="a.pdf")
    (table,) = found.pages[0].tables
    assert table.rows == (*CELLS[:2], ("pears and", None, "1.10"))
    assert found.text.split() == " ".join(text for row in CELLS for text in row).split()
    assert codes(found) == []


def test_a_cell_over_two_columns_leaves_the_second_one_empty():
    drawn = (
        b"72 780 200 -44 re S 72 758 m 272 758 l S 172 758 m 172 736 l S\n"
        b"BT /F1 10 Tf 76 765 Td (both) Tj ET BT /F1 10 Tf 76 743 Td (one) Tj ET\n"
        b"BT /F1 10 Tf 180 743 Td (two) Tj ET\n"
    )
    (table,) = extract(page_of(drawn), name="a.pdf").pages[0].tables
    assert table.rows == (("both", None), ("one", "two"))


def test_a_box_a_rule_and_text_alone_are_no_table():
    drawn = b"72 500 300 200 re S 72 400 m 500 400 l S BT /F1 10 Tf 90 600 Td (words) Tj ET\n"
    (page,) = extract(page_of(drawn), name="a.pdf").pages
    assert (page.tables, page.text) == ((), "words")
    assert all(not page.tables for page in extract(story_pdf(a_story()), name="a.pdf").pages)


WORD = st.text("abcdefgh0123456789", min_size=1, max_size=10)


@pytest.mark.slow
@bounded
@given(
    st.integers(1, 5).flatmap(
        lambda n: st.lists(st.lists(WORD, min_size=n, max_size=n), min_size=2, max_size=12)
    )
)
def test_tables_are_those_that_pdfplumber_finds_alone(cells: list[list[str]]):
    content = page_of(boxes(len(cells), len(cells[0])) + texts(cells))
    (found,) = extract(content, name="a.pdf").pages[0].tables
    with pdfplumber.open(BytesIO(content)) as document:
        (expected,) = document.pages[0].extract_tables()
    assert [list(row) for row in found.rows] == expected == cells


def test_pages_beyond_a_limit_have_their_text_and_a_note(monkeypatch: pytest.MonkeyPatch):
    table = boxes(3, 3) + texts(CELLS)
    crossing = b"".join(
        b"%d 10 m %d 800 l S 10 %d m 500 %d l S\n" % (n, n, n, n) for n in range(20, 500, 5)
    )
    many = b"20 20 m 30 20 l S\n" * (ruled.MAX_EDGES + 1)
    found = extract(page_of(crossing + table, many + table, table), name="a.pdf")
    assert [len(page.tables) for page in found.pages] == [0, 0, 1]
    assert (codes(found), found.findings[0].detail) == (["tables_left_out"], "page 1; page 2")
    assert all("apples" in page.text for page in found.pages)
    monkeypatch.setattr(ruled, "MAX_CELLS", 20)
    found = extract(page_of(table, table, table), name="a.pdf")
    assert [len(page.tables) for page in found.pages] == [1, 1, 0]
