"""XML from outside, parsed without entities, DTD, network or unbounded trees."""

import re
from collections.abc import Iterator
from typing import Any, TypeAlias
from xml.parsers.expat import ExpatError, ParserCreate, errors

from lxml import etree  # pyright: ignore[reportAttributeAccessIssue] - compiled, without types

from orchestration_project.domains.documents.reasons import DocumentError

Element: TypeAlias = Any
"""An element of lxml, whose types are not declared."""

ENTITY = re.compile(rb"<!ENTITY|<\x00!\x00E\x00N\x00T\x00I\x00T\x00Y|\x00<\x00!\x00E\x00N\x00T")
"""A declaration of an entity, in the encodings that XML may have."""

ENDS = (errors.XML_ERROR_NO_ELEMENTS, errors.XML_ERROR_UNCLOSED_TOKEN)
"""Texts of errors at the end of a document."""

DECLARATION_BYTES = 1_000_000
"""A DTD within a document is at its start."""


def parse_xml(content: bytes) -> Element:
    """Return the root of an XML document.

    Raises:
        DocumentError: ``xml_entities``; ``truncated`` or ``corrupt`` with the place;
            ``nested_too_deep``.
    """
    if ENTITY.search(content[:DECLARATION_BYTES]):
        raise DocumentError("xml_entities")
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        return etree.fromstring(content, parser)
    except etree.XMLSyntaxError as error:
        raise DocumentError(_classify_error(error), (error.msg or "not XML")[:200]) from error


def check_xml(content: bytes) -> None:
    """Check that XML is well-formed and declares no entities, without a tree in memory.

    Raises:
        DocumentError: ``xml_entities``; ``truncated`` or ``corrupt`` with the place.
    """
    if ENTITY.search(content[:DECLARATION_BYTES]):
        raise DocumentError("xml_entities")
    parser = ParserCreate()
    try:
        parser.Parse(content, True)
    except ExpatError as error:
        is_end = error.code in (errors.codes[end] for end in ENDS)
        raise DocumentError("truncated" if is_end else "corrupt", str(error)) from error
    except (LookupError, ValueError) as error:  # an encoding that Python does not have
        raise DocumentError("corrupt", str(error)) from error


def _classify_error(error: etree.XMLSyntaxError) -> str:
    message = (error.msg or "").lower()
    if "depth" in message:
        return "nested_too_deep"
    if "amplification" in message or "entity reference loop" in message:
        return "xml_entities"
    is_end = "premature end" in message or "document is empty" in message
    return "truncated" if is_end or "end of data" in message else "corrupt"


def local_name(element: Element) -> str:
    """Return the name of an element without its namespace; empty for an entity reference."""
    tag = element.tag
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""


def attribute(element: Element, name: str) -> str | None:
    """Return an attribute by its name, with any namespace or none."""
    for key, value in element.attrib.items():
        if str(key).rpartition("}")[2] == name:
            return str(value)
    return None


def children_named(element: Element, name: str) -> Iterator[Element]:
    """Yield the children of that name."""
    return (child for child in element if local_name(child) == name)


def first_text(root: Element, name: str) -> str | None:
    """Return the text of the first element of that name, at any depth; None without one."""
    for element in root.iter("{*}" + name):
        text = "".join(element.itertext()).strip()
        if text:
            return text
    return None
