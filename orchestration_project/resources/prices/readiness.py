"""The probe of the source of daily prices."""

from collections.abc import Callable
from contextlib import AbstractContextManager

from orchestration_project.resources.gate.probe import Answer, Probe
from orchestration_project.resources.prices.source import PriceSource

NO_SOURCE = Answer("PRICES_SOURCE is not set: no prices are asked for", is_applicable=False)


def prices_probe(
    open_source: Callable[[], AbstractContextManager[PriceSource]], *, is_wanted: bool
) -> Probe:
    """Return the probe of the source that the settings name; it costs nothing of a quota.

    A quota that has ended is no failure: what is missing waits for the vendor's next day.
    """

    def run() -> Answer:
        if not is_wanted:
            return NO_SOURCE
        with open_source() as source:
            return Answer(f"{source.name}: {source.ready()}")

    return Probe("prices", ("prices",), "asked the source of prices whether it answers", run)
