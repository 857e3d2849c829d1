"""A load of one partition from a file, as Dagster runs it, with a database and disk of the test's.

The partition is landed, then the file changes in every row: what is struck is a restatement, which
deletes, copies into table, history and derived tables, and commits.
"""

from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest
from sqlalchemy import func, select

from orchestration_project.tables.finra import finra_otc_weekly
from tests import databases
from tests.resources.test_bad_files import GOOD, KEY, NAME
from tests.runs import failure_of

OP = "finra_otc_weekly_load"
ROWS = 300
RESTATED = GOOD.replace(b"|7|", b"|9|")


@dataclass(frozen=True)
class Ended:
    """How a run ended, in how many attempts; ``told`` is what a user reads, "" if all is well."""

    told: str
    attempts: int

    @property
    def is_well(self) -> bool:
        return not self.told


@dataclass
class Loads:
    """Runs the job over one partition, in a folder of its own."""

    folder: Path
    environment: pytest.MonkeyPatch
    instance: dg.DagsterInstance

    def __post_init__(self) -> None:
        (self.folder / "files").mkdir(parents=True)
        settings = {
            "FINRA_SOURCE": "files",
            "FINRA_FILES_DIR": str(self.folder / "files"),
            "STATE_DIR": str(self.folder / "state"),
            "DISK_HEADROOM_MIB": "0",  # the disk fills up under the load, not before it
        }
        for name, value in settings.items():
            self.environment.setenv(name, value)

    def deliver(self, content: bytes) -> None:
        """Put the file where the load looks for it."""
        (self.folder / "files" / NAME).write_bytes(content)

    def run(self, url: str) -> Ended:
        """Load the partition into the database at ``url``."""
        # Not above: conftest.py imports this module before the clock is fixed.
        from orchestration_project.definitions import defs

        self.environment.setenv("DATABASE_URL", url)
        result = defs.resolve_job_def("finra_otc_weekly").execute_in_process(
            instance=self.instance,
            raise_on_error=False,
            tags={"dagster/partition": KEY},
        )
        retries = [event for event in result.all_events if event.is_step_up_for_retry]
        return Ended("" if result.success else failure_of(result, OP), 1 + len(retries))

    def both(self, url: str) -> None:
        """Load the file and its restatement, undisturbed."""
        for content in (GOOD, RESTATED):
            self.deliver(content)
            assert self.run(url).is_well


def quantities(url: str) -> list[tuple[int, int]]:
    """Return each published quantity and how many rows have it: one pair for a whole version."""
    found = finra_otc_weekly.c.share_quantity
    return [
        (quantity, count)
        for quantity, count in databases.rows(url, select(found, func.count()).group_by(found))
    ]


BEFORE, AFTER = [(7, ROWS)], [(9, ROWS)]
