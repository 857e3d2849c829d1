"""DOCX, PPTX and spreadsheets: text in order, tables, typed cells, properties."""

from datetime import date
from io import BytesIO
from zipfile import ZipFile

import openpyxl
import pytest
from orchestration_demo.documents.compound import encrypted_office, xls
from orchestration_demo.documents.damage import EXTERNAL_ENTITY, cut
from orchestration_demo.documents.packages import archive, docx, ods, pptx, xlsx

from orchestration_project.domains.documents.extracted import Extracted
from orchestration_project.domains.documents.extraction import extract
from tests.domains.documents import a_story, codes, missing
from tests.domains.xlsb import xlsb

STORY = a_story()


def with_part(content: bytes, **parts: bytes | None) -> bytes:
    """Return a package with other parts, or without them; ``__`` stands for ``/`` in a name."""
    changes = {name.replace("__", "/") + ".xml": part for name, part in parts.items()}
    with ZipFile(BytesIO(content)) as file:
        found = {name: file.read(name) for name in file.namelist()}
    return archive((name, part) for name, part in (found | changes).items() if part is not None)


def has_properties(found: Extracted) -> bool:
    return (found.title, found.author, found.created_at) == (
        STORY.title,
        STORY.author,
        STORY.created_at,
    )


def test_docx_has_all_places_in_order():
    found = extract(docx(STORY), name="a.docx")
    (page,) = found.pages
    asides = STORY.asides
    body = [STORY.title]
    for section in STORY.sections:
        body += [section.heading, *section.paragraphs]
    assert page.text.split("\n") == [
        asides["header"],
        *body,
        *("\t".join(row) for row in STORY.cells),
        "Noted[^2][^c0]",
        asides["inserted"],
        asides["text_box"],
        asides["footer"],
        f"[^2] {asides['footnote']}",
        f"[^c0] {asides['comment']}",
    ]
    assert [table.rows for table in page.tables] == [tuple(map(tuple, STORY.cells))]
    assert [(h.level, h.text) for h in page.headings] == [
        (1, STORY.title),
        *((2, section.heading) for section in STORY.sections),
    ]
    assert has_properties(found)
    assert codes(found) == []
    assert STORY.deleted not in found.text


def test_a_table_in_a_table_comes_after_it():
    inner = "<w:tbl><w:tr><w:tc><w:p><w:r><w:t>inner</w:t></w:r></w:p></w:tc></w:tr></w:tbl>"
    outer = (
        f"<w:tbl><w:tr><w:tc><w:p><w:r><w:t>outer</w:t></w:r></w:p>{inner}</w:tc></w:tr></w:tbl>"
    )
    names = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
    part = f"<w:document {names}><w:body>{outer}</w:body></w:document>".encode()
    (page,) = extract(with_part(docx(STORY), word__document=part), name="a.docx").pages
    assert [table.rows for table in page.tables] == [(("outer\ninner",),), (("inner",),)]


def test_optional_parts_that_are_damaged_are_noted():
    found = extract(with_part(docx(STORY), word__comments=b"<w:x>"), name="a.docx")
    assert (found.state, codes(found)) == ("loaded", ["parts_unreadable"])
    assert missing(found, STORY.known("footnote")) == []


def test_pptx_has_slides_in_the_order_of_the_presentation():
    found = extract(pptx(STORY), name="a.pptx")
    first, second, third = found.pages
    assert [page.headings[0].text for page in found.pages] == [
        STORY.sections[1].heading,
        STORY.sections[0].heading,
        STORY.title,
    ]
    assert first.text.endswith(f"\nNotes:\n{STORY.asides['notes']}")
    assert "77" not in first.text.split()
    assert second.text.split("\n")[1:] == list(STORY.sections[0].paragraphs)
    assert third.tables[0].rows == tuple(map(tuple, STORY.cells))
    assert STORY.asides["text_box"] in third.text
    assert has_properties(found)


def test_a_slide_that_cannot_be_read_is_noted():
    found = extract(with_part(pptx(STORY), ppt__slides__slide2=b"<p:sld>"), name="a.pptx")
    assert (found.state, codes(found)) == ("loaded", ["pages_unreadable"])
    assert [bool(page.text) for page in found.pages] == [True, False, True]


@pytest.mark.parametrize(("name", "write"), [("xlsx", xlsx), ("xls", xls), ("ods", ods)])
def test_a_spreadsheet_has_typed_cells(name, write):
    found = extract(write(STORY), name=f"a.{name}")
    text, table = found.pages
    assert missing(found, STORY.known()) == []
    assert text.text.split("\n")[:2] == ["Text", STORY.title]
    rows = table.tables[0].rows
    assert rows[: len(STORY.rows)] == STORY.rows
    assert [type(value) for value in rows[1]] == [str, float, date]
    assert (table.tables[0].name, table.headings[0].text) == ("Table", "Table")
    assert has_properties(found)


def test_a_workbook_of_another_writer_has_its_cells():
    book = openpyxl.Workbook()
    sheet = book.worksheets[0]
    sheet.append(["x", 1, 2.5, True, date(2026, 2, 28), None, "last"])
    target = BytesIO()
    book.save(target)
    found = extract(target.getvalue(), name="a.xlsx")
    (row,) = found.pages[0].tables[0].rows
    assert row == ("x", 1, 2.5, True, date(2026, 2, 28), None, "last")
    assert found.text == "Sheet\nx\t1\t2.5\ttrue\t2026-02-28\t\tlast"


