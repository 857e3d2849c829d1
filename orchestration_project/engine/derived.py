"""Derives tables from loaded ones across partitions: just what is out of date, under fences.

A domain declares each table as a `DerivedTable`, and `DerivedLoad` derives any of them. A derived
partition's version names what it is made of, and is stored in `fences.source_version`. It is out of
date exactly when its inputs have another version now. Rules of a domain do not belong here.
"""

import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

import polars as pl
from sqlalchemy import Connection, Table

from orchestration_project.engine.conservation import read_source_sums
from orchestration_project.engine.contracts.balance import Balance, Conservation, UnbalancedError
from orchestration_project.engine.contracts.chain import hash_content
from orchestration_project.engine.environment import open_all
from orchestration_project.engine.equations import (
    BalanceFilter,
    SubjectBalance,
    record_balance,
)
from orchestration_project.engine.warehouse import Derivation, SupersededError, Warehouse
from orchestration_project.engine.warehouse.balancing import forget_failure
from orchestration_project.engine.warehouse.delivery import ATTEMPTS_AGAINST_OTHERS
from orchestration_project.engine.warehouse.fencing import read_derived_versions, read_fences
from orchestration_project.engine.warehouse.frames import Scope
from orchestration_project.engine.warehouse.target import IS_STALE, has_stale
from orchestration_project.errors import ConfigurationError

ROWS_SEPARATOR = "; rows "
"""In a version, between the inputs and the hash of the rows, where rows are compared."""

LoadedVersions = Mapping[str, Any]
"""Loaded partitions of the inputs, each with its last change: a delivery's number, or a time."""

ReadT = TypeVar("ReadT")


class Reach(Protocol):
    """Inputs of each derived partition, and so the partitions that a change affects.

    A class that inherits from it has partitions that are made of the one with the same key.
    """

    def required(self, key: str) -> Sequence[str]:
        """Return the loaded partitions without which ``key`` is not derived."""
        return [key]

    def inputs(self, key: str) -> Sequence[str]:
        """Return all partitions that ``key`` is made of, loaded or not."""
        return [key]

    def reached(
        self, key: str, *, requested: Collection[str], loaded: LoadedVersions
    ) -> Sequence[str]:
        """Return the keys to derive for ``key`` of ``requested``: itself and its dependents."""
        return [key]

    def candidates(self, loaded: LoadedVersions) -> Sequence[str]:
        """Return every partition that can be derived."""
        return sorted(loaded)

    def version(self, key: str, loaded: LoadedVersions) -> str:
        """Return the version, in words, that a derivation of ``key`` would have now."""
        ...


@dataclass(frozen=True, kw_only=True)
class Inputs(Generic[ReadT]):
    """Inputs of derived tables.

    Attributes:
        read_loaded: Returns what is loaded; given a key, at least what `Reach` needs for that key.
        read: Returns what all that is due is made of, read once.
        job: The job that loads it, named where a required partition is missing.
        expected: What that error expects.
    """

    read_loaded: Callable[[Connection, str | None], LoadedVersions]
    read: "Callable[[Connection, Sequence[PendingDerivation]], ReadT]"
    job: str
    expected: str = "what it is made of is loaded"


@dataclass(frozen=True, kw_only=True)
class DerivedTable(Generic[ReadT]):
    """A table that is derived from loaded ones, partition by partition.

    Attributes:
        table: The table.
        inputs: What it is made of.
        reach: Which partitions a change of the inputs reaches.
        scope: Returns a partition's key as a condition on the table's columns.
        make: Returns the rows of a partition, from what was read.
        is_compared: Whether the hash of the rows ends the version, as nothing shorter names all
            inputs. Such rows are made whenever asked for, and written where they differ.
        conservation: Sums that its rows keep.
    """

    table: Table
    inputs: Inputs[ReadT]
    reach: Reach
    scope: Callable[[str], Scope]
    make: "Callable[[PendingDerivation, ReadT], DerivedPart]"
    is_compared: bool = False
    conservation: Conservation | None = None


