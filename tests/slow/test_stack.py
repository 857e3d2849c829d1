"""`stack` for real: a weekly load by a worker of Celery, over TLS, seen by the API."""

import http.client
import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import time
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

import psutil
import psycopg
import pytest
from amqp.exceptions import AccessRefused
from kombu.connection import Connection
from psycopg import sql

from orchestration_project.cli.stack_services import (
    OPTIONAL,
    TOOLS,
    broker_url,
    data_folder,
    database_url,
    find_program,
    installed_services,
)
from orchestration_project.settings.deployment import STACK_PORTS
from tests import programs
from tests.programs import free_port, wait_for

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not all(map(find_program, TOOLS)), reason="programs of the stack are missing"
    ),
]

HAS_BROWSER = bool(shutil.which("chromium") and shutil.which("certutil"))

JOB, PARTITION = "finra_otc_weekly", "T1|2026-02-02"

LAUNCH = f"""mutation {{ launchRun(executionParams: {{
  selector: {{repositoryLocationName: "orchestration_project.definitions",
    repositoryName: "__repository__", jobName: "{JOB}"}},
  executionMetadata: {{tags: [{{key: "dagster/partition", value: "{PARTITION}"}}]}},
  runConfigData: {{}} }})
  {{ __typename ... on LaunchRunSuccess {{ run {{ runId }} }} ... on PythonError {{ message }} }}
}}"""


class Stack:
    """A stack, started again over the same state."""

    def __init__(self, folder):
        self.folder, self.state_dir = folder, folder / "state"
        self.ports = {name: free_port() for name in STACK_PORTS}
        self.key = ""

    def start(self):
        self.log = self.folder / "stack.log"
        self.log.write_text("")
        ports = ",".join(f"{name}={port}" for name, port in self.ports.items())
        self.process = programs.start_into(
            self.log, self.state_dir, "orchestration_project", "stack", STACK_PORTS=ports
        )
        wait_for(lambda: "Dagster UI:" in self.text or self.process.poll() is not None, 300)
        if self.process.poll() is not None:
            raise RuntimeError(self.text)
        self.authority = re.findall(r"Certificate to trust: (.*)", self.text)[0]

    @property
    def text(self):
        return self.log.read_text()

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=120)

    def secret(self, name):
        return (self.state_dir / "stack" / "secrets" / name).read_text()

    def ask(self, method, path, body=None, **headers):
        """Ask through the proxy, whose certificate is verified."""
        context = ssl.create_default_context(cafile=self.authority)
        connection = http.client.HTTPSConnection(
            "localhost", self.ports["https"], timeout=60, context=context
        )
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        text = response.read().decode()
        connection.close()
        return response, text

    def graphql(self, query):
        given = {"X-API-Key": self.key, "Content-Type": "application/json"}
        response, text = self.ask("POST", "/graphql", json.dumps({"query": query}), **given)
        if response.status != 200:
            raise RuntimeError(text)
        return json.loads(text)["data"]

    def load(self):
        """Launch the weekly load of a partition, wait for its success, and return the run."""
        run = self.graphql(LAUNCH)["launchRun"]["run"]["runId"]
        query = f'{{runOrError(runId: "{run}") {{... on Run {{status tags {{key value}}}}}}}}'
        wait_for(lambda: self.graphql(query)["runOrError"]["status"] == "SUCCESS", 240)
        return self.graphql(query)["runOrError"] | {"runId": run}

    def status(self, run):
        query = f'{{runOrError(runId: "{run}") {{... on Run {{status}}}}}}'
        return self.graphql(query)["runOrError"]["status"]

    def runs(self):
        found = self.graphql("{runsOrError {... on Runs {results {runId}}}}")["runsOrError"]
        return {result["runId"] for result in found["results"]}


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    stack = Stack(tmp_path_factory.mktemp("stack"))
    try:
        stack.start()
        stack.key = wait_for(lambda: programs.key_in(stack.text) if "op_" in stack.text else "")
        yield stack
    finally:
        with suppress(ProcessLookupError):
            stack.end()
        programs.kill_all_of(stack.state_dir)
        shutil.rmtree(data_folder(stack.state_dir / "stack" / "postgresql"), ignore_errors=True)


