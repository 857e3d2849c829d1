"""ZIP, mail, MSG, EPUB and RTF: text, children and files that cannot be read."""

import stat
from datetime import UTC, datetime
from email.message import EmailMessage
from io import BytesIO
from zipfile import ZIP_DEFLATED, ZIP_LZMA, ZipFile, ZipInfo

import pytest
from orchestration_demo.documents.compound import compound, msg
from orchestration_demo.documents.damage import (
    cut,
    encrypted_member,
    mail_chain,
    nested,
    overlapping,
)
from orchestration_demo.documents.packages import archive, epub
from orchestration_demo.documents.texts import mail, rtf

from orchestration_project.domains.documents.extracted import Child, Extracted, Limits
from orchestration_project.domains.documents.extraction import extract, extract_all
from tests.domains.documents import a_story, codes, missing

STORY = a_story()
FONTS = b"http://www.idpf.org/2008/embedding"


def test_members_of_an_archive_are_children_in_their_order():
    members = [("b.txt", b"one"), ("a/b.txt", b"two"), ("a.txt", b"")]
    found = extract(archive(members), name="a.zip")
    assert found.children == tuple(Child(*member) for member in members)
    assert (found.state, found.pages, codes(found)) == ("loaded", (), [])


def zip_of(*members: tuple[ZipInfo, bytes], method: int = ZIP_DEFLATED) -> bytes:
    target = BytesIO()
    with ZipFile(target, "w", method) as file:
        for member, content in members:
            member.compress_type = method
            file.writestr(member, content)
    return target.getvalue()


def test_a_link_in_an_archive_is_noted_and_no_child():
    link = ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    found = extract(zip_of((link, b"/etc/passwd"), (ZipInfo("a.txt"), b"x")), name="a.zip")
    assert found.children == (Child("a.txt", b"x"),)
    assert codes(found) == ["member_is_link"]


def test_an_encrypted_member_is_noted_beside_others():
    locked = bytearray(archive([("a.txt", b"secret words"), ("b.txt", b"open")]))
    locked[6] |= 1
    locked[locked.index(b"PK\x01\x02") + 8] |= 1
    found = extract(bytes(locked), name="a.zip")
    assert (found.children, codes(found)) == ((Child("b.txt", b"open"),), ["member_encrypted"])


def test_sizes_in_the_directory_are_not_trusted():
    content = bytearray(archive([("a.txt", bytes(9_000_000))]))
    place = content.index(b"PK\x01\x02") + 24
    content[place : place + 4] = (10).to_bytes(4, "little")
    found = extract(bytes(content), name="a.zip")
    assert found.state == "refused"
    assert all(len(child.content) < 100 for child in found.children)


LIMITS = Limits(children=10, inflated_bytes=100_000, ratio_from_bytes=10_000)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (archive([("a", bytes(90_000))]), "archive_ratio"),
        (archive([(str(n), b"x" * 9000) for n in range(9)], is_packed=False), None),
        (
            archive([(str(n), bytes(20_000)) for n in range(9)], is_packed=False),
            "archive_too_large",
        ),
        (archive([(str(n), b"x") for n in range(11)]), "too_many_children"),
        (overlapping(), "too_many_children"),
        (archive([("../a", b"x")]), "unsafe_path"),
        (archive([("/a", b"x")]), "unsafe_path"),
        (archive([("a\\..\\b", b"x")]), "unsafe_path"),
        (archive([("C:\\a", b"x")]), "unsafe_path"),
        (archive([("a..b/..c", b"x")]), None),
        (encrypted_member(), "encrypted"),
        (archive([]), "no_text"),
        (cut(archive([("a.txt", b"words " * 90)])), "truncated"),
        (archive([("a.txt", b"words")]).replace(b"+\xcf/J", b"+\xcf/K", 1), "corrupt"),
    ],
)
def test_an_archive_ends_with_its_reason(content, reason):
    assert extract(content, name="a.zip", limits=LIMITS).reason_code == reason


def test_overlapping_members_are_refused():
    assert extract(overlapping(), name="a.zip").reason_code == "archive_overlap"


def test_another_method_of_packing_is_read_or_has_its_reason():
    content = zip_of((ZipInfo("a.txt"), b"words"), method=ZIP_LZMA)
    assert extract(content, name="a.zip").children == (Child("a.txt", b"words"),)
    unknown = bytearray(archive([("a.txt", b"words")]))
    unknown[8] = unknown[unknown.index(b"PK\x01\x02") + 10] = 97
    assert extract(bytes(unknown), name="a.zip").reason_code == "unsupported_feature"


