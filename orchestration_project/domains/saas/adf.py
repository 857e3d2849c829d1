"""Documents of Jira (ADF) of HTML, pruned to what Jira takes."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

Node = dict[str, Any]

LIST_TYPES = ("bulletList", "orderedList")


def pruned(nodes: list[Node]) -> Iterator[Node]:
    """Yield nodes that say something; an empty cell stays, so that its row keeps its columns."""
    for node in nodes:
        if node["type"] in ("text", "rule"):
            yield node
        elif node["type"] in ("paragraph", "heading", "codeBlock"):
            content = _trim_texts(node["content"])
            if content:
                yield {**node, "content": content}
        elif node["type"] == "table":
            yield from _prune_table(node)
        elif content := list(pruned(node["content"])):
            yield {**node, "content": _lead_with_text(node["type"], content)}


def _prune_table(table: Node) -> Iterator[Node]:
    rows: list[Node] = []
    says_something = False
    for row in table["content"]:
        cells = [(cell, list(pruned(cell["content"]))) for cell in row["content"]]
        says_something |= any(content for _, content in cells)
        entries = [{**cell, "content": content or [_build_blank()]} for cell, content in cells]
        rows += [{**row, "content": entries}] if entries else []
    if says_something:
        yield {**table, "content": rows}


def _build_blank() -> Node:
    return {"type": "paragraph", "content": []}


def _lead_with_text(kind: str, content: list[Node]) -> list[Node]:
    """Return the content of an item, which may not begin with a list."""
    if kind == "listItem" and content[0]["type"] in LIST_TYPES:
        return [_build_blank(), *content]
    return content


def _trim_texts(texts: list[Node]) -> list[Node]:
    """Return a block's texts without line breaks and spaces at its end."""
    texts = list(texts)
    while texts:
        last = texts[-1]
        if last["type"] == "text" and (text := last["text"].rstrip(" \t\n")):
            return [*texts[:-1], {**last, "text": text}]
        texts.pop()
    return texts


MAX_CHARACTERS = 30_000
"""Maximum characters of text: Jira accepts 32,767 in a description, with its marks."""

MAX_NESTED_LISTS = 6
"""Lists within each other; what lies deeper becomes items of the last one."""

CELL_CHARACTERS = 2
"""Characters of a cell beside its text: those of Jira's marks around it."""

CUT = " … (cut: the description is longer than the target takes)"

MARKS = {
    "b": "strong",
    "strong": "strong",
    "i": "em",
    "em": "em",
    "u": "underline",
    "ins": "underline",
    "s": "strike",
    "del": "strike",
    "strike": "strike",
    "code": "code",
}
LISTS = {"ul": "bulletList", "ol": "orderedList"}
HEADINGS = {f"h{level}": level for level in range(1, 7)}
BLOCKS = {"p", "div", "section", "article", "header", "footer", "dl", "dt", "dd"}
TABLE_PARTS = {"table", "tr", "td", "th"}
UNSEEN = {"script", "style", "head", "title", "template"}
SAFE_LINK = re.compile(r"(https?://|mailto:)\S+", re.IGNORECASE)
UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
LOOKS_LIKE_HTML = re.compile(r"<[a-z!/]", re.IGNORECASE)
NO_LETTER = re.compile("&#[0-9]{8,};?")
"""A number that is too large for a letter; Python refuses to read one of thousands of digits."""

MAX_NESTED_MARKS = 100
"""Tags within each other that mark text; those within do not: each text looks at all of them."""


def adf_of(html: str | None) -> Node | None:
    """Return the document that HTML, or text without tags, says; None: it says nothing."""
    if html is None:
        return None
    reader = _Reader()
    if LOOKS_LIKE_HTML.search(html):
        reader.feed(_escape_unclosed(html))
        reader.close()
    else:
        reader.read_plain(html)
    content = list(pruned(reader.blocks))
    return {"type": "doc", "version": 1, "content": content} if content else None


def _escape_unclosed(html: str) -> str:
    """Return HTML that the parser reads in one way through it.

    A `<` that no `>` follows opens nothing, and the parser looks for its end again and again.
    """
    end = html.rfind(">") + 1
    return NO_LETTER.sub("\ufffd", html[:end] + html[end:].replace("<", "&lt;"))


