"""The hourly repair of the ledger reads only runs that differ, on both databases of either side."""

from datetime import datetime, timedelta

import dagster as dg
import pytest
from dagster._core.storage.runs.schema import RunsTable
from sqlalchemy import delete, select, update

from orchestration_project.instance.storage import open_instance
from orchestration_project.services.ledger import Written, reconcile
from orchestration_project.services.ledger.rules.entries import HourSum, iterate_differences
from orchestration_project.tables.operations_runs import operations_runs

STARTED, SUCCESS = dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.SUCCESS
MIDNIGHT = datetime(2026, 1, 1)  # noqa: DTZ001 - as Dagster stores it
AN_HOUR = timedelta(hours=1)


@dg.job
def empty():
    pass


ON_SQLITE = pytest.mark.parametrize("warehouse", ["sqlite"], indirect=True)


@pytest.fixture(params=["SQLite"])
def instance(request, instance, tmp_path, monkeypatch):
    """Dagster's instance; for PostgreSQL that of the project's dagster.yaml."""
    if request.param == "SQLite":
        yield instance
        return
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("DAGSTER_DATABASE_URL", request.getfixturevalue("postgres_url"))
    with open_instance() as opened:
        yield opened


@pytest.fixture
def runs(instance, ledger) -> list[str]:
    """Six runs that the ledger has, one for each hour of a night."""
    ids = [instance.create_run_for_job(empty, status=SUCCESS).run_id for _ in range(6)]
    for hour, run_id in enumerate(ids):
        moment = MIDNIGHT + hour * AN_HOUR + timedelta(microseconds=hour)
        store(instance, [run_id], create_timestamp=moment, update_timestamp=moment)
    assert reconcile(instance, ledger, None, only_changed=True).written == Written(6, 0, 0)
    return ids


def store(instance, run_ids, **values):
    """Change Dagster's rows of runs."""
    with instance.run_storage.connect() as connection:
        connection.execute(
            update(RunsTable).where(RunsTable.c.run_id.in_(run_ids)).values(**values)
        )


def hide_bodies(instance, run_ids):
    """Make the bodies of runs something that Dagster cannot read."""
    store(instance, run_ids, run_body="no JSON")


def change(warehouse, run_id, **values):
    """Change the ledger's row of a run, or delete it."""
    is_it = operations_runs.c.run_id == run_id
    with warehouse.writing() as connection:
        if values:
            connection.execute(update(operations_runs).where(is_it).values(**values))
        else:
            connection.execute(delete(operations_runs).where(is_it))


def statuses(warehouse) -> dict[str, str]:
    with warehouse.reading() as connection:
        found = connection.execute(select(operations_runs.c.run_id, operations_runs.c.status))
        return dict(found.all())


@ON_SQLITE
def test_a_run_that_the_ledger_has_as_it_is_is_not_read(instance, ledger, runs):
    hide_bodies(instance, runs)
    assert reconcile(instance, ledger, None, only_changed=True).written == Written(0, 0, 6)


def test_only_runs_that_are_missing_or_differ_are_read_and_repaired(
    instance, ledger, warehouse, runs
):
    missing, of_other_status, changed, *others = runs
    hide_bodies(instance, others)
    change(warehouse, missing)
    change(warehouse, of_other_status, status="STARTED")
    instance.add_run_tags(changed, {"preset": "full#2"})
    assert reconcile(instance, ledger, None, only_changed=True).written == Written(1, 2, 3)
    assert statuses(warehouse) == dict.fromkeys(runs, "SUCCESS")
    hide_bodies(instance, runs)
    assert reconcile(instance, ledger, None, only_changed=True).written == Written(0, 0, 6)


@pytest.mark.slow_on_postgresql
@ON_SQLITE
@pytest.mark.parametrize("instance", ["SQLite", "PostgreSQL"], indirect=True)
def test_a_change_of_a_microsecond_is_noticed(instance, ledger, runs):
    hide_bodies(instance, [runs[0], *runs[2:]])
    moment = MIDNIGHT + AN_HOUR + timedelta(microseconds=2)
    store(instance, [runs[1]], update_timestamp=moment)
    assert reconcile(instance, ledger, None, only_changed=True).written == Written(0, 1, 5)


@ON_SQLITE
def test_runs_that_dagster_deleted_have_no_other_run_read(instance, ledger, warehouse, runs):
    deleted, *others = runs
    store(instance, runs, update_timestamp=MIDNIGHT + 9 * AN_HOUR)
    reconcile(instance, ledger, None, only_changed=True)
    instance.delete_run(deleted)
    hide_bodies(instance, others)
    assert reconcile(instance, ledger, None, only_changed=True).written == Written(0, 0, 5)
    assert statuses(warehouse) == dict.fromkeys(others, "SUCCESS") | {deleted: "DELETED"}


@ON_SQLITE
def test_only_runs_of_after_a_time_are_compared_when_one_is_given(
    instance, ledger, warehouse, runs, clock
):
    for run_id in runs:
        change(warehouse, run_id)
    since = clock.now().replace(year=2026, month=1, day=1, hour=2, minute=30, second=0)
    assert reconcile(instance, ledger, since, only_changed=True).written == Written(3, 0, 0)
    assert set(statuses(warehouse)) == set(runs[3:])


def test_hours_that_follow_each_other_are_one_range_and_those_of_the_ledger_alone_none():
    one, two = HourSum(1, 7), HourSum(2, 7)
    dagster = {("FAILURE", "1"): one, **{("SUCCESS", hour): two for hour in "12345"}}
    ledger = {("SUCCESS", "1"): one, ("SUCCESS", "4"): two, ("DELETED", "1"): one}
    assert list(iterate_differences(dagster, ledger)) == [
        ("FAILURE", "1", "1"),
        ("SUCCESS", "1", "3"),
        ("SUCCESS", "5", "5"),
    ]
    assert list(iterate_differences(dagster, dagster)) == []