def extracted(content: bytes, limits: Limits = Limits()) -> dict[tuple[str, ...], Extracted]:  # noqa: B008 - frozen
    return {
        found.path: found.extracted for found in extract_all(content, name="x.zip", limits=limits)
    }


@pytest.mark.slow
def test_files_within_files_are_extracted_with_their_paths():
    inner = archive([("deep.md", b"# deep")])
    content = archive([("one.txt", b"one"), ("in.zip", inner), ("two.eml", mail(STORY))])
    found = extracted(content)
    assert list(found) == [
        ("x.zip",),
        ("x.zip", "one.txt"),
        ("x.zip", "in.zip"),
        ("x.zip", "in.zip", "deep.md"),
        ("x.zip", "two.eml"),
    ]
    assert found["x.zip", "in.zip", "deep.md"].title == "deep"


@pytest.mark.parametrize("content", [nested(STORY), mail_chain(STORY)])
def test_files_deeper_than_the_limit_are_not_read(content):
    *above, last = extract_all(content, name="a", limits=Limits(depth=5))
    assert (len(last.path), last.extracted.reason_code) == (7, "nested_too_deep")
    assert last.extracted.pages == ()
    assert all(member.extracted.state == "loaded" for member in above)
    assert [member.parent_id for member in (*above, last)] == [
        None,
        *(member.document_id for member in above),
    ]


def test_all_files_within_a_file_share_the_budget():
    inner = archive([(f"{n}.txt", bytes(1000)) for n in range(8)], is_packed=False)
    content = archive([("a.zip", inner), ("b.zip", inner)], is_packed=False)
    found = extracted(content, Limits(children=12))
    assert found["x.zip", "a.zip"].state == "loaded"
    assert found["x.zip", "b.zip"].reason_code == "too_many_children"
    small = Limits(inflated_bytes=len(inner) * 2 + 9000)
    found = extracted(content, small)
    assert found["x.zip", "a.zip"].state == "loaded"
    assert found["x.zip", "b.zip"].reason_code == "archive_too_large"


def test_a_mail_has_headers_body_and_attachments():
    inner = mail(a_story(2))
    found = extract(mail(STORY, [("a.txt", b"attached"), ("in.eml", inner)]), name="a.eml")
    lines = found.text.split("\n")
    assert lines[0] == f"From: {STORY.author} <author@example.org>"
    assert lines[2] == f"Subject: {STORY.title}"
    assert missing(found, STORY.known()) == []
    assert (found.title, found.created_at) == (STORY.title, STORY.created_at)
    assert found.children == (Child("a.txt", b"attached"), Child("in.eml", inner))
    assert found.text.count(STORY.words[1]) == 1  # of plain text and HTML one is read


def test_a_mail_attached_as_a_message_is_a_child():
    outer, inner = EmailMessage(), EmailMessage()
    inner["Subject"], outer["Subject"] = "Inner", "Outer"
    inner.set_content("inner words")
    outer.set_content("outer words")
    outer.add_attachment(inner)
    (child,) = extract(outer.as_bytes(), name="a.eml").children
    assert child.name == "Inner.eml"
    assert "inner words" in extract(child.content, name=child.name).text


def test_a_mail_of_html_alone_and_of_another_encoding_is_read():
    content = (
        b"From: =?iso-8859-1?q?J=FCrgen?= <j@example.org>\r\nSubject: x\r\n"
        b"Date: Tue, 3 Feb 2026 04:05:06 +0100\r\n"
        b"Content-Type: text/html; charset=iso-8859-15\r\n\r\n<p>Preis: 5 \xa4</p>"
    )
    found = extract(content, name="a.eml")
    assert found.text.split("\n")[0] == "From: Jürgen <j@example.org>"
    assert found.text.endswith("\n\nPreis: 5 €")
    assert found.created_at == datetime(2026, 2, 3, 3, 5, 6, tzinfo=UTC)


def test_a_broken_mail_ends_with_text_or_a_reason():
    part = b"From: a@b\r\nSubject: x\r\nContent-Type: multipart/mixed; boundary=B\r\n\r\n--B\r\n"
    deep = b"".join(
        b'Content-Type: multipart/mixed; boundary="%d"\r\n\r\n--%d\r\n' % (n, n) for n in range(99)
    )
    assert extract(part[:-7], name="a.eml").reason_code == "truncated"
    cut_mail = extract(cut(mail(STORY, [("a.txt", b"attached" * 99)]), 0.9), name="a.eml")
    assert (cut_mail.state, codes(cut_mail)) == ("loaded", ["parts_unreadable"])
    found = extract(b"From: a@b\r\nSubject: x\r\n" + deep, name="a.eml")
    assert found.reason_code == "nested_too_deep"


