"""The inbox on both databases: what is stored once, refused, and written together."""

import base64
import json
import threading
from dataclasses import replace
from datetime import timedelta

import dagster as dg
import pytest
from sqlalchemy import select

from orchestration_project.engine.contracts.webhooks.sources import WebhookSource
from orchestration_project.engine.tracing.traceparent import begin_trace
from orchestration_project.errors import ConfigurationError, TransientError
from orchestration_project.registry import Answer, Probe
from orchestration_project.services.inbox.admission import Admission
from orchestration_project.services.inbox.rows import (
    MAX_BATCH_BYTES,
    MAX_BATCH_DELIVERIES,
    GroupCommit,
    Inbox,
    NewDelivery,
    Stored,
)
from orchestration_project.services.inbox.senders import Sender, read_senders
from orchestration_project.services.inbox.work import InboxQueue, plan_delivery
from orchestration_project.settings import load_settings
from orchestration_project.tables.spine import audits, inbox, inbox_states
from tests.resources.weeks import NOON

FIRST = NewDelivery("git", "1", "push", b'{"\xff\x00": 1}', {"user-agent": "é"}, 3)


@pytest.fixture
def taking(warehouse, clock) -> Inbox:
    return Inbox(warehouse, clock)


def rows(warehouse, *columns, table=inbox) -> list:
    with warehouse.reading() as connection:
        wanted = select(*(table.c[name] for name in columns)).order_by(table.c.received_at)
        return [tuple(row) for row in connection.execute(wanted)]


def test_a_delivery_is_kept_byte_by_byte_with_what_came_with_it(warehouse, taking):
    assert taking.take([FIRST]) == ["stored"]
    with warehouse.reading() as connection:
        row = dict(connection.execute(select(inbox)).mappings().one())
        row |= dict(connection.execute(select(inbox_states)).mappings().one())
    assert base64.b64decode(row.pop("body")) == FIRST.body
    assert json.loads(row.pop("headers")) == {"user-agent": "é"}
    assert row == {
        "source": "git",
        "delivery_id": "1",
        "kind": "push",
        "sha256": "549719c2748dd12a38ecc13f7eed53dd881dd53ea855e0a5cd4a1df5a2328559",
        "byte_count": 9,
        "received_at": NOON,
        "state": "received",
        "attempt_count": 0,
        "allowed_count": 3,
        "run_id": None,
        "changed_at": NOON,
        "trace_id": None,
        "span_id": None,
    }


@pytest.mark.slow_on_postgresql
def test_the_runs_of_a_delivery_belong_to_the_trace_of_its_request(warehouse, taking, clock):
    trace = begin_trace()
    taking.take([replace(FIRST, trace=trace)])
    git = WebhookSource(scheme="github", job="events_webhooks")
    with dg.instance_for_test() as instance:
        [row] = InboxQueue(warehouse, clock).dispatch(instance, {"git": git}).due
    assert plan_delivery(row, "events_webhooks").tags.items() >= trace.as_tags().items()
    assert (
        ".dagster/traceparent"
        not in plan_delivery(replace(row, trace_id=None), "events_webhooks").tags
    )


def test_the_same_delivery_is_stored_once_and_a_changed_one_is_refused_and_audited(
    warehouse, taking, clock
):
    other = replace(FIRST, source="jira")
    changed = replace(FIRST, body=b"[]")
    assert taking.take([FIRST, other]) == ["stored", "stored"]
    clock.at += timedelta(hours=1)
    assert taking.take([FIRST, changed, other, changed]) == [
        *("duplicate", "changed", "duplicate", "changed")
    ]
    assert taking.take([changed]) == ["changed"]
    assert len(rows(warehouse, "source")) == 2
    with warehouse.reading() as connection:
        [audit] = connection.execute(select(audits)).all()
    assert (audit.table_name, audit.partition_key, audit.outcome) == ("inbox", "git", "failed")
    assert audit.name == "same_id_has_the_same_body"
    assert audit.found.startswith("2 bytes whose SHA-256 is 4f53cda18c2baa0c")
    assert audit.offenders == '["1"]'


def test_of_equal_ids_in_one_transaction_the_first_one_counts(warehouse, taking):
    changed = replace(FIRST, body=b"[]")
    assert taking.take([FIRST, changed, FIRST]) == ["stored", "changed", "duplicate"]
    assert rows(warehouse, "byte_count") == [(9,)]


def test_deliveries_have_the_order_in_which_they_came_also_while_the_clock_stands_or_goes_back(
    warehouse, taking, clock
):
    taking.take([replace(FIRST, delivery_id=letter) for letter in "ca"])
    clock.at -= timedelta(days=1)
    taking.take([replace(FIRST, delivery_id="b")])
    assert rows(warehouse, "delivery_id") == [("c",), ("a",), ("b",)]