@dataclass(frozen=True)
class PendingDerivation:
    """A partition to derive.

    Attributes:
        derived: Its table.
        key: Its key.
        token: The token of its fence.
        before: What it was last derived of.
        version: What it is derived of now.
        inputs: The loaded partitions that it is made of.
        is_stale: Whether its rows are marked stale: they are written also where they are equal.
    """

    derived: DerivedTable[Any]
    key: str
    token: int
    before: str | None
    version: str
    inputs: Sequence[str]
    is_stale: bool = False

    @property
    def is_new(self) -> bool:
        """Whether it was last derived of something else, or is marked stale."""
        return self.version != self.before or self.is_stale


@dataclass(frozen=True)
class DerivedPart:
    """The rows that were made of a partition, and what the asset reports of it besides.

    ``part`` narrows the partition: only rows that meet this condition are replaced. ``excluded``
    are numbers of keys that no row is made of, by their reason.
    """

    rows: pl.DataFrame
    summary: Any = None
    part: Scope = field(default_factory=dict)
    excluded: Mapping[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True)
class DerivedBatch:
    """Derived rows of a requested partition, from the input ``versions`` by table."""

    partition_key: str
    versions: Mapping[str, str]
    made: Sequence[tuple[PendingDerivation, DerivedPart]]
    seconds: float


@dataclass(frozen=True)
class DerivedRows:
    """Derived partitions of one table.

    Attributes:
        versions: What each is made of, the partition that was requested included.
        row_count: How many rows that one has, or the part of it that was made.
        recomputed: How many rows were written of each.
        summaries: What was made besides, also where no rows were written.
    """

    versions: Mapping[str, str]
    row_count: int
    recomputed: Mapping[str, int]
    summaries: Mapping[str, Any]


@dataclass(frozen=True)
class DerivedResult:
    """Derived partitions for a request, with dependents, by table, in ``seconds``."""

    partition_key: str
    tables: Mapping[str, DerivedRows]
    seconds: float
    describe: "Callable[[DerivedResult], str]"

    @property
    def recomputed(self) -> Sequence[str]:
        """The partitions of which rows were written in any table."""
        return list(
            dict.fromkeys(key for table in self.tables.values() for key in table.recomputed)
        )

    def __str__(self) -> str:
        return self.describe(self)


def _name_recomputed(result: DerivedResult) -> str:
    return f"derived {', '.join(result.recomputed)}" if result.recomputed else "unchanged"


