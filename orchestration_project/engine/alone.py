"""Work that one run does at a time: two would delete each other's plans.

Who does it stands in a row of `fences`. Nothing has to be given back: the claim of a run ends with
the run, also with one that was killed, as soon as Dagster knows.
"""

from datetime import UTC, datetime

import dagster as dg
from sqlalchemy import Connection, select, update

from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.frames import insert_absent, within
from orchestration_project.errors import TransientError
from orchestration_project.tables.spine import fences

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def claim(
    warehouse: Warehouse, instance: dg.DagsterInstance, work: dg.AssetKey, *, run_id: str
) -> None:
    """Have the run be the only one that does the work of the asset ``work``, until it ends.

    Raises:
        TransientError: Another run that has not ended does it.
    """
    place = {"table_name": "_".join(work.path), "scope_key": ""}
    with warehouse.writing() as connection:
        holder = _holder(connection, place)
        if holder not in (None, run_id) and _is_under_way(instance, str(holder)):
            raise TransientError(
                f"another run does the work of {work.to_user_string()}",
                expected="one run at a time",
                found=f"the run {holder} has not ended",
                remedy="start it again once that has ended; if its process is gone, terminate it "
                "in the UI first",
            )
        connection.execute(
            update(fences)
            .where(within(fences, place))
            .values(source_version=run_id, token=fences.c.token + 1)
        )


def _holder(connection: Connection, place: dict[str, str]) -> str | None:
    """Return which run claimed the work last; nobody else can until this transaction ends."""
    empty = {"token": 0, "known_from": EPOCH, "source_version": None}
    insert_absent(connection, fences, [place | empty])
    wanted = select(fences.c.source_version).where(within(fences, place)).with_for_update()
    return connection.execute(wanted).scalar_one()


def _is_under_way(instance: dg.DagsterInstance, run_id: str) -> bool:
    run = instance.get_run_by_id(run_id)
    return run is not None and not run.is_finished
