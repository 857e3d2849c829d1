"""Each dependency as it is looked at, when it is ready and when it is really broken."""

import subprocess
from collections.abc import Callable
from datetime import timedelta
from email.utils import format_datetime
from pathlib import Path

import dagster as dg
import psutil
import pytest
from dagster import DagsterRunStatus as Status
from dagster._core.remote_origin import RemoteJobOrigin
from dagster._daemon.types import DaemonHeartbeat
from sqlalchemy import select

from orchestration_project.catalog import REGISTRY
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.dagster_private.daemon_state import read_daemon_state
from orchestration_project.engine.environment import open_unprepared_warehouse, open_warehouse
from orchestration_project.migrations import BASELINE_VERSION
from orchestration_project.services.gate import examine
from orchestration_project.services.gate.gate import RUNS_PER_PAGE, build_queue_probe
from orchestration_project.services.gate.rules import Finding
from orchestration_project.services.pauses import Pauses
from orchestration_project.services.probes import open_alerts, open_all_probes
from orchestration_project.settings import load_settings
from orchestration_project.tables.schema import METADATA
from tests.databases import store_version
from tests.faulty_server import FaultyServer, Reply, Request
from tests.programs import HANGING, PATIENCE_SECONDS, free_port, wait_for
from tests.receivers import http_receiver
from tests.resources.finra_server import WEEK, Finra, records
from tests.sensors.test_operations import add_sensor

SECRET = "hunter2"
Look = Callable[..., Finding]


@pytest.fixture
def instance(kept_instance: dg.DagsterInstance) -> dg.DagsterInstance:
    return kept_instance


