"""The certificate of PUBLIC_URL: of a file or as served, expired, soon to expire, of others."""

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from threading import Thread

import pytest

from orchestration_project.domains.mqtt.settings import MqttSettings
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.errors import ConfigurationError
from orchestration_project.registry import Answer
from orchestration_project.resources.mqtt.broker import Broker, BrokerError
from orchestration_project.services.gate.certificates import build_certificate_probe
from orchestration_project.settings import load_settings
from tests.programs import free_port
from tests.tls import make_certificate


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Answer]:
    """Look at the certificate under some settings."""

    def look(**given: str) -> Answer:
        monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
        for name, value in given.items():
            monkeypatch.setenv(name, value)
        return build_certificate_probe(load_settings(), Clock()).run()

    return look


@contextmanager
def server(key: Path, certificate: Path) -> Iterator[int]:
    """Serve TLS on a free port, which accepts connections and says nothing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with suppress(OSError), context.wrap_socket(connection, server_side=True):
                    pass

    thread = Thread(target=accept)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def test_without_tls_there_is_no_certificate_to_look_at(looked):
    assert not looked(PUBLIC_URL="http://127.0.0.1:3000").is_applicable


@pytest.mark.parametrize(
    ("days", "problem"),
    [
        (30, None),
        (13, r"the certificate of localhost expires\n  expected: 14 days or more"),
        (-1, "the certificate of localhost has expired"),
    ],
)
def test_a_served_certificate_is_reported_14_days_before_its_end(looked, tmp_path, days, problem):
    key, certificate = make_certificate(tmp_path / "tls", valid=timedelta(days=days))
    with server(key, certificate) as port:
        url = f"https://localhost:{port}"
        if problem is None:
            assert looked(PUBLIC_URL=url).got.startswith("valid until 2")
        else:
            with pytest.raises(ConfigurationError, match=problem) as refused:
                looked(PUBLIC_URL=url)
            assert "renew it and reload the proxy" in str(refused.value)


def test_a_certificate_of_another_host_is_reported(looked, tmp_path):
    key, certificate = make_certificate(tmp_path / "tls", "other.example.org")
    with (
        server(key, certificate) as port,
        pytest.raises(ConfigurationError, match="is not for the host of PUBLIC_URL") as refused,
    ):
        looked(PUBLIC_URL=f"https://localhost:{port}")
    assert "found: other.example.org" in str(refused.value)


def test_a_proxy_that_is_away_is_no_matter_of_its_certificate(looked):
    found = looked(PUBLIC_URL=f"https://localhost:{free_port()}")
    assert not found.is_applicable
    assert "no certificate from localhost" in found.got


def test_a_file_is_read_in_the_place_of_the_proxy(looked, tmp_path):
    _, certificate = make_certificate(tmp_path / "tls", "*.example.org", valid=timedelta(days=60))
    of_file = {"PUBLIC_CERTIFICATE_FILE": str(certificate)}
    assert looked(PUBLIC_URL="https://pipelines.example.org", **of_file).is_applicable
    with pytest.raises(ConfigurationError, match="is not for the host"):
        looked(PUBLIC_URL="https://a.b.example.org", **of_file)


@pytest.mark.parametrize(
    ("content", "found"), [(None, "No such file or directory"), ("x", "no certificate in it")]
)
def test_a_file_that_is_missing_or_none_names_its_setting(looked, tmp_path, content, found):
    file = tmp_path / "certificate.pem"
    if content:
        file.write_text(content)
    with pytest.raises(ConfigurationError, match="PUBLIC_CERTIFICATE_FILE cannot be read") as error:
        looked(PUBLIC_URL="https://localhost", PUBLIC_CERTIFICATE_FILE=str(file))
    assert error.value.found == found


def test_an_expired_certificate_for_the_broker_is_refused(monkeypatch, tmp_path):
    key, certificate = make_certificate(tmp_path / "tls", valid=timedelta(days=-1))
    key.chmod(0o600)
    monkeypatch.setenv("MQTT_URL", "mqtts://broker")
    monkeypatch.setenv("MQTT_CLIENT_CERTIFICATE_FILE", str(certificate))
    monkeypatch.setenv("MQTT_CLIENT_KEY_FILE", str(key))
    broker = Broker.of(MqttSettings.of(load_settings()), "mqtts://broker")
    with pytest.raises(BrokerError, match="the certificate for the broker has expired"):
        broker.refuse_expired()
