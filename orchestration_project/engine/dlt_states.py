"""States of incremental dlt resources: where a partition starts, and what its load appends.

A load appends the state after it in its own transaction, under the number that follows the one it
started from. So no row is loaded without its state, and of two loads that started from one state
the second is refused: its rows are in the first.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, inspect, select
from sqlalchemy.exc import IntegrityError

from orchestration_project.engine.environment import unprepared_warehouse
from orchestration_project.engine.warehouse import Delivery, SupersededError
from orchestration_project.engine.warehouse.target import WriteTarget
from orchestration_project.errors import SourceError
from orchestration_project.settings import Settings
from orchestration_project.tables.dlt import dlt_states

STATE = "dlt_state"
"""Entry of a capture's request that has the states before and after a read."""


@dataclass(frozen=True)
class SavedState:
    """The state after a load."""

    number: int
    partition_key: str
    state: Mapping[str, Any]


@dataclass(frozen=True)
class StartState:
    """The state that a read starts from, and the number of the newest one."""

    number: int = 0
    state: Mapping[str, Any] = field(default_factory=dict[str, Any])


def read_states(settings: Settings, table_name: str) -> Sequence[SavedState]:
    """Return the states of a table's resource, oldest first; none before the tables are made."""
    with unprepared_warehouse(settings) as warehouse, warehouse.reading() as connection:
        if not inspect(connection).has_table(dlt_states.name):
            return []
        return saved_states(connection, table_name)


def saved_states(connection: Connection, table_name: str) -> Sequence[SavedState]:
    """Return the states of a table's resource, oldest first."""
    columns = (dlt_states.c.state_number, dlt_states.c.partition_key, dlt_states.c.state)
    rows = connection.execute(
        select(*columns).where(dlt_states.c.table_name == table_name).order_by(columns[0])
    )
    return [SavedState(number, key, json.loads(state)) for number, key, state in rows]


def start_state(saved: Sequence[SavedState], partition_key: str) -> StartState:
    """Return the state that a read of a partition starts from.

    The newest partition starts again where its first load did, and is replaced as a whole.

    Raises:
        SourceError: A later partition continues from it, or has its rows.
    """
    if not saved:
        return StartState()
    newest = saved[-1]
    if newest.partition_key > partition_key:
        raise SourceError(
            f"{partition_key} of an incremental source cannot be read again",
            expected=f"{newest.partition_key} or a later partition",
            found=f"{newest.partition_key} was loaded, and has the rows that were new since",
            remedy="load a later partition, or replay what was delivered of this one",
        )
    before = [each for each in saved if each.partition_key < partition_key]
    return StartState(newest.number, before[-1].state if before else {})


def append_state(
    connection: Connection, target: WriteTarget, delivery: Delivery, at: datetime
) -> None:
    """Append the state after a delivery, in the transaction that loads it.

    A replay of a delivery whose state was appended appends none.

    Raises:
        SupersededError: Another load started from the same state, and has its rows.
    """
    found = next((each.request[STATE] for each in delivery.captures if STATE in each.request), None)
    if not isinstance(found, Mapping):
        return
    table_name, number = target.table.name, int(found["number"]) + 1
    saved = {each.number: each for each in saved_states(connection, table_name)}
    own = saved.get(number)
    if delivery.replay_of and own is not None and own.partition_key == target.partition_key:
        return
    row = {
        "table_name": table_name,
        "state_number": number,
        "partition_key": target.partition_key,
        "state": json.dumps(found["after"], sort_keys=True),
        "run_id": target.run_id,
        "saved_at": at,
    }
    if own is not None or len(saved) != number - 1:
        raise _superseded(target.partition_key, saved[max(saved)].partition_key if saved else "")
    try:
        connection.execute(insert(dlt_states), row)
    except IntegrityError as error:
        raise _superseded(target.partition_key, "another partition") from error


def _superseded(partition_key: str, other: str) -> SupersededError:
    return SupersededError(
        f"{partition_key} started from a state that another load has continued",
        expected="the newest state of the resource",
        found=f"a later one, of the load of {other}" if other else "an earlier one",
        remedy="load the partition again; incremental partitions are loaded one after the other",
    )
