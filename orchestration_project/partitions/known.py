"""What Dagster knows of landings: a step's events are stored when the step ends, or never."""

from datetime import datetime
from typing import Literal

import dagster as dg
from dagster._core.launcher.base import WorkerStatus

KNOWN_FROM = "known_from"
"""Metadata of a materialization: of what is landed, once Dagster was told how it came about."""


class Known:
    """Whether Dagster was told of landings of an asset's partitions.

    Nearly all runs succeed, and then it was: each run is asked for once, and no partition.
    """

    def __init__(self, instance: dg.DagsterInstance, asset: dg.AssetKey) -> None:
        self._instance = instance
        self._asset = asset
        self._runs: dict[str, Literal["yes", "not yet"] | frozenset[str]] = {}

    def __call__(
        self, run_id: str, partition_key: str, known_from: datetime
    ) -> Literal["yes", "no", "not yet"]:
        """Tell of the landing of a partition by a run, known from a time, if it is the latest one.

        "not yet" is said while the run goes on. Of a run that is forgotten nothing is owed.
        """
        if run_id not in self._runs:
            self._runs[run_id] = self._told_by(run_id)
        told = self._runs[run_id]
        if not isinstance(told, frozenset):
            return told
        is_told = partition_key in told or self._last_told(partition_key) == known_from.isoformat()
        return "yes" if is_told else "no"

    def _told_by(self, run_id: str) -> Literal["yes", "not yet"] | frozenset[str]:
        """Return the partitions that a run told of which ended badly."""
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_success:
            return "yes"
        if not run.is_finished and not self._is_dead(run):
            return "not yet"
        records = self._instance.get_records_for_run(
            run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION
        ).records
        own = (each for each in records if each.asset_key == self._asset)
        return frozenset(each.partition_key for each in own if each.partition_key)

    def _is_dead(self, run: dg.DagsterRun) -> bool:
        """Say whether a run's process is gone; the daemon, if there is one, will come to it too."""
        launcher = self._instance.run_launcher
        if not launcher.supports_check_run_worker_health:
            return False
        return launcher.check_run_worker_health(run).status == WorkerStatus.FAILED

    def _last_told(self, partition_key: str) -> str | None:
        """Return since when that is known of which the latest materialization tells."""
        wanted = dg.AssetRecordsFilter(asset_key=self._asset, asset_partitions=[partition_key])
        for record in self._instance.fetch_materializations(wanted, limit=1).records:
            told = record.asset_materialization
            if told is not None and KNOWN_FROM in told.metadata:
                return str(told.metadata[KNOWN_FROM].value)
        return None
