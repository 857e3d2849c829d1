"""Charts, diagrams and embedded objects of OOXML: parts that a slide, body or sheet refers to."""

import re
from collections.abc import Iterator, Sequence

from orchestration_project.domains.documents.extracted import Draft, Table
from orchestration_project.domains.documents.formats.archives import Archive
from orchestration_project.domains.documents.formats.office import links_of
from orchestration_project.domains.documents.reasons import DocumentError
from orchestration_project.domains.documents.xml import (
    Element,
    attribute,
    children_named,
    local_name,
    parse_xml,
)

FRAMES = {"chart", "relIds", "oleObj", "OLEObject", "altChunk"}
"""Elements that name a part by its relationship, whose content is shown in their place."""

MEDIA = {"video", "audio"}
EMBEDDED_DOCUMENT = re.compile(
    r"\.(docx|docm|xlsx|xlsm|xlsb|pptx|pptm|pdf|html?|xhtml|rtf|txt|eml|mht)$", re.I
)
"""Names of embedded files that are documents of their own."""

MAX_POINTS = 100_000
"""Values of a series that are read."""


class Frames:
    """Reads the contents of the elements `FRAMES` of a part.

    Args:
        archive: The package.
        part: The part whose relationships they name.
        draft: Gets embedded files, and notes about what cannot be read.
    """

    def __init__(self, archive: Archive, part: str, draft: Draft) -> None:
        self._archive, self._draft = archive, draft
        try:
            self._links = links_of(archive, part)
        except DocumentError as error:
            if error.reason_code not in ("corrupt", "truncated"):
                raise
            self._links = {}
            draft.note("parts_unreadable", f"relationships of {part}")
        self.tables: list[Table] = []
        for link in self._links.values():
            if link.kind in MEDIA:
                draft.note("content_left_out", link.kind)

    def lines(self, frame: Element) -> Iterator[str]:
        """Yield the lines of a frame; embedded documents become children of the draft."""
        name = local_name(frame)
        related = [str(value) for key, value in frame.attrib.items() if _is_relation(str(key))]
        links = [self._links[text] for text in related if text in self._links]
        if name == "relIds":
            links = [link for link in links if link.kind == "diagramData"]
        for link in links:
            if name in ("chart", "relIds"):
                yield from self._read(link.part)
            else:
                self._embed(link.part)
        if not links and name != "relIds":  # linked from outside, or damaged
            self._draft.note("content_left_out", f"{name} without its part")

    def _read(self, part: str) -> Iterator[str]:
        lines = list[str]()

        def use(content: bytes) -> None:
            root = parse_xml(content)
            if local_name(root) == "dataModel":
                lines.extend(f"[diagram] {text}" for text in paragraphs(root))
                return
            name, table = _chart(root)
            lines.append(f"[chart] {name}".rstrip())
            lines.extend("\t".join(row).rstrip("\t") for row in table)
            if table:
                self.tables.append(Table(tuple(map(tuple, table)), name))
            else:
                self._draft.note("content_left_out", f"a chart without stored values: {name}")

        if part not in self._archive.names:
            self._draft.note("parts_unreadable", part)
        self._archive.optional(part, self._draft, use)
        yield from lines

    def _embed(self, part: str) -> None:
        if EMBEDDED_DOCUMENT.search(part):
            self._archive.optional(
                part,
                self._draft,
                lambda content: self._draft.add_child(part.rpartition("/")[2], content),
            )
        else:
            self._draft.note("content_left_out", f"an embedded object {part.rpartition('/')[2]}")


def _is_relation(key: str) -> bool:
    return "relationships" in key.partition("}")[0]


def paragraphs(element: Element) -> Iterator[str]:
    """Yield the paragraphs of DrawingML that have text."""
    for paragraph in element.iter("{*}p"):
        pieces = [
            "\n" if local_name(each) == "br" else each.text or ""
            for each in paragraph.iter("{*}t", "{*}br")
        ]
        if text := "".join(pieces).strip():
            yield text


def _chart(root: Element) -> tuple[str, list[list[str]]]:
    """Return the titles of a chart, and its table: a row for each category, a column a series."""
    titles = [title for element in root.iter("{*}title") if (title := _read_title(element))]
    series = list(root.iter("{*}ser"))
    if series:
        return "; ".join(titles), _build_table(series)
    points = [  # of the charts of 2016, such as waterfalls
        [(element.text or "").strip() for element in level.iter("{*}pt")]
        for level in root.iter("{*}lvl")
    ]
    width = max(map(len, points), default=0)
    rows = [[level[row] if row < len(level) else "" for level in points] for row in range(width)]
    return "; ".join(titles), rows


def _read_title(element: Element) -> str:
    texts = list(paragraphs(element)) or [each.text or "" for each in element.iter("{*}v")]
    return " ".join(" ".join(texts).split())


def _build_table(series: Sequence[Element]) -> list[list[str]]:
    names = [
        "".join(v.text or "" for tx in children_named(item, "tx") for v in tx.iter("{*}v"))
        for item in series
    ]
    categories, columns = dict[int, str](), list[dict[int, str]]()
    for item in series:
        for name in ("cat", "xVal"):
            categories |= _read_points(item, name)
        columns.append(_read_points(item, "val") | _read_points(item, "yVal"))
    places = sorted({*categories, *(key for column in columns for key in column)})
    rows = [
        [categories.get(key, ""), *(column.get(key, "") for column in columns)] for key in places
    ]
    return [["", *names], *rows] if rows else []


def _read_points(series: Element, name: str) -> dict[int, str]:
    """Return the stored values of a part of a series by their place; several levels are joined."""
    points = dict[int, str]()
    for part in children_named(series, name):
        for point in part.iter("{*}pt"):
            idx = point.get("idx", "")
            if idx.isdecimal() and len(points) < MAX_POINTS:
                text = " ".join("".join(v.text or "" for v in point.iter("{*}v")).split())
                earlier = points.get(int(idx))
                points[int(idx)] = f"{text} {earlier}" if earlier else text
    return points


def comment_lines(root: Element) -> Iterator[str]:
    """Yield the comments of a slide or sheet, after the cell that they belong to, if to one."""
    for comment in root.iter("{*}cm", "{*}comment", "{*}threadedComment"):
        texts = list(paragraphs(comment)) or [
            "".join(element.itertext()) for element in comment.iter("{*}text")
        ]
        if text := " ".join(" ".join(texts).split()):
            yield f"[{' '.join(['comment', *filter(None, [attribute(comment, 'ref')])])}] {text}"


def drawing_lines(root: Element, frames: Frames) -> Iterator[str]:
    """Yield the texts of shapes and the charts of a sheet's drawing."""
    for child in root:
        name = local_name(child)
        if name == "sp":
            yield from (f"[text box] {text}" for text in paragraphs(child))
        elif name in FRAMES:
            yield from frames.lines(child)
        elif name != "Fallback":
            yield from drawing_lines(child, frames)
