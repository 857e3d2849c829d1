"""Delivery of a partition, validated and ready to be written, and its outcome."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from io import BufferedRandom
from typing import Any, Generic, Literal, NamedTuple, get_args

from sqlalchemy import Column, ColumnElement, Connection, Select, Table, Text, cast, func, select

from orchestration_project.engine.captures import Capture
from orchestration_project.engine.contracts import lazy_polars as pl
from orchestration_project.engine.contracts.audits import Audit, Validated
from orchestration_project.engine.contracts.balance import Balance
from orchestration_project.engine.contracts.chain import hash_pieces
from orchestration_project.engine.contracts.values import derive_schema
from orchestration_project.engine.warehouse.frames import (
    Scope,
    decode_scope,
    find_range,
    format_scope,
)
from orchestration_project.engine.warehouse.target import (
    BOOKKEEPING,
    WRITE_DISPOSITION,
    Fenced,
    SummaryT,
    WriteDisposition,
    WriteTarget,
)
from orchestration_project.errors import ConfigurationError, ContractError, TransientError
from orchestration_project.tables.spine import deliveries, fences


class SupersededError(TransientError):
    """Another process recorded a delivery of the same partition first."""


ATTEMPTS_AGAINST_OTHERS = 4
"""How often a partition is taken again because another run delivered it first."""


class QuarantinedError(ContractError):
    """An audit failed: the delivery is recorded with its evidence, and not loaded."""


@dataclass(frozen=True)
class Delivery:
    """Delivery of a source for a partition.

    Attributes:
        source: Where from.
        dataset: The source's name of it.
        source_version: Value that differs between states of the source.
        record_total: How many rows the source promised; None: it promised none.
        scope: Further conditions, where the delivery is complete for a part of the partition.
        captures: What makes it up, in order.
        discarded: What else was fetched for it and turned out unusable.
        replay_of: Of a replay, the delivery that was fetched.
        turns_back: Of a replay, whether what is loaded in its place was fetched later.
        loads_again: Of a replay, whether what is loaded in its place was read from the same bytes.
    """

    source: str
    dataset: str
    source_version: str
    record_total: int | None = None
    scope: Scope = field(default_factory=dict)
    captures: Sequence[Capture] = ()
    discarded: Sequence[Capture] = ()
    replay_of: str | None = None
    turns_back: bool = False
    loads_again: bool = False

    @property
    def is_ours(self) -> bool:
        """Whether all that it changes is our doing, not the source's."""
        return self.turns_back or self.loads_again

    @property
    def all_captures(self) -> Sequence[Capture]:
        """Everything that was fetched; a capture's place here is its part number."""
        return [*self.captures, *self.discarded]


Outcome = Literal["landed", "held_back", "refused"]
"""Outcome of a delivery: held_back by an audit; refused if it cannot be read or checked."""


AsFile = Callable[[Validated, Sequence[str]], tuple[bytes | BufferedRandom, str]]
"""Makes the file that is staged of rows and these columns of theirs, the same of the same rows, and
its SHA-256 (hex)."""


@dataclass(frozen=True)
class BatchFigures:
    """The figures of a validated delivery, which stay once its bytes and rows are released."""

    captures: int
    lines: int
    bytes: int
    stored_bytes: int
    rows: int
    rejects: int
    audit_outcomes: Mapping[str, int]
    read_seconds: float
    check_seconds: float


