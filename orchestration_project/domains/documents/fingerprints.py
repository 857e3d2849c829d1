"""Words of texts, and fingerprints made of them: similarity is derived of these by MinHash.

MinHash estimates how many shingles of words two texts share, from signatures of fixed size. Its
numbers are 64-bit integers that wrap around, so a signature is the same on every machine. A change
of these rules needs a migration that empties the tables of signatures, bands and pairs.
"""

import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice
from operator import itemgetter
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

IDEOGRAPH = "\u3040-\u309f\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
"""Characters of Chinese, and Hiragana of Japanese, which are written without spaces."""

WORD = re.compile(
    rf"[{IDEOGRAPH}]"
    rf"|[^\W{IDEOGRAPH}]{{1,100}}(?:['\u2019.\-][^\W{IDEOGRAPH}]{{1,100}}){{0,20}}"
)
"""An ideograph; or letters and digits, with an apostrophe, full stop or hyphen between them.

A long run without a space, such as encoded bytes, is divided, so that a word is bounded.
"""

SHINGLE_WORDS = 3
"""Words that follow one another and are compared as one."""

HASH_COUNT, BAND_HASHES = 128, 4
"""Numbers of a signature, and of each of its bands.

Texts that share 60 % of their shingles have an equal band with a probability of 98.8 %.
"""

MIN_SCORE = 0.6
"""Estimated Jaccard similarity from which on two documents are a pair."""

BLOCK_WORDS = 4096
"""Words that are hashed at a time, so that memory does not grow with the text."""

CACHED_WORDS = 50_000

Hashes: TypeAlias = npt.NDArray[np.uint64]
Signature: TypeAlias = npt.NDArray[np.uint32]

_MASK = 2**64 - 1
_BASE = np.uint64(0x9E3779B97F4A7C15)


def count_words(text: str) -> int:
    """Return the number of words, as `WORD` delimits them; no tokens of a model."""
    return sum(1 for _ in WORD.finditer(text))


def words_of(text: str) -> Iterator[str]:
    """Yield the words of a text in their order, without regard to case."""
    return map(str.casefold, map(itemgetter(0), WORD.finditer(text)))


def _generate_numbers(count: int) -> Hashes:
    """Return the first numbers of the generator SplitMix64, seed 0."""
    states = [(number + 1) * int(_BASE) & _MASK for number in range(count)]
    return _hash_numbers(np.array(states, np.uint64))


