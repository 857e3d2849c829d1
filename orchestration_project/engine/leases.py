"""Leases: one process at a time works on a thing, and only until a time that it knows.

A process that was paused past that time may meet its successor: so whatever it records of the work
goes through `still_held` in the same transaction.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, select, update

from orchestration_project.engine.warehouse.frames import insert_absent
from orchestration_project.errors import TransientError
from orchestration_project.tables.spine import leases

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class LostLeaseError(TransientError):
    """Another process has taken over what this one worked on."""


@dataclass(frozen=True)
class Lease:
    """Something that one process works on; ``token`` tells it from those who did before."""

    name: str
    holder: str
    token: int
    expires_at: datetime


def alone(connection: Connection, name: str) -> Row[Any]:
    """Have whoever asks for the same name wait until this transaction ends; return its lease."""
    empty = {"name": name, "holder": "", "token": 0, "expires_at": EPOCH}
    insert_absent(connection, leases, [empty])
    wanted = select(leases).where(leases.c.name == name).with_for_update()
    return connection.execute(wanted).one()


def take(
    connection: Connection, name: str, *, holder: str, now: datetime, until: datetime
) -> Lease | None:
    """Take a lease; None: another process has it.

    One that ends later than twice as long from now is of before the clock was set back, and over.
    """
    found = alone(connection, name)
    is_held = now < found.expires_at <= until + (until - now)
    if is_held and found.holder not in ("", holder):
        return None
    lease = Lease(name, holder, found.token + 1, until)
    connection.execute(
        update(leases)
        .where(leases.c.name == name)
        .values(holder=holder, token=lease.token, expires_at=until)
    )
    return lease


def still_held(connection: Connection, lease: Lease) -> None:
    """Make sure that nobody took the lease; in a transaction that writes, nor can until it ends.

    Raises:
        LostLeaseError: Somebody did.
    """
    wanted = select(leases.c.token).where(leases.c.name == lease.name)
    if connection.get_execution_options().get("writes"):
        wanted = wanted.with_for_update()
    token = connection.execute(wanted).scalar_one()
    if token != lease.token:
        raise LostLeaseError(
            f"another process has taken over {lease.name}",
            expected=f"the lease {lease.token}",
            found=f"the lease {token}",
            remedy="nothing: what it does counts, and nothing is recorded of this",
        )


def give_back(connection: Connection, lease: Lease) -> None:
    """Let others take it at once."""
    still_held(connection, lease)
    connection.execute(
        update(leases).where(leases.c.name == lease.name).values(holder="", expires_at=EPOCH)
    )
