"""Formats of documents, one record each; their readers are the modules beside it."""

import re
from dataclasses import dataclass

from orchestration_project.domains.documents import parts
from orchestration_project.domains.documents.parts import PartCounter

EXTRACTION_RULES = 4
"""Raised with every change that could make other pages or chunks of the same bytes.

Documents of other rules are extracted again. `tests/domains/extraction_rules.py` compares formats
and texts with those of the present rules.
"""

LIBRARIES = {
    "charset_normalizer": "charset-normalizer",
    "lxml": "lxml",
    "markdown_it": "markdown-it-py",
    "msoffcrypto": "msoffcrypto-tool",
    "olefile": "olefile",
    "pdfplumber": "pdfplumber",
    "puremagic": "puremagic",
    "py3langid": "py3langid",
    "pypdfium2": "pypdfium2",
    "python_calamine": "python-calamine",
    "selectolax": "selectolax",
    "striprtf": "striprtf",
}
"""Module to package; all are of the extra ``documents``."""

UNKNOWN = "application/octet-stream"
_OFFICE = "application/vnd.openxmlformats-officedocument"


@dataclass(frozen=True)
class DocumentFormat:
    """A format: what its files are recognised by, their reader, and the counter of their parts.

    Attributes:
        media_type: By content.
        extensions: Of names that declare the format, without the dot.
        reader: Module of this folder with ``read(content, draft)``, which is imported when a file
            needs it. None: files are refused as ``unsupported_type``.
        saved_as: Format that a program saves such files as; of formats without a reader.
        is_plain_text: Between such formats only the name decides.
        is_read_as_named: A text whose name declares the format is read as such, and refused if it
            is not.
        first_bytes: Matches the beginning of files. None: the beginning does not decide.
        text_starts: Beginnings of texts, in small letters.
        ole_streams: Streams at the root of a compound file, in small letters.
        main_part: Part of a content type of OOXML, in small letters.
        attachment_extension: Of a mail's attachment without a name. Empty: the subtype of
            `media_type`.
        part_counter: Counts parts in the bytes, apart from the reader. None: parts are marked in
            ways that only a reader knows.
    """

    media_type: str
    extensions: tuple[str, ...]
    reader: str | None = None
    saved_as: str = ""
    is_plain_text: bool = False
    is_read_as_named: bool = False
    first_bytes: re.Pattern[bytes] | None = None
    text_starts: tuple[str, ...] = ()
    ole_streams: frozenset[str] = frozenset()
    main_part: str = ""
    attachment_extension: str = ""
    part_counter: PartCounter | None = None


