"""Dagster's events and ticks, stored without the secrets that an error may quote."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any, TypeVar

from dagster import DagsterEventType, EventLogEntry
from dagster._core.scheduler.instigation import InstigatorTick
from dagster._core.storage.event_log.base import EventLogStorage
from dagster._core.storage.schedules.base import ScheduleStorage
from dagster._core.storage.schedules.sqlite.sqlite_schedule_storage import SqliteScheduleStorage
from dagster._serdes import ConfigurableClassData, deserialize_value, serialize_value
from dagster_postgres import DagsterPostgresStorage
from dagster_postgres.event_log import PostgresEventLogStorage
from dagster_postgres.schedule_storage import PostgresScheduleStorage

from orchestration_project.instance.heartbeats import Heartbeats
from orchestration_project.redaction import redacted

ENDS = {DagsterEventType.RUN_SUCCESS, DagsterEventType.RUN_FAILURE, DagsterEventType.RUN_CANCELED}

Value = TypeVar("Value", EventLogEntry, InstigatorTick)


def without_secrets_in(value: Value) -> Value:
    """Return ``value``, the same object where it holds no secret."""
    text = serialize_value(value)
    masked = redacted(text)
    return value if masked == text else deserialize_value(masked, type(value))


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


class SqliteTicks(RedactingTicks, SqliteScheduleStorage):
    """In SQLite."""


class _PostgresTicks(RedactingTicks, PostgresScheduleStorage):
    pass


class PostgresEvents(RedactingEvents, PostgresEventLogStorage):
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
        self._event_log_storage.dispose()
        self._event_log_storage = PostgresEvents(url, should_autocreate_tables=False)
        self._schedule_storage.dispose()
        self._schedule_storage = _PostgresTicks(url, should_autocreate_tables=False)
