"""Reads and writes of the control tower, on both databases."""

from datetime import date, datetime, timedelta

import pytest
from sqlalchemy import select

from orchestration_project.assets.finra.freshness import check_freshness
from orchestration_project.catalog import REGISTRY
from orchestration_project.domains.finra.settings import FinraSettings
from orchestration_project.engine.warehouse import QuarantinedError
from orchestration_project.resources.finra.activity import read_activity
from orchestration_project.resources.finra.weeks import find_oldest_unloaded
from orchestration_project.services.ledger import Ledger
from orchestration_project.services.ledger.control_tower import read_observation, write_tower
from orchestration_project.services.ledger.rules.entries import RunFacts, StepFacts
from orchestration_project.services.ledger.rules.standings import (
    ActiveRuns,
    Subject,
    build_rows,
    evaluate_health,
)
from orchestration_project.services.status import read_deadlines
from orchestration_project.settings import load_settings
from orchestration_project.tables.operations_runs import operations_control_tower
from tests.resources.weeks import FAILED, MONDAY, NOON, PartitionLoader, rejected, row

DAY = timedelta(days=1)


def facts(run_id, status, at, **changes) -> RunFacts:
    over = None if status in ("QUEUED", "STARTED") else at
    state = {"STARTED": "IN_PROGRESS"}.get(status, status)
    load = StepFacts("load", state, ["finra/otc_weekly"], at, over, 2)
    steps = [] if status == "QUEUED" else [load, StepFacts("bare", state, [], at, over, 1)]
    usual = {"started_at": at, "ended_at": over, "steps": steps}
    return RunFacts(run_id, "finra_otc_weekly", status, at, at, **usual | changes)


@pytest.mark.slow_on_postgresql
def test_what_ended_is_counted_by_day_status_and_category_what_has_not_by_subject(
    warehouse, clock, partition_loader
):
    partition_loader.write_batch(
        row("AAA"), target=partition_loader.target(run_id="a"), rejects=rejected(3)
    )
    Ledger(warehouse, clock).record(
        [
            facts("a", "SUCCESS", NOON),
            facts("b", "SUCCESS", NOON - DAY, parent_run_id="x"),  # just a day ago: the day before
            facts("c", "FAILURE", NOON - 27 * DAY),
            facts("d", "SUCCESS", NOON - 28 * DAY),  # just too old
            facts("e", "QUEUED", NOON - DAY),
            facts("f", "QUEUED", NOON),
            facts("g", "STARTED", NOON),
        ]
    )
    look = read_observation(warehouse, NOON)
    size = partition_loader.capture().byte_count
    assert look.ended.sort("asset", "days_ago").rows() == [
        ("finra", "", 0, "SUCCESS", None, 1, 0, 1, 1, 1, size),
        ("finra", "", 1, "SUCCESS", None, 1, 1, 0, 0, 0, 0),
        ("finra", "", 27, "FAILURE", "defect", 1, 0, 0, 0, 0, 0),
        ("finra", "finra/otc_weekly", 0, "SUCCESS", None, 1, 1, 1, 1, 1, size),
        ("finra", "finra/otc_weekly", 1, "SUCCESS", None, 1, 1, 0, 0, 0, 0),
        ("finra", "finra/otc_weekly", 27, "FAILURE", "defect", 1, 1, 0, 0, 0, 0),
    ]
    assert look.under_way == {
        Subject("finra"): ActiveRuns(2, 1, NOON - DAY),
        Subject("finra", "finra/otc_weekly"): ActiveRuns(0, 1),
    }
    assert look.landed_at == {"finra/otc_weekly": NOON}


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("paused", "since", "reasons"),
    [
        ([], NOON - DAY, ["a run has waited for 24.0 h to start"]),
        (["asset-1", "asset-2"], NOON, []),
        (["asset-1", "asset-2", "other"], None, []),
    ],
)
def test_runs_that_a_pause_of_an_asset_holds_do_not_wait_too_long(
    warehouse, clock, paused, since, reasons
):
    Ledger(warehouse, clock).record(
        [
            facts("asset-1", "QUEUED", NOON - DAY),
            facts("asset-2", "QUEUED", NOON - DAY / 2),
            facts("other", "QUEUED", NOON),
        ]
    )
    look = read_observation(warehouse, NOON, paused)
    assert look.under_way == {Subject("finra"): ActiveRuns(3, 0, since)}
    [finra] = evaluate_health(look, [], now=NOON, machine_now=NOON)
    assert [reason.partition(";")[0] for reason in finra.reasons] == reasons


