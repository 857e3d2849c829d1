"""Targets of writes: a table, its derived tables, and one partition of it.

A load marks derived rows whose inputs it changes as stale, until they are derived again. A derived
table with a column known_from gets the time of the load there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, Literal, Protocol, TypeVar

from sqlalchemy import Connection, Table, false, func, select, update

from orchestration_project.engine.contracts import lazy_polars as pl
from orchestration_project.engine.contracts.balance import Conservation
from orchestration_project.engine.warehouse.frames import Scope, match_scope
from orchestration_project.tables.schema import HISTORY

KNOWN_FROM, IS_STALE = "known_from", "is_stale"

Dependents = Mapping[Table, Callable[[Scope], Scope]]
"""Derived tables with is_stale, and which of their rows are made of a partition."""

BOOKKEEPING = ("capture_id", "known_from")
"""Columns that say where a row came from; a difference in them alone is none."""


@dataclass(frozen=True)
class ScopeState:
    """Loaded state of a partition: the fence's token, and the latest load if there is one."""

    token: int
    landed_at: datetime | None = None
    source: str | None = None
    source_version: str | None = None
    content_sha256: str | None = None
    rule_version: str | None = None
    scope: str | None = None
    run_id: str | None = None


WriteDisposition = Literal["replace_scope", "merge", "append"]
"""Effect of a delivery on the loaded rows of its partition.

replace_scope: The rows of its scope become the delivery's; those that it lacks are removed.
merge: Its rows are inserted, or update the rows with their keys; no row is removed.
append: Its rows are inserted; a loaded row is neither updated nor removed.
"""

WRITE_DISPOSITION = "write_disposition"
"""Under this name the scope of a load has how it was written, unless it replaced its scope."""


