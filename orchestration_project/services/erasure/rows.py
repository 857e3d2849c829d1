"""Erasure in the project's tables: rows that go, and identifiers that are masked elsewhere."""

import base64
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Select,
    String,
    Table,
    and_,
    case,
    delete,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from orchestration_project.engine.contracts.subjects import IdentifyingColumn, Key, SubjectKind
from orchestration_project.engine.warehouse.frames import iterate_chunks
from orchestration_project.services.erasure.rules import Subject, has_subject_at, lower_ascii
from orchestration_project.tables.catalogue import tables
from orchestration_project.tables.erasures import (
    operations_erasure_requests,
    operations_erasures,
)
from orchestration_project.tables.schema import HISTORY, key_names
from orchestration_project.tables.spine import (
    audits,
    balances,
    blobs,
    captures,
    chain_heads,
    deliveries,
    fences,
    inbox,
    landings,
    load_chain,
    pending_announcements,
    rejects,
)

MAX_BATCH_ROWS = 1_000

OF_GROUPS = (
    rejects,
    captures,
    audits,
    balances,
    landings,
    pending_announcements,
    deliveries,
)
"""Tables with the records of a delivery."""

SEPARATOR = "\n"
"""Separator of columns that are searched together: no identifier has it."""

UNMASKED = {blobs, chain_heads, operations_erasures, operations_erasure_requests}

UNMASKED_COLUMNS = {
    load_chain.c[name]
    for name in ("payload", "salt", "record_sha256", "signature", "public_key", "kind")
}
"""Columns with hashes and numbers alone."""

BASE64_COLUMNS = {inbox.c.body}


@dataclass
class RowCounts:
    """Rows by table: those deleted, and those in which an identifier was masked."""

    deleted: Counter[str] = field(default_factory=Counter[str])
    masked: Counter[str] = field(default_factory=Counter[str])

    def add(self, other: "RowCounts") -> None:
        """Add the counts of another pass."""
        self.deleted += other.deleted
        self.masked += other.masked

    @property
    def is_empty(self) -> bool:
        """Whether nothing was found."""
        return not self.deleted and not self.masked


def erase_rows(connection: Connection, kind: SubjectKind, subject: Subject) -> RowCounts:
    """Delete the rows of a subject with their history and captures, and mask it in all others.

    The fence of each partition that loses rows moves on, so that a load which read it before is
    superseded. The caller commits, or rolls back for a dry run.
    """
    counts = RowCounts()
    entries = _add_related(kind, _find_matching(connection, kind, subject))
    capture_ids = _capture_ids(connection, entries)
    _move_fences(connection, capture_ids)
    for declared, keys in entries.items():
        for key in () if declared is captures else keys.values():
            rows = connection.execute(delete(declared).where(_has(declared, key)))
            counts.deleted[declared.name] += rows.rowcount
    counts.deleted += _delete_captures(connection, capture_ids)
    counts.deleted += _delete_rejects(connection, subject)
    counts.masked += _mask_tables(connection, kind, subject)
    counts.deleted += Counter()  # without tables of which no row was there
    return counts


Keys = dict[Table, dict[tuple[object, ...], Key]]
"""Rows by table; a key of a history is that of its table, for all earlier states."""


def _find_matching(connection: Connection, kind: SubjectKind, subject: Subject) -> Keys:
    """Return the rows that declared columns identify, with their earlier or later states."""
    matching: Keys = defaultdict(dict)
    for declared in kind.columns:
        table = declared.table
        history: Table | None = table.info.get(HISTORY)
        for searched in (table, history) if history is not None else (table,):
            for key in _find_keys(connection, searched, declared, subject, key_names(table)):
                for each in (table, history) if history is not None else (table,):
                    matching[each][tuple(key.values())] = key
    for declared, key in kind.rows(connection, subject.identifiers):
        matching[declared][tuple(key.items())] = key
    return matching


def _find_keys(
    connection: Connection,
    searched: Table,
    declared: IdentifyingColumn,
    subject: Subject,
    names: Sequence[str],
) -> Iterator[Key]:
    column = searched.c[declared.column.name]
    statement = select(*(searched.c[name] for name in names)).where(
        *(searched.c[name] == value for name, value in declared.where.items())
    )
    if not declared.path:
        value = declared.prefix + subject.first
        lowered = func.lower(column) == lower_ascii(value)
        statement = statement.where(lowered if subject.ignores_case else column == value)
        for row in connection.execute(statement):
            yield dict(row._mapping)
        return
    for *key, content in _stream_rows(connection, statement.add_columns(column)):
        document = base64.b64decode(content) if declared.is_base64 and content else content
        if document and has_subject_at(document, declared.path, subject):
            yield dict(zip(names, key, strict=True))


