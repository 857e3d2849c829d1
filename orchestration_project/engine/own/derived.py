"""Declaration of a table that a project derives of others, by SQL or by a function over frames."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from sqlalchemy import Table

from orchestration_project.engine.own.contracts import make_column
from orchestration_project.engine.own.declarations import KEY_TYPES
from orchestration_project.engine.own.fields import NAME, Field, Type, require_fields
from orchestration_project.engine.own.reading import build_config_error, require_texts
from orchestration_project.errors import did_you_mean
from orchestration_project.tables.schema import (
    ASSET,
    OWN,
    history_of,
    moment,
    table,
)

PARTITION_TYPES: Sequence[Type] = ("text", "integer", "date")
"""Types of the column that partitions a derived table."""

_DECLARED: dict[str, tuple["Derived", Table]] = {}
"""Derived tables that were declared in this process, by name."""


@dataclass(frozen=True, kw_only=True)
class Derived:
    """A table that a project derives of others; `derived` makes it, and describes the values."""

    name: str
    key: Sequence[str]
    fields: Sequence[Field]
    sql: str
    function: Callable[..., Any] | None
    inputs: Sequence[str]
    partition_by: str
    input_columns: Mapping[str, str]
    description: str
    owners: Sequence[str] = field(default=("team:data",))

    def __post_init__(self) -> None:
        what = f"derived table {self.name!r}"
        if not NAME.fullmatch(self.name):
            expected = "a name of small letters, digits and _, such as rates_monthly"
            raise build_config_error(what, expected, self.name)
        for name in ("key", "inputs", "owners"):
            require_texts(f"{name} of {what}", getattr(self, name))
        if bool(self.sql.strip()) == (self.function is not None):
            stated = "both" if self.sql else "neither"
            raise build_config_error(what, "either sql= or function=", stated)
        if self.function is not None and not self.inputs:
            expected = "names of tables, whose rows the function gets in this order"
            raise build_config_error(f"inputs of {what}", expected, "none")
        self._require_fields(what)
        self._require_partition(what)

    def _require_fields(self, what: str) -> None:
        require_fields(what, self.fields, ["known_from"])
        names = [declared.name for declared in self.fields]
        if not self.key:
            raise build_config_error(f"key of {what}", "at least one field", "none")
        by_name = {declared.name: declared for declared in self.fields}
        for name in self.key:
            declared = by_name.get(name)
            if declared is None:
                raise build_config_error(
                    f"key of {what}", "names of its fields", name, did_you_mean(name, names)
                )
            if declared.kind not in KEY_TYPES or declared.optional:
                expected = f"required fields of the types {', '.join(KEY_TYPES)}"
                raise build_config_error(f"key of {what}", expected, name)
        if named := next((one for one in self.fields if one.source or one.formula), None):
            remedy = "name the column of the result as the field"
            part = "source" if named.source else "formula"
            raise build_config_error(
                f"{part} of field {named.name!r}", "none", named.source or named.formula, remedy
            )

    def _require_partition(self, what: str) -> None:
        if not self.partition_by:
            if self.input_columns:
                raise build_config_error(
                    f"input_columns of {what}", "partition_by beside them", "none"
                )
            return
        if self.partition_by not in self.key:
            expected = f"a field of the key: {', '.join(self.key)}"
            raise build_config_error(f"partition_by of {what}", expected, self.partition_by)
        kind = next(
            own_field.kind for own_field in self.fields if own_field.name == self.partition_by
        )
        if kind not in PARTITION_TYPES:
            expected = f"a field of the types {', '.join(PARTITION_TYPES)}"
            raise build_config_error(
                f"partition_by of {what}", expected, f"{self.partition_by}: {kind}"
            )

    @property
    def columns(self) -> Sequence[Field]:
        """Its fields in the order of the table's columns: those of the key first."""
        names = list(self.key)
        return sorted(
            self.fields,
            key=lambda field: names.index(field.name) if field.name in names else len(names),
        )

    def rule_version(self, code: bytes) -> str:
        """Return a hash of all that could make other rows of the same inputs.

        ``code`` is the file that declares it: a function may call others of it.
        """
        rows = [
            (column.name, column.kind, str(column.type), column.optional, column.checks)
            for column in self.columns
        ]
        made_by = code if self.function is not None else self.sql.encode()
        named = (list(self.key), list(self.inputs), self.partition_by, dict(self.input_columns))
        return sha256(repr((named, rows, made_by)).encode()).hexdigest()[:12]


def derived(
    name: str,
    *,
    key: Sequence[str],
    fields: Sequence[Field],
    sql: str = "",
    function: Callable[..., Any] | None = None,
    inputs: Sequence[str] = (),
    partition_by: str = "",
    input_columns: Mapping[str, str] | None = None,
    description: str = "",
    owners: Sequence[str] = ("team:data",),
) -> Derived:
    """Return a table that is derived of others, and derived again when they change.

    Args:
        name: Name of its table, and of its asset within the project.
        key: Fields that identify a row.
        fields: Its fields, which the result must have: names, types, no NULL unless optional.
        sql: A query of the database in use. It reads and returns columns by their names in SQL: an
            exact decimal is ``<name>_micros``, whole millionths.
        function: Returns the rows as a frame of polars or pandas; its arguments are frames of
            polars with the rows of ``inputs``, in their order.
        inputs: Names of the tables that it is made of; of SQL they are read from the query.
        partition_by: Field of the key by which it is recomputed in parts; each input has the column
            too. Without it, a change recomputes the whole table.
        input_columns: The column of inputs that call it otherwise; ``""`` for an input that each
            part reads whole.
        description: What one row is.
        owners: Dagster's owners, such as ``team:market``.
    """
    return Derived(
        name=name,
        key=key,
        fields=fields,
        sql=sql,
        function=function,
        inputs=inputs,
        partition_by=partition_by,
        input_columns=input_columns or {},
        description=description,
        owners=owners,
    )


def declare_derived_table(declared: Derived, domain: str) -> Table:
    """Return the table of a derived table with its history; it is declared once."""
    pair = _DECLARED.get(declared.name)
    if pair is not None and pair[0] is declared:
        return pair[1]
    comment = declared.description or f"One row per {', '.join(declared.key)}."
    derived_table = table(
        declared.name,
        comment,
        *(make_column(column, is_key=column.name in declared.key) for column in declared.columns),
        moment("known_from", "UTC time from which the row is valid (system time)"),
    )
    derived_table.info[ASSET] = f"{domain}/{declared.name}"
    for each in (derived_table, history_of(derived_table)):
        each.info[OWN] = True
    _DECLARED[declared.name] = (declared, derived_table)
    return derived_table
