"""Which loads Dagster has events of: those of a step are stored when it ends, or never."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Literal

import dagster as dg

from orchestration_project.engine.dagster_private import is_worker_gone

KNOWN_FROM = "known_from"
"""Metadata of a materialization: since when its rows are known; set by the load of these rows."""

EVENTS_READ = 50
"""Of a partition whose run ended badly; it is looked at far less often before it lands again."""


UNCHANGED, REPORTED_LATE = "unchanged", "reported late"
"""Outcomes of a partition that stayed as it was landed; late: the landing was not reported yet."""

NOTICES = frozenset({"notice", "notice_kind"})
"""Metadata that asks for attention, once: it is not carried forward."""

IsReported = Callable[[str, str, datetime], Literal["yes", "no", "not yet"]]
"""Whether Dagster has an event of a run's load of a partition, known from a time; "not yet": the
run goes on, and its events are stored when it ends."""

EarlierMetadata = Callable[[dg.AssetKey, str], Mapping[str, dg.MetadataValue[Any]]]
"""Returns the metadata of the latest materialization of an asset's partition, without notices."""


def earlier_metadata(
    instance: dg.DagsterInstance, asset: dg.AssetKey, partition_key: str
) -> Mapping[str, dg.MetadataValue[Any]]:
    """Return it as `EarlierMetadata` does: one query, however many materializations there are."""
    wanted = dg.AssetRecordsFilter(asset_key=asset, asset_partitions=[partition_key])
    for record in instance.fetch_materializations(wanted, limit=1).records:
        if record.asset_materialization is not None:
            found = record.asset_materialization.metadata
            return {name: value for name, value in found.items() if name not in NOTICES}
    return {}


class ReportLog:
    """Finds out whether Dagster has an event of the load of an asset's partition.

    A run that succeeded stored all of its events, so it is looked up once, without partitions. Of
    any other run the events are read, and compared by partition and `KNOWN_FROM`.

    Args:
        instance: Dagster's.
        asset: The asset whose events are read.
        run_id: The present run. An earlier attempt of it yields no more events.
    """

    def __init__(self, instance: dg.DagsterInstance, asset: dg.AssetKey, run_id: str) -> None:
        self._instance = instance
        self._asset = asset
        self._run_id = run_id
        self._reported_by: dict[str, Literal["all"] | frozenset[tuple[str | None, str]]] = {}

    def __call__(
        self, run_id: str, partition_key: str, known_from: datetime
    ) -> Literal["yes", "no", "not yet"]:
        """Return whether a run has an event of its load of a partition, known from a time.

        "not yet": the run goes on. "yes" also if Dagster has deleted the run.
        """
        if run_id not in self._reported_by:
            run = self._instance.get_run_by_id(run_id)
            if run is not None and self._goes_on(run):
                return "not yet"
            is_sure = run is None or run.is_success
            self._reported_by[run_id] = "all" if is_sure else self._reported_in(run_id)
        reported = self._reported_by[run_id]
        if reported == "all" or (partition_key, known_from.isoformat()) in reported:
            return "yes"
        return "yes" if known_from.isoformat() in self._reported_lately(partition_key) else "no"

    def has_latest_event(self, partition_key: str, known_from: datetime) -> bool:
        """Return whether the latest event of a partition is of its load known from a time."""
        found = earlier_metadata(self._instance, self._asset, partition_key)
        return KNOWN_FROM in found and found[KNOWN_FROM].value == known_from.isoformat()

    def _goes_on(self, run: dg.DagsterRun) -> bool:
        """Whether a run may yield events yet; the daemon detects a lost process only later."""
        if run.is_finished or run.run_id == self._run_id:
            return False
        return not is_worker_gone(self._instance, run)

    def _reported_in(self, run_id: str) -> frozenset[tuple[str | None, str]]:
        """Return the loads of which a run stored events: partition and `KNOWN_FROM`."""
        records = self._instance.get_records_for_run(
            run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION
        ).records
        return frozenset(_landings(each for each in records if each.asset_key == self._asset))

    def _reported_lately(self, partition_key: str) -> frozenset[str]:
        """Return the loads of a partition of which any run stored an event, by `KNOWN_FROM`."""
        wanted = dg.AssetRecordsFilter(asset_key=self._asset, asset_partitions=[partition_key])
        records = self._instance.fetch_materializations(wanted, limit=EVENTS_READ).records
        return frozenset(known_from for _, known_from in _landings(records))


def _landings(records: Iterable[dg.EventLogRecord]) -> Iterator[tuple[str | None, str]]:
    for record in records:
        materialization = record.asset_materialization
        if materialization is not None and KNOWN_FROM in materialization.metadata:
            yield record.partition_key, str(materialization.metadata[KNOWN_FROM].value)
