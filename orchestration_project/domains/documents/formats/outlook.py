"""MSG, the mails of Outlook: properties of a compound file; attachments are children."""

import struct
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from io import BytesIO

from olefile import OleFileIO

from orchestration_project.domains.documents.extracted import Draft
from orchestration_project.domains.documents.formats.html import html_text
from orchestration_project.domains.documents.reasons import DocumentError
from orchestration_project.domains.documents.text import decode

SUBJECT, BODY, HTML = 0x0037, 0x1000, 0x1013
SENDER_NAME, SENDER_ADDRESS, SENDER_SMTP = 0x0C1A, 0x0C1F, 0x5D01
SHOWN_TO, SHOWN_CC = 0x0E04, 0x0E03
SENT_AT, DELIVERED_AT = 0x0039, 0x0E06
CODE_PAGE, INTERNET_CODE_PAGE = 0x3FFD, 0x3FDE
DATA, LONG_NAME, SHORT_NAME, SHOWN_NAME = 0x3701, 0x3707, 0x3704, 0x3001

TEXT, TEXT_8_BIT, BINARY, OBJECT = 0x001F, 0x001E, 0x0102, 0x000D
INTEGER, TIME = 0x0003, 0x0040
EPOCH = datetime(1601, 1, 1, tzinfo=UTC)

ROOT_HEADER_BYTES, EMBEDDED_HEADER_BYTES, OTHER_HEADER_BYTES = 32, 24, 8
"""Before the fixed properties of a message, an attached message, and an attachment."""

MAX_DEPTH = 5
"""Messages within messages."""

FAILURES = (
    *(OSError, struct.error, IndexError, OverflowError, ValueError, TypeError, AttributeError),
)
"""Exceptions of olefile for damaged files."""

Path = list[str]


def read(content: bytes, draft: Draft) -> None:
    """Add one page: sender, recipients, subject, date, an empty line, and the body.

    A body that is only there as compressed RTF is not read. An attached message is a child in the
    form of a mail.

    Raises:
        DocumentError: ``corrupt``, or a limit.
    """
    try:
        with OleFileIO(BytesIO(content)) as file:
            message = _Storage(file, [], ROOT_HEADER_BYTES)
            draft.title = message.text(SUBJECT)
            draft.author = message.sender()
            draft.created_at = message.sent_at()
            text = "\n".join([*message.headers(), "", message.body(draft)])
            for name, data in message.attachments(0):
                draft.add_child(name, data)
    except FAILURES as error:
        raise DocumentError("corrupt", f"compound file: {error}") from error
    draft.add_page(text)


