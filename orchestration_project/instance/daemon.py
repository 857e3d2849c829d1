"""Dagster's daemon, of which an installation has one: a second one refuses to start.

Two daemons on one instance would both launch what is due, and Dagster only logs it. The arguments
are those of Dagster's own command: ``python -m orchestration_project.instance.daemon run -w FILE``.
"""

import logging
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from threading import Event, Thread

import psutil
from sqlalchemy import select

from orchestration_project.connections.clock import Clock
from orchestration_project.engine.environment import compared_warehouse
from orchestration_project.engine.leases import (
    Lease,
    LostLeaseError,
    end_lease_of,
    give_back,
    renew,
    take,
)
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.connecting import explain_error
from orchestration_project.errors import ConfigurationError, OrchestrationError
from orchestration_project.instance.claim_monitoring import monitored_claims
from orchestration_project.instance.logs import keep_log_lines
from orchestration_project.services.hosts import reported_host
from orchestration_project.settings import load_shared_settings
from orchestration_project.tables.spine import leases

LEASE = "dagster_daemon"

LEASE_SECONDS = 60
"""After so long without renewal, another daemon may start."""

SECONDS_BETWEEN_RENEWALS = 15

WAIT_FOR_CODE_SERVERS = "DAGSTER_BACKFILL_RETRY_DEFINITION_CHANGED_ERROR"
"""Variable of Dagster: without it, a backfill fails whose code server is away."""

REFUSED = 1

_logger = logging.getLogger(__name__)


def holder_name() -> str:
    """Return the name of this process: host, process number and the second of its start."""
    process = psutil.Process()
    return f"{socket.gethostname()} {process.pid} {process.create_time():.0f}"


def is_gone(holder: str) -> bool:
    """Whether a holder is a process of this host that has ended; False: unknown, or it runs."""
    host, _, rest = holder.partition(" ")
    number, _, since = rest.partition(" ")
    if host != socket.gethostname() or not (number.isdecimal() and since.isdecimal()):
        return False
    try:
        process = psutil.Process(int(number))
        return abs(process.create_time() - int(since)) > 1
    except psutil.NoSuchProcess:
        return True


def take_daemon_lease(warehouse: Warehouse, holder: str, now: datetime) -> Lease:
    """Take the lease of the daemon; one of a process of this host that is gone is ended first.

    Raises:
        ConfigurationError: Another daemon has it.
    """
    with warehouse.writing() as connection:
        until = now + timedelta(seconds=LEASE_SECONDS)
        found = connection.execute(select(leases.c.holder).where(leases.c.name == LEASE)).scalar()
        if found and is_gone(found):
            end_lease_of(connection, LEASE, found)
        lease = take(connection, LEASE, holder=holder, now=now, until=until)
        if lease is not None:
            return lease
        other = connection.execute(select(leases).where(leases.c.name == LEASE)).one()
    host, _, rest = other.holder.partition(" ")
    raise ConfigurationError(
        "another daemon of this installation runs",
        expected="one daemon for each DATABASE_URL",
        found=f"process {rest.partition(' ')[0]} on {host}, with a lease until "
        f"{other.expires_at.astimezone(UTC):%H:%M:%S} UTC",
        remedy="stop that one; if its host is gone, start this one again after that time",
    )


@contextmanager
def only_daemon(warehouse: Warehouse) -> Iterator[None]:
    """Hold the lease of the daemon while the block runs; end this process if it is lost.

    Raises:
        ConfigurationError: Another daemon has it.
    """
    end = Event()
    lease = take_daemon_lease(warehouse, holder_name(), Clock().now())
    keeper = Thread(target=_keep, args=(warehouse, lease, end), name="daemon lease", daemon=True)
    keeper.start()
    try:
        yield
    finally:
        end.set()
        keeper.join(timeout=SECONDS_BETWEEN_RENEWALS)
        with suppress(OrchestrationError), warehouse.writing() as connection:
            give_back(connection, lease)


def _keep(warehouse: Warehouse, lease: Lease, end: Event) -> None:
    while not end.wait(SECONDS_BETWEEN_RENEWALS):
        try:
            with warehouse.writing() as connection:
                renew(connection, lease, Clock().now() + timedelta(seconds=LEASE_SECONDS))
        except LostLeaseError as error:
            sys.stderr.write(f"{error}\nthis daemon ends: it was paused, and another runs\n")
            os._exit(REFUSED)
        except OrchestrationError as error:  # the database is away: no other can take it either
            _logger.warning(
                "failed to renew the lease of the daemon: %s",
                error,
                extra={"event": "daemon_lease_not_renewed"},
            )


def keep_backfills_without_code() -> None:
    """Have Dagster keep backfills whose code server is away; they go on once it is back."""
    os.environ.setdefault(WAIT_FOR_CODE_SERVERS, "1")  # noqa: TID251 - Dagster reads it there


def main(arguments: Sequence[str]) -> int:
    """Run Dagster's daemon; return the exit status."""
    from dagster._daemon.cli import main as dagster_daemon

    if "run" not in arguments or "--help" in arguments:
        dagster_daemon()
        return 0
    try:
        settings = load_shared_settings()
        keep_log_lines(settings, "daemon")
        keep_backfills_without_code()
        with (
            compared_warehouse(settings) as warehouse,
            only_daemon(warehouse),
            reported_host(settings, "daemon"),
            monitored_claims(),
        ):
            dagster_daemon()
    except Exception as error:
        explained = explain_error(error)
        if explained is None:
            raise
        sys.stderr.write(f"{explained}\n")
        return REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
