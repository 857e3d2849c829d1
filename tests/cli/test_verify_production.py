"""The command `verify --production`."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import psutil
import pytest
from sqlalchemy import insert, update

from orchestration_project.__main__ import main
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.environment import open_warehouse
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.services.access.keys import FIRST_KEY_OWNER, Keys
from orchestration_project.services.alerts.sending import SENT_TEST
from orchestration_project.services.gate import Register
from orchestration_project.services.gate.rules import Finding
from orchestration_project.services.ledger import Ledger
from orchestration_project.services.ledger.rules.entries import RunFacts
from orchestration_project.services.production import (
    CLEAN_UP_JOB,
    check_production,
    read_listeners,
)
from orchestration_project.services.production.rules import EXPECTED, UNKNOWN_HOST, Listener
from orchestration_project.settings import load_settings
from orchestration_project.tables.access import access_keys
from orchestration_project.tables.operations_deployment import operations_backups
from tests.prepared import Prepared
from tests.programs import free_port

SECRET = "Zm9vYmFyYmF6cXV4MTIzNDU2Nzg5MGFiY2RlZg"


@pytest.fixture(autouse=True)
def _settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))


def check_status_and_list_states(
    capsys: pytest.CaptureFixture[str], status: int
) -> Mapping[str, str]:
    """Run the command; return the state of each check."""
    capsys.readouterr()
    assert main(["verify", "--production", "--json"]) == status
    document = json.loads(capsys.readouterr().out)
    assert document["is_ready"] is (status == 0)
    return {check["name"]: check["state"] for check in document["checks"]}


def store_good_records(warehouse: Warehouse) -> None:
    """Store an admin key, a restored backup, a clean-up and a test message of today."""
    now = Clock().now()
    run_config = {"ops": {"clean_up": {"config": {"prune_run_logs": {"dry_run": False}}}}}
    backup = {
        "backup_id": "b",
        "location": "/b",
        "release": "1",
        "manifest_sha256": "0" * 64,
        "started_at": now,
        "ended_at": now,
        "verified_at": now,
        **dict.fromkeys(("database_bytes", "blob_count", "blob_bytes", "missing_count"), 0),
    }
    run = RunFacts("r", CLEAN_UP_JOB, "SUCCESS", now, now, now, now, config=run_config)
    with warehouse.writing() as connection:
        connection.execute(insert(operations_backups), backup)
    Ledger(warehouse, Clock()).record([run])
    sent = Finding("alerts", "passed", SENT_TEST, "taken by json-1", "", 0.1, now, "")
    Register(warehouse).keep([sent], run_id="")


@pytest.mark.slow
def test_a_new_installation_fails_and_names_what_to_do(capsys):
    assert main(["keys", "list"]) == 0
    found = check_status_and_list_states(capsys, 1)
    assert list(found) == list(EXPECTED)
    assert {name for name, state in found.items() if state == "failed"} == {
        *("tls", "data_profile", "admin", "database", "backup", "restore", "alerts"),
    }
    assert {name for name, state in found.items() if state == "unknown"} == {
        *("certificate", "bind", "alert_delivery", "clock"),
    }
    assert main(["verify", "--production"]) == 1
    shown = capsys.readouterr().out
    assert shown.splitlines()[0].split() == ["check", "state", "message"]
    assert "expected GATEWAY_AUTH=on, found GATEWAY_AUTH=on" in shown
    assert "admin: failed\n  what to do: run `orchestrate keys create --role admin" in shown


def test_without_tables_nothing_that_they_hold_is_ok_and_none_are_made(capsys):
    for _ in "twice":
        found = check_status_and_list_states(capsys, 1)
        assert found["migrations"] == "failed"
        stored = ("admin", "keys", "backup", "restore", "clean_up", "alert_delivery")
        assert {found[name] for name in stored} == {"unknown"}


def test_a_database_that_is_away_fails_and_its_password_is_not_shown(monkeypatch, capsys):
    url = f"postgresql://me:hunter2@127.0.0.1:{free_port()}/none"
    monkeypatch.setenv("DATABASE_URL", url)
    found = check_status_and_list_states(capsys, 1)
    assert found["database"] == "failed"
    assert {found[name] for name in ("migrations", "clock", "keys", "backup")} == {"unknown"}
    assert main(["verify", "--production"]) == 1
    assert "hunter2" not in "".join(capsys.readouterr())


def test_an_installation_as_the_page_says_has_no_finding(
    prepared: Prepared, tmp_path: Path, monkeypatch, capsys
):
    url = prepared.postgresql()
    settings = {
        "FINRA_SOURCE": "files",
        "FINRA_FILES_DIR": str(tmp_path),
        "LOG_FORMAT": "json",
        "DATABASE_URL": url,
        "DAGSTER_DATABASE_URL": url,
        "SESSION_SECRET": SECRET,
        "PUBLIC_URL": f"https://127.0.0.1:{free_port()}",
        "TRUSTED_PROXIES": "127.0.0.1",
        "ALERT_URLS": "json://127.0.0.1:9/hunter2",
        "DISK_HEADROOM_MIB": "0",
        "ARTIFACTS_CAPTURED_DAYS": "90",
        "WEBHOOK_BODY_DAYS": "90",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("DEMO_CLOCK_NOW", raising=False)
    assert main(["keys", "create", "--role", "admin", "--owner", "Ada"]) == 0
    with open_warehouse(load_settings()) as warehouse:
        store_good_records(warehouse)
    found = dict(check_status_and_list_states(capsys, 0))
    assert found.pop("disk") in ("ok", "warning")  # as full as this machine's
    unknown = {name: found.pop(name) for name in ("certificate", "bind")}
    assert set(unknown.values()) == {"unknown"}  # nothing is served
    assert set(found.values()) == {"ok"}, found


def test_the_first_key_and_an_old_one_are_found():
    settings, clock = load_settings(), Clock()
    with open_warehouse(settings) as warehouse:
        Keys(warehouse, clock).create_first(owner=FIRST_KEY_OWNER, lasts=timedelta(days=90))
        [check] = [check for check in check_production(settings, clock) if check.name == "keys"]
        assert (check.state, check.found[:20]) == ("warning", "the first key of `ui")
        with warehouse.writing() as connection:
            earlier = clock.now() - timedelta(days=366)
            connection.execute(update(access_keys).values(created_at=earlier))
    [check] = [check for check in check_production(settings, clock) if check.name == "keys"]
    assert check.state == "failed"


def test_a_gateway_on_all_interfaces_without_a_proxy_fails():
    listeners = [Listener("gateway", "0.0.0.0", 3000)]  # noqa: S104 - what is to be found
    checks = check_production(load_settings(), Clock(), lambda _: listeners)
    [check] = [check for check in checks if check.name == "bind"]
    assert (check.state, check.found) == ("failed", "gateway on 0.0.0.0:3000")


class Denied(psutil.Process):
    """A process of another user: its arguments can be read, but not its environment."""

    arguments: Sequence[str] = ("python", "gateway")

    def cmdline(self):
        return list(self.arguments)

    def environ(self):
        raise psutil.AccessDenied(self.pid)


def test_listeners_are_of_programs_of_this_dagster_home_alone(tmp_path: Path):
    program = (
        "import socket, sys; server = socket.create_server(('127.0.0.1', 0)); "
        "print(server.getsockname()[1], flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(  # noqa: S603 - our own
        [sys.executable, "-c", program, "gateway"],
        env={"DAGSTER_HOME": str(tmp_path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        assert read_listeners(tmp_path) == [Listener("gateway", "127.0.0.1", port)]
        assert read_listeners(tmp_path / "other") == []
        denied = Denied(process.pid)
        assert read_listeners(tmp_path, [denied]) == []  # any program may be named gateway
        denied.arguments = ["python", "-m", "orchestration_project", "gateway"]
        assert read_listeners(tmp_path, [denied]) == [Listener("gateway", UNKNOWN_HOST, 0)]
        process.communicate()


@pytest.mark.parametrize("option", ["--chain", "--balance", "--send-test", "--heads=x"])
def test_other_verifications_are_separate(option: str, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["verify", "--production", option])
    assert ended.value.code == 2
    assert "--production excludes" in capsys.readouterr().err
