"""Equations of ticks: what a tick considered is requested, or is named with a reason."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from sqlalchemy import select

from orchestration_project.assets.documents import DAYS
from orchestration_project.definitions import defs
from orchestration_project.domains.documents.settings import DocumentsSettings
from orchestration_project.domains.finra.tables.weekly import finra_otc_weekly
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.balance import UnbalancedError
from orchestration_project.engine.contracts.derivations import RecomputationRequest
from orchestration_project.engine.contracts.ticks import balance_tick
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.sensors.definitions import (
    DueDerivations,
    record_tick,
    request_derivations,
)
from orchestration_project.sensors.documents import documents_on_arrival
from orchestration_project.sensors.finra import finra_on_publication
from orchestration_project.tables.spine import balances
from tests import databases
from tests.resources.balances import differences
from tests.resources.test_documents_arrivals import Files
from tests.resources.weeks import StoppedClock
from tests.sensors.conftest import Sensor, note_run

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
TABLE = finra_otc_weekly.name
WEEKS = ("T1|2026-01-05", "T1|2026-01-12", "T1|2026-01-19")


@pytest.fixture
def warehouse(tmp_path: Path, prepared) -> Iterator[Warehouse]:
    with Warehouse(prepared.sqlite(tmp_path / "ticks.sqlite"), clock=Clock()) as opened:
        yield opened


def recorded(warehouse: Warehouse) -> list[tuple[object, ...]]:
    columns = [balances.c[name] for name in ("subject", "came_in", "went_to", "state")]
    statement = select(*columns).order_by(balances.c.recorded_at)
    return warehouse.frame(statement, balances).rows()


def test_a_tick_that_requests_runs_records_where_each_partition_went(warehouse):
    places = {"requested": ["a", "b"], "loaded": ["c"], "waiting": []}
    record_tick(warehouse, TABLE, "on_crates", balance_tick(["a", "b", "c"], places), NOON)
    subject = "on_crates 2026-03-02T12:00:00.000000Z"
    assert recorded(warehouse) == [(subject, 3, '{"requested": 2, "loaded": 1}', "balanced")]


def test_a_tick_that_requests_nothing_writes_nothing(warehouse):
    record_tick(warehouse, TABLE, "on_crates", balance_tick(["a"], {"loaded": ["a"]}), NOON)
    assert recorded(warehouse) == []


@pytest.mark.parametrize(
    ("places", "difference"),
    [
        ({"requested": ["a"], "loaded": ["c"]}, 1),
        ({"loaded": ["c"]}, 2),
        ({"requested": ["a", "b"], "waiting": ["b"], "loaded": ["c"]}, -1),
    ],
    ids=["a_dropped_partition", "all_that_is_due_is_dropped", "a_doubled_partition"],
)
def test_a_tick_that_drops_or_doubles_a_partition_fails_with_its_numbers(
    warehouse, places, difference
):
    with pytest.raises(UnbalancedError, match=r"on_crates .* does not balance"):
        record_tick(warehouse, TABLE, "on_crates", balance_tick(["a", "b", "c"], places), NOON)
    assert differences(warehouse) == {(TABLE, "tick"): difference}


@pytest.mark.parametrize("place", ["requested", "loaded"])
def test_a_failed_tick_is_one_imbalance_until_a_tick_balances(warehouse, place):
    def record(*keys: str, minute: int) -> None:
        balance = balance_tick(["a", "b"], {place: keys})
        record_tick(warehouse, TABLE, "on_crates", balance, NOON + timedelta(minutes=minute))

    for minute in (0, 1):
        with pytest.raises(UnbalancedError):
            record("a", minute=minute)
    record_tick(warehouse, TABLE, "on_lids", balance_tick(["a"], {place: ["a"]}), NOON)
    assert differences(warehouse) == {(TABLE, "tick"): 1}
    record("a", "b", minute=2)
    assert differences(warehouse) == {}


RequestDerivations = Callable[..., dg.SensorResult | dg.SkipReason]


@pytest.fixture
def request_weeks(warehouse, kept_instance) -> RequestDerivations:
    def request(*ranges: tuple[str, str]) -> dg.SensorResult | dg.SkipReason:
        runs = [RecomputationRequest(first, last, f"{first}...{last}") for first, last in ranges]
        derivation = DueDerivations("on_weeks", warehouse, finra_otc_weekly, WEEKS, NOON, "gold")
        return request_derivations(dg.build_sensor_context(kept_instance), runs, derivation)

    return request


def test_runs_that_derive_all_outdated_weeks_balance(request_weeks, warehouse):
    assert isinstance(request_weeks(WEEKS[:2], (WEEKS[2], WEEKS[2])), dg.SensorResult)
    assert recorded(warehouse)[0][1:] == (3, '{"requested": 3}', "balanced")


@pytest.mark.parametrize("ranges", [[WEEKS[:2]], [WEEKS[:2], WEEKS[1:]]], ids=["lost", "twice"])
def test_runs_that_lack_an_outdated_week_or_derive_it_twice_fail_the_tick(request_weeks, ranges):
    with pytest.raises(UnbalancedError, match="tick: 3 !="):
        request_weeks(*ranges)


def test_a_tick_requests_all_that_is_outdated_once_it_no_longer_loses_a_week(
    request_weeks, warehouse
):
    with pytest.raises(UnbalancedError):
        request_weeks(WEEKS[:2])
    requested = request_weeks((WEEKS[0], WEEKS[2]))
    assert [request.tags for request in requested.run_requests] == [
        {
            "dagster/asset_partition_range_start": WEEKS[0],
            "dagster/asset_partition_range_end": WEEKS[2],
        }
    ]
    assert differences(warehouse) == {}


def test_a_tick_over_the_listing_of_a_source_names_each_partition(
    demo_settings, instance, monkeypatch
):
    monkeypatch.setenv("FINRA_LOOKBACK_WEEKS", "1")
    monkeypatch.setenv("FINRA_MAX_RUNS_PER_TICK", "1")
    publication = Sensor(finra_on_publication, instance)
    [requested] = publication.tick().requests
    note_run(instance, requested, dg.DagsterRunStatus.STARTED)
    publication.tick()
    with Warehouse(databases.sqlite_url(demo_settings.state_path), clock=Clock()) as warehouse:
        first, second = recorded(warehouse)
        assert differences(warehouse) == {}
    assert str(first[0]).startswith("finra_on_publication 2026-03-02T")
    assert '"requested": 1, "waiting": 2' in str(first[2])
    assert '"requested": 1, "waiting": 1' in str(second[2])
    assert '"under_way": 1' in str(second[2])


@pytest.mark.slow
def test_a_tick_over_files_names_days_under_way_and_days_without_a_partition(
    warehouse, kept_instance, demo_settings
):
    first, second = DAYS.get_partition_keys()[:2]
    before = f"{date.fromisoformat(first) - timedelta(days=1)}"
    clock, files = StoppedClock(), Files()
    resources = {
        "clock": clock,
        "documents": files,
        "settings": DocumentsSettings.of(demo_settings),
        "warehouse": warehouse,
    }
    context = dg.build_sensor_context(kept_instance, resources=resources)

    def tick(day: str) -> list[str | None]:
        files.sizes[day] = 1
        for time in ("12:00", "12:01"):  # of the first poll it is not known whether it is whole
            clock.at = datetime.fromisoformat(f"{day}T{time}+00:00")
            answer = documents_on_arrival(context)
        requests = answer.run_requests if isinstance(answer, dg.SensorResult) else []
        return [request.partition_key for request in requests or ()]

    assert tick(before) == []
    assert tick(first) == [first]
    job, tags = defs.resolve_job_def("documents_load"), {"dagster/partition": first}
    kept_instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED, tags=tags)
    assert tick(second) == [second]
    [*_, (_, listed, went_to, state)] = recorded(warehouse)
    assert (listed, state) == (3, "balanced")
    assert json.loads(str(went_to)) == {"requested": 1, "under_way": 1, "no_partition": 1}
    assert differences(warehouse) == {}