class _Storage:
    """Properties of a message or an attachment, which is a folder of the compound file."""

    def __init__(self, file: OleFileIO, path: Path, header_bytes: int) -> None:
        self._file = file
        self._path = path
        self._fixed = dict(self._properties(header_bytes))

    def _properties(self, header_bytes: int) -> Iterator[tuple[int, bytes]]:
        """Yield number and value of the properties of a fixed size."""
        data = self._stream("__properties_version1.0") or b""
        for position in range(header_bytes, len(data) - 15, 16):
            (tag,) = struct.unpack_from("<I", data, position)
            yield tag, data[position + 8 : position + 16]

    def _stream(self, name: str) -> bytes | None:
        path = [*self._path, name]
        if not self._file.exists(path) or self._file.get_type(path) != 2:
            return None
        with self._file.openstream(path) as stream:
            return stream.read()

    def _property(self, number: int, kind: int) -> bytes | None:
        return self._stream(f"__substg1.0_{number:04X}{kind:04X}")

    def text(self, number: int) -> str | None:
        """Return a property of text; None if it is missing."""
        chunk = self._property(number, TEXT)
        if chunk is not None:
            return chunk.decode("utf-16-le", "replace").rstrip("\0")
        chunk = self._property(number, TEXT_8_BIT)
        return None if chunk is None else decode(chunk, declared=self._encoding()).text.rstrip("\0")

    def _encoding(self) -> str:
        for number in (CODE_PAGE, INTERNET_CODE_PAGE):
            if value := self._fixed.get(number << 16 | INTEGER):
                page = int.from_bytes(value[:4], "little")
                return "utf-8" if page == 65001 else f"cp{page}"
        return "cp1252"

    def sender(self) -> str | None:
        """Return name and address of the sender."""
        name = self.text(SENDER_NAME)
        address = self.text(SENDER_SMTP) or self.text(SENDER_ADDRESS)
        if name and address and "@" in address and address != name:
            return f"{name} <{address}>"
        return name or address

    def sent_at(self) -> datetime | None:
        """Return when the message was sent, in UTC."""
        for number in (SENT_AT, DELIVERED_AT):
            value = self._fixed.get(number << 16 | TIME)
            with suppress(OverflowError):
                if value is not None:
                    ticks = int.from_bytes(value, "little")
                    return EPOCH + timedelta(microseconds=ticks // 10)
        return None

    def headers(self) -> Iterator[str]:
        """Yield the lines that people read above a message."""
        sent_at = self.sent_at()
        names = {
            "From": self.sender(),
            "To": self.text(SHOWN_TO),
            "Cc": self.text(SHOWN_CC),
            "Subject": self.text(SUBJECT),
            "Date": f"{sent_at:%Y-%m-%dT%H:%M:%SZ}" if sent_at else None,
        }
        yield from (f"{name}: {' '.join(value.split())}" for name, value in names.items() if value)

    def body(self, draft: Draft) -> str:
        """Return the body: its text, else that of its HTML."""
        if (text := self.text(BODY)) is not None:
            return text
        html = self._property(HTML, BINARY)
        if html is not None:
            return html_text(decode(html).text).text
        if self._property(0x1009, BINARY) is not None:
            draft.note("parts_unreadable", "a body in compressed RTF")
        return ""

    def attachments(self, depth: int) -> Iterator[tuple[str, bytes]]:
        """Yield name and bytes of each attachment."""
        if depth > MAX_DEPTH:
            raise DocumentError("nested_too_deep", f"more than {MAX_DEPTH} messages")
        length = len(self._path)
        folders = {
            entry[length]
            for entry in self._file.listdir()
            if entry[:length] == self._path
            and len(entry) > length
            and entry[length].startswith("__attach_version1.0_")
        }
        for index, folder in enumerate(sorted(folders), start=1):
            attachment = _Storage(self._file, [*self._path, folder], OTHER_HEADER_BYTES)
            yield attachment.as_file(index, depth)

    def as_file(self, place: int, depth: int) -> tuple[str, bytes]:
        """Return an attachment as a file: an attached message as a mail."""
        names = (self.text(text) for text in (LONG_NAME, SHORT_NAME, SHOWN_NAME))
        name = next(filter(None, names), f"attachment-{place}")
        data = self._property(DATA, BINARY)
        if data is not None:
            return name, data
        embedded = [*self._path, f"__substg1.0_{DATA:04X}{OBJECT:04X}"]
        if not self._file.exists(embedded):
            return name, b""
        message = _Storage(self._file, embedded, EMBEDDED_HEADER_BYTES)
        return f"{name.removesuffix('.msg')}.eml", message.as_mail(depth + 1)

    def as_mail(self, depth: int) -> bytes:
        """Return the message in the form of a mail."""
        mail = EmailMessage(policy=SMTP)
        sent_at = self.sent_at()
        headers = {
            "Subject": self.text(SUBJECT),
            "From": self.sender(),
            "To": self.text(SHOWN_TO),
        }
        for name, value in headers.items():
            with suppress(Exception):  # several, for names that no address may have
                if value:
                    mail[name] = " ".join(value.split())
        if sent_at:
            mail["Date"] = format_datetime(sent_at)
        mail.set_content(self.text(BODY) or "")
        for name, data in self.attachments(depth):
            mail.add_attachment(data, "application", "octet-stream", filename=name)
        return mail.as_bytes()