def test_msg_has_headers_body_and_attachments():
    found = extract(msg(STORY, {"a.txt": b"attached", "large.bin": bytes(9000)}), name="a.msg")
    assert found.media_type == "application/vnd.ms-outlook"
    assert missing(found, STORY.known()) == []
    assert found.text.startswith(f"From: {STORY.author} <author@example.org>\nTo: Office\n")
    assert (found.title, found.created_at) == (STORY.title, STORY.created_at)
    assert found.children == (Child("a.txt", b"attached"), Child("large.bin", bytes(9000)))


def test_a_message_attached_to_a_msg_is_a_mail():
    inner = {
        "__properties_version1.0": bytes(24),
        "__substg1.0_0037001E": b"Inner",
        "__substg1.0_1000001E": "größer".encode("cp1252"),
    }
    attachment = {"__properties_version1.0": bytes(8), "__substg1.0_3701000D": inner}
    folder = {
        "__properties_version1.0": bytes(32),
        "__substg1.0_1000001F": "outer".encode("utf-16-le"),
        "__attach_version1.0_#00000000": attachment,
    }
    (child,) = extract(compound(folder), name="a.msg").children
    found = extract(child.content, name=child.name)
    assert (found.title, found.text.split("\n")[-2:]) == ("Inner", ["größer", ""])


def test_an_old_word_document_is_named_and_refused():
    found = extract(compound({"WordDocument": bytes(5000)}), name="a.doc")
    assert (found.media_type, found.reason_code) == ("application/msword", "unsupported_type")


def test_epub_has_chapters_in_the_order_of_the_spine():
    found = extract(epub(STORY), name="a.epub")
    assert missing(found, STORY.known()) == []
    headings = [page.headings[-1].text for page in found.pages]
    assert headings == [section.heading for section in STORY.sections]
    assert (found.title, found.created_at) == (STORY.title, STORY.created_at)
    assert found.pages[-1].tables[0].rows == tuple(map(tuple, STORY.cells))


def test_an_epub_without_its_chapters_or_with_encrypted_ones_has_its_reason():
    with ZipFile(BytesIO(epub(STORY))) as file:
        parts = {name: file.read(name) for name in file.namelist()}
    assert extract(archive((n, p) for n, p in parts.items() if "OPS" not in n), name="a").state == (
        "refused"
    )
    locked = (
        b'<encryption><EncryptionMethod Algorithm="http://www.w3.org/2001/04/xmlenc#aes128-cbc"/>'
    )
    locked += b"</encryption>"
    content = archive([*parts.items(), ("META-INF/encryption.xml", locked)])
    assert extract(content, name="a.epub").state == "encrypted"
    fonts = locked.replace(b"http://www.w3.org/2001/04/xmlenc#aes128-cbc", FONTS)
    content = archive([*parts.items(), ("META-INF/encryption.xml", fonts)])
    assert extract(content, name="a.epub").state == "loaded"


def test_rtf_has_text_properties_and_letters_beyond_ascii():
    found = extract(rtf(STORY), name="a.rtf")
    assert missing(found, STORY.known()) == []
    assert (found.title, found.author) == (STORY.title, STORY.author)
    assert found.created_at == STORY.created_at
    assert [table.rows for table in found.pages[0].tables] == [tuple(map(tuple, STORY.cells))]
    text = rb"{\rtf1\ansi\ansicpg1250 Stra\'dfe \u8364? \u-10179?\{x\}\par next}"
    assert extract(text, name="a.rtf").text.split("\n")[0].startswith("Straße €")
    assert extract(cut(rtf(STORY)), name="a.rtf").reason_code == "truncated"
    assert extract(b"{\\rtf1" + b"{" * 5000 + b"}" * 5001, name="a.rtf").state == "empty"


@pytest.mark.parametrize(
    ("declared", "body", "lines"),
    [
        ("zzz", "--other\nlost?\n", ["lost?"]),
        (
            "zzz",
            "--other\nContent-Type: text/plain; charset=utf-8\n"
            "Content-Transfer-Encoding: base64\n\nR3LDvMOfZQ==\n--other--\n",
            ["Grüße"],
        ),
        ("zzz", "no boundary at all\n", ["no boundary at all"]),
    ],
)
def test_a_mail_without_its_boundary_keeps_headers_and_text(declared, body, lines):
    head = (
        f'From: a@example.org\nSubject: Offer\nContent-Type: multipart/mixed; boundary="{declared}"'
    )
    found = extract(f"{head}\n\n{body}".encode(), name="a.eml")
    assert found.text.split("\n")[:2] == ["From: a@example.org", "Subject: Offer"]
    assert found.text.strip().split("\n")[3:] == lines
    assert (found.title, found.state, found.reason_code) == ("Offer", "loaded", "parts_unreadable")