@dataclass(frozen=True)
class ValidatedBatch(Generic[SummaryT]):
    """A validated delivery, where and how it is to be loaded, and what is made of it before that.

    Attributes:
        target: Where and how.
        delivery: What the source gave.
        validated: The delivery after its contract.
        content_sha256: SHA-256 (hex) of the values of its rows: equal ones are equal rows.
        derived: Rows of each derived table; None where that takes more rows than the delivery's.
        staged: The values as the file that is staged of them, empty where none is; open, where it
            is too large to be held.
        read_seconds: How long it took to read.
        check_seconds: How long it took to validate, and to make the rest.
    """

    target: WriteTarget[SummaryT]
    delivery: Delivery
    validated: Validated
    content_sha256: str
    derived: Mapping[Table, pl.DataFrame] | None
    staged: bytes | BufferedRandom = b""
    read_seconds: float = 0.0
    check_seconds: float = 0.0

    @property
    def scope(self) -> Scope:
        """The rows for which the delivery is complete, as a condition on the table's columns."""
        return {**self.target.partition, **self.delivery.scope}

    @property
    def recorded_scope(self) -> str:
        """The scope as `landings` has it; a delivery that replaces no scope adds how it is written.

        So equal rows that were written otherwise are not taken for the loaded ones.
        """
        text = format_scope(self.scope)
        if self.target.replaces_scope:
            return text
        return f"{text},{WRITE_DISPOSITION}={self.target.write_disposition}"

    @property
    def staged_name(self) -> str:
        """Path of the staged rows; blank: none is staged."""
        if not self.staged:
            return ""
        return build_staged_name(
            self.target.table.name, self.target.partition_key, self.content_sha256
        )

    @property
    def figures(self) -> BatchFigures:
        """Its figures, which hold nothing of its data."""
        captures = self.delivery.all_captures
        return BatchFigures(
            captures=len(captures),
            lines=sum(capture.row_count or 0 for capture in captures),
            bytes=sum(capture.byte_count for capture in captures),
            stored_bytes=sum(capture.stored_byte_count for capture in captures),
            rows=self.validated.row_count,
            rejects=len(self.validated.rejects),
            audit_outcomes=Counter(audit.outcome for audit in self.validated.audits),
            read_seconds=self.read_seconds,
            check_seconds=self.check_seconds,
        )


@dataclass(frozen=True)
class Counts:
    """Numbers of new, changed, removed and unchanged rows of one delivery."""

    added: int = 0
    changed: int = 0
    metadata_changed: int = 0
    removed: int = 0
    unchanged: int = 0

    def __add__(self, other: Counts) -> Counts:
        """Return those of both, of rows in several ranges."""
        return Counts(
            self.added + other.added,
            self.changed + other.changed,
            self.metadata_changed + other.metadata_changed,
            self.removed + other.removed,
            self.unchanged + other.unchanged,
        )

    @property
    def replaced(self) -> int:
        """Number of loaded rows that are changed or removed."""
        return self.changed + self.removed

    @property
    def is_any(self) -> bool:
        """Whether anything is to be written."""
        return bool(self.added or self.replaced)


@dataclass(frozen=True)
class Publication:
    """Publication of a delivery.

    Attributes:
        day: The day from which it counts; None: its source does not date its rows.
        is_load_day: Whether that is the day of its load, as its source dates no later change.
    """

    day: date | None = None
    is_load_day: bool | None = None


def decide_publication(
    latest: date | None,
    before: date | None,
    *,
    load_day: date,
    is_changed: bool,
    only_removes: bool,
) -> Publication:
    """Return the publication of a delivery whose source dates its rows.

    Args:
        latest: The latest date of its rows up to the day of its load.
        before: The latest publication day of the deliveries before it.
        load_day: The day of its load.
        is_changed: Whether it added, changed or removed rows.
        only_removes: Whether it did nothing but remove rows.
    """
    if before is not None and not is_changed:
        return Publication(before, is_load_day=False)
    if latest is None or (before is not None and latest < before):
        return Publication(load_day, is_load_day=True)
    if latest == before and only_removes:
        return Publication(load_day, is_load_day=True)
    return Publication(latest, is_load_day=False)


