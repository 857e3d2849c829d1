"""Where the latest finding of each dependency is kept: a machine's own, in our database."""

import socket
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from uuid import uuid4

from sqlalchemy import bindparam, delete, insert, select, update

from orchestration_project.domains.operations.readiness import Finding
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.frames import insert_absent
from orchestration_project.tables.operations import operations_readiness as readiness

FOUND = [each for each in readiness.columns if each.name in Finding.__dataclass_fields__]


class Register:
    """The latest findings of this machine: another may have another disk, or no way to a source."""

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse
        self._machine = socket.gethostname()

    def latest(self) -> Mapping[str, Finding]:
        """Return what was last found, by dependency.

        Raises:
            OrchestrationError: The database cannot be used.
        """
        wanted = select(*FOUND).where(readiness.c.machine == self._machine)
        with self._warehouse.reading() as connection:
            rows = connection.execute(wanted).mappings()
            return {row["dependency"]: Finding(**row) for row in rows}

    def keep(self, findings: Sequence[Finding], *, run_id: str) -> None:
        """Store what was found, in the place of what was found before.

        Raises:
            OrchestrationError: The database cannot be used.
        """
        rows = [{**asdict(each), "machine": self._machine, "run_id": run_id} for each in findings]
        key = readiness.primary_key.columns
        own = [column == bindparam(f"of_{column.name}") for column in key]
        changed = update(readiness).where(*own)
        with self._warehouse.writing() as connection:
            insert_absent(connection, readiness, rows)
            connection.execute(
                changed,
                [{**row, **{f"of_{each.name}": row[each.name] for each in key}} for row in rows],
            )

    def keep_forced(self, dependencies: Collection[str], *, run_id: str, at: datetime) -> None:
        """Note that a run went on although these dependencies were not ready."""
        with self._warehouse.writing() as connection:
            connection.execute(
                update(readiness)
                .where(
                    readiness.c.machine == self._machine, readiness.c.dependency.in_(dependencies)
                )
                .values(forced_run_id=run_id, forced_at=at)
            )


def write_and_take_back(warehouse: Warehouse, now: datetime) -> None:
    """Write a row to the database and delete it, in a transaction that nobody else sees.

    Raises:
        OrchestrationError: The database did not do it.
    """
    name = f"trial {uuid4().hex}"
    finding = Finding(name, "passed", "", "", "", 0.0, now, "")
    row = {**asdict(finding), "machine": socket.gethostname(), "run_id": ""}
    with warehouse.writing() as connection:
        connection.execute(insert(readiness), row)
        connection.execute(delete(readiness).where(readiness.c.dependency == name))
