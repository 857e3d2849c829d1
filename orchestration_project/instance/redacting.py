"""What Dagster stores, without the secrets that an error may quote or somebody typed."""

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, TypeVar

from dagster import DagsterEventType, DagsterRun, EventLogEntry
from dagster._core.execution.backfill import PartitionBackfill
from dagster._core.scheduler.instigation import InstigatorTick
from dagster._core.storage.event_log.base import EventLogStorage
from dagster._core.storage.runs.base import RunStorage
from dagster._core.storage.schedules.base import ScheduleStorage
from dagster._core.storage.schedules.sqlite.sqlite_schedule_storage import SqliteScheduleStorage
from dagster._daemon.types import DaemonHeartbeat
from dagster._serdes import ConfigurableClassData, deserialize_value, serialize_value
from dagster_postgres import DagsterPostgresStorage
from dagster_postgres.event_log import PostgresEventLogStorage
from dagster_postgres.run_storage import PostgresRunStorage
from dagster_postgres.schedule_storage import PostgresScheduleStorage
from dagster_shared.error import SerializableErrorInfo

from orchestration_project.instance.heartbeats import Heartbeats
from orchestration_project.instance.ranges import PlannedChecks, RunsOfRanges
from orchestration_project.instance.web_server import LimitedReads
from orchestration_project.redaction import MASK, redacted

ENDS = {DagsterEventType.RUN_SUCCESS, DagsterEventType.RUN_FAILURE, DagsterEventType.RUN_CANCELED}

KINDS = ("__class__", "__enum__")
"""Where Dagster says of what kind a value is. A weak password may be such a word, or a field's."""

MASK_OF_TITLES = "..."
"""Dagster allows no asterisk in them, and would not read such a backfill again."""

Value = TypeVar("Value", EventLogEntry, InstigatorTick, SerializableErrorInfo)


def without_secrets_in(value: Value) -> Value:
    """Return ``value``, the same object where it holds no secret."""
    text = serialize_value(value)
    if redacted(text) == text:
        return value
    return deserialize_value(json.dumps(_masked(json.loads(text))), type(value))


def _masked(found: Any) -> Any:
    """Return what was read from JSON with its texts redacted; names of fields stay."""
    if isinstance(found, str):
        return redacted(found)
    if isinstance(found, list):
        return [_masked(each) for each in found]
    if isinstance(found, Mapping):
        return {name: value if name in KINDS else _masked(value) for name, value in found.items()}
    return found


class RedactingEvents(EventLogStorage):
    """Put before a storage of events."""

    def store_event(self, event: EventLogEntry) -> None:
        """Store an event."""
        super().store_event(without_secrets_in(event))

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store events of one run."""
        super().store_event_batch([without_secrets_in(each) for each in events])


class RedactingTicks(ScheduleStorage[Any]):
    """Put before a storage of ticks."""

    def update_tick(self, tick: InstigatorTick) -> InstigatorTick:
        """Store how a tick ended."""
        return super().update_tick(without_secrets_in(tick))


class RedactingRuns(RunStorage[Any]):
    """Put before a storage of runs, backfills and what the daemon says of itself.

    Of a run, what people can write: its config and its tags. No config of ours takes a secret.
    """

    def add_run(self, dagster_run: DagsterRun) -> DagsterRun:
        """Store a run."""
        config, tags = _masked(dagster_run.run_config), _masked(dagster_run.tags)
        return super().add_run(dagster_run._replace(run_config=config, tags=tags))

    def add_backfill(self, partition_backfill: PartitionBackfill) -> None:
        """Store a backfill."""
        super().add_backfill(_backfill_without_secrets(partition_backfill))

    def update_backfill(self, partition_backfill: PartitionBackfill) -> None:
        """Store how a backfill stands."""
        super().update_backfill(_backfill_without_secrets(partition_backfill))

    def add_daemon_heartbeat(self, daemon_heartbeat: DaemonHeartbeat) -> None:
        """Store a sign of life, and the errors since the last one."""
        errors = [without_secrets_in(each) for each in daemon_heartbeat.errors or ()]
        super().add_daemon_heartbeat(daemon_heartbeat._replace(errors=errors))


def _backfill_without_secrets(backfill: PartitionBackfill) -> PartitionBackfill:
    return backfill._replace(
        error=backfill.error and without_secrets_in(backfill.error),
        tags=_masked(backfill.tags),
        run_config=_masked(backfill.run_config),
        title=backfill.title and redacted(backfill.title).replace(MASK, MASK_OF_TITLES),
        description=_masked(backfill.description),
    )


class SqliteTicks(RedactingTicks, SqliteScheduleStorage):
    """In SQLite."""


class PostgresRuns(RedactingRuns, RunsOfRanges, LimitedReads, PostgresRunStorage):
    """In PostgreSQL."""


class _PostgresTicks(RedactingTicks, LimitedReads, PostgresScheduleStorage):
    pass


class PostgresEvents(RedactingEvents, PlannedChecks, LimitedReads, PostgresEventLogStorage):
    """In PostgreSQL, where other machines may ask whether the process of a run lives."""

    @cached_property
    def heartbeats(self) -> Heartbeats:
        """The signs of life of runs."""
        return Heartbeats(self.index_connection)

    def store_event(self, event: EventLogEntry) -> None:
        """Store an event; who stores that a run started executes it, until it ends."""
        if event.dagster_event_type == DagsterEventType.RUN_START:
            self.heartbeats.begin(event.run_id)
        super().store_event(event)
        if event.dagster_event_type in ENDS:
            self.heartbeats.end(event.run_id)


class PostgresStorage(DagsterPostgresStorage):
    """Dagster's own storage in PostgreSQL."""

    def __init__(self, url: str, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(url, inst_data=inst_data)  # makes the tables
        self._run_storage.dispose()
        self._run_storage = PostgresRuns(url, should_autocreate_tables=False)
        self._event_log_storage.dispose()
        self._event_log_storage = PostgresEvents(url, should_autocreate_tables=False)
        self._schedule_storage.dispose()
        self._schedule_storage = _PostgresTicks(url, should_autocreate_tables=False)