def outline(document: Any) -> list[tuple[Any, ...]]:
    """Return the texts of a document, without ids and defaults that a target adds to it.

    Each text comes with its marks, and with the blocks that it lies in; texts that follow each
    other in the same way are one.
    """
    entries: list[tuple[Any, ...]] = []
    waiting: list[tuple[Any, tuple[Any, ...]]] = [(document, ())]
    number = 0
    while waiting:
        node, within = waiting.pop()
        if not isinstance(node, Mapping):
            continue
        kind = node.get("type")
        if kind == "text":
            marks = node.get("marks") or []
            text = (within, tuple(sorted(map(_mark_text, marks))), str(node.get("text", "")))
            if entries and entries[-1][:2] == text[:2]:
                text = (*text[:2], entries.pop()[2] + text[2])
            entries.append(text)
            continue
        if kind in ("hardBreak", "rule"):
            entries.append((within, (), f"\n{kind}\n"))
        number += 1
        level = (node.get("attrs") or {}).get("level")
        place = within if kind == "doc" else (*within, (kind, level, number))
        content = node.get("content") or []
        waiting.extend((item, place) for item in reversed(content))
    return entries


def _mark_text(mark: Any) -> str:
    if not isinstance(mark, Mapping):
        return ""
    return f"{mark.get('type')} {(mark.get('attrs') or {}).get('href', '')}".strip()


@dataclass
class _Place:
    """A node that is open, and the tag that closes it."""

    tag: str
    content: list[Node]


@dataclass
class _Inline:
    """A tag within text that is open, and what it makes of the text."""

    tag: str
    mark: Node = field(default_factory=dict)


