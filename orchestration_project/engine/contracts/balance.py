"""Equations of whole numbers: what came into a stage, and where all of it went.

What came in is counted apart from the code that decides where it goes, so that what this code
drops, or takes twice, is a difference and not an absence. A count of records knows nothing of
fields, rules and partitions: it counts what marks a record, such as line ends, brackets and tags.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Literal, NamedTuple

from sqlalchemy import Table

from orchestration_project.engine.contracts import lazy_polars as pl
from orchestration_project.engine.contracts.parts import Part
from orchestration_project.errors import ContractError
from orchestration_project.tables.schema import USD_SCALE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BalanceState = Literal["balanced", "unbalanced", "not_counted"]
"""State of an equation; not_counted: what came in cannot be counted apart, as in a PDF."""


@dataclass(frozen=True)
class Balance:
    """One equation of one subject.

    Attributes:
        equation: Name of the equation, such as records.
        came_in: What came in, counted apart; None: it cannot be counted.
        went_to: Where it went: a count by the name of each place, such as rows and rejects.
    """

    equation: str
    came_in: int | None
    went_to: Mapping[str, int]

    @property
    def difference(self) -> int:
        """Count that went nowhere; negative: more went out than came in."""
        return 0 if self.came_in is None else self.came_in - sum(self.went_to.values())

    @property
    def state(self) -> BalanceState:
        """State of the equation."""
        if self.came_in is None:
            return "not_counted"
        return "unbalanced" if self.difference else "balanced"

    @property
    def went_to_json(self) -> str:
        """Places and counts as a JSON object, in their order."""
        return json.dumps(dict(self.went_to))

    @property
    def as_document(self) -> dict[str, object]:
        """The equation as values of JSON."""
        return {
            "equation": self.equation,
            "came_in": self.came_in,
            "went_to": dict(self.went_to),
            "state": self.state,
        }

    def __str__(self) -> str:
        sign = "!=" if self.difference else "="
        came_in = "not counted" if self.came_in is None else str(self.came_in)
        parts = " + ".join(f"{count} {place}" for place, count in self.went_to.items())
        return f"{self.equation}: {came_in} {sign} {parts or 0}"


NOTHING_COUNTED = Balance("records", None, {})
"""Records of a delivery that was refused before they were counted."""


class Imbalance(NamedTuple):
    """Equation with a difference, and the subject that it is of.

    Attributes:
        table_name: Table of the subject; empty: it is of no table.
        subject: Delivery, run, item or day.
        balance: The equation.
    """

    table_name: str
    subject: str
    balance: Balance


FAILED = " (failed)"
"""Ends the subject of equations with a difference of a stage of which nothing was written."""


class UnbalancedError(ContractError):
    """A stage lost or doubled something; nothing of it was written.

    Attributes:
        balances: Its equations.
        table_name: Its table; empty: they are recorded with a delivery.
        subject: What they are of.
        run_id: Dagster run; empty: none.
    """

    balances: Sequence[Balance] = ()
    table_name: str = ""
    subject: str = ""
    run_id: str = ""


def sum_balances(balances: Iterable[Balance]) -> list[Balance]:
    """Return one equation of each name: the sums of all its counts; not counted if one is not."""
    by_name: dict[str, list[Balance]] = {}
    for balance in balances:
        by_name.setdefault(balance.equation, []).append(balance)
    return [_sum_equation(name, alike) for name, alike in by_name.items()]


def _sum_equation(name: str, balances: Sequence[Balance]) -> Balance:
    places = dict.fromkeys(key for balance in balances for key in balance.went_to)
    went_to = {key: sum(balance.went_to.get(key, 0) for balance in balances) for key in places}
    counted = [balance.came_in for balance in balances if balance.came_in is not None]
    is_counted = len(counted) == len(balances)
    return Balance(name, sum(counted) if is_counted else None, went_to)


# -- records of raw bytes -------------------------------------------------------------------------


RecordCount = tuple[int, int]
"""Records in some bytes, and the bytes up to the end of the last one that was understood."""

CountRecords = Callable[[bytes], RecordCount]
"""Counts the records of one answer or file."""

NOT_COUNTED = None
"""Choice of a dataset whose records cannot be counted apart from its parser."""


def build_balances(
    received_byte_count: int, counted: RecordCount, went_to: Mapping[str, int]
) -> list[Balance]:
    """Return the equations of the bytes and records of a delivery.

    - bytes: received = read to their end.
    - records: counted = rows + rejects + those that were filtered, by the name of the filter.

    Args:
        received_byte_count: Bytes of all captures, as they were counted when they came.
        counted: Records and bytes that were counted as they were read.
        went_to: Records by the place that the parser and the rules say.
    """
    record_count, byte_count = counted
    return [
        Balance("bytes", received_byte_count, {"read": byte_count}),
        Balance("records", record_count, went_to),
    ]


def count_lines(body: bytes) -> RecordCount:
    """Count the lines below a header; a last one need not have its end."""
    line_count = count_byte(body, b"\n") + (not body.endswith(b"\n"))
    return max(line_count - 1, 0) if body else 0, len(body)


def count_quoted_lines(body: bytes) -> RecordCount:
    r"""Count the lines below a header as CSV has them: a line end within quotes ends none.

    Lines end in ``\n``, ``\r\n`` or ``\r``.
    """
    import numpy as np

    text = _wrap_bytes(body)
    ends = (text == ord("\n")) | (text == ord("\r"))
    ends[1:] &= ~((text[:-1] == ord("\r")) & (text[1:] == ord("\n")))
    if b'"' in body:
        ends &= ~np.logical_xor.accumulate(text == ord('"'))
    line_count = int(np.count_nonzero(ends)) + (not body.endswith((b"\n", b"\r")))
    return max(line_count - 1, 0) if body else 0, len(body)


def count_byte(body: bytes, byte: bytes) -> int:
    """Count a single byte: six times as fast as `bytes.count`, and other threads go on."""
    import numpy as np

    return int(np.count_nonzero(_wrap_bytes(body) == byte[0]))


def _wrap_bytes(body: bytes) -> NDArray[np.uint8]:
    import numpy as np

    return np.frombuffer(body, np.uint8)


# -- sums that a derivation keeps ------------------------------------------------------------------


@dataclass(frozen=True)
class Measure:
    """Additive measure: the sum of some columns of the source is that of some derived ones."""

    name: str
    source: Sequence[str]
    derived: Sequence[str]


class DerivedKeys(NamedTuple):
    """Derived rows, and numbers of keys of the source that none is derived of, by their reason."""

    rows: pl.DataFrame
    excluded: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Conservation:
    """Measures and keys that a derived table keeps.

    Attributes:
        source: Table that it is made of, directly or by others.
        derived: The derived table.
        partition: Columns of both by which sums are equal, such as week_start and tier.
        together: Those of them by which rows are derived at once; if none of them has rows yet,
            nothing is compared.
        measures: Its measures.
        keys: Columns whose distinct values in the source are rows of the derived table; empty:
            rows are not counted.
        other_rows: Column and value of derived rows whose keys the source lacks; None: there are
            none.
        has_exclusions: Whether a derivation leaves out keys, and records how many by their reason.
    """

    source: Table
    derived: Table
    partition: Sequence[str]
    together: Sequence[str] = ()
    measures: Sequence[Measure] = ()
    keys: Sequence[str] = ()
    other_rows: tuple[str, str | None] | None = None
    has_exclusions: bool = False

    @property
    def names(self) -> Sequence[str]:
        """Names of its equations."""
        keys = ["keys"] if self.keys else []
        return [*(measure.name for measure in self.measures), *keys]

    def subject_of(self, partition: Mapping[str, object]) -> str:
        """Return how equations name a partition, such as 2026-01-05|T1."""
        return "|".join(str(partition[name]) for name in self.partition) or "all"

    def read_source(self, rows: pl.DataFrame) -> Mapping[str, int]:
        """Return the sums of source rows by name; not of keys, which ranges of rows share."""
        return {measure.name: _sum_columns(rows, measure.source) for measure in self.measures}

    def read_all(self, rows: pl.DataFrame) -> Mapping[str, int]:
        """Return the sums of all source rows of a partition, and the count of keys."""
        keys = {"keys": rows.select(self.keys).n_unique()} if self.keys else {}
        return {**self.read_source(rows), **keys}

    def compare(
        self,
        sums: Mapping[str, int],
        derived: pl.DataFrame,
        excluded: Mapping[str, int] | None = None,
    ) -> list[Balance]:
        """Return the equations of derived rows; of keys, if these are counted in ``sums``."""
        text = self.derived.name
        balances = [
            Balance(one.name, sums[one.name], {text: _sum_columns(derived, one.derived)})
            for one in self.measures
        ]
        if "keys" not in sums:
            return balances
        if self.other_rows is not None:
            name, other = self.other_rows
            derived = derived.filter(pl.col(name).ne_missing(other))
        return [*balances, Balance("keys", sums["keys"], {text: len(derived), **(excluded or {})})]

    def refuse_loss(
        self,
        sums: Mapping[str, int],
        derived: pl.DataFrame,
        excluded: Mapping[str, int] | None = None,
    ) -> list[Balance]:
        """Return the equations of derived rows.

        Raises:
            UnbalancedError: One has a difference.
        """
        balances = self.compare(sums, derived, excluded)
        if lost := [str(balance) for balance in balances if balance.difference]:
            error = UnbalancedError(
                f"{self.derived.name} does not balance with {self.source.name}",
                expected="the same sums and keys in both",
                found="; ".join(lost),
                remedy="correct the derivation; nothing was written",
            )
            rows = derived.head(1).to_dicts()
            error.balances, error.table_name = balances, self.derived.name
            error.subject = self.subject_of(rows[0]) if rows else "all"
            raise error
        return balances


MAX_INT64 = 2**63 - 1


def _sum_columns(rows: pl.DataFrame, names: Sequence[str]) -> int:
    """Return an exact sum; quantities count in whole millionths."""
    return sum(_sum_column(rows[name]) for name in names)


def _sum_column(column: pl.Series) -> int:
    if column.dtype == pl.Decimal:
        return int(Decimal(column.sum() or 0).scaleb(USD_SCALE))
    kind = pl.Int64 if _can_fit_64_bits(column) else pl.Int128  # which takes several times as long
    return int(column.cast(kind).sum() or 0)


def _can_fit_64_bits(column: pl.Series) -> bool:
    if not column.dtype.is_integer():
        return False
    bounds = (column.min(), column.max())
    largest = max(abs(bound) for bound in bounds if isinstance(bound, int)) if column.count() else 0
    return largest * len(column) < MAX_INT64


class CountedPieces:
    """Pieces of a delivery, whose records and bytes are counted as they are read.

    Args:
        pieces: The pieces.
        count: Counts records; `NOT_COUNTED`: neither these nor bytes are counted.
    """

    def __init__(self, pieces: Iterable[Sequence[Part]], count: CountRecords | None) -> None:
        self._pieces, self._count = pieces, count
        self._total: RecordCount = (0, 0)

    def __iter__(self) -> Iterator[Sequence[Part]]:
        for parts in self._pieces:
            for part in parts:
                self._add(part.body)
            yield parts

    def _add(self, body: bytes) -> None:
        if self._count is not None:
            (records, read), counted = self._total, self._count(body)
            self._total = (records + counted[0], read + counted[1])

    def balances(self, received_byte_count: int, went_to: Mapping[str, int]) -> list[Balance]:
        """Return the equations of the bytes that were read so far, as `build_balances`."""
        if self._count is None:
            return [Balance("records", None, went_to)]
        return build_balances(received_byte_count, self._total, went_to)
