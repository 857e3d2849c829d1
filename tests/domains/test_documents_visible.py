"""What readers show beside running text: fields, comments, charts, diagrams, attached files."""

from io import BytesIO
from typing import Any

import pytest
from orchestration_demo.documents.packages import docx, ods, pptx, relations, xlsx
from orchestration_demo.documents.pdf import objects_to_pdf, stream

from orchestration_project.domains.documents.extracted import Child
from orchestration_project.domains.documents.extraction import extract
from tests.domains.documents import a_story, codes, with_parts

STORY = a_story()
OFFICE = "http://schemas.openxmlformats.org"
NAMES = (
    f'xmlns:a="{OFFICE}/drawingml/2006/main" xmlns:c="{OFFICE}/drawingml/2006/chart" '
    f'xmlns:r="{OFFICE}/officeDocument/2006/relationships" '
    f'xmlns:dgm="{OFFICE}/drawingml/2006/diagram" '
    f'xmlns:p="{OFFICE}/presentationml/2006/main" '
    f'xmlns:w="{OFFICE}/wordprocessingml/2006/main" xmlns:v="urn:schemas-microsoft-com:vml"'
)
SERIES = """<c:ser><c:tx><c:strRef><c:strCache><c:pt idx="0"><c:v>{name}</c:v></c:pt></c:strCache>
</c:strRef></c:tx><c:cat><c:strRef><c:strCache><c:pt idx="0"><c:v>North</c:v></c:pt>
<c:pt idx="1"><c:v>South</c:v></c:pt></c:strCache></c:strRef></c:cat><c:val><c:numRef><c:numCache>
<c:pt idx="0"><c:v>{north}</c:v></c:pt><c:pt idx="1"><c:v>17.5</c:v></c:pt></c:numCache></c:numRef>
</c:val></c:ser>"""
CHART = f"""<c:chartSpace {NAMES}><c:chart><c:title><c:tx><c:rich><a:p><a:r><a:t>Sales of
2025</a:t></a:r></a:p></c:rich></c:tx></c:title><c:plotArea><c:barChart>
{SERIES.format(name="Goods", north=4711)}{SERIES.format(name="Services", north=12)}
</c:barChart></c:plotArea></c:chart></c:chartSpace>"""
CHART_LINES = ["[chart] Sales of 2025", "\tGoods\tServices", "North\t4711\t12", "South\t17.5\t17.5"]
CHART_ROWS = (("", "Goods", "Services"), ("North", "4711", "12"), ("South", "17.5", "17.5"))
DIAGRAM = f"""<dgm:dataModel {NAMES}><dgm:ptLst><dgm:pt><dgm:t><a:p><a:r><a:t>Plan</a:t></a:r></a:p>
</dgm:t></dgm:pt><dgm:pt type="pres"/><dgm:pt><dgm:t><a:p><a:r><a:t>Build</a:t></a:r></a:p></dgm:t>
</dgm:pt></dgm:ptLst></dgm:dataModel>"""
FRAMES = """<c:chart r:id="rId901"/><dgm:relIds r:dm="rId902" r:lo="rId903"/>"""


def links(folder, **more):
    """Return the relationships that `FRAMES` names, and others by id."""
    return relations(
        {
            "rId901": ("chart", f"/{folder}/charts/chart1.xml"),
            "rId902": ("diagramData", f"/{folder}/diagrams/data1.xml"),
            "rId903": ("diagramLayout", f"/{folder}/diagrams/layout1.xml"),
            **more,
        }
    )


def form_pdf(fields, annotations=b"", more=(), entries=b""):
    """Return a page with a form and annotations, which follow object 6."""
    drawn = b"BT /F1 11 Tf 72 700 Td (Name:) Tj ET"
    count = len(fields)
    kids = b" ".join(b"%d 0 R" % (6 + place) for place in range(count))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R /AcroForm << /Fields [%b] %b >> >>" % (kids, entries),
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Contents 4 0 R /Resources "
        b"<< /Font << /F1 5 0 R >> >> /Annots [%b %b] >>" % (kids, annotations),
        stream(drawn),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
        *(
            b"<< /Type /Annot /Subtype /Widget /Rect [100 690 300 710] %b >>" % field
            for field in fields
        ),
        *more,
    ]
    return objects_to_pdf(objects)


def test_form_fields_of_a_pdf_are_lines_with_their_names():
    fields = [
        b"/FT /Tx /T (name) /V (Ada Example)",
        b"/FT /Tx /T (name) /V (Ada Example)",
        b"/FT /Btn /T (agreed) /V /Yes /AS /Yes /AP << /N << /Yes 5 0 R /Off 5 0 R >> >>",
        b"/FT /Btn /T (refused) /V /Off /AS /Off /AP << /N << /Yes 5 0 R /Off 5 0 R >> >>",
        b"/FT /Ch /Ff 131072 /T (size) /Opt [(S) (M)] /V (M)",
        b"/FT /Ch /Ff 2097152 /T (colours) /Opt [(red) (green) (blue)] /V [(red) (blue)]",
        b"/FT /Tx /T (empty)",
        b"/FT /Tx /T (hidden) /V (secret) /F 2",
    ]
    found = extract(form_pdf(fields), name="a.pdf")
    assert found.text.split("\n") == [
        "Name:",
        "[field name] Ada Example",
        "[field agreed] Yes",
        "[field size] M",
        "[field colours] red, blue",
    ]
    assert codes(found) == []


