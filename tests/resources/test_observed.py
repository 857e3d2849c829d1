"""What metrics and alerts read of hosts, loads and the database, on both databases."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import select

from orchestration_project.services.alerts.conditions import see
from orchestration_project.services.host_samples import HostSampler, read_latest_samples
from orchestration_project.services.metrics.database import measure_database
from orchestration_project.services.metrics.objectives import LoadSeconds
from orchestration_project.services.objectives.conditions import build_conditions
from orchestration_project.tables.operations_objectives import operations_host_samples
from orchestration_project.tables.operations_runs import operations_runs
from tests.gateway.test_metrics import filled
from tests.resources.weeks import StoppedClock

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def test_the_database_reports_its_size_and_a_server_connections(warehouse):
    found = {
        (family.name.removeprefix("orchestration_"), *sample.labels.values()): sample.value
        for family in measure_database(warehouse)
        for sample in family.samples
    }
    assert found["database_size_bytes",] > 10_000
    with warehouse.reading() as connection:
        if connection.dialect.name == "sqlite":
            assert len(found) == 1
            return
    assert found["database_connections", "active"] >= 1
    assert found["database_oldest_transaction_seconds",] >= 0


def test_a_host_is_sampled_once_in_five_minutes_and_for_seven_days(warehouse, tmp_path):
    sampler = HostSampler("here", "worker")
    taken = [
        sampler.sample(warehouse, NOON + minutes * MINUTE, tmp_path) for minutes in (0, 1, 5, 6, 11)
    ]
    assert taken == [True, False, True, False, True]
    [row] = read_latest_samples(warehouse, NOON + 12 * MINUTE)
    assert (row.host, row.role, row.at) == ("here", "worker", NOON + 10 * MINUTE)
    assert 0 <= row.cpu_share <= 1
    assert 0 < row.memory_share <= 1
    assert row.open_files > 0
    sampler.sample(warehouse, NOON + timedelta(days=7, minutes=7), tmp_path)
    with warehouse.reading() as connection:
        times = select(operations_host_samples.c["at"])
        assert sorted(connection.execute(times).scalars()) == [
            NOON + 10 * MINUTE,
            NOON + timedelta(days=7, minutes=5),
        ]


def test_loads_are_a_histogram_with_a_trace_beside_its_bucket(warehouse):
    ended = [(40.0, "a" * 32), (0.5, None), (7200.0, None)]
    with warehouse.writing() as connection:
        for number, (seconds, trace_id) in enumerate(ended):
            row = {"run_id": f"r{number}", "domain": "finra", "ended_at": NOON - 10 * MINUTE}
            connection.execute(
                filled(operations_runs, **row, duration_seconds=seconds, trace_id=trace_id)
            )
    loads = LoadSeconds(warehouse)
    for _ in range(2):
        [family] = loads.families(NOON)
        buckets = {
            sample.labels["le"]: sample
            for sample in family.samples
            if sample.name.endswith("_bucket")
        }
        assert [buckets[le].value for le in ("1.0", "30.0", "60.0", "3600.0", "+Inf")] == [
            *(1, 1, 2, 2, 3)
        ]
        exemplars = {
            le: bucket.exemplar.labels for le, bucket in buckets.items() if bucket.exemplar
        }
        assert exemplars == {
            "1.0": {"run_id": "r1"},
            "60.0": {"trace_id": "a" * 32},
            "+Inf": {"run_id": "r2"},
        }


def test_a_host_is_overloaded_by_three_samples_and_not_by_a_peak(warehouse):
    def subjects() -> dict[str, bool]:
        found = build_conditions(lambda: warehouse, StoppedClock(NOON))
        seen = see(found, StoppedClock(NOON))
        return {observation.problem.subject: observation.is_bad for observation in seen}

    used = {
        "busy": ({"cpu_share": 0.99}, {"cpu_share": 0.99}, {"cpu_share": 0.97}),
        "peak": ({"cpu_share": 0.99}, {"cpu_share": 0.2}, {"cpu_share": 0.97}),
        "new": ({"memory_share": 0.99}, {"memory_share": 0.99}),
        "files": ({"open_files_share": 0.9},) * 3,
        "full": ({"disk_share": 0.96},) * 3,
    }
    with warehouse.writing() as connection:
        for host, samples in used.items():
            for number, shares in enumerate(samples):
                row = {"host": host, "role": "worker", "at": NOON - (number * 5 + 1) * MINUTE}
                connection.execute(filled(operations_host_samples, **row, **shares))
    assert subjects() == {"busy": True, "files": True, "full": True, "new": False, "peak": False}