@pytest.mark.slow_on_postgresql
def test_a_look_replaces_the_one_before(warehouse, clock):
    Ledger(warehouse, clock).record([facts("a", "SUCCESS", NOON), facts("b", "FAILURE", NOON)])
    assert looked_at(warehouse, NOON) == {NOON}
    later = NOON + timedelta(hours=1)
    assert looked_at(warehouse, later) == {later}
    assert looked_at(warehouse, NOON + 29 * DAY) == set()  # nothing ended within 28 days


def looked_at(warehouse, now) -> set[datetime]:
    found = evaluate_health(read_observation(warehouse, now), [], now=now, machine_now=now)
    write_tower(warehouse, build_rows(found, now))
    with warehouse.reading() as connection:
        return set(connection.execute(select(operations_control_tower.c.looked_at)).scalars())


@pytest.mark.slow_after_first
def test_the_oldest_week_that_is_due_is_the_one_reported(partition_loader, clock):
    def oldest(first_week: date):
        offered = (first_week, date.max)
        return find_oldest_unloaded(
            partition_loader.warehouse, load_settings(), clock.now(), offered=offered
        )

    assert oldest(MONDAY) is None  # nothing was ever loaded: nothing waits
    partition_loader.write_batch(row("AAA"))
    found = oldest(MONDAY)
    assert found is not None
    assert (found.asset, found.partition) == ("finra/otc_weekly", "T1|2025-11-17")
    # published on 2025-12-08, midnight in New York, and 36 h
    assert found.due_at.isoformat() == "2025-12-09T17:00:00+00:00"
    assert oldest(date(2026, 1, 26)) is None  # no such week is due yet


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("source", "oldest", "count"),
    [("demo", "OTCE|2025-11-03", 12), ("api", "T1|2025-11-03", 13)],
)
def test_a_demo_lacks_only_weeks_published_since_those_that_it_loaded(
    partition_loader, clock, monkeypatch, source, oldest, count
):
    monkeypatch.setenv("FINRA_SOURCE", source)
    partition_loader.write_batch(row("AAA"))
    settings = load_settings()
    offered = (MONDAY - timedelta(weeks=1), date.max)
    found = find_oldest_unloaded(partition_loader.warehouse, settings, clock.now(), offered=offered)
    assert found is not None
    assert (found.partition, found.missing_count) == (oldest, count)


@pytest.mark.slow_on_postgresql
def test_quarantined_weeks_are_counted_among_those_that_are_due_until_they_load(
    partition_loader, clock, monkeypatch
):
    monkeypatch.setenv("FINRA_SOURCE", "demo")

    def counts() -> list[tuple[int, int]]:
        late = read_deadlines(REGISTRY, load_settings(), partition_loader.warehouse, clock)
        return [
            (missing.missing_count, missing.quarantined_count)
            for missing in late
            if missing.asset == "finra/otc_weekly"
        ]

    partition_loader.write_batch(row("AAA"))
    assert counts() == [(14, 0)]
    next_week = PartitionLoader(
        partition_loader.warehouse, partition_loader.folder, week_start=MONDAY + timedelta(weeks=1)
    )
    with pytest.raises(QuarantinedError):
        next_week.write_batch(row("AAA"), audits=[FAILED])
    with pytest.raises(QuarantinedError):
        partition_loader.write_batch(
            row("AAB"), audits=[FAILED], version="v2"
        )  # loaded before: it is not missing
    assert counts() == [(14, 1)]
    next_week.write_batch(row("AAA"))
    assert counts() == [(13, 0)]


@pytest.mark.slow_on_postgresql
def test_a_week_that_cannot_be_read_is_quarantined_for_check_control_tower_and_chart(
    partition_loader, clock
):
    partition_loader.write_batch(row("AAA"))
    unreadable = PartitionLoader(
        partition_loader.warehouse, partition_loader.folder, week_start=MONDAY + timedelta(weeks=1)
    )
    partition_loader.warehouse.record_refused(unreadable.target(), unreadable.delivery())
    settings = load_settings()
    check = check_freshness(partition_loader.warehouse, FinraSettings.of(settings), clock)
    offered = (MONDAY, date.max)
    late = find_oldest_unloaded(partition_loader.warehouse, settings, clock.now(), offered=offered)
    chart = read_activity(partition_loader.warehouse)
    assert late is not None
    assert chart is not None
    assert check.metadata["weeks_held_back"].value == late.quarantined_count == 1
    assert chart.quarantined == [unreadable.week_start]
