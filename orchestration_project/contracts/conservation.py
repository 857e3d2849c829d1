"""Sums that a derivation keeps: those over its rows are those over the rows it is made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import polars as pl
from sqlalchemy import Table

from orchestration_project.contracts.balance import Balance
from orchestration_project.errors import ContractError
from orchestration_project.tables.schema import USD_SCALE


@dataclass(frozen=True)
class Measure:
    """Additive measure: the sum of some columns of the source is that of some derived ones."""

    name: str
    source: Sequence[str]
    derived: Sequence[str]


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
    """

    source: Table
    derived: Table
    partition: Sequence[str]
    together: Sequence[str] = ()
    measures: Sequence[Measure] = ()
    keys: Sequence[str] = ()

    @property
    def names(self) -> Sequence[str]:
        """Names of its equations."""
        keys = ["keys"] if self.keys else []
        return [*(measure.name for measure in self.measures), *keys]

    def read_source(self, rows: pl.DataFrame) -> Mapping[str, int]:
        """Return the sums of source rows by name; not of keys, which ranges of rows share."""
        return {measure.name: _sum_columns(rows, measure.source) for measure in self.measures}

    def read_all(self, rows: pl.DataFrame) -> Mapping[str, int]:
        """Return the sums of all source rows of a partition, and the count of keys."""
        keys = {"keys": rows.select(self.keys).n_unique()} if self.keys else {}
        return {**self.read_source(rows), **keys}

    def read_derived(self, sums: Mapping[str, int], derived: pl.DataFrame) -> Mapping[str, int]:
        """Return the sums of derived rows, and their number if keys are counted in ``sums``."""
        totals = {measure.name: _sum_columns(derived, measure.derived) for measure in self.measures}
        return {**totals, "keys": len(derived)} if "keys" in sums else totals

    def refuse_loss(self, sums: Mapping[str, int], derived: pl.DataFrame) -> None:
        """Refuse derived rows whose sums are not those of the source.

        Raises:
            ContractError: A sum differs.
        """
        totals = self.read_derived(sums, derived)
        lost = [name for name, total in totals.items() if total != sums[name]]
        if lost:
            place = self.derived.name
            raise ContractError(
                f"{place} does not balance with {self.source.name}",
                expected="the same sums and keys in both",
                found="; ".join(
                    str(Balance(name, sums[name], {place: totals[name]})) for name in lost
                ),
                remedy="correct the derivation; nothing was written",
            )


def _sum_columns(rows: pl.DataFrame, names: Sequence[str]) -> int:
    """Return an exact sum; quantities count in whole millionths."""
    return sum(_sum_column(rows[name]) for name in names)


def _sum_column(column: pl.Series) -> int:
    if column.dtype == pl.Decimal:
        return int(Decimal(column.sum() or 0).scaleb(USD_SCALE))
    return int(column.cast(pl.Int128).sum() or 0)
