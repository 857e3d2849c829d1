"""Files that are wrong in a known way, each with the reason that a reader should find."""

import struct
import zlib
from collections.abc import Callable, Sequence
from io import BytesIO
from random import Random
from typing import NamedTuple
from zipfile import ZipFile

from orchestration_demo.documents.compound import encrypted_office
from orchestration_demo.documents.packages import archive, docx, xlsx
from orchestration_demo.documents.pdf import (
    ENCRYPTION,
    many_pages_pdf,
    pages_to_pdf,
    scanned_pdf,
    story_pdf,
)
from orchestration_demo.documents.story import Story
from orchestration_demo.documents.texts import as_json, delimited, mail, plain

MANY_PAGES, MANY_MEMBERS, DEPTH = 20_000, 10_001, 8
ENTITY_BOMB = (
    b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a0 "lol">'
    + b"".join(b'<!ENTITY a%d "%b">' % (n, b"&a%d;" % (n - 1) * 10) for n in range(1, 10))
    + b"]><a>&a9;</a>"
)
EXTERNAL_ENTITY = (
    b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>'
)


class Bad(NamedTuple):
    """A way in which a file is wrong.

    Attributes:
        extension: Of its name.
        reason_code: What extraction should find.
        state: ``loaded`` where its text is there nevertheless.
        write: Story and chance to bytes.
        inner_reason: Expected of a file within it, at whatever depth.
    """

    extension: str
    reason_code: str
    state: str
    write: Callable[[Story, Random], bytes]
    inner_reason: str = ""


def png(*, is_whole: bool = True) -> bytes:
    """Return a grey image of 8 x 8."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    head = struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0)
    data = zlib.compress(bytes([0, *range(8)]) * 8, 6)
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data)
    return content + (chunk(b"IEND", b"") if is_whole else b"")


def cut(content: bytes, share: float = 0.6) -> bytes:
    """Return the beginning of a file."""
    return content[: int(len(content) * share)]


def overlapping() -> bytes:
    """Return an archive whose directory names the same bytes many times."""
    content = archive([("a.txt", bytes(100_000))])
    start = content.index(b"PK\x01\x02")
    end = content.index(b"PK\x05\x06")
    entry, count = content[start:end], 100
    record = struct.pack(
        "<4s4H2IH", b"PK\x05\x06", 0, 0, count, count, len(entry) * count, start, 0
    )
    return content[:start] + entry * count + record


def encrypted_member() -> bytes:
    """Return an archive whose member says that it is encrypted."""
    content = bytearray(archive([("a.txt", b"secret words")]))
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    return bytes(content)


def nested(story: Story, depth: int = DEPTH) -> bytes:
    """Return archives in archives, with a text in the innermost one."""
    content = archive([("story.txt", plain(story).encode())])
    for level in range(depth):
        content = archive([(f"inner{level}.zip", content)])
    return content


def mail_chain(story: Story, depth: int = DEPTH) -> bytes:
    """Return mails attached to mails, each as a file."""
    content = mail(story)
    for level in range(depth):
        content = mail(story, [(f"inner{level}.eml", content)])
    return content


def _broken_xml(story: Story, _: Random) -> bytes:
    whole = docx(story)
    return _with_part(whole, "word/document.xml", b"<w:document><w:body></w:document>")


def _with_part(content: bytes, name: str, part: bytes) -> bytes:
    with ZipFile(BytesIO(content)) as file:
        return archive(
            (each, part if each == name else file.read(each)) for each in file.namelist()
        )


BAD: Sequence[Bad] = (
    Bad("txt", "empty_file", "empty", lambda *_: b""),
    Bad("pdf", "truncated", "refused", lambda story, _: cut(story_pdf(story))),
    Bad(
        "pdf",
        "encrypted",
        "encrypted",
        lambda story, _: story_pdf(story, trailer=b"/Encrypt " + ENCRYPTION),
    ),
    Bad("pdf", "needs_ocr", "needs_ocr", lambda *_: scanned_pdf(2)),
    Bad("pdf", "no_text", "empty", lambda *_: pages_to_pdf([[]])),
    Bad("pdf", "corrupt", "refused", lambda _, r: b"%PDF-1.7\n" + r.randbytes(500) + b"\n%%EOF"),
    Bad("pdf", "too_many_pages", "refused", lambda *_: many_pages_pdf(MANY_PAGES)),
    Bad("docx", "truncated", "refused", lambda story, _: cut(docx(story))),
    Bad("docx", "corrupt", "refused", _broken_xml),
    Bad(
        "docx",
        "xml_entities",
        "refused",
        lambda story, _: _with_part(docx(story), "word/document.xml", ENTITY_BOMB),
    ),
    Bad("docx", "encrypted", "encrypted", lambda *_: encrypted_office()),
    Bad("docm", "macros_ignored", "loaded", lambda story, _: docx(story, has_macros=True)),
    Bad("docx", "wrong_extension", "loaded", lambda story, _: story_pdf(story)),
    Bad("docx", "unsupported_type", "refused", lambda _, r: b"\x7fELF\2\1\1" + r.randbytes(400)),
    Bad("xml", "xml_entities", "refused", lambda *_: EXTERNAL_ENTITY),
    Bad("xlsx", "formula_without_value", "loaded", lambda s, _: xlsx(s, has_values=False)),
    Bad("png", "needs_ocr", "needs_ocr", lambda *_: png()),
    Bad("png", "truncated", "refused", lambda *_: png(is_whole=False)),
    Bad("json", "truncated", "refused", lambda story, _: cut(as_json(story).encode())),
    Bad("txt", "text_replaced", "loaded", lambda story, _: plain(story).encode() + b"\0\n"),
    Bad(
        "txt",
        "encoding_guessed",
        "loaded",
        lambda story, _: (plain(story) + "Größe für über señor\n" * 3).encode("cp1252"),
    ),
    Bad("csv", "irregular_rows", "loaded", lambda s, _: delimited(s).encode() + b"1,2,3,4,5\r\n"),
    Bad("zip", "archive_ratio", "refused", lambda *_: archive([("zeros.txt", bytes(20_000_000))])),
    Bad("zip", "archive_overlap", "refused", lambda *_: overlapping()),
    Bad(
        "zip",
        "too_many_children",
        "refused",
        lambda *_: archive(((f"{n}.txt", b"x") for n in range(MANY_MEMBERS)), is_packed=False),
    ),
    Bad(
        "zip",
        "unsafe_path",
        "refused",
        lambda story, _: archive([("../../evil.txt", plain(story).encode())]),
    ),
    Bad("zip", "encrypted", "encrypted", lambda *_: encrypted_member()),
    Bad("zip", "", "loaded", lambda story, _: nested(story), "nested_too_deep"),
    Bad("eml", "", "loaded", lambda story, _: mail_chain(story), "nested_too_deep"),
    Bad("zip", "truncated", "refused", lambda story, _: cut(nested(story, 0))),
)
"""Every kind of bad file; an empty reason code is a file that is whole itself."""
