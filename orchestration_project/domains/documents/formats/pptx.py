"""PPTX: slides in their order, with groups, tables, charts, diagrams, comments and notes."""

from collections.abc import Iterator

from orchestration_project.domains.documents.extracted import Draft, Table
from orchestration_project.domains.documents.formats.archives import Archive, opened
from orchestration_project.domains.documents.formats.drawings import (
    FRAMES,
    Frames,
    comment_lines,
    paragraphs,
)
from orchestration_project.domains.documents.formats.office import (
    Link,
    links_of,
    main_part,
    read_properties,
    required,
)
from orchestration_project.domains.documents.reasons import DocumentError
from orchestration_project.domains.documents.xml import (
    Element,
    attribute,
    children_named,
    local_name,
    parse_xml,
)

TITLES = {"title", "ctrTitle"}
FIELDS_LEFT_OUT = {"sldNum", "hdr", "ftr", "dt"}
"""Placeholders of notes that repeat what the program fills in."""


def read(content: bytes, draft: Draft) -> None:
    """Add a page for each slide; its notes follow its text after a line ``Notes:``.

    Raises:
        DocumentError: ``corrupt``, ``truncated``, ``xml_entities``, or a limit.
    """
    with opened(content, draft.limits) as archive:
        main = main_part(archive)
        links = links_of(archive, main)
        root = required(archive, main)
        if local_name(root) != "presentation":
            raise DocumentError("corrupt", "no presentation")
        named = [_read_relation(element) for element in root.iter("{*}sldId")]
        slides = [links[relation].part for relation in named if relation in links]
        draft.check_pages(len(slides))
        for number, part in enumerate(slides, start=1):
            try:
                _Slide(archive, part, draft).add()
            except DocumentError as error:
                if error.reason_code not in ("corrupt", "truncated"):
                    raise
                draft.note("pages_unreadable", str(number))
                draft.add_page("")
        if named and len(draft.notes.get("pages_unreadable", ())) == len(slides):
            raise DocumentError("corrupt", "no slide can be read")
        if missing := len(named) - len(slides):
            draft.note("pages_unreadable", f"{missing} slides that the archive lacks")
            draft.went_to["pages_unreadable"] = missing
        read_properties(archive, draft)


def _read_relation(element: Element) -> str:
    """Return the id of the relationship that an element names: the attribute with a namespace."""
    named = (str(value) for key, value in element.attrib.items() if str(key).endswith("}id"))
    return next(named, "")


class _Slide:
    """A slide whose shapes are read."""

    def __init__(self, archive: Archive, part: str, draft: Draft) -> None:
        self._archive, self._part, self._draft = archive, part, draft
        self._frames = Frames(archive, part, draft)
        self._tables = self._frames.tables
        self._headings: list[tuple[int, str]] = []

    def add(self) -> None:
        """Add the page."""
        lines = list(self._lines(required(self._archive, self._part)))
        for link in links_of(self._archive, self._part).values():
            if link.kind == "notesSlide":
                lines.extend(self._notes(link))
            elif link.kind == "comments":
                self._archive.optional(
                    link.part,
                    self._draft,
                    lambda content: lines.extend(comment_lines(parse_xml(content))),
                )
        self._draft.add_page("\n".join(lines), self._tables, headings=self._headings)

    def _notes(self, link: Link) -> list[str]:
        lines = list[str]()

        def use(content: bytes) -> None:
            for shape in parse_xml(content).iter("{*}sp"):
                if _read_placeholder(shape) not in FIELDS_LEFT_OUT:
                    lines.extend(paragraphs(shape))

        self._archive.optional(link.part, self._draft, use)
        return ["Notes:", *lines] if lines else []

    def _lines(self, element: Element) -> Iterator[str]:
        """Yield the lines of shapes in their order; groups are entered."""
        for child in element:
            name = local_name(child)
            if name == "sp":
                yield from self._shape(child)
            elif name == "tbl":
                yield from self._table(child)
            elif name in FRAMES:
                yield from self._frames.lines(child)
            elif name != "Fallback":
                yield from self._lines(child)

    def _shape(self, shape: Element) -> Iterator[str]:
        lines = list(paragraphs(shape))
        if _read_placeholder(shape) in TITLES and lines:
            lines = [" ".join(" ".join(lines).split())]
            self._headings.append((1, lines[0]))
        yield from lines

    def _table(self, table: Element) -> Iterator[str]:
        rows = tuple(
            tuple("\n".join(paragraphs(cell)) for cell in children_named(row, "tc"))
            for row in children_named(table, "tr")
        )
        self._tables.append(Table(rows))
        for row in rows:
            yield "\t".join(" ".join(cell.split()) for cell in row)


def _read_placeholder(shape: Element) -> str:
    for placeholder in shape.iter("{*}ph"):
        return attribute(placeholder, "type") or "body"
    return ""
