"""Deliveries that a run claims, lands and settles together, on both databases."""

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select

from orchestration_project.connections.artifacts import FolderStore
from orchestration_project.engine.captures import Captures
from orchestration_project.errors import OrchestrationError
from orchestration_project.resources.events import EventLanding, load_due, record_nothing
from orchestration_project.services.inbox import Inbox, Received
from orchestration_project.services.inbox.work import LEASE, MAX_BATCH_BYTES, InboxQueue
from orchestration_project.tables.spine import inbox, landings, work_items
from orchestration_project.tables.webhooks import events_webhooks

FIRST = Received("git", "1", "push", b'{"a": 1}', {}, 2)


class Desk:
    """An inbox, and runs that land its deliveries."""

    def __init__(self, warehouse, clock, folder) -> None:
        self.warehouse = warehouse
        self.clock = clock
        self.queue = InboxQueue(warehouse, clock)
        self._captures = Captures(FolderStore(folder))

    def deliver(self, *ids: str, body: bytes = FIRST.body) -> None:
        deliveries = [replace(FIRST, delivery_id=each, body=body) for each in ids]
        assert Inbox(self.warehouse, self.clock).take(deliveries) == ["stored"] * len(ids)

    def landing(self, run_id: str = "run") -> EventLanding:
        return EventLanding(self.warehouse, self._captures, run_id)

    def claim(self, run_id: str = "run", limit: int = 99) -> list:
        return [*self.queue.claim("git", run_id=run_id, in_order=True, limit=limit)]

    def load(self, run_id: str = "run", **more):
        return load_due(self.queue, self.landing(run_id), "git", in_order=True, **more)

    def rows(self, table, *names: str) -> list[tuple]:
        with self.warehouse.reading() as connection:
            found = connection.execute(select(*(table.c[name] for name in names)))
            return sorted(tuple(row) for row in found)


@pytest.fixture
def desk(warehouse, clock, tmp_path) -> Desk:
    return Desk(warehouse, clock, tmp_path / "artifacts")


def keys(claimed) -> list[str]:
    return [each.item.key for each in claimed]


def test_a_run_lands_deliveries_batch_by_batch_up_to_its_limit_and_the_next_one_goes_on(desk):
    ids = [f"{number:02}" for number in range(12)]
    desk.deliver(*ids)
    first = desk.load("one", limit=10)
    assert (first.delivery_count, first.outcome, first.row_count) == (10, "landed", 10)
    assert desk.load("two").delivery_count == 2
    assert desk.load("three").outcome == "nothing was due"
    assert [key for (key,) in desk.rows(events_webhooks, "delivery_id")] == ids
    assert len({at for (at,) in desk.rows(landings, "landed_at")}) <= 2  # in two transactions
    assert desk.rows(inbox, "delivery_id", "state", "run_id") == [
        *((each, "done", "one") for each in ids[:10]),
        *((each, "done", "two") for each in ids[10:]),
    ]


def test_a_batch_holds_as_many_bodies_as_fit_and_the_rest_waits_without_an_attempt(desk):
    desk.deliver("1", "2", "3", body=b" " * (MAX_BATCH_BYTES // 2))
    assert keys(desk.claim()) == ["1", "2"]
    assert desk.rows(inbox, "delivery_id", "state", "attempt_count") == [
        ("1", "running", 0),
        ("2", "running", 0),
        ("3", "received", 0),
    ]


def test_a_body_that_is_larger_than_a_batch_is_one_by_itself(desk):
    desk.deliver("1", body=b" " * (MAX_BATCH_BYTES + 1))
    desk.deliver("2")
    assert keys(desk.claim()) == ["1"]


def test_a_batch_is_landed_and_settled_together_or_not_at_all(desk):
    desk.deliver("1", "2")
    claimed = desk.claim()

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    with suppress(ZeroDivisionError):
        desk.landing().land_all([each.content for each in claimed], fail)
    assert desk.rows(events_webhooks, "delivery_id") == []
    assert {state for _, state in desk.rows(inbox, "delivery_id", "state")} == {"running"}


def test_a_run_whose_lease_was_taken_over_lands_a_delivery_and_settles_nothing(desk, clock):
    desk.deliver("1")
    [slow] = desk.claim("slow")
    clock.at += LEASE
    [quick] = desk.claim("quick")
    for claimed in (slow, quick):
        ended = desk.landing().land_all([claimed.content])
        assert not isinstance(ended[0], OrchestrationError)
    assert desk.load().delivery_count == 0  # it is leased
    assert desk.rows(work_items, "state", "lease_holder", "attempt_count") == [
        ("leased", "quick", 1)
    ]
    assert len(desk.rows(landings, "group_id")) == len(desk.rows(events_webhooks, "kind")) == 1


def test_deliveries_that_come_while_a_run_lands_others_are_landed_by_it(desk):
    desk.deliver("1")
    landing = desk.landing()

    class Arriving(EventLanding):
        """Has another delivery arrive with the first batch."""

        def land_all(self, contents, after=record_nothing):
            if contents[0].delivery_id == "1":
                desk.deliver("2")
            return super().land_all(contents, after)

    arriving = Arriving(landing.warehouse, landing.captures, landing.run_id)
    assert load_due(desk.queue, arriving, "git", in_order=True).delivery_count == 2


def test_a_delivery_whose_source_had_no_job_can_be_replayed(desk):
    Inbox(desk.warehouse, desk.clock).take([replace(FIRST, allowed_attempts=0)])
    assert desk.rows(work_items, "item_key") == []
    [row] = desk.queue.put_back("git", "1", attempts=3)
    assert (row.state, row.attempt_count) == ("done", 0)
    assert desk.load().outcome == "landed"
    assert desk.rows(inbox, "state", "attempt_count", "allowed_count") == [("done", 1, 3)]


def test_the_same_delivery_from_two_gateways_is_one_item(desk, clock):
    desk.deliver("1")
    clock.at += timedelta(seconds=1)
    assert Inbox(desk.warehouse, clock).take([FIRST]) == ["duplicate"]
    desk.load()
    assert Inbox(desk.warehouse, clock).take([FIRST]) == ["duplicate"]
    assert desk.rows(work_items, "item_key", "state", "attempt_count") == [("1", "done", 1)]