def test_a_weekly_load_by_a_worker_is_seen_over_tls(stack, record_property):
    began = time.monotonic()
    run = stack.load()
    record_property("load_seconds", round(time.monotonic() - began, 1))
    tags = {tag["key"]: tag["value"] for tag in run["tags"]}
    assert "dagster-celery/task_id" in tags
    logs = [stack.state_dir / "logs" / f"worker-{number}.log" for number in (1, 2)]
    assert any(run["runId"] in log.read_text() for log in logs)
    url = database_url(stack.ports["postgresql"], stack.secret("postgresql"), "pipelines")
    with psycopg.connect(url) as connection:
        [(rows,)] = connection.execute("SELECT count(*) FROM finra_otc_weekly")
    assert rows > 0


@pytest.mark.skipif(not HAS_BROWSER, reason="chromium or certutil is not installed")
def test_a_browser_that_trusts_the_authority_sees_the_load_by_a_worker_succeed(stack, tmp_path):
    from playwright.sync_api import sync_playwright

    folder = Path(os.environ.get("STACK_SCREENSHOTS") or tmp_path)  # noqa: TID251 - of the test's
    frames: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox"],
            env={"PATH": os.defpath, "HOME": str(trusting_home(tmp_path, stack.authority))},
        )
        url = f"https://localhost:{stack.ports['https']}"
        context = browser.new_context(base_url=url, viewport={"width": 1280, "height": 640})
        page = context.new_page()
        page.set_default_timeout(240_000)
        page.on(
            "websocket", lambda it: it.on("framereceived", lambda each: frames.append(str(each)))
        )
        answer = page.goto("/login?next=/runs")
        assert answer is not None
        security = answer.security_details()
        assert security is not None
        assert "Caddy Local Authority" in str(security.get("issuer"))
        page.get_by_label("Key").fill(stack.key)
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url("**/runs")
        run = stack.graphql(LAUNCH)["launchRun"]["run"]["runId"]
        page.goto(f"/runs/{run}")
        page.get_by_text("Success", exact=True).first.wait_for()
        page.get_by_placeholder("Filter…").fill("celery")
        page.get_by_text("Celery Queue").wait_for()
        page.get_by_text("finra", exact=True).first.wait_for()
        page.screenshot(path=folder / "stack-run.png")
        browser.close()
    assert any("RunSuccessEvent" in frame for frame in frames)


def trusting_home(folder: Path, authority: str) -> Path:
    """Return a home folder whose browser trusts ``authority`` besides the public ones."""
    database = folder / "home" / ".pki" / "nssdb"
    database.mkdir(parents=True)
    certutil = ["certutil", "-d", f"sql:{database}"]
    trust = ["-A", "-t", "C,,", "-n", "stack", "-i", authority]
    for arguments in (["-N", "--empty-password"], trust):
        subprocess.run([*certutil, *arguments], check=True, capture_output=True)  # noqa: S603 - Debian's
    return folder / "home"


def test_answers_have_security_headers_and_plain_http_is_redirected(stack):
    response, _ = stack.ask("GET", "/login")
    assert response.status == 200
    assert response.headers["Strict-Transport-Security"].startswith("max-age=")
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Server"] is None
    assert stack.ask("GET", "/metrics", **{"X-API-Key": stack.key})[0].status == 404
    plain = http.client.HTTPConnection("localhost", stack.ports["http"], timeout=20)
    plain.request("GET", "/login")
    redirect = plain.getresponse()
    plain.close()
    assert (redirect.status, redirect.headers["Location"]) == (
        301,
        f"https://localhost:{stack.ports['https']}/login",
    )


