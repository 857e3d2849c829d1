"""Digests of the formats of documents, and of a text extracted in each, by `EXTRACTION_RULES`.

`python -m tests.domains.extraction_rules --write` writes them after the number was raised.
"""

import re
import sys
from collections.abc import Mapping
from dataclasses import fields
from hashlib import sha256
from pathlib import Path

from orchestration_demo.documents.corpus import FORMATS as DEMO_FORMATS

from orchestration_project.domains.documents import formats
from orchestration_project.domains.documents.chunks import ChunkRule, chunks
from orchestration_project.domains.documents.extraction import extract
from orchestration_project.domains.documents.formats import FORMATS, DocumentFormat
from tests.domains.documents import a_story

DIGESTS = Path(__file__).with_suffix(".txt")
CONSTANT = f"EXTRACTION_RULES of {formats.__name__}"
REMEDY = (
    f"if the same bytes may have other pages or chunks, raise {CONSTANT}, so that documents are "
    "extracted again; then run `python -m tests.domains.extraction_rules --write`"
)


def digest_format(document_format: DocumentFormat) -> str:
    """Return a digest of what recognises and reads files of a format; its counter reads none."""
    values = {
        attribute.name: getattr(document_format, attribute.name)
        for attribute in fields(document_format)
        if attribute.name != "part_counter"
        and getattr(document_format, attribute.name) != attribute.default
    }
    return shorten(repr({name: _describe(value) for name, value in values.items()}))


def _describe(value: object) -> object:
    if isinstance(value, re.Pattern):
        return value.pattern
    return sorted(value) if isinstance(value, frozenset) else value


def digest_text(extension: str) -> str:
    """Return a digest of the pages and chunks of the demo's story in a format."""
    write_story, _ = DEMO_FORMATS[extension]
    found = extract(write_story(a_story()), name=f"story.{extension}")
    pages = [
        (page.text, page.headings, [list(table.rows) for table in page.tables])
        for page in found.pages
    ]
    spans = [
        (chunk.start, chunk.end, chunk.section_path)
        for chunk in chunks("id", found.pages, ChunkRule())
    ]
    return shorten(repr((pages, spans, [child.name for child in found.children])))


def shorten(text: str) -> str:
    """Return the first characters of the SHA-256 of a text."""
    return sha256(text.encode()).hexdigest()[:16]


def make_digests() -> Mapping[str, str]:
    """Return the present digests by media type, and by the name of the demo's file."""
    records = {media_type: digest_format(record) for media_type, record in FORMATS.items()}
    return records | {f"story.{extension}": digest_text(extension) for extension in DEMO_FORMATS}


def read_digests() -> tuple[int, Mapping[str, str]]:
    """Return the number of the rules that were written, and their digests."""
    (_, rules), *lines = (line.split() for line in DIGESTS.read_text().splitlines())
    return int(rules), dict(lines)


def find_changes() -> list[str]:
    """Return the formats and files whose digests are not those that were written."""
    _, written = read_digests()
    present = make_digests()
    return sorted(name for name in {*written, *present} if written.get(name) != present.get(name))


def write() -> None:
    """Write the present digests.

    Raises:
        SystemExit: They changed, and the rules are those that were written.
    """
    if DIGESTS.exists() and read_digests()[0] >= formats.EXTRACTION_RULES and find_changes():
        raise SystemExit(
            f"invalid {CONSTANT}: expected more than {formats.EXTRACTION_RULES}, as these "
            f"changed: {', '.join(find_changes())}. If only stories of the demo or names of "
            f"fields changed, remove {DIGESTS.name} first."
        )
    lines = [f"rules {formats.EXTRACTION_RULES}"]
    lines += [f"{name} {digest}" for name, digest in sorted(make_digests().items())]
    DIGESTS.write_text("\n".join(lines) + "\n")


if __name__ == "__main__" and sys.argv[1:] == ["--write"]:
    write()
