"""A page of rows as bytes: delimited text or JSON, at most 3 MB of it."""

from dataclasses import dataclass
from io import BytesIO

import polars as pl

MAX_PAGE_BYTES = 3_000_000


@dataclass(frozen=True)
class Page:
    """The body of an answer and how many records it holds."""

    body: bytes
    records: int


def text_page(rows: pl.DataFrame, delimiter: str, is_quoted: bool) -> Page:
    """Return ``rows`` as lines under a header, as many whole lines as fit; quotes around text."""
    buffer = BytesIO()
    quotes = "non_numeric" if is_quoted else "never"
    rows.write_csv(buffer, separator=delimiter, quote_style=quotes)
    body = buffer.getvalue()
    if len(body) <= MAX_PAGE_BYTES:
        return Page(body, rows.height)
    body = body[: body.rindex(b"\n", 0, MAX_PAGE_BYTES) + 1]
    return Page(body, body.count(b"\n") - 1)


def json_page(rows: pl.DataFrame) -> Page:
    """Return ``rows`` as a JSON array of objects, as many as fit."""
    body = rows.write_json().encode()
    if len(body) <= MAX_PAGE_BYTES:
        return Page(body, rows.height)
    body = body[: body.rindex(b"},{", 0, MAX_PAGE_BYTES) + 1] + b"]"
    return Page(body, body.count(b"},{") + 1)