def requested(stack, service, path):
    """Return the JSON of an answer of a service; None: it does not answer yet."""
    connection = http.client.HTTPConnection("127.0.0.1", stack.ports[service], timeout=20)
    with suppress(OSError), closing(connection):
        connection.request("GET", path)
        answer = connection.getresponse()
        return json.load(answer) if answer.status == 200 else None


@pytest.mark.parametrize("service", ["prometheus", "victoriametrics"])
def test_prometheus_scrapes_gateway_and_exporters_and_writes_to_the_long_store(stack, service):
    found = installed_services()
    if service == "victoriametrics" and service not in found:
        assert "VictoriaMetrics: not started" in stack.text
        return
    jobs = {"orchestration", *(OPTIONAL[name].job for name in found)} - {""}

    def series(query):
        answer = requested(stack, service, f"/api/v1/query?query={query}")
        return answer["data"]["result"] if answer else []

    wait_for(
        lambda: (
            {e["metric"]["job"]: e["value"][1] for e in series("up")} == dict.fromkeys(jobs, "1")
        ),
        180,
    )
    names = {"postgres_exporter": "pg_up", "mqtt_exporter": "mosquitto_clients_connected"}
    for name in names.keys() & set(found):
        [one] = wait_for(lambda query=names[name]: series(query), 120)
        assert float(one["value"][1]) >= 1


@pytest.mark.skipif(
    "alertmanager" not in installed_services(), reason="Alertmanager is not installed"
)
def test_prometheus_knows_alertmanager_whose_alerts_are_entries(stack):
    known = wait_for(lambda: requested(stack, "prometheus", "/api/v1/alertmanagers"), 60)
    [active] = known["data"]["activeAlertmanagers"]
    assert f":{stack.ports['alertmanager']}/" in active["url"]
    labels = {"alertname": "Trial", "severity": "warning"}
    alert = {"labels": labels, "annotations": {"summary": "a trial"}}

    def send(**more):
        body = json.dumps([{**alert, **more}])
        connection = http.client.HTTPConnection("127.0.0.1", stack.ports["alertmanager"])
        with closing(connection):
            connection.request("POST", "/api/v2/alerts", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
        if answer.status != 200:
            raise RuntimeError(answer.reason)

    def titles():
        _, text = stack.ask("GET", "/api/v1/attention?kind=alert", **{"X-API-Key": stack.key})
        return [entry["title"] for entry in json.loads(text)["entries"]]

    send()
    wait_for(lambda: titles().count("a trial") == 1, 60)
    send(endsAt="2026-01-01T00:00:00Z")
    wait_for(lambda: "a trial" not in titles(), 120)


def test_a_backup_of_the_stack_has_both_databases_and_is_restored_with_all_rows(stack, tmp_path):
    url = partial(database_url, stack.ports["postgresql"], stack.secret("postgresql"))
    place = f"--to={tmp_path / 'backup'}"
    status, _, refusal = programs.run(stack.state_dir, "orchestration_project", "backup", place)
    assert status == 1
    file = stack.state_dir / "stack" / "settings.env"
    assert f"orchestrate --env-file {file} backup" in refusal
    assert not (tmp_path / "backup").exists()
    command = ("orchestration_project", "--env-file", str(file), "backup", place)
    status, said, error = programs.run(stack.state_dir, *command)
    assert status == 0, said + error
    restored = {"DATABASE_URL": "restored", "DAGSTER_DATABASE_URL": "restored_dagster"}
    with psycopg.connect(url("postgres"), autocommit=True) as connection:
        for name in restored.values():
            connection.execute(f"CREATE DATABASE {name} ENCODING 'UTF8'".encode())
    origin = f"--from={tmp_path / 'backup'}"
    status, said, error = programs.run(
        tmp_path / "restored",
        *("orchestration_project", "restore", origin, "--check"),
        **{name: url(database) for name, database in restored.items()},
    )
    assert status == 0, said + error

    def count(database, table):
        with psycopg.connect(url(database)) as connection:
            query = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))
            return connection.execute(query).fetchone()

    assert count("restored", "access_keys") == count("pipelines", "access_keys")
    assert count("restored", "finra_otc_weekly") == count("pipelines", "finra_otc_weekly")
    assert count("restored_dagster", "runs") == count("dagster", "runs")


