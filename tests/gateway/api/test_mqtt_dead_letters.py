"""Dead letters judged again through the API: by arrival, reason or time."""

from typing import Any

import pytest
from sqlalchemy import delete

from orchestration_project.client import Client
from orchestration_project.engine.captures import Captures
from orchestration_project.resources.mqtt.kinds import read_kind_files
from orchestration_project.resources.mqtt.mirroring import Mirror
from orchestration_project.tables.spine import work_items
from tests.gateway.api.conftest import HOME
from tests.gateway.api.mqtt_rows import START, clear, message, receive
from tests.resources.mqtt_syncs import KINDS, MqttSync


class ApiMqttSync(MqttSync):
    """Mirrors into the database and the store of an API."""

    store: Any = None

    def mirror(self, **limits: Any) -> Mirror:
        """Return the writer of the mirror."""
        return Mirror(
            warehouse=self.warehouse,
            captures=Captures(self.store),
            clock=self.clock,
            kinds=read_kind_files(KINDS),
            source="demo",
            run_id="run",
            **{"max_bytes": 2**20, "max_skew_seconds": 300, **limits},
        )


@pytest.fixture
def letters(api, tmp_path):
    """Three messages that were above a limit which is higher now, and one that is not an event."""
    warehouse = api.services.warehouse
    clear(warehouse)
    mqtt_sync = ApiMqttSync(warehouse, api.services.clock, tmp_path)
    mqtt_sync.store = api.services.store
    receive(warehouse, *[("tracker/x", message(n)) for n in (1, 2, 3)], ("tracker/y", b"[]"))
    mqtt_sync.run_and_expect_all_settled(max_bytes=10)
    yield api
    clear(warehouse)
    with warehouse.writing() as connection:
        connection.execute(delete(work_items).where(work_items.c.topic.startswith("mqtt/")))


def open_letters(api: Any) -> list[tuple[int, str]]:
    found = api.get("/mqtt/dead-letters?state=dead")["letters"]
    return [(dead_letter["arrival_id"], dead_letter["reason_code"]) for dead_letter in found]


@pytest.mark.slow
def test_letters_are_replayed_by_arrival_reason_and_time_once_for_a_key(letters):
    whole = [(4, "not_an_object"), (3, "too_large"), (2, "too_large"), (1, "too_large")]
    assert open_letters(letters) == whole
    with Client(HOME, str(letters.keys["operator"]), transport=letters) as client:
        client.mqtt_replay_dead_letters(reason="too_large", dry_run=True)
        assert open_letters(letters) == whole
        first = client.mqtt_replay_dead_letters(arrival_ids=[1], idempotency_key="one")
        assert letters.get(f"/runs/{first.run_id}")["status"] == "SUCCESS"
        assert open_letters(letters) == whole[:3]
        again = client.mqtt_replay_dead_letters(arrival_ids=[1], idempotency_key="one")
        assert (again.run_id, again.is_repeated) == (first.run_id, True)
        until = START.replace(minute=3)
        client.mqtt_replay_dead_letters(reason="too_large", since=START, until=until)
        assert open_letters(letters) == whole[:2]
        client.mqtt_replay_dead_letters(since=START)
        assert open_letters(letters) == whole[:1]
        assert list(client.mqtt_events()["arrival_id"]) == [3, 2, 1]
    assert letters.expect_problem("POST", "/mqtt/dead-letters/replay", "viewer")["status"] == 403


@pytest.mark.parametrize(
    "body", [{}, {"dry_run": True}, {"reason": "bad luck"}, {"arrival_ids": [0]}, {"since": "now"}]
)
def test_a_replay_names_its_letters(api, body):
    assert api.expect_problem("POST", "/mqtt/dead-letters/replay", json=body)["status"] == 422
