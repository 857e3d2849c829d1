"""The bridge with mosquitto: TLS, accounts, WebSocket, windows, a lost session, two bridges."""

import json
import signal
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from orchestration_demo.mqtt.events import Event
from sqlalchemy import func, insert, select

from orchestration_project.domains.mqtt.tables import mqtt_bridges, mqtt_inbox
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.tracing.traceparent import begin_trace
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import ConfigurationError
from orchestration_project.resources.mqtt.bridge import Bridge
from orchestration_project.resources.mqtt.broker import Broker, BrokerError
from orchestration_project.resources.mqtt.connection import FIGURES, BrokerConnection
from orchestration_project.resources.mqtt.publishing import OutboxPublisher
from orchestration_project.resources.mqtt.reading import OUTBOX_TOPIC
from orchestration_project.tables.spine import outbox
from tests.mosquitto import example_broker, mosquitto
from tests.mqtt_broker import broker_at, publish_without_failure, running
from tests.prepared import Prepared
from tests.programs import wait_for

pytestmark = pytest.mark.slow

PASSWORDS = {"orchestration": "correct horse", "tracker": "battery staple"}
HOUR = timedelta(hours=1)


@pytest.fixture(params=["sqlite", "postgresql"])
def warehouse(
    request: pytest.FixtureRequest, tmp_path: Path, prepared: Prepared
) -> Iterator[Warehouse]:
    is_sqlite = request.param == "sqlite"
    url = prepared.sqlite(tmp_path / "db.sqlite") if is_sqlite else prepared.postgresql()
    with Warehouse(url, clock=Clock()) as opened:
        yield opened


