"""Text, Markdown, CSV, HTML, JSON and XML: known answers through `extract`."""

import codecs
from datetime import UTC, datetime

import pytest

from orchestration_project.domains.documents.extracted import Extracted, Limits
from orchestration_project.domains.documents.extraction import extract


def codes(found: Extracted) -> list[str]:
    return [finding.code for finding in found.findings]


GERMAN = "Größere Güter müssen über die Brücke, sagte Jürgen: schöne Grüße aus Köln für alle.\n" * 3


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),
        (b"", "utf-8"),
    ],
)
def test_a_text_in_unicode_is_read_whole(mark, encoding):
    found = extract(mark + GERMAN.encode(encoding), name="a.txt")
    assert (found.text, found.media_type, codes(found)) == (GERMAN, "text/plain", [])


def test_utf16_without_a_mark_is_recognised():
    found = extract("first line\nsecond line\n".encode("utf-16-le"), name="a.log")
    assert found.text == "first line\nsecond line\n"


def test_a_text_in_another_encoding_is_read_with_a_note():
    found = extract(GERMAN.encode("cp1252"), name="a.txt")
    assert (found.text, codes(found)) == (GERMAN, ["encoding_guessed"])
    assert found.state == "loaded"


def test_a_declared_encoding_is_used_and_a_wrong_one_noted():
    page = '<meta charset="{}"><p>Žluťoučký kůň'
    assert extract(page.format("cp1250").encode("cp1250"), name="a.html").text == "Žluťoučký kůň"
    wrong = extract(page.format("ascii").encode(), name="a.html")
    assert (wrong.text, codes(wrong)) == ("Žluťoučký kůň", ["encoding_mismatch"])


def test_no_byte_of_a_text_is_dropped():
    found = extract(codecs.BOM_UTF8 + b"before \xff\xfe after", name="a.txt")
    assert found.text == "before \\xff\\xfe after"
    assert codes(found) == ["undecodable_bytes"]


def test_line_breaks_become_one_kind():
    assert extract(b"a\r\nb\rc\n", name="a.txt").text == "a\nb\nc\n"


def test_nul_and_lone_surrogates_are_replaced_with_a_note():
    for content, name in ((b"some\0 text here", "a.txt"), (b'["some\\ud800 text here"]', "a.json")):
        found = extract(content, name=name)
        assert found.text.endswith("some\ufffd text here")
        assert codes(found) == ["text_replaced"]


def test_headings_of_markdown_are_found_outside_of_code():
    text = "# One #\n\n```\n# no heading\n```\nTwo\n---\n\n- item\n---\n####### seven\n"
    (page,) = extract(text.encode(), name="a.md").pages
    assert [(h.level, h.text) for h in page.headings] == [(1, "# One #"), (2, "Two")]
    assert all(page.text[h.offset :].startswith(h.text) for h in page.headings)


@pytest.mark.parametrize(
    ("name", "text", "rows"),
    [
        ("a.csv", 'name,note\n"x","two\nlines"\n', (("name", "note"), ("x", "two\nlines"))),
        ("a.csv", "a;b\n1,5;2\n2,5;3\n", (("a", "b"), ("1,5", "2"), ("2,5", "3"))),
        ("a.csv", "a|b\n1|2\n", (("a", "b"), ("1", "2"))),
        ("a.tsv", 'a\tb\n"1"\t"x ""y"""\n', (("a", "b"), ("1", 'x "y"'))),
        ("a.csv", "only\none\n", (("only",), ("one",))),
    ],
)
def test_a_delimited_file_has_its_rows(name, text, rows):
    (page,) = extract(text.encode(), name=name).pages
    assert page.text == text
    assert [table.rows for table in page.tables] == [rows]


@pytest.mark.parametrize("text", ["a,b\n1\n", 'a,b\n1,"open\n2,3\n'])
def test_irregular_rows_are_noted_and_kept(text):
    found = extract(text.encode(), name="a.csv")
    assert codes(found) == ["irregular_rows"]
    assert found.pages[0].tables[0].rows[0] == ("a", "b")


HTML = b"""<!doctype html><html><head><title>The &amp; title</title><style>.x{}</style>
<meta name="author" content="Ada"><meta name=date content="2026-02-03T04:05:06+01:00"></head>
<body><script>var hidden = 1</script><h1>Big <b>One</b></h1><p>first   par<i>agraph</i><br>line 2
<div>block<div>inner</div>after</div><table><tr><th>k<th>v<tr><td>a<td>1<table><tr><td>in</table>
</table><pre>x
  y</pre><ul><li>i1<li>i2</ul></body></html>"""


