"""Settings of the MQTT mirror: the broker, its bridge, and what counts as an event."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, SecretStr, model_validator

from orchestration_project.settings.profile import require_profile
from orchestration_project.settings.settings import Settings
from orchestration_project.settings.values import Words, about, default_path

DEMO_FOLDER = "demo_mqtt"
"""Folder of the demo broker in STATE_DIR."""


class MqttSettings(Settings):
    """The bridge to a broker, and the mirror of its events."""

    domain: ClassVar[str] = "mqtt"
    indicators: ClassVar[frozenset[str]] = frozenset({"freshness", "mirror_lag"})
    without_effect: ClassVar[frozenset[str]] = frozenset(
        {
            *("mqtt_url", "mqtt_username", "mqtt_ca_file", "mqtt_client_certificate_file"),
            *("mqtt_client_key_file", "mqtt_client_id", "mqtt_version", "mqtt_receive_maximum"),
            *("mqtt_session_days", "mqtt_inbox_days", "mqtt_silence_minutes"),
            "mqtt_broker_figures",
        }
    )

    mqtt_source: Annotated[Literal["demo", "broker"] | None, AfterValidator(require_profile)] = (
        Field(
            None,
            description="Source of events: the embedded demo's broker, or that of MQTT_URL.",
            json_schema_extra=about(
                default="(broker with MQTT_URL; else demo; none if DATA_PROFILE=real)"
            ),
        )
    )
    mqtt_url: str | None = Field(
        None,
        pattern=r"^(mqtt|mqtts|ws|wss)://[^\s@/?#]+(/[^\s?#]*)?$",
        description="URL of the broker: mqtt://, mqtts://, ws:// or wss://, without user and "
        "password.",
        json_schema_extra=about(required_when="MQTT_SOURCE=broker"),
    )
    mqtt_username: str | None = Field(
        None,
        description="User of the broker.",
    )
    mqtt_password: SecretStr | None = Field(
        None,
        description="Password of the broker's user.",
        json_schema_extra=about(group="security"),
    )
    mqtt_ca_file: Path | None = Field(
        None,
        description="Certificates that the broker's certificate is verified with, PEM.",
        json_schema_extra=about(default="(those of the system)"),
    )
    mqtt_client_certificate_file: Path | None = Field(
        None,
        description="Certificate of this client, PEM.",
    )
    mqtt_client_key_file: Path | None = Field(
        None,
        description="Private key of MQTT_CLIENT_CERTIFICATE_FILE, PEM.",
    )
    mqtt_client_id: str = Field(
        "orchestration-mirror",
        pattern=r"^[0-9A-Za-z_-]{1,60}$",
        description="Client ID of the bridge; the broker keeps a session for it.",
    )
    mqtt_version: Literal["5", "3.1.1"] = Field(
        "5",
        description="Version of the protocol.",
    )
    mqtt_topics: Words = Field(
        ("tracker/#",),
        description="Topic filters of the subscription, separated by commas.",
    )
    mqtt_receive_maximum: int = Field(
        1_000,
        ge=1,
        le=65_535,
        description="Limit of messages that the broker sends without an acknowledgement. "
        "The broker's own limit counts, too.",
        json_schema_extra=about(unit="messages"),
    )
    mqtt_session_days: int = Field(
        7,
        ge=1,
        le=365,
        description="Time for which the broker keeps the session of a bridge that is away.",
        json_schema_extra=about(unit="days"),
    )
    mqtt_max_message_mib: int = Field(
        1,
        ge=1,
        le=100,
        description="Size limit of a message. A larger one becomes a dead letter.",
        json_schema_extra=about(unit="MiB"),
    )
    mqtt_max_skew_seconds: int = Field(
        300,
        ge=1,
        le=86_400 * 365,
        description="Difference of an event's time to its arrival from which the mirror warns.",
        json_schema_extra=about(unit="seconds"),
    )
    mqtt_keys_days: int = Field(
        400,
        ge=1,
        le=36_500,
        description="Time for which idempotency keys are remembered.",
        json_schema_extra=about(unit="days"),
    )
    mqtt_broker_figures: bool = Field(
        False,
        description="Whether the bridge reads the broker's own figures, its $SYS topics, for "
        "metrics; the user needs leave to read them.",
    )
    mqtt_inbox_days: int = Field(
        30,
        ge=1,
        le=36_500,
        description="Time for which received messages are kept that the mirror has read.",
        json_schema_extra=about(unit="days"),
    )
    mqtt_silence_minutes: int = Field(
        60,
        ge=1,
        le=60 * 24 * 30,
        description="Time without a message after which an alert is sent.",
        json_schema_extra=about(unit="minutes"),
    )
    mqtt_kinds_dir: Path = Field(
        Path("config/kinds"),
        description="Folder of event kinds, <kind>.v<version>.json, JSON Schema 2020-12.",
    )
    demo_mqtt_events: int = Field(
        2_000,
        ge=100,
        le=1_000_000,
        description="Number of events that the embedded demo publishes.",
        json_schema_extra=about(group="demo", unit="events"),
    )

    @model_validator(mode="before")
    @classmethod
    def _take_the_broker(cls, data: Any) -> Any:
        """Take the broker of MQTT_URL as source, unless another one is given."""
        if isinstance(data, Mapping) and data.get("mqtt_url") and not data.get("mqtt_source"):
            return {**data, "mqtt_source": "broker"}
        return data

    @model_validator(mode="after")
    def _a_whole_address(self) -> "MqttSettings":
        """Refuse a broker without its URL, and a certificate without its key."""
        if self.mqtt_source == "broker" and self.mqtt_url is None:
            raise ValueError("MQTT_URL is required with MQTT_SOURCE=broker")
        if (self.mqtt_client_certificate_file is None) != (self.mqtt_client_key_file is None):
            raise ValueError(
                "expected both or none of MQTT_CLIENT_CERTIFICATE_FILE and MQTT_CLIENT_KEY_FILE"
            )
        return self

    def values_for_broker(
        self, url: str, user: str, password: str, ca_file: Path
    ) -> Mapping[str, str]:
        """Return the settings of the bridge to the broker of `stack`; a demo has its own broker."""
        if self.is_demo:
            return {}
        return {
            "MQTT_URL": url,
            "MQTT_USERNAME": user,
            "MQTT_PASSWORD": password,
            "MQTT_CA_FILE": str(ca_file),
            "MQTT_BROKER_FIGURES": "true",
        }

    @property
    def programs(self) -> Mapping[str, Sequence[str]]:
        """The bridge, where there is a broker."""
        bridge = {"mqtt-bridge": ("orchestration_project", "mqtt", "bridge")}
        return {**super().programs, **(bridge if self.mqtt_source == "broker" else {})}

    @property
    def mqtt_max_message_bytes(self) -> int:
        """Size limit of a message, bytes."""
        return self.mqtt_max_message_mib * 2**20

    @property
    def mqtt_kinds_path(self) -> Path:
        """The folder of event kinds, absolute."""
        return default_path(self.mqtt_kinds_dir)