def test_a_field_whose_name_and_value_belong_to_its_parent_is_read():
    parent = b"<< /FT /Tx /T (iban) /V (XX00 1234) /Kids [6 0 R] >>"
    found = extract(form_pdf([b"/Parent 7 0 R"], more=[parent]), name="a.pdf")
    assert found.text.split("\n")[1:] == ["[field iban] XX00 1234"]


def test_annotations_of_a_pdf_are_lines_with_their_kind_and_author():
    place = b"/Type /Annot /Rect [100 600 300 620]"
    drawn = b"q BT /F1 9 Tf 0 0 Td (APPROVED) Tj ET Q"
    resources = (
        b" /Type /XObject /Subtype /Form /BBox [0 0 99 20] /Resources << /Font << /F1 5 0 R >> >>"
    )
    more = [
        b"<< %b /Subtype /Text /T (Ada) /Contents (Check this) >>" % place,
        b"<< %b /Subtype /FreeText /Contents (Approved by legal) >>" % place,
        b"<< %b /Subtype /Highlight /Contents (unclear) >>" % place,
        b"<< %b /Subtype /Stamp /AP << /N 10 0 R >> >>" % place,
        stream(drawn, resources),
        b"<< %b /Subtype /FileAttachment /Contents (the data) /FS 12 0 R >>" % place,
        b"<< /Type /Filespec /F (data.csv) /UF (data.csv) /EF << /F 13 0 R >> >>",
        stream(b"a,b\n1,2\n", b" /Type /EmbeddedFile"),
        b"<< %b /Subtype /Popup /Contents (Check this) >>" % place,
        b"<< %b /Subtype /Sound >>" % place,
    ]
    numbers = b" ".join(b"%d 0 R" % number for number in (6, 7, 8, 9, 11, 14, 15))
    found = extract(form_pdf([], numbers, more), name="a.pdf")
    assert found.text.split("\n") == [
        "Name:",
        "[comment Ada] Check this",
        "[text box] Approved by legal",
        "[mark] unclear",
        "[attachment] the data",
    ]
    assert found.children == (Child("data.csv", b"a,b\n1,2\n"),)
    assert [(finding.code, finding.detail) for finding in found.findings] == [
        ("content_left_out", "the drawn text of a stamp; an annotation with sound")
    ]


def test_a_form_that_is_not_of_pdf_itself_is_noted():
    content = form_pdf([], entries=b"/XFA (<xdp/>) >> /NeedsRendering true /X <<")
    found = extract(content, name="a.pdf")
    assert codes(found) == ["content_left_out"]


def test_charts_and_diagrams_of_a_slide_are_lines_and_tables():
    frame = f"<p:graphicFrame><a:graphic>{FRAMES}</a:graphic></p:graphicFrame>"
    slide = f"<p:sld {NAMES}><p:cSld><p:spTree>{frame}</p:spTree></p:cSld></p:sld>"
    comments = f"<p:cmLst {NAMES}><p:cm><p:text>Too long?</p:text></p:cm></p:cmLst>"
    parts = {
        "ppt/slides/slide1.xml": slide,
        "ppt/slides/_rels/slide1.xml.rels": links(
            "ppt", rId904=("comments", "/ppt/comments/comment1.xml")
        ),
        "ppt/charts/chart1.xml": CHART,
        "ppt/diagrams/data1.xml": DIAGRAM,
        "ppt/comments/comment1.xml": comments,
    }
    found = extract(with_parts(pptx(STORY), parts), name="a.pptx")
    page = found.pages[-1]
    assert page.text.split("\n") == [
        *CHART_LINES,
        "[diagram] Plan",
        "[diagram] Build",
        "[comment] Too long?",
    ]
    assert [(table.name, table.rows) for table in page.tables] == [("Sales of 2025", CHART_ROWS)]
    assert codes(found) == []


