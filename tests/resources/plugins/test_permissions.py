"""Each permission: a plugin that has it, and one that lacks it; secrets stay with the host."""

import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import zstandard
from sqlalchemy import MetaData, select

from orchestration_project.domains.plugins.judging import (
    RUNS_OF_VIOLATIONS,
    VIOLATIONS_TO_DISABLE,
)
from orchestration_project.domains.plugins.tables import plugins_calls, plugins_violations
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import ConfigurationError, ContractError
from orchestration_project.tables.spine import outbox
from tests.faulty_server import FaultyServer, Reply, Request
from tests.resources.plugins.plugin_runner import PluginRunner, body

SECRET = "planted-secret-of-a-plugin"
_MINUTE = timedelta(minutes=1)
ALL: dict[str, Any] = {
    "tables": ["items"],
    "topics": ["plugins/rss/new"],
    "pages": ["markdown"],
    "reads": [{"name": "own", "table": "plugins", "columns": ["id"], "filters": ["state"]}],
}
CALLS = {
    "tables": 'run.emit("items", [("1", {"title": "x"})])',
    "topics": 'run.publish("plugins/rss/new", "1", {})',
    "pages": 'run.page("markdown", "x")',
    "reads": 'run.read("own")',
}


@pytest.fixture
def server() -> Any:
    """A host that answers with what it was sent."""

    def echo(request: Request) -> Reply:
        echo = {"target": request.target, "headers": request.headers, "body": request.body.decode()}
        headers = {"Content-Type": "application/json", "X-Echo": request.target}
        return Reply(200, headers, json.dumps(echo).encode())

    with FaultyServer(echo) as opened:
        yield opened


def host_of(server: FaultyServer) -> str:
    """Return host and port."""
    return server.url.removeprefix("http://").rstrip("/")


@pytest.mark.slow_after_first
@pytest.mark.parametrize("permission", list(ALL))
def test_a_granted_call_is_made_and_another_is_a_violation(plugins: PluginRunner, permission: str):
    plugins.add(body(CALLS[permission]), permissions=ALL)
    plugins.run()
    lacking = {name: value for name, value in ALL.items() if name != permission}
    plugins.add(
        body(f"try:\n    {CALLS[permission]}\nexcept RefusedError:\n    pass"),
        permissions=ALL,
        granted=lacking,
    )
    with pytest.raises(ContractError, match="nothing is loaded"):
        plugins.run()
    assert plugins.violations() == [permission]
    assert [verdict for *_, verdict in plugins.calls()] == ["allowed", "refused"]
    assert plugins.stored().state == "enabled"


def test_three_violations_disable_the_plugin(plugins: PluginRunner):
    plugins.add(body(CALLS["topics"]), permissions=ALL, granted={})
    for state in ("enabled", "enabled", "disabled"):
        with pytest.raises(ContractError):
            plugins.run()
        assert plugins.stored().state == state
    assert plugins.stored().reason == "3 violations in its last 20 runs: topics"
    with pytest.raises(ConfigurationError, match="3 violations"):
        plugins.run()


