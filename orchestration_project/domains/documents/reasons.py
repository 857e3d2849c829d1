"""The reason codes of documents: what each means, its category and what a person can do."""

from typing import Literal, NamedTuple

from orchestration_project.errors import ContractError

Category = Literal["recoverable", "permanent", "needs_configuration"]
State = Literal["loaded", "empty", "needs_ocr", "encrypted", "refused"]


class Reason(NamedTuple):
    """A row of `REASONS`.

    Attributes:
        state: State of a document whose decisive reason it is; ``loaded``: a note beside its text.
        category: ``recoverable`` (another attempt may succeed), ``permanent`` (the file has to
            change) or ``needs_configuration`` (a setting or a program is missing).
        meaning: What was found.
        remedy: What a person can do.
    """

    state: State
    category: Category
    meaning: str
    remedy: str


def _build_note(meaning: str, remedy: str) -> Reason:
    return Reason("loaded", "permanent", meaning, remedy)


def _build_refusal(meaning: str, remedy: str) -> Reason:
    return Reason("refused", "permanent", meaning, remedy)


def _build_retry(meaning: str, remedy: str) -> Reason:
    return Reason("refused", "recoverable", meaning, remedy)


REASONS: dict[str, Reason] = {
    # No text
    "empty_file": Reason("empty", "permanent", "the file has no bytes", "deliver the file again"),
    "no_text": Reason("empty", "permanent", "a valid file without text", "check what it is for"),
    "needs_ocr": Reason(
        "needs_ocr",
        "needs_configuration",
        "pages are images without text",
        "install Tesseract, and set DOCUMENTS_OCR to auto",
    ),
    "ocr_language_missing": Reason(
        "needs_ocr",
        "needs_configuration",
        "Tesseract lacks data of a language",
        "install the package that is named, or change DOCUMENTS_OCR_LANGUAGES",
    ),
    "ocr_timed_out": Reason(
        "needs_ocr",
        "needs_configuration",
        "the recognition of images exceeded its time",
        "raise DOCUMENTS_OCR_SECONDS, or split the document",
    ),
    "ocr_failed": Reason(
        "needs_ocr",
        "permanent",
        "Tesseract cannot read the image",
        "save the image again and deliver it",
    ),
    "encrypted": Reason(
        "encrypted",
        "needs_configuration",
        "the file needs a password",
        "add its password to DOCUMENTS_PASSWORDS, or deliver it without",
    ),
    "encrypted_by_aes": Reason(
        "encrypted",
        "permanent",
        "the archive is encrypted by AES, which no reader opens with any password",
        "deliver the files without the archive, or encrypt it by ZipCrypto",
    ),
    # The file itself
    "truncated": _build_refusal("the file ends too early", "deliver the whole file again"),
    "corrupt": _build_refusal(
        "the format's own rules are broken", "save the file again and deliver it"
    ),
    "unsupported_type": _build_refusal(
        "no reader for this format", "convert it to a listed format"
    ),
    "unsupported_feature": _build_refusal(
        "a part uses a method that no reader has", "save the file without it"
    ),
    "xml_entities": _build_refusal(
        "XML declares entities, as attacks do", "save the file without a DTD with entities"
    ),
    "unsafe_path": _build_refusal(
        "an archive has a member whose path leads out of it", "create the archive again"
    ),
    "archive_ratio": _build_refusal(
        "a member inflates to far more than its size", "deliver the members as files"
    ),
    "archive_overlap": _build_refusal(
        "members of the archive share bytes, as bombs do", "create the archive again"
    ),
    "archive_too_large": _build_refusal(
        "the members inflate to more than the limit", "deliver the members as files"
    ),
    "too_many_children": _build_refusal(
        "more attachments or members than the limit", "deliver the members as files"
    ),
    "nested_too_deep": _build_refusal(
        "files in files, or elements in elements, beyond the limit", "deliver the inner files"
    ),
    "too_large": _build_refusal("the file has more bytes than the limit", "split the file"),
    "too_many_pages": _build_refusal(
        "the document has more pages than the limit", "split the document"
    ),
    "too_much_text": _build_refusal("the text is longer than the limit", "split the document"),
    # The process that reads it
    "parser_failed": _build_refusal("the reader raised an error", "report it with the file"),
    "parser_crashed": _build_refusal("the reader ended its process", "save the file again"),
    "parser_timed_out": _build_refusal(
        "the reader exceeded its time", "split the document, or raise the limit"
    ),
    "parser_out_of_memory": _build_refusal(
        "the reader exceeded its memory", "split the document, or raise the limit"
    ),
    "result_too_large": _build_refusal(
        "the result exceeds the limit of a worker", "split the document"
    ),
    # Reading the file
    "not_a_file": _build_refusal("a folder, device, pipe or socket", "name a regular file"),
    "unreadable": _build_retry("the system refused to read the file", "correct its permissions"),
    "vanished": _build_retry("the file was gone when it was read", "deliver the file again"),
    "changed_while_read": _build_retry(
        "the file changed while it was read", "wait until it is whole"
    ),
    # Notes beside text
    "wrong_extension": _build_note("the name's extension names another format", "rename the file"),
    "encoding_guessed": _build_note("no encoding was declared; it was detected", "check the text"),
    "encoding_mismatch": _build_note(
        "the declared encoding does not fit the bytes", "check the text"
    ),
    "undecodable_bytes": _build_note(
        "bytes without a character are shown as \\xNN", "save the text as UTF-8"
    ),
    "text_replaced": _build_note(
        "NUL or a lone surrogate was replaced by U+FFFD", "check the text"
    ),
    "irregular_rows": _build_note(
        "rows differ in length, or quotes do not match", "check the table"
    ),
    "lines_unreadable": _build_note(
        "lines of a JSONL file are not JSON; kept as text", "check them"
    ),
    "macros_ignored": _build_note("the file has macros, which are never run", "none"),
    "formula_without_value": _build_note(
        "formulas have no stored value", "open and save the file in a spreadsheet program"
    ),
    "error_cells": _build_note(
        "cells have an error, such as #N/A", "correct them in their program"
    ),
    "pages_need_ocr": Reason(
        "loaded",
        "needs_configuration",
        "some pages are images without text",
        "install Tesseract, and set DOCUMENTS_OCR to auto",
    ),
    "pages_unreadable": _build_note("some pages cannot be read", "save the file again"),
    "reading_order_guessed": _build_note(
        "columns are drawn line by line; they are read one after the other", "check the text"
    ),
    "tables_left_out": _build_note(
        "pages have more lines than are read as tables", "none; their text has the cells"
    ),
    "content_left_out": _build_note(
        "content that readers show is not text here, such as a sound or an embedded object",
        "look at it in its program, or save it as text",
    ),
    "parts_unreadable": _build_note("optional parts cannot be read", "save the file again"),
    "member_encrypted": Reason(
        "loaded",
        "needs_configuration",
        "members of the archive need a password",
        "add it to DOCUMENTS_PASSWORDS, or deliver them without",
    ),
    "member_encrypted_by_aes": _build_note(
        "members of the archive are encrypted by AES, which no reader opens with any password",
        "deliver them without the archive, or encrypt it by ZipCrypto",
    ),
    "member_is_link": _build_note(
        "links in the archive are not followed", "deliver what they name"
    ),
}
"""Reason code to its row; the order is that of the documentation."""

UNREAD_REASONS = frozenset({"changed_while_read", "not_a_file", "unreadable", "vanished"})
"""Reasons of files without bytes, and so without a document."""


class DocumentError(ContractError):
    """A document that cannot be extracted.

    Attributes:
        reason_code: One of `REASONS`.
        detail: What was found in this document, in a few words.
    """

    def __init__(self, reason_code: str, detail: str = "") -> None:
        reason = REASONS[reason_code]
        super().__init__(reason.meaning, found=detail, remedy=reason.remedy)
        self.reason_code = reason_code
        self.detail = detail
