"""XML: elements at a path are records; names are without their namespaces."""

import re
from collections.abc import Iterator, Sequence
from xml.etree.ElementTree import Element, ParseError, TreeBuilder, XMLParser

from orchestration_project.engine.contracts.balance import RecordCount
from orchestration_project.engine.own.formats.shared import Record, build_read_error
from orchestration_project.engine.own.reading import Reading

MAX_DEPTH = 200
"""Elements around another one."""


class _Builder(TreeBuilder):
    """Builds a tree, and refuses document types: they declare entities."""

    depth = 0

    def doctype(self, *_: object) -> None:
        raise build_read_error("XML without a document type", "<!DOCTYPE")

    def start(self, tag: str, attributes: dict[str, str]) -> Element:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise build_read_error(f"at most {MAX_DEPTH} elements around another one", "more")
        return super().start(tag, attributes)

    def end(self, tag: str) -> Element:
        self.depth -= 1
        return super().end(tag)


def parse_xml(body: bytes) -> Element:
    """Return the root of an XML document.

    Raises:
        SourceError: It is not well-formed, or has a document type.
    """
    parser = XMLParser(target=_Builder())  # noqa: S314 - a document type is refused
    try:
        parser.feed(body)
        return parser.close()
    except (ParseError, LookupError, ValueError) as error:
        raise build_read_error("well-formed XML", str(error)) from error


def drop_namespace(name: str) -> str:
    """Return a name without its namespace."""
    return name.rpartition("}")[2]


def read(body: bytes, reading: Reading, names: Sequence[str]) -> Iterator[Record]:
    """Yield the records at the path.

    A field is a child's text, ``@name`` an attribute, ``a/b`` a path and ``../`` the element
    around.

    Raises:
        SourceError: There is nothing at the path.
    """
    first, *path = reading.records.split("/")
    root = parse_xml(body)
    entries: list[Sequence[Element]] = [(root,)]
    if drop_namespace(root.tag) != first:
        raise build_read_error(
            f"records at {reading.records}", f"the root {drop_namespace(root.tag)}"
        )
    for name in path:
        entries = _follow_step(entries, name, reading.records)
    return (_record(number, chain, names) for number, chain in enumerate(entries, 1))


def _follow_step(
    found: Sequence[Sequence[Element]], name: str, path: str
) -> list[Sequence[Element]]:
    """Return the children of a name, each with the elements around it.

    Raises:
        SourceError: There are children, but none of the name.
    """
    children = [(*chain, child) for chain in found for child in chain[-1]]
    fitting = [chain for chain in children if drop_namespace(chain[-1].tag) == name]
    if children and not fitting:
        other_text = ", ".join(sorted({drop_namespace(chain[-1].tag) for chain in children})[:10])
        raise build_read_error(f"records at {path}", f"no {name} in {other_text}")
    return list[Sequence[Element]](fitting)


def _record(number: int, chain: Sequence[Element], names: Sequence[str]) -> Record:
    texts: dict[str, str] = {}
    for name in names:
        values = _read_values(chain, name)
        if len(values) > 1:
            return Record(number, None, ("repeated_element", f"{name} occurs {len(values)} times"))
        if None in values:
            return Record(number, None, ("not_a_text", f"{name} has elements within"))
        texts[name] = values[0] or "" if values else ""
    return Record(number, texts)


def _read_values(chain: Sequence[Element], path: str) -> Sequence[str | None]:
    """Return the texts at a path from the last element; None: it has elements, not a text."""
    entries = [chain]
    for name in path.split("/"):
        if name == "..":
            entries = [entry[:-1] for entry in entries if len(entry) > 1]
        elif name.startswith("@"):
            return [
                value.strip()
                for entry in entries
                for attribute, value in entry[-1].attrib.items()
                if drop_namespace(attribute) == name[1:]
            ]
        else:
            entries = [
                (*entry, child)
                for entry in entries
                for child in entry[-1]
                if drop_namespace(child.tag) == name
            ]
    return [None if len(entry[-1]) else (entry[-1].text or "").strip() for entry in entries]


# -- counts, apart from what makes records --------------------------------------------------------


TAG = re.compile(
    rb"<!--.*?-->|<!\[CDATA\[.*?\]\]>|<\?.*?\?>"
    rb"""|<(?P<ends>/?)(?:[^\s/>:]+:)?(?P<name>[^\s/>]+)(?:[^>"']|"[^"]*"|'[^']*')*?(?P<empty>/?)>""",
    re.DOTALL,
)
UTF_16 = (b"\xff\xfe", b"\xfe\xff")


def count(body: bytes, reading: Reading) -> RecordCount:
    """Count the tags that begin an element at the path."""
    text = body.decode("utf-16", "replace").encode() if body.startswith(UTF_16) else body
    path = [name.encode() for name in reading.records.split("/")]
    around: list[bytes] = []
    records = end = 0
    for tag in TAG.finditer(text):
        if tag["name"] is not None and not tag["ends"]:
            around.append(tag["name"])
            records += around == path
        if around and (tag["ends"] or tag["empty"]):
            around.pop()
        end = end if around else tag.end()
    remaining_chunk = text[end:]
    return records, len(body) - (len(remaining_chunk) if remaining_chunk.strip() else 0)
