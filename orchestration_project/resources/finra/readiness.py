"""The probe of FINRA, or of what stands in for it."""

from collections.abc import Callable
from contextlib import AbstractContextManager

from orchestration_project.domains.finra.calendar import WEEK
from orchestration_project.resources.clock import Clock
from orchestration_project.resources.finra.source import FinraSource
from orchestration_project.resources.gate.probe import Answer, Probe

WEEKS = 8
"""Within the current dataset, so that one request tells; enough for every tier to be published."""


def finra_probe(
    open_source: Callable[[], AbstractContextManager[FinraSource]], clock: Clock, *, where: str
) -> Probe:
    """Return the probe of the source at ``where``: it asks for what every load asks for first.

    That is one request, and where there are credentials, one more for a token.
    """

    def run() -> Answer:
        since = clock.today_in_new_york() - WEEKS * WEEK
        with open_source() as source:
            listed = source.published(since=since)
        return Answer(f"it lists {len(listed)} partitions of the last {WEEKS} weeks")

    return Probe("finra", ("finra",), f"asked {where} for its list of partitions", run)
