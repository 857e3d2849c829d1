"""Lease of a site: one run crawls it at a time, whichever days and instances the runs are of.

A thread renews the lease. A run that is killed leaves it, and after `LEASE_SECONDS` at most the
next run takes it, with the work items that the killed run had claimed.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import Connection, select

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.leases import (
    Lease,
    LostLeaseError,
    expire_lease,
    give_back,
    renew,
    require_lease,
    take,
)
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import OrchestrationError, TransientError
from orchestration_project.tables.spine import leases

logger = logging.getLogger(__name__)

LEASE_SECONDS, RENEWAL_SECONDS = 30.0, 5.0
POLL_SECONDS = 0.25


def lease_name(site: str) -> str:
    """Return the name of a site's lease."""
    return f"web|{site}"


@dataclass
class SiteLease:
    """A lease that a run holds."""

    lease: Lease
    lost: threading.Event = field(default_factory=threading.Event)

    def require(self, connection: Connection) -> None:
        """Make sure that the run holds the site, until the transaction ends.

        Raises:
            LostLeaseError: Another run has taken it over.
        """
        require_lease(connection, self.lease)


@contextmanager
def hold_site(
    warehouse: Warehouse, site: str, *, run_id: str, has_ended: Callable[[str], bool]
) -> Iterator[SiteLease]:
    """Hold a site for a run, and renew the lease until the end of the block.

    Args:
        warehouse: The database.
        site: Name of the site.
        run_id: Dagster's run.
        has_ended: Whether a run is known to have ended; its lease is taken at once.

    Raises:
        TransientError: Another run crawls the site: it renews its lease.
    """
    site_lease = SiteLease(_take_lease(warehouse, lease_name(site), run_id, has_ended))
    ended = threading.Event()
    thread = threading.Thread(target=_renew, args=(warehouse, site_lease, ended), daemon=True)
    thread.start()
    try:
        yield site_lease
    finally:
        ended.set()
        thread.join()
        with suppress(LostLeaseError), warehouse.writing() as connection:
            give_back(connection, site_lease.lease)


def _take_lease(
    warehouse: Warehouse, name: str, run_id: str, has_ended: Callable[[str], bool]
) -> Lease:
    """Take a lease once it has expired, or its holder has ended."""
    moment: datetime | None = None
    while True:
        holder, expires_at = _find_holder(warehouse, name)
        is_over = bool(holder) and has_ended(holder)
        now = Clock().now()
        until = now + timedelta(seconds=LEASE_SECONDS)
        with warehouse.writing() as connection:
            if is_over:
                expire_lease(connection, name, holder)
            lease = take(connection, name, holder=run_id, now=now, until=until)
        if lease is not None:
            return lease
        if moment is not None and expires_at is not None and expires_at > moment:
            raise TransientError(
                f"another run crawls the site {name.rpartition('|')[2]}",
                expected="one run at a time, of any day",
                found=f"the run {holder} is at work",
                remedy="start it again once that has ended",
            )
        moment = expires_at
        time.sleep(POLL_SECONDS)


def _find_holder(warehouse: Warehouse, name: str) -> tuple[str, datetime | None]:
    query = select(leases.c.holder, leases.c.expires_at).where(leases.c.name == name)
    with warehouse.reading() as connection:
        row = connection.execute(query).one_or_none()
    return ("", None) if row is None else (row.holder, row.expires_at)


def _renew(warehouse: Warehouse, held: SiteLease, ended: threading.Event) -> None:
    while not ended.wait(RENEWAL_SECONDS):
        try:
            with warehouse.writing() as connection:
                renew(connection, held.lease, Clock().now() + timedelta(seconds=LEASE_SECONDS))
        except LostLeaseError:
            held.lost.set()
            return
        except OrchestrationError as error:  # the next one may succeed before the lease expires
            logger.warning(
                "Failed to renew %s: %s",
                held.lease.name,
                error,
                extra={"event": "lease_not_renewed"},
            )
