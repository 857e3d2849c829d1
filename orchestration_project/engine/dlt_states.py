"""States of incremental sources: where a partition starts, and what its load appends.

A load appends the state after it in its own transaction, under the number that follows the one it
started from. So no row is loaded without its state, and of two loads that started from one state
the second is refused: its rows are in the first.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, insert, inspect, select
from sqlalchemy.exc import IntegrityError

from orchestration_project.engine.environment import open_unprepared_warehouse
from orchestration_project.engine.warehouse import Delivery, SupersededError
from orchestration_project.engine.warehouse.target import WriteTarget
from orchestration_project.errors import SourceError
from orchestration_project.settings import Settings
from orchestration_project.tables.spine import dlt_states

STATE = "dlt_state"
"""Entry of a capture's request that has the states before and after a read."""


class SavedState(NamedTuple):
    """The state after a load, JSON."""

    number: int
    partition_key: str
    text: str


@dataclass(frozen=True)
class StartState:
    """The state that a read starts from, and the number of the newest one."""

    number: int = 0
    state: Mapping[str, Any] = field(default_factory=dict[str, Any])


def read_start_state(settings: Settings, table_name: str, partition_key: str) -> StartState:
    """Return the state that a read of a partition starts from; before tables are made, the first.

    Raises:
        SourceError: As of `start_state`.
    """
    with open_unprepared_warehouse(settings) as warehouse, warehouse.reading() as connection:
        if not inspect(connection).has_table(dlt_states.name):
            return StartState()
        return start_state(connection, table_name, partition_key)


def read_newest_state(
    connection: Connection, table_name: str, *conditions: ColumnElement[bool]
) -> SavedState | None:
    """Return the newest state of a table's resource for which conditions hold; None: none."""
    columns = (dlt_states.c.state_number, dlt_states.c.partition_key, dlt_states.c.state)
    row = connection.execute(
        select(*columns)
        .where(dlt_states.c.table_name == table_name, *conditions)
        .order_by(columns[0].desc())
        .limit(1)
    ).first()
    return None if row is None else SavedState(*row)


def start_state(connection: Connection, table_name: str, partition_key: str) -> StartState:
    """Return the state that a read of a partition starts from; two states are read at most.

    The newest partition starts again where its first load did, and is replaced as a whole.

    Raises:
        SourceError: A later partition continues from it, or has its rows.
    """
    newest = read_newest_state(connection, table_name)
    if newest is None:
        return StartState()
    if newest.partition_key > partition_key:
        raise SourceError(
            f"{partition_key} of an incremental source cannot be read again",
            expected=f"{newest.partition_key} or a later partition",
            found=f"{newest.partition_key} was loaded, and has the rows that were new since",
            remedy="load a later partition, or replay what was delivered of this one",
        )
    before = newest
    if newest.partition_key == partition_key:
        is_before = dlt_states.c.partition_key < partition_key
        before = read_newest_state(connection, table_name, is_before)
    return StartState(newest.number, json.loads(before.text) if before else {})


def append_state(
    connection: Connection, target: WriteTarget, delivery: Delivery, at: datetime
) -> None:
    """Append the state after a delivery, in the transaction that loads it.

    A replay of a delivery whose state was appended appends none.

    Raises:
        SupersededError: Another load started from the same state, and has its rows.
    """
    state = next(
        (capture.request[STATE] for capture in delivery.captures if STATE in capture.request), None
    )
    if not isinstance(state, Mapping):
        return
    table_name, number = target.table.name, int(state["number"]) + 1
    saved_state = read_newest_state(connection, table_name, dlt_states.c.state_number == number)
    if (
        delivery.replay_of
        and saved_state is not None
        and saved_state.partition_key == target.partition_key
    ):
        return
    newest = read_newest_state(connection, table_name)
    row = {
        "table_name": table_name,
        "state_number": number,
        "partition_key": target.partition_key,
        "state": json.dumps(state["after"], sort_keys=True),
        "run_id": target.run_id,
        "saved_at": at,
    }
    if (newest.number if newest else 0) != number - 1:
        raise _build_error(target.partition_key, newest.partition_key if newest else "")
    try:
        connection.execute(insert(dlt_states), row)
    except IntegrityError as error:
        raise _build_error(target.partition_key, "another partition") from error


def _build_error(partition_key: str, other: str) -> SupersededError:
    return SupersededError(
        f"{partition_key} started from a state that another load has continued",
        expected="the newest state of the resource",
        found=f"a later one, of the load of {other}" if other else "an earlier one",
        remedy="load the partition again; incremental partitions are loaded one after the other",
    )
