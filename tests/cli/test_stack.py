"""What `stack` refuses before it starts anything, its secrets, and its configuration."""

import os
import re
import shutil
import socket
import stat
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from orchestration_project.cli import stack_services
from orchestration_project.cli.stack import serve_stack
from orchestration_project.cli.stack_services import (
    DEPLOY,
    MQTT_PORTS,
    OPTIONAL,
    TOOLS,
    alertmanager,
    caddy,
    find_program,
    has_account,
    has_databases,
    installed_services,
    mosquitto,
    mqtt_exporter,
    postgres_exporter,
    prometheus,
    rabbitmq,
    secret_of,
    victoriametrics,
)
from orchestration_project.errors import ConfigurationError
from orchestration_project.settings import load_settings
from tests.expecting import expect_exit
from tests.programs import free_port
from tests.rabbitmq import PASSWORD, requires_rabbitmq, running_broker

HAS_TOOLS = all(map(find_program, TOOLS))

DEFAULTS = re.compile(
    r"guest:guest|admin:admin|changeme|^\s*(default_pass|POSTGRES_PASSWORD|password)\s*[=:]\s*[\w-]+$",
    re.IGNORECASE,
)
"""How default passwords look in configuration."""


@pytest.fixture
def state(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "state"


def installed(tmp_path: Path, monkeypatch, *, without: set[str]) -> None:
    """Have a PATH with programs of these names, as far as they are not left out."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in {"postgres", "initdb", *TOOLS} - without:
        if "/" not in name:
            (folder / name).touch(mode=0o755)
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(stack_services, "SYSTEM_FOLDERS", ())


def test_missing_programs_are_named_together_with_one_line_that_installs_them(
    state, tmp_path, monkeypatch
):
    installed(tmp_path, monkeypatch, without={"caddy", "mosquitto", "mosquitto_passwd"})
    with pytest.raises(ConfigurationError, match="the stack cannot start") as refused:
        serve_stack(1)
    assert "caddy, mosquitto, mosquitto_passwd" in refused.value.found
    assert re.search(r"apt-get install .*\bcaddy mosquitto\b", refused.value.remedy)
    assert not (state / "stack").exists()


@pytest.mark.skipif(not HAS_TOOLS, reason="programs of the stack are missing")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "postgresql://me:planted-secret@127.0.0.1/pipelines"),
        ("DAGSTER_DATABASE_URL", "postgresql://me:planted-secret@127.0.0.1/dagster"),
        ("BROKER_URL", "amqp://me:planted-secret@127.0.0.1//"),
    ],
)
def test_a_database_or_broker_of_the_settings_is_refused(state, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match="of its own") as refused:
        serve_stack(1)
    assert f"{name} set" in refused.value.found
    assert "planted-secret" not in str(refused.value)


@pytest.mark.skipif(not HAS_TOOLS, reason="programs of the stack are missing")
def test_ports_in_use_are_refused_together_with_their_services(state, monkeypatch):
    with (
        socket.create_server(("127.0.0.1", 0)) as one,
        socket.create_server(("127.0.0.1", 0)) as two,
    ):
        https, http = (listener.getsockname()[1] for listener in (one, two))
        monkeypatch.setenv("STACK_PORTS", f"https={https},http={http}")
        with pytest.raises(ConfigurationError, match="ports of the stack") as refused:
            serve_stack(1)
    assert f"port {https} of https, port {http} of http" in refused.value.what
    assert re.search(r"STACK_PORTS=https=\d+,http=\d+", refused.value.remedy)


@pytest.mark.parametrize("value", ["https", "web=443", "https=0", "https=70000", "https=x"])
def test_ports_of_unknown_services_or_without_a_number_are_refused(monkeypatch, value):
    monkeypatch.setenv("STACK_PORTS", value)
    with pytest.raises(ConfigurationError, match="STACK_PORTS"):
        load_settings()


def test_optional_services_are_those_whose_programs_are_installed(tmp_path, monkeypatch):
    installed(tmp_path, monkeypatch, without=set())
    assert installed_services() == []
    for value in OPTIONAL.values():
        (tmp_path / "bin" / value.program).touch(mode=0o755)
    assert installed_services() == [*OPTIONAL]


def test_a_secret_is_made_once_at_random_in_a_private_file(tmp_path):
    first, other = secret_of(tmp_path, "first"), secret_of(tmp_path, "other")
    assert first == secret_of(tmp_path, "first") != other
    assert len(first) >= 32
    assert stat.S_IMODE((tmp_path / "first").stat().st_mode) == 0o600


def test_no_file_of_deploy_has_a_default_password():
    files = [path for path in DEPLOY.rglob("*") if path.is_file()]
    assert len(files) > 20
    for file in files:
        for number, line in enumerate(file.read_text(errors="replace").splitlines(), 1):
            assert not DEFAULTS.search(line), f"{file}:{number}: {line}"


def test_files_with_secrets_are_private_and_listeners_are_on_loopback(tmp_path):
    ports = load_settings().ports_of_stack
    rabbitmq(tmp_path / "rabbitmq", ports["rabbitmq"], (1, 2), "rabbit-password")
    account = tmp_path / "rabbitmq" / "conf.d" / "account.conf"
    assert "default_pass = rabbit-password" in account.read_text()
    assert stat.S_IMODE(account.stat().st_mode) == 0o600
    broker = (tmp_path / "rabbitmq" / "rabbitmq.conf").read_text()
    assert f"listeners.tcp.local = 127.0.0.1:{ports['rabbitmq']}" in broker
    assert "rabbit-password" not in broker
    assert caddy(tmp_path / "caddy", ports).environment["BIND"] == "127.0.0.1"


@pytest.mark.skipif(not HAS_TOOLS, reason="programs of the stack are missing")
def test_each_program_accepts_its_configuration(tmp_path):
    ports = load_settings().ports_of_stack
    proxy = caddy(tmp_path / "caddy", ports)
    adapted = run(["caddy", "adapt", *proxy.command[2:]], proxy.environment)
    assert '"Strict-Transport-Security"' in adapted
    run(["caddy", "validate", *proxy.command[2:]], proxy.environment)
    key = tmp_path / "key"
    key.write_text("op_key")
    config = tmp_path / "prometheus" / "prometheus.yml"
    for started in (list(OPTIONAL), []):
        prometheus(tmp_path / "prometheus", key, ports, started)
        run(["promtool", "check", "config", str(config)], {})
        named = {int(port) for port in re.findall(r"127.0.0.1:(\d+)", config.read_text())}
        assert named == {ports[name] for name in ("gateway", *started)}
        assert "/run/secrets" not in config.read_text()
    mosquitto(tmp_path / "mosquitto", {"orchestration": "mqtt-password"}, ports)
    text = (tmp_path / "mosquitto" / "mosquitto.conf").read_text()
    assert re.findall(r"^listener (.*)$", text, re.MULTILINE) == [
        f"{ports[name]} 127.0.0.1" for name in ("mqtt", "mqtt_certificate", "mqtt_websocket")
    ]
    assert text.count("\nsocket_domain ipv4\n") == len(MQTT_PORTS)
    assert "/etc/mosquitto" not in text
    assert "mqtt-password" not in (tmp_path / "mosquitto" / "passwords").read_text()


def test_optional_services_listen_on_loopback_and_read_secrets_from_files(tmp_path):
    ports, key = load_settings().ports_of_stack, tmp_path / "key"
    key.write_text("planted-secret")
    (tmp_path / "mosquitto").mkdir()
    programs = {
        "victoriametrics": victoriametrics(tmp_path / "long", ports),
        "alertmanager": alertmanager(tmp_path / "alertmanager", key, ports),
        "postgres_exporter": postgres_exporter(key, ports),
        "mqtt_exporter": mqtt_exporter(tmp_path / "mosquitto", key, ports),
    }
    assert programs.keys() == OPTIONAL.keys()
    for name, program in programs.items():
        command = " ".join(program.command)
        assert re.search(rf"127\.0\.0\.1(:| -listen-port=){ports[name]}\b", command), name
        assert "planted-secret" not in f"{command} {program.environment}"
    config = tmp_path / "alertmanager" / "alertmanager.yml"
    assert f"http://127.0.0.1:{ports['gateway']}/api/v1/alerts/alertmanager" in config.read_text()
    assert f"credentials_file: {key}" in config.read_text()
    if shutil.which("amtool"):
        run(["amtool", "check-config", str(config)], {})


def run(command, environment) -> str:
    whole = {"PATH": os.defpath, **environment}
    done = subprocess.run(command, env=whole, capture_output=True, text=True)  # noqa: S603 - Debian's
    expect_exit(done)
    return done.stdout


@contextmanager
def refusing_postgresql(code: str, message: str) -> Iterator[int]:
    """Serve PostgreSQL's wire protocol as far as a refusal of each login; give the port."""
    fields = {"S": "FATAL", "V": "FATAL", "C": code, "M": message}
    body = b"".join(f"{name}{text}".encode() + b"\0" for name, text in fields.items()) + b"\0"
    refusal = b"E" + (len(body) + 4).to_bytes(4) + body
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                with client:
                    while client.recv(4096)[:4] == b"\0\0\0\x08":  # asks for encryption
                        client.sendall(b"N")
                    client.sendall(refusal)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_a_wrong_password_of_the_old_database_ends_the_wait_with_what_to_do(tmp_path):
    message = 'password authentication failed for user "orchestration"'
    with (
        refusing_postgresql("28P01", message) as port,
        pytest.raises(ConfigurationError, match="PostgreSQL of the stack refuses") as error,
    ):
        has_databases(port, "hunter2", tmp_path)
    assert message in error.value.found
    assert str(tmp_path / "secrets" / "postgresql") in error.value.expected
    assert "`orchestrate reset`" in error.value.remedy
    assert "hunter2" not in str(error.value)


def test_a_database_that_starts_up_or_does_not_listen_yet_is_waited_for(tmp_path):
    with refusing_postgresql("57P03", "the database system is starting up") as port:
        assert not has_databases(port, "secret", tmp_path)
    assert not has_databases(free_port(), "secret", tmp_path)
    assert not has_account(free_port(), "secret", tmp_path)


@pytest.mark.slow
@requires_rabbitmq
def test_a_wrong_password_of_the_old_broker_ends_the_wait_with_what_to_do(tmp_path):
    with running_broker(tmp_path) as broker:
        with pytest.raises(ConfigurationError, match="RabbitMQ of the stack refuses") as error:
            has_account(broker.port, "hunter2", tmp_path)
        assert "hunter2" not in str(error.value)
        assert has_account(broker.port, PASSWORD, tmp_path)
