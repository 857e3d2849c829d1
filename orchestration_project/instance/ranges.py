"""What runs over ranges of partitions write in Dagster's storage: their tags and planned checks."""

from typing import Any

from dagster import DagsterEventType, DagsterRun, EventLogEntry, RunsFilter
from dagster._core.execution.backfill import PartitionBackfill
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from dagster._core.storage.runs.base import RunStorage
from dagster._serdes import serialize_value

from orchestration_project.domains.operations.partition_tags import RANGE_START, own_tags

ENDED = (DagsterEventType.RUN_FAILURE, DagsterEventType.RUN_CANCELED)


class PlannedChecks(SqlEventLogStorage):
    """Notes the checks that a run plans in one statement; put before a storage of events.

    Dagster writes the event into text once for each partition and compiles a statement as long as
    they are many: for nine checks over twenty years of months, seconds before the run begins.

    Of a run that ended before its first step the plan is removed: the checks keep their last
    results, where Dagster would show them as failed, although nothing was checked.
    """

    def store_event(self, event: EventLogEntry) -> None:
        """Store an event; one that ends a run before its first step ends what the run planned."""
        super().store_event(event)
        if event.dagster_event_type in ENDED:
            self._remove_plan_unless_begun(event.run_id)

    def _remove_plan_unless_begun(self, run_id: str) -> None:
        begun = {DagsterEventType.STEP_START}
        if self.get_records_for_run(run_id, of_type=begun, limit=1).records:
            return
        table = AssetCheckExecutionsTable
        planned = table.c.execution_status == AssetCheckExecutionRecordStatus.PLANNED.value
        with self.index_connection() as connection:
            connection.execute(table.delete().where(table.c.run_id == run_id, planned))

    def _store_asset_check_evaluation_planned(
        self, event: EventLogEntry, event_id: int | None
    ) -> None:
        planned = event.get_dagster_event().asset_check_planned_data
        subset = planned.partitions_subset
        row = {
            "asset_key": planned.asset_key.to_string(),
            "check_name": planned.check_name,
            "run_id": event.run_id,
            "execution_status": AssetCheckExecutionRecordStatus.PLANNED.value,
            "evaluation_event": serialize_value(event),
            "evaluation_event_timestamp": self._event_insert_timestamp(event),
            "evaluation_event_storage_id": event_id,
        }
        rows = [
            {**row, "partition": key} for key in (subset.get_partition_keys() if subset else [None])
        ]
        with self.index_connection() as connection:
            connection.execute(AssetCheckExecutionsTable.insert(), rows)


class RunsOfRanges(RunStorage[Any]):
    """Put before a storage of runs and backfills."""

    def add_run(self, dagster_run: DagsterRun) -> DagsterRun:
        """Store a run, without the dimensions of a partition that is another run's."""
        return super().add_run(dagster_run._replace(tags=own_tags(dagster_run.tags)))

    def update_backfill(self, partition_backfill: PartitionBackfill) -> None:
        """Store how a backfill stands; of one whose runs are over ranges, without a checkpoint.

        The daemon goes on with the partitions that were named after the checkpoint, but takes
        ranges in another order: some would get no run. Without it, it goes on with those that no
        run has.
        """
        if partition_backfill.last_submitted_partition_name and self._is_of_ranges(
            partition_backfill
        ):
            partition_backfill = partition_backfill.with_partition_checkpoint(None)
        super().update_backfill(partition_backfill)

    def _is_of_ranges(self, backfill: PartitionBackfill) -> bool:
        own = RunsFilter(tags=DagsterRun.tags_for_backfill_id(backfill.backfill_id))
        return any(RANGE_START in run.tags for run in self.get_runs(own, limit=1))