def test_html_is_read_as_people_see_it():
    found = extract(HTML, name="page.htm")
    (page,) = found.pages
    assert page.text == (
        "Big One\nfirst paragraph\nline 2\nblock\ninner\nafter\nk\tv\na\t1\nin\nx\n  y\ni1\ni2"
    )
    assert page.headings == ((0, 1, "Big One"),)
    assert page.tables[1].rows == (("in",),)
    assert page.tables[0].rows[0] == ("k", "v")
    assert (found.title, found.author) == ("The & title", "Ada")
    assert found.created_at == datetime(2026, 2, 3, 3, 5, 6, tzinfo=UTC)


def test_deep_html_needs_no_deep_recursion():
    assert extract(b"<div>" * 3_000 + b"word", name="a.html").text == "word"


def test_json_has_a_line_for_each_value_and_keeps_every_digit():
    assert extract(b"{}", name="a.json").text == "{}"
    text = '{"a": [1.10, {"b": "caf\\u00e9"}], "n": null, "a": 12345678901234567890123, "t": true'
    text += ', "e": []}'
    found = extract(text.encode(), name="a.json")
    assert found.text.split("\n") == [
        "a[0]: 1.10",
        "a[1].b: café",
        "n: null",
        "a: 12345678901234567890123",
        "t: true",
        "e: []",
    ]


def test_json_with_an_arbitrary_name_is_recognised():
    assert extract(b'{"a": 1}', name="data").media_type == "application/json"
    lines = extract(b'{"a": 1}\n{"a": 2}\n', name="data")
    assert (lines.media_type, lines.text) == ("application/jsonl", "[1].a: 1\n[2].a: 2")
    assert extract(b"[draft] a note", name="data").media_type == "text/plain"


def test_a_line_of_jsonl_that_is_not_json_is_kept_and_noted():
    found = extract(b'{"a": 1}\nbroken {\n', name="a.jsonl")
    assert (found.text, codes(found)) == ("[1].a: 1\nbroken {", ["lines_unreadable"])


def test_xml_has_a_line_for_text_and_attributes():
    text = (
        '<?xml version="1.0"?><r><!-- no --><i id="7" x:n="y" xmlns:x="u">one<b>two</b>end</i></r>'
    )
    found = extract(text.encode(), name="a.xml")
    assert (found.text, found.media_type) == ("i: id=7 n=y one\nb: two\nend", "application/xml")


def test_xml_without_a_declaration_is_recognised_by_its_namespace():
    content = b'<svg width="1" xmlns="http://www.w3.org/2000/svg"><text>drawn words</text></svg>'
    found = extract(content, name="a.svg")
    assert (found.media_type, found.text) == (
        "application/xml",
        "svg: width=1\ntext: drawn words",
    )


