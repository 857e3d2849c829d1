"""Cleaning up, on both databases: what goes is recorded, and nothing that is needed goes."""

import os
from datetime import timedelta

import dagster as dg
import pytest
from sqlalchemy import delete

from orchestration_project.assets.operations import clean_up_job
from orchestration_project.catalog import REGISTRY
from orchestration_project.domains.finra.tables.weekly import finra_otc_weekly
from orchestration_project.engine.captures import BlobError, Captures
from orchestration_project.engine.connections.artifacts import FolderStore
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.job_kinds import DELETE_ARTIFACTS
from orchestration_project.errors import ConfigurationError, TransientError
from orchestration_project.services.cleanup.removing import Retention, clean_up, plan_cleanup
from orchestration_project.services.inventory import take_inventory
from orchestration_project.settings import settings_class
from orchestration_project.tables.operations_artifacts import operations_removals
from orchestration_project.tables.spine import deliveries
from tests.resources.weeks import row
from tests.runs import run_kind

DAY = timedelta(days=1)
KEEP_ONE = Retention({"captured bytes": 10, "staged rows": 10, "picture": None}, keep_newest=1)


@pytest.fixture
def store(partition_loader) -> FolderStore:
    return FolderStore(partition_loader.folder)


def age(partition_loader, days: float = 20) -> None:
    """Make all that is stored so old."""
    at = (Clock().now() - days * DAY).timestamp()
    for path in partition_loader.folder.rglob("*"):
        if path.is_file():
            os.utime(path, (at, at))


@pytest.fixture
def history(partition_loader, store, clock):
    """Five deliveries of a week: B still stands as the first had it, A as the last did."""
    captures = {}
    for version, shares in enumerate((1, 2, 3, 2, 5)):
        captures[version] = partition_loader.capture(f"{shares}".encode())
        rows = (row("A", share_quantity=shares), row("B"))
        partition_loader.write_batch(*rows, version=f"v{version}", captures=[captures[version]])
    for name in ("old", "new"):
        store.put(f"staged/{name}.parquet", b"12345")
    age(partition_loader)
    os.utime(partition_loader.folder / "staged" / "new.parquet")
    partition_loader.capture(b"of a load that was killed, or of another database")
    clock.at += 20 * DAY
    return captures


def deleted_by(partition_loader, store, clock, retention=KEEP_ONE) -> list[str]:
    plan = plan_cleanup(partition_loader.warehouse, store, retention, now=clock.now())
    deleted = clean_up(partition_loader.warehouse, store, plan, now=clock.now(), run_id="r")
    return sorted(file.name for files in deleted.values() for file in files)


@pytest.mark.slow
def test_what_nothing_needs_goes_and_is_recorded_and_the_check_holds(
    partition_loader, store, clock, history
):
    gone = [history[1].storage_uri, history[2].storage_uri]
    assert deleted_by(partition_loader, store, clock) == sorted([*gone, "staged/old.parquet"])
    recorded = partition_loader.rows(operations_removals, "name", "kind", "run_id")
    staged = ("staged/old.parquet", "staged rows", "r")
    assert sorted(recorded) == sorted([*((name, "captured bytes", "r") for name in gone), staged])
    inventory = take_inventory(partition_loader.warehouse, store, read_all=True)
    assert (inventory.found.missing, inventory.changed) == ([], [])
    assert deleted_by(partition_loader, store, clock) == []
    needed = set(partition_loader.rows(finra_otc_weekly, "capture_id"))
    assert len(needed) == 2


@pytest.mark.slow_on_postgresql
def test_the_check_holds_also_where_captures_are_older_than_the_table_of_deliveries(
    partition_loader, store, clock, history
):
    with partition_loader.warehouse.writing() as connection:
        connection.execute(delete(deliveries))
    gone = [history[1].storage_uri, history[2].storage_uri]
    assert set(gone) < set(deleted_by(partition_loader, store, clock))
    assert take_inventory(partition_loader.warehouse, store, read_all=True).found.missing == []
    clock.at += DAY
    again = partition_loader.capture(b"2", fetched_at=clock.now())
    partition_loader.write_batch(row("A", share_quantity=2), version="v9", captures=[again])
    store.delete_older(again.storage_uri, Clock().now() + DAY)
    inventory = take_inventory(partition_loader.warehouse, store, read_all=True)
    assert inventory.found.missing == [again.storage_uri]


@pytest.mark.slow_on_postgresql
def test_bytes_that_are_fetched_again_after_they_went_are_kept_like_any_others(
    partition_loader, store, clock, history
):
    deleted_by(partition_loader, store, clock)
    clock.at += DAY
    again = partition_loader.capture(b"2", fetched_at=clock.now())
    partition_loader.write_batch(row("A", share_quantity=2), version="v9", captures=[again])
    assert take_inventory(partition_loader.warehouse, store, read_all=True).found.missing == []
    store.delete_older(again.storage_uri, Clock().now() + DAY)
    inventory = take_inventory(partition_loader.warehouse, store, read_all=True)
    assert inventory.found.missing == [again.storage_uri]


