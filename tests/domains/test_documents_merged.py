"""Merged cells: every cell keeps its column, by the same rule in each format."""

from io import BytesIO

import pytest
from orchestration_demo.documents.packages import docx, relations

from orchestration_project.domains.documents.extracted import cell_text
from orchestration_project.domains.documents.extraction import extract
from tests.domains.documents import a_story, with_parts

ROWS = (
    ("Region", "Q1", "Q2"),
    ("North", "n/a", ""),
    ("South", "5", "6"),
    ("", "7", "8"),
    ("", "", "total 6"),
)
LINES = ["Region\tQ1\tQ2", "North\tn/a", "South\t5\t6", "\t7\t8", "\t\ttotal 6"]


def as_html():
    rows = (
        "<tr><th>Region<th>Q1<th>Q2<tr><td>North<td colspan=2>n/a<tr><td rowspan=2>South<td>5"
        "<td>6<tr><td>7<td>8<tr><td colspan='2'><td>total 6"
    )
    return extract(f"<!doctype html><table>{rows}</table>".encode(), name="a.html")


def cell(text, properties=""):
    inside = f"<w:p><w:r><w:t>{text}</w:t></w:r></w:p>"
    return f"<w:tc><w:tcPr>{properties}</w:tcPr>{inside}</w:tc>"


def as_docx():
    start, more = '<w:vMerge w:val="restart"/>', "<w:vMerge/>"
    rows = [
        cell("Region") + cell("Q1") + cell("Q2"),
        cell("North") + cell("n/a", '<w:gridSpan w:val="2"/>'),
        cell("South", start) + cell("5") + cell("6"),
        cell("", more) + cell("7") + cell("8"),
        '<w:trPr><w:gridBefore w:val="2"/></w:trPr>' + cell("total 6"),
    ]
    table = "".join(f"<w:tr>{row}</w:tr>" for row in rows)
    names = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
    document = f"<w:document {names}><w:body><w:tbl>{table}</w:tbl></w:body></w:document>"
    parts = {"word/document.xml": document, "word/_rels/document.xml.rels": relations({})}
    return extract(with_parts(docx(a_story()), parts), name="a.docx")


def as_xlsx():
    import xlsxwriter

    file = BytesIO()
    with xlsxwriter.Workbook(file) as book:
        sheet = book.add_worksheet("Region")
        for row, texts in enumerate(ROWS[1:]):
            sheet.write_row(row, 0, texts)
        sheet.merge_range("B1:C1", "n/a")
        sheet.merge_range("A2:A3", "South")
        sheet.merge_range("A4:B4", "")
    return extract(file.getvalue(), name="a.xlsx")


@pytest.mark.parametrize("read", [as_html, as_docx])
def test_a_merged_cell_is_empty_in_the_columns_and_rows_that_it_covers(read):
    (page,) = read().pages
    assert [table.rows for table in page.tables] == [ROWS]
    assert page.text.split("\n") == LINES


def test_a_spreadsheet_has_merged_cells_by_the_same_rule():
    (page,) = as_xlsx().pages
    rows = [tuple(cell_text(value) for value in row) for row in page.tables[0].rows]
    assert rows == list(ROWS[1:])
    assert page.text.split("\n")[1:] == LINES[1:]


def test_spans_that_are_no_numbers_or_too_large_end_at_their_limits():
    html = (
        "<!doctype html><table><thead><tr><th rowspan=0>a<th colspan=x>b</thead>"
        "<tbody><tr><td colspan=0>c<td colspan=99999>d</table><td>e"
    )
    (page,) = extract(html.encode(), name="a.html").pages
    (table,) = page.tables
    assert table.rows[0] == ("a", "b")
    assert table.rows[1][:2] == ("c", "d")
    assert len(table.rows[1]) == 1001
