"""Trace of the run that a process executes, from the events that it stores.

Dagster calls no code of ours around a run or a step. But the process that executes a run stores its
events in order, so a storage of events sees where the run and each step begin and end.
"""

from dagster import DagsterEventType, EventLogEntry
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage

from orchestration_project.tracing.current import begin_run_trace, end_run_trace
from orchestration_project.tracing.traceparent import trace_of_tags

RUN_ENDS = {
    DagsterEventType.RUN_SUCCESS,
    DagsterEventType.RUN_FAILURE,
    DagsterEventType.RUN_CANCELED,
}


class RunTraces(SqlEventLogStorage):
    """Put before a storage of events."""

    def store_event(self, event: EventLogEntry) -> None:
        """Store an event; who stores that a run started executes it, until it ends."""
        kind = event.dagster_event_type
        if kind == DagsterEventType.RUN_START:
            self._begin(event.run_id)
        super().store_event(event)
        if kind in RUN_ENDS:
            end_run_trace(event.run_id)

    def _begin(self, run_id: str) -> None:
        run = self._instance.get_run_by_id(run_id) if self.has_instance else None
        context = trace_of_tags(run.tags) if run else None
        if context is not None:
            begin_run_trace(run_id, context)
