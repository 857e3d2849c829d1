"""HTML as documents that Jira takes, in whatever shape the HTML is."""

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration_project.domains.saas.adf import CUT, MAX_CHARACTERS, adf_of, outline
from tests.properties import bounded


def content(html: str) -> list[Any]:
    document = adf_of(html)
    return document["content"] if document else []


def text(value: str, *marks: Any) -> dict[str, Any]:
    return {"type": "text", "text": value} | ({"marks": list(marks)} if marks else {})


def paragraph(*texts: Any) -> dict[str, Any]:
    return {"type": "paragraph", "content": list(texts)}


def cell(value: str, kind: str = "tableCell") -> dict[str, Any]:
    return {"type": kind, "content": [paragraph(*([text(value)] if value else []))]}


def table(*rows: list[Any]) -> dict[str, Any]:
    return {"type": "table", "content": [{"type": "tableRow", "content": row} for row in rows]}


STRONG, EM = {"type": "strong"}, {"type": "em"}


def test_paragraphs_marks_and_links_stay_what_they_are():
    html = (
        '<p>Order <b>one <i>light</i></b> laptop</p><p>see <a href="https://x.org/a?b=1">it</a></p>'
    )
    assert content(html) == [
        paragraph(text("Order "), text("one ", STRONG), text("light", EM, STRONG), text(" laptop")),
        paragraph(
            text("see "),
            text("it", {"type": "link", "attrs": {"href": "https://x.org/a?b=1"}}),
        ),
    ]


def test_lists_headings_code_and_rules():
    items = "<ol><li>a<ul><li>b</li></ul></li><li><p>c</p></li></ol>"
    html = f"<h2>To do</h2>{items}<hr><pre>x  y\nz</pre>"
    assert content(html) == [
        {"type": "heading", "attrs": {"level": 2}, "content": [text("To do")]},
        {
            "type": "orderedList",
            "content": [
                {
                    "type": "listItem",
                    "content": [
                        paragraph(text("a")),
                        {
                            "type": "bulletList",
                            "content": [{"type": "listItem", "content": [paragraph(text("b"))]}],
                        },
                    ],
                },
                {"type": "listItem", "content": [paragraph(text("c"))]},
            ],
        },
        {"type": "rule"},
        {"type": "codeBlock", "content": [text("x  y\nz")]},
    ]


def test_a_table_is_a_table_with_its_empty_cells():
    html = (
        "<p>a</p><table><thead><tr><th>Item</th><th>Price</th></tr></thead>\n<tbody>"
        "<tr><td>Cup</td><td></td></tr> <tr></tr> <tr><td></td><td><b>7</b></td></tr>"
        "</tbody></table>b"
    )
    assert content(html) == [
        paragraph(text("a")),
        table(
            [cell("Item", "tableHeader"), cell("Price", "tableHeader")],
            [cell("Cup"), cell("")],
            [cell(""), {"type": "tableCell", "content": [paragraph(text("7", STRONG))]}],
        ),
        paragraph(text("b")),
    ]
    assert content("<table><tr><td> <td></table>") == []


def test_a_cell_holds_lists_and_code_and_a_row_what_stands_outside_of_cells():
    html = "<table><caption>c</caption><tr><ul><li>a</li></ul><td><pre>x\ny</pre><th><pre>z"
    item = {"type": "listItem", "content": [paragraph(text("a"))]}
    listed = {"type": "bulletList", "content": [item]}
    code = {"type": "codeBlock", "content": [text("x\ny")]}
    first, second = ({"type": "tableCell", "content": [block]} for block in (listed, code))
    assert content(html) == [table([cell("c")], [first, second, cell("z", "tableHeader")])]


def test_a_table_within_a_list_a_quote_or_a_table_is_its_text():
    inner = "<table><tr><td>x</td><td>y</td></tr><tr><td>z</td></tr></table>"
    lines = [paragraph(text("x | y")), paragraph(text("z"))]
    assert content(f"<blockquote>{inner}</blockquote>") == [
        {"type": "blockquote", "content": lines}
    ]
    assert content(f"<ul><li>{inner}</li></ul><table><tr><td>b") == [
        {"type": "bulletList", "content": [{"type": "listItem", "content": lines}]},
        table([cell("b")]),
    ]
    within = {"type": "tableCell", "content": lines}
    assert content(f"<table><tr><td>{inner}</td><td>b</td></tr></table>") == [
        table([within, cell("b")])
    ]


