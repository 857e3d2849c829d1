"""EML: headers and body; attachments are children."""

import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from email import message_from_bytes
from email.message import EmailMessage, Message
from email.policy import default
from email.utils import parsedate_to_datetime

from orchestration_project.domains.documents.extracted import Draft, in_utc
from orchestration_project.domains.documents.formats import FORMATS
from orchestration_project.domains.documents.formats.html import html_text
from orchestration_project.domains.documents.reasons import DocumentError
from orchestration_project.domains.documents.text import decode

BOUNDARY = re.compile(rb"(?m)^--([^\s\"\\-][^\s\"\\]{0,69})[ \t]*\r?$")
"""A line that begins a part, as far as its form says."""

HEADERS = ("From", "To", "Cc", "Bcc", "Reply-To", "Subject", "Date")
AS_WRITTEN = default.clone(refold_source="none")
"""Policy for an attached mail: its headers stay as they are folded."""

MAX_DEPTH = 50
"""Parts within parts; an attached mail is a child and counts from 0."""


def read(content: bytes, draft: Draft) -> None:
    """Add one page: the headers that people read, an empty line, and the body.

    Of alternatives the plain text is read, and HTML where it has no text. Parts with a file name,
    and those of other types than text, are children; an attached mail is one too.

    Raises:
        DocumentError: ``truncated``, ``nested_too_deep``, or a limit.
    """
    message = message_from_bytes(content, policy=default)
    draft.title = header(message, "Subject")
    draft.author = header(message, "From")
    draft.created_at = mail_time(header(message, "Date"))
    body = message
    if message.get_content_maintype() == "multipart" and not message.is_multipart():
        body = _recover_body(message)
        draft.note("parts_unreadable", "the boundary of the parts is not the declared one")
    is_whole = body is message and not any(part.defects for part in message.walk())
    names = list(_read_texts(body, draft, 0))
    if any(_is_cut(part) for part in message.walk()):
        draft.note("parts_unreadable", "a part has no end")
    if is_whole:
        draft.went_to["texts"] += len(names)
    else:
        draft.went_to.clear()
    texts = [text for text in names if text.strip()]
    lines = [f"{name}: {names}" for name in HEADERS if (names := header(message, name))]
    draft.add_page("\n".join([*lines, "", *texts]))


def _recover_body(message: Message) -> Message:
    """Return the body of a mail whose declared boundary is not there: its parts, or its text.

    Raises:
        DocumentError: ``truncated``, without a body.
    """
    body = _decode_payload(message)
    if not BOUNDARY.sub(b"", body).strip():
        raise DocumentError("truncated", "no part of the body is there")
    match = BOUNDARY.search(body)
    kind = b'multipart/mixed; boundary="%b"' % match[1] if match else b"text/plain"
    return message_from_bytes(b"Content-Type: %b\r\n\r\n%b" % (kind, body), policy=default)


def header(message: Message, name: str) -> str | None:
    """Return a header decoded and in one line; None if it is missing.

    One that breaks the parser of the standard library is returned as it is written.
    """
    try:
        value = message.get(name)
    except Exception:  # noqa: BLE001 - several, for malformed addresses and encoded words
        raw = next((text for key, text in message._headers if key.lower() == name.lower()), None)  # pyright: ignore[reportAttributeAccessIssue] - undecoded
        value = raw
    return None if value is None else " ".join(str(value).split())


def mail_time(text: str | None) -> datetime | None:
    """Return a date of a header in UTC; None for another text."""
    with suppress(ValueError, TypeError, IndexError, OverflowError):
        return in_utc(parsedate_to_datetime(text or ""))
    return None


def _is_cut(part: Message) -> bool:
    return any(type(defect).__name__ == "CloseBoundaryNotFoundDefect" for defect in part.defects)


def _read_texts(part: Message, draft: Draft, depth: int) -> Iterator[str]:
    """Yield the texts of a part's body; its attachments become children."""
    if depth > MAX_DEPTH:
        raise DocumentError("nested_too_deep", f"more than {MAX_DEPTH} parts within parts")
    kind = part.get_content_type()
    if kind == "message/rfc822":
        _add_mail(part, draft)
    elif part.is_multipart():
        yield from _read_parts(part, draft, depth)
    elif _find_file_name(part) or part.get_content_maintype() != "text" or _is_attached(part):
        draft.add_child(_name_child(part, draft), _decode_payload(part))
    else:
        yield _decode_text(part, draft)


def _read_parts(part: Message, draft: Draft, depth: int) -> Iterator[str]:
    parts = [name for name in part.get_payload() if isinstance(name, Message)]
    if part.get_content_type() != "multipart/alternative":
        for message in parts:
            yield from _read_texts(message, draft, depth + 1)
        return
    part_texts = [(message, list(_read_texts(message, draft, depth + 1))) for message in parts]
    with_text = [pair for pair in part_texts if any(text.strip() for text in pair[1])]
    plain = [texts for message, texts in with_text if message.get_content_type() == "text/plain"]
    chosen = plain[0] if plain else next((texts for _, texts in with_text), [])
    draft.went_to["other_alternatives"] += sum(len(group) for _, group in part_texts) - len(chosen)
    yield from chosen


def _is_attached(part: Message) -> bool:
    return part.get_content_disposition() == "attachment"


def _find_file_name(part: Message) -> str | None:
    with suppress(Exception):  # several, for malformed parameters
        return part.get_filename()
    return None


def _name_child(part: Message, draft: Draft) -> str:
    kind = part.get_content_type()
    document_format = FORMATS.get(kind)
    extension = document_format.attachment_extension if document_format else ""
    extension = extension or kind.partition("/")[2]
    return _find_file_name(part) or f"attachment-{len(draft.children) + 1}.{extension}"


def _decode_payload(part: Message) -> bytes:
    with suppress(Exception):  # several, for unknown transfer encodings
        payload = part.get_payload(decode=True)
        if isinstance(payload, bytes):
            return payload
    return str(part.get_payload()).encode("utf-8", "surrogateescape")


def _decode_text(part: Message, draft: Draft) -> str:
    decoded = decode(_decode_payload(part), declared=part.get_content_charset())
    for code, detail in decoded.notes:
        draft.note(code, detail)
    is_html = part.get_content_type() == "text/html"
    return html_text(decoded.text).text if is_html else decoded.text


def _add_mail(part: Message, draft: Draft) -> None:
    """Add an attached mail as a child, as it was written as far as that is known."""
    for text in part.get_payload():
        if isinstance(text, Message):
            subject = header(text, "Subject") if isinstance(text, EmailMessage) else None
            name = (
                _find_file_name(part) or f"{subject or f'attachment-{len(draft.children) + 1}'}.eml"
            )
            try:
                content = text.as_bytes(policy=AS_WRITTEN)
            except Exception:  # noqa: BLE001 - several, for malformed headers
                draft.note("parts_unreadable", name)
                draft.went_to["parts_unreadable"] += 1
                continue
            draft.add_child(name, content)
