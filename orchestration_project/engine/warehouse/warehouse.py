"""The user's database, as the rest of the project sees it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from sqlalchemy import Connection, Engine, FromClause, RowMapping, Select, Table, exc, func, select
from sqlalchemy.engine import URL

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts import lazy_polars as pl
from orchestration_project.engine.contracts.audits import Validated
from orchestration_project.engine.contracts.balance import NOTHING_COUNTED, Balance, UnbalancedError
from orchestration_project.engine.contracts.chain import REFUSAL, ChainKey
from orchestration_project.engine.packs import Blob
from orchestration_project.engine.tracing.spans import open_span
from orchestration_project.engine.warehouse.balancing import record_failure
from orchestration_project.engine.warehouse.bounded import (
    report_progress,
    use_idle_limit,
    use_time_limit,
)
from orchestration_project.engine.warehouse.bulk import use_disk_sort
from orchestration_project.engine.warehouse.capture_log import read_blobs
from orchestration_project.engine.warehouse.chaining import CHAIN_KEY, append_to_chain
from orchestration_project.engine.warehouse.connecting import (
    explain_errors,
    open_engine,
    open_look_ups,
    parse_url,
    redact_url,
    rewrite_tables,
)
from orchestration_project.engine.warehouse.delivery import (
    AfterWrite,
    Delivery,
    ValidatedBatch,
    WarningCheck,
    WriteOutcome,
    WriteResult,
    require_written,
    skip_note,
    skip_warnings,
)
from orchestration_project.engine.warehouse.fencing import (
    find_first_load_time,
    read_known_versions,
    read_last_changes,
    read_latest_audits,
    read_states,
    record_evidence,
    take_fence,
)
from orchestration_project.engine.warehouse.frames import (
    Scope,
    insert_absent,
    match_scope,
    read_batches,
    read_frame,
)
from orchestration_project.engine.warehouse.migrating import (
    compare_changed,
    declare_recorded,
    is_compared,
    is_current,
    is_recorded,
    migrate,
    read_schema_version,
    record_own_tables,
    refuse_older,
    refuse_other_tables,
    render_migration,
)
from orchestration_project.engine.warehouse.own_schema import (
    Change,
    apply_changes,
    find_additive_changes,
    find_other_differences,
    make_declared,
)
from orchestration_project.engine.warehouse.recorded import (
    LoadRecord,
    RecordedDelivery,
    find_replayable,
    read_load_record,
    read_recorded,
)
from orchestration_project.engine.warehouse.target import ScopeState, SummaryT, WriteTarget
from orchestration_project.errors import ConfigurationError
from orchestration_project.tables.schema import Query
from orchestration_project.tables.spine import database_labels

if TYPE_CHECKING:
    from orchestration_project.engine.warehouse.derived_partitions import Derivation
    from orchestration_project.engine.warehouse.own_changes import TableChange
    from orchestration_project.engine.warehouse.own_renames import TableRename
    from orchestration_project.engine.warehouse.upgrade_plans import UpgradePlan

RecordChanges = Callable[[Connection, Sequence[str]], None]
"""Records changes of tables, in words, in their transaction."""


class Warehouse:
    """Reads and writes our tables; every write is one transaction."""

    def __init__(
        self,
        url: str | URL,
        *,
        clock: Clock,
        schema: str | None = None,
        chain_key: Callable[[], ChainKey] | None = None,
    ) -> None:
        """Open nothing yet.

        Args:
            url: URL of the database.
            clock: The clock of loads.
            schema: Schema of the tables, in PostgreSQL.
            chain_key: Returns the key that signs load records; None: loads record no chain.
        """
        self._schema = schema
        self._read_chain_key = chain_key
        self._clock = clock
        self._url = parse_url(url)
        self._engine = open_engine(self._url, schema)

    @cached_property
    def _look_ups(self) -> Engine | None:
        return open_look_ups(self._url, self._schema)

    @cached_property
    def _chain_key(self) -> ChainKey | None:
        return self._read_chain_key() if self._read_chain_key else None

    @property
    def shown_url(self) -> str:
        """The database's URL without its password."""
        return redact_url(self._engine.url)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()
        if self._look_ups is not None:
            self._look_ups.dispose()

    @contextmanager
    def reading(self, *, seconds: float | None = None) -> Iterator[Connection]:
        """Give a connection that sees one state of the database.

        Raises:
            TimeoutError: A read took longer than ``seconds``; the database ended it.
        """
        with (
            explain_errors(self._engine),
            self._engine.connect() as connection,
            connection.begin(),
            nullcontext() if seconds is None else use_time_limit(connection, seconds),
        ):
            yield connection

    def first(self, statement: Select[Any], **values: object) -> RowMapping | None:
        """Return the first row of a query as it is committed now; None if there is none.

        For what is asked all the time: it costs about a third of `reading`.
        """
        if self._look_ups is None:
            with self.reading() as connection:
                return connection.execute(statement, values).mappings().first()
        with explain_errors(self._engine):
            try:
                return _fetch_first(self._look_ups, statement, values)
            except exc.DBAPIError as error:
                if not error.connection_invalidated:
                    raise
            return _fetch_first(self._look_ups, statement, values)  # the server was restarted since

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Give a connection whose changes become visible together, at the end or never.

        Of a stage that does not balance, its numbers alone are recorded.
        """
        try:
            with self._transaction() as connection:
                yield connection
        except UnbalancedError as error:
            if error.table_name:
                with self._transaction() as connection:
                    record_failure(connection, error, self._clock.now())
            raise

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with (
            open_span("transaction", "client", system=self._url.get_backend_name()),
            explain_errors(self._engine),
            self._engine.connect().execution_options(
                writes=True, **{CHAIN_KEY: self._chain_key}
            ) as connection,
            connection.begin(),
        ):
            yield connection

    def rewrite_tables(self, tables: Sequence[Table]) -> bool:
        """Rewrite the database's files, so that they hold nothing of rows that were deleted.

        Returns:
            False for a database other than SQLite and PostgreSQL: nothing was done.

        Raises:
            TransientError: Others read or lock the tables for long.
        """
        with explain_errors(self._engine):
            return rewrite_tables(self._engine, tables, self._schema)

    @property
    def file(self) -> Path | None:
        """The file of a SQLite database; None: another database."""
        is_file = self._url.get_backend_name() == "sqlite"
        return Path(str(self._url.database)) if is_file else None

    def prepare(self, *, holds: str, changes_own: bool = False) -> None:
        """Make the tables of an empty database, and make sure that it ``holds`` such data.

        Tables whose stored hash is another one are compared with the declared ones, once. With
        ``changes_own``, those that the project declares are made and widened before that.

        Raises:
            ConfigurationError: It holds other data (``demo`` and ``real`` never mix), or its
                tables are of another version, or not the declared ones.
        """
        with self.reading() as connection:
            refuse_older(connection)
        self._make_current(holds=holds, changes_own=changes_own)

    def upgrade(self, *, holds: str) -> None:
        """Bring the tables up to date, and make sure that the database ``holds`` such data.

        Those that the project declares are made, and get columns that they lack.

        Raises:
            ConfigurationError: It holds other data, or its tables are of a newer version, or
                not the declared ones; then they stay as they were.
        """
        self._make_current(holds=holds, changes_own=True)

    def _make_current(self, *, holds: str, changes_own: bool) -> None:
        """As `upgrade`; without ``changes_own``, own tables of an empty database alone are made."""
        with self.reading() as connection:
            is_known = (
                is_current(connection) and is_compared(connection) and is_recorded(connection)
            )
            text = self._label(connection) if is_known else None
            if is_known:
                declare_recorded(connection)
        if text is None:
            with self.writing() as connection:
                was_empty = read_schema_version(connection) is None
                migrate(connection, self._schema)
                if was_empty or changes_own:
                    apply_changes(connection, find_additive_changes(connection, self._schema))
                if not is_compared(connection):
                    compare_changed(connection)
                record_own_tables(connection, self._clock)
                declare_recorded(connection)
                insert_absent(connection, database_labels, [{"name": "data", "value": holds}])
                text = self._label(connection)
        if text != holds:
            raise ConfigurationError(
                f"the database holds {text} data and would now get {holds} data",
                expected=f"a database for {holds} data",
                found=self.shown_url,
                remedy="set DATABASE_URL to another database, or DATA_PROFILE to what it holds",
            )

    def own_changes(self) -> Sequence[Change]:
        """Return the changes that `upgrade` would make to tables that the project declares."""
        with self.reading() as connection:
            return find_additive_changes(connection, self._schema)

    def other_own_differences(self) -> Sequence[str]:
        """Return how tables that the project declares differ, where `upgrade` changes nothing."""
        with self.reading() as connection:
            return find_other_differences(connection, self._schema)

    def plan_own(
        self, dropped: Collection[str] = (), renames: Mapping[str, Mapping[str, str]] | None = None
    ) -> Sequence[TableChange]:
        """Return the changes of declared tables that are not additive, as `plan_changes`."""
        from orchestration_project.engine.warehouse.own_changes import plan_changes

        with self.reading() as connection:
            return plan_changes(connection, self._schema, dropped, renames or {})

    def own_sql(self, changes: Sequence[TableChange]) -> Sequence[str]:
        """Return the statements of changes, for a role with rights on tables."""
        from orchestration_project.engine.warehouse.own_changes import change_sql

        with self.reading() as connection:
            return list(change_sql(connection, self._schema, changes, self._clock.now()))

    def change_own(
        self,
        dropped: Collection[str] = (),
        renames: Mapping[str, Mapping[str, str]] | None = None,
        record: RecordChanges | None = None,
    ) -> Sequence[str]:
        """Apply all changes of declared tables, and return them in words.

        ``record`` records them in the same transaction.

        Raises:
            ConfigurationError: Values would be lost, the role may not change tables, or the
                tables are of another version; they stay as they were.
        """
        from orchestration_project.engine.warehouse.own_changes import apply_plan

        with self.writing() as connection:
            refuse_older(connection)
            plan = apply_plan(connection, self._schema, self._clock, dropped, renames or {})
            if plan and record is not None:
                record(connection, plan)
        with self.reading() as connection:
            declare_recorded(connection)
        return plan

    def plan_rename(self, old: str, new: str) -> TableRename | None:
        """Return the rename of a declared table, as `plan_rename` of `own_renames`."""
        from orchestration_project.engine.warehouse.own_renames import plan_rename

        with self.reading() as connection:
            return plan_rename(connection, self._schema, old, new)

    def rename_sql(self, rename: TableRename | None) -> Sequence[str]:
        """Return the statements of a rename, for a role with rights on tables."""
        from orchestration_project.engine.warehouse.own_renames import rename_sql

        with self.reading() as connection:
            return list(rename_sql(connection, self._schema, rename))

    def rename_own(self, old: str, new: str, record: RecordChanges | None = None) -> str | None:
        """Rename a declared table, and return it in words; None: it was renamed before.

        ``record`` records it in the same transaction.

        Raises:
            ConfigurationError: The declaration does not fit, the role may not change tables, or
                the tables are of another version; they stay as they were.
        """
        from orchestration_project.engine.warehouse.own_renames import apply_rename

        with self.writing() as connection:
            refuse_older(connection)
            rename = apply_rename(connection, self._schema, self._clock, old, new)
            if rename is not None and record is not None:
                record(connection, [rename])
        with self.reading() as connection:
            declare_recorded(connection)
        return rename

    def compare_tables(self) -> Sequence[str]:
        """Compare the tables with the declared ones; return what is additional.

        Raises:
            ConfigurationError: Columns, types, keys or indexes differ; they are named.
        """
        with self.reading() as connection:
            return refuse_other_tables(connection)

    def version(self) -> str | None:
        """Return the version of the tables as they are; None: they are missing."""
        with self.reading() as connection:
            return read_schema_version(connection)

    def plan_upgrade(self) -> UpgradePlan:
        """Return the effect of `upgrade`; nothing is written, and no file is made.

        Raises:
            ConfigurationError: As `upgrade`.
        """
        from orchestration_project.engine.warehouse.upgrade_plans import (
            OF_EMPTY_DATABASE,
            plan_upgrade,
        )

        if self.file is not None and not self.file.exists():
            return OF_EMPTY_DATABASE
        with self.reading() as connection:
            return plan_upgrade(connection, self._schema)

    def migration_sql(self) -> str:
        """Return the SQL that would bring the tables up to date; nothing is executed."""
        with self.reading() as connection:
            return render_migration(connection, self._schema)

    def fill_from(self, source: Warehouse) -> dict[str, int]:
        """Copy all tables of ``source``, one state of it, into this empty database.

        Returns the number of rows of each table.

        Raises:
            ConfigurationError: There are rows in this database.
            ContractError: A copy differs from its original; nothing is kept of it.
        """
        from orchestration_project.engine.warehouse.copying import copy_tables

        with source.reading() as original, self.writing() as copy:
            migrate(copy, self._schema)
            declare_recorded(original)
            make_declared(copy, self._schema)
            return copy_tables(original, copy, shown_url=self.shown_url)

    @staticmethod
    def _label(connection: Connection) -> str | None:
        return connection.execute(
            select(database_labels.c.value).where(database_labels.c.name == "data")
        ).scalar()

    def frame(
        self, statement: Select[Any], table: Table, *, seconds: float | None = None
    ) -> pl.DataFrame:
        """Return the rows of a query whose columns are columns of ``table``, within ``seconds``."""
        with self.reading(seconds=seconds) as connection:
            return read_frame(connection, statement, table)

    @contextmanager
    def batches(
        self, statement: Query, rows: FromClause, *, seconds: float | None = None
    ) -> Iterator[Iterator[pl.DataFrame]]:
        """Give the rows of a query whose columns are columns of ``rows``, one state, in batches.

        The first frame is empty, so that the columns are known also without a row.

        Raises:
            TimeoutError: No batch came for ``seconds``; the database ended the query. SQLite is to
            count the rows in this time; those of many are then read as long as it takes.
        """
        with (
            explain_errors(self._engine),
            self._engine.connect() as connection,
            use_disk_sort(connection),  # which cannot change within a transaction
            connection.begin(),
            nullcontext() if seconds is None else use_idle_limit(connection, seconds) as on,
            closing(read_batches(connection, statement, rows, is_committed=True)) as batches,
        ):
            yield batches if on is None else report_progress(batches, on)

    def state(self, table: Table, partition_key: str) -> ScopeState:
        """Return the loaded state of a partition."""
        with self.reading() as connection:
            return read_states(connection, table, [partition_key])[partition_key]

    def known_blobs(self, hashes: Sequence[str]) -> Mapping[str, Blob]:
        """Return those blobs of some SHA-256 that are recorded."""
        with self.reading() as connection:
            return read_blobs(connection, hashes)

    def known_versions(self, table: Table) -> dict[str, set[str]]:
        """Return the source versions of each partition that need no other look.

        They are that of its latest audited delivery, loaded or quarantined, and that of its latest
        load: a source may take back a quarantined delivery.
        """
        with self.reading() as connection:
            return read_known_versions(connection, table)

    def changes(self, table: Table) -> dict[str, int]:
        """Return each loaded partition, and the number of the delivery that last changed it."""
        with self.reading() as connection:
            return read_last_changes(connection, table)

    def first_landed_at(self, table: Table) -> datetime | None:
        """Return when a partition was loaded first, which identifies this database."""
        with self.reading() as connection:
            return find_first_load_time(connection, table)

    def row_counts(self, tables: Sequence[Table], scope: Scope) -> dict[str, int]:
        """Return how many rows of each table lie in ``scope``."""
        with self.reading() as connection:
            return {
                table.name: connection.execute(
                    select(func.count()).select_from(table).where(match_scope(table, scope))
                ).scalar_one()
                for table in tables
            }

    def latest_audits(self, table: Table) -> pl.DataFrame:
        """Return the audits of each partition's latest delivery that was audited."""
        with self.reading() as connection:
            return read_latest_audits(connection, table)

    def write_batch(
        self,
        batch: ValidatedBatch[SummaryT],
        warn: WarningCheck = skip_warnings,
        note: AfterWrite = skip_note,
    ) -> WriteResult[SummaryT]:
        """Load a validated delivery, or record why not.

        Raises:
            QuarantinedError: An audit failed; captures, rejects and audits are recorded.
            SupersededError: Another delivery of the partition came first; nothing is recorded.
        """
        [written] = require_written(self.load_batches([batch], warn, note))
        return written

    def load_batches(
        self,
        batches: Sequence[ValidatedBatch[SummaryT]],
        warn: WarningCheck = skip_warnings,
        note: AfterWrite = skip_note,
    ) -> list[WriteOutcome[SummaryT]]:
        """Load deliveries of several partitions of a table, in one transaction.

        Each ends for itself: one that is quarantined, or came too late, harms no other. ``warn``
        and ``note`` are asked in that transaction; ``note`` also without a delivery.
        """
        from orchestration_project.engine.warehouse.loading import load_batches

        with open_span("load") as opened_span:
            if opened_span is not None and batches:
                target = batches[0].target
                opened_span.set(table=target.spec.table.name, partition=target.partition_key)
                opened_span.set(partition_count=len(batches))
            try:
                with self.writing() as connection:
                    ended = load_batches(connection, batches, self._clock.now(), warn, note)
            except UnbalancedError as error:
                self._record_unbalanced(batches, error)
                raise
            if opened_span is not None:
                written = [item for item in ended if isinstance(item, WriteResult)]
                opened_span.set(rows_added=sum(write_result.rows_added for write_result in written))
                opened_span.set(
                    rows_changed=sum(write_result.rows_changed for write_result in written)
                )
            return ended

    def are_there(self, batches: Sequence[ValidatedBatch]) -> list[bool]:
        """Whether loading would write no row of each, whichever deliveries loaded what is there."""
        from orchestration_project.engine.warehouse.loading import are_there

        with self.reading() as connection:
            return are_there(connection, batches)

    def recorded(
        self, table: Table, partition_key: str
    ) -> tuple[ScopeState, list[RecordedDelivery]]:
        """Return the loaded state of a partition, and its deliveries, oldest first."""
        with self.reading() as connection:
            state = read_states(connection, table, [partition_key])[partition_key]
            return state, read_recorded(connection, table, partition_key)

    def read_load_record(self, table: Table, key: str, landed_at: datetime) -> LoadRecord:
        """Return the figures of the delivery that loaded in a partition at a time."""
        with self.reading() as connection:
            return read_load_record(connection, table, key, landed_at)

    def replayable(self, table: Table) -> list[str]:
        """Return the keys of the partitions that have a delivery which was read whole."""
        with self.reading() as connection:
            return find_replayable(connection, table)

    def derive(
        self,
        derivations: Sequence[Derivation],
        at_write: Callable[[Connection, datetime], Sequence[Derivation]] | None = None,
    ) -> None:
        """Replace partitions of derived tables, all or none.

        Args:
            derivations: What was made.
            at_write: Returns it as it is to be written at a time, from the state of that
                transaction.

        Raises:
            SupersededError: Another run derived one of them since its inputs were read.
        """
        from orchestration_project.engine.warehouse.derived_partitions import write_derived

        if derivations:
            with self.writing() as connection:
                now = self._clock.now()
                written = at_write(connection, now) if at_write else derivations
                write_derived(connection, written, now)

    def record_refused(
        self,
        target: WriteTarget,
        delivery: Delivery,
        rejects: pl.DataFrame | None = None,
        balances: Sequence[Balance] = (NOTHING_COUNTED,),
    ) -> None:
        """Record the captures of a delivery that could not even be checked.

        ``rejects``: Of ``REJECT_SCHEMA``; why it could not. ``balances``: Its equations.

        Raises:
            SupersededError: Another delivery of the partition came first; nothing is recorded.
        """
        from orchestration_project.engine.contracts.frame_types import REJECT_SCHEMA

        if rejects is None:
            rejects = pl.DataFrame(schema=REJECT_SCHEMA)
        nothing = Validated(pl.DataFrame(), rejects, balances=balances)
        with self.writing() as connection:
            known_from = take_fence(connection, target, self._clock.now(), None)
            refused = ValidatedBatch(target, delivery, nothing, "", None)
            record_evidence(connection, [refused], known_from, "refused")
            append_to_chain(connection, [refused], REFUSAL, known_from)

    def _record_unbalanced(
        self, batches: Sequence[ValidatedBatch[Any]], error: UnbalancedError
    ) -> None:
        """Record the delivery whose write did not balance, with its equations."""
        for batch in batches:
            if batch.target.partition_key == error.context.get("partition"):
                self.record_refused(batch.target, batch.delivery, None, error.balances)


def _fetch_first(
    engine: Engine, statement: Select[Any], values: Mapping[str, object]
) -> RowMapping | None:
    with engine.connect() as connection:
        return connection.execute(statement, values).mappings().first()
