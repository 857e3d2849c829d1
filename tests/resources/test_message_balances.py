"""Equations of messages: MQTT, webhooks and the outbox, with messages that get lost."""

from datetime import timedelta

import pytest
from sqlalchemy import insert, select

from orchestration_project.domains.mqtt.tables import mqtt_mirror
from orchestration_project.engine.connections.artifacts import FolderStore
from orchestration_project.engine.equations import BalanceFilter
from orchestration_project.errors import ContractError
from orchestration_project.resources.mqtt.mirroring import KeptMessages
from orchestration_project.resources.mqtt.ranges import RangeLoader, range_items
from orchestration_project.services.inbox.rows import Inbox, NewDelivery
from orchestration_project.tables.spine import balances, inbox_states, outbox
from tests.resources.balances import differences, plant_and_expect_rows, verify
from tests.resources.mqtt_syncs import MqttSync, message
from tests.resources.weeks import NOON
from tests.webhook_runs import load_due

MESSAGES = [message("a"), message("b"), message("a"), b"no JSON", b"", message("c")]


@pytest.fixture
def mqtt_sync(warehouse, clock, tmp_path) -> MqttSync:
    """A mirror of messages in ranges of two; one more waits."""
    mqtt_sync = MqttSync(warehouse, clock, tmp_path)
    mqtt_sync.receive(*MESSAGES)
    mqtt_sync.run_and_expect_all_settled(max_range=2)
    mqtt_sync.receive(message("d"))
    return mqtt_sync


def test_each_range_records_where_its_messages_went(mqtt_sync):
    recorded = [
        (row["subject"], row["came_in"], row["went_to"])
        for row in mqtt_sync.rows(balances)
        if row["equation"] == "messages"
    ]
    one = '{"events": %d, "duplicates": %d, "dead_letters": %d, "cleared": %d}'
    assert recorded == [
        ("000000000001-000000000002", 2, one % (2, 0, 0, 0)),
        ("000000000003-000000000004", 2, one % (0, 1, 1, 0)),
        ("000000000005-000000000006", 2, one % (1, 0, 0, 1)),
    ]


@pytest.mark.slow_after_first
def test_stored_messages_are_events_duplicates_letters_cleared_or_wait(mqtt_sync):
    verdict = verify(mqtt_sync.warehouse)
    assert not verdict.imbalances
    assert verdict.counts["mqtt_mirror", "stored_messages"].balanced == 4


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("fault", "difference"),
    [
        ("DELETE FROM mqtt_mirror WHERE idempotency_key = 'b'", 1),
        ("DELETE FROM mqtt_dead_letters", 1),
        ("DELETE FROM work_items WHERE item_key = '000000000003-000000000004'", 2),
    ],
)
def test_a_lost_message_is_found(mqtt_sync, fault, difference):
    plant_and_expect_rows(mqtt_sync.warehouse, fault)
    assert differences(mqtt_sync.warehouse)["mqtt_mirror", "stored_messages"] == difference


def test_ranges_whose_messages_were_forgotten_are_not_counted(mqtt_sync):
    plant_and_expect_rows(mqtt_sync.warehouse, "DELETE FROM mqtt_inbox WHERE arrival_id < 3")
    verdict = verify(mqtt_sync.warehouse)
    assert not verdict.imbalances
    assert verdict.counts["mqtt_mirror", "stored_messages"].not_counted == 1


def test_ranges_from_before_equations_were_recorded_are_not_unbalanced(mqtt_sync):
    plant_and_expect_rows(mqtt_sync.warehouse, "DELETE FROM balances")
    verdict = verify(mqtt_sync.warehouse)
    assert not verdict.imbalances
    assert verdict.counts["mqtt_mirror", "stored_messages"].not_recorded == 3


def test_a_range_that_swallows_a_message_fails_and_writes_nothing(warehouse, clock, tmp_path):
    mqtt_sync = MqttSync(warehouse, clock, tmp_path)
    mqtt_sync.receive(message("a"), message("b"))
    mqtt_sync.plan()
    loader = RangeLoader(mqtt_sync.mirror())
    until = clock.now() + timedelta(hours=1)
    [item] = range_items(warehouse, clock).claim("mqtt/mirror", limit=1, run_id="run", until=until)
    [(_, kept)] = loader.extract([item])
    swallowing = KeptMessages(kept.judged[:1], kept.captures)
    with pytest.raises(ContractError) as refused, warehouse.writing() as connection:
        loader.load(connection, [(item, swallowing)])
    assert "messages: 2 != 1 events" in refused.value.found
    assert mqtt_sync.count(mqtt_mirror) == 0


@pytest.fixture
def webhooks(warehouse, clock, tmp_path, monkeypatch):
    """A warehouse with a loaded, a rejected and a waiting delivery, and one without work."""
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    taking = Inbox(warehouse, clock)
    taking.take([NewDelivery("git", "1", "push", b"{}", {}, 3)])
    taking.take([NewDelivery("git", "2", "push", b"no JSON", {}, 3)])
    load_due(warehouse, clock, FolderStore(tmp_path / "artifacts"), "git")
    taking.take([NewDelivery("git", "3", "push", b"{}", {}, 3)])
    taking.take([NewDelivery("chat", "1", "said", b"{}", {}, 0)])
    return warehouse


def test_accepted_deliveries_are_loaded_rejected_waiting_or_without_work(webhooks):
    with webhooks.reading() as connection:
        states = connection.execute(
            select(inbox_states.c.state).order_by(inbox_states.c.source, inbox_states.c.delivery_id)
        )
        assert list(states.scalars()) == ["done", "done", "done", "received"]
    verdict = verify(webhooks, BalanceFilter("inbox"))
    assert not verdict.imbalances
    assert verdict.counts["inbox", "deliveries"].balanced == 2


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    "fault",
    [
        "DELETE FROM events_webhooks",
        "UPDATE landings SET rows_rejected = 0 WHERE partition_key = 'git|2'",
        "UPDATE work_items SET state = 'done' WHERE item_key = '3'",
    ],
)
def test_a_lost_delivery_is_found(webhooks, fault):
    plant_and_expect_rows(webhooks, fault)
    assert differences(webhooks)["inbox", "deliveries"] == 1


def intention(entity: str, version_number: int, state: str) -> dict[str, object]:
    return {
        "topic": "routing/row",
        "entity": entity,
        "version_number": version_number,
        "payload": "{}",
        "cause": "source",
        "state": state,
        "attempt_count": 0,
        "planned_at": NOON,
        "due_at": NOON,
        "changed_at": NOON,
        "run_id": "run",
    }


def test_a_lost_intention_is_found(warehouse):
    planned = [("a", 1, "superseded"), ("a", 2, "done"), ("b", 1, "waiting"), ("c", 1, "dead")]
    with warehouse.writing() as connection:
        connection.execute(insert(outbox), [intention(*each) for each in planned])
    assert verify(warehouse).counts["outbox", "intentions"].balanced == 1
    plant_and_expect_rows(warehouse, "DELETE FROM outbox WHERE entity = 'a' AND version_number = 1")
    assert differences(warehouse) == {("outbox", "intentions"): 1}