@pytest.mark.slow
def test_requests_between_runs_do_not_hide_violations(plugins: PluginRunner):
    code = f"if run.endpoint:\n    run.answer(1)\nelse:\n    {CALLS['topics']}"
    asked = {"endpoints": [{"name": "count"}]}
    plugins.add(body(code), permissions=ALL | asked, granted=asked)
    for _ in range(VIOLATIONS_TO_DISABLE):
        for _ in range(RUNS_OF_VIOLATIONS // 2):
            plugins.call("count")
        with pytest.raises(ContractError):
            plugins.run()
    assert plugins.stored().state == "disabled"


def everything_below(folder: Path) -> bytes:
    """Return the bytes of all files, those that are compressed also as they were before."""
    found: list[bytes] = []
    for file in folder.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            found.append(content)
            if file.suffix == ".zst":
                found.append(zstandard.ZstdDecompressor().decompress(content))
    return b"\n".join(found)


def dump_of(warehouse: Warehouse) -> str:
    """Return each value of each table of the database."""
    with warehouse.reading() as connection:
        tables = MetaData()
        tables.reflect(connection)
        rows = [
            connection.execute(select(sorted_table)).all() for sorted_table in tables.sorted_tables
        ]
    return repr(rows)


def runs_of(rows: Sequence[Any]) -> list[str]:
    """Return the runs that rows are of, in their order."""
    return sorted({row.run_id for row in rows}, key=lambda run: int(run.removeprefix("run-")))


@pytest.fixture
def plugin_runner(plugins: PluginRunner, warehouse: Warehouse) -> PluginRunner:
    """Plugins in an empty database of each kind."""
    return replace(plugins, warehouse=warehouse)


@pytest.mark.slow
def test_old_calls_go_but_those_of_the_latest_runs(
    plugin_runner: PluginRunner, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PLUGINS_CALLS_DAYS", "30")
    plugin_runner.add(body(CALLS["topics"]), permissions=ALL, granted={})
    with pytest.raises(ContractError):
        plugin_runner.run()
    plugin_runner.add(body(CALLS["pages"]), permissions=ALL)
    for _ in range(RUNS_OF_VIOLATIONS - 1):
        plugin_runner.clock.at += timedelta(minutes=1)
        plugin_runner.run()
    plugin_runner.clock.at += timedelta(days=29)
    plugin_runner.run()
    assert runs_of(plugin_runner.rows(plugins_violations)) == ["run-1"]  # not old yet
    plugin_runner.clock.at += timedelta(days=2)
    plugin_runner.run()
    kept = [f"run-{number}" for number in range(3, RUNS_OF_VIOLATIONS + 3)]
    assert runs_of(plugin_runner.rows(plugins_calls)) == kept
    assert not plugin_runner.violations()


@pytest.mark.slow
def test_a_granted_host_is_requested_and_a_secret_stays_with_the_host(
    plugin_runner: PluginRunner, server: FaultyServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PLUGIN_SECRET_TOKEN", SECRET)
    code = f"""from base64 import b64encode
read = run._lines.readline
pipe = []
run._lines = type("Pipe", (), {{"readline": lambda self: pipe.append(read()) or pipe[-1]}})()
answer = run.fetch("{server.url}/a?key={{{{secret:TOKEN}}}}&b=1",
    headers={{"Authorization": "Bearer {{{{secret:TOKEN}}}}"}})
run.log(answer.text)
print(answer.text)
run.page("markdown", answer.text)
run.publish("plugins/rss/new", "1", {{"title": answer.text}})
run.emit("items", [("1", {{"title": answer.text}}), ("2", {{"title": repr(answer.headers)}})])
run.emit("items", [("pipe", {{"title": b64encode(b"".join(pipe)).decode()}})])"""
    permissions = {
        "hosts": [{"host": host_of(server), "scheme": "http"}],
        "secrets": [{"name": "TOKEN", "host": host_of(server)}],
        "tables": ["items"],
        "topics": ["plugins/rss/new"],
        "pages": ["markdown"],
    }
    plugin_runner.add(body(code), permissions=permissions)
    pages = plugin_runner.run().page_texts
    [request] = server.requests
    assert request.headers["authorization"] == f"Bearer {SECRET}"
    assert request.target == f"/a?key={SECRET}&b=1"
    assert ("fetch", f"{server.url.rstrip('/')}/a", "allowed") in plugin_runner.calls()
    payloads = plugin_runner.payloads()
    assert "Bearer ***" in payloads["1"]
    assert "key=***" in payloads["2"]
    pipe = b64decode(json.loads(payloads["pipe"])["title"])
    files = everything_below(plugin_runner.tmp_path)
    assert b"Bearer ***" in pipe
    assert b"Bearer ***" in files  # the capture of what it emitted
    assert "Bearer ***" in dump_of(plugin_runner.warehouse)
    for kept in (
        pipe,
        files,
        dump_of(plugin_runner.warehouse).encode(),
        repr([plugin_runner.log, pages]).encode(),
    ):
        assert SECRET.encode() not in kept
        assert b64encode(SECRET.encode()) not in kept


def test_an_answer_that_escapes_a_secret_repeats_none_of_it(
    plugins: PluginRunner, server: FaultyServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PLUGIN_SECRET_TOKEN", 'planted"secret\\of/a+plugin')
    code = f"""answer = run.fetch("{server.url}/a?key={{{{secret:TOKEN}}}}",
    headers={{"Authorization": "Bearer {{{{secret:TOKEN}}}}"}})
run.emit("items", [("1", {{"title": answer.text}})])"""
    permissions = {
        "hosts": [{"host": host_of(server), "scheme": "http"}],
        "secrets": [{"name": "TOKEN", "host": host_of(server)}],
        "tables": ["items"],
    }
    plugins.add(body(code), permissions=permissions)
    plugins.run()
    assert "planted" in server.requests[0].headers["authorization"]
    payload = plugins.payloads()["1"]
    assert "Bearer ***" in payload
    assert "key=***" in payload
    assert "planted" not in payload


ECHOES: dict[str, Callable[[bytes], bytes]] = {
    "hex": lambda secret: secret.hex().encode(),
    "base64": b64encode,
    "Basic": lambda secret: b64encode(b"user:" + secret),
    "reversed": lambda secret: secret[::-1],
    "upper case": bytes.upper,
}


@pytest.fixture
def asks_with_secret(plugins: PluginRunner, monkeypatch: pytest.MonkeyPatch):
    """Return what adds a plugin that sends a secret to a server, and loads the answer."""
    monkeypatch.setenv("PLUGIN_SECRET_TOKEN", SECRET)

    def add(server: FaultyServer) -> None:
        code = f"""try:
    answer = run.fetch("{server.url}", headers={{"X-Key": "{{{{secret:TOKEN}}}}"}})
    title = answer.text + repr(answer.headers)
except FailedError as error:
    title = "failed: " + str(error)
run.emit("items", [("1", {{"title": title}})])"""
        permissions = {
            "hosts": [{"host": host_of(server), "scheme": "http"}],
            "secrets": [{"name": "TOKEN", "host": host_of(server)}],
            "tables": ["items"],
        }
        plugins.add(body(code), permissions=permissions)

    return add


@pytest.mark.slow_after_first
@pytest.mark.parametrize("encoding", ECHOES)
def test_an_answer_with_an_encoded_secret_is_masked(
    plugins: PluginRunner, asks_with_secret: Callable[[FaultyServer], None], encoding: str
):
    def echo(request: Request) -> Reply:
        encoded = ECHOES[encoding](request.headers["x-key"].encode())
        return Reply(200, {"X-Echo": encoded.decode()}, b"[" + encoded + b"]")

    with FaultyServer(echo) as server:
        asks_with_secret(server)
        plugins.run()
    payload = plugins.payloads()["1"]
    assert payload.count("***") == 2
    encoded = ECHOES[encoding](SECRET.encode()).decode()
    assert not any(encoded[start : start + 8] in payload for start in range(8, len(encoded) - 8))


@pytest.mark.parametrize(
    ("status", "media_type"), [(206, "text/plain"), (200, "multipart/byteranges; boundary=x")]
)
def test_a_part_of_a_body_is_no_answer_to_a_request_with_a_secret(
    plugins: PluginRunner,
    asks_with_secret: Callable[[FaultyServer], None],
    status: int,
    media_type: str,
):
    def answer(request: Request) -> Reply:
        start = request.headers["x-key"][:9].encode()
        return Reply(status, {"Content-Type": media_type}, start)

    with FaultyServer(answer) as server:
        asks_with_secret(server)
        plugins.run()
    payload = plugins.payloads()["1"]
    assert "failed: the host answered with a part of a body" in payload
    assert SECRET[:9] not in payload


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("call", "permission"),
    [
        ('run.fetch("http://other.example/")', "hosts"),
        ('run.fetch("http://HOST/", method="POST")', "hosts"),
        ('run.fetch("https://HOST/")', "hosts"),
        ('run.fetch("http://user@HOST/")', "hosts"),
        ('run.fetch("http://HOST.evil.example/")', "hosts"),
        ('run.fetch("http://HOST/", headers={"Host": "other.example"})', "hosts"),
        ('run.fetch("http://HOST/", headers={"X": "a\\r\\nY: b"})', "hosts"),
        ('run.fetch("http://HOST/", headers={"X": "{{secret:OTHER}}"})', "secrets"),
        ('run.fetch("http://HOST/", method="PUT", body="{{secret:TOKEN}}")', "secrets"),
        ('run.fetch("file:///etc/passwd")', "hosts"),
    ],
)
def test_other_requests_are_refused(
    plugins: PluginRunner, server: FaultyServer, call: str, permission: str
):
    code = call.replace("HOST", host_of(server))
    host = {"host": host_of(server), "scheme": "http", "methods": ["GET", "PUT"]}
    plugins.add(body(code), permissions={"hosts": [host], "tables": ["items"]})
    with pytest.raises(ContractError):
        plugins.run()
    assert plugins.violations() == [permission]
    assert not server.requests


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Range", "if-range", "Request-Range"])
def test_a_request_for_a_part_is_refused(plugins: PluginRunner, server: FaultyServer, name: str):
    code = f"""try:
    run.fetch("{server.url}", headers={{"{name}": "bytes=0-1"}})
except RefusedError as error:
    run.log(str(error))"""
    host = {"host": host_of(server), "scheme": "http"}
    plugins.add(body(code), permissions={"hosts": [host], "tables": ["items"]})
    with pytest.raises(ContractError):
        plugins.run()
    assert plugins.violations() == ["hosts"]
    assert server.requests == []
    assert "expected a request for a whole body" in plugins.log[0][1]


def test_a_host_without_an_answer_is_an_error_that_the_plugin_may_handle(plugins: PluginRunner):
    code = """try:
    run.fetch("http://127.0.0.1:9/")
except FailedError as error:
    run.emit("items", [("1", {"title": "handled"})])"""
    host = {"host": "127.0.0.1:9", "scheme": "http"}
    plugins.add(body(code), permissions={"hosts": [host], "tables": ["items"]})
    plugins.run()
    assert plugins.payloads() == {"1": '{"title":"handled"}'}
    assert plugins.calls()[0][2] == "failed"


def test_a_missing_secret_fails_the_run(plugins: PluginRunner, server: FaultyServer):
    code = f'run.fetch("{server.url}", headers={{"X": "{{{{secret:ABSENT}}}}"}})'
    permissions = {
        "hosts": [{"host": host_of(server), "scheme": "http"}],
        "secrets": [{"name": "ABSENT", "host": host_of(server)}],
        "tables": ["items"],
    }
    plugins.add(body(code), permissions=permissions)
    with pytest.raises(ConfigurationError, match="PLUGIN_SECRET_ABSENT is not set"):
        plugins.run()
    assert not server.requests


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("query", "call", "found"),
    [
        ({}, 'run.read("own", state="enabled")', ["rss"]),
        ({}, 'run.read("own", state="refused")', []),
        ({"max_rows": 1}, 'run.read("own")', ["rss"]),
    ],
)
def test_a_named_query_has_its_filters_alone(
    plugins: PluginRunner, query: dict[str, Any], call: str, found: list[str]
):
    code = f'run.emit("items", ((each["id"], {{"title": "x"}}) for each in {call}))'
    plugins.add(body(code), permissions={**ALL, "reads": [{**ALL["reads"][0], **query}]})
    plugins.run()
    assert list(plugins.payloads()) == found


def test_a_filter_of_a_named_query_is_a_value_and_no_sql(plugins: PluginRunner):
    plugins.add(body('run.read("own", state="x\' OR 1=1 --")'), permissions=ALL)
    with pytest.raises(ConfigurationError, match='state is never "x\' OR 1=1 --"'):
        plugins.run()
    assert not plugins.payloads()


@pytest.mark.parametrize("call", ['run.read("own", id="rss")', 'run.read("other")'])
def test_other_queries_are_refused(plugins: PluginRunner, call: str):
    plugins.add(body(call), permissions=ALL)
    with pytest.raises(ContractError):
        plugins.run()
    assert len(plugins.violations()) == 1


@pytest.mark.slow_after_first
@pytest.mark.parametrize("elapsed", [_MINUTE, timedelta(days=-30)], ids=["later", "set_back"])
def test_an_action_is_made_after_the_load_and_again_with_the_same_key(
    plugins: PluginRunner, elapsed: timedelta
):
    statuses = [500, 200]

    def reply(_: Request) -> Reply:
        return Reply(statuses.pop(0))

    with FaultyServer(reply) as server:
        code = f'run.act("post", "day", url="{server.url}", body="hello")'
        host = {"host": host_of(server), "scheme": "http", "methods": ["POST"]}
        permissions = {
            "hosts": [host],
            "tables": ["items"],
            "actions": [{"name": "post", "host": host_of(server)}],
        }
        plugins.add(
            body(f"if run.config:\n    {code}"),
            kind="action",
            permissions=permissions,
            config_schema={"type": "object"},
        )
        first = plugins.run(config={"act": True})
        assert first.actions == {"waiting": 1}
        assert plugins.rows(outbox)[0].state == "waiting"
        plugins.clock.at += elapsed
        assert plugins.run().actions == {"done": 1}
        assert plugins.run(config={"act": True}).actions == {}  # the same key: made already
    sent = [request.headers["idempotency-key"] for request in server.requests]
    assert len(sent) == 2
    assert len(set(sent)) == 1
    assert server.requests[0].body == b"hello"


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    "call",
    [
        'run.act("post", "1", url="http://other.example/")',
        'run.act("other", "1", url="http://127.0.0.1:9/")',
        'run.act("post", "1", to="http://127.0.0.1:9/")',
    ],
)
def test_other_actions_are_refused(plugins: PluginRunner, call: str):
    host = {"host": "127.0.0.1:9", "scheme": "http", "methods": ["POST"]}
    permissions = {
        "hosts": [host],
        "tables": ["items"],
        "actions": [{"name": "post", "host": "127.0.0.1:9"}],
    }
    plugins.add(body(call), kind="action", permissions=permissions)
    with pytest.raises(ContractError):
        plugins.run()
    assert not plugins.rows(outbox)
    assert len(plugins.rows(plugins_violations)) == 1
