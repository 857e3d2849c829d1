"""The fingerprint of a document: what its similarity and topics are derived from."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice

from orchestration_project.domains.documents.keywords import TermCounts
from orchestration_project.domains.documents.minhash import BLOCK_WORDS, Sketch, signature_as_text
from orchestration_project.domains.documents.words import words_of


@dataclass(frozen=True)
class Fingerprint:
    """Origin of the similarity and topics of a document.

    Attributes:
        signature: As text; None: the document has no word.
        terms: Its most frequent terms with their counts.
    """

    signature: str | None = None
    terms: Mapping[str, int] = field(default_factory=dict)


def fingerprint_of(texts: Iterable[str]) -> Fingerprint:
    """Return the fingerprint of a document, by the texts of its pages in order."""
    sketch, terms = Sketch(), TermCounts()
    for text in texts:
        words = words_of(text)
        while some := list(islice(words, BLOCK_WORDS)):
            sketch.add(some)
            terms.add(some)
    signature = sketch.signature()
    return Fingerprint(
        None if signature is None else signature_as_text(signature), terms.most_frequent()
    )