@pytest.fixture
def look(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Look:
    """Looks at one dependency, under the settings that are given; the source is a folder."""
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("FINRA_SOURCE", "files")
    monkeypatch.setenv("FINRA_FILES_DIR", str(tmp_path))
    monkeypatch.delenv("DEMO_CLOCK_NOW", raising=False)

    def find_and_expect_no_secret(dependency: str, **settings: object) -> Finding:
        for name, value in settings.items():
            monkeypatch.setenv(name, str(value))
        probes = open_all_probes(
            REGISTRY,
            load_settings(),
            lambda: read_daemon_state(request.getfixturevalue("instance")),
        )
        (probe,) = (probe for probe in probes if probe.dependency == dependency)
        found = examine(probe, Clock(), "abc").finding
        assert SECRET not in repr(found)
        return found

    return find_and_expect_no_secret


def api(server: FaultyServer) -> dict[str, str]:
    """Return the settings of FINRA's API at ``server``, with a secret."""
    return {
        "FINRA_SOURCE": "api",
        "FINRA_API_URL": server.url,
        "FINRA_TOKEN_URL": f"{server.url}/token",
        "FINRA_CLIENT_ID": "somebody",
        "FINRA_CLIENT_SECRET": SECRET,
        "NO_PROXY": "127.0.0.1",
    }


def test_a_source_that_lists_its_partitions_is_ready_after_one_request(look: Look):
    weeks = {"weeklySummary": [("2025-06-02", "T1"), (WEEK, "T1"), (WEEK, "T2")]}
    with FaultyServer(Finra(records(1), weeks)) as server:
        settings = {"FINRA_SOURCE": "api", "FINRA_API_URL": server.url, "NO_PROXY": "127.0.0.1"}
        found = look("finra", DEMO_CLOCK_NOW="2025-12-02T15:00:00+00:00", **settings)
        assert len(server.requests) == 1
    assert (found.outcome, found.got) == ("passed", "it lists 2 partitions of the last 8 weeks")
    assert found.tried == f"asked {server.url} for its list of partitions"


def test_a_refused_client_is_reported_without_its_secret(look: Look):
    with FaultyServer(lambda _: Reply(401)) as server:
        found = look("finra", **api(server))
    assert found.outcome == "failed"
    assert found.got.startswith("FINRA refuses the client somebody with HTTP 401")
    assert found.remedy == "check FINRA_CLIENT_ID and FINRA_CLIENT_SECRET"


def test_a_missing_folder_is_reported(look: Look, tmp_path: Path):
    found = look("finra", FINRA_FILES_DIR=tmp_path / "nowhere")
    assert (found.outcome, "nowhere" in found.got, bool(found.remedy)) == ("failed", True, True)


@pytest.mark.slow
def test_a_database_is_ready_when_it_takes_a_row_of_which_nothing_stays(look: Look):
    found = look("database")
    assert found.outcome == "passed"
    again = look("database").got
    with open_warehouse(load_settings()) as warehouse:
        assert again.endswith(f"takes writes; tables of version {warehouse.version()}")
        assert found.got == f"{again}, made now, as it was empty"
        table = METADATA.tables["operations_readiness"]
        assert warehouse.frame(select(table), table).is_empty()


def test_an_unreachable_database_is_named_without_its_password(look: Look):
    found = look("database", DATABASE_URL=f"postgresql://me:{SECRET}@127.0.0.1:{free_port()}/x")
    assert found.outcome == "failed"
    assert found.got.startswith("the database did not do what was asked; expected a reachable")
    assert found.remedy.startswith("check that it runs")


@pytest.mark.slow
def test_tables_of_an_older_version_fail_the_probe_and_stay_as_they_are(look: Look):
    look("database")
    with open_warehouse(load_settings()) as warehouse, warehouse.writing() as connection:
        store_version(connection, "0085")
    with open_unprepared_warehouse(load_settings()) as warehouse:
        found = look("database")
        assert found.outcome == "failed"
        assert f"expected version {BASELINE_VERSION} or newer; found version 0085" in found.got
        assert "`orchestrate migrate`" in found.remedy
        assert warehouse.version() == "0085"


@pytest.mark.slow
def test_a_database_of_a_newer_version_is_reported(look: Look):
    look("database")
    with open_warehouse(load_settings()) as warehouse, warehouse.writing() as connection:
        version = "UPDATE orchestration_project_version SET version_num = '9999'"
        connection.exec_driver_sql(version)
    found = look("database")
    assert (found.outcome, "version 9999" in found.got) == ("failed", True)


def test_an_artifact_store_is_ready_when_it_gives_back_what_it_got_and_keeps_nothing(
    look: Look, tmp_path: Path
):
    assert look("artifacts").outcome == "passed"
    folder = tmp_path / "state" / "artifacts"
    assert [path for path in folder.rglob("*") if path.is_file()] == []


def test_an_artifact_folder_that_cannot_be_written_is_reported(look: Look, tmp_path: Path):
    (tmp_path / "taken").touch()  # where the folder should be
    found = look("artifacts", ARTIFACTS_URL=tmp_path / "taken")
    assert (found.outcome, found.got.startswith("cannot write the artifact")) == ("failed", True)
    assert "set ARTIFACTS_URL" in found.remedy


def test_a_disk_is_measured_against_the_headroom_wherever_we_write(look: Look, tmp_path: Path):
    (tmp_path / "artifacts").mkdir()
    settings = {
        "ARTIFACTS_URL": tmp_path / "artifacts",
        "DATABASE_URL": f"sqlite:///{tmp_path}/db/x.sqlite",
    }
    found = look("disk", DISK_HEADROOM_MIB=0, **settings)
    assert found.outcome == "passed"
    for folder in ("state", "db", "artifacts"):
        assert f"{tmp_path / folder}: " in found.got
    full = look("disk", DISK_HEADROOM_MIB=10**12)
    assert (full.outcome, full.got.startswith("a disk is nearly full")) == ("failed", True)
    assert f"{tmp_path / 'state'}: " in full.got


def test_a_state_dir_other_than_a_folder_is_reported(look: Look, tmp_path: Path):
    (tmp_path / "file").touch()
    found = look("disk", STATE_DIR=tmp_path / "file")
    assert (found.outcome, found.got.startswith("STATE_DIR cannot be used")) == ("failed", True)


def test_a_clock_is_not_compared_on_one_machine(look: Look):
    assert look("clock").outcome == "not_applicable"


def test_a_clock_is_compared_with_that_of_the_database(look: Look, postgres_url: str):
    found = look("clock", DATABASE_URL=postgres_url)
    assert found.outcome == "passed"
    assert found.got.endswith(" s to the database")


@pytest.mark.parametrize(
    ("hours", "outcome", "got"),
    [
        (0, "passed", "s to FINRA"),
        (None, "passed", "s to FINRA"),
        (1, "failed", "expected at most 10 s (CLOCK_SKEW_SECONDS)"),
    ],
)
def test_a_clock_is_compared_with_that_of_the_source(look: Look, hours, outcome, got):
    def answer(_: Request) -> Reply:
        date = format_datetime(Clock().now() + timedelta(hours=hours or 0), usegmt=True)
        if hours is None:
            date = date.replace("GMT", "-0000")  # a time of which the zone is not known
        return Reply(404, {"Date": date})

    with FaultyServer(answer) as server:
        found = look("clock", **api(server))
        assert len(server.requests) == 1
    assert (found.outcome, got in found.got) == (outcome, True)


@pytest.mark.parametrize(
    "reply",
    [
        Reply(503),
        Reply(200, {"Date": "Mon, 02 Mar 2020 15:00:00 GMT", "Age": "90"}),
        Reply(200, {"Date": "Mon, 02 Mar 9999999999999 15:00:00 GMT"}),
        Reply(200, {"Date": "Mon, 02 Mar 2020 15:00:00 +99999999999"}),
    ],
)
def test_a_source_without_a_time_is_named_and_blames_no_clock(look: Look, reply: Reply):
    with FaultyServer(lambda _: reply) as server:
        found = look("clock", **api(server))
        assert len(server.requests) == 1  # the source's own probe is the one that insists
    assert (found.outcome, found.got) == ("not_applicable", "no time was compared: FINRA")


def test_channels_of_alerts_are_looked_at_and_nothing_is_sent(look: Look):
    with http_receiver() as hook:
        found = look("alerts", ALERT_URLS=f"{hook.url(SECRET)},discord://{SECRET}/{SECRET}")
        assert (found.outcome, found.got) == (
            "passed",
            "json-1 takes connections, discord-2 is well formed",
        )
        found = look("alerts", ALERT_URLS=f"{hook.url(SECRET)},nosuch://{SECRET}")
        assert hook.received == []
    assert (found.outcome, "entry 2 of ALERT_URLS cannot be used" in found.got) == ("failed", True)
    assert "json" not in found.got  # that one takes connections


def test_a_channel_at_a_closed_port_is_named_without_its_address(look: Look):
    found = look("alerts", ALERT_URLS=f"json://127.0.0.1:{free_port()}/{SECRET}")
    assert (found.outcome, found.got) == (
        "failed",
        "alerts would not reach every channel; found json-1 accepts no connection: Connection "
        "refused",
    )


def test_without_channels_there_is_nothing_to_look_at(look: Look):
    assert look("alerts").outcome == "not_applicable"


def add_heartbeats(instance: dg.DagsterInstance, seconds_ago: float) -> None:
    for name in instance.get_required_daemon_types():
        at = Clock().now().timestamp() - seconds_ago
        instance.add_daemon_heartbeat(DaemonHeartbeat(at, name, "one", errors=[]))


def test_a_daemon_is_missed_once_something_waits_for_it(look: Look, instance):
    found = look("daemon")
    assert (found.outcome, "(no heartbeat of any part)" in found.got) == ("not_applicable", True)
    add_sensor(instance, "on_arrival")
    found = look("daemon")
    assert (found.outcome, found.got.endswith("waiting for it: on_arrival")) == ("failed", True)
    add_heartbeats(instance, seconds_ago=10)
    assert look("daemon").outcome == "passed"
    add_heartbeats(instance, seconds_ago=200)
    found = look("daemon")
    assert (found.outcome, "heartbeat 20" in found.got) == ("failed", True)


def queue(instance: dg.DagsterInstance, hours_on: float) -> Finding:
    """Look at the queue as it will be in so many hours, if nothing happens until then."""
    later = Clock(Clock().now() + timedelta(hours=hours_on))
    return examine(build_queue_probe(lambda: instance, later), Clock(), "abc").finding


def test_a_queue_is_stuck_when_a_run_waits_and_no_other_starts_or_ends(instance):
    assert queue(instance, 2).outcome == "passed"
    origin = RemoteJobOrigin(add_sensor(instance, "s").origin.repository_origin, "shop_orders")
    waits = dg.DagsterRun("shop_orders", status=Status.QUEUED, remote_job_origin=origin)
    instance.add_run(waits)
    assert queue(instance, 0.5).outcome == "passed"
    found = queue(instance, 2)
    assert (found.outcome, "found 1 runs wait, the first since" in found.got) == ("failed", True)
    instance.add_run(dg.DagsterRun("shop_orders", status=Status.STARTED))
    assert queue(instance, 0.9).outcome == "passed"
    assert queue(instance, 2).outcome == "failed"  # it has hung since it started


def test_a_queue_of_paused_runs_is_not_stuck_until_they_are_resumed(instance, demo_settings):
    settings = demo_settings
    [stuck] = [
        condition
        for condition in open_alerts(settings).conditions(instance)
        if condition.kind == "queue_stuck"
    ]
    origin = RemoteJobOrigin(add_sensor(instance, "s").origin.repository_origin, "shop_orders")
    waits = dg.DagsterRun(
        "shop_orders",
        status=Status.QUEUED,
        remote_job_origin=origin,
        tags={"domain": "finra"},
    )
    instance.run_storage.add_historical_run(waits, Clock().now() - timedelta(hours=9))
    with open_warehouse(settings) as warehouse:
        pauses = Pauses(warehouse)
        outcomes = [examine(stuck.probe, Clock(), "").finding.outcome]
        pauses.pause(REGISTRY, "finra", "maintenance", by="ada")
        paused = examine(stuck.probe, Clock(), "").finding
        pauses.resume("finra", by="ada")
        outcomes.append(examine(stuck.probe, Clock(), "").finding.outcome)
    assert outcomes == ["failed", "failed"]
    assert (paused.outcome, paused.got) == (
        "passed",
        "a pause holds 1 runs that have waited for long",
    )


def test_a_run_behind_many_paused_ones_is_found_to_be_stuck(instance):
    origin = RemoteJobOrigin(add_sensor(instance, "s").origin.repository_origin, "shop_orders")
    for number in range(RUNS_PER_PAGE + 1):
        is_held = number < RUNS_PER_PAGE
        waits = dg.DagsterRun(
            "shop_orders",
            status=Status.QUEUED,
            remote_job_origin=origin,
            tags={"held": "yes"} if is_held else {},
        )
        instance.run_storage.add_historical_run(waits, Clock().now() - timedelta(hours=9))

    def unheld(runs):
        return [run for run in runs if "held" not in run.tags]

    probe = build_queue_probe(lambda: instance, Clock(), unheld)
    assert examine(probe, Clock(), "").finding.outcome == "failed"


@pytest.mark.slow
def test_a_queue_that_moves_is_not_stuck_however_long_it_is(instance):
    origin = RemoteJobOrigin(add_sensor(instance, "s").origin.repository_origin, "shop_orders")
    now = Clock().now()
    with dg.instance_for_test() as other:
        waits = dg.DagsterRun("a", status=Status.QUEUED, remote_job_origin=origin)
        other.run_storage.add_historical_run(waits, now - timedelta(hours=9))
        assert queue(other, 0).outcome == "failed"
        other.add_run(dg.DagsterRun("b", status=Status.SUCCESS))
        assert queue(other, 0).got == "runs wait, and others start or end"


def test_a_code_server_is_looked_for_while_a_ui_runs_and_missed_if_it_does_not_answer(
    look: Look, tmp_path: Path
):
    home = tmp_path / "state" / "dagster"
    home.mkdir(parents=True)
    assert look("code_server").outcome == "not_applicable"
    server = f"{{host: 127.0.0.1, port: {free_port()}, location_name: x}}"
    (home / "workspace.yaml").write_text(f"load_from: [grpc_server: {server}]")
    sleeper = subprocess.Popen([*HANGING, "ui"])  # noqa: S603 - our own program
    try:
        wait_for(lambda: "ui" in psutil.Process(sleeper.pid).cmdline(), PATIENCE_SECONDS)
        (home / "ui.lock").write_text(str(sleeper.pid))
        found = look("code_server")
    finally:
        sleeper.kill()
        sleeper.wait()
    assert (found.outcome, found.got.startswith("the code server does not answer")) == (
        "failed",
        True,
    )
    assert look("code_server").outcome == "not_applicable"  # its process is gone