def test_a_formula_without_a_stored_value_is_marked():
    found = extract(xlsx(STORY, has_values=False), name="a.xlsx")
    assert (found.state, codes(found)) == ("loaded", ["formula_without_value"])
    assert found.pages[1].tables[0].rows[-1] == (None, "=?", None)


def test_a_workbook_in_binary_records_has_typed_cells_and_its_macros_are_noted():
    rows = (("name", "amount", "paid", "day"), ("apples", 2.5, True, date(2026, 2, 28)))
    found = extract(xlsb(rows, 99.5, STORY), name="a.xlsb")
    (page,) = found.pages
    assert found.media_type == "application/vnd.ms-excel.sheet.binary.macroEnabled.12"
    assert (found.state, codes(found)) == ("loaded", ["macros_ignored"])
    assert page.tables[0].rows == (*rows, (99.5, None, None, None))
    assert page.text == "Binary\nname\tamount\tpaid\tday\napples\t2.5\ttrue\t2026-02-28\n99.5"
    assert has_properties(found)


def test_a_workbook_with_macros_has_typed_cells_and_no_text_of_macros():
    plain = xlsx(STORY, has_values=False)
    with ZipFile(BytesIO(plain)) as file:
        parts = {name: file.read(name) for name in file.namelist()}
    kinds = parts["[Content_Types].xml"]
    parts["[Content_Types].xml"] = kinds.replace(
        b"vnd.openxmlformats-officedocument.spreadsheetml.sheet.main",
        b"vnd.ms-excel.sheet.macroEnabled.main",
    )
    parts["xl/vbaProject.bin"] = b"Sub Auto_Open: macro words"
    found = extract(archive(parts.items()), name="a.xlsm")
    assert found.media_type == "application/vnd.ms-excel.sheet.macroEnabled.12"
    assert set(codes(found)) == {"macros_ignored", "formula_without_value"}
    expected = extract(plain, name="a.xlsx")
    assert [page.tables for page in found.pages] == [page.tables for page in expected.pages]
    assert found.pages[1].tables[0].rows[-1] == (None, "=?", None)
    assert "macro" not in found.text


def test_properties_of_a_compound_file_that_claim_more_than_there_is_cost_no_time():
    content = bytearray(xls(STORY))
    count = content.index(bytes.fromhex("e0859ff2f94f6810ab9108002b27b3d9")) + 24
    content[count : count + 4] = b"\xff\xff\xff\xff"
    found = extract(bytes(content), name="a.xls")
    assert (found.state, missing(found, STORY.known())) == ("loaded", [])
    assert found.title == STORY.title
    content[count + 4 : count + 300] = b"\x1f\x10\0\0" * 74  # lists of texts without an end
    found = extract(bytes(content), name="a.xls")
    assert (found.state, found.title, missing(found, STORY.known())) == ("loaded", None, [])


def test_macros_are_noted_and_never_text():
    found = extract(docx(STORY, has_macros=True), name="a.docm")
    assert (found.state, codes(found)) == ("loaded", ["macros_ignored"])
    assert "macro" not in found.text


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (encrypted_office(), "encrypted"),
        (cut(docx(STORY)), "truncated"),
        (cut(xlsx(STORY)), "truncated"),
        (cut(xls(STORY)), "corrupt"),
        (with_part(docx(STORY), word__document=b"<a><b></a>"), "corrupt"),
        (with_part(docx(STORY), word__document=b"<a><b>"), "truncated"),
        (with_part(docx(STORY), word__document=None), "corrupt"),
        (with_part(pptx(STORY), ppt__presentation=b"<p/>"), "corrupt"),
        (with_part(docx(STORY), word__document=EXTERNAL_ENTITY), "xml_entities"),
        (with_part(docx(STORY), docProps__core=EXTERNAL_ENTITY), "xml_entities"),
        (with_part(xlsx(STORY), xl__worksheets__sheet1=b"<a>" * 9), "truncated"),
        (with_part(docx(STORY), word__document=bytes(9_000_000)), "archive_ratio"),
        (with_part(xlsx(STORY), xl__media=bytes(9_000_000)), "archive_ratio"),
    ],
)
def test_a_bad_office_file_has_its_reason(content, reason):
    found = extract(content, name="a.docx")
    assert found.reason_code == reason
    assert (found.state == "loaded", found.pages) == (False, ())


def test_a_presentation_without_slides_is_empty_and_one_that_lost_them_is_corrupt():
    main = b'<p:presentation xmlns:p="p" xmlns:r="r">%b</p:presentation>'
    empty = with_part(pptx(STORY), ppt__presentation=main % b"")
    assert extract(empty, name="a.pptx").reason_code == "no_text"
    lost = main % b'<p:sldIdLst><p:sldId r:id="rId99"/></p:sldIdLst>'
    found = extract(with_part(pptx(STORY), ppt__presentation=lost), name="a.pptx")
    assert found.reason_code == "corrupt"
