"""Late and quarantined partitions: one reading for checks, control tower, objectives, pages."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, Table, select

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.problems import OldestMissing
from orchestration_project.engine.contracts.work_items import PERMANENT_REMEDIES
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.delivery import select_quarantined
from orchestration_project.engine.warehouse.frames import Scope, decode_scope
from orchestration_project.settings import Settings
from orchestration_project.tables.spine import audits, deliveries

if TYPE_CHECKING:
    from orchestration_project.engine.dataset import Dataset
    from orchestration_project.engine.work_items import WorkItems
    from orchestration_project.registry import Registry

MAX_LISTED = 200
"""Maximum number of partitions that are listed, the latest first."""


@dataclass(frozen=True)
class Deadlines:
    """Registers a reader of the oldest due and missing partition of each asset that has one."""

    read: Callable[[Settings, Warehouse, Clock], Sequence[OldestMissing]]


@dataclass(frozen=True, kw_only=True)
class DeadLetters:
    """Registers a table of dead letters; a row is dead until it has ``ended_at``.

    Attributes:
        table: Has the columns reason_code, reason, failed_at, ended_at and run_id.
        source: Column with the source or system of a letter.
        unit: Columns that name what an attempt is at.
        number: Column with the number of the attempt; one that succeeded leaves no letter.
        since: Column with the time of the first failure of a letter.
        replay: Job and op that replay letters.
        options: Returns the config of the op for letters of a source and reason code.
    """

    table: Table
    source: str
    unit: Sequence[str]
    number: str
    since: str = "failed_at"
    replay: tuple[str, str]
    options: Callable[[str, str], Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class ItemTopics:
    """Registers topics of work items that can be retried on request.

    Attributes:
        prefix: What the names of the topics begin with, e.g. ``webhooks/``.
        open: Opens their items.
        remedies: By reason code of permanent failures: what has to change before another attempt.
        upload_prefix: What the keys of uploaded files begin with; empty: there are none.
    """

    prefix: str
    open: "Callable[[Warehouse, Clock], WorkItems]"
    remedies: Mapping[str, str] = field(default_factory=lambda: dict(PERMANENT_REMEDIES))
    upload_prefix: str = ""


@dataclass(frozen=True, kw_only=True)
class OpenProposal:
    """A change that the program proposes, and a person decides.

    Attributes:
        proposal_id: Its id.
        subject: What it would change.
        expected: How it was before the data changed.
        found: How it is now.
        run_id: Run that made it.
        accept: Job and op that decide, and the config of an acceptance without its reason.
        preview: Tables of what it would change: title, headings and rows.
    """

    proposal_id: str
    subject: str
    made_at: datetime
    expected: str
    found: str
    run_id: str
    accept: tuple[str, str, Mapping[str, Any]]
    preview: Sequence[tuple[str, Sequence[str], Sequence[Sequence[str]]]]


@dataclass(frozen=True)
class ProposalReader:
    """Registers a reader of open proposals, the latest first, at most as many as it is given."""

    read: Callable[[Warehouse, int], Sequence[OpenProposal]]


def read_deadlines(
    registry: "Registry", settings: Settings, warehouse: Warehouse, clock: Clock
) -> list[OldestMissing]:
    """Return the oldest due and missing partition of each asset of all domains that has one."""
    return [
        missing
        for deadlines in registry.registered(Deadlines)
        for missing in deadlines.read(settings, warehouse, clock)
    ]


def read_late_datasets(
    datasets: "Sequence[Dataset]", settings: Settings, warehouse: Warehouse, clock: Clock
) -> list[OldestMissing]:
    """Return the oldest due and missing partition of each dataset that has one."""
    from orchestration_project.engine.dataset import read_oldest_missing

    oldest_items = [
        read_oldest_missing(dataset, settings, warehouse, clock) for dataset in datasets
    ]
    return [missing for missing in oldest_items if missing is not None]


@dataclass(frozen=True)
class FailedAudit:
    """An audit that a delivery failed."""

    name: str
    expected: str
    found: str


@dataclass(frozen=True)
class QuarantinedDelivery:
    """The latest delivery of a partition, if it is not loaded.

    Attributes:
        scope: The part of the partition for which it is complete.
        since: When the first delivery after the last loaded one was not loaded.
        is_readable: Whether it could be checked; otherwise the log of its run has the reason.
        audits: Those that it failed with severity error.
        capture_count: How many captures it has; 0: a replay, or never read completely.
    """

    table_name: str
    partition_key: str
    scope: Scope
    group_id: str
    run_id: str
    recorded_at: datetime
    since: datetime
    is_readable: bool
    audits: Sequence[FailedAudit]
    capture_count: int


def count_quarantined(warehouse: Warehouse) -> Mapping[str, int]:
    """Return how many quarantined partitions each asset has, of the assets that have some."""
    from orchestration_project.tables.catalogue import asset_of

    partitions = select_quarantined([deliveries.c.table_name, deliveries.c.partition_key])
    with warehouse.reading() as connection:  # DISTINCT in SQL would read all deliveries
        found = {(row.table_name, row.partition_key) for row in connection.execute(partitions)}
    return Counter(asset_of(table) for table, _ in found)


def read_quarantined(warehouse: Warehouse, limit: int = MAX_LISTED) -> list[QuarantinedDelivery]:
    """Return the quarantined partitions, the latest first.

    A fence has the number of its partition's latest delivery, so earlier ones are read only of
    partitions that are quarantined.
    """
    columns = deliveries.c
    latest = select_quarantined(list(columns))
    query = latest.order_by(columns.recorded_at.desc(), columns.group_id).limit(limit)
    with warehouse.reading() as connection:
        rows = connection.execute(query).all()
        failed = _find_failed_audits(connection, rows)
        since = _find_first_failures(connection, rows)
    return [
        QuarantinedDelivery(
            row.table_name,
            row.partition_key,
            decode_scope(row.scope),
            row.group_id,
            row.run_id,
            row.recorded_at,
            since[row.table_name, row.partition_key],
            row.outcome == "held_back",
            failed.get((row.group_id, row.table_name), []),
            row.part_count,
        )
        for row in rows
    ]


def _find_failed_audits(
    connection: Connection, rows: Sequence[Row[Any]]
) -> Mapping[tuple[str, str], list[FailedAudit]]:
    """Return the audits of severity error that deliveries failed, by delivery and table."""
    audit = audits.c
    failed = select(audit.group_id, audit.table_name, audit.name, audit.expected, audit.found)
    failed = failed.where(
        audit.outcome == "failed",
        audit.severity == "error",
        audit.group_id.in_([row.group_id for row in rows]),
    )
    failed_audits = defaultdict[tuple[str, str], list[FailedAudit]](list)
    for row in sorted(connection.execute(failed)):
        failed_audits[row.group_id, row.table_name].append(
            FailedAudit(row.name, row.expected, row.found)
        )
    return failed_audits


def _find_first_failures(
    connection: Connection, rows: Sequence[Row[Any]]
) -> Mapping[tuple[str, str], datetime]:
    """Return when the first delivery after the last loaded one was recorded, by partition."""
    partitions = defaultdict[str, list[str]](list)
    for row in rows:
        partitions[row.table_name].append(row.partition_key)
    first_failures: dict[tuple[str, str], datetime] = {}
    column = deliveries.c
    columns = (column.partition_key, column.outcome, column.recorded_at)
    for table, keys in partitions.items():
        of_table = select(*columns).where(
            column.table_name == table, column.partition_key.in_(keys)
        )
        for key, outcome, at in connection.execute(of_table.order_by(column.recorded_at)):
            if outcome == "landed":
                first_failures.pop((table, key), None)
            else:
                first_failures.setdefault((table, key), at)
    return first_failures
