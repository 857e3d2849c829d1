"""EPUB: chapters in the order of the spine."""

import re

from orchestration_project.domains.documents.extracted import Draft, parse_time
from orchestration_project.domains.documents.formats.archives import Archive, opened, relative
from orchestration_project.domains.documents.formats.html import html_text
from orchestration_project.domains.documents.formats.office import required
from orchestration_project.domains.documents.reasons import DocumentError
from orchestration_project.domains.documents.text import decode
from orchestration_project.domains.documents.xml import Element, first_text, parse_xml

CONTAINER = "META-INF/container.xml"
ENCRYPTION = "META-INF/encryption.xml"
OBFUSCATED_FONT = ("http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC")
CHAPTERS = ("application/xhtml+xml", "text/html")
ESCAPE = re.compile("((?:%[0-9A-Fa-f]{2})+)")


def read(content: bytes, draft: Draft) -> None:
    """Add a page for each chapter of the spine, and the properties of the package.

    Raises:
        DocumentError: ``encrypted``, ``corrupt``, ``truncated``, ``xml_entities``, or a limit.
    """
    with opened(content, draft.limits) as archive:
        _refuse_encrypted(archive)
        path = next(
            (e.get("full-path", "") for e in _find_named(archive, CONTAINER, "rootfile")), ""
        )
        package = required(archive, path)
        draft.title = first_text(package, "title")
        draft.author = first_text(package, "creator")
        draft.created_at = parse_time(first_text(package, "date"))
        spine = _read_spine(package)
        chapters = [relative(path, _decode_href(href)) for href, kind in spine if kind in CHAPTERS]
        draft.went_to["other_types"] = len(spine) - len(chapters)
        draft.check_pages(len(chapters))
        for chapter in chapters:
            _add_chapter(archive, chapter, draft)
        if not chapters:
            raise DocumentError("corrupt", "the spine names no chapter")


def _find_named(archive: Archive, part: str, name: str) -> list[Element]:
    return list(required(archive, part).iter("{*}" + name))


def _refuse_encrypted(archive: Archive) -> None:
    """Refuse a book whose files are encrypted; fonts may be obfuscated."""
    content = archive.part(ENCRYPTION)
    if content is None:
        return
    elements = parse_xml(content).iter("{*}EncryptionMethod")
    methods = [method.get("Algorithm", "") for method in elements]
    if any(method not in OBFUSCATED_FONT for method in methods):
        raise DocumentError("encrypted", "its chapters are encrypted")


def _read_spine(package: Element) -> list[tuple[str, str]]:
    """Return name and type of the files of the spine, in its order; unknown ones have neither."""
    items = {
        element.get("id", ""): (element.get("href", ""), element.get("media-type", ""))
        for element in package.iter("{*}item")
    }
    references = (element.get("idref", "") for element in package.iter("{*}itemref"))
    return [items.get(reference, ("", "")) for reference in references]


def _decode_href(href: str) -> str:
    """Return a reference without its fragment and with its percent-encoded characters."""

    def character(found: re.Match[str]) -> str:
        return bytes.fromhex(found[1].replace("%", "")).decode("utf-8", "replace")

    return ESCAPE.sub(character, href.partition("#")[0])


def _add_chapter(archive: Archive, chapter: str, draft: Draft) -> None:
    content = None
    member = archive.names.get(chapter)
    if member is not None:
        content = archive.read(member)
    if content is None:
        draft.note("pages_unreadable", chapter)
        draft.add_page("")
        return
    decoded = decode(content)
    for code, detail in decoded.notes:
        draft.note(code, detail)
    page = html_text(decoded.text)
    draft.add_page(page.text, page.tables, headings=page.headings)
