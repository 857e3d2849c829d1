"""Writers of formats that are ZIP archives: DOCX, PPTX, XLSX, ODS and EPUB, and plain archives."""

import stat
from collections.abc import Iterable, Mapping
from datetime import date
from io import BytesIO
from xml.sax.saxutils import escape
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

from orchestration_demo.documents.story import Story, cell_text
from orchestration_demo.documents.texts import html_table

OPEN = "http://schemas.openxmlformats.org"
HEAD = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
WORD_NAMESPACES = f'xmlns:w="{OPEN}/wordprocessingml/2006/main"'
SLIDE_NAMESPACES = (
    f'xmlns:a="{OPEN}/drawingml/2006/main" xmlns:p="{OPEN}/presentationml/2006/main" '
    f'xmlns:r="{OPEN}/officeDocument/2006/relationships"'
)
SHEET_NAMESPACES = (
    f'xmlns="{OPEN}/spreadsheetml/2006/main" xmlns:r="{OPEN}/officeDocument/2006/relationships"'
)
OFFICE = "application/vnd.openxmlformats-officedocument"
EXCEL_EPOCH = date(1899, 12, 30)
WRITTEN = (2026, 1, 1, 0, 0, 0)
"""Time of all members: the same bytes whenever they are written."""


def archive(members: Iterable[tuple[str, bytes]], *, is_packed: bool = True) -> bytes:
    """Return a ZIP archive of these members, in their order."""
    target = BytesIO()
    with ZipFile(target, "w") as file:
        for name, content in members:
            member = ZipInfo(name, WRITTEN)
            member.compress_type = ZIP_DEFLATED if is_packed else ZIP_STORED
            member.external_attr = (stat.S_IFREG | 0o644) << 16
            member.create_system = 3
            file.writestr(member, content)
    return target.getvalue()


def package(kind: str, main: str, parts: Mapping[str, str], story: Story) -> bytes:
    """Return a package of OOXML.

    Args:
        kind: Content type of the main part.
        main: Its name.
        parts: All parts as XML, by name.
        story: Of which the properties are.
    """
    types = (
        f'{HEAD}<Types xmlns="{OPEN}/package/2006/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.'
        'relationships+xml"/><Default Extension="xml" ContentType="application/xml"/>'
        f'<Override PartName="/{main}" ContentType="{kind}"/></Types>'
    )
    core = (
        f'{HEAD}<cp:coreProperties xmlns:cp="{OPEN}/package/2006/metadata/core-properties" '
        'xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:dcterms="http://purl.org/dc/terms/">'
        f"<dc:title>{escape(story.title)}</dc:title><dc:creator>{escape(story.author)}</dc:creator>"
        f"<dcterms:created>{story.created_at:%Y-%m-%dT%H:%M:%SZ}</dcterms:created>"
        "</cp:coreProperties>"
    )
    all_parts = {
        "[Content_Types].xml": types,
        "_rels/.rels": relations({"rId1": ("officeDocument", main)}),
        "docProps/core.xml": core,
        **parts,
    }
    return archive((name, text.encode()) for name, text in all_parts.items())


def relations(links: Mapping[str, tuple[str, str]]) -> str:
    """Return a part of relationships: id to kind and target."""
    return (
        f'{HEAD}<Relationships xmlns="{OPEN}/package/2006/relationships">'
        + "".join(
            f'<Relationship Id="{name}" Target="{target}" '
            f'Type="{OPEN}/officeDocument/2006/relationships/{kind}"/>'
            for name, (kind, target) in links.items()
        )
        + "</Relationships>"
    )