@pytest.mark.parametrize(
    ("content", "name", "reason"),
    [
        (b"", "a.txt", "empty_file"),
        (b" \n ", "a.txt", "no_text"),
        (b'{"a": ', "a.json", "truncated"),
        (b'{"a" 1}', "a.json", "corrupt"),
        (b"no\nline\n", "a.jsonl", "corrupt"),
        (b"[" * 100_000, "a.json", "nested_too_deep"),
        (b"[" * 300 + b"]" * 300, "a.json", "nested_too_deep"),
        (b'<?xml version="1.0"?><a><b>', "a.xml", "truncated"),
        (b'<?xml version="1.0"?><a></b>', "a.xml", "corrupt"),
        (b"<a>" * 5000 + b"</a>" * 5000, "a.xml", "nested_too_deep"),
        (b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>', "a", "xml_entities"),
        (
            b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>',
            "a.xml",
            "xml_entities",
        ),
        (b"\x7fELF" + bytes(500), "a.txt", "unsupported_type"),
        (b"word " * 300, "a.txt", "too_much_text"),
        (b"word " * 3000, "a.txt", "too_large"),
    ],
)
def test_a_bad_text_has_its_reason(content, name, reason):
    limits = Limits(text_characters=1000, file_bytes=10_000 if content[:1] == b"w" else 10**6)
    found = extract(content, name=name, limits=limits)
    assert found.reason_code == reason
    assert found.state in ("empty", "refused")
    assert (found.text.strip(), found.children) == ("", ())


def test_json_that_ends_anywhere_is_truncated():
    text = r'{"a": [true, false, null, -1.5e+7, "x\u00f6\n"], "b": {"c": "d"}}'
    ends = range(1, len(text))
    found = {extract(text[:end].encode(), name="a.json").reason_code for end in ends}
    assert found == {"truncated"}


@pytest.mark.parametrize(
    ("name", "media_type", "is_noted"),
    [
        ("a.pdf", "text/plain", True),
        ("a.md", "text/markdown", False),
        ("a.log", "text/plain", False),
        ("folder.pdf/a", "text/plain", False),
        ("a.unheard", "text/plain", False),
    ],
)
def test_content_decides_the_type_and_a_wrong_extension_is_noted(name, media_type, is_noted):
    found = extract(b"plain words", name=name)
    assert (found.media_type, "wrong_extension" in codes(found)) == (media_type, is_noted)
    assert found.state == "loaded"


def test_a_name_may_hold_anything():
    name = "a\n\ud800\0/../b.txt"
    found = extract(b"words", name=name)
    assert found.name == "a\n\ufffd\ufffd/../b.txt"
    assert found.text == "words"


@pytest.mark.parametrize("declaration", ["", '<meta charset="utf-8">'])
def test_an_invalid_byte_does_not_change_the_encoding_of_the_other_text(declaration):
    whole = (declaration + GERMAN).encode()
    place = whole.index("Brücke".encode())
    inside = whole[:place] + b"\xff" + whole[place:]
    cut = whole + "ü".encode()[:1]
    for content, at, shown in ((inside, place, "\\xff"), (cut, len(cut) - 1, "\\xc3")):
        found = extract(content, name="a.html" if declaration else "a.txt")
        assert "Größere Güter müssen" in found.text
        assert found.text.count(shown) == 1
        [finding] = found.findings
        assert (finding.code, finding.detail) == (
            "undecodable_bytes",
            f"not valid utf-8: at byte {at:,}",
        )


def test_a_text_that_is_declared_as_utf8_and_has_none_is_read_as_what_it_is():
    content = b'<meta charset="utf-8"><p>' + GERMAN.encode("cp1252")
    found = extract(content, name="a.html")
    assert "Größere Güter" in found.text
    assert codes(found) == ["encoding_mismatch", "encoding_guessed"]


def test_the_euro_sign_of_latin_9_stays_one():
    found = extract("Betrag;Währung\n12,50;€\n".encode("iso8859-15"), name="a.csv")
    assert found.text == "Betrag;Währung\n12,50;€\n"
    assert [(finding.code, finding.detail) for finding in found.findings] == [
        ("encoding_guessed", "iso8859-15")
    ]
    windows = extract("Preis: 5 € für „Bücher“, 3 ¤\n".encode("cp1252"), name="a.txt")
    assert windows.text == "Preis: 5 € für „Bücher“, 3 ¤\n"


@pytest.mark.parametrize("count", [1, 3, 10])
def test_a_text_with_nul_between_its_fields_is_a_text(count):
    content = b"".join(b"field %d of the record" % n + b"\0" * count for n in range(60))
    found = extract(content, name="a.txt")
    if count < 10:
        assert (found.state, codes(found)) == ("loaded", ["text_replaced"])
    else:
        assert found.reason_code == "unsupported_type"


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity"])
def test_a_value_that_json_does_not_have_is_refused(value):
    found = extract(f'{{"a": {value}}}'.encode(), name="a.json")
    assert [(finding.code, finding.detail) for finding in found.findings] == [
        ("corrupt", f"{value} is not a value of JSON")
    ]
    lines = extract(f'{{"a": 1}}\n{{"a": {value}}}\n'.encode(), name="a.jsonl")
    assert lines.text == f'[1].a: 1\n{{"a": {value}}}'
    assert codes(lines) == ["lines_unreadable"]
    assert extract(f'{{"a": {value}}}'.encode(), name="a").media_type == "text/plain"


def test_a_long_csv_has_pages_of_whole_rows_and_counts_its_text_once():
    lines = [f'{number},"a\n{number}",ü' for number in range(120_000)]
    text = "\n".join(lines) + "\n"
    found = extract(text.encode(), name="a.csv", limits=Limits(text_characters=len(text)))
    assert (found.findings, len(found.pages), found.text) == ((), 3, text)
    cells = [row for page in found.pages for row in page.tables[0].rows]
    assert cells == [(f"{number}", f"a\n{number}", "ü") for number in range(120_000)]


@pytest.mark.slow_after_first
@pytest.mark.parametrize("between", ["\n", "\r\n", " ", ""])
def test_a_long_text_has_pages_that_end_with_a_line_or_a_word(between):
    words = ["größe"] * 500_000
    text = between.join(words)
    found = extract(text.encode(), name="a.txt")
    pages = [page.text for page in found.pages]
    assert len(pages) == len(text.replace("\r", "")) // 2**20 + 1
    pause = " " if between == " " else "\n" * bool(between)
    assert pause.join(pages) == text.replace("\r", "")
    assert between == "" or set("".join(pages).split(pause)) <= {"größe", "größegröße"}


@pytest.mark.slow
def test_a_long_file_of_lines_of_json_has_several_pages():
    found = extract(b'{"a": 1}\n' * 150_000, name="a.jsonl")
    lines = [f"[{number}].a: 1" for number in range(1, 150_001)]
    assert (len(found.pages), found.text.split("\n")) == (2, lines)