def _add_related(kind: SubjectKind, found: Keys) -> Keys:
    """Return rows together with those of other tables that go with them."""
    waiting = [(declared, key) for declared, keys in found.items() for key in keys.values()]
    while waiting:
        declared, key = waiting.pop()
        for other, its_key in kind.related(declared, key):
            entries = tuple(its_key.values())
            if entries not in found.setdefault(other, {}):
                found[other][entries] = its_key
                waiting.append((other, its_key))
    return found


def _capture_ids(connection: Connection, wanted: Keys) -> set[int]:
    return {
        capture_id
        for declared, keys in wanted.items()
        if "capture_id" in declared.c
        for key in keys.values()
        for capture_id in connection.scalars(
            select(declared.c.capture_id).where(_has(declared, key))
        )
    }


def _move_fences(connection: Connection, capture_ids: Iterable[int]) -> None:
    """Lock the partitions of captures, in one order, and move their tokens on.

    What was derived from them is derived again.
    """
    pair = (deliveries.c.table_name, deliveries.c.partition_key)
    places = {
        tuple(row)
        for some in iterate_chunks(capture_ids)
        for row in connection.execute(
            select(*pair)
            .join(captures, captures.c.group_id == deliveries.c.group_id)
            .where(captures.c.capture_id.in_(some))
        )
    }
    for table_name, scope_key in sorted(places):
        own = (fences.c.table_name == table_name, fences.c.scope_key == scope_key)
        token = fences.c.token + 1
        changed = case((fences.c.changed_token.is_not(None), token))
        connection.execute(update(fences).where(*own).values(token=token, changed_token=changed))


def _delete_captures(connection: Connection, capture_ids: set[int]) -> Counter[str]:
    """Delete the deliveries all of whose captures hold nothing but deleted rows.

    Captures with the same bytes, as of a replay, are among them.
    """
    alike = _find_alike(connection, capture_ids)
    needed = _find_referenced(connection, alike)
    groups = {group for capture_id, group in alike.items() if capture_id not in needed}
    whole = [
        group
        for group in sorted(groups)
        if set(_list_captures(connection, group)) <= alike.keys() - needed
    ]
    counts: Counter[str] = Counter()
    for group in whole:
        counts += _delete_group(connection, group)
    return counts


def _find_alike(connection: Connection, capture_ids: Iterable[int]) -> dict[int, str]:
    """Return the group of each capture whose bytes are those of one of some captures."""
    hashes = {
        sha256
        for some in iterate_chunks(capture_ids)
        for sha256 in connection.scalars(
            select(captures.c.sha256).where(captures.c.capture_id.in_(some))
        )
    }
    columns = (captures.c.capture_id, captures.c.group_id)
    return {
        capture_id: group
        for some in iterate_chunks(hashes)
        for capture_id, group in connection.execute(
            select(*columns).where(captures.c.sha256.in_(some))
        )
    }


def _find_referenced(connection: Connection, capture_ids: Iterable[int]) -> set[int]:
    """Return the captures that rows of any loaded table, or its history, were read from."""
    loaded = [
        table for table in tables() if "capture_id" in table.c and table not in {captures, rejects}
    ]
    return {
        capture_id
        for table in loaded
        for some in iterate_chunks(capture_ids)
        for capture_id in connection.scalars(
            select(table.c.capture_id).where(table.c.capture_id.in_(some)).distinct()
        )
    }


def _list_captures(connection: Connection, group: str) -> list[int]:
    row_query = select(captures.c.capture_id).where(captures.c.group_id == group)
    return list(connection.scalars(row_query))