@pytest.mark.slow
def test_bytes_that_are_replayed_after_they_came_back_are_kept_like_any_others(
    partition_loader, store, clock, history
):
    deleted_by(partition_loader, store, clock)
    clock.at += DAY
    again = partition_loader.capture(
        b"2", fetched_at=clock.now() - 20 * DAY
    )  # as a replay records it
    partition_loader.write_batch(row("A", share_quantity=2), version="v9", captures=[again])
    store.delete_older(again.storage_uri, Clock().now() + DAY)
    inventory = take_inventory(partition_loader.warehouse, store, read_all=True)
    assert inventory.found.missing == [again.storage_uri]


@pytest.mark.slow_on_postgresql
def test_what_a_replay_of_a_week_takes_for_each_of_its_markets_stays(
    partition_loader, store, clock
):
    """The second file of a market changed no row, so no row leads to its bytes."""
    files = [("ATS", 1), ("ATS", 2), ("NON_ATS", 3), ("NON_ATS", 4), ("NON_ATS", 5)]
    blobs = []
    for market, number in files:
        blobs.append(partition_loader.capture(f"{number}".encode(), market=market))
        partition_loader.write_batch(
            row("A", market=market),
            version=f"v{number}",
            captures=[blobs[-1]],
            scope={"market": (market,)},
        )
    age(partition_loader)
    clock.at += 20 * DAY
    assert deleted_by(partition_loader, store, clock) == [blobs[3].storage_uri]


@pytest.mark.slow_on_postgresql
def test_what_a_load_or_a_replay_takes_up_after_the_plan_was_made_stays(
    partition_loader, store, clock, history
):
    plan = plan_cleanup(partition_loader.warehouse, store, KEEP_ONE, now=clock.now())
    fetched, replayed = history[1], history[2]
    partition_loader.capture(b"2")
    Captures(store).restore(replayed.blob)
    deleted = clean_up(partition_loader.warehouse, store, plan, now=clock.now(), run_id="r")
    assert deleted["captured bytes"] == []
    assert store.found(fetched.storage_uri)
    assert store.found(replayed.storage_uri)
    assert partition_loader.rows(operations_removals, "name") == [("staged/old.parquet",)]


@pytest.mark.slow_on_postgresql
def test_what_was_not_tried_when_the_store_failed_is_not_recorded_as_gone(
    partition_loader, store, clock, history, monkeypatch
):
    tried = list[str]()

    def fail(name, before):
        tried.append(name)
        raise TransientError("the store does not answer")

    monkeypatch.setattr(store, "delete_older", fail)
    with pytest.raises(TransientError):
        deleted_by(partition_loader, store, clock)  # of two captures
    assert partition_loader.rows(operations_removals, "name") == [
        (tried[0],)
    ]  # which no catalogue names


@pytest.mark.slow_on_postgresql
def test_bytes_that_were_cleaned_up_are_not_to_be_had(partition_loader, store, clock, history):
    deleted_by(partition_loader, store, clock)
    with pytest.raises(BlobError, match="is not what was captured"):
        Captures(store).read(history[1].blob)


def run_job(partition_loader, store, clock, **config) -> dg.ExecuteInProcessResult:
    made = settings_class()(artifacts_captured_days=10, artifacts_keep_newest=1)  # pyright: ignore[reportCallIssue] - pydantic fills the others
    return run_kind(
        clean_up_job,
        DELETE_ARTIFACTS,
        {
            "artifacts": store,
            "clock": clock,
            "registry": REGISTRY,
            "settings": made,
            "warehouse": partition_loader.warehouse,
        },
        **config,
    )


@pytest.mark.slow
def test_the_job_deletes_only_if_set_and_in_no_shared_store(
    partition_loader, store, clock, history
):
    before = sorted(store.listed())
    [made] = run_job(partition_loader, store, clock).asset_materializations_for_node("clean_up")
    assert (made.metadata["dry_run"].value, made.metadata["artifacts"].value) == (True, 2)
    with pytest.raises(ConfigurationError, match="captured bytes are not deleted"):
        run_job(partition_loader, store, clock, dry_run=False)
    assert sorted(store.listed()) == before
    assert partition_loader.count(operations_removals) == 0
    done = run_job(partition_loader, store, clock, dry_run=False, only_database=True)
    [made] = done.asset_materializations_for_node("clean_up")
    assert made.metadata["bytes"].value == sum(
        stored_object.byte_count
        for stored_object in before
        if stored_object not in set(store.listed())
    )
    assert partition_loader.count(operations_removals) == 2
