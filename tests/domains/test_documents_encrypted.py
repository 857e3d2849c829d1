"""Encrypted files: each password is tried, and without one that fits the reason says so."""

import zlib
from base64 import b64decode
from io import BytesIO
from zipfile import ZipFile

import pytest
from msoffcrypto.format.ooxml import OOXMLFile
from orchestration_demo.documents.compound import xls
from orchestration_demo.documents.damage import encrypted_member
from orchestration_demo.documents.packages import archive, docx, xlsx
from orchestration_demo.documents.pdf import story_pdf
from pypdf import PdfReader, PdfWriter

from orchestration_project.domains.documents.extracted import Extracted, Options
from orchestration_project.domains.documents.extraction import extract, extract_all
from tests.domains.documents import a_story, codes, missing
from tests.domains.encrypted_xls import encrypted_xls

STORY = a_story()
PASSWORD = "correct horse ä"
OPEN = Options(passwords=("wrong one", PASSWORD))


def encrypted_pdf(algorithm: str = "AES-256") -> bytes:
    writer = PdfWriter(clone_from=PdfReader(BytesIO(story_pdf(STORY))))
    writer.encrypt(PASSWORD, algorithm=algorithm)
    target = BytesIO()
    writer.write(target)
    return target.getvalue()


def encrypted_office(content: bytes) -> bytes:
    """Return a package encrypted; it has a large part, as this writer damages small ones."""
    with ZipFile(BytesIO(content)) as file:
        parts = {name: file.read(name) for name in file.namelist()}
    large = archive({**parts, "padding.bin": bytes(20_000)}.items(), is_packed=False)
    target = BytesIO()
    OOXMLFile(BytesIO(large)).encrypt(PASSWORD, target)
    return target.getvalue()


class Cipher:
    """The encryption of ZIP before AES."""

    def __init__(self, password: bytes) -> None:
        self._keys = [0x12345678, 0x23456789, 0x34567890]
        for byte in password:
            self._update(byte)

    @staticmethod
    def _crc(byte: int, start: int) -> int:
        return zlib.crc32(bytes([byte]), start ^ 0xFFFFFFFF) ^ 0xFFFFFFFF

    def _update(self, byte: int) -> None:
        first, second, third = self._keys
        first = self._crc(byte, first)
        second = ((second + (first & 0xFF)) * 134775813 + 1) & 0xFFFFFFFF
        self._keys = [first, second, self._crc(second >> 24, third)]

    def encrypt(self, content: bytes) -> bytes:
        """Return bytes encrypted, which the next ones depend on."""
        out = bytearray()
        for byte in content:
            low = (self._keys[2] | 2) & 0xFFFF
            out.append(byte ^ ((low * (low ^ 1)) >> 8 & 0xFF))
            self._update(byte)
        return bytes(out)


def encrypted_zip(content: bytes, password: str = PASSWORD, *, more: bytes = b"") -> bytes:
    """Return an archive with an encrypted member, and another one if it is given."""
    plain = archive([("a.txt", content + bytes(12))], is_packed=False)
    check = zlib.crc32(content)
    body = Cipher(password.encode()).encrypt(bytes(11) + bytes([check >> 24]) + content)
    with ZipFile(BytesIO(plain)) as file:
        (member,) = file.infolist()
    start = member.header_offset + 30 + len(member.filename)
    made = bytearray(plain[:start] + body + plain[start + len(body) :])
    for place, flags, crc in ((0, 6, 14), (made.index(b"PK\x01\x02"), 8, 16)):
        made[place + flags] |= 1
        made[place + crc : place + crc + 4] = check.to_bytes(4, "little")
        size = place + crc + 8
        made[size : size + 4] = len(content).to_bytes(4, "little")
    if more:
        target = BytesIO(bytes(made))
        with ZipFile(target, "a") as file:
            file.writestr("b.txt", more)
        return target.getvalue()
    return bytes(made)


