"""A load of one piece from a file, as Dagster runs it, with a database and disk of the test's.

The piece is loaded, then the file changes in every row: what is struck is a restatement, which
deletes, copies into table and history, derives what there is to derive, and commits.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import func, select

from orchestration_project.domains.finra.tables.weekly import finra_otc_weekly
from orchestration_project.domains.prices.calendar import sessions
from orchestration_project.domains.prices.tables import prices_daily
from orchestration_project.tables.schema import METADATA
from tests import databases
from tests.domains.prices import csv, line
from tests.faults.matrix import Domain
from tests.resources.test_bad_files import GOOD, KEY, NAME
from tests.runs import expect_failure

DAYS = sessions(date(2025, 4, 1), date(2025, 10, 31))
"""So many that their rows take pages that the tables do not have yet."""

Quantities = list[tuple[int, int]]


@dataclass(frozen=True)
class Files:
    """Pieces of a domain that can be loaded.

    Attributes:
        domain: As in the matrix.
        job: What loads it; its op has the name of ``table`` and ``_load``.
        table: What is loaded.
        partition: The first partition that a run is asked for.
        last: The last of them.
        where: How an error names what did not load.
        name: The file.
        good: Its first version.
        restated: Its second.
        quantity: The column that has one value in each version.
        before: Each of its values in the first version, and how many rows have it.
        after: The same of the second.
        environment: Settings; those of folders are the domain's own.
        config: The config of the load's op.
    """

    domain: Domain
    job: str
    table: str
    partition: str
    last: str
    where: str
    name: str
    good: bytes
    restated: bytes
    quantity: str
    before: Quantities
    after: Quantities
    environment: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def op(self) -> str:
        """The op that loads."""
        return f"{self.table}_load"

    def are_named_in(self, message: str) -> bool:
        """Say whether an error names what did not load, or the first partition of its run."""
        keys = f"{re.escape(self.where)}|{re.escape(self.partition)}"
        return re.search(rf"(partitions?|symbol)=({keys})", message) is not None

    def quantities(self, url: str) -> Quantities:
        """Return each published quantity and how many rows have it: a pair for a whole version."""
        found = METADATA.tables[self.table].c[self.quantity]
        statement = select(found, func.count()).group_by(found)
        return [(quantity, count) for quantity, count in databases.rows(url, statement)]


A_WEEK = Files(
    domain="weeks",
    job="finra_otc_weekly",
    table=finra_otc_weekly.name,
    partition=KEY,
    last=KEY,
    where=KEY,
    name=NAME,
    good=GOOD,
    restated=GOOD.replace(b"|7|", b"|9|"),
    quantity="share_quantity",
    before=[(7, 300)],
    after=[(9, 300)],
)

A_SYMBOL = Files(
    domain="prices",
    job="prices_daily",
    table=prices_daily.name,
    partition=f"{DAYS[0]:%Y-%m}-01",
    last=f"{DAYS[-1]:%Y-%m}-01",
    where="AAA",
    name="AAA.csv",
    good=csv(*(line(day, 7) for day in DAYS)),
    restated=csv(*(line(day, 9) for day in DAYS)),
    quantity="close",
    before=[(7_000_000, len(DAYS))],
    after=[(9_000_000, len(DAYS))],
    environment={"PRICES_SOURCE": "files", "PRICES_SYMBOLS": "AAA"},
    config={"full": True},
)


@dataclass(frozen=True)
class Ended:
    """How a run ended, in how many attempts; ``message`` is for the user, "" if all is well."""

    message: str
    attempts: int

    @property
    def is_well(self) -> bool:
        return not self.message


@dataclass
class Loads:
    """Runs the job over one piece, in a folder of its own."""

    folder: Path
    environment: pytest.MonkeyPatch
    instance: dg.DagsterInstance
    files: Files = A_WEEK

    def __post_init__(self) -> None:
        (self.folder / "files").mkdir(parents=True)
        settings = {
            "FINRA_SOURCE": "files",
            "FINRA_FILES_DIR": str(self.folder / "files"),
            "PRICES_FILES_DIR": str(self.folder / "files"),
            "STATE_DIR": str(self.folder / "state"),
            "DISK_HEADROOM_MIB": "0",  # the disk fills up under the load, not before it
            **self.files.environment,
        }
        for name, value in settings.items():
            self.environment.setenv(name, value)

    def deliver(self, content: bytes) -> None:
        """Put the file where the load looks for it."""
        (self.folder / "files" / self.files.name).write_bytes(content)

    def run(self, url: str) -> Ended:
        """Load the piece into the database at ``url``."""
        # Not above: conftest.py imports this module before the clock is fixed.
        from orchestration_project.definitions import defs

        self.environment.setenv("DATABASE_URL", url)
        result = defs.resolve_job_def(self.files.job).execute_in_process(
            instance=self.instance,
            raise_on_error=False,
            run_config={"ops": {self.files.op: {"config": dict(self.files.config)}}},
            tags={
                "dagster/asset_partition_range_start": self.files.partition,
                "dagster/asset_partition_range_end": self.files.last,
            },
        )
        retries = [event for event in result.all_events if event.is_step_up_for_retry]
        return Ended(
            "" if result.success else expect_failure(result, self.files.op), 1 + len(retries)
        )

    def load_both_without_failure(self, url: str) -> None:
        """Load the file and its restatement, undisturbed."""
        for content in (self.files.good, self.files.restated):
            self.deliver(content)
            assert self.run(url).is_well
