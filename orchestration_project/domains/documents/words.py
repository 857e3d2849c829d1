"""Words of a text: what chunks, fingerprints and counts are measured in."""

import re
from collections.abc import Iterator
from operator import itemgetter

IDEOGRAPH = "\u3040-\u309f\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
"""Characters of Chinese, and Hiragana of Japanese, which are written without spaces."""

WORD = re.compile(
    rf"[{IDEOGRAPH}]"
    rf"|[^\W{IDEOGRAPH}]{{1,100}}(?:['\u2019.\-][^\W{IDEOGRAPH}]{{1,100}}){{0,20}}"
)
"""An ideograph; or letters and digits, with an apostrophe, full stop or hyphen between them.

A long run without a space, such as encoded bytes, is divided, so that a word is bounded.
"""


def count_words(text: str) -> int:
    """Return the number of words, as `WORD` delimits them; no tokens of a model."""
    return sum(1 for _ in WORD.finditer(text))


def words_of(text: str) -> Iterator[str]:
    """Yield the words of a text in their order, without regard to case."""
    return map(str.casefold, map(itemgetter(0), WORD.finditer(text)))
