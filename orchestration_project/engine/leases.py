"""Rows that one holder has: leases of processes, locks of a transaction, a run that is alone."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, select, update

from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.frames import insert_absent, match_scope
from orchestration_project.errors import TransientError
from orchestration_project.tables.spine import fences, leases

if TYPE_CHECKING:
    import dagster as dg

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class LostLeaseError(TransientError):
    """Another process has taken over what this one worked on."""


@dataclass(frozen=True)
class Lease:
    """Exclusive work of one process; ``token`` is its fencing token."""

    name: str
    holder: str
    token: int
    expires_at: datetime


def lock_row(connection: Connection, name: str) -> Row[Any]:
    """Lock the row of a lease until this transaction ends, and return it."""
    empty = {"name": name, "holder": "", "token": 0, "expires_at": EPOCH}
    insert_absent(connection, leases, [empty])
    query = select(leases).where(leases.c.name == name).with_for_update()
    return connection.execute(query).one()


def take(
    connection: Connection, name: str, *, holder: str, now: datetime, until: datetime
) -> Lease | None:
    """Take a lease; None: another process has it.

    One that ends later than twice as long from now is of before the clock was set back, and over.
    """
    row = lock_row(connection, name)
    is_held = now < row.expires_at <= until + (until - now)
    if is_held and row.holder not in ("", holder):
        return None
    lease = Lease(name, holder, row.token + 1, until)
    connection.execute(
        update(leases)
        .where(leases.c.name == name)
        .values(holder=holder, token=lease.token, expires_at=until)
    )
    return lease


def require_lease(connection: Connection, lease: Lease) -> None:
    """Verify the lease; in a transaction that writes, keep it until the transaction ends.

    Raises:
        LostLeaseError: Somebody did.
    """
    query = select(leases.c.token).where(leases.c.name == lease.name)
    if connection.get_execution_options().get("writes"):
        query = query.with_for_update()
    token = connection.execute(query).scalar_one()
    if token != lease.token:
        raise LostLeaseError(
            f"another process has taken over {lease.name}",
            expected=f"the lease {lease.token}",
            found=f"the lease {token}",
            remedy="nothing: what it does counts, and nothing is recorded of this",
        )


def renew(connection: Connection, lease: Lease, until: datetime) -> None:
    """Let a lease expire later.

    Raises:
        LostLeaseError: Another process has taken it over.
    """
    require_lease(connection, lease)
    condition = leases.c.name == lease.name
    connection.execute(update(leases).where(condition).values(expires_at=until))


def expire_lease(connection: Connection, name: str, holder: str) -> None:
    """Let others take the lease of a process that has ended at once."""
    pair = (leases.c.name == name, leases.c.holder == holder)
    connection.execute(update(leases).where(*pair).values(holder="", expires_at=EPOCH))


def give_back(connection: Connection, lease: Lease) -> None:
    """Let others take it at once."""
    require_lease(connection, lease)
    connection.execute(
        update(leases).where(leases.c.name == lease.name).values(holder="", expires_at=EPOCH)
    )


def acquire_for_run(
    warehouse: Warehouse, instance: "dg.DagsterInstance", work: "dg.AssetKey", *, run_id: str
) -> None:
    """Have the run be the only one that does the work of the asset ``work``, until it ends.

    Raises:
        TransientError: Another run that has not ended does it, and its process is not known to be
            gone.
    """
    names = {"table_name": "_".join(work.path), "scope_key": ""}
    with warehouse.writing() as connection:
        holder = _lock_holder(connection, names)
        if holder not in (None, run_id) and is_at_work(instance, str(holder)):
            raise TransientError(
                f"another run does the work of {work.to_user_string()}",
                expected="one run at a time",
                found=f"the run {holder} has not ended",
                remedy="start it again once that has ended; if its process is gone, terminate it "
                "in the UI first",
            )
        connection.execute(
            update(fences)
            .where(match_scope(fences, names))
            .values(source_version=run_id, token=fences.c.token + 1)
        )


def _lock_holder(connection: Connection, place: dict[str, str]) -> str | None:
    """Return the run that claimed the work last, and lock it until this transaction ends."""
    empty = {"token": 0, "known_from": EPOCH, "source_version": None}
    insert_absent(connection, fences, [place | empty])
    query = select(fences.c.source_version).where(match_scope(fences, place)).with_for_update()
    return connection.execute(query).scalar_one()


def is_at_work(instance: "dg.DagsterInstance", run_id: str) -> bool:
    """Whether a run of this id has not ended, and its process is not known to be gone."""
    from orchestration_project.engine.dagster_private.processes import is_worker_gone

    run = instance.get_run_by_id(run_id)
    return run is not None and not run.is_finished and not is_worker_gone(instance, run)


def has_ended(instance: "dg.DagsterInstance", run_id: str) -> bool:
    """Whether a run is known here, and is not at work; one of another instance is not known."""
    return instance.get_run_by_id(run_id) is not None and not is_at_work(instance, run_id)
