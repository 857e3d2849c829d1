"""Stories of the demo and what was found in a file, for the tests of documents."""

from collections.abc import Mapping
from io import BytesIO
from random import Random
from zipfile import ZipFile

from orchestration_demo.documents.packages import archive
from orchestration_demo.documents.story import Story, Words, make_story

from orchestration_project.domains.documents.extracted import Extracted


def a_story(seed: int = 1) -> Story:
    """Return a synthetic story."""
    return make_story(Random(seed), Words(Random(seed)))  # noqa: S311 - to be repeated


def codes(found: Extracted) -> list[str]:
    """Return the reason codes of a document, the decisive one first."""
    return [finding.code for finding in found.findings]


def missing(found: Extracted, words: tuple[str, ...]) -> list[str]:
    """Return the words that the text of a document does not have exactly once or more."""
    return [word for word in words if word not in found.text]


def with_parts(
    content: bytes,
    parts: Mapping[str, str],
    replaced: Mapping[str, tuple[bytes, bytes]] | None = None,
) -> bytes:
    """Return a package with parts that are added or changed, and with replaced bytes in others."""
    with ZipFile(BytesIO(content)) as file:
        found = {name: file.read(name) for name in file.namelist()}
    found |= {name: text.encode() for name, text in parts.items()}
    for name, (old, new) in (replaced or {}).items():
        found[name] = found[name].replace(old, new, 1)
    return archive(found.items())