class _Reader(HTMLParser):
    """Collects blocks; never fails, and closes what the HTML leaves open."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.blocks: list[Node] = []
        self._places = [_Place("", self.blocks)]
        self._inlines: list[_Inline] = []
        self._texts: list[Node] | None = None
        self._unseen = 0
        self._preformatted = 0
        self._inner_tables = 0
        self._left = MAX_CHARACTERS
        self._is_cut = False

    def read_plain(self, text: str) -> None:
        """Take text without tags: an empty line ends a paragraph, any other a line."""
        for paragraph in re.split(r"\n\s*\n", text.replace("\r\n", "\n")):
            self._end_block()
            for number, line in enumerate(paragraph.strip("\n").split("\n")):
                if number:
                    self._break()
                self._add(line)
        self._end_block()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Open the element of a start tag."""
        if self._is_cut:
            return
        if tag in UNSEEN:
            self._unseen += 1
        elif tag in MARKS or tag == "a":
            mark = {"type": MARKS[tag]} if tag in MARKS else _link(dict(attrs).get("href"))
            if len(self._inlines) < MAX_NESTED_MARKS:
                self._inlines.append(_Inline(tag, mark))
        elif tag == "br":
            self._break()
        elif tag == "img":
            names = dict(attrs)
            self._add(names.get("alt") or names.get("name") or "")
        elif tag in TABLE_PARTS:
            self._open_table_part(tag)
        else:
            self._open_block(tag)

    def handle_endtag(self, tag: str) -> None:
        """Close the element of an end tag, if it is open."""
        if tag in UNSEEN:
            self._unseen = max(0, self._unseen - 1)
        elif tag in MARKS or tag == "a":
            open_tags = [inline.tag for inline in self._inlines]
            if tag in open_tags:
                del self._inlines[len(open_tags) - 1 - open_tags[::-1].index(tag)]
        elif tag == "pre":
            self._preformatted = max(0, self._preformatted - 1)
            self._end_block()
        elif tag in TABLE_PARTS:
            self._close_table_part(tag)
        elif tag in LISTS or tag in ("li", "blockquote"):
            self._close(tag)
        elif tag in BLOCKS or tag in HEADINGS:
            self._end_block()

    def handle_data(self, data: str) -> None:
        """Take text."""
        if not self._unseen:
            self._add(data if self._preformatted else re.sub(r"[^\S\u00a0]+", " ", data))

    def parse_marked_section(self, i: int, report: int = 1) -> int:
        """Leave out `<![…>`, as browsers do; the parser fails where it does not know the word."""
        return self.parse_bogus_comment(i)

    def close(self) -> None:
        """Parse the rest of the text, and end the last block."""
        super().close()
        self._end_block()

    def _open_block(self, tag: str) -> None:
        if tag in HEADINGS and len(self._places) == 1:
            self._begin({"type": "heading", "attrs": {"level": HEADINGS[tag]}})
        elif tag == "pre":
            self._preformatted += 1
            is_code = not self._is_within("blockquote", "th")
            self._begin({"type": "codeBlock" if is_code else "paragraph"})
        elif tag == "hr" and len(self._places) == 1:
            self._end_block()
            self.blocks.append({"type": "rule"})
        elif tag in LISTS:
            self._open_list(tag)
        elif tag == "li":
            self._open_item()
        elif tag == "blockquote" and len(self._places) == 1:
            self._open("blockquote", {"type": "blockquote", "content": []})
        elif tag in BLOCKS or tag in HEADINGS or tag in ("hr", "blockquote"):
            self._end_block()

    def _open_table_part(self, tag: str) -> None:
        """Open a part of a table; of one within a list, a quote or a cell only its text stays."""
        if tag == "table":
            self._open_table()
        elif self._inner_tables or not self._is_within("table"):
            if tag == "tr":
                self._end_block()
            elif self._texts:
                self._add(" | ")
        elif tag == "tr":
            self._leave_for("table")
            self._open("tr", {"type": "tableRow", "content": []})
        else:
            self._open_cell(tag)

    def _open_cell(self, tag: str) -> None:
        self._leave_for("tr", "table")
        if self._places[-1].tag == "table":
            self._open("tr", {"type": "tableRow", "content": []})
        self._open(tag, {"type": "tableHeader" if tag == "th" else "tableCell", "content": []})
        self._left = max(0, self._left - CELL_CHARACTERS)
        if not self._left:
            self._is_cut = True
            _append(self._begin({"type": "paragraph"}), CUT, [])

    def _open_table(self) -> None:
        self._end_block()
        if len(self._places) > 1:
            self._inner_tables += 1
        else:
            self._open("table", {"type": "table", "content": []})

    def _close_table_part(self, tag: str) -> None:
        if not self._inner_tables and self._is_within("table"):
            self._close(tag)
        elif tag in ("table", "tr"):
            self._end_block()
            self._inner_tables -= tag == "table" and self._inner_tables > 0

    def _leave_for(self, *tags: str) -> None:
        """Close the open elements within the innermost of ``tags``, one of which is open."""
        self._end_block()
        while self._places[-1].tag not in tags:
            self._places.pop()

    def _is_within(self, *tags: str) -> bool:
        return any(place.tag in tags for place in self._places)

    def _open_list(self, tag: str) -> None:
        self._end_block()
        if sum(place.tag in LISTS for place in self._places) < MAX_NESTED_LISTS:
            self._target()
            self._open(tag, {"type": LISTS[tag], "content": []})

    def _open_item(self) -> None:
        self._end_block()
        if not self._is_within(*LISTS):
            return
        self._leave_for(*LISTS)
        self._open("li", {"type": "listItem", "content": []})

    def _open(self, tag: str, node: Node) -> None:
        self._end_block()
        self._places[-1].content.append(node)
        self._places.append(_Place(tag, node["content"]))

    def _close(self, tag: str) -> None:
        self._end_block()
        if self._is_within(tag):
            while self._places.pop().tag != tag:
                pass
        if len(self._places) == 1:
            self._inner_tables = 0

    def _begin(self, block: Node) -> list[Node]:
        self._end_block()
        content = self._target()
        self._texts = texts = list[Node]()
        content.append({**block, "content": texts})
        return texts

    def _target(self) -> list[Node]:
        """Return where blocks go: what is straight in a list or a row has an item or a cell."""
        if self._places[-1].tag in LISTS:
            self._open_item()
        elif self._places[-1].tag in ("table", "tr"):
            self._open_cell("td")
        return self._places[-1].content

    def _end_block(self) -> None:
        self._texts = None

    def _break(self) -> None:
        if self._preformatted:
            self._add("\n")
        elif self._texts:
            self._texts.append({"type": "hardBreak"})

    def _add(self, text: str) -> None:
        text = UNPRINTABLE.sub("", text)
        if self._is_cut or not text or (self._texts is None and not text.strip()):
            return
        texts = self._begin({"type": "paragraph"}) if self._texts is None else self._texts
        if not texts or texts[-1]["type"] == "hardBreak":
            text = text if self._preformatted else text.lstrip(" \t\n")
        text, lost = text[: self._left], text[self._left :]
        self._left -= len(text)
        if lost.strip():
            self._is_cut = True
            text += CUT
        marks = [] if self._preformatted else self._marks()
        _append(texts, text, marks)

    def _marks(self) -> list[Node]:
        marks = {inline.mark["type"]: inline.mark for inline in self._inlines if inline.mark}
        if "code" in marks:  # ADF lets it go with links alone
            marks = {name: mark for name, mark in marks.items() if name in ("code", "link")}
        return [marks[name] for name in sorted(marks)]


def _append(texts: list[Node], text: str, marks: list[Node]) -> None:
    if not text:
        return
    last = texts[-1] if texts else {}
    if last.get("type") == "text" and last.get("marks", []) == marks:
        last["text"] += text
    else:
        texts.append({"type": "text", "text": text} | ({"marks": marks} if marks else {}))


def _link(href: str | None) -> Node:
    if href is None or not SAFE_LINK.fullmatch(href.strip()):
        return {}
    return {"type": "link", "attrs": {"href": UNPRINTABLE.sub("", href.strip())}}
