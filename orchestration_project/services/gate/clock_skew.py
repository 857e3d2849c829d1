"""The probe of this machine's clock, against those that others have."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from orchestration_project.connections.clock import Clock
from orchestration_project.connections.http import HttpClient
from orchestration_project.errors import ConfigurationError, OrchestrationError
from orchestration_project.registry import Answer, Probe
from orchestration_project.services.gate.storage import OpenWarehouse

Time = datetime | None


def clock_probe(
    others: Mapping[str, Callable[[], Time]], clock: Clock, *, most_seconds: float
) -> Probe:
    """Return the probe of ``clock`` against ``others``: who they are, and how to ask them."""

    def run() -> Answer:
        skews = {who: _skew_seconds(ask, clock) for who, ask in others.items()}
        known = {who: skew for who, skew in skews.items() if skew is not None}
        said = ", ".join(f"{skew:+.1f} s to {who}" for who, skew in known.items())
        if any(abs(skew) > most_seconds for skew in known.values()):
            raise ConfigurationError(
                "this machine's clock differs from others",
                expected=f"at most {most_seconds:g} s (CLOCK_SKEW_SECONDS)",
                found=said,
                remedy="set the clock by NTP, here or there",
            )
        silent = ", ".join(who for who in others if who not in known)
        if not known:
            return Answer(f"nobody told the time: {silent or 'nobody to ask'}", is_applicable=False)
        return Answer(said + (f"; no time from {silent}" if silent else ""))

    return Probe("clock", ("finra",), "compared this machine's time with that of others", run)


def _skew_seconds(ask: Callable[[], Time], clock: Clock) -> float | None:
    """Return how far ``clock`` is ahead, None where nobody says: half of the way there and back."""
    asked_at = clock.now()
    told = ask()
    if told is None:
        return None
    return (asked_at + (clock.now() - asked_at) / 2 - told).total_seconds()


def time_of_database(open_it: OpenWarehouse) -> Time:
    """Return the time of the database's server, None of SQLite and where it does not answer."""
    try:
        with open_it() as warehouse:
            return warehouse.server_time()
    except OrchestrationError:  # the probe of the database tells of it
        return None


def time_of_server(open_http: Callable[[], HttpClient], url: str) -> Time:
    """Return the time that an HTTP server gives with its answer, None where it gives none.

    Nor does one of which a cache kept the answer: its Date is of the past.
    """
    try:
        with open_http() as http:
            found = http.request("GET", url, headers={"Cache-Control": "no-cache"}).headers
            return None if "age" in found else _read(found.get("date", ""))
    except OrchestrationError:  # the probe of the source tells of it
        return None


def _read(text: str) -> Time:
    try:
        told = parsedate_to_datetime(text)
        return told if told.tzinfo else told.replace(tzinfo=UTC)  # HTTP has no other zone
    except (ValueError, OverflowError):
        return None