@pytest.mark.slow
def test_a_table_of_more_cells_than_the_target_takes_is_cut_and_says_so_once():
    (found,) = content("<table><tr><td>x</td>" + "<td></td>" * 100_000 + "</tr><tr><td>y</table>")
    cells = [each for row in found["content"] for each in row["content"]]
    assert len(cells) == MAX_CHARACTERS // 2
    assert [line[-1] for line in outline(found)] == ["x", CUT]


@pytest.mark.parametrize(
    "html", ['<img alt="pic">', '<p><img name="pic"></p>', "<img alt name=pic>"]
)
def test_an_image_without_other_text_is_its_description(html):
    assert content(html) == [paragraph(text("pic"))]


def test_what_follows_a_heading_without_a_tag_is_no_part_of_it():
    assert content("<h2>To do</h2>call <b>Ann</b>") == [
        {"type": "heading", "attrs": {"level": 2}, "content": [text("To do")]},
        paragraph(text("call "), text("Ann", STRONG)),
    ]


def test_an_item_that_begins_with_a_list_begins_with_an_empty_paragraph():
    html = "<ul><li><ol><li>a</li></ol></li></ul><blockquote><ul><li>b</li></ul></blockquote>"
    a, b = ({"type": "listItem", "content": [paragraph(text(letter))]} for letter in "ab")
    nested = {"type": "orderedList", "content": [a]}
    assert content(html) == [
        {
            "type": "bulletList",
            "content": [{"type": "listItem", "content": [paragraph(), nested]}],
        },
        {"type": "blockquote", "content": [{"type": "bulletList", "content": [b]}]},
    ]


def test_text_without_tags_keeps_its_lines():
    assert content("a < b\nc\n\n\nd & e") == [
        paragraph(text("a < b"), {"type": "hardBreak"}, text("c")),
        paragraph(text("d & e")),
    ]


def test_html_that_says_nothing_is_no_document():
    for html in (
        None,
        "",
        "  ",
        "<p> </p>",
        "<br><br>",
        "<script>x()</script>",
        "<ul><li></li></ul>",
    ):
        assert adf_of(html) is None


def test_broken_html_becomes_what_can_be_read_of_it():
    assert content("<p>a<b>b<i>c</p>d</b></div></ul>e <") == [
        paragraph(text("a"), text("b", STRONG), text("c", EM, STRONG)),
        paragraph(text("d", EM, STRONG)),
        paragraph(text("e <", EM)),
    ]
    assert content("<li>a<table><tr><td>b<td>c</table>") == [
        paragraph(text("a")),
        table([cell("b"), cell("c")]),
    ]


def test_what_could_run_or_lead_astray_is_left_out():
    html = '<style>p{}</style><a href="javascript:x()" onclick="y()">a</a><img src="z" alt="pic">'
    assert content(html) == [paragraph(text("apic"))]


def test_emoji_right_to_left_text_and_entities_stay_and_what_no_text_holds_goes():
    assert content("<p>🙂👩‍💻 שלום &amp; caf&eacute;\0\x07 \ud800</p>") == [
        paragraph(text("🙂👩‍💻 שלום & café"))
    ]


def test_a_huge_description_is_cut_and_says_so():
    (block,) = content("<p>" + "x" * 200_000 + "</p>")
    said = block["content"][0]["text"]
    assert said == "x" * MAX_CHARACTERS + CUT


@pytest.mark.parametrize("html", ["{}", "<p>{}</p>\n", "<p> {} </p><p> <br></p><hr>"])
def test_a_description_as_long_as_the_target_takes_is_whole(html):
    said = "".join(line[2] for line in outline(adf_of(html.format("x" * MAX_CHARACTERS))))
    assert said.removesuffix("\nrule\n") == "x" * MAX_CHARACTERS


