"""Counts of the records in raw bytes, apart from the parsers that make rows of them.

A counter knows nothing of fields, rules and partitions. It counts what marks a record (line ends,
brackets, tags), so that a record which a parser drops, or takes twice, is a difference. What cannot
be read at all is left to the parser, which refuses it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from orchestration_project.contracts.balance import Balance
from orchestration_project.contracts.rules import Part


class RecordCount(NamedTuple):
    """Records in some bytes, and the bytes up to the end of what was understood."""

    record_count: int
    byte_count: int


CountRecords = Callable[[bytes], RecordCount]
"""Counts the records of one answer or file."""

NOT_COUNTED = None
"""Choice of a dataset whose records cannot be counted apart from its parser."""


class CountedPieces:
    """Pieces of a delivery, whose records and bytes are counted as they are read.

    Args:
        pieces: The pieces.
        count: Counts records; `NOT_COUNTED`: neither these nor bytes are counted.
    """

    def __init__(self, pieces: Iterable[Sequence[Part]], count: CountRecords | None) -> None:
        self._pieces, self._count = pieces, count
        self._total = RecordCount(0, 0)

    def __iter__(self) -> Iterator[Sequence[Part]]:
        for parts in self._pieces:
            for part in parts:
                self._add(part.body)
            yield parts

    def _add(self, body: bytes) -> None:
        if self._count is not None:
            (records, read), counted = self._total, self._count(body)
            self._total = RecordCount(records + counted.record_count, read + counted.byte_count)

    def balances(self, received_byte_count: int, went_to: Mapping[str, int]) -> list[Balance]:
        """Return the equations of the bytes that were read so far.

        - bytes: received = read to their end.
        - records: counted = rows + rejects + those that were filtered, by the name of the filter.

        Args:
            received_byte_count: Bytes of all captures, as they were counted when they came.
            went_to: Records by the place that the parser and the rules say.
        """
        if self._count is None:
            return [Balance("records", None, went_to)]
        return [
            Balance("bytes", received_byte_count, {"read": self._total.byte_count}),
            Balance("records", self._total.record_count, went_to),
        ]


def count_lines(body: bytes) -> RecordCount:
    """Count the lines below a header; a last one need not have its end."""
    line_count = _count_byte(body, b"\n") + (not body.endswith(b"\n"))
    return RecordCount(max(line_count - 1, 0) if body else 0, len(body))


def count_quoted_lines(body: bytes) -> RecordCount:
    r"""Count the lines below a header as CSV has them: a line end within quotes ends none.

    Lines end in ``\n``, ``\r\n`` or ``\r``.
    """
    text = _as_bytes(body)
    ends = (text == ord("\n")) | (text == ord("\r"))
    ends[1:] &= ~((text[:-1] == ord("\r")) & (text[1:] == ord("\n")))
    if b'"' in body:
        ends &= ~np.logical_xor.accumulate(text == ord('"'))
    line_count = int(np.count_nonzero(ends)) + (not body.endswith((b"\n", b"\r")))
    return RecordCount(max(line_count - 1, 0) if body else 0, len(body))


def _count_byte(body: bytes, byte: bytes) -> int:
    return int(np.count_nonzero(_as_bytes(body) == byte[0]))


def _as_bytes(body: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(body, np.uint8)
