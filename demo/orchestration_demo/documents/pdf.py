"""A writer of PDF files with full control of their objects, damaged ones included."""

import zlib
from collections.abc import Sequence
from typing import NamedTuple

from orchestration_demo.documents.story import Story

WIDTH, HEIGHT, MARGIN = 595, 842, 72
SIZE, LEADING = 11, 15
LINE_CHARACTERS = 80
ENCRYPTION = (
    b"<< /Filter /Standard /V 1 /R 2 /P -4 /O <" + b"41" * 32 + b"> /U <" + b"42" * 32 + b"> >>"
)
"""An encryption without a known password."""


class Text(NamedTuple):
    """A line at a place of a page, in points from the lower left corner."""

    x: float
    y: float
    text: str
    size: int = SIZE


def objects_to_pdf(objects: Sequence[bytes], trailer: bytes = b"") -> bytes:
    """Return a file of these objects, numbered from 1; the first is the catalogue.

    Args:
        objects: Their bodies.
        trailer: More entries of the trailer.
    """
    content, places = bytearray(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"), list[int]()
    for number, body in enumerate(objects, start=1):
        places.append(len(content))
        content += b"%d 0 obj\n%b\nendobj\n" % (number, body)
    start = len(content)
    content += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    content += b"".join(b"%010d 00000 n \n" % place for place in places)
    content += b"trailer\n<< /Size %d /Root 1 0 R /ID [<%b> <%b>] %b >>\n" % (
        *(len(objects) + 1, b"00" * 16, b"00" * 16, trailer),
    )
    return bytes(content + b"startxref\n%d\n%%%%EOF\n" % start)


def stream(data: bytes, entries: bytes = b"", *, is_packed: bool = True) -> bytes:
    """Return the body of an object with a stream."""
    if is_packed:
        data, entries = zlib.compress(data, 6), entries + b" /Filter /FlateDecode"
    return b"<< /Length %d%b >>\nstream\n%b\nendstream" % (len(data), entries, data)


def literal(text: str) -> bytes:
    """Return a string of PDF in WinAnsi, which has the letters of the languages here."""
    raw = text.encode("cp1252", "replace")
    for each in (b"\\", b"(", b")"):
        raw = raw.replace(each, b"\\" + each)
    return b"(" + raw + b")"


def pages_to_pdf(
    pages: Sequence[Sequence[Text]],
    *,
    properties: Sequence[tuple[str, str]] = (),
    attachments: Sequence[tuple[str, bytes]] = (),
    image: bytes | None = None,
    trailer: bytes = b"",
) -> bytes:
    """Return a file with a page for each list of lines, which are drawn in that order.

    Args:
        pages: Lines.
        properties: Name and text of each entry of the information dictionary.
        attachments: Name and bytes of embedded files.
        image: Grey pixels of 64 x 64, drawn on every page.
        trailer: More entries of the trailer, e.g. an encryption.
    """
    objects = [b"", b"", b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica"]
    objects[2] += b" /Encoding /WinAnsiEncoding >>"
    objects.append(b"<< " + b" ".join(b"/%b %b" % (n.encode(), literal(t)) for n, t in properties))
    objects[3] += b" >>"
    resources = b"<< /Font << /F1 3 0 R >> >>"
    drawn = b""
    if image is not None:
        objects.append(
            stream(
                image,
                b" /Type /XObject /Subtype /Image /Width 64 /Height 64 /ColorSpace /DeviceGray"
                b" /BitsPerComponent 8",
            )
        )
        resources = b"<< /Font << /F1 3 0 R >> /XObject << /I1 %d 0 R >> >>" % len(objects)
        drawn = b"q 200 0 0 200 100 400 cm /I1 Do Q\n"
    kids = list[bytes]()
    for lines in pages:
        objects.append(stream(drawn + b"".join(map(_drawn, lines))))
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 %d %d] /Resources %b /Contents %d 0 R >>"
            % (WIDTH, HEIGHT, resources, len(objects))
        )
        kids.append(b"%d 0 R" % len(objects))
    objects[1] = b"<< /Type /Pages /Count %d /Kids [%b] >>" % (len(kids), b" ".join(kids))
    objects[0] = b"<< /Type /Catalog /Pages 2 0 R%b >>" % _embedded(attachments, objects)
    return objects_to_pdf(objects, b"/Info 4 0 R " + trailer)


def _drawn(line: Text) -> bytes:
    place = b"%d Tf 1 0 0 1 %.2f %.2f" % (line.size, line.x, line.y)
    return b"BT /F1 %b Tm %b Tj ET\n" % (place, literal(line.text))


def _embedded(attachments: Sequence[tuple[str, bytes]], objects: list[bytes]) -> bytes:
    """Add objects for the attachments; return the entry of the catalogue that names them."""
    named = list[bytes]()
    for name, data in attachments:
        objects.append(stream(data, b" /Type /EmbeddedFile"))
        file = literal(name)
        objects.append(
            b"<< /Type /Filespec /F %b /UF %b /EF << /F %d 0 R >> >>" % (file, file, len(objects))
        )
        named.append(b"%b %d 0 R" % (file, len(objects)))
    if not named:
        return b""
    return b" /Names << /EmbeddedFiles << /Names [%b] >> >>" % b" ".join(named)


def story_lines(story: Story) -> list[str]:
    """Return the lines of a story as they are printed, wrapped between words."""
    lines = [story.title]
    for section in story.sections:
        lines.append(section.heading)
        for paragraph in section.paragraphs:
            lines.extend(wrapped(paragraph))
    return [*lines, *("  ".join(row) for row in story.cells)]


def wrapped(text: str) -> list[str]:
    """Return a text in lines of at most `LINE_CHARACTERS`, if no word is longer."""
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + len(word) >= LINE_CHARACTERS:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def story_pdf(story: Story, *, trailer: bytes = b"") -> bytes:
    """Return a story as a PDF file, with a footer on each page."""
    lines = story_lines(story)
    per_page = 20
    pages = [
        [
            *(
                Text(MARGIN, HEIGHT - MARGIN - LEADING * place, line)
                for place, line in enumerate(lines[start : start + per_page])
            ),
            Text(MARGIN, 40, story.asides["footer"], 8),
        ]
        for start in range(0, len(lines), per_page)
    ]
    properties = [
        ("Title", story.title),
        ("Author", story.author),
        ("CreationDate", f"D:{story.created_at:%Y%m%d%H%M%S}Z"),
    ]
    return pages_to_pdf(pages, properties=properties, trailer=trailer)


def scanned_pdf(pages: int = 1) -> bytes:
    """Return a file whose pages have an image and no text."""
    return pages_to_pdf([[]] * pages, image=bytes(range(256)) * 16)


def many_pages_pdf(count: int) -> bytes:
    """Return a file with many pages, which are one object."""
    page = b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 100 100] >>"
    kids = b"3 0 R " * count
    tree = b"<< /Type /Pages /Count %d /Kids [%b] >>" % (count, kids)
    return objects_to_pdf([b"<< /Type /Catalog /Pages 2 0 R >>", tree, page])
