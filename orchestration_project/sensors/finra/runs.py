"""Which runs are under way or were asked for, as Dagster remembers them."""

from collections.abc import Collection, Iterable, Sequence

import dagster as dg

from orchestration_project.assets.finra import OTC_WEEKLY
from orchestration_project.domains.finra.selection import TierWeek, covered
from orchestration_project.jobs import finra_otc_weekly
from orchestration_project.partitions import PARTITION_TAGS
from orchestration_project.sensors.under_way import UNDER_WAY

RUN_KEY = "dagster/run_key"
ONCE_A_DAY = "a run that brings nothing is asked for again the day after."


def loading(instance: dg.DagsterInstance, partitions: Collection[TierWeek]) -> frozenset[TierWeek]:
    """Return those of the partitions that a run loads now, or will: of the job or a backfill."""
    spans = spans_under_way(instance, finra_otc_weekly.name, OTC_WEEKLY)
    return frozenset(each for keys in spans for each in covered(min(keys), max(keys), partitions))


def spans_under_way(instance: dg.DagsterInstance, job: str, asset: dg.AssetKey) -> list[list[str]]:
    """Return the first and last partition of each run that loads an asset now, or will.

    It is a run of the job, or of a backfill; of a run of one partition, that alone.
    """
    runs = [
        run
        for run in instance.get_runs(dg.RunsFilter(statuses=UNDER_WAY))
        if run.job_name == job or asset in (run.asset_selection or ())
    ]
    spans = ([run.tags[tag] for tag in PARTITION_TAGS if tag in run.tags] for run in runs)
    return [span for span in spans if span]


def not_yet_asked(
    instance: dg.DagsterInstance, requests: Iterable[dg.RunRequest]
) -> Sequence[dg.RunRequest]:
    """Return the requests whose run key no run has: for the others Dagster starts none."""
    return [
        request
        for request in requests
        if not instance.get_runs(dg.RunsFilter(tags={RUN_KEY: str(request.run_key)}), limit=1)
    ]
