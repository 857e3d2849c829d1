"""Rows of loads that Dagster is not known to have events of: inserted with the load, deleted."""

import json
from datetime import timedelta
from functools import partial

import dagster as dg
import pytest
from sqlalchemy import select

from orchestration_project.domains.finra.selection import PARTITIONING
from orchestration_project.domains.finra.tables.weekly import finra_otc_weekly
from orchestration_project.engine.announcements import (
    Announcements,
    ReportLog,
    settle_announcements,
)
from orchestration_project.engine.dataset import Announcement, LoadedPartition
from orchestration_project.engine.warehouse import QuarantinedError, SupersededError
from orchestration_project.resources.finra.weekly import WeeklyDataset
from orchestration_project.tables.spine import pending_announcements
from tests.resources.weeks import FAILED, LIMITS, NOON, PartitionLoader, known, row
from tests.test_announcements import ASSET, ended, report_materialization


def write_batch(partition_loader, *rows, **how):
    """Load rows as the loader does, with what is to be announced of them."""
    week = PARTITIONING.partition_of(partition_loader.partition_key, today=NOON.date())
    dataset = Announcements(partition_loader.warehouse, WeeklyDataset(limits=LIMITS), known)
    return partition_loader.write_batch(
        *rows, recorder=lambda target, delivery: dataset.recorder(target, week, delivery), **how
    )


def pending(partition_loader):
    return partition_loader.warehouse.frame(
        select(pending_announcements), pending_announcements
    ).to_dicts()


def loaded(write_result=None, **more):
    return LoadedPartition("api", "v1", {}, write_result=write_result, **more)


def test_the_row_of_a_load_says_what_it_changed_and_is_there_with_its_rows(partition_loader):
    loaded = write_batch(partition_loader, row("AAA"), row("BBB"))
    (found,) = pending(partition_loader)
    assert found == {
        "table_name": "finra_otc_weekly",
        "partition_key": partition_loader.partition_key,
        "landed_at": loaded.known_from,
        "group_id": loaded.group_id,
        "change_cause": "first",
        "sentence": "New week loaded: T1, week 2025-11-10: 2 rows of 2 symbols, 200 shares in 2 "
        "trades.",
        "figures": found["figures"],
        "run_id": "run",
    }
    figures = json.loads(found["figures"])
    assert (figures["rows_added"], figures["shares_after"]) == (2, "200.000000")
    assert len(figures["moves"]) == 2


@pytest.mark.slow_after_first
def test_what_is_not_loaded_has_no_row_and_a_load_without_a_change_an_empty_one(
    partition_loader, clock
):
    with pytest.raises(QuarantinedError):
        write_batch(partition_loader, row("AAA"), audits=[FAILED])
    with pytest.raises(SupersededError):
        write_batch(partition_loader, row("AAA"), target=partition_loader.target(token=0))
    assert pending(partition_loader) == []
    write_batch(partition_loader, row("AAA"))
    clock.at += timedelta(days=1)
    write_batch(partition_loader, row("AAA"), version="v2")
    assert [
        (announcement["change_cause"], announcement["sentence"] == "")
        for announcement in pending(partition_loader)
    ] == [
        ("first", False),
        ("none", True),
    ]


@pytest.mark.slow_after_first
def test_a_row_stays_small_however_much_a_load_changes(partition_loader):
    write_batch(
        partition_loader,
        *(row(f"S{number:05}", venue) for number in range(500) for venue in ("XA", "YA")),
    )
    (found,) = pending(partition_loader)
    assert len(found["sentence"]) < 300
    assert len(found["figures"]) < 2000


@pytest.mark.slow_on_postgresql
def test_rows_are_deleted_as_far_as_events_are_stored_those_of_other_partitions_stay(
    partition_loader, clock, instance
):
    other, later = (
        PartitionLoader(partition_loader.warehouse, partition_loader.folder, tier="T2"),
        PartitionLoader(partition_loader.warehouse, partition_loader.folder, tier="OTCE"),
    )
    done = {
        loader.partition_key: loaded(write_batch(loader, row("AAA")))
        for loader in (partition_loader, other)
    }
    write_batch(later, row("AAA"))
    unchanged = {later.partition_key: loaded(known_from=clock.at)}
    settle = partial(settle_announcements, partition_loader.warehouse, finra_otc_weekly)
    ended(instance, "run", dg.DagsterRunStatus.STARTED)
    log = ReportLog(instance, ASSET, "run")
    settle(log, done | unchanged)
    assert len(pending(partition_loader)) == 3
    report_materialization(instance, "run", clock.at, partition=partition_loader.partition_key)
    settle(log, done | unchanged)
    left = {announcement["partition_key"] for announcement in pending(partition_loader)}
    assert left == {other.partition_key, later.partition_key}
    report_materialization(instance, "run", clock.at, partition=other.partition_key)
    settle(log, done | unchanged)
    assert [announcement["partition_key"] for announcement in pending(partition_loader)] == [
        later.partition_key
    ]


@pytest.mark.slow_after_first
def test_late_announcements_are_deleted_and_newer_loads_stay(partition_loader, clock, instance):
    landed_at = write_batch(partition_loader, row("AAA")).known_from
    clock.at += timedelta(days=1)
    since = write_batch(partition_loader, row("AAA"), row("BBB"), version="v2")
    late = loaded(known_from=landed_at, changes=[Announcement("first", None, "")])
    ended(instance, "next", dg.DagsterRunStatus.STARTED)
    report_materialization(instance, "next", landed_at, partition=partition_loader.partition_key)
    log = ReportLog(instance, ASSET, "next")
    settle_announcements(
        partition_loader.warehouse, finra_otc_weekly, log, {partition_loader.partition_key: late}
    )
    assert [announcement["group_id"] for announcement in pending(partition_loader)] == [
        since.group_id
    ]
