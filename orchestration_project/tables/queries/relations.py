"""Rows that can be asked for: of a table, or of several with the same columns."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Select, Table, and_, select, union_all

from orchestration_project.errors import ConfigurationError
from orchestration_project.tables.conditions import (
    column_of,
    condition,
    is_secret,
    ordering,
    public_names,
    refuse_contradictions,
    values_by_column,
)
from orchestration_project.tables.key_groups import KEY_GROUPS, groups_of
from orchestration_project.tables.schema import FROM_SENDERS, Query, is_personal, key_names


@dataclass(frozen=True)
class Part:
    """The rows of one table for which ``conditions`` hold."""

    rows: FromClause
    conditions: Sequence[ColumnElement[bool]] = ()

    def select(
        self, names: Sequence[str], wheres: Sequence[str], groups: Sequence[str] = ()
    ) -> Select[Any]:
        """Return these columns of the rows that also meet ``wheres``.

        ``groups``: the first columns of the key, if the rows are to be looked up in their groups.
        """
        query = select(*(_label_column(column_of(self.rows, name)) for name in names)).where(
            *self.conditions, *(condition(self.rows, where) for where in wheres)
        )
        if not groups:
            return query
        looked_up = groups_of(self.rows, list(groups))
        same = (self.rows.c[name] == looked_up.c[f"group_{name}"] for name in groups)
        return query.select_from(looked_up.join(self.rows, and_(*same)))


def _label_column(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return a column under the name by which it is known, where the database has another."""
    return column if column.key == column.name else column.label(column.key)


@dataclass(frozen=True)
class Relation:
    """Rows that can be asked for, of one table or of several with the same columns.

    Attributes:
        table: The table or view whose columns and key they have.
        parts: Where they lie; that of ``table`` first.
    """

    table: Table
    parts: Sequence[Part]

    def columns(self, names: Sequence[str]) -> list[str]:
        """Return ``names``; without any, those of all columns but of secrets and of persons.

        Raises:
            ConfigurationError: A column is unknown, named twice, or holds hashes of secrets.
        """
        if not names:
            left_out = (is_secret, is_personal)
            columns = self.table.columns
            return [column.key for column in columns if not any(test(column) for test in left_out)]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ConfigurationError(
                f"a column of {self.table.name} is named twice", found=", ".join(twice)
            )
        return public_names(self.table, names)

    def escaped_columns(self, names: Sequence[str], *, escape: bool | None) -> Collection[str]:
        """Return which of ``names`` a CSV escapes where their texts may be formulas.

        ``escape``: True: all; False: none; None: those that are written by senders.
        """
        if escape is None:
            return {name for name in names if self.table.columns[name].info.get(FROM_SENDERS)}
        return names if escape else ()

    def select(
        self,
        names: Sequence[str],
        wheres: Sequence[str],
        *,
        order_by: Sequence[str] = (),
        limit: int | None = None,
    ) -> Query:
        """Return these columns, and those of the key, of the rows that meet ``wheres``, by key.

        With the key in each part, a database merges parts that its indexes have in this order;
        otherwise it would keep and sort them all.

        Args:
            names: The columns.
            wheres: Conditions as a person writes them, which must all hold.
            order_by: Columns before the key by which rows are sorted, descending after a ``-``.
            limit: How many rows at most; None: all.

        Raises:
            ConfigurationError: A column is unknown, or a condition cannot be read.
        """
        refuse_contradictions(wheres)
        for where in wheres:
            condition(self.table, where)  # parts may be queries, which have no known values
        key = key_names(self.table)
        sorting = public_names(self.table, (name.removeprefix("-") for name in order_by))
        needed = list(dict.fromkeys([*names, *key, *sorting]))
        groups = groups_to_look_into(self.table, wheres)
        first, *remaining = (part.select(needed, wheres, groups) for part in self.parts)
        rows = union_all(first, *remaining) if remaining else first
        if not order_by:
            return rows.order_by(*(rows.selected_columns[name] for name in key)).limit(limit)
        query = rows.subquery()  # a union cannot be sorted by an expression
        order = [ordering(query.c[name.removeprefix("-")], name) for name in order_by]
        return select(query).order_by(*order, *(query.c[name] for name in key)).limit(limit)


def groups_to_look_into(table: Table, wheres: Sequence[str]) -> list[str]:
    """Return the first columns of the key if ``wheres`` name values of the one after them alone."""
    count = table.info.get(KEY_GROUPS, 0)
    if not count:
        return []
    key, named = key_names(table), values_by_column(wheres)
    is_needed = key[count] in named and not named.keys() >= set(key[:count])
    return key[:count] if is_needed else []
