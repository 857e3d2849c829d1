"""Sums of derived tables beside those of their sources, read from the database."""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Table,
    case,
    false,
    func,
    literal,
    select,
    type_coerce,
)

from orchestration_project.engine.contracts.balance import Balance, Conservation
from orchestration_project.engine.contracts.chain import ERASURE
from orchestration_project.engine.equations import BalanceFilter, Equation, SubjectBalance
from orchestration_project.engine.warehouse.frames import Scope, match_scope
from orchestration_project.engine.warehouse.target import IS_STALE, KNOWN_FROM
from orchestration_project.tables.schema import USD_SCALE
from orchestration_project.tables.spine import balances, load_chain

MILLION = 10**USD_SCALE

Sums = Mapping[tuple[Any, ...], Mapping[str, int]]
"""Sums by name, of each partition."""


def read_source_sums(
    connection: Connection, conservation: Conservation, scope: Scope, chosen: BalanceFilter
) -> Sums:
    """Return sums and counts of keys of the source, of the partitions that a filter selects."""
    source = conservation.source
    columns = {measure.name: measure.source for measure in conservation.measures}
    latest = func.max(source.c[KNOWN_FROM])
    groups = _select_partition(source, conservation)
    sums = _read_sums(connection, source, groups, columns, scope, chosen.holds(latest))
    if not conservation.keys:
        return {group: {name: numbers[name] for name in columns} for group, numbers in sums.items()}
    names = [*conservation.partition, *conservation.keys]
    distinct_keys = select(*(source.c[name] for name in names)).where(
        *_build_conditions(source, scope)
    )
    keys = distinct_keys.distinct().subquery()
    numbers = [keys.c[name] for name in conservation.partition]
    counting = select(*numbers, func.count()).select_from(keys).group_by(*numbers)
    counted = connection.execute(counting)
    counts = {tuple(row[:-1]): row[-1] for row in counted}
    return {group: {**own_sums, "keys": counts[group]} for group, own_sums in sums.items()}


def read_balances(
    connection: Connection, chosen: BalanceFilter, *, conservation: Conservation
) -> Iterator[SubjectBalance]:
    """Yield the equations of each partition of a derived table that was loaded in a range.

    What is marked stale, or not derived yet, is not counted: its source is newer. Neither are
    partitions of which an erasure deleted source rows. Derived rows of a partition without source
    rows are a difference, unless the filter may have left these out.
    """
    if chosen.is_bounded and not conservation.partition:
        return  # all of the table is one partition, of no range
    derived, text = conservation.derived, conservation.derived.name
    sums = read_source_sums(connection, conservation, {}, chosen)
    columns = {measure.name: measure.derived for measure in conservation.measures}
    groups = _select_partition(derived, conservation)
    entries = _read_sums(connection, derived, groups, columns, {}, None, conservation.other_rows)
    stale = _read_stale(connection, conservation)
    erased = _read_erased(connection, conservation)
    positions = [conservation.partition.index(name) for name in conservation.together]
    is_whole = bool(conservation.partition) and not positions
    present = {tuple(group[position] for position in positions) for group in entries}
    nothing = dict.fromkeys(conservation.names, 0)
    groups_without_source = [] if chosen.is_bounded else [key for key in entries if key not in sums]
    recorded = _read_recorded(connection, conservation)
    for group, came_in in [*sums.items(), *((key, nothing) for key in groups_without_source)]:
        subject = conservation.subject_of(dict(zip(conservation.partition, group, strict=True)))
        together = tuple(group[position] for position in positions)
        is_recorded = not conservation.has_exclusions or subject in recorded
        excluded = dict(recorded.get(subject, {}))
        row_count = excluded.pop(text, 0)
        has_row = group in entries or row_count > 0  # without one, none is marked stale
        is_derived = has_row if conservation.has_exclusions else is_whole or together in present
        is_counted = is_derived and group not in stale and tuple(map(str, group)) not in erased
        for name in conservation.names:
            other_counts = excluded if name == "keys" else {}
            went_to = {text: entries.get(group, {}).get(name, 0), **other_counts}
            balance = Balance(name, came_in[name] if is_counted else None, went_to)
            yield SubjectBalance(text, subject, balance, is_recorded)


