"""The page of documents: bad input, reason codes, media types and limits of extraction."""

from dataclasses import fields

from orchestration_project.domains.documents.extracted import PAGE_CHARACTERS, Limits
from orchestration_project.domains.documents.formats import FORMATS, DocumentFormat
from orchestration_project.domains.documents.reasons import REASONS
from tests.assets.bad_documents import FILES, HEAVY, READER_ENDS, BadInput
from tools.reference_pages.markdown import code, page, section, table

REFUSED = "refused as `unsupported_type`; save it as {}"

READ = [
    (
        "PDF",
        "`[field NAME]` of form fields; `[comment AUTHOR]`, `[text box]`, `[mark]` (highlights "
        "and others) and `[attachment]` of annotations, whose files are children",
    ),
    (
        "columns of PDF",
        "one after the other; where their lines are drawn side by side, the order is noted as "
        "`reading_order_guessed`",
    ),
    (
        "DOCX",
        "headers, footers, notes, comments, text boxes, tracked insertions, watermarks, choices of "
        "form fields, `[chart]` with its table, `[diagram]`; embedded documents are children",
    ),
    (
        "PPTX",
        "`[chart]` with its table, `[diagram]`, `[comment]`, notes after `Notes:`; embedded "
        "documents are children",
    ),
    (
        "XLSX",
        "`[comment CELL]`, `[text box]`, `[chart]` with its table, `[header]`, `[footer]`; those "
        "of XLS, XLSB and ODS are noted as `content_left_out`",
    ),
    (
        "cells of XLSX",
        "leading zeros of a number format in table and line; percentages in the line, with all "
        "digits; durations as hours; errors as `#N/A`, noted as `error_cells`. XLS, XLSB and ODS "
        "have stored values, and errors of XLS and ODS are counted",
    ),
    (
        "text",
        "UTF-8 stays UTF-8 with some invalid bytes, which are shown as `\\xNN` and noted with "
        "their places as `undecodable_bytes`; up to a quarter of the bytes may be NUL "
        "(`text_replaced`)",
    ),
    ("mail without its declared boundary", "its parts by the boundary that is there, or its text"),
    ("HTML", "values of inputs, texts of SVG"),
    (
        "tables",
        "a merged cell has its text in its upper left cell, and is empty in the others; each cell "
        "keeps its column, in the table and between the tabs of its line",
    ),
]
"""Formats, and what their text has beside running text and tables."""

MEMORY = [
    ("text, logs, CSV, TSV, JSONL", "1/8: 64 MiB"),
    ("the same in characters beyond U+FFFF, such as emoji, among others", "1/16: 32 MiB"),
    ("JSON, XML", "1/64: 8 MiB"),
    ("HTML, Markdown", "1/128: 4 MiB"),
]
"""Format, and the share of memory that a file of it may have; tests read files of these sizes."""

MEMORY_TEXT = (
    "Of the default 512 MiB of `DOCUMENTS_MEMORY_MIB`, a file of this share is read. Larger ones "
    "may end as `parser_out_of_memory`, or after two minutes as `parser_timed_out`; above 1/8 they "
    "are `too_large`. About 250 MiB are the reader's own, so a smaller setting reads smaller "
    f"shares. A text of more than {PAGE_CHARACTERS:,} characters has several pages, cut at ends "
    "of lines or rows. A load takes two characters of text for each byte that a file may have. "
    "Files of other formats vary."
)


def write() -> str:
    """Return the page."""
    reasons = [
        (code(name), code(reason.state), code(reason.category), reason.meaning, reason.remedy)
        for name, reason in REASONS.items()
    ]
    types = [
        (code(media_type), _extensions(document_format))
        for media_type, document_format in FORMATS.items()
        if document_format.reader or document_format.saved_as
    ]
    limits = [(code(each.name), f"{getattr(Limits(), each.name):,}") for each in fields(Limits)]
    return page(
        "documents",
        [
            section("What is read", table(("format", "beside running text and tables"), READ)),
            section(
                "Reason codes",
                table(("`reason_code`", "state", "category", "meaning", "what to do"), reasons),
            ),
            section(
                "Bad input",
                table(
                    ("bad input", "`reason_code`", "what to do"),
                    map(_bad_input, (*FILES, *HEAVY, *READER_ENDS)),
                ),
            ),
            section("Media types", table(("media type", "extensions"), types)),
            section("Limits", table(("limit of one file", "default"), limits)),
            section(
                "Memory",
                MEMORY_TEXT,
                table(("format", "share of `DOCUMENTS_MEMORY_MIB`"), MEMORY),
            ),
        ],
    )


def _bad_input(row: BadInput) -> tuple[str, str, str]:
    if not row.reason_code:
        return row.what, "none", f"nothing: its path is {code(row.path)}"
    within = " of the file within" if row.is_within else ""
    return row.what, f"{code(row.reason_code)}{within}", REASONS[row.reason_code].remedy


def _extensions(document_format: DocumentFormat) -> str:
    extensions = ", ".join(map(code, document_format.extensions))
    other = document_format.saved_as
    return f"{extensions}: {REFUSED.format(other)}" if other else extensions
