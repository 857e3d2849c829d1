"""What Dagster knows of landings: a step's events are stored when the step ends, or never."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Literal

import dagster as dg

from orchestration_project.engine.dagster_private import is_worker_gone

KNOWN_FROM = "known_from"
"""Metadata of a materialization: of what is landed, once Dagster was told how it came about."""

EVENTS_READ = 50
"""Of a partition whose run ended badly; it is looked at far less often before it lands again."""


UNCHANGED, REPORTED_LATE = "unchanged", "reported late"
"""Outcomes of a partition that stayed as it was landed; late: the landing was not reported yet."""

NOTICES = frozenset({"notice", "notice_kind"})
"""Metadata that asks for attention, once: it is not carried forward."""

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
    """Whether Dagster was told of landings of an asset's partitions.

    Nearly all runs succeed, and then it was: each run is asked for once, and no partition. Of any
    other an event has to say it, by the partition and `KNOWN_FROM`.

    Args:
        instance: Dagster's.
        asset: Whose events tell of landings.
        run_id: The run that asks. An earlier attempt of it has told what it is going to tell.
    """

    def __init__(self, instance: dg.DagsterInstance, asset: dg.AssetKey, run_id: str) -> None:
        self._instance = instance
        self._asset = asset
        self._run_id = run_id
        self._told_by: dict[str, Literal["all"] | frozenset[tuple[str | None, str]]] = {}

    def __call__(
        self, run_id: str, partition_key: str, known_from: datetime
    ) -> Literal["yes", "no", "not yet"]:
        """Tell of a run's landing of a partition, known from a time.

        "not yet" is said while the run goes on. Of a run that is forgotten nothing is owed.
        """
        if run_id not in self._told_by:
            run = self._instance.get_run_by_id(run_id)
            if run is not None and self._goes_on(run):
                return "not yet"
            is_sure = run is None or run.is_success
            self._told_by[run_id] = "all" if is_sure else self._told_in(run_id)
        told = self._told_by[run_id]
        if told == "all" or (partition_key, known_from.isoformat()) in told:
            return "yes"
        return "yes" if known_from.isoformat() in self._told_lately(partition_key) else "no"

    def _goes_on(self, run: dg.DagsterRun) -> bool:
        """Say whether a run may tell yet; that its process is gone the daemon may not know yet."""
        if run.is_finished or run.run_id == self._run_id:
            return False
        return not is_worker_gone(self._instance, run)

    def _told_in(self, run_id: str) -> frozenset[tuple[str | None, str]]:
        """Return the landings that a run told of: partition and `KNOWN_FROM`."""
        records = self._instance.get_records_for_run(
            run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION
        ).records
        return frozenset(_landings(each for each in records if each.asset_key == self._asset))

    def _told_lately(self, partition_key: str) -> frozenset[str]:
        """Return the landings of a partition that any run told of, by `KNOWN_FROM`."""
        wanted = dg.AssetRecordsFilter(asset_key=self._asset, asset_partitions=[partition_key])
        records = self._instance.fetch_materializations(wanted, limit=EVENTS_READ).records
        return frozenset(known_from for _, known_from in _landings(records))


def _landings(records: Iterable[dg.EventLogRecord]) -> Iterator[tuple[str | None, str]]:
    for record in records:
        told = record.asset_materialization
        if told is not None and KNOWN_FROM in told.metadata:
            yield record.partition_key, str(told.metadata[KNOWN_FROM].value)
