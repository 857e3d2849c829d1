"""Equations that are computed from the tables alone, for any range of time.

A domain declares each as an `Equation`; `services.balance` computes all of them. Stages record what
their tables do not hold.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    and_,
    case,
    delete,
    func,
    insert,
    select,
    true,
)

from orchestration_project.engine.contracts.balance import Balance, UnbalancedError
from orchestration_project.engine.warehouse.balancing import build_balance_row, forget_failure
from orchestration_project.tables.spine import balances


@dataclass(frozen=True)
class BalanceFilter:
    """Subjects whose equations are computed.

    Attributes:
        table_name: Their table; None: all.
        start: Earliest time of a subject, UTC; None: no bound.
        end: First time after the latest, UTC; None: no bound.
    """

    table_name: str | None = None
    start: datetime | None = None
    end: datetime | None = None

    @property
    def is_bounded(self) -> bool:
        """Whether it leaves out some times."""
        return self.start is not None or self.end is not None

    def includes(self, at: datetime) -> bool:
        """Whether a time is in the range."""
        return (self.start is None or self.start <= at) and (self.end is None or at < self.end)

    def holds(self, column: ColumnElement[Any]) -> ColumnElement[bool]:
        """Return the condition that the time of ``column`` is in the range."""
        start = true() if self.start is None else column >= self.start
        end = true() if self.end is None else column < self.end
        return and_(start, end)


class SubjectBalance(NamedTuple):
    """Equation of one subject.

    Attributes:
        table_name: Table of the subject; empty: it is of no table.
        subject: Delivery, partition, run or item.
        balance: The equation.
        is_recorded: Whether the stage recorded what the equation needs; older ones did not.
    """

    table_name: str
    subject: str
    balance: Balance
    is_recorded: bool = True


def record_balance(
    connection: Connection, stage: SubjectBalance, *, run_id: str, at: datetime
) -> None:
    """Record the equation of a stage in its transaction; a later one of the subject replaces it.

    Raises:
        UnbalancedError: It has a difference: the transaction must not be committed.
    """
    balance = stage.balance
    if balance.difference:
        error = UnbalancedError(
            f"{stage.subject} of {stage.table_name} does not balance",
            expected="what came in is what went out",
            found=str(balance),
            remedy="report it with these numbers: the stage lost or doubled something",
        )
        error.balances, error.run_id = [balance], run_id
        error.table_name, error.subject = stage.table_name, stage.subject
        raise error
    forget_failure(connection, stage.table_name, stage.subject)
    row = build_balance_row(
        balance, table_name=stage.table_name, subject=stage.subject, run_id=run_id, at=at
    )
    conditions = (balances.c[name] == row[name] for name in ("table_name", "subject", "equation"))
    connection.execute(delete(balances).where(*conditions))
    connection.execute(insert(balances), [row])


def read_balance(
    connection: Connection, table_name: str, subject: str, equation: str
) -> Sequence[Balance]:
    """Return the recorded equation of a subject; empty: there is none."""
    row = balances.c
    conditions = (row.table_name == table_name, row.subject == subject, row.equation == equation)
    rows = connection.execute(select(row.came_in, row.went_to).where(*conditions)).all()
    return [Balance(equation, came_in, json.loads(went_to)) for came_in, went_to in rows]


def read_places(
    connection: Connection,
    name: str,
    subject: Column[str],
    places: Mapping[str, ColumnElement[bool]],
    is_chosen: ColumnElement[bool],
) -> Iterator[SubjectBalance]:
    """Yield the equation of each subject: its chosen rows = its rows at each place.

    Args:
        connection: Reads one state of the database.
        name: Name of the equation.
        subject: Column of the subjects; its table has the rows.
        places: Condition of each place; a row that meets none was lost.
        is_chosen: Condition of the rows.
    """
    counts = (func.sum(case((condition, 1), else_=0)) for condition in places.values())
    statement = select(subject, func.count(), *counts).where(is_chosen)
    rows = connection.execute(statement.group_by(subject).order_by(subject))
    for text, total, *numbers in map(tuple, rows):
        went_to = dict(zip(places, map(int, numbers), strict=True))
        yield SubjectBalance(subject.table.name, text, Balance(name, total, went_to))


ReadBalances = Callable[[Connection, BalanceFilter], Iterator[SubjectBalance]]
"""Yields the equations of subjects that a filter selects, reading a part of them at a time."""


@dataclass(frozen=True, kw_only=True)
class Equation:
    """Equation of a stage.

    Attributes:
        name: Its name, such as messages.
        meaning: The equation in words.
        table_names: Tables of its subjects; empty: any loaded table.
        read: Computes it.
    """

    name: str
    meaning: str
    table_names: Sequence[str] = ()
    read: ReadBalances

    def concerns(self, table_name: str | None) -> bool:
        """Whether it has subjects of a table; None: of any."""
        return table_name is None or not self.table_names or table_name in self.table_names
