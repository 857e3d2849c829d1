"""The fault matrix as data: each fault, the stages and databases it strikes, and what follows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

Database = Literal["sqlite", "postgresql"]
BOTH: tuple[Database, ...] = ("sqlite", "postgresql")


Domain = Literal["weeks", "prices", "items", "documents"]
DOMAINS: tuple[Domain, ...] = ("weeks", "prices", "items")
"""Domains that load pieces in the same way, and so get the same faults."""

DATASETS = DOMAINS[:2]
"""Those that load partitions; the first is in every row that does not name others."""

ITEMS = DOMAINS[2:]
"""Those that load work items, which are claimed before and settled with the load."""


class Outcome(StrEnum):
    """Outcome of a load with a fault; readers see a whole partition at all times."""

    LOADS = "the same run loads it"
    FAILS_ALONE = "its item fails alone and says why; the others load; a retry loads it"
    FAILS = "the run fails and says why; nothing is published; a clean run loads it"
    PROCESS_GONE = "the process is gone; a clean run loads it"
    REFUSED = "the run cannot commit over what another one loaded"
    ONCE = "each item is loaded once, by the run whose lease has the current token"
    RECOVERS = "running work is reported as failed, and is run again to its end"
    RESTARTED = "`ui` restarts the program; the run that it ended fails, and is retried to its end"


@dataclass(frozen=True)
class Fault:
    """One row: ``name`` strikes at ``stage`` of a load of each of ``domains`` and ``databases``."""

    name: str
    stage: str
    outcome: Outcome
    databases: tuple[Database, ...] = BOTH
    domains: tuple[Domain, ...] = DATASETS[:1]


STAGES = (
    "claim",
    "claimed",
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
    "load record",
    "settling",
    "before COMMIT",
    "after COMMIT",
    "recording",
)
"""The stages of a load in their order; from fence to before COMMIT they are one transaction, and
recording is when Dagster stores the materialization."""

OF_ITEMS_ALONE = ("claim", "claimed", "settling")
"""Stages of loads that claim what they load, and settle it in the same transaction."""

LEFT_OUT: Mapping[Domain, Sequence[str]] = {
    "weeks": OF_ITEMS_ALONE,
    "prices": (*OF_ITEMS_ALONE, "checked", "staged", "derived"),
    "items": ("blob written", "checked", "staged", "audits", "derived"),
}
"""Prices and items keep no file of what they checked and derive nothing; an item's worker writes
its blob, and no audit compares it with earlier ones."""


def stages_of(domain: Domain) -> list[str]:
    """Return the stages that a domain's loads pass without Dagster."""
    return [stage for stage in STAGES[:-1] if stage not in LEFT_OUT[domain]]


OF_A_LOAD = stages_of("weeks")
"""The stages that a load of a partition passes without Dagster."""


def _domains_with(stage: str) -> tuple[Domain, ...]:
    return tuple(domain for domain in DOMAINS if stage in stages_of(domain))