def docx(story: Story, *, has_macros: bool = False) -> bytes:
    """Return a story as DOCX: with headings, a table, and each of its asides in its own place."""
    asides = story.asides
    body = [_paragraph(_run(story.title), "Heading1")]
    for section in story.sections:
        body.append(_paragraph(_run(section.heading), "Heading2"))
        body.extend(_paragraph(_run(text)) for text in section.paragraphs)
    body.append(_word_table(story.cells))
    body.append(
        _paragraph(
            _run("Noted")
            + '<w:r><w:footnoteReference w:id="2"/></w:r><w:r><w:commentReference w:id="0"/></w:r>'
        )
    )
    body.append(
        _paragraph(
            f'<w:ins w:id="5" w:author="x">{_run(asides["inserted"])}</w:ins><w:del w:id="6" '
            f'w:author="x"><w:r><w:delText>{story.deleted}</w:delText></w:r></w:del>'
        )
    )
    body.append(_paragraph(_text_box(asides["text_box"])))
    notes = (
        '<w:footnote w:id="0" w:type="separator"><w:p><w:r><w:separator/></w:r></w:p></w:footnote>'
        f'<w:footnote w:id="2">{_paragraph(_run(asides["footnote"]))}</w:footnote>'
    )
    comment = f'<w:comment w:id="0" w:author="x">{_paragraph(_run(asides["comment"]))}</w:comment>'
    styles = "".join(
        f'<w:style w:type="paragraph" w:styleId="Heading{level}"><w:name w:val="heading {level}"/>'
        "</w:style>"
        for level in (1, 2)
    )
    inside = {
        "document": ("document", f"<w:body>{''.join(body)}</w:body>"),
        "header1": ("hdr", _paragraph(_run(asides["header"]))),
        "footer1": ("ftr", _paragraph(_run(asides["footer"]))),
        "footnotes": ("footnotes", notes),
        "comments": ("comments", comment),
        "styles": ("styles", styles),
    }
    parts = {
        f"word/{name}.xml": f"{HEAD}<w:{root} {WORD_NAMESPACES}>{xml}</w:{root}>"
        for name, (root, xml) in inside.items()
    }
    kinds = ("header", "footer", "footnotes", "comments", "styles")
    targets = [name for name in inside if name != "document"]
    parts["word/_rels/document.xml.rels"] = relations(
        {f"rId{n}": (kinds[n], f"{name}.xml") for n, name in enumerate(targets)}
    )
    if has_macros:
        parts["word/vbaProject.bin"] = "not a macro"
    kind = f"{OFFICE}.wordprocessingml.document.main+xml"
    if has_macros:
        kind = "application/vnd.ms-word.document.macroEnabled.main+xml"
    return package(kind, "word/document.xml", parts, story)


def _run(text: str) -> str:
    return f'<w:r><w:t xml:space="preserve">{escape(text)}</w:t></w:r>'


def _paragraph(inside: str, style: str = "") -> str:
    named = f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>' if style else ""
    return f"<w:p>{named}{inside}</w:p>"


def _word_table(rows: list[list[str]]) -> str:
    return (
        "<w:tbl>"
        + "".join(
            f"<w:tr>{''.join(f'<w:tc>{_paragraph(_run(cell))}</w:tc>' for cell in row)}</w:tr>"
            for row in rows
        )
        + "</w:tbl>"
    )


def _text_box(text: str) -> str:
    """Return a text box as Word writes it: once for itself, and once for older programs."""
    inside = f"<w:txbxContent>{_paragraph(_run(text))}</w:txbxContent>"
    return (
        '<w:r><mc:AlternateContent xmlns:mc="http://schemas.openxmlformats.org/markup-'
        f'compatibility/2006"><mc:Choice Requires="wps"><w:drawing>{inside}</w:drawing></mc:Choice>'
        f"<mc:Fallback><w:pict>{inside}</w:pict></mc:Fallback></mc:AlternateContent></w:r>"
    )


def pptx(story: Story) -> bytes:
    """Return a story as PPTX: a slide for each section, one with a group and a table, and notes."""
    slides = [
        _shape("title", [section.heading]) + _shape("body", section.paragraphs)
        for section in story.sections
    ]
    group = f"<p:grpSp>{_shape('body', [story.asides['text_box']])}</p:grpSp>"
    slides.insert(0, _shape("ctrTitle", [story.title]) + group + _slide_table(story.cells))
    parts = dict[str, str]()
    for number, shapes in enumerate(slides, start=1):
        parts[f"ppt/slides/slide{number}.xml"] = _slide("sld", shapes)
    last = len(slides)
    parts[f"ppt/slides/_rels/slide{last}.xml.rels"] = relations(
        {"rId1": ("notesSlide", "../notesSlides/notesSlide1.xml")}
    )
    notes = _shape("body", [story.asides["notes"]]) + _shape("sldNum", ["77"])
    parts["ppt/notesSlides/notesSlide1.xml"] = _slide("notes", notes)
    # Against the order of names: the presentation decides it.
    order = [f'<p:sldId id="{256 + n}" r:id="rId{n}"/>' for n in range(last, 0, -1)]
    parts["ppt/presentation.xml"] = (
        f"{HEAD}<p:presentation {SLIDE_NAMESPACES}><p:sldIdLst>{''.join(order)}</p:sldIdLst>"
        "</p:presentation>"
    )
    parts["ppt/_rels/presentation.xml.rels"] = relations(
        {f"rId{n}": ("slide", f"slides/slide{n}.xml") for n in range(1, last + 1)}
    )
    kind = f"{OFFICE}.presentationml.presentation.main+xml"
    return package(kind, "ppt/presentation.xml", parts, story)