@pytest.mark.parametrize("more", ["y", "<b>y</b>", "</p><p>y</p><ul><li>z", "<br> y"])
def test_whatever_comes_after_that_is_cut_and_says_so_once(more):
    said = [line[2] for line in outline(adf_of("<p>" + "x" * MAX_CHARACTERS + more))]
    assert "".join(said).replace("\nhardBreak\n", "") == "x" * MAX_CHARACTERS + CUT


def test_tags_within_each_other_without_end_cost_no_depth():
    for tag in ("div", "ul><li", "blockquote", "b", "pre", "ol", "table", "table><tr><td"):
        found = adf_of(f"<{tag}>" * 3_000 + "x")
        assert [line[2] for line in outline(found)] == ["x"]
        assert depth(found) < 30


def depth(node: Any) -> int:
    return 1 + max((depth(child) for child in (node or {}).get("content", [])), default=0)


ALLOWED = {
    "doc": {
        *("paragraph", "heading", "bulletList", "orderedList", "codeBlock", "blockquote", "rule"),
        "table",
    },
    "table": {"tableRow"},
    "tableRow": {"tableCell", "tableHeader"},
    "tableCell": {"paragraph", "bulletList", "orderedList", "codeBlock"},
    "tableHeader": {"paragraph", "bulletList", "orderedList"},
    "blockquote": {"paragraph", "bulletList", "orderedList"},
    "bulletList": {"listItem"},
    "orderedList": {"listItem"},
    "listItem": {"paragraph", "bulletList", "orderedList", "codeBlock"},
    "paragraph": {"text", "hardBreak"},
    "heading": {"text", "hardBreak"},
    "codeBlock": {"text"},
    "text": set(),
    "hardBreak": set(),
    "rule": set(),
}
"""Allowed children of ADF nodes."""

TAGS = [
    "p",
    "br",
    "b",
    "i",
    "u",
    "s",
    "code",
    "a",
    "ul",
    "ol",
    "li",
    "blockquote",
    "h1",
    "h4",
    "pre",
    "hr",
    "table",
    "tr",
    "td",
    "th",
    "div",
    "img",
    "script",
    "zzz",
]
PIECES = st.one_of(
    st.sampled_from([f"<{tag}>" for tag in TAGS] + [f"</{tag}>" for tag in TAGS]),
    st.sampled_from(
        ['<a href="https://x.org">', "<!-- x", "<p", "&", "&#0;", " ", "\n", "<![CDATA[", "<![x["]
    ),
    st.text(max_size=5),
)


@bounded
@given(st.lists(PIECES, max_size=25).map("".join))
def test_whatever_comes_is_a_document_of_adf(html: str):
    document = adf_of(html)
    if document is not None:
        check(document)
        assert outline(document) == outline(adf_of(html))


@pytest.mark.parametrize(
    ("html", "said"),
    [
        ("<p>see<![x[y]]> there</p>", "see there"),
        ("<p>a<![</p>", "a"),
        (f"<p>a&#{'9' * 5000};b</p>", "a\ufffdb"),
        ("<p>a</p><![endif", "a<![endif"),
    ],
)
def test_what_only_looks_like_markup_is_left_out_or_text(html, said):
    texts = [line[-1] for line in outline(adf_of(html))]
    assert "".join(texts) == said


@pytest.mark.slow_after_first
@pytest.mark.parametrize("html", ["<p>x" + "<a " * 22_000, "<b>x" * 16_000, "<i a='" * 11_000])
def test_unclosed_tags_take_no_time(html):
    started = time.process_time()
    adf_of(html)
    assert time.process_time() - started < 5  # it was more than ten


def check(node: dict[str, Any]) -> None:
    inner = node.get("content", [])
    assert {each["type"] for each in inner} <= ALLOWED[node["type"]]
    if node["type"] == "text":
        assert node["text"]
    elif node["type"] not in ("rule", "hardBreak", "paragraph"):
        assert inner
    if node["type"] == "listItem":
        assert inner[0]["type"] in ("paragraph", "codeBlock")
    for child in inner:
        check(child)
