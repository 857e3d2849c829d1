"""Cells of XLSX as a sheet shows them: number formats, durations, errors."""

from datetime import date, datetime, time, timedelta
from io import BytesIO

import openpyxl
import pytest
from orchestration_demo.documents.packages import ods

from orchestration_project.domains.documents.extracted import cell_text
from orchestration_project.domains.documents.extraction import extract
from tests.domains.documents import a_story, codes, with_parts


def sheet_of(*cells):
    """Return the text line and the table row of cells, each a value and its number format."""
    book = openpyxl.Workbook()
    sheet = book.worksheets[0]
    for place, (value, code) in enumerate(cells, start=1):
        cell = sheet.cell(1, place, value)
        cell.number_format = code
        if isinstance(value, str) and value.startswith("#"):
            cell.data_type = "e"
    file = BytesIO()
    book.save(file)
    found = extract(file.getvalue(), name="a.xlsx")
    line = found.text.split("\n")[1]
    return line.split("\t"), found.pages[0].tables[0].rows[0], found


@pytest.mark.parametrize(
    ("value", "code", "shown"),
    [
        (501, "00000", "00501"),
        (37833100, "000000000", "037833100"),
        (123456789, "000\\-00\\-0000", "123-45-6789"),
        (12, '"ID-"0000', "ID-0012"),
        (1234567, "00000", "1234567"),
        (0, "000", "000"),
        (1.5, "00000", "1.5"),
        (-5, "00000", "-5"),
    ],
)
def test_zeros_of_a_number_format_belong_to_the_value(value, code, shown):
    line, row, _ = sheet_of((value, code))
    assert line == [shown]
    assert cell_text(row[0]) == shown


@pytest.mark.parametrize(
    ("value", "code", "shown"),
    [
        (0.125, "0.0%", "12.5%"),
        (0.125, "0%", "12.5%"),
        (1, "0%", "100%"),
        (0.07, "0.00%", "7.00%"),
        (-0.5, "0.00%;[Red]-0.00%", "-50.00%"),
    ],
)
def test_a_percentage_is_shown_as_one_and_stays_a_number_in_the_table(value, code, shown):
    line, row, _ = sheet_of((value, code))
    assert line == [shown]
    assert row == (value,)


def test_dates_times_and_durations_are_read_by_their_formats():
    cells = [
        (date(2026, 1, 5), "d. mmmm yyyy"),
        (datetime.fromisoformat("2026-02-09T14:30"), "[$-409]m/d/yy h:mm AM/PM"),
        (time(7, 5), "h:mm"),
        (timedelta(hours=30, minutes=15), "[h]:mm:ss"),
        (timedelta(minutes=90, seconds=1.5), "[mm]:ss.0"),
    ]
    line, _, found = sheet_of(*cells)
    assert line == ["2026-01-05", "2026-02-09T14:30:00", "07:05:00", "30:15:00", "1:30:01.5"]
    assert codes(found) == []


def test_an_error_is_no_empty_cell_and_is_noted_with_its_place():
    line, row, found = sheet_of(("NA", "General"), ("#N/A", "General"), ("#DIV/0!", "0%"))
    assert line == ["NA", "#N/A", "#DIV/0!"]
    assert row == ("NA", "#N/A", "#DIV/0!")
    [finding] = found.findings
    assert (finding.code, finding.detail) == ("error_cells", "Sheet: B1 #N/A, C1 #DIV/0!")


def test_errors_of_an_open_document_are_counted():
    marked = (b"<table:table-cell", b'<table:table-cell calcext:value-type="error"')
    content = with_parts(
        ods(a_story()),
        {},
        {
            "content.xml": (
                marked[0],
                marked[1].replace(b" calcext", b' xmlns:calcext="urn:x" calcext'),
            )
        },
    )
    assert codes(extract(content, name="a.ods")) == ["error_cells"]


def test_whole_numbers_have_no_fraction_and_all_their_digits():
    line, _, _ = sheet_of((9007199254740992, "General"), (1e20, "0"), (0.1, "General"))
    assert line == ["9007199254740992", "100000000000000000000", "0.1"]
