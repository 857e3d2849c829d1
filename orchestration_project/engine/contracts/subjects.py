"""Persons and documents that data is about: how a domain declares what identifies one.

An erasure deletes the rows that a declaration finds, their history, captures and bytes. In all
other texts it masks the identifier.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import Column, Connection, Table

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


def _find_no_related(_: Table, __: Key) -> Sequence[tuple[Table, Key]]:
    return ()


class FoundSubject(NamedTuple):
    """Identifiers and places of a subject, as the tables have them before its erasure.

    Attributes:
        identifiers: Further texts that identify it, which are masked like the given ones.
        not_reached: Places of it that the erasure does not reach, sentences without identifiers.
    """

    identifiers: Sequence[str] = ()
    not_reached: Sequence[str] = ()


Find = Callable[[Connection, Sequence[str]], FoundSubject]
"""Returns what the tables know of a subject with these identifiers."""


def _find_nothing(_: Connection, __: Sequence[str]) -> FoundSubject:
    return FoundSubject()


Rows = Callable[[Connection, Sequence[str]], Iterable[tuple[Table, Key]]]
"""Returns rows of a subject, in the transaction that deletes them: table, and values of columns
that all rows to delete have. It may first change rows of others that name the subject."""


def _find_no_rows(_: Connection, __: Sequence[str]) -> Iterable[tuple[Table, Key]]:
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
        find: Returns further identifiers, where tables have them.
        rows: Returns rows that are deleted, where columns alone cannot declare them; of `captures`,
            those whose bytes go unless rows of others need them.
        unmasked: Columns and tables in which nothing is masked: they have contents and names of
            others, which only resemble the identifier.
        is_masked_in_captures: Whether captured bytes of others that mention it are replaced.
    """

    name: str
    description: str
    columns: Sequence[IdentifyingColumn] = ()
    records: Sequence[CapturedRecords | CapturedLines] = ()
    companions: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
    related: Related = _find_no_related
    find: Find = _find_nothing
    rows: Rows = _find_no_rows
    unmasked: Collection[Column[Any] | Table] = ()
    is_masked_in_captures: bool = True
