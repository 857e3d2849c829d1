"""The broker that the settings name, and why a connection to it fails, in words."""

import socket
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

from orchestration_project.domains.mqtt.settings import MqttSettings
from orchestration_project.engine.connections.certificates import read_certificate
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.errors import ConfigurationError, TransientError
from orchestration_project.settings.given import PRIVATE, exposed_mode

PORTS = {"mqtt": 1883, "mqtts": 8883, "ws": 80, "wss": 443}
SECONDS_PER_DAY = 86_400

LOGIN_REASONS = ("Bad user name or password", "Not authorized")
"""Reasons of a refused login, as version 3.1.1 and 5 of the protocol name them."""


class BrokerError(TransientError):
    """The broker is not connected; the bridge retries, whatever the reason."""


class _ClosedAtFailure(ssl.SSLSocket):
    """A connection that is closed when its handshake fails; the client library leaves it open."""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except BaseException:
            self.close()
            raise


@dataclass(frozen=True)
class Broker:
    """Address and credentials of a broker, and how its messages are received.

    Attributes:
        scheme: mqtt, mqtts, ws or wss.
        path: Path of a WebSocket.
        topics: Topic filters of the subscription.
        receive_maximum: Messages that the broker sends without an acknowledgement.
        session_seconds: Time for which the broker keeps the session of a client that is away.
        has_figures: Whether its own figures are read, too.
    """

    host: str
    port: int
    scheme: str
    path: str
    client_id: str
    version: Literal["5", "3.1.1"]
    topics: tuple[str, ...]
    receive_maximum: int
    session_seconds: int
    has_figures: bool = False
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None

    @classmethod
    def of(cls, settings: MqttSettings, url: str) -> Self:
        """Return the broker at ``url``, with everything else of the settings.

        Raises:
            ConfigurationError: The URL has a port that is none, or no host.
        """
        parts = urlsplit(url)
        try:
            port = parts.port or PORTS[parts.scheme]
        except ValueError:
            port = 0
        if not (port and parts.hostname):
            raise ConfigurationError(
                "invalid MQTT_URL",
                expected="a broker's address, e.g. mqtts://broker.example.org:8883",
                found=f"{parts.scheme}://{parts.netloc}",
                remedy="correct MQTT_URL",
            )
        secret = settings.mqtt_password
        return cls(
            host=parts.hostname,
            port=port,
            scheme=parts.scheme,
            path=parts.path or "/mqtt",
            client_id=settings.mqtt_client_id,
            version=settings.mqtt_version,
            topics=tuple(settings.mqtt_topics),
            receive_maximum=settings.mqtt_receive_maximum,
            session_seconds=settings.mqtt_session_days * SECONDS_PER_DAY,
            has_figures=settings.mqtt_broker_figures,
            username=settings.mqtt_username,
            password=None if secret is None else secret.get_secret_value(),
            ca_file=settings.mqtt_ca_file,
            certificate_file=settings.mqtt_client_certificate_file,
            key_file=settings.mqtt_client_key_file,
        )

    @property
    def name(self) -> str:
        """Host and port, by which tables name the broker."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def has_tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.scheme in ("mqtts", "wss")

    @property
    def is_websocket(self) -> bool:
        """Whether MQTT is carried by a WebSocket."""
        return self.scheme in ("ws", "wss")

    def refuse_expired(self) -> None:
        """Refuse a certificate of this client that the broker would not accept any more.

        Raises:
            BrokerError: It has expired; the bridge goes on with one that replaces it.
            ConfigurationError: It cannot be read.
        """
        if self.certificate_file is None or not self.has_tls:
            return
        certificate = read_certificate(self.certificate_file, "MQTT_CLIENT_CERTIFICATE_FILE")
        if certificate.ends_at <= Clock().now():
            raise BrokerError(
                "the certificate for the broker has expired",
                expected="one that is valid now",
                found=f"{certificate.place}, valid until {certificate.ends_at:%Y-%m-%d %H:%M} UTC",
                remedy="renew it (MQTT_CLIENT_CERTIFICATE_FILE)",
            )

    def tls_context(self) -> ssl.SSLContext:
        """Return the context that verifies the broker's certificate and its name.

        Raises:
            ConfigurationError: A file of certificates or keys cannot be read, or is none; others
                may read the key.
        """
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
            if self.certificate_file is not None:
                _refuse_exposed(self.key_file)
                context.load_cert_chain(
                    self.certificate_file,
                    self.key_file,
                    password=lambda: b"",  # a key with a password must not ask a terminal
                )
        except (OSError, ValueError) as error:  # SSLError is an OSError
            raise ConfigurationError(
                "the certificates for the broker cannot be read",
                expected="PEM files, the key without a password",
                found=f"{type(error).__name__}: {error}",
                remedy="correct MQTT_CA_FILE, MQTT_CLIENT_CERTIFICATE_FILE or MQTT_CLIENT_KEY_FILE",
            ) from error
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.sslsocket_class = _ClosedAtFailure
        return context


def _refuse_exposed(key: Path | None) -> None:
    """Refuse a private key that other users of the machine may read.

    Raises:
        OSError: The file does not exist.
        ConfigurationError: They may.
    """
    if key is not None and (mode := exposed_mode(key)):
        raise ConfigurationError(
            "the private key for the broker is readable by other users",
            expected=PRIVATE,
            found=f"mode {mode} of {key}",
            remedy=f"chmod o= {key} (MQTT_CLIENT_KEY_FILE)",
        )


def connection_failure(broker: Broker, error: OSError | ValueError) -> BrokerError:
    """Return why no connection to the broker came about."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return BrokerError(
            "the broker's certificate is not trusted",
            expected=f"a valid certificate for {broker.host}",
            found=error.verify_message,
            remedy="renew the broker's certificate if it has expired; set MQTT_CA_FILE to the "
            "certificate of its authority if that is unknown; correct the host in MQTT_URL",
        )
    if isinstance(error, ssl.SSLError):
        return BrokerError(
            "no TLS connection to the broker",
            expected=f"a broker with TLS at {broker.name}",
            found=_describe_error(error),
            remedy="correct scheme and port in MQTT_URL; if the broker requires a client "
            "certificate, set MQTT_CLIENT_CERTIFICATE_FILE to a valid one",
        )
    if isinstance(error, socket.gaierror):
        text = f"the host name {broker.host} is not known"
    elif isinstance(error, TimeoutError):
        text = "no answer in time"
    else:
        text = _describe_error(error)
    return BrokerError(
        "the broker cannot be reached",
        expected=f"a broker at {broker.name}",
        found=text,
        remedy="start the broker, or correct MQTT_URL",
    )


