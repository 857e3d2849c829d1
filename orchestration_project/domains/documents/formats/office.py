"""Parts that all formats of OOXML have: relationships, properties, macros."""

from collections.abc import Mapping
from typing import NamedTuple

from orchestration_project.domains.documents.extracted import Draft, parse_time
from orchestration_project.domains.documents.formats.archives import Archive, relative
from orchestration_project.domains.documents.reasons import DocumentError
from orchestration_project.domains.documents.xml import (
    Element,
    children_named,
    first_text,
    parse_xml,
)


class Link(NamedTuple):
    """A relationship: the end of its type's name, and the part that it names."""

    kind: str
    part: str


def links_of(archive: Archive, part: str) -> Mapping[str, Link]:
    """Return the relationships of a part within the archive, by id; ``""`` is the package.

    Raises:
        DocumentError: They cannot be read.
    """
    folder, _, file = part.rpartition("/")
    content = archive.part(f"{folder}/_rels/{file}.rels".lstrip("/"))
    if content is None:
        return {}
    return {
        item.get("Id", ""): Link(
            item.get("Type", "").rpartition("/")[2], relative(part, item.get("Target", ""))
        )
        for item in children_named(parse_xml(content), "Relationship")
        if item.get("TargetMode") != "External"
    }


def main_part(archive: Archive) -> str:
    """Return the name of the part that is the document.

    Raises:
        DocumentError: ``corrupt``, if there is none.
    """
    for link in links_of(archive, "").values():
        if link.kind == "officeDocument" and link.part in archive.names:
            return link.part
    raise DocumentError("corrupt", "no main part")


def required(archive: Archive, part: str) -> Element:
    """Return the root of a part.

    Raises:
        DocumentError: ``corrupt``, if it is not there or not XML.
    """
    content = archive.part(part)
    if content is None:
        raise DocumentError("corrupt", f"no part {part[:100]}")
    return parse_xml(content)


def read_properties(archive: Archive, draft: Draft) -> None:
    """Set title, author and time of creation; note macros."""

    def use(content: bytes) -> None:
        root = parse_xml(content)
        draft.title = first_text(root, "title")
        draft.author = first_text(root, "creator")
        draft.created_at = parse_time(first_text(root, "created"))

    archive.optional("docProps/core.xml", draft, use)
    if any(name.lower().endswith("vbaproject.bin") for name in archive.names):
        draft.note("macros_ignored")