_RECORDS = (
    DocumentFormat(UNKNOWN, ("",)),
    DocumentFormat(
        "text/plain",
        ("txt", "text", "log"),
        reader="plain",
        is_plain_text=True,
        attachment_extension="txt",
        part_counter=parts.WORDS,
    ),
    DocumentFormat(
        "text/markdown",
        ("md", "markdown"),
        reader="plain",
        is_plain_text=True,
        part_counter=parts.WORDS,
    ),
    DocumentFormat(
        "text/csv", ("csv",), reader="plain", is_plain_text=True, part_counter=parts.TEXT_ROWS
    ),
    DocumentFormat(
        "text/tab-separated-values",
        ("tsv", "tab"),
        reader="plain",
        is_plain_text=True,
        part_counter=parts.TEXT_ROWS,
    ),
    DocumentFormat(
        "text/html",
        ("html", "htm"),
        reader="html",
        text_starts=("<!doctype html", "<html"),
        attachment_extension="html",
    ),
    DocumentFormat("application/xhtml+xml", ("xhtml",), reader="html"),
    DocumentFormat(
        "application/json",
        ("json",),
        reader="structured",
        is_read_as_named=True,
        part_counter=parts.JSON_LINES,
    ),
    DocumentFormat(
        "application/jsonl",
        ("jsonl", "ndjson"),
        reader="structured",
        is_read_as_named=True,
        part_counter=parts.JSON_LINES,
    ),
    DocumentFormat(
        "application/xml",
        ("xml",),
        reader="structured",
        is_read_as_named=True,
        part_counter=parts.XML_LINES,
    ),
    DocumentFormat(
        "application/pdf", ("pdf",), reader="pdf", first_bytes=re.compile(rb"(?s).{0,1019}?%PDF-")
    ),
    DocumentFormat(
        f"{_OFFICE}.wordprocessingml.document",
        ("docx",),
        reader="docx",
        main_part="wordprocessingml.document.main",
    ),
    DocumentFormat(
        "application/vnd.ms-word.document.macroEnabled.12",
        ("docm",),
        reader="docx",
        main_part="ms-word.document.macroenabled.main",
    ),
    DocumentFormat(
        f"{_OFFICE}.presentationml.presentation",
        ("pptx",),
        reader="pptx",
        main_part="presentationml.presentation.main",
        part_counter=parts.SLIDES,
    ),
    DocumentFormat(
        "application/vnd.ms-powerpoint.presentation.macroEnabled.12",
        ("pptm",),
        reader="pptx",
        main_part="ms-powerpoint.presentation.macroenabled.main",
        part_counter=parts.SLIDES,
    ),
    DocumentFormat(
        f"{_OFFICE}.spreadsheetml.sheet",
        ("xlsx",),
        reader="spreadsheet",
        main_part="spreadsheetml.sheet.main",
        part_counter=parts.SHEET_ROWS,
    ),
    DocumentFormat(
        "application/vnd.ms-excel.sheet.macroEnabled.12",
        ("xlsm",),
        reader="spreadsheet",
        main_part="ms-excel.sheet.macroenabled.main",
        part_counter=parts.SHEET_ROWS,
    ),
    DocumentFormat(
        "application/vnd.ms-excel.sheet.binary.macroEnabled.12",
        ("xlsb",),
        reader="spreadsheet",
        main_part="ms-excel.sheet.binary.macroenabled.main",
    ),
    DocumentFormat(
        "application/vnd.ms-excel",
        ("xls",),
        reader="spreadsheet",
        ole_streams=frozenset({"workbook", "book"}),
    ),
    DocumentFormat(
        "application/vnd.oasis.opendocument.spreadsheet", ("ods",), reader="spreadsheet"
    ),
    DocumentFormat("application/epub+zip", ("epub",), reader="epub", part_counter=parts.CHAPTERS),
    DocumentFormat("application/rtf", ("rtf",), reader="rtf", first_bytes=re.compile(rb"\{\\rtf")),
    DocumentFormat("application/zip", ("zip",), reader="archives", part_counter=parts.MEMBERS),
    DocumentFormat(
        "message/rfc822",
        ("eml",),
        reader="mail",
        attachment_extension="eml",
        part_counter=parts.MAIL_PARTS,
    ),
    DocumentFormat(
        "application/vnd.ms-outlook",
        ("msg",),
        reader="outlook",
        ole_streams=frozenset({"__properties_version1.0"}),
    ),
    DocumentFormat(
        "image/png", ("png",), reader="image", first_bytes=re.compile(rb"\x89PNG\r\n\x1a\n")
    ),
    DocumentFormat(
        "image/jpeg", ("jpg", "jpeg"), reader="image", first_bytes=re.compile(rb"\xff\xd8\xff")
    ),
    DocumentFormat("image/gif", ("gif",), reader="image", first_bytes=re.compile(rb"GIF8[79]a")),
    DocumentFormat(
        "image/tiff", ("tif", "tiff"), reader="image", first_bytes=re.compile(rb"II\*\0|MM\0\*")
    ),
    DocumentFormat(
        "image/bmp", ("bmp",), reader="image", first_bytes=re.compile(rb"(?s)BM.{4}\0{4}")
    ),
    DocumentFormat(
        "image/webp", ("webp",), reader="image", first_bytes=re.compile(rb"(?s)RIFF.{4}WEBP")
    ),
    DocumentFormat(
        "application/msword", ("doc",), saved_as="DOCX", ole_streams=frozenset({"worddocument"})
    ),
    DocumentFormat(
        "application/vnd.ms-powerpoint",
        ("ppt",),
        saved_as="PPTX",
        ole_streams=frozenset({"powerpoint document"}),
    ),
    DocumentFormat("application/vnd.oasis.opendocument.text", ("odt",), saved_as="DOCX"),
)

FORMATS = {record.media_type: record for record in _RECORDS}
"""Formats by media type."""
