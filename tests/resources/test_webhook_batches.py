"""Deliveries that a run claims, loads and settles together, on both databases."""

import base64
from dataclasses import replace
from datetime import timedelta
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import select, update

from orchestration_project.assets.events import deliveries as assets
from orchestration_project.engine.captures import Capture, Captures
from orchestration_project.engine.connections.artifacts import FolderStore
from orchestration_project.errors import TransientError
from orchestration_project.services.inbox.rows import Inbox, NewDelivery, build_topic
from orchestration_project.services.inbox.work import MAX_BATCH_BYTES, InboxQueue
from orchestration_project.tables.spine import inbox, inbox_states, landings, work_items
from orchestration_project.tables.webhooks import events_webhooks
from tests.runs import expect_failure, metadata_by_partition
from tests.webhook_runs import load_content, load_due

LEASE = timedelta(minutes=15)
TOPIC = build_topic("git")
FIRST = NewDelivery("git", "1", "push", b'{"a": 1}', {}, 2)


class InboxRuns:
    """An inbox, and runs that load its deliveries."""

    def __init__(self, warehouse, clock, folder) -> None:
        self.warehouse = warehouse
        self.clock = clock
        self.queue = InboxQueue(warehouse, clock)
        self.store = FolderStore(folder)

    def deliver_and_expect_stored(self, *ids: str, body: bytes = FIRST.body) -> None:
        deliveries = [replace(FIRST, delivery_id=delivery_id, body=body) for delivery_id in ids]
        assert Inbox(self.warehouse, self.clock).take(deliveries) == ["stored"] * len(ids)

    def claim(self, run_id: str = "run") -> list:
        until = self.clock.now() + LEASE
        return [*self.queue.claim(TOPIC, limit=99, run_id=run_id, until=until, in_order=True)]

    def run(self) -> dg.ExecuteInProcessResult:
        return load_due(self.warehouse, self.clock, self.store, "git")

    def load(self) -> dict[str, Any]:
        """Run what is due; return the run's metadata."""
        return metadata_by_partition(self.run())["webhooks"][None]

    def rows(self, table, *names: str) -> list[tuple]:
        with self.warehouse.reading() as connection:
            found = connection.execute(select(*(table.c[name] for name in names)))
            return sorted(tuple(row) for row in found)


@pytest.fixture
def inbox_runs(warehouse, clock, tmp_path) -> InboxRuns:
    return InboxRuns(warehouse, clock, tmp_path / "artifacts")


def keys(claimed) -> list[str]:
    return [item.key for item in claimed]


@pytest.mark.slow
def test_a_run_loads_deliveries_in_batches_up_to_its_limit(inbox_runs, monkeypatch):
    monkeypatch.setattr(assets, "MAX_DELIVERIES_PER_RUN", 10)
    ids = [f"{number:02}" for number in range(12)]
    inbox_runs.deliver_and_expect_stored(*ids)
    one, two = inbox_runs.run(), inbox_runs.run()
    first = metadata_by_partition(one)["webhooks"][None]
    assert (first["deliveries_count"], first["outcome"], first["rows"]) == (10, "landed", 10)
    assert metadata_by_partition(two)["webhooks"][None]["deliveries_count"] == 2
    assert inbox_runs.load()["outcome"] == "nothing was due"
    assert [key for (key,) in inbox_runs.rows(events_webhooks, "delivery_id")] == ids
    assert len({at for (at,) in inbox_runs.rows(landings, "landed_at")}) <= 2  # in two transactions
    assert inbox_runs.rows(inbox_states, "delivery_id", "state", "run_id") == [
        *((delivery_id, "done", one.run_id) for delivery_id in ids[:10]),
        *((delivery_id, "done", two.run_id) for delivery_id in ids[10:]),
    ]


