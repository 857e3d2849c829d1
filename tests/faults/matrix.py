"""The fault matrix as data: each fault, the stages and databases it strikes, and what follows."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

Database = Literal["sqlite", "postgresql"]
BOTH: tuple[Database, ...] = ("sqlite", "postgresql")


Domain = Literal["weeks", "prices"]
DOMAINS: tuple[Domain, ...] = ("weeks", "prices")
"""What loads pieces the same way, and so is struck the same way; the first is in every row."""


class Outcome(StrEnum):
    """What becomes of a load that a fault strikes; readers see a whole partition at all times."""

    LANDS = "the same run lands it"
    FAILS = "the run fails and says why; nothing is published; a clean run lands it"
    DIES = "the process is gone; a clean run lands it"
    REFUSED = "the run cannot commit over what another one landed"
    RECOVERS = "what was under way is told as failed and is run again to its end"


@dataclass(frozen=True)
class Fault:
    """One row: ``name`` strikes at ``stage`` of a load of each of ``domains`` and ``databases``."""

    name: str
    stage: str
    outcome: Outcome
    databases: tuple[Database, ...] = BOTH
    domains: tuple[Domain, ...] = DOMAINS[:1]


STAGES = (
    "capture begun",
    "blob written",
    "captured",
    "checked",
    "staged",
    "fence",
    "audits",
    "rows",
    "history",
    "derived",
    "evidence",
    "landing row",
    "before COMMIT",
    "after COMMIT",
    "recording",
)
"""The stages of a load in their order; from fence to before COMMIT they are one transaction, and
recording is when Dagster is told of the materialization."""

OF_A_LOAD = STAGES[: STAGES.index("recording")]
"""The stages that a load passes without Dagster."""

OF_WEEKS_ALONE = ("checked", "staged", "derived")
"""Stages of loads that keep what they checked as a file, and derive as they land."""

KILLED: tuple[Fault, ...] = (
    *(
        Fault("killed", stage, Outcome.DIES, BOTH, DOMAINS[: 1 + (stage not in OF_WEEKS_ALONE)])
        for stage in OF_A_LOAD
    ),
    Fault("killed at any moment", "any", Outcome.DIES, BOTH, DOMAINS),
    *(
        Fault("killed while several pieces land together", stage, Outcome.DIES, BOTH, DOMAINS[1:])
        for stage in ("rows", "before COMMIT", "after COMMIT")
    ),
    Fault("killed in a Dagster run", "any", Outcome.DIES),
    Fault("killed in a Dagster run", "after COMMIT", Outcome.DIES),
    Fault("killed in a Dagster run", "recording", Outcome.DIES),
    Fault("killed while the tables are made", "before the first load", Outcome.DIES),
    Fault("dies at every point, one after the other", "each", Outcome.DIES, BOTH, DOMAINS),
    Fault("killed in a replay", "each point", Outcome.DIES),
    Fault("killed while gold is derived", "each point", Outcome.DIES),
    Fault("disk or database fails at every point", "each", Outcome.FAILS, BOTH, DOMAINS),
    Fault("2 loads at once", "all", Outcome.REFUSED, BOTH, DOMAINS),
    Fault("8 loads at once", "all", Outcome.REFUSED, BOTH, DOMAINS),
    Fault("stopped and overtaken", "capture begun", Outcome.REFUSED, BOTH, DOMAINS),
    Fault("stopped and overtaken", "captured", Outcome.REFUSED, BOTH, DOMAINS),
    Fault("stopped and overtaken", "staged", Outcome.REFUSED),
    Fault("stopped and overtaken", "fence", Outcome.REFUSED, BOTH, DOMAINS),
    Fault("stopped with the lock", "rows", Outcome.LANDS, BOTH, DOMAINS),
    Fault("stopped with the lock", "before COMMIT", Outcome.LANDS, BOTH, DOMAINS),
    Fault("clock set back a day", "between two landings", Outcome.LANDS),
    Fault("clock set forward a year", "between two landings", Outcome.LANDS),
    Fault("clock set forward a year and back", "between two landings", Outcome.LANDS),
)

POSTGRESQL: tuple[Database, ...] = ("postgresql",)
SQLITE: tuple[Database, ...] = ("sqlite",)

SURROUNDINGS = (
    *(
        Fault("the connection is dropped", stage, Outcome.LANDS, POSTGRESQL, DOMAINS)
        for stage in (
            "while rows are copied, by the network",
            "while rows are copied, by the server",
            "before COMMIT arrives",
            "after COMMIT, before its answer",
        )
    ),
    Fault(
        "the server is restarted at once",
        "while rows are copied",
        Outcome.LANDS,
        POSTGRESQL,
        DOMAINS,
    ),
    *(
        Fault(name, stage, outcome, POSTGRESQL, DOMAINS)
        for name in ("a serialization failure", "a statement_timeout", "a lock_timeout")
        for stage, outcome in (
            ("the first attempt", Outcome.LANDS),
            ("every attempt", Outcome.FAILS),
        )
    ),
    Fault("a deadlock", "the first attempt", Outcome.LANDS, POSTGRESQL, DOMAINS),
    Fault("the role has lost a right", "every attempt", Outcome.FAILS, POSTGRESQL, DOMAINS),
    Fault(
        "another process locks the file",
        "for less than the timeout",
        Outcome.LANDS,
        SQLITE,
        DOMAINS,
    ),
    Fault(
        "another process locks the file",
        "for more than the timeout",
        Outcome.LANDS,
        SQLITE,
        DOMAINS,
    ),
    Fault("another process locks the file", "for ever", Outcome.FAILS, SQLITE, DOMAINS),
    Fault("the disk is full", "below the captured bytes", Outcome.FAILS, SQLITE, DOMAINS),
    Fault("the disk is full", "below the staged rows", Outcome.FAILS, SQLITE),
    Fault("the disk is full", "below the database", Outcome.FAILS, BOTH, DOMAINS),
    Fault("the disk is full", "below Dagster's runs and events", Outcome.FAILS, SQLITE),
    Fault("the disk is full", "below what steps print", Outcome.FAILS, SQLITE),
    *(
        Fault(name, "while pages are fetched", Outcome.FAILS, SQLITE)
        for name in (
            "a body without end",
            "a byte at a time",
            "a body of 10 GB",
            "a gzip bomb",
            "pages without end",
        )
    ),
    *(
        Fault(name, "while a piece is fetched", Outcome.FAILS, SQLITE, DOMAINS)
        for name in (
            "answers without end",
            "an answer that drips",
            "an answer that is cut off",
            "an answer of a wrong length",
            "HTTP 429",
            "HTTP 503",
            "a web page with HTTP 200",
            "a connection that is reset",
        )
    ),
    Fault("the disk is full during a backfill", "below Dagster's state", Outcome.RECOVERS, SQLITE),
    Fault("the disk is full during a backfill", "below all state", Outcome.RECOVERS, SQLITE),
    Fault(
        "the database server is restarted at once",
        "during a backfill",
        Outcome.RECOVERS,
        POSTGRESQL,
    ),
    *(
        Fault("kill -9 during a backfill", part, Outcome.RECOVERS)
        for part in ("the run worker", "the daemon", "the whole process tree")
    ),
    *(
        Fault("kill -9 during a backfill", part, Outcome.RECOVERS, SQLITE)
        for part in ("the code server", "the code server's own child", "the web server")
    ),
)
"""Databases, disks and sources that break, and services that are killed."""

FAULTS: tuple[Fault, ...] = (*KILLED, *SURROUNDINGS)


def strikes(name: str) -> list[tuple[Fault, Database]]:
    """Return the cases of all rows called ``name``, one for each of their databases."""
    return [(fault, each) for fault in FAULTS if fault.name == name for each in fault.databases]


def documented() -> list[str]:
    """Return the lines of the table that docs/reliability.md has of the matrix."""
    rows = [
        f"| {fault.name} | {fault.stage} | {', '.join(fault.domains)} | "
        f"{', '.join(fault.databases)} | {fault.outcome} |"
        for fault in FAULTS
    ]
    head = "| fault | at which stage | of | databases | what follows |"
    return [head, "|---|---|---|---|---|", *rows]


def case_name(value: object) -> str:
    """Return how a part of a case is named in the test's name."""
    return value.stage if isinstance(value, Fault) else str(value)
