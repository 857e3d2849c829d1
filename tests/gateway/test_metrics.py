"""The metrics, read from what other processes stored, and in Prometheus' format."""

import asyncio
import shutil
import socket
import subprocess
from contextlib import closing
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from dagster import DagsterRunStatus as Status
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import (
    InProcessCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    SensorInstigatorData,
    TickData,
    TickStatus,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._daemon.types import DaemonHeartbeat
from dagster_postgres.utils import DagsterPostgresException
from dagster_shared.error import SerializableErrorInfo
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import insert, update
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import Message

from orchestration_project.catalog import REGISTRY
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.http.limits import Breaker, BreakerPolicy, Tally
from orchestration_project.engine.http.shared_state import HostKey, SqliteState
from orchestration_project.errors import TransientError
from orchestration_project.gateway.counted import REQUESTS, RequestCounter
from orchestration_project.gateway.metrics import StoredMetrics, parts_of, routes
from orchestration_project.services.hosts import record_heartbeat
from orchestration_project.services.inbox.rows import Inbox, NewDelivery
from orchestration_project.services.metrics.families import MAX_LABEL_VALUES, counter, gauge
from orchestration_project.tables.operations_alerts import operations_alert_deliveries
from orchestration_project.tables.operations_runs import operations_control_tower, operations_runs
from orchestration_project.tables.spine import work_items
from tests.gateway.conftest import Client
from tests.resources.test_deployment import heartbeat, run_of

HOUR = timedelta(hours=1)


def now() -> datetime:
    """Return the machine's time, by which what is aged is aged."""
    return datetime.now(UTC)  # noqa: TID251 - see above


def filled(table, **given):
    """Return an insert; columns that are not given get any value."""
    usual = {"TEXT": "x", "BIGINT": 0, "DATETIME": now(), "DOUBLE": 0.0}
    others = {
        column.name: None if column.nullable else usual.get(str(column.type), now())
        for column in table.columns
    }
    return insert(table).values(**{**others, **given})


def run(run_id: str, status: str, **given):
    return filled(operations_runs, run_id=run_id, status=status, job="load", **given)


def values(text: str) -> dict[tuple[str, ...], float]:
    """Return each sample by its name and the values of its labels, in the order of their names."""
    return {
        (sample.name.removeprefix("orchestration_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture
def instance(kept_instance):
    return kept_instance


@pytest.fixture
def scraped(settings, warehouse, instance):
    def ask_and_check_headers() -> str:
        answer = Client(routes(parts_of(settings, warehouse, instance, lambda: REGISTRY))).get(
            "/metrics"
        )
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        return answer.text

    return ask_and_check_headers


@pytest.fixture
def scrape(scraped):
    return lambda: values(scraped())


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_prometheus_has_no_remark_on_name_type_or_label_of_any_metric(warehouse, scraped):
    with warehouse.writing() as connection:
        connection.execute(run("a", "SUCCESS", ended_at=now() - HOUR, duration_seconds=1.0))
    command = ["promtool", "check", "metrics"]
    done = subprocess.run(command, input=scraped(), capture_output=True, text=True, check=False)  # noqa: S603
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_runs_rows_and_durations_are_those_of_the_ledger(warehouse, scrape):
    lines = {"rows_in": 12, "rows_landed": 10, "rows_rejected": 2}
    with warehouse.writing() as connection:
        for number in range(20):
            ended = {"ended_at": now() - HOUR, "duration_seconds": float(number)}
            connection.execute(run(f"a{number}", "SUCCESS", **ended, **lines))
        connection.execute(run("b", "FAILURE", ended_at=now() - HOUR, duration_seconds=100.0))
        long_ago = {"ended_at": now() - 25 * HOUR, "duration_seconds": 9999.0}
        connection.execute(run("c", "FAILURE", **long_ago))
        connection.execute(run("d", "STARTED"))
    found = scrape()
    assert found["runs", "load", "SUCCESS"] == 20
    assert found["runs", "load", "FAILURE"] == 2
    assert found["runs", "load", "STARTED"] == 1
    assert [found["rows_total", "load", kind] for kind in ("in", "landed", "rejected")] == [
        *(240, 200, 40)
    ]
    assert [found["run_seconds", "load", text] for text in ("0.5", "0.95", "1")] == [10, 19, 100]


def test_the_inbox_has_a_depth_for_each_state_and_the_age_of_what_waits_longest(warehouse, scrape):
    taking = Inbox(warehouse, Clock())
    taking.take([NewDelivery("git", letter, None, b"{}", {}, 1) for letter in "abcd"])
    with warehouse.writing() as connection:
        for delivery_id, state, age in (("a", "dead", 9), ("b", "failed", 2), ("d", "done", 8)):
            connection.execute(
                update(work_items)
                .where(work_items.c.item_key == delivery_id)
                .values(state=state, enqueued_at=now() - age * HOUR)
            )
    found = scrape()
    assert {key[2]: n for key, n in found.items() if key[0] == "inbox_deliveries"} == {
        "dead": 1,
        "failed": 1,
        "received": 1,
    }
    assert found["inbox_oldest_seconds", "git"] == pytest.approx(7200, abs=60)


def test_mqtt_is_measured_where_it_has_a_source(settings, warehouse, instance):
    for source, parts in ((None, 0), ("demo", 1)):
        chosen = settings.model_copy(update={"mqtt_source": source})
        answer = Client(routes(parts_of(chosen, warehouse, instance, lambda: REGISTRY))).get(
            "/metrics"
        )
        found = values(answer.text)
        assert found["scrape_ok", "domains"] == 1
        assert [name for name, *_ in found].count("mqtt_waiting_messages") == parts


def test_alerts_and_how_late_assets_are_come_from_their_tables(warehouse, scrape):
    tower = {"window_hours": 24, "looked_at": now() - HOUR}
    with warehouse.writing() as connection:
        for alert, state in (("1", "delivered"), ("2", "pending"), ("3", "pending")):
            row = {"alert_id": alert, "channel": "mailto-1", "state": state}
            connection.execute(filled(operations_alert_deliveries, **row))
        late = {"asset": "finra/a", "last_landed_at": now() - 30 * HOUR, "hours_late": 5.0}
        connection.execute(filled(operations_control_tower, **tower, **late))
        connection.execute(filled(operations_control_tower, **tower, asset="finra/b"))
        connection.execute(filled(operations_control_tower, **tower, asset=""))
    found = scrape()
    assert found["alert_deliveries", "mailto-1", "pending"] == 2
    assert found["asset_landed_age_seconds", "finra/a"] == pytest.approx(30 * 3600, abs=60)
    assert found["asset_late_seconds", "finra/a"] == pytest.approx(6 * 3600, abs=60)
    assert found["asset_late_seconds", "finra/b"] == 0
    assert ("asset_landed_age_seconds", "finra/b") not in found
    assert ("asset_late_seconds", "") not in found


def test_requests_of_all_processes_to_a_source_are_counted_and_its_breaker_is_seen(
    settings, scrape
):
    key = HostKey("api.finra.org", "finra")
    for _ in range(2):  # two processes
        with closing(SqliteState(settings.state_path)) as state:
            tally = Tally(state, key)
            tally.add("200", is_retry=False)
            tally.add("503", is_retry=True)
            tally.flush()
    with closing(SqliteState(settings.state_path)) as state:
        breaker = Breaker(state, key, BreakerPolicy(failures=1), now=now)
        assert scrape()["source_breaker_open", "finra"] == 0
        breaker.failed("status 503")
    found = scrape()
    assert found["source_requests_total", "200", "finra"] == 2
    assert found["source_requests_total", "503", "finra"] == 2
    assert found["source_retries_total", "finra"] == 2
    assert found["source_breaker_open", "finra"] == 1


def sensor_state(name: str) -> InstigatorState:
    target = LoadableTargetOrigin(module_name="nowhere")
    repository = RemoteRepositoryOrigin(InProcessCodeLocationOrigin(target), "all")
    return InstigatorState(
        RemoteInstigatorOrigin(repository, name),
        InstigatorType.SENSOR,
        InstigatorStatus.RUNNING,
        SensorInstigatorData(min_interval=30),
    )


def test_queue_heartbeats_and_ticks_are_those_that_dagster_stored(instance, scrape):
    instance.create_run_for_job(
        dg.JobDefinition(name="j", graph_def=dg.GraphDefinition(name="j", node_defs=[])),
        status=dg.DagsterRunStatus.STARTED,
    )
    instance.add_daemon_heartbeat(DaemonHeartbeat(now().timestamp() - 90, "SENSOR", "x", None))
    state = sensor_state("events_on_webhook")
    instance.add_instigator_state(state)
    for age, status in ((7200, TickStatus.FAILURE), (600, TickStatus.SKIPPED)):
        instance.create_tick(
            TickData(
                state.instigator_origin_id,
                state.instigator_name,
                InstigatorType.SENSOR,
                status,
                now().timestamp() - age,
                selector_id=state.selector_id,
                error=SerializableErrorInfo("x", [], None)
                if status == TickStatus.FAILURE
                else None,
            )
        )
    found = scrape()
    assert found["queue_runs", "STARTED"] == 1
    assert found["queue_runs", "QUEUED"] == 0
    assert found["daemon_heartbeat_age_seconds", "SENSOR"] == pytest.approx(90, abs=60)
    name = ("sensor", "events_on_webhook")
    assert found["tick_age_seconds", *name] == pytest.approx(600, abs=60)
    assert found["tick_failures", *name] == 1


def test_the_host_and_the_process_are_measured_and_every_part_says_that_it_was_read(scrape):
    found = scrape()
    for name in ("host_cpu_seconds_total", "host_memory_bytes", "host_disk_bytes"):
        assert any(value > 0 for key, value in found.items() if key[0] == name)
    host = socket.gethostname()
    assert found["process_open_files", host] > 0
    assert found["host_disk_bytes", host, "free"] > 0
    parts = ("dagster", "database", "host", "programs", "queues", "sources")
    assert [found["scrape_ok", part] for part in parts] == [1] * len(parts)


def test_programs_releases_runs_and_queues_have_their_host_queue_and_priority(
    warehouse, instance, scrape
):
    for number in range(MAX_LABEL_VALUES + 50):
        host = f"host-{number:03}"
        row = heartbeat(host, "worker", now(), release=f"1.{number % 2}.0")
        record_heartbeat(warehouse, row)
    tags = {"domain": "finra", "dagster/priority": "3"}
    for run_id, status in (("a", Status.QUEUED), ("b", Status.STARTED)):
        instance.add_run(run_of(run_id, status, tags))
    found = scrape()
    hosts = {key[1] for key in found if key[0] == "program_silence_seconds"}
    assert len(hosts) == MAX_LABEL_VALUES + 1
    assert {"host-000", "other"} <= hosts
    assert [found["programs", release] for release in ("1.0.0", "1.1.0")] == [125, 125]
    assert found["host_runs", socket.gethostname()] == 1
    depth = {key[1:]: value for key, value in found.items() if key[0] == "queue_depth"}
    assert depth == {("3", "finra", "waiting"): 1, ("3", "finra", "running"): 1}
    assert found["queue_oldest_seconds", "finra"] >= 0


@pytest.mark.parametrize("error", [TransientError, DagsterPostgresException])
def test_an_unreadable_part_is_reported_and_hides_no_other(error, caplog):
    def broken():
        raise error("the database is gone")

    answer = Client(
        routes({"database": broken, "host": lambda: [gauge("one", "x", (), {(): 1})]})
    ).get("/metrics")
    found = values(answer.text)
    assert found["scrape_ok", "database"] == 0
    assert (found["scrape_ok", "host"], found["one",]) == (1, 1)
    assert "the metrics of database cannot be read: the database is gone" in caplog.text
    assert "gone" not in answer.text


def test_a_reading_is_repeated_for_five_seconds():
    reads: list[int] = []
    now = [0.0]

    def part():
        reads.append(1)
        return [gauge("one", "x", (), {(): len(reads)})]

    stored = StoredMetrics({"a": part}, monotonic=lambda: now[0])
    for at, count in ((0.0, 1), (4.9, 1), (5.0, 2)):
        now[0] = at
        assert next(iter(stored.collect())).samples[0].value == count


def test_labels_are_bounded_and_the_others_are_summed():
    many = {(f"{number:04}", "x"): 1.0 for number in range(MAX_LABEL_VALUES + 50)}
    [*kept, other] = counter("c", "x", ("name", "kind"), many).samples
    assert len(kept) == MAX_LABEL_VALUES
    assert (other.labels, other.value) == ({"name": "other", "kind": "x"}, 50)


def test_requests_are_counted_by_a_route_that_no_sender_can_invent():
    answering = Route("/hooks/{name}", lambda _: PlainTextResponse("x"))
    client = Client([*routes({}), answering], RequestCounter)
    client.get("/hooks/a-name-of-its-own")
    client.get("/a-path-of-its-own")
    text = client.get("/metrics").text
    found = values(text)
    assert found["gateway_requests_total", "GET", "hooks", "200"] >= 1
    assert found["gateway_requests_total", "GET", "other", "404"] >= 1
    assert found["gateway_request_seconds_count", "hooks"] >= 1
    assert "of-its-own" not in text


def test_a_request_for_no_path_is_counted_as_any_other():
    def count() -> float:
        samples = [sample for metric in REQUESTS.collect() for sample in metric.samples]
        wanted = {"route": "other", "method": "OPTIONS", "status": "400"}
        return sum(
            sample.value for sample in samples if sample.labels == wanted and "total" in sample.name
        )

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None: ...

    before = count()
    refusing = RequestCounter(PlainTextResponse("", 400))
    asyncio.run(refusing({"type": "http", "method": "OPTIONS", "path": "*"}, receive, send))
    assert count() == before + 1
