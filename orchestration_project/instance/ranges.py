"""Runs over ranges of partitions, as a job's backfill makes them: Dagster's daemon misnames them.

The classes are private to Dagster 1.13; a test holds them to it.
"""

from typing import Any

from dagster import DagsterRun, RunsFilter
from dagster._core.execution.backfill import PartitionBackfill
from dagster._core.storage.runs.base import RunStorage

from orchestration_project.domains.operations.partition_tags import RANGE_START, own_tags


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