def _slide(root: str, shapes: str) -> str:
    return (
        f"{HEAD}<p:{root} {SLIDE_NAMESPACES}><p:cSld><p:spTree>{shapes}</p:spTree></p:cSld>"
        f"</p:{root}>"
    )


def _shape(kind: str, paragraphs: Iterable[str]) -> str:
    inside = "".join(f"<a:p><a:r><a:t>{escape(text)}</a:t></a:r></a:p>" for text in paragraphs)
    return (
        f'<p:sp><p:nvSpPr><p:nvPr><p:ph type="{kind}"/></p:nvPr></p:nvSpPr>'
        f"<p:txBody>{inside}</p:txBody></p:sp>"
    )


def _slide_table(rows: list[list[str]]) -> str:
    inside = "".join(
        "<a:tr>"
        + "".join(
            f"<a:tc><a:txBody><a:p><a:r><a:t>{escape(cell)}</a:t></a:r></a:p></a:txBody></a:tc>"
            for cell in row
        )
        + "</a:tr>"
        for row in rows
    )
    data = f"<a:graphicData><a:tbl>{inside}</a:tbl></a:graphicData>"
    return f"<p:graphicFrame><a:graphic>{data}</a:graphic></p:graphicFrame>"


def xlsx(story: Story, *, has_values: bool = True) -> bytes:
    """Return a story as XLSX: its text in one sheet, its table in another, days as serial numbers.

    Args:
        story: What it says.
        has_values: Whether the sum below the table has its stored value.
    """
    lines = [story.title, *(t for s in story.sections for t in (s.heading, *s.paragraphs))]
    rows = "".join(
        f'<row r="{n}"><c r="A{n}" t="inlineStr"><is><t>{escape(line)}</t></is></c></row>'
        for n, line in enumerate(lines, start=1)
    )
    table = "".join(
        f'<row r="{n}">'
        + "".join(_sheet_cell(value, f"{'ABC'[c]}{n}") for c, value in enumerate(row))
        + "</row>"
        for n, row in enumerate(story.rows, start=1)
    )
    last = len(story.rows)
    amounts = [row[1] for row in story.rows if isinstance(row[1], float)]
    value = f"<v>{sum(amounts)}</v>" if has_values else ""
    table += f'<row r="{last + 1}"><c r="B{last + 1}"><f>SUM(B2:B{last})</f>{value}</c></row>'
    sheet = "<worksheet {}><sheetData>{}</sheetData></worksheet>"
    parts = {
        "xl/workbook.xml": f'{HEAD}<workbook {SHEET_NAMESPACES}><sheets><sheet name="Text" '
        'sheetId="1" r:id="rId1"/><sheet name="Table" sheetId="2" r:id="rId2"/></sheets>'
        "</workbook>",
        "xl/_rels/workbook.xml.rels": relations(
            {
                "rId1": ("worksheet", "worksheets/sheet1.xml"),
                "rId2": ("worksheet", "worksheets/sheet2.xml"),
                "rId3": ("styles", "styles.xml"),
            }
        ),
        "xl/worksheets/sheet1.xml": HEAD + sheet.format(SHEET_NAMESPACES, rows),
        "xl/worksheets/sheet2.xml": HEAD + sheet.format(SHEET_NAMESPACES, table),
        "xl/styles.xml": f'{HEAD}<styleSheet {SHEET_NAMESPACES}><cellXfs count="2">'
        '<xf numFmtId="0"/><xf numFmtId="14" applyNumberFormat="1"/></cellXfs></styleSheet>',
    }
    return package(f"{OFFICE}.spreadsheetml.sheet.main+xml", "xl/workbook.xml", parts, story)


def _sheet_cell(value: str | float | date, place: str) -> str:
    if isinstance(value, date):
        return f'<c r="{place}" s="1"><v>{(value - EXCEL_EPOCH).days}</v></c>'
    if isinstance(value, str):
        return f'<c r="{place}" t="inlineStr"><is><t>{escape(value)}</t></is></c>'
    return f'<c r="{place}"><v>{value}</v></c>'


