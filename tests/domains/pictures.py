"""Pictures of known words: a PDF page rendered to grey pixels, as PNG, TIFF or a scanned PDF."""

import struct
import zlib

from orchestration_demo.documents.pdf import (
    Text,
    objects_to_pdf,
    pages_to_pdf,
    stream,
)

WORDS = ("Harvest report", "Seventeen barrels of apples", "were counted in October")
SCALE, TOP = 2, 180
"""Pixels per point, which are 144 dots per inch, and the points of a page that are shown."""


def picture(lines: tuple[str, ...] = WORDS) -> tuple[bytes, int, int]:
    """Return grey pixels of a page with these lines, its width and its height."""
    page = [Text(60, 760 - 40 * place, line, 20) for place, line in enumerate(lines)]
    from pypdfium2 import PdfDocument

    document = PdfDocument(pages_to_pdf([page]))
    bitmap = document[0].render(scale=SCALE, grayscale=True)
    pixels, width, height, stride = bytes(bitmap.buffer), bitmap.width, TOP * SCALE, bitmap.stride
    document.close()
    rows = [pixels[place * stride : place * stride + width] for place in range(height)]
    return b"".join(rows), width, height


def as_png(lines: tuple[str, ...] = WORDS) -> bytes:
    """Return the picture as a PNG file."""
    pixels, width, height = picture(lines)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    rows = (b"\0" + pixels[place * width : (place + 1) * width] for place in range(height))
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = [
        chunk(b"IHDR", head),
        chunk(b"IDAT", zlib.compress(b"".join(rows))),
        chunk(b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def as_tiff(*pages: tuple[str, ...]) -> bytes:
    """Return a TIFF file with a picture for each tuple of lines."""
    content, link = bytearray(b"II*\0" + bytes(4)), 4
    for lines in pages:
        pixels, width, height = picture(lines)
        place = len(content)
        content += pixels + bytes(len(pixels) % 2)
        struct.pack_into("<I", content, link, len(content))
        entries = [
            *((256, 4, width), (257, 4, height), (258, 3, 8), (259, 3, 1), (262, 3, 1)),
            *((273, 4, place), (277, 3, 1), (278, 4, height), (279, 4, len(pixels))),
        ]
        content += struct.pack("<H", len(entries))
        content += b"".join(
            struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries
        )
        link = len(content)
        content += bytes(4)
    return bytes(content)


def scanned(*pages: tuple[str, ...] | str) -> bytes:
    """Return a PDF file: a page with a picture for each tuple of lines, or with text as such."""
    objects = [b"", b"", b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"]
    kids = list[bytes]()
    for page in pages:
        if isinstance(page, str):
            drawn, resources = (
                b"BT /F1 12 Tf 72 100 Td (%b) Tj ET" % page.encode(),
                b"/Font << /F1 3 0 R >>",
            )
        else:
            pixels, width, height = picture(page)
            size = b" /Width %d /Height %d /ColorSpace /DeviceGray /BitsPerComponent 8" % (
                width,
                height,
            )
            objects.append(stream(pixels, b" /Type /XObject /Subtype /Image" + size))
            drawn = b"q 595 0 0 %d 0 0 cm /I1 Do Q" % TOP
            resources = b"/XObject << /I1 %d 0 R >>" % len(objects)
        objects.append(stream(drawn))
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 %d] /Resources << %b >>"
            b" /Contents %d 0 R >>" % (TOP, resources, len(objects))
        )
        kids.append(b"%d 0 R" % len(objects))
    objects[0] = b"<< /Type /Catalog /Pages 2 0 R >>"
    objects[1] = b"<< /Type /Pages /Count %d /Kids [%b] >>" % (len(kids), b" ".join(kids))
    return objects_to_pdf(objects)
