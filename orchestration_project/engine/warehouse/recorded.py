"""Deliveries as they were recorded: what it takes to check and land one without its source."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Table, func, select

from orchestration_project.engine.warehouse.delivery import Outcome
from orchestration_project.engine.warehouse.frames import Scope, scope_from_json
from orchestration_project.errors import ConfigurationError
from orchestration_project.tables.spine import audits, blobs, captures, deliveries, landings


@dataclass(frozen=True)
class Recorded:
    """One row of `deliveries`, with its scope as conditions."""

    group_id: str
    partition_key: str
    source: str
    dataset: str
    source_version: str
    record_total: int | None
    scope: Scope
    part_count: int
    outcome: Outcome
    replay_of: str | None

    @property
    def fetched_group(self) -> str:
        """The delivery that was fetched; of a replay, an earlier one."""
        return self.replay_of or self.group_id

    @property
    def fetched_number(self) -> int:
        """The place of that among the deliveries of the partition: the greater, the later."""
        return number_of(self.fetched_group)

    @property
    def is_vain_replay(self) -> bool:
        """Whether it left all as it was: what it was made of is recorded as it was fetched."""
        return self.replay_of is not None and self.outcome != "landed"


@dataclass(frozen=True)
class RecordedPart:
    """One capture of a delivery, with where its bytes lie; ``request`` and headers are JSON."""

    sha256: str
    byte_count: int
    stored_byte_count: int
    storage_uri: str
    url: str
    request: str
    response_headers: str
    http_status: int | None
    row_count: int | None
    fetched_at: datetime
    run_id: str


@dataclass(frozen=True)
class RecordedLanding:
    """The figures of a delivery that landed.

    ``captures``, ``lines`` and ``bytes`` are of all that was fetched for it, ``audits`` the outcome
    of each by name, ``warning_count`` those of them that failed and did not hold it back.
    """

    group_id: str
    partition_key: str
    change_cause: str
    rows_added: int
    rows_changed: int
    rows_removed: int
    rows_unchanged: int
    rejects: int
    content_sha256: str
    run_id: str
    landed_at: datetime
    captures: int
    lines: int
    bytes: int
    stored_bytes: int
    audits: Mapping[str, str]
    warning_count: int

    @property
    def rows(self) -> int:
        """How many rows the delivery has."""
        return self.rows_added + self.rows_changed + self.rows_unchanged


GROUP_ID = re.compile(r"([a-z0-9_]+):(.+)#[0-9]+")


def place_of(group: str) -> tuple[str, str]:
    """Return table and partition key in a delivery's name, as ``table:T1|2025-11-10#2``.

    Raises:
        ConfigurationError: The name has another shape.
    """
    found = GROUP_ID.fullmatch(group)
    if found is None:
        raise ConfigurationError(
            f"{group} is no delivery",
            expected="a group_id as in the table deliveries: finra_otc_weekly:T1|2025-11-10#2",
            remedy="copy it from that table; quote it for the shell",
        )
    return found[1], found[2]


def number_of(group: str) -> int:
    """Return the place of a delivery among those of its partition, from 1."""
    return int(group.rpartition("#")[2])


def read_recorded(connection: Connection, table: Table, partition_key: str) -> list[Recorded]:
    """Return the deliveries of a partition, oldest first."""
    found = connection.execute(
        select(*(deliveries.c[name] for name in Recorded.__dataclass_fields__)).where(
            deliveries.c.table_name == table.name, deliveries.c.partition_key == partition_key
        )
    )
    return sorted(
        (_recorded(dict(row)) for row in found.mappings()),
        key=lambda each: number_of(each.group_id),
    )


def read_partial(connection: Connection) -> Iterator[tuple[str, Recorded]]:
    """Yield the deliveries of ranges or parts of partitions, with their table, oldest first."""
    columns = (deliveries.c[name] for name in Recorded.__dataclass_fields__)
    found = connection.execute(
        select(deliveries.c.table_name, *columns)
        .where(deliveries.c.scope != "{}")
        .order_by(deliveries.c.recorded_at)
    )
    for row in found:
        table, *values = row
        yield table, _recorded(dict(zip(Recorded.__dataclass_fields__, values, strict=True)))


def _recorded(row: Mapping[str, Any]) -> Recorded:
    return Recorded(**{**row, "scope": scope_from_json(row["scope"])})


def read_parts(connection: Connection, recorded: Recorded) -> list[RecordedPart]:
    """Return the captures that make up a delivery, in order."""
    columns = {**dict(captures.columns.items()), **dict(blobs.columns.items())}
    found = connection.execute(
        select(*(columns[name] for name in RecordedPart.__dataclass_fields__))
        .join(blobs, blobs.c.sha256 == captures.c.sha256)
        .where(
            captures.c.group_id == recorded.group_id,
            captures.c.part_number <= recorded.part_count,
        )
        .order_by(captures.c.part_number)
    )
    return [RecordedPart(**row._mapping) for row in found]


def replayable(connection: Connection, table: Table) -> list[str]:
    """Return the keys of the partitions that have a delivery which was read whole."""
    found = connection.execute(
        select(deliveries.c.partition_key)
        .distinct()
        .where(deliveries.c.table_name == table.name, deliveries.c.part_count > 0)
        .order_by(deliveries.c.partition_key)
    )
    return list(found.scalars())


def read_landing(
    connection: Connection, table: Table, partition_key: str, landed_at: datetime
) -> RecordedLanding:
    """Return the figures of the delivery that landed in a partition at a time."""
    own = landings.c
    names = ("group_id", "partition_key", "change_cause", "content_sha256", "run_id", "landed_at")
    counted = ("rows_added", "rows_changed", "rows_removed", "rows_unchanged")
    landed = connection.execute(
        select(
            *(own[name] for name in (*names, *counted)),
            own.rows_rejected.label("rejects"),
        ).where(
            own.table_name == table.name,
            own.partition_key == partition_key,
            own.landed_at == landed_at,
        )
    ).one()
    fetched = connection.execute(
        select(
            func.count().label("captures"),
            func.coalesce(func.sum(captures.c.row_count), 0).label("lines"),
            func.coalesce(func.sum(blobs.c.byte_count), 0).label("bytes"),
            func.coalesce(func.sum(blobs.c.stored_byte_count), 0).label("stored_bytes"),
        )
        .select_from(captures)
        .join(blobs, blobs.c.sha256 == captures.c.sha256)
        .where(captures.c.group_id == landed.group_id)
    ).one()
    verdicts = connection.execute(
        select(audits.c.name, audits.c.severity, audits.c.outcome).where(
            audits.c.group_id == landed.group_id, audits.c.table_name == table.name
        )
    ).all()
    sums = {name: int(value) for name, value in fetched._mapping.items()}
    figures: dict[str, Any] = {**landed._mapping, **sums}
    return RecordedLanding(
        **figures,
        audits={each.name: each.outcome for each in verdicts},
        warning_count=sum((v.severity, v.outcome) == ("warning", "failed") for v in verdicts),
    )