def _describe_error(error: Exception) -> str:
    strerror = getattr(error, "strerror", None)
    return str(strerror or error or type(error).__name__)


def login_refusal(broker: Broker, reason: str) -> BrokerError:
    """Return the error of a broker that answered the login by a refusal."""
    is_login = reason in LOGIN_REASONS
    return BrokerError(
        "the broker refused the login" if is_login else "the broker refused the connection",
        expected=f"{broker.name} accepts the client {broker.client_id}",
        found=reason,
        remedy="correct MQTT_USERNAME and MQTT_PASSWORD, or the client's rights at the broker"
        if is_login
        else "correct MQTT_VERSION or MQTT_CLIENT_ID, or look at the broker's log",
    )


def connection_end(broker: Broker, reason: str) -> BrokerError:
    """Return the error of a connection that ended."""
    return BrokerError(
        "the connection to the broker ended",
        expected=f"a lasting connection to {broker.name}",
        found=reason,
        remedy="nothing: it is made again; a client with the same MQTT_CLIENT_ID would end it, too",
    )


def early_end(broker: Broker, reason: str) -> BrokerError:
    """Return the error of a connection that ended before the broker answered the login."""
    return BrokerError(
        "the broker ended the connection before the login",
        expected=f"an answer of {broker.name} to the login",
        found=reason,
        remedy="if the broker requires a client certificate, set MQTT_CLIENT_CERTIFICATE_FILE "
        "to a valid one; correct scheme and port in MQTT_URL, and MQTT_VERSION",
    )


def subscription_refusal(broker: Broker, topics: str, reason: str) -> BrokerError:
    """Return the error of a subscription that the broker does not allow."""
    return BrokerError(
        "the broker refused a subscription",
        expected=f"{broker.name} allows to read {topics}",
        found=reason,
        remedy="allow it in the broker's access list, or correct MQTT_TOPICS",
    )