def _hash_numbers(numbers: Hashes) -> Hashes:
    """Return the numbers with each bit dependent on all bits (finalizer of SplitMix64)."""
    hashes = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    hashes = (hashes ^ (hashes >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return hashes ^ (hashes >> np.uint64(31))


_FACTORS = _generate_numbers(2 * HASH_COUNT)[:HASH_COUNT] | np.uint64(1)
_SUMMANDS = _generate_numbers(2 * HASH_COUNT)[HASH_COUNT:]


class Sketch:
    """The signature of a text whose words come piece by piece; memory is bounded."""

    def __init__(self) -> None:
        self._minima = np.full(HASH_COUNT, 2**32 - 1, np.uint32)
        self._last: list[int] = []
        self._has_shingle = False
        self._known: dict[str, int] = {}

    def add(self, words: Iterable[str]) -> None:
        """Add the next words of the text; case is the caller's to fold."""
        following = iter(words)
        while some := list(islice(following, BLOCK_WORDS)):
            hashes = self._last + self._hashes(some)
            self._last = self._reduce(hashes) if len(hashes) >= SHINGLE_WORDS else hashes

    def signature(self) -> Signature | None:
        """Return the signature; None: no word was added.

        A text of fewer words than a shingle has is a shingle of its own.
        """
        if self._has_shingle:
            return self._minima
        return _find_minima(_hash_shingles([self._last])) if self._last else None

    def _hashes(self, words: Sequence[str]) -> list[int]:
        known_counts = self._known
        if len(known_counts) >= CACHED_WORDS:
            known_counts.clear()
        for word in set(words).difference(known_counts):
            encoded = word.encode("utf-8", "surrogatepass")
            known_counts[word] = int.from_bytes(blake2b(encoded, digest_size=8).digest(), "little")
        return [known_counts[word] for word in words]

    def _reduce(self, hashes: list[int]) -> list[int]:
        """Take over the shingles of words; return the words that the next shingle begins with."""
        count = len(hashes) - SHINGLE_WORDS + 1
        shifted = [hashes[position : position + count] for position in range(SHINGLE_WORDS)]
        shingles = _hash_shingles(np.array(shifted, np.uint64).T)
        self._minima = np.minimum(self._minima, _find_minima(shingles))
        self._has_shingle = True
        return hashes[count:]


def _hash_shingles(rows: Sequence[Sequence[int]] | Hashes) -> Hashes:
    """Return a hash of each row of word hashes; the order of words matters."""
    words = np.asarray(rows, np.uint64)
    shingles = np.zeros(len(words), np.uint64)
    for column in words.T:
        shingles = _hash_numbers(shingles * _BASE + column)
    return shingles


def _find_minima(shingles: Hashes) -> Signature:
    """Return the least value that each of the hash functions has for a shingle."""
    full = np.full(HASH_COUNT, 2**32 - 1, np.uint32)
    for start in range(0, len(shingles), 1024):
        some = shingles[start : start + 1024, None] * _FACTORS + _SUMMANDS
        full = np.minimum(full, (some >> np.uint64(32)).astype(np.uint32).min(axis=0))
    return full


def estimated_similarity(signature: Signature, other: Signature) -> float:
    """Return the estimated Jaccard similarity, 0-1; its standard error is 0.044 at most."""
    return int(np.count_nonzero(signature == other)) / HASH_COUNT


def buckets(signature: Signature) -> list[int]:
    """Return a signed 64-bit number for each band; those of an equal band are equal."""
    stored = signature.astype("<u4")
    return [
        int.from_bytes(
            blake2b(
                f"{start}/".encode() + stored[start : start + BAND_HASHES].tobytes(),
                digest_size=8,
            ).digest(),
            "little",
            signed=True,
        )
        for start in range(0, HASH_COUNT, BAND_HASHES)
    ]


def signature_as_text(signature: Signature) -> str:
    """Return a signature as text: base64 of little-endian 32-bit numbers."""
    return b64encode(signature.astype("<u4").tobytes()).decode()


def signature_of_text(text: str) -> Signature:
    """Return the signature that `signature_as_text` wrote."""
    return np.frombuffer(b64decode(text), "<u4").astype(np.uint32)


class Groups:
    """Connected components of pairs; a group is named by its smallest member."""

    def __init__(self) -> None:
        self._parents: dict[str, str] = {}

    def join(self, one: str, other: str) -> None:
        """Put two members, and all that they are connected with, into one group."""
        low, high = sorted((self.of(one), self.of(other)))
        self._parents[high] = low
        self._parents.setdefault(low, low)

    def of(self, member: str) -> str:
        """Return the group of a member; one that was never joined is its own."""
        parents, root = self._parents, member
        while (above := parents.get(root, root)) != root:
            root = above
        while member != root:
            member, parents[member] = parents[member], root
        return root

    def items(self) -> Iterator[tuple[str, str]]:
        """Yield each member that was joined, with its group."""
        for member in list(self._parents):
            yield member, self.of(member)


def grouped(groups: Iterable[tuple[str, str]]) -> Mapping[str, list[str]]:
    """Return the members of each group, in order."""
    names: dict[str, list[str]] = {}
    for member, group in sorted(groups):
        names.setdefault(group, []).append(member)
    return names


@dataclass(frozen=True)
class Fingerprint:
    """Origin of the similarity of a document.

    Attributes:
        signature: As text; None: the document has no word.
    """

    signature: str | None = None


def fingerprint_of(texts: Iterable[str]) -> Fingerprint:
    """Return the fingerprint of a document, by the texts of its pages in order."""
    sketch = Sketch()
    for text in texts:
        sketch.add(words_of(text))
    signature = sketch.signature()
    return Fingerprint(None if signature is None else signature_as_text(signature))
