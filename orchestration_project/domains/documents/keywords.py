"""Keywords of documents by TF-IDF: words that are frequent in one and rare in the others.

Nothing lists stop words: a word of more than half of the documents is never a keyword.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from heapq import nsmallest
from typing import NamedTuple

KEYWORD_COUNT = 10
"""Keywords of a document at most."""

TERM_COUNT = 1_000
"""Distinct terms of a document that are counted: its most frequent ones."""

HELD_TERMS = 100_000
"""Distinct terms that are held while a text is read; then the rarest are forgotten."""

MIN_LETTERS, MAX_LETTERS = 3, 40
"""Letters of a term."""

STOP_SHARE, STOP_FROM = 0.5, 20
"""Share of documents above which a term is a stop word, once there are so many documents."""

DECIMALS = 6
"""Decimal places of a score, so that it is the same whatever the machine's logarithm rounds to."""


class Keyword(NamedTuple):
    """A term and its score."""

    term: str
    score: float


class TermCounts:
    """Counts of the terms of a text whose words come piece by piece; memory is bounded."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, words: Iterable[str]) -> None:
        """Count the terms among words: those of letters alone that are neither short nor long."""
        for word, count in Counter(words).items():
            if MIN_LETTERS <= len(word) <= MAX_LETTERS and word.isalpha():
                self._counts[word] += count
                if len(self._counts) > HELD_TERMS:
                    self._counts = Counter(self._most(HELD_TERMS // 2))

    def most_frequent(self) -> dict[str, int]:
        """Return the `TERM_COUNT` most frequent terms with their counts, the first by alphabet."""
        return self._most(TERM_COUNT)

    def _most(self, limit: int) -> dict[str, int]:
        ordered = sorted(self._counts.items(), key=lambda item: (-item[1], item[0]))
        return dict(ordered[:limit])


def keywords(
    counts: Mapping[str, int], document_counts: Mapping[str, int], total: int
) -> Sequence[Keyword]:
    """Return the keywords of a document, the highest score first, then by alphabet.

    A score is the term's share of the document's terms times ``1 + ln((1 + total) / (1 + n))``,
    where ``n`` documents have the term.

    Args:
        counts: How often each of its terms occurs in it.
        document_counts: How many documents have each term, itself included.
        total: How many documents have any term.
    """
    own, rarities = sum(counts.values()), dict[int, float]()
    for number in {document_counts.get(term, 1) for term in counts}:
        if not is_stop_word(number, total):
            rarities[number] = (1 + math.log((1 + total) / (1 + number))) / own
    found = [
        (-round(count * rarities[number], DECIMALS), term)
        for term, count in counts.items()
        if (number := document_counts.get(term, 1)) in rarities
    ]
    return [Keyword(term, -score) for score, term in nsmallest(KEYWORD_COUNT, found)]


def is_stop_word(document_count: int, total: int) -> bool:
    """Return whether a term of so many documents of all is never a keyword."""
    return total >= STOP_FROM and document_count > STOP_SHARE * total