@dataclass(frozen=True)
class DerivedLoad:
    """Derives partitions of tables, each with the dependents that its change reaches.

    A dependent between two partitions that are ``requested`` belongs to the earlier one.

    Attributes:
        tables: Tables that share their inputs and are partitioned alike.
        warehouse: The database.
        requested: All partitions that the run was asked for.
        where: What an error names besides partition and run.
        run_id: Dagster run, recorded with its equations; empty: none.
        describe: Returns the line that is logged of a result.
    """

    tables: Sequence[DerivedTable[Any]]
    warehouse: Warehouse
    requested: Collection[str] = ()
    where: Mapping[str, str] = field(default_factory=dict)
    run_id: str = ""
    describe: Callable[[DerivedResult], str] = _name_recomputed

    def ready(self) -> None:
        """Open the database.

        Raises:
            OrchestrationError: It cannot be opened.
        """
        open_all(self.warehouse)

    def take(self, key: str) -> DerivedBatch:
        """Make, of one state of the database, what is out of date of a partition and dependents.

        Raises:
            ConfigurationError: What the partition is made of is not loaded.
        """
        started, inputs = time.monotonic(), self.tables[0].inputs
        with self.warehouse.reading() as connection:
            loaded = inputs.read_loaded(connection, key)
            required = {one: None for table in self.tables for one in table.reach.required(key)}
            if missing := [one for one in required if one not in loaded]:
                raise ConfigurationError(
                    f"{key} cannot be derived",
                    expected=inputs.expected,
                    found=f"not loaded: {', '.join(missing)}",
                    remedy=f"load that first, by the job {inputs.job}",
                )
            due = self._due(connection, key, loaded)
            read = inputs.read(connection, due) if due else None
        made_pairs = [_make(pending_derivation, read) for pending_derivation in due]
        versions = {table.table.name: table.reach.version(key, loaded) for table in self.tables}
        return DerivedBatch(key, versions, made_pairs, time.monotonic() - started)

    def _due(
        self, connection: Connection, key: str, loaded: LoadedVersions
    ) -> list[PendingDerivation]:
        """Return the derivations that a change reaches and that lack the present inputs."""
        due = []
        for derived in self.tables:
            reach = derived.reach
            reached = reach.reached(key, requested=self.requested, loaded=loaded)
            fences = read_fences(connection, derived.table, reached)
            for name, (token, before) in fences.items():
                version = reach.version(name, loaded)
                if derived.is_compared or before != version:
                    inputs = [one for one in reach.inputs(name) if one in loaded]
                    is_stale = derived.is_compared and has_stale(
                        connection, derived.table, derived.scope(name)
                    )
                    due.append(
                        PendingDerivation(derived, name, token, before, version, inputs, is_stale)
                    )
        return due

    def derive(self, key: str) -> DerivedResult:
        """Make and write what is out of date; again, if another run derived it meanwhile.

        Raises:
            ConfigurationError: What the partition is made of is not loaded.
            ContractError: A sum that rows keep is not that of their source; nothing is written.
            SupersededError: Others were first each time.
        """
        for _ in range(ATTEMPTS_AGAINST_OTHERS - 1):
            with suppress(SupersededError):
                return self.write_batch(self.take(key))
        return self.write_batch(self.take(key))

    def write_batch(self, taken: DerivedBatch) -> DerivedResult:
        """Write the derived rows, in one transaction.

        Raises:
            SupersededError: Another run derived one of them meanwhile.
            ContractError: A sum that rows keep is not that of their source; nothing is written.
        """
        started, key = time.monotonic(), taken.partition_key
        new = [
            _build_derivation(due, derived_part) for due, derived_part in taken.made if due.is_new
        ]
        self.warehouse.derive(new, partial(self._checked, key, new))
        seconds = taken.seconds + time.monotonic() - started
        derived_part = {due.derived.table for due, _ in taken.made if due.key == key}
        current = [table.table for table in self.tables if table.table not in derived_part]
        scope = self.tables[0].scope(key)  # partitioned alike, so all have it
        counts = self.warehouse.row_counts(current, scope) if current else {}
        tables = {name: _summarize_rows(name, taken, counts) for name in taken.versions}
        return DerivedResult(key, tables, seconds, self.describe)

    def _checked(
        self, key: str, made: Sequence[Derivation], connection: Connection, at: datetime
    ) -> Sequence[Derivation]:
        """Return the derived rows; their sums are those of the source.

        Raises:
            ContractError: They are not.
        """
        written = self._with_staleness(key, made, connection)
        kept_conservations = {derived.table: derived.conservation for derived in self.tables}
        for derivation in written:
            if (conservation := kept_conservations[derivation.table]) is not None:
                balances = self._refuse_loss(connection, conservation, derivation)
                if conservation.has_exclusions:  # the derived rows alone do not have them
                    self._record(connection, conservation, derivation, balances, at)
        return written

    def _refuse_loss(
        self, connection: Connection, conservation: Conservation, derivation: Derivation
    ) -> list[Balance]:
        """Compare rows with their source, unless a load changed that since it was read."""
        rows = derivation.rows
        if IS_STALE in rows.columns and rows[IS_STALE].any():
            return []
        sums = read_source_sums(connection, conservation, derivation.partition, BalanceFilter())
        totals: Counter[str] = Counter({"keys": 0} if conservation.keys else {})
        for partition_sums in sums.values():
            totals.update(partition_sums)
        try:
            balances = conservation.refuse_loss(totals, rows, derivation.excluded)
        except UnbalancedError as error:
            error.subject, error.run_id = derivation.partition_key, self.run_id
            raise
        forget_failure(connection, derivation.table.name, derivation.partition_key)
        return balances

    def _record(
        self,
        connection: Connection,
        conservation: Conservation,
        derivation: Derivation,
        balances: Sequence[Balance],
        at: datetime,
    ) -> None:
        subject = conservation.subject_of(derivation.partition)
        for balance in balances:
            stage = SubjectBalance(derivation.table.name, subject, balance)
            record_balance(connection, stage, run_id=self.run_id, at=at)

    def _with_staleness(
        self, key: str, made: Sequence[Derivation], connection: Connection
    ) -> Sequence[Derivation]:
        """Return the derivations, marked stale where a load changed their inputs meanwhile."""
        if not any(IS_STALE in derivation.table.c for derivation in made):
            return made
        loaded = self.tables[0].inputs.read_loaded(connection, key)
        reach_of = {table.table: table.reach for table in self.tables}
        return [
            replace(
                derivation, rows=derivation.rows.with_columns(pl.lit(value=True).alias(IS_STALE))
            )
            if IS_STALE in derivation.table.c
            and reach_of[derivation.table].version(derivation.partition_key, loaded)
            != derivation.version.partition(ROWS_SEPARATOR)[0]
            else derivation
            for derivation in made
        ]


