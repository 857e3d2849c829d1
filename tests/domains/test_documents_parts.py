"""Parts of a document in its bytes: as many as were extracted, and a lost one is a difference."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
from orchestration_demo.documents.corpus import corpus
from orchestration_demo.documents.packages import archive, epub, pptx, xlsx
from orchestration_demo.documents.pdf import story_pdf

from orchestration_project.domains.documents.extracted import (
    DelimitedRows,
    Extracted,
    Limits,
    Page,
    Table,
)
from orchestration_project.domains.documents.extraction import Delivered, count_parts, extract
from orchestration_project.domains.documents.formats import FORMATS
from orchestration_project.engine.contracts.balance import Balance
from tests.domains.documents import a_story, with_parts

MAIL = b"""\
From: a@example.com
Content-Type: multipart/mixed; boundary="outer"

--outer
Content-Type: multipart/alternative;
 boundary=inner

--inner

plain text
--inner
Content-Type: text/html

<p>the same</p>
--inner--
--outer
Content-Disposition: attachment; filename="a.txt"

attached
--outer
Content-Type: message/rfc822

From: b@example.com
Subject: within
Content-Type: multipart/mixed; boundary="third"

--third

text within
--third--
--outer--
"""
SHEET = "xl/worksheets/sheet1.xml"


def counted(content: bytes, name: str) -> Balance:
    return Balance("parts", *count_parts(content, extract(content, name=name)))


@pytest.mark.parametrize(
    ("name", "content", "count", "went_to"),
    [
        ("a.txt", b"\xef\xbb\xbf two  words\r\nand three more\x0c", 5, {"words": 5}),
        ("a.txt", b"caf\xe9 \xff\xfe", 2, {"words": 2}),
        ("a.csv", b'a;"b\r\n""c"";d"\r\n\r\n1;2\r3;4', 3, {"rows": 3}),
        ("a.csv", b'size,unit\n5" pipe,x\n6" pipe,"y\nz"\n', 3, {"rows": 3}),
        ("a.csv", b'a,b\n1,"open\n2,3\n', 2, {"rows": 2}),
        ("a.tsv", b"a\tb\n\t\n\n1\t", 3, {"rows": 3}),
        ("a.json", b'{"a": [1, "x\\ny\\\\n", {}, []], "b\\"": {"c": null}}', 6, {"lines": 6}),
        ("a.jsonl", b'{"a": 1}\n\n{"a": [true, -1.5e3]}', 3, {"lines": 3}),
        ("a.xml", b'<?xml version="1.0"?><a b="1">x<c/>tail<d>y</d> <!-- z --> </a>', 3,
         {"lines": 3}),
        ("a.eml", MAIL, 4, {"children": 2, "texts": 1, "other_alternatives": 1}),
        ("a.zip", archive([("a/", b""), ("a/b.txt", b"x"), ("PK\x01.txt", b"PK\x01\x02")]), 3,
         {"children": 2, "folders": 1}),
    ],
)  # fmt: skip
def test_parts_are_counted_in_bytes(name: str, content: bytes, count: int, went_to: Mapping):
    assert counted(content, name) == Balance("parts", count, went_to)


@pytest.mark.parametrize(
    ("name", "content", "unit"),
    [
        ("a.xlsx", xlsx(a_story()), "rows"),
        ("a.xlsx", xlsx(a_story(), has_values=False), "rows"),
        ("a.pptx", pptx(a_story()), "slides"),
        ("a.epub", epub(a_story()), "chapters"),
    ],
)
def test_parts_of_a_package_are_counted(name: str, content: bytes, unit: str):
    balance = counted(content, name)
    assert (balance.state, balance.went_to[unit] > 1) == ("balanced", True)


def test_a_row_of_a_sheet_without_a_value_is_none():
    rows = (
        "<row r='90'><c r='A90' t='s'><v>0</v></c></row><row r='91'/><row r='92'><c r='A92'/></row>"
    )
    content = with_parts(
        xlsx(a_story()),
        {"xl/sharedStrings.xml": "<sst><si><t/></si></sst>"},
        {SHEET: (b"</sheetData>", rows.encode() + b"</sheetData>")},
    )
    assert counted(content, "a.xlsx").came_in == counted(xlsx(a_story()), "a.xlsx").came_in


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.pdf", story_pdf(a_story())),
        ("a.html", b"<p>words"),
        ("a.txt", "words".encode("utf-16")),
        ("a.json", b"{"),
        ("a.eml", MAIL.replace(b"--outer--", b"")),
    ],
)
def test_what_has_no_count_of_its_own_is_not_counted(name: str, content: bytes):
    assert counted(content, name).state == "not_counted"


def without_last_row(found: Extracted) -> Extracted:
    """Return what a reader would extract that loses the last row of the last table."""
    [*pages, last] = found.pages
    table = last.tables[0]
    if isinstance(table.cells, DelimitedRows):
        text = last.text.rpartition("\n")[0]
        lost = Table(table.cells._replace(text=text), table.name)
    else:
        lost = Table(table.rows[:-1], table.name)
    return replace(found, pages=(*pages, replace(last, tables=(lost, *last.tables[1:]))))


def without_last_line(found: Extracted) -> Extracted:
    return replace(found, pages=(Page(1, found.pages[0].text.rpartition("\n")[0]),))


def without_last_page(found: Extracted) -> Extracted:
    return replace(found, pages=found.pages[:-1])


def without_last_child(found: Extracted) -> Extracted:
    return replace(found, children=found.children[:-1])


@pytest.mark.parametrize(
    ("name", "content", "lose"),
    [
        ("a.csv", b"a,b\n1,2\n3,4", without_last_row),
        ("a.xlsx", xlsx(a_story()), without_last_row),
        ("a.txt", b"one\ntwo", without_last_line),
        ("a.json", b'{"a": 1, "b": 2}', without_last_line),
        ("a.jsonl", b'{"a": 1}\n{"b": 2}', without_last_line),
        ("a.xml", b"<?xml version='1.0'?><a><b>1</b><b>2</b></a>", without_last_line),
        ("a.pptx", pptx(a_story()), without_last_page),
        ("a.epub", epub(a_story()), without_last_page),
        ("a.eml", MAIL, without_last_child),
        ("a.zip", archive([("a.txt", b"x"), ("b.txt", b"x")]), without_last_child),
    ],
)
def test_a_lost_part_is_a_difference(name: str, content: bytes, lose):
    found = extract(content, name=name)
    assert Balance("parts", *count_parts(content, found)).state == "balanced"
    assert Balance("parts", *count_parts(content, lose(found))).difference == 1


@pytest.mark.slow
def test_of_300_documents_of_the_demo_none_has_a_false_imbalance():
    states: dict[str, set[str]] = {}
    for expected, content in corpus(seed=1, count=300):
        delivered = Delivered(expected.path, content, Limits())
        while delivered.waiting:
            file, limits = delivered.next_up()
            found = extract(file.content, name=file.path[-1], limits=limits)
            balance = Balance("parts", *count_parts(file.content, found))
            assert not balance.difference, (file.path, str(balance))
            states.setdefault(found.media_type, set()).add(balance.state)
            if not delivered.is_too_deep(file):
                delivered.settle(file, found)
    counted = {media_type for media_type, found in states.items() if "balanced" in found}
    counters = {name for name, found in FORMATS.items() if found.part_counter}
    assert counted >= {name for name in counters if "macroEnabled" not in name}
