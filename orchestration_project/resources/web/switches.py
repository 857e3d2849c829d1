"""Kill switches of sites: each change is a row of `web_switches`, and the latest one counts."""

import threading
import time
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Row, insert, select

from orchestration_project.domains.web.tables import web_crawls, web_switches
from orchestration_project.engine.leases import lock_row
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import ConfigurationError, OrchestrationError, did_you_mean

MAX_AGE_SECONDS = 0.5
"""Age up to which a look-up counts: a request leaves no later than so long after a change."""


class SwitchedOffError(OrchestrationError):
    """A site's kill switch is off, so that no request of it may leave."""

    category = "configuration"


@dataclass(frozen=True)
class SwitchChange:
    """A change of a site's switch.

    Attributes:
        site: Name of the site.
        is_off: Whether no request may leave from then on.
        reason: Reason of the user.
        by: User.
        at: UTC time.
        run_id: Dagster run that makes it.
    """

    site: str
    is_off: bool
    reason: str
    by: str
    at: datetime
    run_id: str


def set_switch(warehouse: Warehouse, change: SwitchChange, sites: Collection[str]) -> int:
    """Record a change of a switch; return its number.

    A site whose file was removed has a switch as long as it has crawls.

    Args:
        warehouse: The database.
        change: The change.
        sites: Names of the site files, invalid ones included.

    Raises:
        ConfigurationError: No site has that name.
    """
    with warehouse.writing() as connection:
        lock_row(connection, f"web_switches|{change.site}")
        _require_site(connection, change.site, sites)
        latest = _read_latest(connection, change.site)
        number = 1 if latest is None else latest.change_number + 1
        row = {
            "site": change.site,
            "change_number": number,
            "is_off": change.is_off,
            "reason": change.reason,
            "changed_by": change.by,
            "changed_at": change.at,
            "run_id": change.run_id,
        }
        connection.execute(insert(web_switches), row)
    return number


def _require_site(connection: Connection, site: str, sites: Collection[str]) -> None:
    crawled = set(connection.execute(select(web_crawls.c.site).distinct()).scalars())
    entries = sorted({*sites, *crawled})
    if site not in entries:
        raise ConfigurationError(
            f"invalid site {site[:60]!r}: expected the name of a site file, e.g. shop",
            expected=f"one of {', '.join(entries) or '(none)'}",
            remedy=did_you_mean(site, entries) or "correct the run's config",
        )


def _read_latest(connection: Connection, site: str) -> Row[tuple[object, ...]] | None:
    changes = web_switches.c
    query = (
        select(web_switches)
        .where(changes.site == site)
        .order_by(changes.change_number.desc())
        .limit(1)
    )
    return connection.execute(query).one_or_none()


class SiteSwitch:
    """Switch of a site, looked up again when the latest look-up is old; safe for threads."""

    def __init__(self, warehouse: Warehouse, site: str) -> None:
        self._warehouse = warehouse
        self._site = site
        self._lock = threading.Lock()
        self._polled_at = float("-inf")
        self._cause = ""

    def check(self) -> None:
        """Make sure that a request may leave now.

        Raises:
            SwitchedOffError: The switch is off; says by whom and why.
        """
        with self._lock:
            now = time.monotonic()
            if now - self._polled_at > MAX_AGE_SECONDS:
                self._cause = self._look_up()
                self._polled_at = now
            cause = self._cause
        if cause:
            raise SwitchedOffError(
                f"{self._site} is switched off by {cause}",
                expected=f"the switch of {self._site} on",
                remedy="set the switch on by the job web_set_switch, then crawl again",
            )

    def _look_up(self) -> str:
        """Return who switched the site off and why; empty: the switch is on."""
        with self._warehouse.reading() as connection:
            latest = _read_latest(connection, self._site)
        if latest is None or not latest.is_off:
            return ""
        return f"{latest.changed_by}: {latest.reason}"
