"""Persons and documents that data is about: how a domain declares what identifies one.

An erasure deletes the rows that a declaration finds, their history, captures and bytes. In all
other texts it masks the identifier.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Column, Table

MAX_IDENTIFIER_BYTES = 1_000
"""Maximum size of an identifier in UTF-8, bytes."""

MIN_MASKED_CHARACTERS = 6
"""Minimum length of a text that is masked wherever it stands: a shorter one, such as 42, stands for
other things, too. It is matched in declared columns only."""

MAX_IDENTIFIERS = 20


@dataclass(frozen=True, kw_only=True)
class IdentifyingColumn:
    """Column whose value identifies the subject of its row. An erasure deletes such rows.

    Attributes:
        column: The column; its table's history is searched, too.
        path: Names of members that lead to the value in JSON; empty: the column is the value.
        prefix: What stands before the identifier in the column, such as ``task|``.
        where: Values of other columns that the row must have, by name.
        is_base64: Whether the column's text is the Base64 of the JSON.
    """

    column: Column[str]
    path: tuple[str, ...] = ()
    prefix: str = ""
    where: Mapping[str, str] = field(default_factory=dict[str, str])
    is_base64: bool = False

    @property
    def table(self) -> Table:
        """The table of the column."""
        return self.column.table


@dataclass(frozen=True, kw_only=True)
class CapturedRecords:
    """Records in captured JSON. An erasure cuts those of the subject out of the bytes.

    Attributes:
        source: Source of the captures.
        dataset: Dataset of the captures.
        records: Names of members that lead to the array of records.
        path: Names of members that lead to the identifier in a record.
    """

    source: str
    dataset: str
    records: tuple[str, ...]
    path: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class CapturedLines:
    """Lines in captured delimited text with a header. An erasure cuts out those of the subject.

    Attributes:
        source: Source of the captures.
        dataset: Dataset of the captures.
        delimiter: One character.
        field: Name of the field with the identifier, as the header has it.
    """

    source: str
    dataset: str
    delimiter: str
    field: str


Key = Mapping[str, Any]
"""Values of a table's columns, by name."""


Related = Callable[[Table, Key], Sequence[tuple[Table, Key]]]
"""Returns the rows of other tables that are deleted with a row: table and key."""


def _none_related(_: Table, __: Key) -> Sequence[tuple[Table, Key]]:
    return ()


@dataclass(frozen=True, kw_only=True)
class SubjectKind:
    """Kind of person or document, and where a domain has its identifiers.

    Attributes:
        name: One word, such as person.
        description: What identifies one, for people.
        columns: Columns that identify the subject of their rows.
        records: Records in captured bytes. A kind with columns of loaded tables needs them: the
            bytes of a replay have no row of the subject then.
        companions: By a member of a JSON object that is the identifier: members of the same object
            that are masked with it, such as the name beside an e-mail address.
        related: Returns rows of other tables that are deleted with a row.
    """

    name: str
    description: str
    columns: Sequence[IdentifyingColumn] = ()
    records: Sequence[CapturedRecords | CapturedLines] = ()
    companions: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
    related: Related = _none_related