@dataclass(frozen=True)
class WriteResult(Generic[SummaryT]):
    """Result of a write; row counts are of the loaded table, ``seconds`` without the commit.

    ``change`` is what the target's ``summarise`` said of it; None where no row was written.
    ``warnings`` are the audits that failed and do not hold it back; ``balances`` are its equations.
    """

    group_id: str
    change_cause: str
    rows_added: int
    rows_changed: int
    rows_removed: int
    rows_unchanged: int
    derived_seconds: Mapping[str, float]
    seconds: float
    known_from: datetime
    change: SummaryT | None
    warnings: Sequence[str] = ()
    balances: Sequence[Balance] = ()

    @property
    def has_written_rows(self) -> bool:
        """Whether any row was written or removed."""
        return bool(self.rows_added or self.rows_changed or self.rows_removed)

    @property
    def has_changes(self) -> bool:
        """Whether the table is another than before, if only by dates of publication."""
        return self.change_cause != "none"

    @property
    def balance(self) -> str:
        """Its equations in one line."""
        return "; ".join(map(str, self.balances))

    @property
    def in_words(self) -> str:
        """Row counts by change."""
        return (
            f"{self.rows_added} rows added, {self.rows_changed} changed, "
            f"{self.rows_removed} removed, {self.rows_unchanged} unchanged"
        )


WriteOutcome = WriteResult[SummaryT] | QuarantinedError | SupersededError
"""How a delivery ended."""


def require_written(outcomes: Sequence[WriteOutcome[SummaryT]]) -> list[WriteResult[SummaryT]]:
    """Return how deliveries were written.

    Raises:
        QuarantinedError: An audit of one of them failed.
        SupersededError: Another delivery of one of the partitions came first.
    """
    results: list[WriteResult[SummaryT]] = []
    for outcome in outcomes:
        if not isinstance(outcome, WriteResult):
            raise outcome
        results.append(outcome)
    return results


WarningCheck = Callable[[Connection, Sequence[ValidatedBatch[Any]]], Sequence[Sequence[Audit]]]
"""Compares each of several deliveries with what is loaded, in the transaction that loads them."""


def skip_warnings(
    _: Connection, batches: Sequence[ValidatedBatch[Any]]
) -> Sequence[Sequence[Audit]]:
    """Compare with nothing."""
    return [()] * len(batches)


AfterWrite = Callable[[Connection, Sequence[Any]], None]
"""Notes how deliveries ended (`WriteOutcome`), in the transaction that loads or records them."""


def skip_note(_: Connection, ended: Sequence[Any]) -> None:
    """Note nothing: the loads say all."""


def refuse_impossible(batches: Sequence[ValidatedBatch]) -> None:
    """Refuse deliveries that cannot be written as asked.

    Raises:
        ConfigurationError: The write disposition is unknown, differs within the batch, or only
            adds rows where the delivery is of ranges.
    """
    write_dispositions = {batch.target.write_disposition for batch in batches}
    args = get_args(WriteDisposition)
    if len(write_dispositions) != 1 or not write_dispositions <= set(args):
        raise ConfigurationError(
            f"invalid write_disposition of {batches[0].target.table.name}: expected one of "
            f"{', '.join(args)} for all deliveries of a batch, e.g. merge",
            found=", ".join(sorted(write_dispositions)),
            remedy="correct the write_disposition of the dataset",
        )
    for batch in batches:
        in_ranges = (
            batch.validated.ranges is not None or find_range(batch.delivery.scope) is not None
        )
        if in_ranges and batch.target.write_disposition == "append":
            raise ConfigurationError(
                f"invalid delivery of {batch.target.table.name}: expected rows without ranges "
                "where write_disposition is append, e.g. the rows of one day",
                found=f"ranges of {batch.target.partition_key}",
                remedy="use merge, or deliver in partitions that fit into memory",
            )


def group_id(target: Fenced) -> str:
    """Return the name of the delivery that follows ``target.token`` deliveries."""
    return group_of(target.table, target.partition_key, target.token + 1)


def group_of(table: Table, partition_key: str, number: int) -> str:
    """Return the name of a delivery of a partition, by its number."""
    return f"{table.name}:{partition_key}#{number}"


def build_latest_group() -> ColumnElement[str]:
    """Return the SQL of the latest delivery of a fence's partition, as `group_of` names it."""
    number = cast(fences.c.token, Text)
    name = func.coalesce(fences.c.delivery_table, fences.c.table_name)
    return name + ":" + fences.c.scope_key + "#" + number