@dataclass(frozen=True)
class Transform:
    """Function that derives a table's rows of a partition.

    Attributes:
        of_rows: Makes them of all its rows; or of those of a range of symbols, what is of them.
        of_ranges: Makes them of all that ``of_rows`` made, put together; None: these are they.
        is_by_row: Whether each follows from one row alone, with whose key its own begins, so that a
            load replaces those of rows that it changes.
        conservation: Sums that they keep.
    """

    of_rows: Callable[[pl.DataFrame], pl.DataFrame]
    of_ranges: Callable[[pl.DataFrame], pl.DataFrame] | None = None
    is_by_row: bool = False
    conservation: Conservation | None = None

    def of_all(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Make them of all rows at once.

        Raises:
            ContractError: A sum that they keep differs.
        """
        frame = self.of_rows(rows)
        frame = frame if self.of_ranges is None else self.of_ranges(frame)
        if self.conservation is not None:
            self.conservation.refuse_loss(self.conservation.read_all(rows), frame)
        return frame


Derive = Mapping[Table, Transform]
"""Derived tables, and what makes their rows."""

SummaryT = TypeVar("SummaryT", covariant=True)


class Summarise(Protocol[SummaryT]):
    """Sums up what a load changed, while its rows are at hand: small, for it stays."""

    def __call__(
        self, *, replaced: pl.DataFrame, written: pl.DataFrame, kept: pl.DataFrame
    ) -> SummaryT:
        """Compare the scope before (``replaced`` and ``kept``) and after (``written`` and kept).

        Of a merge or append, these are the rows with the delivery's keys.
        ``replaced`` has ``is_metadata`` besides the table's columns: only metadata columns differ.
        """
        ...


MergeSummaries = Callable[[Sequence[Any]], Any]
"""Puts summaries of several ranges of a partition together."""


def skip_summary(*, replaced: pl.DataFrame, written: pl.DataFrame, kept: pl.DataFrame) -> None:
    """Sum up nothing: the rows say all."""


class Fenced(Protocol):
    """Write under a fence: the partition of a table, and the token that was seen."""

    @property
    def table(self) -> Table:
        """The table."""
        ...

    @property
    def partition_key(self) -> str:
        """Dagster's key, which is the fence's."""
        ...

    @property
    def token(self) -> int:
        """The fence's token before anything was read."""
        ...


@dataclass(frozen=True, kw_only=True)
class TableSpec(Generic[SummaryT]):
    """How deliveries are written to a table, whichever partition they are of.

    Attributes:
        table: The table, which has a history unless nothing of it is ever replaced.
        rule_version: Version of the rules that make its rows.
        metadata_columns: Columns whose change alone is not a restatement.
        transforms: Tables derived of a partition, in the transaction that loads it.
        dependents: Tables derived later, whose rows a load marks stale.
        summarise: Sums up what a load changed.
        merge: Puts summaries of several ranges together; None: its rows never come in ranges.
        write_disposition: What a delivery does to loaded rows.
    """

    table: Table
    rule_version: str
    metadata_columns: Sequence[str] = ()
    transforms: Derive = field(default_factory=dict)
    dependents: Dependents = field(default_factory=dict)
    summarise: Summarise[SummaryT]
    merge: MergeSummaries | None = None
    write_disposition: WriteDisposition = "replace_scope"

    @property
    def history(self) -> Table:
        """History table of replaced and removed rows."""
        return self.table.info[HISTORY]

    def target(
        self,
        partition_key: str,
        partition: Scope,
        state: ScopeState,
        *,
        run_id: str,
        write_disposition: WriteDisposition | None = None,
    ) -> WriteTarget[SummaryT]:
        """Return where and how a run writes a delivery of a partition of which ``state`` is loaded.

        Args:
            partition_key: Dagster's key, which is the fence's.
            partition: The same as a condition on the table's columns.
            state: What is loaded, with the fence's token before anything was fetched.
            run_id: Dagster's run.
            write_disposition: What this delivery does to loaded rows; None: what all do.
        """
        disposition = write_disposition or self.write_disposition
        return WriteTarget(self, partition_key, partition, state.token, run_id, state, disposition)


@dataclass(frozen=True)
class WriteTarget(Generic[SummaryT]):
    """Target of a delivery; `TableSpec.target` makes one.

    Attributes:
        spec: How deliveries are written to the table.
        partition_key: Dagster's key, which is the fence's.
        partition: The same as a condition on the table's columns.
        token: The fence's token before anything was fetched.
        run_id: Dagster's run.
        before: What was loaded when the token was read, if that was read too: as long as the fence
            has the token, nothing else is.
        write_disposition: What the delivery does to loaded rows.
    """

    spec: TableSpec[SummaryT]
    partition_key: str
    partition: Scope
    token: int
    run_id: str
    before: ScopeState | None = None
    write_disposition: WriteDisposition = "replace_scope"

    @property
    def table(self) -> Table:
        """The table."""
        return self.spec.table

    @property
    def rule_version(self) -> str:
        """Version of the rules that made the rows."""
        return self.spec.rule_version

    @property
    def state(self) -> ScopeState:
        """Loaded state when the token was read; the token alone, if no more was read."""
        return self.before or ScopeState(self.token)

    @property
    def derives_by_row(self) -> bool:
        """Whether derived rows of changed rows alone are replaced: others have the same rules."""
        transforms = self.spec.transforms.values()
        is_same_rules = self.state.rule_version == self.rule_version
        return (
            is_same_rules
            and bool(transforms)
            and all(transform.is_by_row for transform in transforms)
        )

    @property
    def replaces_scope(self) -> bool:
        """Whether loaded rows that a delivery lacks are removed."""
        return self.write_disposition == "replace_scope"


def fill_known_from(rows: pl.DataFrame, known_from: datetime) -> pl.DataFrame:
    """Return derived rows with the time of the load where they have none, if they are dated."""
    if KNOWN_FROM not in rows.columns:
        return rows
    return rows.with_columns(pl.col(KNOWN_FROM).fill_null(known_from))


def mark_stale(connection: Connection, dependents: Dependents, partitions: Sequence[Scope]) -> None:
    """Mark rows derived of changed partitions, in the transaction that changes these."""
    for table, scope_of in dependents.items():
        is_marked = func.coalesce(table.c[IS_STALE], false())
        for partition in partitions:
            statement = update(table).where(match_scope(table, scope_of(partition)), ~is_marked)
            connection.execute(statement.values({IS_STALE: True}))


def has_stale(connection: Connection, table: Table, scope: Scope) -> bool:
    """Whether a derived row is marked stale; a table without the column has none."""
    if IS_STALE not in table.c:
        return False
    query = select(table.c[IS_STALE]).where(match_scope(table, scope), table.c[IS_STALE]).limit(1)
    return connection.execute(query).first() is not None


def read_stale_values(connection: Connection, table: Table, name: str) -> list[Any]:
    """Return the values of a column whose rows are marked stale, in order."""
    column = table.c[name]
    query = select(column).where(table.c[IS_STALE]).distinct().order_by(column)
    return list(connection.execute(query).scalars())