def test_charts_embedded_files_watermarks_and_choices_of_docx_are_read():
    choice = '<w:result w:val="1"/><w:listEntry w:val="no"/><w:listEntry w:val="yes"/>'
    body = (
        f"<w:p><w:r><w:drawing>{FRAMES}</w:drawing></w:r></w:p>"
        '<w:p><w:r><w:object><v:shape/><OLEObject r:id="rId904"/></w:object></w:r></w:p>'
        '<w:p><w:r><w:pict><v:textpath string="DRAFT"/></w:pict></w:r></w:p>'
        f"<w:p><w:r><w:fldChar><w:ffData><w:ddList>{choice}</w:ddList></w:ffData></w:fldChar></w:r></w:p>"
        '<w:altChunk r:id="rId905"/>'
    )
    parts = {
        "word/document.xml": f"<w:document {NAMES}><w:body>{body}</w:body></w:document>",
        "word/_rels/document.xml.rels": links(
            "word",
            rId904=("package", "embeddings/book.xlsx"),
            rId905=("aFChunk", "chunk.html"),
        ),
        "word/charts/chart1.xml": CHART,
        "word/diagrams/data1.xml": DIAGRAM,
        "word/embeddings/book.xlsx": "a book",
        "word/chunk.html": "<p>chunk</p>",
    }
    found = extract(with_parts(docx(STORY), parts), name="a.docx")
    assert found.text.split("\n") == [
        *CHART_LINES,
        "[diagram] Plan",
        "[diagram] Build",
        "DRAFT",
        "yes",
    ]
    assert [child.name for child in found.children] == ["book.xlsx", "chunk.html"]
    assert found.pages[0].tables[0].rows == CHART_ROWS
    assert codes(found) == []


@pytest.mark.parametrize(
    ("body", "link", "code"),
    [
        (
            '<w:object><OLEObject r:id="rId904"/></w:object>',
            ("oleObject", "a.bin"),
            "content_left_out",
        ),
        ('<c:chart r:id="rId999"/>', ("image", "a.png"), "content_left_out"),
        ('<c:chart r:id="rId904"/>', ("chart", "gone.xml"), "parts_unreadable"),
        ('<c:chart r:id="rId904"/>', ("chart", "empty.xml"), "content_left_out"),
    ],
)
def test_what_cannot_be_read_of_docx_is_noted(body, link, code):
    paragraph = f"<w:p><w:r><w:t>text</w:t>{body}</w:r></w:p>"
    parts = {
        "word/document.xml": f"<w:document {NAMES}><w:body>{paragraph}</w:body></w:document>",
        "word/_rels/document.xml.rels": relations({"rId904": link}),
        "word/a.bin": "object",
        "word/empty.xml": f"<c:chartSpace {NAMES}/>",
    }
    found = extract(with_parts(docx(STORY), parts), name="a.docx")
    assert (found.state, codes(found)) == ("loaded", [code])


def test_comments_text_boxes_charts_and_margins_of_a_sheet_are_read():
    import xlsxwriter

    file = BytesIO()
    book = xlsxwriter.Workbook(file)
    sheet = book.add_worksheet("Data")
    sheet.write_column("A1", ["Region", "North", "South"])
    sheet.write_column("B1", ["Sales", 4711, 17])
    sheet.write_comment("B2", "audited figure")
    sheet.insert_textbox("D2", "Figures are provisional")
    sheet.set_header('&L&"Arial,Bold"&12Confidential&R&P')
    chart: Any = book.add_chart({"type": "bar"})
    chart.add_series(
        {
            "name": "Sales",
            "categories": "=Data!$A$2:$A$3",
            "values": "=Data!$B$2:$B$3",
            "categories_data": ["North", "South"],
            "values_data": [4711, 17],
        }
    )
    chart.set_title({"name": "Sales by region"})
    sheet.insert_chart("D9", chart)
    book.close()
    found = extract(file.getvalue(), name="a.xlsx")
    (page,) = found.pages
    assert page.text.split("\n")[:4] == ["Data", "Region\tSales", "North\t4711", "South\t17"]
    assert set(page.text.split("\n")[4:]) == {
        "[comment B2] audited figure",
        "[text box] Figures are provisional",
        "[chart] Sales by region",
        "\tSales",
        "North\t4711",
        "South\t17",
        "[header] Confidential",
    }
    assert [len(table.rows) for table in page.tables] == [3, 3]


def test_drawings_of_a_workbook_that_has_no_xml_for_them_are_noted():
    note = b'<draw:frame xmlns:draw="x"/>'
    content = with_parts(
        ods(STORY), {}, {"content.xml": (b"</table:table>", note + b"</table:table>")}
    )
    found = extract(content, name="a.ods")
    assert codes(found) == ["content_left_out"]
    assert codes(extract(xlsx(STORY), name="a.xlsx")) == []


def test_values_of_inputs_and_texts_of_drawings_in_html_are_read():
    html = (
        '<p>Name: <input value="Ada Example"> <input type="hidden" value="token"></p>'
        "<svg><title>hint</title><defs><text>unused</text></defs>"
        "<text>North</text><text>47<tspan>11</tspan></text></svg>"
    )
    found = extract(f"<html><body>{html}</body></html>".encode(), name="a.html")
    assert found.text.split("\n") == ["Name: Ada Example", "North", "4711"]