@pytest.mark.slow
def test_a_batch_holds_as_many_bodies_as_fit_and_the_rest_waits_without_an_attempt(inbox_runs):
    inbox_runs.deliver_and_expect_stored("1", "2", "3", body=b" " * (MAX_BATCH_BYTES // 2))
    assert keys(inbox_runs.claim()) == ["1", "2"]
    assert inbox_runs.rows(inbox_states, "delivery_id", "state", "attempt_count") == [
        ("1", "running", 0),
        ("2", "running", 0),
        ("3", "received", 0),
    ]


@pytest.mark.slow_on_postgresql
def test_a_body_that_is_larger_than_a_batch_is_one_by_itself(inbox_runs):
    inbox_runs.deliver_and_expect_stored("1", body=b" " * (MAX_BATCH_BYTES + 1))
    inbox_runs.deliver_and_expect_stored("2")
    assert keys(inbox_runs.claim()) == ["1"]


@pytest.mark.slow_on_postgresql
def test_a_batch_is_loaded_and_settled_together_or_not_at_all(inbox_runs, monkeypatch):
    inbox_runs.deliver_and_expect_stored("1", "2")

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(InboxQueue, "settle", fail)
    assert not inbox_runs.run().success
    assert inbox_runs.rows(events_webhooks, "delivery_id") == []
    assert {state for _, state in inbox_runs.rows(inbox_states, "delivery_id", "state")} == {
        "running"
    }


@pytest.mark.slow_on_postgresql
def test_a_run_that_lost_its_lease_loads_and_settles_nothing(inbox_runs, clock):
    inbox_runs.deliver_and_expect_stored("1")
    [slow] = inbox_runs.claim("slow")
    clock.at += LEASE
    [quick] = inbox_runs.claim("quick")
    for claimed in (slow, quick):
        assert not load_content(
            inbox_runs.warehouse, clock, inbox_runs.store, claimed.content
        ).error
    assert inbox_runs.load()["deliveries_count"] == 0  # it is leased
    assert inbox_runs.rows(work_items, "state", "lease_holder", "attempt_count") == [
        ("leased", "quick", 1)
    ]
    assert (
        len(inbox_runs.rows(landings, "group_id"))
        == len(inbox_runs.rows(events_webhooks, "kind"))
        == 1
    )


@pytest.mark.slow_on_postgresql
def test_a_delivery_that_another_run_claims_is_not_loaded(inbox_runs, monkeypatch, capfd):
    inbox_runs.deliver_and_expect_stored("1")

    def claim_and_expect_first() -> None:
        inbox_runs.clock.at += 2 * LEASE
        assert keys(inbox_runs.claim("quick")) == ["1"]

    meanwhile(monkeypatch, claim_and_expect_first)
    metadata = inbox_runs.load()
    counts = (metadata["deliveries_count"], metadata["lost_count"])
    assert (metadata["outcome"], *counts) == ("lost", 1, 1)
    assert "another run had claimed 1 of the items" in capfd.readouterr().err
    assert inbox_runs.rows(landings, "group_id") == []
    assert inbox_runs.rows(work_items, "state", "lease_holder", "attempt_count") == [
        ("leased", "quick", 1)
    ]


def meanwhile(monkeypatch, act) -> None:
    """Act once, while a run keeps the capture of its first delivery."""
    keep, acts = Captures.keep_all, iter([act])

    def act_and_keep(self: Captures, *fetched: Any) -> list[Capture]:
        for act in acts:
            act()
        return keep(self, *fetched)

    monkeypatch.setattr(Captures, "keep_all", act_and_keep)


@pytest.mark.slow_on_postgresql
def test_deliveries_that_arrive_during_a_run_are_loaded_by_it(inbox_runs, monkeypatch):
    inbox_runs.deliver_and_expect_stored("1")
    meanwhile(monkeypatch, lambda: inbox_runs.deliver_and_expect_stored("2"))
    assert inbox_runs.load()["deliveries_count"] == 2


@pytest.mark.slow_on_postgresql
def test_a_store_that_takes_no_bytes_fails_the_run_and_no_delivery(inbox_runs, monkeypatch):
    inbox_runs.deliver_and_expect_stored("1", "2")

    def fail() -> None:
        raise TransientError("the store does not answer")

    with monkeypatch.context() as patch:
        meanwhile(patch, fail)
        assert "the store does not answer" in expect_failure(inbox_runs.run(), "land_webhook")
    assert inbox_runs.rows(inbox_states, "state", "attempt_count") == [
        ("received", 0),
        ("received", 0),
    ]
    assert inbox_runs.load()["landed_count"] == 2


@pytest.mark.slow_on_postgresql
def test_a_delivery_whose_source_had_no_job_can_be_replayed(inbox_runs):
    Inbox(inbox_runs.warehouse, inbox_runs.clock).take([replace(FIRST, allowed_attempts=0)])
    assert inbox_runs.rows(work_items, "item_key") == []
    [row] = inbox_runs.queue.put_back("git", "1", attempts=3)
    assert (row.state, row.attempt_count) == ("done", 0)
    assert inbox_runs.load()["outcome"] == "landed"
    assert inbox_runs.rows(inbox_states, "state", "attempt_count", "allowed_count") == [
        ("done", 1, 3)
    ]


@pytest.mark.slow_on_postgresql
def test_the_same_delivery_from_two_gateways_is_one_item(inbox_runs, clock):
    inbox_runs.deliver_and_expect_stored("1")
    clock.at += timedelta(seconds=1)
    assert Inbox(inbox_runs.warehouse, clock).take([FIRST]) == ["duplicate"]
    inbox_runs.load()
    assert Inbox(inbox_runs.warehouse, clock).take([FIRST]) == ["duplicate"]
    assert inbox_runs.rows(work_items, "item_key", "state", "attempt_count") == [("1", "done", 1)]


@pytest.mark.slow_on_postgresql
def test_a_loaded_body_is_stored_once_and_a_replay_has_its_bytes(inbox_runs):
    body = ' {"name": "Änne",  "b": 1.50}\n'.encode()
    inbox_runs.deliver_and_expect_stored("1", body=body)
    inbox_runs.deliver_and_expect_stored("2", body=b"no JSON")
    inbox_runs.load()
    assert inbox_runs.rows(events_webhooks, "delivery_id", "payload") == [("1", body.decode())]
    stored = base64.b64encode(b"no JSON").decode()  # the table has no row of it
    assert inbox_runs.rows(inbox, "delivery_id", "body") == [("1", None), ("2", stored)]
    assert inbox_runs.queue.content("git", "1").body == body
    inbox_runs.queue.put_back("git", "1", attempts=1)
    [claimed] = inbox_runs.claim()
    assert claimed.content.body == body


@pytest.mark.slow_on_postgresql
def test_a_body_stays_in_the_inbox_where_its_row_has_another(inbox_runs):
    inbox_runs.deliver_and_expect_stored("1")
    [claimed] = inbox_runs.claim()
    load_content(inbox_runs.warehouse, inbox_runs.clock, inbox_runs.store, claimed.content)
    with inbox_runs.warehouse.writing() as connection:
        stored = base64.b64encode(FIRST.body).decode()
        connection.execute(update(inbox).values(body=stored))
        connection.execute(update(events_webhooks).values(payload='{"a": 2}'))
    load_content(inbox_runs.warehouse, inbox_runs.clock, inbox_runs.store, claimed.content)
    assert inbox_runs.rows(inbox, "body") == [(stored,)]
    assert inbox_runs.queue.content("git", "1").body == FIRST.body
