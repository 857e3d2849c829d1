"""Character recognition as readers see it: an image in, the text of its pages out.

`resources/documents/tesseract.py` has the program that does it; here no process is started.
"""

import csv
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from math import sqrt
from typing import Literal, NamedTuple

POINTS_PER_INCH = 72
DOTS_PER_INCH = 300
"""Resolution at which letters of usual size are recognised best."""

MAX_PIXELS = 25_000_000
"""Pixels of a rendered page: A3 at 300 dots per inch has 17 million."""

TSV_COLUMNS = 12
"""Columns of Tesseract's TSV; the last ones are confidence and text."""

PAGE, BLOCK, PARAGRAPH, LINE, CONFIDENCE, WORD = 1, 2, 3, 4, 10, 11
"""Their places."""

Problem = Literal["ocr_language_missing", "ocr_timed_out", "ocr_failed"]


class Recognised(NamedTuple):
    """Text of an image.

    Attributes:
        text: Lines, with an empty one between paragraphs; empty if no word was found.
        confidence: Mean of its words, 0 to 1; None without words.
    """

    text: str
    confidence: float | None


class RecognitionError(Exception):
    """An image that is not recognised.

    Attributes:
        reason_code: One of `Problem`.
        detail: What was found, in a few words.
    """

    def __init__(self, reason_code: Problem, detail: str) -> None:
        super().__init__(detail)
        self.reason_code: Problem = reason_code
        self.detail = detail


Recogniser = Callable[[bytes], Sequence[Recognised]]
"""Returns the text of each page of an image file, as PNG, TIFF or PGM; `RecognitionError` if it
cannot.
"""


def read_tsv(text: str) -> list[Recognised]:
    """Return the pages of Tesseract's TSV, one at least; rows without a word are left out."""
    rows = csv.reader(text.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE)
    words = [row for row in rows if len(row) == TSV_COLUMNS and _is_word(row)]
    pages = [
        _build_page(list(page_words)) for _, page_words in groupby(words, key=lambda row: row[PAGE])
    ]
    return pages or [Recognised("", None)]


def _is_word(row: Sequence[str]) -> bool:
    return row[PAGE].isdigit() and bool(row[WORD].strip()) and not row[CONFIDENCE].startswith("-")


def _build_page(words: Sequence[Sequence[str]]) -> Recognised:
    paragraphs = groupby(words, key=lambda row: (row[BLOCK], row[PARAGRAPH]))
    text = "\n\n".join("\n".join(_join_lines(paragraph_words)) for _, paragraph_words in paragraphs)
    confidences = [min(float(row[CONFIDENCE]), 100) / 100 for row in words]
    return Recognised(text, round(sum(confidences) / len(confidences), 4))


def _join_lines(words: Iterator[Sequence[str]]) -> Iterator[str]:
    for _, line_words in groupby(words, key=lambda row: row[LINE]):
        yield " ".join(row[WORD].strip() for row in line_words)


def scale_for(width: float, height: float) -> float:
    """Return pixels per point at which a page of a size in points is rendered."""
    number = sqrt(MAX_PIXELS / max(width * height, 1))
    return min(DOTS_PER_INCH / POINTS_PER_INCH, number)


def pgm(pixels: bytes, width: int, height: int, stride: int) -> bytes:
    """Return grey pixels, a byte each in rows of ``stride`` bytes, as a PGM file."""
    rows = (
        pixels
        if stride == width
        else b"".join(
            pixels[position * stride : position * stride + width] for position in range(height)
        )
    )
    return b"P5\n%d %d\n255\n%b" % (width, height, rows)
