"""Comparison of a table with its chain: each record, row and recorded delivery has to fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Table, exists, func, select

from orchestration_project.engine.contracts import lazy_polars as pl
from orchestration_project.engine.contracts.chain import (
    COLUMNS,
    GROUP,
    LOAD,
    MAX_LISTED_ROWS,
    QUARANTINE,
    REFUSAL,
    RENAME,
    RENAMED_FROM,
    START,
    ChainHead,
    ChainProblem,
    ChainRecord,
    Renames,
    format_payload,
    hash_groups,
    hash_payload,
    hash_rows,
    hash_with_salt,
    iterate_head_problems,
    link_problems,
)
from orchestration_project.engine.warehouse.chaining import (
    Draft,
    RowsDigest,
    build_recorded_state,
    list_hashed_columns,
    parse_partition,
    parse_range,
    read_chain,
    read_chain_heads,
    read_evidence,
)
from orchestration_project.engine.warehouse.frames import (
    Scope,
    iterate_chunks,
    match_scope,
    read_frame,
)
from orchestration_project.tables.catalogue import tables
from orchestration_project.tables.schema import ENDED_ON, HISTORY, IS_LOAD_DAY, key_names
from orchestration_project.tables.spine import (
    audits,
    captures,
    chain_heads,
    deliveries,
    landings,
    load_chain,
    rejects,
    table_renames,
)

DELIVERED = (LOAD, QUARANTINE, REFUSAL)


@dataclass
class ChainReport:
    """Result of a comparison of a table with its chain.

    Attributes:
        table_name: The table.
        record_count: Records of its chain.
        row_count: Rows that records name, earlier versions included.
        unchained_count: Deliveries from before the chain, which it does not cover.
        problems: What does not fit, in the order of the records.
    """

    table_name: str
    record_count: int = 0
    row_count: int = 0
    unchained_count: int = 0
    problems: list[ChainProblem] = field(default_factory=list)


def _is_whole(parts: Sequence[Sequence[Any]]) -> bool:
    """Whether rows come in one part, which has no condition."""
    return len(parts) == 1 and not parts[0][2]


class _Effective(NamedTuple):
    """Record of a delivery, with the record whose hashes count: itself, or the latest amendment."""

    record: ChainRecord
    hashes: ChainRecord

    @property
    def fields(self) -> Mapping[str, Any]:
        return self.hashes.fields


def list_chained_tables(connection: Connection) -> list[Table]:
    """Return the tables that have a chain, by name."""
    names = read_chain_names(connection)
    return sorted(
        (table for table in tables() if table.name in names), key=lambda table: table.name
    )


def read_chain_names(connection: Connection) -> set[str]:
    """Return the tables that records or heads name."""
    names = connection.scalars(select(load_chain.c.table_name).distinct())
    return {*names, *read_chain_heads(connection)}


def find_unknown_chains(connection: Connection) -> list[ChainProblem]:
    """Return each chain of a table that this release does not declare."""
    declared = {table.name for table in tables()}
    cause = "expected a table of this release, found a chain alone"
    return [
        ChainProblem(name, None, "chain", cause)
        for name in sorted(read_chain_names(connection) - declared)
    ]


def check_heads(connection: Connection, exported: Mapping[str, ChainHead]) -> list[ChainProblem]:
    """Return each exported head whose record is not in the database any more.

    The head of a table that was renamed since is looked for under its present name, too.
    """
    renamed = {name: find_current_name(connection, name) for name in exported}
    present = {}
    for name, head in exported.items():
        rows = connection.execute(
            select(load_chain.c.number, load_chain.c.record_sha256).where(
                load_chain.c.table_name.in_({name, renamed[name]}),
                load_chain.c.number == head.number,
            )
        ).all()
        exact = [row for row in rows if row.record_sha256 == head.record_sha256]
        present[name] = {row.number: row.record_sha256 for row in exact or rows}
    return list(iterate_head_problems(exported, present))


def find_current_name(connection: Connection, name: str) -> str:
    """Return the name that a table has now, by the latest rename of a table of this name."""
    statement = (
        select(table_renames.c.table_name)
        .where(table_renames.c.old_name == name)
        .order_by(table_renames.c.renamed_at.desc())
        .limit(1)
    )
    return connection.scalar(statement) or name


def check_table(connection: Connection, table: Table, trusted: frozenset[str]) -> ChainReport:
    """Compare all that the chain of a table covers with its records.

    Args:
        connection: Reads one state of the database.
        table: A table that has a chain.
        trusted: Public keys that may have signed.
    """
    checking = ChainChecking(connection, table, trusted)
    return checking.report()


class ChainChecking:
    """Comparison of one table; ``rows``: the copy that has its rows, with its history."""

    def __init__(
        self,
        connection: Connection,
        table: Table,
        trusted: frozenset[str],
        rows: Table | None = None,
    ) -> None:
        self._connection = connection
        self._table = table
        self._rows_table = table if rows is None else rows
        self._history: Table | None = self._rows_table.info.get(HISTORY)
        self._trusted = trusted
        self._report = ChainReport(table.name)
        self._columns: dict[int, Mapping[str, Sequence[str]]] = {}
        self._unchained: Mapping[str, int] = {}
        self._start = datetime.fromtimestamp(0, UTC)
        self._rejecting: set[int] = set()

    def report(self) -> ChainReport:
        """Compare all that the chain covers; return the records that do not fit."""
        self._check_links()
        is_delivery = (
            load_chain.c.table_name == self._table.name,
            load_chain.c.kind.in_(DELIVERED),
        )
        keys = select(load_chain.c.partition_key).where(*is_delivery).distinct()
        for partition_key in sorted(self._connection.scalars(keys)):
            self._check_readable_partition(partition_key)
        self._check_totals()
        self._check_strangers()
        self._report.problems.sort(key=lambda problem: (problem.number is None, problem.number))
        return self._report

    def misfits(self, partition_keys: Sequence[str] | None) -> set[int]:
        """Return the records that do not fit: of some partitions, or None: of the whole table."""
        if partition_keys is None:
            problems = self.report().problems
        else:
            is_head = load_chain.c.kind.in_((START, COLUMNS))
            for _ in self._noted(read_chain(self._connection, self._table.name, is_head)):
                pass
            for partition_key in partition_keys:
                self._check_readable_partition(partition_key)
            problems = self._report.problems
        return {problem.number for problem in problems if problem.number is not None}

    def amendment(self, number: int, kind: str, reason: str) -> Draft:
        """Return the amendment of a record, with the hashes of the present rows and columns."""
        [record] = read_chain(self._connection, self._table.name, load_chain.c.number == number)
        amended = read_chain(self._connection, self._table.name, load_chain.c.amends == number)
        effective = _Effective(record, list(amended)[-1] if self._is_amended(number) else record)
        group, fields = str(record.group_id), effective.fields
        columns = list_hashed_columns(self._table)
        ids = [int(one) for one in fields["rejects"]]
        recorded, rejected = read_evidence(self._connection, self._table, [group], ids, columns)
        scope = parse_partition(self._table, record.partition or "{}")
        sources = [self._table] if self._history is None else [self._table, self._history]
        change = (
            self._parts(sources, scope, effective, "written", "known_from", columns),
            self._parts(sources[1:], scope, effective, "ended", "known_to", columns),
        )
        day, is_load_day = fields["ending"]
        state = build_recorded_state(
            {name: hashes[group] for name, hashes in recorded.items()},
            rejected,
            change,
            (None if day is None else date.fromisoformat(day), is_load_day),
        )
        return Draft(
            kind,
            record.group_id,
            record.partition_key,
            record.partition,
            amends=number,
            state=state,
            fields={"reason": reason},
        )

    def _is_amended(self, number: int) -> bool:
        is_it = (load_chain.c.table_name == self._table.name, load_chain.c.amends == number)
        return self._count(load_chain, *is_it) > 0

    def _parts(
        self,
        sources: Sequence[Table],
        scope: Scope,
        effective: _Effective,
        part_name: str,
        time_name: str,
        columns: Mapping[str, Sequence[str]],
    ) -> list[RowsDigest]:
        """Return the digest of the present rows of each part, without parts that lost all."""
        names = columns[part_name]
        parts = []
        for _, _, condition in effective.fields[part_name]:
            part = {**scope, **parse_range(condition)}
            rows = self._rows(sources, part, effective.record.recorded_at, names, time_name)
            if not rows.is_empty():
                parts.append((len(rows), self._hashed(rows, names), condition))
        return parts

    def _add(self, record: ChainRecord, cause: str) -> None:
        self._report.problems.append(
            ChainProblem(self._table.name, record.number, record.name, cause)
        )

    def _add_unnamed(self, name: str, cause: str) -> None:
        self._report.problems.append(ChainProblem(self._table.name, None, name, cause))

    def _check_links(self) -> None:
        head = read_chain_heads(self._connection).get(self._table.name)
        records = self._noted(read_chain(self._connection, self._table.name))
        renames = _read_renames(self._connection, self._table.name)
        self._report.problems += link_problems(records, self._trusted, head, renames)
        latest = max(self._columns, default=0)
        named = hash_payload(format_payload(self._columns.get(latest, {}))) if latest else ""
        columns = (chain_heads.c.columns_number, chain_heads.c.columns_sha256)
        condition = chain_heads.c.table_name == self._table.name
        if self._connection.execute(select(*columns).where(condition)).first() != (latest, named):
            self._add_unnamed(
                "head", f"expected the columns of record {latest} in chain_heads, found others"
            )

    def _noted(self, records: Iterator[ChainRecord]) -> Iterator[ChainRecord]:
        """Yield records; keep the start and the columns, to which later ones refer."""
        for record in records:
            self._report.record_count += 1
            try:
                if record.kind == START:
                    self._unchained = record.fields["unchained"]
                    self._start = record.recorded_at
                    self._report.unchained_count = self._unchained["deliveries"]
                if record.kind == COLUMNS:
                    self._columns[record.number] = record.fields["columns"]
            except (ValueError, KeyError, TypeError):
                pass  # `link_problems` names the record
            yield record

    # -- a partition -----------------------------------------------------------------------------

    def _check_readable_partition(self, partition_key: str) -> None:
        """Compare a partition; one whose records were changed beyond reading is a problem, too."""
        try:
            self._check_partition(partition_key)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):
            self._add_unnamed(
                partition_key, "expected records of loads as they were written, found other texts"
            )

    def _check_partition(self, partition_key: str) -> None:
        records = list(
            read_chain(
                self._connection, self._table.name, load_chain.c.partition_key == partition_key
            )
        )
        amendments = {record.amends: record for record in records if record.amends is not None}
        effective = []
        for record in records:
            if record.amends is None:
                hashes = amendments.get(record.number, record)
                if self._is_readable(record, hashes):
                    effective.append(_Effective(record, hashes))
        by_columns: dict[int, list[_Effective]] = {}
        for delivered in effective:
            by_columns.setdefault(delivered.fields["columns_number"], []).append(delivered)
        rejecting = {}
        for delivered in effective:  # a replay replaces the rejects of earlier records
            rejecting.update(dict.fromkeys(map(int, delivered.fields["rejects"]), delivered))
        for number, some in by_columns.items():
            delivered_parts = {
                one: delivered for one, delivered in rejecting.items() if delivered in some
            }
            self._check_evidence(some, delivered_parts, self._columns[number])
        if effective:
            self._check_rows(partition_key, effective)

    def _is_readable(self, record: ChainRecord, hashes: ChainRecord) -> bool:
        try:
            fields = hashes.fields
            is_readable = fields["columns_number"] in self._columns and all(
                name in fields for name in ("evidence", "rejects", "written", "ended", "ending")
            )
        except (ValueError, KeyError, TypeError):
            is_readable = False
        if not is_readable:
            self._add(record, "expected a readable record of a delivery, found another payload")
        return is_readable

    def _check_evidence(
        self,
        effective: Sequence[_Effective],
        rejecting: Mapping[int, _Effective],
        columns: Mapping[str, Sequence[str]],
    ) -> None:
        by_group = {str(delivered.record.group_id): delivered for delivered in effective}
        recorded, rejected = read_evidence(
            self._connection, self._table, list(by_group), sorted(rejecting), columns
        )
        for group, delivered in by_group.items():
            for name, expected in delivered.fields["evidence"].items():
                actual = recorded.get(name, {}).get(group)
                if actual is None or hash_with_salt(delivered.hashes.salt, actual) != expected:
                    self._add(
                        delivered.record, f"expected the recorded rows of {name}, found others"
                    )
        for capture, delivered in rejecting.items():
            expected = delivered.fields["rejects"][str(capture)]
            actual = rejected.get(capture)
            if actual is None or hash_with_salt(delivered.hashes.salt, actual) != expected:
                self._add(delivered.record, "expected the recorded rows of rejects, found others")
        self._rejecting |= rejecting.keys()

    # -- rows ------------------------------------------------------------------------------------

    def _check_rows(self, partition_key: str, effective: Sequence[_Effective]) -> None:
        text = effective[-1].record.partition
        if text is None:
            self._add(effective[-1].record, "expected the partition of a delivery, found NULL")
            return
        scope = parse_partition(self._table, text)
        loads = {delivered.record.recorded_at: delivered for delivered in effective}
        self._check_written(partition_key, scope, loads)
        if self._history is not None:
            self._check_ended(partition_key, scope, loads)

    def _check_written(
        self, partition_key: str, scope: Scope, loads: Mapping[datetime, _Effective]
    ) -> None:
        rows = self._rows_table
        sources = [rows] if self._history is None else [rows, self._history]
        counts: dict[datetime, int] = {}
        for source in sources:
            for at, count in self._counts(source, scope, "known_from"):
                counts[at] = counts.get(at, 0) + count
        for at, count in counts.items():
            if at not in loads and (at >= self._start or not self._unchained.get("rows")):
                self._add_unnamed(
                    partition_key,
                    f"expected no row with known_from {at.isoformat()}, found {count}",
                )
        for delivered in loads.values():
            self._report.row_count += sum(part[0] for part in delivered.fields["written"])
        self._compare(sources, scope, loads, counts, "written", "known_from")

    def _check_ended(
        self, partition_key: str, scope: Scope, loads: Mapping[datetime, _Effective]
    ) -> None:
        if self._history is None:
            return
        counts = dict(self._counts(self._history, scope, "known_to"))
        for at, count in counts.items():
            if at not in loads and (at >= self._start or not self._unchained.get("ended")):
                self._add_unnamed(
                    partition_key, f"expected no row with known_to {at.isoformat()}, found {count}"
                )
        self._compare([self._history], scope, loads, counts, "ended", "known_to")
        if ENDED_ON in self._history.c:
            self._check_endings(scope, loads)

    def _check_endings(self, scope: Scope, loads: Mapping[datetime, _Effective]) -> None:
        history: Table = self._table.info[HISTORY]
        columns = (history.c.known_to, history.c[ENDED_ON], history.c[IS_LOAD_DAY])
        endings = select(*columns).where(match_scope(history, scope)).distinct()
        for at, day, is_load_day in self._connection.execute(endings):
            delivered = loads.get(at)
            ending = [None if day is None else day.isoformat(), is_load_day]
            if delivered is not None and ending != delivered.fields["ending"]:
                expected = delivered.fields["ending"][0]
                self._add(
                    delivered.record, f"expected rows that ended on {expected}, found {ending[0]}"
                )

    def _counts(self, source: Table, scope: Scope, name: str) -> Iterator[tuple[datetime, int]]:
        column = source.c[name]
        statement = select(column, func.count()).where(match_scope(source, scope)).group_by(column)
        for at, count in self._connection.execute(statement):  # noqa: UP028 - rows, not tuples
            yield at, count

    def _compare(
        self,
        sources: Sequence[Table],
        scope: Scope,
        loads: Mapping[datetime, _Effective],
        counts: Mapping[datetime, int],
        part_name: str,
        time_name: str,
    ) -> None:
        """Compare the rows of each load with its digests, as many loads at once as fit."""
        small: list[_Effective] = []
        for at, delivered in loads.items():
            expected = sum(part[0] for part in delivered.fields[part_name])
            if expected != counts.get(at, 0):
                self._add(
                    delivered.record,
                    f"expected {expected} rows that it has {part_name}, found {counts.get(at, 0)}",
                )
            elif 0 < expected <= MAX_LISTED_ROWS and _is_whole(delivered.fields[part_name]):
                small.append(delivered)
            elif expected:
                columns = self._columns[delivered.fields["columns_number"]]
                parts = self._parts(sources, scope, delivered, part_name, time_name, columns)
                self._compare_parts(delivered, part_name, parts)
        for some in iterate_chunks(small):
            self._compare_small(sources, scope, some, part_name, time_name)

    def _compare_parts(
        self, delivered: _Effective, part_name: str, parts: Sequence[RowsDigest]
    ) -> None:
        salt = delivered.hashes.salt
        digests = [[row_count, hash_with_salt(salt, sha256)] for row_count, sha256, _ in parts]
        if digests != [list(part[:2]) for part in delivered.fields[part_name]]:
            self._add(delivered.record, f"expected the rows that it has {part_name}, found others")

    def _compare_small(
        self,
        sources: Sequence[Table],
        scope: Scope,
        effective: Sequence[_Effective],
        part_name: str,
        time_name: str,
    ) -> None:
        """Compare loads of few rows, which are read together."""
        names = {
            tuple(self._columns[delivered.fields["columns_number"]][part_name])
            for delivered in effective
        }
        times = [delivered.record.recorded_at for delivered in effective]
        for some in names:
            rows: dict[datetime, list[Sequence[object]]] = {}
            key = [some.index(name) for name in key_names(self._table)]
            for source in sources:
                chosen = select(source.c[time_name], *(source.c[name] for name in some))
                is_own = (match_scope(source, scope), source.c[time_name].in_(times))
                for at, *row in self._connection.execute(chosen.where(*is_own)):
                    rows.setdefault(at, []).append(row)
            for delivered in effective:
                if tuple(self._columns[delivered.fields["columns_number"]][part_name]) == some:
                    entries = rows.get(delivered.record.recorded_at, [])
                    entries.sort(key=lambda row: [row[number] for number in key])
                    part = (len(entries), hash_rows(entries), "")
                    self._compare_parts(delivered, part_name, [part])

    def _hashed(self, rows: pl.DataFrame, names: Sequence[str]) -> str:
        numbered = rows.select(*names, pl.lit(0).alias(GROUP))
        return hash_groups(numbered, key_names(self._table), 1)[0]

    def _rows(
        self,
        sources: Sequence[Table],
        scope: Scope,
        at: datetime,
        names: Sequence[str],
        time_name: str,
    ) -> pl.DataFrame:
        return pl.concat(
            read_frame(
                self._connection,
                select(*(source.c[name] for name in names)).where(
                    match_scope(source, scope), source.c[time_name] == at
                ),
                source,
            )
            for source in sources
        )

    # -- what no record names --------------------------------------------------------------------

    def _check_totals(self) -> None:
        """Compare the numbers of all rows with those in partitions that have records."""
        total = self._count(self._table)
        ended = 0 if self._history is None else self._count(self._history)
        unchained = self._unchained.get("rows", 0)
        expected = self._report.row_count + unchained
        if total + ended != expected and not self._has_row_problem():
            self._add_unnamed(
                "rows",
                f"expected {expected} rows with their earlier versions, found {total + ended}",
            )

    def _has_row_problem(self) -> bool:
        return any(" rows that it has " in problem.cause for problem in self._report.problems)

    def _count(self, table: Table, *conditions: ColumnElement[bool]) -> int:
        statement = select(func.count()).select_from(table).where(*conditions)
        return self._connection.execute(statement).scalar_one()

    def _check_strangers(self) -> None:
        """Find recorded deliveries, and parts of them, that no record names."""
        name = self._table.name
        chained = select(load_chain.c.number).where(load_chain.c.table_name == name)
        unchained = self._unchained.get("deliveries", 0)
        for recorded in (deliveries, landings, audits):
            is_chained = exists(chained.where(load_chain.c.group_id == recorded.c.group_id))
            at = {deliveries: "recorded_at", landings: "landed_at", audits: "audited_at"}[recorded]
            is_new = recorded.c[at] >= self._start if unchained else recorded.c[at].is_not(None)
            count = self._count(recorded, recorded.c.table_name == name, ~is_chained, is_new)
            count += self._count(recorded, recorded.c.table_name != name, is_chained)
            if count:
                self._add_unnamed(
                    recorded.name, f"expected no delivery without a record, found {count} rows"
                )
        is_chained = exists(chained.where(load_chain.c.group_id == deliveries.c.group_id))
        count = self._count(deliveries, deliveries.c.table_name == name, ~is_chained)
        if count != unchained:
            self._add_unnamed(
                "deliveries",
                f"expected {unchained} deliveries from before the chain, found {count}",
            )
        prefix = f"{name}:"
        is_recorded = exists(
            select(deliveries.c.group_id).where(deliveries.c.group_id == captures.c.group_id)
        )
        is_own = captures.c.group_id.startswith(prefix, autoescape=True)
        if count := self._count(captures, is_own, ~is_recorded):
            self._add_unnamed(
                captures.name, f"expected no capture without a delivery, found {count}"
            )
        self._check_rejects(is_own)

    def _check_rejects(self, is_own: ColumnElement[bool]) -> None:
        """Find rejects of captures of which no record names any."""
        is_new = [rejects.c.rejected_at >= self._start] if self._unchained.get("deliveries") else []
        rejecting = select(rejects.c.capture_id).distinct()
        of_table = rejecting.where(rejects.c.table_name == self._table.name, *is_new)
        for capture in sorted({*self._connection.scalars(of_table)} - self._rejecting):
            self._add_unnamed(f"capture {capture}", "expected no reject of it, found some")
        has_own = exists(
            select(captures.c.capture_id).where(
                captures.c.capture_id == rejects.c.capture_id, is_own
            )
        )
        chained = select(load_chain.c.table_name)
        if count := self._count(rejects, rejects.c.table_name.not_in(chained), has_own):
            self._add_unnamed(
                rejects.name, f"expected no reject of a table without a chain, found {count}"
            )


def _read_renames(connection: Connection, name: str) -> Renames:
    """Return the records of kind rename in the chain of a table, by number."""
    renames = []
    for record in read_chain(connection, name, load_chain.c.kind == RENAME):
        with suppress(ValueError, KeyError, TypeError):  # `link_problems` names the record
            renames.append((record.number, str(record.fields[RENAMED_FROM])))
    return renames
