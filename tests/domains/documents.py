"""Stories of the demo and what was found in a file, for the tests of documents."""

from random import Random

from orchestration_project.demo.documents.story import Story, Words, make_story
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