def ods(story: Story) -> bytes:
    """Return a story as ODS, with typed cells."""
    names = "urn:oasis:names:tc:opendocument:xmlns"
    lines = [story.title, *(t for s in story.sections for t in (s.heading, *s.paragraphs))]
    text = "".join(f"<table:table-row>{_open_cell(line)}</table:table-row>" for line in lines)
    table = "".join(
        f"<table:table-row>{''.join(map(_open_cell, row))}</table:table-row>" for row in story.rows
    )
    content = (
        f'{HEAD}<office:document-content xmlns:office="{names}:office:1.0" '
        f'xmlns:table="{names}:table:1.0" xmlns:text="{names}:text:1.0"><office:body>'
        f'<office:spreadsheet><table:table table:name="Text">{text}</table:table>'
        f'<table:table table:name="Table">{table}</table:table></office:spreadsheet></office:body>'
        "</office:document-content>"
    )
    meta = (
        f'{HEAD}<office:document-meta xmlns:office="{names}:office:1.0" '
        f'xmlns:meta="{names}:meta:1.0" xmlns:dc="http://purl.org/dc/elements/1.1/"><office:meta><dc:title>{escape(story.title)}'
        f"</dc:title><meta:initial-creator>{escape(story.author)}</meta:initial-creator>"
        f"<meta:creation-date>{story.created_at:%Y-%m-%dT%H:%M:%S}</meta:creation-date>"
        "</office:meta></office:document-meta>"
    )
    kind = b"application/vnd.oasis.opendocument.spreadsheet"
    manifest = f'{HEAD}<m:manifest xmlns:m="{names}:manifest:1.0"/>'
    return archive(
        [
            ("mimetype", kind),
            ("content.xml", content.encode()),
            ("meta.xml", meta.encode()),
            ("META-INF/manifest.xml", manifest.encode()),
        ]
    )


def _open_cell(value: str | float | date) -> str:
    shown = f"<text:p>{escape(cell_text(value))}</text:p></table:table-cell>"
    if isinstance(value, date):
        typed = f'office:value-type="date" office:date-value="{value.isoformat()}"'
    elif isinstance(value, str):
        typed = 'office:value-type="string"'
    else:
        typed = f'office:value-type="float" office:value="{value}"'
    return f"<table:table-cell {typed}>{shown}"


def epub(story: Story) -> bytes:
    """Return a story as EPUB: a chapter for each section, in another order than their names."""
    count = len(story.sections)
    bodies = [
        f"<h1>{escape(section.heading)}</h1>"
        + "".join(f"<p>{escape(text)}</p>" for text in section.paragraphs)
        for section in story.sections
    ]
    bodies[0] = f"<h1>{escape(story.title)}</h1>{bodies[0]}"
    bodies[-1] += html_table(story.cells)
    chapters = {
        f"OPS/chapter{count - place}.xhtml": f'{HEAD}<html xmlns="http://www.w3.org/1999/xhtml">'
        f"<head><title>x</title></head><body>{body}</body></html>"
        for place, body in enumerate(bodies)
    }
    names = [name.removeprefix("OPS/") for name in chapters]
    items = "".join(
        f'<item id="{name[:-6]}" href="{name}" media-type="application/xhtml+xml"/>'
        for name in sorted(names)
    )
    spine = "".join(f'<itemref idref="{name[:-6]}"/>' for name in names)
    package_part = (
        f'{HEAD}<package xmlns="http://www.idpf.org/2007/opf" version="3.0"><metadata '
        f'xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>{escape(story.title)}</dc:title>'
        f"<dc:creator>{escape(story.author)}</dc:creator>"
        f"<dc:date>{story.created_at:%Y-%m-%dT%H:%M:%SZ}</dc:date></metadata>"
        f"<manifest>{items}</manifest><spine>{spine}</spine></package>"
    )
    container = (
        f'{HEAD}<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container" version="1.0">'
        '<rootfiles><rootfile full-path="OPS/book.opf" '
        'media-type="application/oebps-package+xml"/></rootfiles></container>'
    )
    members = {"META-INF/container.xml": container, "OPS/book.opf": package_part, **chapters}
    return archive(
        [
            ("mimetype", b"application/epub+zip"),
            *((name, text.encode()) for name, text in members.items()),
        ]
    )
