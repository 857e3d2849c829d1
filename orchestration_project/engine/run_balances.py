"""Equations of a run: what was asked of it, and how all of it ended.

- partitions: partitions asked for = loaded + unchanged + not_published + no_data + not_asked +
  quarantined + refused + failed.
- pieces, such as symbols: pieces of these partitions = ended + quarantined + refused + failed.

What was asked is counted before the run's loop, how it ended after it: what the loop dropped is a
difference. A run that ended early has what it did not reach as failed.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete

from orchestration_project.contracts.balance import Balance
from orchestration_project.engine.loads import ItemResult
from orchestration_project.engine.warehouse import HeldBackError, Warehouse
from orchestration_project.engine.warehouse.balancing import balance_row
from orchestration_project.engine.warehouse.frames import frame_of, insert_frame
from orchestration_project.errors import (
    ConfigurationError,
    ContractError,
    OrchestrationError,
    SourceError,
)
from orchestration_project.tables.spine import balances

PLACES = (
    "loaded",
    "unchanged",
    "not_published",
    "no_data",
    "not_asked",
    "quarantined",
    "refused",
    "failed",
)
"""Ends of a partition; `refused`: its data or its settings cannot be used; `failed`: any other
error, or the run ended before it."""

RecordBalances = Callable[[str, Sequence[Balance]], None]
"""Stores the equations of a run, by its id."""


def place_of_error(error: OrchestrationError) -> str:
    """Return where a partition with an error went."""
    if isinstance(error, HeldBackError):
        return "quarantined"
    is_refusal = isinstance(error, SourceError | ContractError | ConfigurationError)
    return "refused" if is_refusal else "failed"


def balance_partitions(keys: Sequence[str], ended: Mapping[str, str], *, is_early: bool) -> Balance:
    """Return the equation of a run's partitions.

    Args:
        keys: Those that it was asked for.
        ended: The place of each that ended, one of `PLACES`.
        is_early: Whether an error ended the run.
    """
    counts = Counter(ended.values())
    if is_early:
        counts["failed"] += len(set(keys) - ended.keys())
    return Balance("partitions", len(keys), _in_order(PLACES, counts))


def balance_pieces(
    name: str, keys: Sequence[str], outcomes: Sequence[ItemResult[Any]], *, is_early: bool
) -> Balance:
    """Return the equation of the pieces, called ``name``, of a run's partitions."""
    counts = Counter(
        place_of_error(outcome.error) if outcome.error else "ended" for outcome in outcomes
    )
    if is_early:
        counts["failed"] += len(set(keys) - {outcome.partition_key for outcome in outcomes})
    places = ("ended", "quarantined", "refused", "failed")
    return Balance(f"{name}s", len(keys), _in_order(places, counts))


def _in_order(places: Sequence[str], counts: Counter[str]) -> Mapping[str, int]:
    return {place: counts[place] for place in places if counts[place]}


def record_run_balances(
    warehouse: Warehouse, table_name: str, now: Callable[[], datetime]
) -> RecordBalances:
    """Return a function that stores the equations of a run that loads a table.

    The last attempt of a run counts.
    """

    def record(run_id: str, made: Sequence[Balance]) -> None:
        rows = [
            balance_row(each, table_name=table_name, subject=run_id, run_id=run_id, at=now())
            for each in made
        ]
        with warehouse.writing() as connection:
            _delete_earlier(connection, table_name, run_id)
            insert_frame(connection, balances, frame_of(rows, balances))

    return record


def _delete_earlier(connection: Connection, table_name: str, run_id: str) -> None:
    own = (balances.c.table_name == table_name, balances.c.subject == run_id)
    connection.execute(delete(balances).where(*own))