def _delete_group(connection: Connection, group: str) -> Counter[str]:
    """Delete the records of a delivery, and the fence of a partition that has no other."""
    counts: Counter[str] = Counter()
    rows = connection.execute(
        select(deliveries.c.table_name, deliveries.c.partition_key).where(
            deliveries.c.group_id == group
        )
    ).all()
    numbers = _list_captures(connection, group)
    for table in OF_GROUPS:
        named = table.c.subject if table is balances else table.c.get("group_id")
        condition = table.c.capture_id.in_(numbers) if "capture_id" in table.c else named == group
        counts[table.name] += connection.execute(delete(table).where(condition)).rowcount
    for table_name, key in rows:
        other_query = select(deliveries.c.group_id).where(
            deliveries.c.table_name == table_name, deliveries.c.partition_key == key
        )
        if connection.execute(other_query.limit(1)).first() is None:
            fence = (fences.c.table_name == table_name, fences.c.scope_key == key)
            counts[fences.name] += connection.execute(delete(fences).where(*fence)).rowcount
    return counts


def _delete_rejects(connection: Connection, subject: Subject) -> Counter[str]:
    """Delete rejected lines that have an identifier."""
    counts: Counter[str] = Counter()
    key = [rejects.c[name] for name in key_names(rejects)]
    condition = _may_hold([rejects.c.record, rejects.c.reason], subject)
    if condition is None:
        return counts
    query = select(*key, rejects.c.record, rejects.c.reason).where(condition)
    for found in connection.execute(query).all():
        if any(subject.mask(text) != text for text in (found.record, found.reason)):
            row = {name: found._mapping[name] for name in key_names(rejects)}
            counts[rejects.name] += connection.execute(
                delete(rejects).where(_has(rejects, row))
            ).rowcount
    return counts


def _mask_tables(connection: Connection, kind: SubjectKind, subject: Subject) -> Counter[str]:
    """Mask the identifiers in all texts of all tables."""
    counts: Counter[str] = Counter()
    if not subject.masked:
        return counts
    for table in tables():
        if table not in UNMASKED and table not in kind.unmasked:
            counts[table.name] += _mask_table(connection, table, kind, subject)
    return +counts


def _mask_table(
    connection: Connection, declared: Table, kind: SubjectKind, subject: Subject
) -> int:
    names = key_names(declared)
    texts = [
        column
        for column in declared.columns
        if isinstance(column.type, String) and column not in {*kind.unmasked, *UNMASKED_COLUMNS}
    ]
    plain = [text for text in texts if text not in BASE64_COLUMNS]
    encoded = [text for text in texts if text in BASE64_COLUMNS]
    condition = _may_hold(plain, subject)
    if condition is None:
        return 0
    statement = select(*(declared.c[name] for name in names), *plain, *encoded)
    if not encoded:
        statement = statement.where(condition)
    changed: list[tuple[Key, Key]] = []
    for row in _stream_rows(connection, statement):
        values = dict(row._mapping)
        masked = {text.name: _mask_value(values[text.name], text, subject) for text in texts}
        new = {name: value for name, value in masked.items() if value != values[name]}
        if new:
            changed.append(({name: values[name] for name in names}, new))
    for key, new in changed:
        _update(connection, declared, key, new)
    return len(changed)


def _mask_value(value: str | None, column: Column[str], subject: Subject) -> str | None:
    if value is None:
        return None
    if column in BASE64_COLUMNS:
        return base64.b64encode(subject.mask_bytes(base64.b64decode(value))).decode()
    return subject.mask(value)


def _update(connection: Connection, declared: Table, key: Key, new: Key) -> None:
    """Write masked values; of two rows whose keys are equal with masks, one stays."""
    try:
        with connection.begin_nested():
            connection.execute(update(declared).where(_has(declared, key)).values(**new))
    except IntegrityError:
        connection.execute(delete(declared).where(_has(declared, key)))


def _may_hold(columns: Sequence[Column[str]], subject: Subject) -> ColumnElement[bool] | None:
    """Return the condition of rows in which an identifier may stand; None: there can be none."""
    if not columns or not subject.searched:
        return None
    texts = [func.coalesce(column, "") for column in columns]
    joined = func.lower(reduce(lambda one, other: one.concat(SEPARATOR).concat(other), texts))
    return or_(*(joined.contains(text, autoescape=True) for text in subject.searched))


def _has(declared: Table, key: Key) -> ColumnElement[bool]:
    return and_(*(declared.c[name] == value for name, value in key.items()))


def _stream_rows(connection: Connection, statement: Select[Any]) -> Iterator[Any]:
    return iter(connection.execute(statement.execution_options(yield_per=MAX_BATCH_ROWS)))


def convert_counts(counts: RowCounts) -> Mapping[str, Mapping[str, int]]:
    """Return the counts as values of JSON."""
    return {"deleted": dict(counts.deleted), "masked": dict(counts.masked)}