KILLED: tuple[Fault, ...] = (
    *(
        Fault("killed", stage, Outcome.PROCESS_GONE, BOTH, _domains_with(stage))
        for stage in STAGES[:-1]
    ),
    Fault("killed at any moment", "any", Outcome.PROCESS_GONE, BOTH, DOMAINS),
    *(
        Fault(
            "killed while several pieces load together",
            stage,
            Outcome.PROCESS_GONE,
            BOTH,
            DOMAINS[1:],
        )
        for stage in ("rows", "before COMMIT", "after COMMIT")
    ),
    *(
        Fault(name, stage, outcome, BOTH, ITEMS)
        for name, stage, outcome in (
            ("killed with its worker at work", "capture begun", Outcome.PROCESS_GONE),
            ("a worker is killed", "once", Outcome.LOADS),
            ("a worker is killed", "each time", Outcome.FAILS_ALONE),
            ("a worker hangs", "beyond its time", Outcome.FAILS_ALONE),
            ("a worker needs too much memory", "each time", Outcome.FAILS_ALONE),
            ("2 runs of items at once", "all", Outcome.ONCE),
            ("a lease expires, and another run loads", "capture begun", Outcome.ONCE),
            ("a lease expires, and another run loads", "captured", Outcome.ONCE),
            ("a lease expires, and another run loads", "rows", Outcome.ONCE),
            ("a newer version is enqueued", "claimed", Outcome.ONCE),
            ("a newer version is enqueued", "captured", Outcome.ONCE),
        )
    ),
    Fault("killed in a Dagster run", "any", Outcome.PROCESS_GONE),
    Fault("killed in a Dagster run", "after COMMIT", Outcome.PROCESS_GONE),
    Fault("killed in a Dagster run", "recording", Outcome.PROCESS_GONE),
    Fault("killed while the tables are made", "before the first load", Outcome.PROCESS_GONE),
    Fault(
        "killed at every point, one after the other", "each", Outcome.PROCESS_GONE, BOTH, DOMAINS
    ),
    Fault("killed in a replay", "each point", Outcome.PROCESS_GONE),
    Fault("killed while packs are written", "any", Outcome.PROCESS_GONE, BOTH[:1], ITEMS),
    Fault("killed while documents load", "any", Outcome.PROCESS_GONE, BOTH, ("documents",)),
    Fault("killed while changes are exported", "any", Outcome.PROCESS_GONE),
    Fault("killed while gold is derived", "each point", Outcome.PROCESS_GONE),
    Fault("disk or database fails at every point", "each", Outcome.FAILS, BOTH, DATASETS),
    Fault("2 loads at once", "all", Outcome.REFUSED, BOTH, DATASETS),
    Fault("8 loads at once", "all", Outcome.REFUSED, BOTH, DATASETS),
    Fault("stopped and overtaken", "capture begun", Outcome.REFUSED, BOTH, DATASETS),
    Fault("stopped and overtaken", "captured", Outcome.REFUSED, BOTH, DATASETS),
    Fault("stopped and overtaken", "staged", Outcome.REFUSED),
    Fault("stopped and overtaken", "fence", Outcome.REFUSED, BOTH, DATASETS),
    Fault("stopped with the lock", "rows", Outcome.LOADS, BOTH, DATASETS),
    Fault("stopped with the lock", "before COMMIT", Outcome.LOADS, BOTH, DATASETS),
    Fault("clock set back a day", "between two loads", Outcome.LOADS),
    Fault("clock set forward a year", "between two loads", Outcome.LOADS),
    Fault("clock set forward a year and back", "between two loads", Outcome.LOADS),
)

POSTGRESQL: tuple[Database, ...] = ("postgresql",)
SQLITE: tuple[Database, ...] = ("sqlite",)

SURROUNDINGS = (
    *(
        Fault("the connection is dropped", stage, Outcome.LOADS, POSTGRESQL, DATASETS)
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
        Outcome.LOADS,
        POSTGRESQL,
        DATASETS,
    ),
    Fault(
        "the server is stopped, and started later",
        "while rows are copied",
        Outcome.LOADS,
        POSTGRESQL,
        DATASETS,
    ),
    *(
        Fault(name, stage, outcome, POSTGRESQL, DATASETS)
        for name in ("a serialization failure", "a statement_timeout", "a lock_timeout")
        for stage, outcome in (
            ("the first attempt", Outcome.LOADS),
            ("every attempt", Outcome.FAILS),
        )
    ),
    Fault("a deadlock", "the first attempt", Outcome.LOADS, POSTGRESQL, DATASETS),
    Fault("the role has lost a right", "every attempt", Outcome.FAILS, POSTGRESQL, DATASETS),
    Fault("the database is read-only", "every attempt", Outcome.FAILS, POSTGRESQL, DATASETS),
    Fault(
        "another process locks the file",
        "for less than the timeout",
        Outcome.LOADS,
        SQLITE,
        DATASETS,
    ),
    Fault(
        "another process locks the file",
        "for more than the timeout",
        Outcome.LOADS,
        SQLITE,
        DATASETS,
    ),
    Fault("another process locks the file", "for ever", Outcome.FAILS, SQLITE, DATASETS),
    Fault("the disk is full", "below the captured bytes", Outcome.FAILS, SQLITE, DATASETS),
    Fault("the disk is full", "below the staged rows", Outcome.FAILS, SQLITE),
    Fault("the disk is full", "below the database", Outcome.FAILS, BOTH, DATASETS),
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
        Fault(name, "while a piece is fetched", Outcome.FAILS, SQLITE, DATASETS)
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
        for part in ("the run worker", "the whole process tree")
    ),
    Fault("kill -9 during a backfill", "the daemon", Outcome.RESTARTED),
    *(
        Fault("kill -9 during a backfill", part, Outcome.RESTARTED, SQLITE)
        for part in ("the code server", "the code server's own child", "the web server")
    ),
)
"""Databases, disks and sources that break, and services that are killed."""

FAULTS: tuple[Fault, ...] = (*KILLED, *SURROUNDINGS)


def strikes(name: str) -> list[tuple[Fault, Database]]:
    """Return the cases of all rows called ``name``, one for each of their databases."""
    return [
        (fault, database) for fault in FAULTS if fault.name == name for database in fault.databases
    ]


def case_name(value: object) -> str:
    """Return how a part of a case is named in the test's name."""
    return value.stage if isinstance(value, Fault) else str(value)