class Authority(NamedTuple):
    """Signs certificates of brokers and clients."""

    folder: Path
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def new(cls, folder: Path, name: str) -> "Authority":
        folder.mkdir()
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _signed(name, key, None, key, is_authority=True)
        (folder / "ca.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return cls(folder, key, certificate)

    @property
    def file(self) -> Path:
        return self.folder / "ca.pem"

    def sign(self, name: str, *, ended: bool = False) -> tuple[Path, Path]:
        """Return the files of a new certificate and of its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _signed(name, key, self.certificate, self.key, ended=ended)
        files = self.folder / f"{name}-{ended}.pem", self.folder / f"{name}-{ended}.key"
        files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        files[1].touch(0o600)
        files[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return files


def _signed(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Certificate | None,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    is_authority: bool = False,
    ended: bool = False,
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(tz=UTC)  # noqa: TID251 - the time by which TLS judges it
    until = now - HOUR if ended else now + 24 * HOUR
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 48 * HOUR)
        .not_valid_after(until)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
    )
    if not is_authority:
        names = x509.SubjectAlternativeName([x509.DNSName(name)])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


class Example(NamedTuple):
    """The broker of deploy/mosquitto, and the authority of its certificates."""

    authority: Authority
    password: int
    certificate: int
    websocket: int

    def broker(self, port: int, scheme: str = "mqtts", **differing: Any) -> Broker:
        account = {"username": "orchestration", "password": PASSWORDS["orchestration"]}
        given = {"host": "localhost", "scheme": scheme, "ca_file": self.authority.file}
        return replace(broker_at(port), **{**account, **given, **differing})


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Example]:
    folder = tmp_path_factory.mktemp("broker")
    authority = Authority.new(folder / "authority", "Our authority")
    certificate, key = authority.sign("localhost")
    files = {"server.pem": certificate, "server.key": key, "clients.pem": authority.file}
    with example_broker(folder, files, PASSWORDS) as ports:
        yield Example(authority, *ports)


def count(warehouse: Warehouse) -> int:
    with warehouse.reading() as connection:
        return connection.execute(select(func.count()).select_from(mqtt_inbox)).scalar_one()


def problem_of(broker: Broker) -> str:
    """Return why a connection does not come about."""
    with pytest.raises(BrokerError) as raised, BrokerConnection(broker, Clock(), lambda _: None):
        pass
    return str(raised.value)


def is_received(warehouse: Warehouse, broker: Broker, send: Broker) -> bool:
    """Whether a message that ``send`` publishes arrives by way of ``broker``."""
    bridge = Bridge(warehouse, Clock(), broker, max_bytes=10_000)
    with running(bridge.run):
        wait_for(lambda: (warehouse.first(select(mqtt_bridges)) or {}).get("connected_since"))
        publish_without_failure(send, [Event("tracker/events/tasks/1", b"{}")])
        return wait_for(lambda: count(warehouse) == 1)


ON_SQLITE = pytest.mark.parametrize("warehouse", ["sqlite"], indirect=True)


@ON_SQLITE
@pytest.mark.parametrize("version", ["5", "3.1.1"])
@pytest.mark.parametrize("way", ["password", "certificate", "websocket"])
def test_the_example_configuration_takes_each_way_in(warehouse, example, way, version) -> None:
    certificate, key = example.authority.sign("orchestration")
    ways = {
        "password": example.broker(example.password),
        "certificate": example.broker(
            example.certificate,
            certificate_file=certificate,
            key_file=key,
            username=None,
            password=None,
        ),
        "websocket": example.broker(example.websocket, "wss"),
    }
    sender = example.broker(example.password, username="tracker", password=PASSWORDS["tracker"])
    broker = replace(ways[way], version=version, client_id=f"{way}-{version.replace('.', '')}")
    assert is_received(warehouse, broker, replace(sender, client_id="tracker"))


@ON_SQLITE
@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_the_trace_of_an_event_goes_by_mosquitto_as_user_property(
    tmp_path, warehouse, version
) -> None:
    row = planned("tracker/events/tasks/1")
    trace = begin_trace()
    payload = {**json.loads(row["payload"]), "traceparent": str(trace)}
    with warehouse.writing() as connection:
        connection.execute(insert(outbox), [{**row, "payload": json.dumps(payload)}])
    with mosquitto(tmp_path) as found:
        broker = replace(broker_at(found.port), version=version)
        publisher = OutboxPublisher(warehouse, Clock())
        with running(
            Bridge(warehouse, Clock(), broker, max_bytes=9_000, meanwhile=publisher.start).run
        ):
            wait_for(lambda: count(warehouse) == 1)
    with warehouse.reading() as connection:
        [trace_id] = connection.scalars(select(mqtt_inbox.c.trace_id))
    assert trace_id == (str(UUID(trace.trace_id)) if version == "5" else None)


@ON_SQLITE
@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_figures_of_mosquitto_come_where_its_access_list_allows_them(
    warehouse, example, tmp_path, version
) -> None:
    given = {"has_figures": True, "version": version, "client_id": f"figures{version[0]}"}
    allowed = replace(example.broker(example.password), **given)
    with running(Bridge(warehouse, Clock(), allowed, max_bytes=9_000, lease_seconds=1).run):
        wait_for(lambda: figures(warehouse, allowed).get("clients"))  # counted every 10 seconds
        assert set(figures(warehouse, allowed)) == set(FIGURES.values())
    assert count(warehouse) == 0
    (tmp_path / "acl").write_text("topic readwrite tracker/#\n")
    with mosquitto(tmp_path, f"acl_file {tmp_path}/acl") as broker:
        refused = replace(broker_at(broker.port), **given)
        assert is_received(warehouse, refused, replace(refused, client_id="sender"))
        assert figures(warehouse, refused) == {}


def figures(warehouse: Warehouse, broker: Broker) -> dict[str, float]:
    """Return the stored figures of a broker."""
    wanted = select(mqtt_bridges.c.broker_figures).where(mqtt_bridges.c.broker == broker.name)
    with warehouse.reading() as connection:
        return json.loads(connection.execute(wanted).scalar() or "{}")


def test_a_wrong_password_is_a_refused_login(example) -> None:
    for scheme, port in (("mqtts", example.password), ("wss", example.websocket)):
        text = problem_of(example.broker(port, scheme, password="wrong"))
        assert "the broker refused the login" in text
        assert "MQTT_PASSWORD" in text
        assert "wrong" not in text


def planned(topic: str) -> dict[str, Any]:
    """Return a row of the outbox."""
    at = datetime(2026, 11, 2, 10, tzinfo=UTC)
    return {
        "topic": OUTBOX_TOPIC,
        "entity": topic,
        "version_number": 1,
        "cause": "source",
        "state": "waiting",
        "attempt_count": 0,
        "reason": None,
        "run_id": "",
        **dict.fromkeys(("planned_at", "due_at", "changed_at"), at),
        "payload": json.dumps({"topic": topic, "message": "{}"}),
    }


def test_a_topic_that_the_access_list_does_not_allow_delays_no_other_event(
    warehouse, example
) -> None:
    """Mosquitto 2.0.11 ends the connection of an account that publishes what it may not."""
    allowed = [f"tracker/events/tasks/{number}" for number in range(3)]
    with warehouse.writing() as connection:
        rows = [planned(topic) for topic in ("billing/1", *allowed, "tracker/other")]
        connection.execute(insert(outbox), rows)
    bridge = Bridge(
        warehouse,
        Clock(),
        replace(example.broker(example.password), client_id="publishing"),
        max_bytes=10_000,
        meanwhile=OutboxPublisher(warehouse, Clock()).start,
        first_delay_seconds=0.05,
    )
    with running(bridge.run):
        wait_for(lambda: states(warehouse, "done") == set(allowed))
        wait_for(lambda: states(warehouse, "waiting", attempts=2) == {"billing/1", "tracker/other"})


def states(warehouse: Warehouse, state: str, attempts: int = 0) -> set[str]:
    """Return the entities of rows of the outbox with a state and so many failed attempts."""
    wanted = (outbox.c.state == state, outbox.c.attempt_count >= attempts)
    with warehouse.reading() as connection:
        return set(connection.scalars(select(outbox.c.entity).where(*wanted)))


def test_an_unknown_authority_is_named(example, tmp_path) -> None:
    other = Authority.new(tmp_path / "other", "Another authority")
    text = problem_of(example.broker(example.password, ca_file=other.file))
    assert "certificate is not trusted" in text
    assert "MQTT_CA_FILE" in text


def test_another_host_than_that_of_the_certificate_is_refused(example) -> None:
    text = problem_of(example.broker(example.password, host="127.0.0.1"))
    assert "certificate is not trusted" in text
    assert "127.0.0.1" in text


def test_an_expired_certificate_of_the_broker_is_named(tmp_path) -> None:
    authority = Authority.new(tmp_path / "authority", "Our authority")
    certificate, key = authority.sign("localhost", ended=True)
    files = {"server.pem": certificate, "server.key": key, "clients.pem": authority.file}
    with example_broker(tmp_path, files, PASSWORDS) as ports:
        text = problem_of(Example(authority, *ports).broker(ports[0]))
    assert "certificate has expired" in text


@pytest.mark.parametrize("is_expired", [True, False])
def test_a_client_certificate_is_required(example, is_expired) -> None:
    files: dict[str, Any] = {}
    if is_expired:
        certificate, key = example.authority.sign("orchestration", ended=True)
        files = {"certificate_file": certificate, "key_file": key}
    text = problem_of(example.broker(example.certificate, **files))
    assert "MQTT_CLIENT_CERTIFICATE_FILE" in text


def test_a_certificate_file_that_is_none_is_a_setting_to_correct(example, tmp_path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("no certificate")
    with (
        pytest.raises(ConfigurationError, match="MQTT_CA_FILE"),
        BrokerConnection(example.broker(example.password, ca_file=file), Clock(), lambda _: None),
    ):
        pass


def test_plain_mqtt_to_a_port_with_tls_ends_with_what_to_correct(example) -> None:
    text = problem_of(example.broker(example.password, "mqtt", username=None))
    assert "MQTT_URL" in text


def test_no_broker_is_named_as_such() -> None:
    text = problem_of(broker_at(1))
    assert "the broker cannot be reached" in text
    assert "127.0.0.1:1" in text
    assert "host name nowhere.invalid is not known" in problem_of(
        replace(broker_at(1), host="nowhere.invalid")
    )


@pytest.mark.parametrize("window", [20, 1_000])
def test_all_arrives_whatever_the_window_of_the_broker(tmp_path, warehouse, window) -> None:
    names = [f"{number}".encode() for number in range(3_000)]
    with mosquitto(tmp_path, f"max_inflight_messages {window}") as found:
        broker = broker_at(found.port)
        with running(Bridge(warehouse, Clock(), broker, max_bytes=10_000).run):
            wait_for(lambda: warehouse.first(select(mqtt_bridges)))
            publish_without_failure(
                replace(broker, client_id="t"), [Event("tracker/x", name) for name in names]
            )
            wait_for(lambda: count(warehouse) >= len(names))
    with warehouse.reading() as connection:
        counted = select(func.count(mqtt_inbox.c.sha256.distinct()), func.count())
        assert connection.execute(counted).one() == (3_000, 3_000)


@ON_SQLITE
def test_a_session_that_the_broker_lost_is_noticed(tmp_path, warehouse) -> None:
    with mosquitto(tmp_path) as found:
        broker = broker_at(found.port)
        bridge = Bridge(warehouse, Clock(), broker, max_bytes=10_000, first_delay_seconds=0.05)
        with running(bridge.run):
            wait_for(lambda: (warehouse.first(select(mqtt_bridges)) or {}).get("connected_since"))
            connected_at = Clock().now()
            found.end(signal.SIGKILL)
            found.data_file.unlink(missing_ok=True)
            found.start()
            lost_at = wait_for(
                lambda: (warehouse.first(select(mqtt_bridges)) or {})["session_lost_at"]
            )
    assert connected_at - timedelta(seconds=5) < lost_at <= Clock().now()
