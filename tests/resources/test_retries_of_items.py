"""Failed and dead work items, found and retried through the domains that declare them."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from orchestration_project.catalog import REGISTRY
from orchestration_project.engine.contracts.work_items import ItemSettlement, NewItem
from orchestration_project.engine.work_items import WorkItems
from orchestration_project.errors import (
    ConfigurationError,
    ContractError,
    OrchestrationError,
    TransientError,
)
from orchestration_project.services.inbox.rows import (
    Inbox,
    NewDelivery,
    build_topic,
    open_delivery_items,
)
from orchestration_project.services.retries import retrying
from orchestration_project.services.retries.retrying import ItemRetries
from orchestration_project.services.retries.rules import ItemFilter, TopicCount
from orchestration_project.tables.spine import inbox_states, work_items

LEASE = timedelta(minutes=15)
BUSY, BROKEN_RULE = TransientError("the disk is full"), ContractError("it breaks a rule")


class FailingInbox:
    """An inbox whose deliveries fail."""

    def __init__(self, warehouse, clock) -> None:
        self.warehouse = warehouse
        self.clock = clock
        self.retries = ItemRetries(warehouse, clock, REGISTRY)

    def fail(self, source: str, attempts: int = 1, **errors: OrchestrationError) -> None:
        """Store a delivery for each error, and have an attempt at each end with it."""
        received = [NewDelivery(source, error, "push", b"{}", {}, attempts) for error in errors]
        Inbox(self.warehouse, self.clock).take(received)
        self.end(open_delivery_items(self.warehouse, self.clock), build_topic(source), errors)

    def end(self, items: WorkItems, topic: str, errors) -> None:
        until = self.clock.now() + LEASE
        claimed = items.claim(topic, limit=99, run_id="run", until=until)
        results = [ItemSettlement.of_error(item, errors[item.key]) for item in claimed]
        with self.warehouse.writing() as connection:
            items.settle(connection, results)

    def states(self, table=work_items, key="item_key") -> dict[str, str]:
        with self.warehouse.reading() as connection:
            return {**dict(connection.execute(select(table.c[key], table.c.state)).all())}


@pytest.fixture
def failing_inbox(warehouse, clock) -> FailingInbox:
    return FailingInbox(warehouse, clock)


def test_failed_and_dead_items_are_counted_by_topic_and_listed_those_first_that_are_retried(
    failing_inbox,
):
    failing_inbox.fail("git", attempts=2, a=BROKEN_RULE, b=BUSY)
    failing_inbox.fail("shop", c=BUSY)
    plan = failing_inbox.retries.plan(ItemFilter())
    assert plan.topics == [TopicCount("webhooks/git", 1, 1), TopicCount("webhooks/shop", 1, 0)]
    listed = [
        (planned_item.item_key, planned_item.state, planned_item.attempt_count)
        for planned_item in plan.first
    ]
    assert listed == [("b", "failed", 1), ("c", "dead", 1), ("a", "dead", 1)]
    assert [planned_item.reason_code for planned_item in plan.first] == [
        "transient",
        "transient",
        "contract",
    ]
    assert [bool(planned_item.left_out_because) for planned_item in plan.first] == [
        False,
        False,
        True,
    ]
    assert failing_inbox.retries.plan(ItemFilter(domain="finra")).topics == []
    assert failing_inbox.states() == {
        "a": "dead",
        "b": "failed",
        "c": "dead",
    }  # a plan changes nothing


def test_retried_items_are_ready_in_the_inbox_too_and_may_be_attempted_three_more_times(
    failing_inbox,
):
    failing_inbox.fail("git", a=BROKEN_RULE, b=BUSY)
    assert failing_inbox.retries.retry(ItemFilter()) == {"webhooks/git": 1}
    assert failing_inbox.states() == {"a": "dead", "b": "ready"}
    assert failing_inbox.states(inbox_states, "delivery_id") == {"a": "dead", "b": "received"}
    for state in ("failed", "failed", "dead"):
        failing_inbox.end(
            open_delivery_items(failing_inbox.warehouse, failing_inbox.clock),
            "webhooks/git",
            {"b": BUSY},
        )
        assert failing_inbox.states()["b"] == state
        failing_inbox.clock.at += LEASE
    [b] = [
        planned_item
        for planned_item in failing_inbox.retries.plan(ItemFilter()).first
        if planned_item.item_key == "b"
    ]
    assert b.attempt_count == 4
    assert failing_inbox.retries.retry(ItemFilter(include_permanent=True)) == {"webhooks/git": 2}
    assert failing_inbox.retries.retry(ItemFilter(include_permanent=True)) == {}


def test_items_are_selected_by_topic_key_run_and_time(failing_inbox):
    failing_inbox.fail("git", a=BUSY)
    at = failing_inbox.clock.now()
    failing_inbox.clock.at += LEASE
    failing_inbox.fail("shop", a=BUSY, b=BROKEN_RULE)

    def selected(**wanted) -> list[str]:
        first = failing_inbox.retries.plan(ItemFilter(**wanted)).first
        return [
            f"{planned_item.topic}|{planned_item.item_key}"
            for planned_item in first
            if not planned_item.left_out_because
        ]

    assert selected(topics=["webhooks/git"]) == ["webhooks/git|a"]
    assert selected(item_keys=["a", "b"], topics=["webhooks/shop"]) == [
        "webhooks/shop|a",
        "webhooks/shop|b",
    ]
    assert selected(since=at) == ["webhooks/shop|a"]
    assert selected(run_id="another") == []
    assert failing_inbox.retries.plan(ItemFilter(item_keys=["a", "z"])).missing_keys == ["z"]
    wanted = ItemFilter(item_keys=["b"], topics=["webhooks/shop"])
    assert failing_inbox.retries.retry(wanted) == {"webhooks/shop": 1}
    assert failing_inbox.retries.plan(ItemFilter(item_keys=["b"])).missing_keys == [
        "b"
    ]  # it is ready


def test_topics_that_no_domain_declares_are_unknown_and_left_alone(failing_inbox):
    failing_inbox.fail("git", a=BUSY)
    items = WorkItems(failing_inbox.warehouse, failing_inbox.clock)
    items.enqueue("letters/intake", [NewItem("d", "1", allowed_count=1)])
    failing_inbox.end(items, "letters/intake", {"d": BUSY})
    assert failing_inbox.retries.retry(ItemFilter()) == {"webhooks/git": 1}
    assert failing_inbox.states() == {"a": "ready", "d": "dead"}
    for wanted in (
        ItemFilter(topics=["letters/intake"]),
        ItemFilter(topics=["webhooks/other"]),
    ):
        for ask in (failing_inbox.retries.plan, failing_inbox.retries.retry):
            with pytest.raises(ConfigurationError, match="expected: one of webhooks/git"):
                ask(wanted)
    with pytest.raises(ConfigurationError, match="no topic has items"):
        failing_inbox.retries.plan(ItemFilter(topics=["webhooks/git"], domain="finra"))


def test_more_items_than_a_statement_names_are_retried_batch_by_batch(failing_inbox, monkeypatch):
    monkeypatch.setattr(retrying, "KEYS_PER_STATEMENT", 2)
    monkeypatch.setattr(retrying, "ITEMS_LISTED", 3)
    failing_inbox.fail("git", **dict.fromkeys("abcde", BUSY), x=BROKEN_RULE)
    plan = failing_inbox.retries.plan(ItemFilter())
    assert plan.topics == [TopicCount("webhooks/git", 5, 1)]
    assert [planned_item.item_key for planned_item in plan.first] == ["a", "b", "c"]
    assert failing_inbox.retries.retry(ItemFilter()) == {"webhooks/git": 5}


def test_an_item_that_fails_permanently_after_it_was_selected_stays_as_it_is(failing_inbox):
    failing_inbox.fail("git", a=BROKEN_RULE)
    items = open_delivery_items(failing_inbox.warehouse, failing_inbox.clock)
    assert items.retry("webhooks/git", keys=["a"], except_reasons=["contract"]) == []
    assert failing_inbox.states() == {"a": "dead"}
    assert len(items.retry("webhooks/git", keys=["a"], except_reasons=["source"])) == 1
