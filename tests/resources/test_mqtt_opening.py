"""The broker that the settings name, and whether `ui` supervises its bridge."""

import re
from pathlib import Path

import pytest

from orchestration_project.domains.mqtt.settings import MqttSettings
from orchestration_project.errors import ConfigurationError
from orchestration_project.resources.mqtt.broker import Broker
from orchestration_project.resources.mqtt.opening import broker_of, mqtt_demo
from orchestration_project.settings import load_settings
from tests.tls import make_certificate


@pytest.fixture
def settings_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    def settings_of(**given: str) -> MqttSettings:
        monkeypatch.setenv("STATE_DIR", str(tmp_path))
        for name, value in given.items():
            monkeypatch.setenv(name, value)
        return MqttSettings.of(load_settings())

    return settings_of


@pytest.mark.parametrize(
    ("url", "name", "has_tls", "is_websocket", "path"),
    [
        ("mqtt://broker", "broker:1883", False, False, "/mqtt"),
        ("mqtts://broker:9999", "broker:9999", True, False, "/mqtt"),
        ("ws://broker/events", "broker:80", False, True, "/events"),
        ("wss://broker", "broker:443", True, True, "/mqtt"),
        ("mqtt://[::1]:1884", "[::1]:1884", False, False, "/mqtt"),
    ],
)
def test_a_url_names_port_transport_and_path(
    settings_of, url, name, has_tls, is_websocket, path
) -> None:
    broker = broker_of(settings_of(MQTT_URL=url))
    assert (broker.name, broker.has_tls, broker.is_websocket, broker.path) == (
        name,
        has_tls,
        is_websocket,
        path,
    )


def test_a_port_that_is_none_is_refused(settings_of) -> None:
    with pytest.raises(ConfigurationError, match="invalid MQTT_URL"):
        broker_of(settings_of(MQTT_URL="mqtt://broker:99999"))


def test_settings_reach_the_broker_and_the_password_no_text(settings_of) -> None:
    settings = settings_of(
        MQTT_URL="mqtt://broker",
        MQTT_USERNAME="bridge",
        MQTT_PASSWORD="correct horse battery",
        MQTT_TOPICS="a/#,b/+",
        MQTT_SESSION_DAYS="2",
        MQTT_RECEIVE_MAXIMUM="50",
    )
    broker = broker_of(settings)
    assert isinstance(broker, Broker)
    assert broker.topics == ("a/#", "b/+")
    assert (broker.session_seconds, broker.receive_maximum) == (172_800, 50)
    assert broker.password == "correct horse battery"
    assert "horse" not in repr(broker)


def test_ui_supervises_the_bridge_where_a_broker_is_set(settings_of) -> None:
    assert settings_of().programs == {}  # the demo's bridge is started by who wants it
    programs = settings_of(MQTT_URL="mqtt://broker").programs
    assert programs == {"mqtt-bridge": ("orchestration_project", "mqtt", "bridge")}


def test_without_a_source_the_bridge_says_what_to_set(settings_of) -> None:
    with pytest.raises(ConfigurationError, match="MQTT_SOURCE"):
        broker_of(settings_of(DATA_PROFILE="real"))


def test_the_demo_has_a_folder_and_the_number_of_events(settings_of, tmp_path) -> None:
    demo = mqtt_demo(settings_of(DEMO_MQTT_EVENTS="150"))
    assert demo.folder == tmp_path / "demo_mqtt"
    assert demo.options["events"] == 150


def test_a_private_key_that_other_users_may_read_is_refused(settings_of, tmp_path) -> None:
    key, certificate = make_certificate(tmp_path / "tls")
    settings = settings_of(
        MQTT_URL="mqtts://broker",
        MQTT_CLIENT_CERTIFICATE_FILE=str(certificate),
        MQTT_CLIENT_KEY_FILE=str(key),
    )
    key.chmod(0o640)
    broker_of(settings).tls_context()
    key.chmod(0o644)
    remedy = re.escape(f"mode 0644 of {key}\n  what to do: chmod o= {key} (MQTT_CLIENT_KEY_FILE)")
    with pytest.raises(ConfigurationError, match=remedy):
        broker_of(settings).tls_context()
