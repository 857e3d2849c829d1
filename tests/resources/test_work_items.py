"""Work items on both databases: claimed by one run at a time, settled once, retried, and listed."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from random import Random
from typing import Literal

import pytest
from sqlalchemy import event, text

from orchestration_project.engine.contracts.work_items import (
    RETRY_PAUSES,
    ClaimedItem,
    ItemSettlement,
    NewItem,
)
from orchestration_project.engine.work_items import WorkItems
from orchestration_project.errors import (
    ConfigurationError,
    ContractError,
    OrchestrationError,
    TransientError,
)
from tests.resources.weeks import NOON

MINUTE = timedelta(minutes=1)
LEASE = timedelta(minutes=10)
TOPIC = "documents/intake"


class TopicItems:
    """Works on the items of one topic."""

    def __init__(self, warehouse, clock) -> None:
        self.warehouse = warehouse
        self.clock = clock
        self.items = WorkItems(warehouse, clock)

    def enqueue(self, *keys: str, version: str = "1", **more) -> int:
        return self.items.enqueue(TOPIC, [NewItem(key, version, **more) for key in keys])

    def claim(self, run_id: str = "run", limit: int = 9, **more) -> list[ClaimedItem]:
        until = self.clock.now() + LEASE
        return [*self.items.claim(TOPIC, limit=limit, run_id=run_id, until=until, **more)]

    def settle(self, *results: ItemSettlement) -> list[str]:
        """Settle, and return the keys whose lease was not the current one."""
        with self.warehouse.writing() as connection:
            return [settled.item.key for settled in self.items.settle(connection, results)]

    def fail(self, *claimed: ClaimedItem, error: OrchestrationError | None = None) -> None:
        self.settle(*(ItemSettlement.of_error(item, error or BUSY) for item in claimed))

    def states(self) -> dict[str, str]:
        found = self.items.list_items(topic=TOPIC, limit=9999)
        return {work_item.item_key: work_item.state for work_item in found}

    def item(self, key: str):
        [item] = [item for item in self.items.list_items(topic=TOPIC) if item.item_key == key]
        return item


BUSY = TransientError("the parser is busy")


@pytest.fixture
def topic_items(warehouse, clock) -> TopicItems:
    return TopicItems(warehouse, clock)


def keys(claimed) -> list[str]:
    return [item.key for item in claimed]


def done(claimed: ClaimedItem, **more) -> ItemSettlement:
    return ItemSettlement(claimed, "done", **more)


def test_an_item_is_enqueued_once_claimed_by_one_run_and_settled(topic_items, clock):
    assert topic_items.enqueue("a", "b", input_sha256="abc") == 2
    assert topic_items.enqueue("a", "b") == 0
    [a, b] = topic_items.claim()
    assert (a.key, a.version, a.attempt_count, a.input_sha256) == ("a", "1", 0, "abc")
    assert topic_items.claim("other") == []
    assert topic_items.states() == {"a": "leased", "b": "leased"}
    clock.at += MINUTE
    assert topic_items.settle(done(a, result_version="7"), ItemSettlement(b, "skipped")) == []
    assert topic_items.states() == {"a": "done", "b": "skipped"}
    item = topic_items.item("a")
    assert (item.attempt_count, item.run_id, item.lease_holder) == (1, "run", None)
    assert (item.result_version, item.changed_at) == ("7", NOON + MINUTE)
    assert topic_items.enqueue("a") == 0  # it is done in this version
    assert topic_items.claim() == []


def test_items_are_claimed_in_the_order_in_which_they_were_enqueued_up_to_the_limit(
    topic_items, clock
):
    topic_items.enqueue("b")
    clock.at += MINUTE
    topic_items.enqueue("a", "c")
    topic_items.enqueue("0", enqueued_at=NOON - MINUTE)
    assert keys(topic_items.claim(limit=3)) == ["0", "b", "a"]


def test_a_new_version_replaces_the_older_one_and_its_lease(topic_items):
    topic_items.enqueue("a")
    topic_items.fail(*topic_items.claim())
    topic_items.items.retry(TOPIC)
    [older] = topic_items.claim()
    assert topic_items.enqueue("a", version="2", input_sha256="def") == 1
    assert topic_items.settle(done(older)) == ["a"]
    [newer] = topic_items.claim()
    assert (newer.version, newer.attempt_count, newer.input_sha256) == ("2", 0, "def")
    assert topic_items.settle(done(older)) == ["a"]
    assert topic_items.settle(done(newer)) == []


def test_of_items_with_the_same_key_the_last_one_is_enqueued(topic_items):
    assert topic_items.items.enqueue(TOPIC, [NewItem("a", "1"), NewItem("a", "2")]) == 1
    assert topic_items.item("a").version == "2"


def test_a_failed_item_waits_longer_after_each_attempt_and_is_dead_after_the_last_one(
    topic_items, clock
):
    topic_items.enqueue("a", allowed_count=3)
    for pause in RETRY_PAUSES[:2]:
        topic_items.fail(*topic_items.claim())
        assert topic_items.states() == {"a": "failed"}
        clock.at += pause - timedelta.resolution
        assert topic_items.claim() == []
        clock.at += timedelta.resolution
    topic_items.fail(*topic_items.claim())
    item = topic_items.item("a")
    assert (item.state, item.attempt_count, item.reason_code) == ("dead", 3, "transient")
    clock.at += timedelta(days=1)
    assert topic_items.claim() == []


def test_a_source_that_asks_for_a_longer_pause_gets_it(topic_items, clock):
    topic_items.enqueue("a")
    topic_items.fail(*topic_items.claim(), error=TransientError("throttled", retry_in_seconds=3600))
    assert topic_items.item("a").due_at == NOON + timedelta(hours=1)


@pytest.mark.parametrize(
    ("error", "what_to_do"),
    [
        (ConfigurationError("no key", remedy="set KEY"), "set KEY"),
        (ContractError("page 3 is encrypted"), "the data, or the rule that it breaks,"),
    ],
)
def test_a_permanent_failure_is_dead_at_once_and_its_reason_has_what_must_change(
    topic_items, error, what_to_do
):
    topic_items.enqueue("a")
    topic_items.fail(*topic_items.claim(), error=error)
    item = topic_items.item("a")
    assert (item.state, item.attempt_count) == ("dead", 1)
    assert item.reason.startswith(f"{error.what}; what to do: {what_to_do}")


def test_an_expired_lease_is_valid_until_another_run_claims_the_item(topic_items, clock):
    topic_items.enqueue("a", "b")
    [a, b] = topic_items.claim()
    clock.at += LEASE
    assert topic_items.settle(done(a)) == []
    [again] = topic_items.claim("other")
    assert (again.key, again.attempt_count) == ("b", 1)
    assert topic_items.settle(done(b)) == ["b"]
    assert topic_items.item("b").lease_holder == "other"
    assert topic_items.settle(done(again)) == []


def test_an_item_whose_leases_all_expire_is_dead_after_as_many_attempts_as_it_has(
    topic_items, clock
):
    topic_items.enqueue("a", allowed_count=2)
    for _ in range(2):
        assert keys(topic_items.claim()) == ["a"]
        clock.at += LEASE
    assert topic_items.claim() == []
    assert (topic_items.item("a").state, topic_items.item("a").reason_code) == (
        "dead",
        "lease_expired",
    )


def test_a_lease_of_before_the_clock_was_set_back_is_over(topic_items, clock):
    topic_items.enqueue("a")
    topic_items.claim()
    clock.at -= timedelta(days=1)
    assert keys(topic_items.claim("other")) == ["a"]


def test_a_failed_item_does_not_wait_for_a_clock_that_was_set_back(topic_items, clock):
    topic_items.enqueue("a")
    topic_items.fail(*topic_items.claim())
    clock.at -= timedelta(days=1)
    assert keys(topic_items.claim()) == ["a"]


def test_the_end_of_a_run_ends_its_leases_and_is_an_attempt_from_then_on(topic_items, clock):
    topic_items.enqueue("a", "b")
    topic_items.claim("killed", limit=1)
    topic_items.claim("alive", limit=1)
    assert sorted(topic_items.items.lease_holders(TOPIC)) == ["alive", "killed"]
    clock.at += MINUTE
    assert topic_items.items.expire(TOPIC, {"killed": NOON, "unknown": None}) == ["failed"]
    item = topic_items.item("a")
    assert (item.state, item.reason_code, item.attempt_count) == ("failed", "run_ended", 1)
    assert item.due_at == NOON + RETRY_PAUSES[0]
    assert topic_items.states()["b"] == "leased"
    assert keys(topic_items.claim()) == ["a"]


def test_what_was_claimed_and_not_begun_is_ready_again_without_an_attempt(topic_items):
    topic_items.enqueue("a")
    [a] = topic_items.claim()
    topic_items.settle(ItemSettlement(a, "ready"))
    [again] = topic_items.claim()
    assert (again.attempt_count, again.lease_token) == (0, a.lease_token + 1)


def test_a_settlement_is_lost_with_the_transaction_that_it_is_part_of(topic_items, warehouse):
    topic_items.enqueue("a")
    [a] = topic_items.claim()
    with suppress(ZeroDivisionError), warehouse.writing() as connection:
        assert topic_items.items.settle(connection, [done(a)]) == []
        raise ZeroDivisionError
    assert topic_items.states() == {"a": "leased"}
    assert topic_items.settle(done(a)) == []


def test_in_order_nothing_is_claimed_beside_a_lease_or_behind_an_item_that_waits(
    topic_items, clock
):
    for key in "cab":
        topic_items.enqueue(key)
        clock.at += MINUTE
    [c, a] = topic_items.claim(limit=2, in_order=True)
    assert (c.key, a.key) == ("c", "a")
    assert topic_items.claim("other", in_order=True) == []
    topic_items.fail(c)
    topic_items.settle(done(a))
    assert topic_items.claim(in_order=True) == []
    assert keys(topic_items.claim("unordered")) == ["b"]
    topic_items.items.retry(TOPIC, keys=["c"])
    assert topic_items.claim(in_order=True) == []


def test_in_order_an_item_that_is_put_back_comes_before_younger_ones(topic_items, clock):
    topic_items.enqueue("a", allowed_count=1)
    clock.at += MINUTE
    topic_items.enqueue("b")
    topic_items.fail(*topic_items.claim(limit=1, in_order=True))
    topic_items.items.retry(TOPIC)
    assert keys(topic_items.claim(in_order=True)) == ["a", "b"]


@pytest.mark.slow_after_first
@pytest.mark.parametrize("in_order", [True, False])
def test_an_item_that_failed_before_is_claimed_alone_where_that_is_asked_for(
    topic_items, clock, in_order
):
    topic_items.enqueue(*"abcd")
    [_, b, *others] = topic_items.claim()
    topic_items.settle(*(ItemSettlement(other, "ready") for other in others))
    topic_items.fail(b)
    topic_items.items.expire(TOPIC, {"run": None})  # with the lease of a
    clock.at += MINUTE
    how = {"in_order": in_order, "retries_alone": True}
    first = topic_items.claim(**how)
    assert keys(first) == (["a"] if in_order else ["c", "d"])
    topic_items.settle(*map(done, first))
    second = topic_items.claim(**how)
    assert keys(second) == (["b"] if in_order else ["a"])
    topic_items.settle(*map(done, second))
    assert keys(topic_items.claim(**how)) == (["c", "d"] if in_order else ["b"])


def test_failed_and_dead_items_are_put_back_with_further_attempts(topic_items, clock):
    topic_items.enqueue(*"abc", allowed_count=1)
    topic_items.fail(*topic_items.claim(limit=2))
    topic_items.settle(*map(done, topic_items.claim(limit=1)))
    before = topic_items.items.retry(TOPIC, keys=["a", "c"], attempts=2)
    assert [(work_item.item_key, work_item.state) for work_item in before] == [("a", "dead")]
    assert topic_items.states() == {"a": "ready", "b": "dead", "c": "done"}
    assert (topic_items.item("a").allowed_count, topic_items.item("a").attempt_count) == (3, 1)
    assert [work_item.item_key for work_item in topic_items.items.retry(TOPIC)] == ["b"]


def test_items_are_listed_page_by_page_by_topic_and_state(topic_items):
    topic_items.enqueue(*"abcde")
    topic_items.items.enqueue("another", [NewItem("z", "1")])
    topic_items.settle(*map(done, topic_items.claim(limit=2)))
    listed, after = [], None
    while page := topic_items.items.list_items(after=after, limit=2):
        listed += [(work_item.topic, work_item.item_key) for work_item in page]
        after = listed[-1]
    assert listed == [("another", "z"), *((TOPIC, key) for key in "abcde")]
    ready = topic_items.items.list_items(topic=TOPIC, state="ready")
    assert [work_item.item_key for work_item in ready] == ["c", "d", "e"]
    assert [item.topic for item in topic_items.items.list_items(state="ready")] == [
        "another",
        *[TOPIC] * 3,
    ]


@pytest.mark.slow_after_first
@pytest.mark.slow_on_postgresql
@pytest.mark.parametrize("in_order", [True, False])
def test_runs_that_claim_at_the_same_time_share_the_items_and_no_item_twice(topic_items, in_order):
    topic_items.enqueue(*(f"{number:03}" for number in range(200)))

    def work_and_expect_settled(run_id: str) -> list[str]:
        found: list[str] = []
        while "ready" in topic_items.states().values():
            claimed = topic_items.claim(run_id, limit=20, in_order=in_order)
            assert topic_items.settle(*map(done, claimed)) == []
            found += keys(claimed)
        return found

    with ThreadPoolExecutor(4) as pool:
        shares = list(pool.map(work_and_expect_settled, ["one", "two", "three", "four"]))
    assert sorted(key for share in shares for key in share) == sorted(topic_items.states())
    assert set(topic_items.states().values()) == {"done"}


STEPS = {"sqlite": "EXPLAIN QUERY PLAN ", "postgresql": "EXPLAIN "}


@pytest.mark.slow_on_postgresql
def test_what_is_done_costs_no_claim_anything(topic_items, warehouse):
    """The plans of claims use indexes that lead to ready and failed items alone, in their order."""
    many = 3000
    topic_items.enqueue(*map(str, range(many)))
    topic_items.settle(*map(done, topic_items.claim(limit=many)))
    topic_items.enqueue("a", "b")
    with warehouse.writing() as connection:
        connection.execute(text("ANALYZE work_items"))
        statements = []
        collect_selects(connection, statements)
        topic_items.items.claim(
            TOPIC, limit=9, run_id="run", until=NOON + LEASE, connection=connection
        )
        plans = [explain(connection, *statement) for statement in statements]
    assert len(plans) == 3
    for plan in plans:
        assert "work_items_by_due" in plan or "work_items_by_state" in plan, plan
        assert "SCAN work_items" not in plan
        assert "Seq Scan" not in plan
    assert not any("TEMP B-TREE" in plan or "Sort" in plan for plan in plans[1:]), plans


def collect_selects(connection, statements: list) -> None:
    """Collect the selects of a connection, as they are sent, with their values."""

    @event.listens_for(connection, "before_cursor_execute")
    def collect(_, cursor, statement, parameters, *more) -> None:
        if statement.startswith("SELECT work_items"):
            statements.append((statement, parameters))


def explain(connection, statement: str, parameters) -> str:
    steps = connection.exec_driver_sql(STEPS[connection.dialect.name] + statement, parameters)
    return "\n".join(str(row) for row in steps)


class Model:
    """Items of one topic, in memory: by key version, state, attempts and lease."""

    def __init__(self) -> None:
        self.items: dict[str, dict] = {}
        self.tokens = 0

    def enqueue(self, key: str, version: str, now) -> None:
        there = self.items.get(key)
        if there is None or there["version"] != version:
            self.items[key] = {
                "version": version,
                "state": "ready",
                "attempts": 0,
                "allowed": 3,
                "at": now,
                "due": now,
                "lease": None,
                "holder": None,
                "expires": None,
            }

    def end(self, item: dict, state: str, now, *, pause=None) -> None:
        item |= {"lease": None, "holder": None, "expires": None, "state": state}
        if state != "ready":
            item["attempts"] += 1
        if state == "ready":
            item["due"] = item["at"]
        elif state == "failed":
            usual = [*RETRY_PAUSES, *[RETRY_PAUSES[-1]] * 99][item["attempts"] - 1]
            item["due"] = now + (usual if pause is None else pause)
            item["state"] = "failed" if item["attempts"] < item["allowed"] else "dead"

    def claim(self, run_id: str, limit: int, now, *, in_order: bool) -> dict[str, int]:
        leased = [item for item in self.items.values() if item["state"] == "leased"]
        for item in leased:
            if item["expires"] <= now:
                self.end(item, "failed", now, pause=0 * MINUTE)
        by_age = sorted(self.items.items(), key=lambda each: (each[1]["at"], each[0]))
        waiting = [pair for pair in by_age if pair[1]["state"] in ("ready", "failed")]
        due = [pair for pair in waiting if pair[1]["state"] == "ready" or pair[1]["due"] <= now]
        if in_order:
            is_busy = any(item["state"] == "leased" for item in self.items.values())
            count = next((n for n, each in enumerate(waiting) if each not in due), len(waiting))
            due = [] if is_busy else waiting[:count]
        else:
            due.sort(key=lambda each: (each[1]["due"], each[0]))
        for _, item in due[:limit]:
            self.tokens += 1
            item |= {"state": "leased", "lease": self.tokens, "holder": run_id}
            item["expires"] = now + LEASE
        return {key: item["lease"] for key, item in due[:limit]}

    def settle(self, key: str, lease: int, state: str, now) -> bool:
        item = self.items[key]
        if item["lease"] != lease:
            return False
        self.end(item, state, now)
        return True

    def expire(self, run_id: str, now) -> None:
        for item in self.items.values():
            if item["holder"] == run_id:
                self.end(item, "failed", now)

    def retry(self) -> None:
        for item in self.items.values():
            if item["state"] in ("failed", "dead"):
                item |= {"state": "ready", "due": item["at"], "allowed": item["attempts"] + 3}

    def shown(self) -> dict[str, tuple]:
        names = ("version", "state", "attempts", "allowed", "holder")
        return {key: tuple(item[name] for name in names) for key, item in self.items.items()}


@pytest.mark.slow
@pytest.mark.slow_on_postgresql
@pytest.mark.usefixtures("careless_databases")
@pytest.mark.parametrize("seed", range(4))
def test_any_history_of_items_ends_as_in_a_simple_model(topic_items, clock, seed):
    """Two runs enqueue, claim, settle, exit and retry at random; some with leases that are over."""
    drawn, model = Random(seed), Model()  # noqa: S311 - no secret
    held: list[tuple[ClaimedItem, int]] = []
    for _ in range(150):
        step, run_id = drawn.choice(STEPS_OF_A_HISTORY), drawn.choice(["one", "two"])
        now = clock.at = clock.at + drawn.choice([0, 1, 1, 5, 11]) * MINUTE
        if step == "enqueue":
            key, version = drawn.choice("abcdef"), drawn.choice(["1", "1", "2"])
            topic_items.enqueue(key, version=version)
            model.enqueue(key, version, now)
        elif step == "claim":
            limit, in_order = drawn.choice([1, 2, 9]), drawn.random() < 0.3
            expected = model.claim(run_id, limit, now, in_order=in_order)
            claimed = topic_items.claim(run_id, limit, in_order=in_order)
            assert keys(claimed) == list(expected)
            held += [(work_item, expected[work_item.key]) for work_item in claimed]
        elif step == "settle" and held:
            item, lease = held.pop(drawn.randrange(len(held)))
            state = drawn.choice(SETTLED)
            stale = topic_items.settle(ItemSettlement(item, state))
            assert stale == ([] if model.settle(item.key, lease, state, now) else [item.key])
        elif step == "exit":
            topic_items.items.expire(TOPIC, {run_id: None})
            model.expire(run_id, now)
        elif step == "retry":
            topic_items.items.retry(TOPIC)
            model.retry()
        found = topic_items.items.list_items(topic=TOPIC)
        assert model.shown() == {
            work_item.item_key: (
                *(
                    work_item.version,
                    work_item.state,
                    work_item.attempt_count,
                    work_item.allowed_count,
                ),
                work_item.lease_holder,
            )
            for work_item in found
        }


SETTLED: list[Literal["done", "skipped", "failed", "ready"]] = [
    "done",
    "skipped",
    "failed",
    "ready",
]
STEPS_OF_A_HISTORY = [*["enqueue"] * 3, *["claim"] * 4, *["settle"] * 4, "exit", "retry"]


def named(topic_items, *keys: str, run_id: str = "run", version: str = "1", under_way=()):
    """Claim items by their keys, for a run beside those that are ``under_way``."""
    return topic_items.items.claim_named(
        TOPIC,
        [NewItem(key, version) for key in keys],
        run_id=run_id,
        until=topic_items.clock.now() + LEASE,
        is_under_way=set(under_way).__contains__,
    )


def test_items_that_a_run_names_are_enqueued_and_claimed_at_once_whatever_their_state(topic_items):
    topic_items.enqueue("a", "b", "c", "d")
    [a, b, c, d] = topic_items.claim()
    topic_items.settle(done(a), ItemSettlement(b, "skipped"))
    topic_items.fail(c)
    topic_items.fail(d, error=ContractError("it breaks a rule"))
    assert topic_items.states() == {"a": "done", "b": "skipped", "c": "failed", "d": "dead"}
    with topic_items.warehouse.reading() as connection:
        assert topic_items.items.unsettled(connection, TOPIC, ["a", "c", "d", "x"]) == {"c", "d"}
    found = named(topic_items, "a", "b", "c", "d", "e", run_id="next")
    assert (list(found.claimed), found.held_by) == (["a", "b", "c", "d", "e"], {})
    assert set(topic_items.states().values()) == {"leased"}
    attempts = {
        key: (value.attempt_count, value.allowed_count) for key, value in found.claimed.items()
    }
    assert attempts == {"a": (1, 4), "b": (1, 4), "c": (1, 3), "d": (1, 4), "e": (0, 3)}
    assert topic_items.settle(*map(done, found.claimed.values())) == []
    assert topic_items.settle(done(a)) == ["a"]


def test_an_item_of_a_run_under_way_stays_with_it_and_that_of_an_ended_one_is_an_attempt(
    topic_items, clock
):
    first = named(topic_items, "a", "b", run_id="one")
    assert named(topic_items, "a", run_id="two", under_way=["one"]).held_by == {"a": "one"}
    found = named(topic_items, "a", "c", run_id="two", under_way=["two"])  # run one has ended
    assert (list(found.claimed), found.claimed["a"].attempt_count) == (["a", "c"], 1)
    assert topic_items.settle(*map(done, first.claimed.values())) == ["a"]
    assert list(named(topic_items, "a", run_id="two", under_way=["two"]).claimed) == [
        "a"
    ]  # its own
    clock.at += LEASE
    found = named(topic_items, "a", run_id="three", under_way=["two"])  # run two took too long
    assert found.claimed["a"].attempt_count == 3
    assert topic_items.settle(done(found.claimed["a"])) == []


def test_a_later_version_takes_an_item_from_a_run_under_way_and_an_earlier_one_does_not(
    topic_items,
):
    [older] = named(topic_items, "a", run_id="one", version="2026-02-26").claimed.values()
    newer = named(topic_items, "a", run_id="two", version="2026-02-27", under_way=["one"]).claimed[
        "a"
    ]
    assert (newer.version, newer.attempt_count) == ("2026-02-27", 0)
    left = named(topic_items, "a", run_id="one", version="2026-02-26", under_way=["two"])
    assert left == ({}, {"a": "two"})
    assert topic_items.settle(done(older)) == ["a"]
    assert topic_items.settle(done(newer)) == []


@pytest.mark.slow_after_first
def test_runs_that_name_the_same_items_at_the_same_moment_share_them_out(topic_items):
    keys_of = [f"k{number:03}" for number in range(300)]
    runs = [f"run {number}" for number in range(4)]

    def claim_and_check_all(run_id: str) -> dict[str, str]:
        order = keys_of if run_id < "run 2" else [*reversed(keys_of)]
        held: dict[str, str] = {}
        for place in range(0, len(order), 50):
            some = order[place : place + 50]
            found = named(topic_items, *some, run_id=run_id, under_way=runs)
            assert found.claimed.keys() | found.held_by.keys() == set(some)
            held |= dict.fromkeys(found.claimed, run_id)
        return held

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(claim_and_check_all, runs))
    assert sum(map(len, found)) == 300
    holders = {item.item_key: item.lease_holder for item in topic_items.items.list_items(limit=999)}
    assert holders == {key: run_id for held in found for key, run_id in held.items()}