def test_every_service_listens_on_the_loopback_address_alone(stack):
    absent = OPTIONAL.keys() - {*installed_services()}
    ports = {port for name, port in stack.ports.items() if name not in absent}
    opened = [
        connection.laddr
        for connection in psutil.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN and connection.laddr
    ]
    found = {socket.port: socket.ip for socket in opened if socket.port in ports}
    assert found == dict.fromkeys(ports, "127.0.0.1")


def test_no_service_knows_a_default_password(stack):
    port = stack.ports["rabbitmq"]
    url = broker_url(port, stack.secret("rabbitmq"))
    with Connection(url) as connection:
        connection.connect()
    guest = url.replace(f"orchestration:{stack.secret('rabbitmq')}", "guest:guest")
    with Connection(guest) as connection, pytest.raises(AccessRefused):
        connection.connect()
    for password in ("", "postgres", "orchestration"):
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(database_url(stack.ports["postgresql"], password, "pipelines"))


def test_killed_workers_are_restarted_and_their_run_is_retried(stack, record_property):
    run = stack.graphql(LAUNCH.replace(PARTITION, "T1|2026-01-26"))["launchRun"]["run"]["runId"]
    wait_for(lambda: stack.status(run) == "STARTED", 120)
    for process in psutil.Process(stack.process.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # one may have ended
            if {"worker-1", "worker-2"} & {*process.cmdline()}:
                process.kill()
    began = time.monotonic()
    wait_for(lambda: stack.status(run) == "FAILURE", 30)
    query = f'{{runsOrError(filter: {{tags: [{{key: "dagster/parent_run_id", value: "{run}"}}]}})'
    query += " {... on Runs {results {runId}}}}"
    retries = wait_for(lambda: stack.graphql(query)["runsOrError"]["results"], 30)
    seconds = time.monotonic() - began
    record_property("retried_after_seconds", round(seconds, 1))
    assert seconds < 30
    wait_for(lambda: stack.status(retries[0]["runId"]) == "SUCCESS", 240)
    assert stack.process.poll() is None
    for name in ("worker-1", "worker-2"):
        assert f"{name} ended by itself with status -9; it is restarted in 1 s" in stack.text


def test_another_password_of_the_database_ends_the_start_at_once_with_what_to_do(stack):
    assert stack.end() == 0, stack.text
    secret = stack.state_dir / "stack" / "secrets" / "postgresql"
    before = secret.read_text()
    secret.write_text("another")
    try:
        began = time.monotonic()
        ports = ",".join(f"{name}={port}" for name, port in stack.ports.items())
        command = ("orchestration_project", "stack")
        status, _, error = programs.run(stack.state_dir, *command, STACK_PORTS=ports)
        assert status == 1
        assert "the PostgreSQL of the stack refuses the stack's login" in error
        assert "password authentication failed" in error
        assert time.monotonic() - began < 60
    finally:
        secret.write_text(before)
        stack.start()


def test_it_stops_cleanly_and_starts_again_over_its_state(stack):
    before = stack.runs() or {stack.load()["runId"]}
    assert stack.end() == 0, stack.text
    wait_for(lambda: not programs.processes_of(stack.state_dir), 60)
    secrets = {name: stack.secret(name) for name in ("postgresql", "rabbitmq", "metrics_key")}
    for log in (stack.state_dir / "logs").glob("*.log"):
        assert not any(secret in log.read_text(errors="replace") for secret in secrets.values())
    stack.start()
    assert before <= stack.runs()
    assert {name: stack.secret(name) for name in secrets} == secrets
    assert "op_" not in stack.text  # the key of an admin is made once