def _make(due: PendingDerivation, read: Any) -> tuple[PendingDerivation, DerivedPart]:
    made_derived_part = due.derived.make(due, read)
    if due.derived.is_compared:
        due = replace(
            due, version=f"{due.version}{ROWS_SEPARATOR}{hash_content(made_derived_part.rows)}"
        )
    return due, made_derived_part


def _build_derivation(due: PendingDerivation, made: DerivedPart) -> Derivation:
    partition = {**due.derived.scope(due.key), **made.part}
    table, excluded = due.derived.table, made.excluded
    return Derivation(
        table, due.key, partition, due.token, due.version, made.rows, excluded, due.before
    )


def _summarize_rows(name: str, taken: DerivedBatch, counts: Mapping[str, int]) -> DerivedRows:
    key = taken.partition_key
    pending_derivations = {
        due.key: (due, derived_part)
        for due, derived_part in taken.made
        if due.derived.table.name == name
    }
    versions = {each: due.version for each, (due, _) in pending_derivations.items()}
    return DerivedRows(
        {key: taken.versions[name], **versions},
        len(pending_derivations[key][1].rows) if key in pending_derivations else counts[name],
        {
            each: len(derived_part.rows)
            for each, (due, derived_part) in pending_derivations.items()
            if due.is_new
        },
        {each: derived_part.summary for each, (_, derived_part) in pending_derivations.items()},
    )


def find_outdated_keys(
    reach: Reach, loaded: LoadedVersions, derived: Mapping[str, str]
) -> list[str]:
    """Return the partitions to derive; ``derived`` has the versions of those that are.

    Where rows are compared, these are the partitions whose other inputs changed.
    """
    return [
        key
        for key in reach.candidates(loaded)
        if derived.get(key, "").partition(ROWS_SEPARATOR)[0] != reach.version(key, loaded)
    ]


def find_outdated(
    warehouse: Warehouse, tables: Sequence[DerivedTable[Any]]
) -> tuple[LoadedVersions, list[str]]:
    """Return the loaded inputs, and the partitions of any table that are out of date."""
    with warehouse.reading() as connection:
        loaded = tables[0].inputs.read_loaded(connection, None)
        derived = {table.table: read_derived_versions(connection, table.table) for table in tables}
    due = (find_outdated_keys(table.reach, loaded, derived[table.table]) for table in tables)
    return loaded, sorted(set().union(*due))
