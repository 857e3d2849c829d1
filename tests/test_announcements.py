"""Loads that Dagster has events of, and statuses of their runs."""

from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from dagster._core.events import StepMaterializationData
from dagster._core.launcher.base import WorkerStatus

from orchestration_project.engine.announcements import KNOWN_FROM, ReportLog
from tests.runs import set_worker_health

ASSET = dg.AssetKey(["finra", "otc_weekly"])
PARTITION = "T1|2026-02-09"
AT = datetime(2026, 3, 2, 12, 0, 0, 123456, tzinfo=UTC)
LATER = AT + timedelta(hours=1)


def ended(instance, run_id, status) -> None:
    instance.add_run(dg.DagsterRun("load", run_id=run_id, status=status))


def report_materialization(instance, run_id, at=None, asset=ASSET, partition=PARTITION) -> None:
    """Record what a run reports of a partition, and the load that it names, if any."""
    metadata = {KNOWN_FROM: at.isoformat()} if at else {}
    made = dg.AssetMaterialization(asset, partition=partition, metadata=metadata)
    said = dg.DagsterEvent(
        "ASSET_MATERIALIZATION", "load", event_specific_data=StepMaterializationData(made)
    )
    instance.report_dagster_event(said, run_id)


def knows(instance, run_id="a", partition=PARTITION, at=AT, by="asking"):
    return ReportLog(instance, ASSET, by)(run_id, partition, at)


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (dg.DagsterRunStatus.SUCCESS, "yes"),
        (dg.DagsterRunStatus.FAILURE, "no"),
        (dg.DagsterRunStatus.CANCELED, "no"),
        (dg.DagsterRunStatus.STARTED, "not yet"),
        (dg.DagsterRunStatus.CANCELING, "not yet"),
    ],
)
def test_a_run_that_reported_nothing_is_known_by_its_end(instance, status, answer):
    ended(instance, "a", status)
    assert knows(instance) == answer


def test_of_a_run_that_is_forgotten_nothing_is_owed(instance):
    assert knows(instance) == "yes"


def test_a_run_whose_process_is_gone_goes_on_no_longer(instance, monkeypatch):
    ended(instance, "a", dg.DagsterRunStatus.STARTED)
    for health, answer in ((WorkerStatus.RUNNING, "not yet"), (WorkerStatus.FAILED, "no")):
        set_worker_health(monkeypatch, instance, health)
        assert knows(instance) == answer


def test_a_run_that_asks_of_itself_reported_what_its_events_say(instance):
    ended(instance, "a", dg.DagsterRunStatus.STARTED)
    assert knows(instance, by="a") == "no"
    report_materialization(instance, "a", AT)
    assert knows(instance, by="a") == "yes"


def test_a_failed_run_reported_only_the_load_of_its_event(instance):
    ended(instance, "a", dg.DagsterRunStatus.FAILURE)
    report_materialization(instance, "a")
    report_materialization(instance, "a", LATER)
    report_materialization(instance, "a", AT, partition="T2|2026-02-09")
    report_materialization(instance, "a", AT, asset=dg.AssetKey(["finra", "symbol_week"]))
    assert knows(instance) == "no"
    assert knows(instance, at=LATER) == "yes"
    assert knows(instance, partition="T2|2026-02-09") == "yes"


def test_a_report_by_another_run_is_known_whatever_followed(instance):
    ended(instance, "a", dg.DagsterRunStatus.FAILURE)
    ended(instance, "b", dg.DagsterRunStatus.SUCCESS)
    report_materialization(instance, "b", AT)
    for _ in range(3):
        report_materialization(instance, "b")
    assert knows(instance) == "yes"


def test_a_run_that_goes_on_is_asked_for_again(instance):
    ended(instance, "a", dg.DagsterRunStatus.STARTED)
    known = ReportLog(instance, ASSET, "asking")
    assert known("a", PARTITION, AT) == "not yet"
    instance.report_run_failed(instance.get_run_by_id("a"))
    assert known("a", PARTITION, AT) == "no"