def test_what_nothing_is_to_be_done_with_is_done_and_does_not_wait(warehouse, taking):
    taking.take([FIRST, replace(FIRST, delivery_id="2", allowed_attempts=0)])
    assert rows(warehouse, "state", table=inbox_states) == [("received",), ("done",)]
    assert taking.waiting_count(5) == 1


def test_deliveries_that_come_during_a_commit_share_the_next_one():
    began, go_on = threading.Event(), threading.Event()
    taken: list[int] = []

    def take(deliveries) -> list[Stored]:
        taken.append(len(deliveries))
        began.set()
        go_on.wait(10)
        return [*["stored" for _ in deliveries[1:]], "duplicate"]

    commit = GroupCommit(take)
    first, place = commit.store(FIRST)
    assert began.wait(10)
    others = [commit.store(FIRST) for _ in range(MAX_BATCH_DELIVERIES)]
    with pytest.raises(TransientError, match="more deliveries came"):
        commit.store(FIRST)
    go_on.set()
    commit.close()
    assert taken == [1, MAX_BATCH_DELIVERIES]
    assert first.result()[place] == "duplicate"
    assert [done.result()[place] for done, place in others[-2:]] == ["stored", "duplicate"]


def test_what_waits_for_a_commit_is_bounded_in_bytes():
    began, go_on = threading.Event(), threading.Event()
    large = replace(FIRST, body=bytes(MAX_BATCH_BYTES // 2 + 1))

    def take(deliveries) -> list[Stored]:
        began.set()
        go_on.wait(10)
        return ["stored"] * len(deliveries)

    commit = GroupCommit(take)
    commit.store(FIRST)
    assert began.wait(10)
    commit.store(large)
    with pytest.raises(TransientError):
        commit.store(large)
    go_on.set()
    commit.close()


def test_a_transaction_that_fails_fails_for_all_that_were_in_it():
    def take(deliveries):
        raise TransientError("no database")

    commit = GroupCommit(take)
    done, _ = commit.store(FIRST)
    commit.close()
    with pytest.raises(TransientError, match="no database"):
        done.result()


class Waiting:
    """Stands for an inbox in which so many wait."""

    count = 0

    def waiting_count(self, most: int) -> int:
        return min(self.count, most)


def test_there_is_room_until_as_many_wait_as_may_or_a_disk_is_full():
    now, full, waiting = [0.0], [False], Waiting()

    def disk() -> Answer:
        if full[0]:
            raise ConfigurationError("a disk is nearly full")
        return Answer("free")

    room = Admission(
        waiting,  # pyright: ignore[reportArgumentType] - as far as it is asked
        Probe("disk", (), lambda: "", disk),
        most_rows=2,
        monotonic=lambda: now[0],
    )

    def found() -> str:
        room.poll()
        return room.problem

    assert (room.is_recent, found(), room.is_recent, room.is_new) == (False, "", True, True)
    waiting.count = 3
    assert found() == ""  # it looks once a second
    now[0] = 1.0
    assert (room.is_recent, room.is_new) == (True, False)
    assert found() == "2 deliveries wait in the inbox, as many as may (WEBHOOK_INBOX_ROWS)"
    now[0], full[0] = 2.0, True
    assert found() == "a disk is nearly full"
    now[0] = 7.0
    assert not room.is_recent


def test_a_source_has_the_keys_that_are_set_and_without_one_says_what_is_missing(
    tmp_path, monkeypatch
):
    file = tmp_path / "hooks.yaml"
    file.write_text("sources: {a: {scheme: github}, b: {scheme: github}, c: {scheme: standard}}")
    monkeypatch.setenv("WEBHOOKS_FILE", str(file))
    monkeypatch.setenv("WEBHOOK_SECRET_A", "the present secret")
    monkeypatch.setenv("WEBHOOK_SECRET_A_OLD", "the earlier secret")
    monkeypatch.setenv("WEBHOOK_SECRET_B_OLD", "the earlier secret")
    monkeypatch.setenv("WEBHOOK_SECRET_C", "much too short")
    found = read_senders(load_settings())
    github = WebhookSource(scheme="github")
    assert found["a"] == Sender("a", github, (b"the present secret", b"the earlier secret"))
    assert found["b"] == Sender("b", github, problem="WEBHOOK_SECRET_B is not set")
    assert found["c"].keys == ()
    assert "a secret of the webhook source c cannot be used" in found["c"].problem


def test_a_declaration_that_is_not_there_is_a_clear_error(tmp_path, monkeypatch):
    monkeypatch.setenv("WEBHOOKS_FILE", str(tmp_path / "none.yaml"))
    with pytest.raises(ConfigurationError, match="cannot be read") as refused:
        read_senders(load_settings())
    assert refused.value.expected == f"a text file in UTF-8 at {tmp_path}/none.yaml"
