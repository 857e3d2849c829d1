"""The page of the fault matrix: what is broken in the tests, when, and what follows."""

from tests.faults.matrix import KILLED, SURROUNDINGS, Fault
from tools.reference_pages.markdown import page, section, table

COLUMNS = ("fault", "stage", "loads", "databases", "result")


def write() -> str:
    """Return the page."""
    return page(
        "fault-matrix",
        [
            section("Processes killed or stopped", table(COLUMNS, map(_row, KILLED))),
            section("Database, disk, source and services", table(COLUMNS, map(_row, SURROUNDINGS))),
        ],
    )


def _row(fault: Fault) -> tuple[str, ...]:
    domains, databases = ", ".join(fault.domains), ", ".join(fault.databases)
    return fault.name, fault.stage, domains, databases, str(fault.outcome)