def opened(content: bytes, name: str) -> Extracted:
    return extract(content, name=name, options=OPEN)


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.pdf", encrypted_pdf()),
        ("a.pdf", encrypted_pdf("RC4-128")),
        ("a.docx", encrypted_office(docx(STORY))),
        ("a.xlsx", encrypted_office(xlsx(STORY))),
        ("a.xls", encrypted_xls(xls(STORY), PASSWORD, "RC4")),
        ("a.xls", encrypted_xls(xls(STORY), PASSWORD, "CryptoAPI")),
    ],
)
def test_a_password_opens_a_file_and_without_one_the_reason_says_so(name: str, content: bytes):
    found = opened(content, name)
    assert (found.state, codes(found), missing(found, STORY.known())) == ("loaded", [], [])
    assert (found.title, found.byte_count) == (STORY.title, len(content))
    for options in (Options(), Options(passwords=("wrong one", "another"))):
        locked = extract(content, name=name, options=options)
        assert (locked.state, locked.reason_code, locked.pages) == ("encrypted", "encrypted", ())
        assert locked.reason is not None
        assert locked.reason.category == "needs_configuration"


def test_members_of_an_archive_are_opened_one_by_one():
    content = encrypted_zip(b"secret words", more=b"plain words")
    texts = [member.extracted.text for member in extract_all(content, name="a.zip", options=OPEN)]
    assert sorted(texts) == ["", "plain words", "secret words"]
    locked = list(extract_all(content, name="a.zip"))
    assert codes(locked[0].extracted) == ["member_encrypted"]
    assert [member.extracted.text for member in locked[1:]] == ["plain words"]
    assert extract(encrypted_zip(b"x"), name="a.zip").state == "encrypted"
    assert opened(encrypted_zip(b"x"), "a.zip").state == "loaded"


def test_a_wrong_password_that_passes_the_check_of_a_byte_is_refused_by_the_checksum():
    content = encrypted_zip(b"secret words" * 20)
    options = Options(passwords=tuple(f"wrong {number}" for number in range(1000)))
    assert extract(content, name="a.zip", options=options).state == "encrypted"


def test_a_damaged_encrypted_file_ends_with_a_reason():
    content = encrypted_office(docx(STORY))
    for end in (600, len(content) // 2, len(content) - 700):
        assert opened(content[:end], "a.docx").state in ("encrypted", "refused")
    assert opened(encrypted_member(), "a.zip").state == "encrypted"


AES_ARCHIVES = [
    "UEsDBBQAAQBjAGcdel1xTdjdKgAAAAwAAAAFAAsAYS50eHQBmQcAAQBBRQMIAN4+vuRYlww2zmqNhSSWU5Xmmpeg"
    "b8c8Z+CxX9kYDfoKd8KM45SryKS7xFBLAQIUAxQAAQBjAGcdel1xTdjdKgAAAAwAAAAFAAsAAAAAAAAAAACAAQAA"
    "AABhLnR4dAGZBwABAEFFAwgAUEsFBgAAAAABAAEAPgAAAFgAAAAAAA==",
    "UEsDBBQAAQBjAGcdel0AAAAAKAAAAAwAAAAFAAsAYS50eHQBmQcAAgBBRQMAAJfHwhb4fNfK8kA8tiwEvJDHT55G"
    "Y0P6QTk7F8tCtwo7HRk9lf450plQSwECFAMUAAEAYwBnHXpdAAAAACgAAAAMAAAABQALAAAAAAAAAAAAgAEAAAAA"
    "YS50eHQBmQcAAgBBRQMAAFBLBQYAAAAAAQABAD4AAABWAAAAAAA=",
]
"""Archives of pyzipper with "secret words" in a.txt, encrypted by `PASSWORD`: AE-1 and AE-2."""


@pytest.mark.parametrize("archived", AES_ARCHIVES, ids=["AE-1", "AE-2"])
def test_an_archive_that_aes_encrypts_is_encrypted_and_no_password_is_asked_for(archived: str):
    content = b64decode(archived)
    for options in (OPEN, Options()):
        found = extract(content, name="a.zip", options=options)
        assert (found.state, found.reason_code) == ("encrypted", "encrypted_by_aes")
        assert found.reason is not None
        assert (found.reason.category, "password" in found.reason.remedy) == ("permanent", False)
    target = BytesIO(content)
    with ZipFile(target, "a") as file:
        file.writestr("b.txt", b"plain words")
    first, *members = extract_all(target.getvalue(), name="a.zip", options=OPEN)
    assert codes(first.extracted) == ["member_encrypted_by_aes"]
    assert [member.extracted.text for member in members] == ["plain words"]


def test_no_password_is_shown():
    assert PASSWORD not in repr(OPEN)