def list_equations(conservations: Sequence[Conservation]) -> list[Equation]:
    """Return the equations of derived tables."""
    return [
        Equation(
            name="conservation",
            meaning=(
                f"{', '.join(conservation.names)} of {conservation.source.name} = those of "
                f"{conservation.derived.name}, by {', '.join(conservation.partition)}"
            ),
            table_names=[conservation.derived.name],
            read=partial(read_balances, conservation=conservation),
        )
        for conservation in conservations
    ]


def _select_partition(table: Table, conservation: Conservation) -> list[ColumnElement[Any]]:
    return [table.c[name] for name in conservation.partition]


def _read_sums(
    connection: Connection,
    table: Table,
    groups: Sequence[ColumnElement[Any]],
    columns: Mapping[str, Sequence[str]],
    scope: Scope,
    having: ColumnElement[bool] | None,
    other_rows: tuple[str, str | None] | None = None,
) -> dict[tuple[Any, ...], dict[str, int]]:
    """Return the exact sums of columns, and of rows as keys, by group; other rows have no key.

    Millions and their rest are added up apart, so that no sum exceeds 64 bits.
    """
    parts = [part for names in columns.values() for part in _sum_parts(table, names)]
    keys: ColumnElement[int] = func.count()
    if other_rows is not None:
        name, other = other_rows
        keys = func.sum(case((table.c[name].is_distinct_from(other), 1), else_=0))
    statement = select(*groups, *parts, keys).select_from(table).group_by(*groups)
    statement = statement.where(*_build_conditions(table, scope))
    if having is not None and groups:  # without groups, no range is chosen
        statement = statement.having(having)
    sums = {}
    for row in connection.execute(statement):
        group, numbers = tuple(row[: len(groups)]), [int(one or 0) for one in row[len(groups) :]]
        pairs = zip(numbers[:-1:2], numbers[1::2], strict=False)
        totals = [millions * MILLION + remainder for millions, remainder in pairs]
        if not numbers[-1] and not groups:  # no row at all
            continue
        sums[group] = {**dict(zip(columns, totals, strict=True)), "keys": numbers[-1]}
    return sums


def _build_conditions(table: Table, scope: Scope) -> list[ColumnElement[bool]]:
    return [match_scope(table, scope)] if scope else []


def _sum_parts(table: Table, names: Sequence[str]) -> list[ColumnElement[Any]]:
    columns = [type_coerce(table.c[name], BigInteger()) for name in names]
    millions: ColumnElement[Any] = literal(0)
    rests: ColumnElement[Any] = literal(0)
    for column in columns:
        millions += func.sum(column // MILLION)
        rests += func.sum(column % MILLION)
    return [millions, rests]


def _read_erased(connection: Connection, conservation: Conservation) -> set[tuple[str, ...]]:
    pair = (load_chain.c.table_name == conservation.source.name, load_chain.c.kind == ERASURE)
    texts = connection.scalars(select(load_chain.c.partition).where(*pair).distinct())
    partitions = (json.loads(text) for text in texts if text)
    return {tuple(str(one.get(name)) for name in conservation.partition) for one in partitions}


def _read_recorded(
    connection: Connection, conservation: Conservation
) -> Mapping[str, Mapping[str, int]]:
    """Return by partition the keys of its latest derivation: its rows, and others by reason."""
    if not conservation.has_exclusions:
        return {}
    row, name = balances.c, conservation.derived.name
    statement = select(row.subject, row.went_to).where(
        row.table_name == name, row.equation == "keys"
    )
    return {subject: json.loads(text) for subject, text in connection.execute(statement)}


def _read_stale(connection: Connection, conservation: Conservation) -> set[tuple[Any, ...]]:
    derived = conservation.derived
    if IS_STALE not in derived.c:
        return set()
    groups = _select_partition(derived, conservation)
    is_stale = func.coalesce(derived.c[IS_STALE], false())
    statement = select(literal(1), *groups).where(is_stale).distinct()
    return {tuple(row[1:]) for row in connection.execute(statement)}