def build_staged_name(table_name: str, partition_key: str, content_sha256: str) -> str:
    """Return where the file of a partition's valid rows is stored."""
    return f"staged/{table_name}/{partition_key.replace('|', '/')}/{content_sha256}.parquet"


def capture_id(group: str, part_number: int) -> int:
    """Return the first 63 bits of the SHA-256 of group and part."""
    digest = hashlib.sha256(f"{group}/{part_number}".encode()).digest()
    return int.from_bytes(digest[:8]) >> 1


def prepare(
    target: WriteTarget[SummaryT],
    delivery: Delivery,
    validated: Validated,
    as_file: AsFile | None = None,
) -> ValidatedBatch[SummaryT]:
    """Return a delivery with all that depends on it alone, so that its transaction is short.

    With ``as_file``, the hash of the file, which is staged anyway, is that of the content: no
    other rows make the same one, and its bytes are far fewer than the values'.
    """
    if as_file is None:
        return prepare_all([(target, delivery, validated)])[0]
    staged, sha256 = as_file(validated, _list_value_names(target.table))
    derived = _derive_tables(target, delivery, validated)
    return ValidatedBatch(target, delivery, validated, sha256, derived, staged)


def prepare_all(
    deliveries: Sequence[tuple[WriteTarget[SummaryT], Delivery, Validated]],
) -> list[ValidatedBatch[SummaryT]]:
    """Return the same of several deliveries, one at least, of partitions of one table."""
    values = _list_value_names(deliveries[0][0].table)
    pieces = [rows for *_, validated in deliveries for rows in validated.pieces()]
    lengths = [validated.row_count for *_, validated in deliveries]
    hashes = hash_pieces(_combine_pieces(pieces, values), lengths)
    return [
        ValidatedBatch(*delivery, sha256, _derive_tables(*delivery))
        for delivery, sha256 in zip(deliveries, hashes, strict=True)
    ]


def _combine_pieces(pieces: Sequence[pl.DataFrame], columns: Sequence[str]) -> pl.DataFrame:
    """Return some columns of frames; those of one schema are selected from all at once."""
    if all(rows.schema == pieces[0].schema for rows in pieces):
        return pl.concat(pieces).select(columns)
    return pl.concat([rows.select(columns) for rows in pieces])


def _list_value_names(table: Table) -> list[str]:
    return [name for name in derive_schema(table) if name not in BOOKKEEPING]


def _derive_tables(
    target: WriteTarget, delivery: Delivery, validated: Validated
) -> Mapping[Table, pl.DataFrame] | None:
    is_all = target.replaces_scope and not delivery.scope
    if not is_all or validated.is_quarantined or validated.ranges or target.derives_by_row:
        return None
    return {table: maker.of_all(validated.rows) for table, maker in target.spec.transforms.items()}


class QuarantinedScope(NamedTuple):
    """Key of a quarantined partition, and the part of it that the delivery was of."""

    partition_key: str
    scope: Scope


def read_quarantined_scopes(connection: Connection, table: Table) -> list[QuarantinedScope]:
    """Return all quarantined partitions of a table."""
    row_query = select_quarantined([deliveries.c.partition_key, deliveries.c.scope])
    rows = connection.execute(row_query.where(fences.c.table_name == table.name))
    return [QuarantinedScope(row.partition_key, decode_scope(row.scope)) for row in rows]


def read_quarantined_keys(connection: Connection, table: Table) -> set[str]:
    """Return the keys of all quarantined partitions of a table."""
    return {scope.partition_key for scope in read_quarantined_scopes(connection, table)}


def select_quarantined(columns: Sequence[Column[Any]]) -> Select[Any]:
    """Return the query of the latest deliveries of partitions, if these are not loaded.

    A `group_id` names its table; by a second condition PostgreSQL may read all of a table's.
    """
    return (
        select(*columns)
        .select_from(fences.join(deliveries, deliveries.c.group_id == build_latest_group()))
        .where(deliveries.c.outcome != "landed")
    )
