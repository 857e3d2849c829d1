"""Retention of bodies of webhooks, on both databases: all copies, and what stays."""

import json
import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from orchestration_project.assets.operations import clean_up_job
from orchestration_project.catalog import REGISTRY
from orchestration_project.domains.events.tables import events_routed
from orchestration_project.engine.connections.artifacts import FolderStore
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.job_kinds import DELETE_ARTIFACTS
from orchestration_project.engine.contracts.work_items import ItemSettlement
from orchestration_project.errors import ConfigurationError, ContractError
from orchestration_project.services.inbox.rows import (
    HAS_BODY,
    Inbox,
    NewDelivery,
    open_delivery_items,
)
from orchestration_project.services.inbox.uploads import NewFile, UploadRefusals
from orchestration_project.services.inbox.work import InboxQueue
from orchestration_project.services.inventory import take_inventory
from orchestration_project.settings import settings_class
from orchestration_project.tables.schema import HISTORY
from orchestration_project.tables.spine import captures, inbox, inbox_states, rejects, work_items
from orchestration_project.tables.webhooks import events_webhooks
from tests.resources.planted import contents
from tests.resources.routing_setup import ORDERS, TICKETS, routing
from tests.runs import run_kind
from tests.webhook_runs import load_due

DAY = timedelta(days=1)
TEXT = "planted-in-a-body"
BODIES = {
    "done": json.dumps({"id": 1, "note": TEXT}).encode(),
    "rejected": f"no JSON: {TEXT}".encode(),
    "dead": json.dumps({"id": 2, "note": TEXT}).encode(),
    "pending": json.dumps({"id": 3, "note": TEXT}).encode(),
}


ITEMS = work_items, "item_key", "state", "reason_code"


class Deliveries:
    """Deliveries of one source in every state, with a store and the job that cleans up."""

    def __init__(self, warehouse, clock, folder: Path) -> None:
        self.warehouse, self.clock, self.store = warehouse, clock, FolderStore(folder)
        self.queue = InboxQueue(warehouse, clock)

    def take(self, *ids: str, bodies: dict[str, bytes] = BODIES) -> list[str]:
        deliveries = [
            NewDelivery("git", delivery_id, "push", bodies[delivery_id], {}, 1)
            for delivery_id in ids
        ]
        return [*Inbox(self.warehouse, self.clock).take(deliveries)]

    def load_without_failure(self) -> None:
        assert load_due(self.warehouse, self.clock, self.store, "git").success

    def end_dead(self, delivery_id: str) -> None:
        self.take(delivery_id)
        until = self.clock.now() + DAY
        [item] = self.queue.claim("webhooks/git", limit=1, run_id="r", until=until, in_order=True)
        error = ContractError("the body is of no use", expected="another", found="this")
        with self.warehouse.writing() as connection:
            self.queue.settle(connection, [ItemSettlement.of_error(item, error)])

    def pass_days(self, days: int) -> None:
        """Let days pass, for the project's clock and for the files of the store."""
        self.clock.at += days * DAY
        at = (Clock().now() - days * DAY).timestamp()
        for path in self.store.folder.rglob("*"):
            if path.is_file():
                os.utime(path, (at, at))

    def clean_up(self, *, dry_run: bool = False, only_database: bool = True, **settings: Any):
        """Run the job; return its metadata."""
        made = settings_class()(**settings)
        done = run_kind(
            clean_up_job,
            DELETE_ARTIFACTS,
            {
                "artifacts": self.store,
                "clock": self.clock,
                "registry": REGISTRY,
                "settings": made,
                "warehouse": self.warehouse,
            },
            dry_run=dry_run,
            only_database=only_database,
        )
        [event] = done.asset_materializations_for_node("clean_up")
        return event.metadata

    def rows(self, table, *names: str) -> list[tuple]:
        with self.warehouse.reading() as connection:
            found = connection.execute(select(*(table.c[name] for name in names)))
            return sorted(tuple(row) for row in found)

    def bodies(self) -> set[str]:
        """Return the IDs of deliveries whose body the database has."""
        with self.warehouse.reading() as connection:
            return {*connection.scalars(select(inbox.c.delivery_id).where(HAS_BODY))}

    def copies(self) -> list[str]:
        """Return the places of the text outside `inbox`: tables, and objects of the store."""
        tables = [events_webhooks, events_webhooks.info[HISTORY], rejects, events_routed]
        in_tables = [
            table.name
            for table in tables
            for row in self.rows(table, *table.c.keys())
            if TEXT in str(row)
        ]
        stored = [self.store.get(stored_object.name) for stored_object in self.store.listed()]
        in_store = ["store" for text in stored if any(TEXT.encode() in c for c in contents(text))]
        return [*in_tables, *in_store]


@pytest.fixture
def git(warehouse, clock, tmp_path) -> Deliveries:
    """Deliveries that are done, rejected, dead and pending; the first two share a pack."""
    git = Deliveries(warehouse, clock, tmp_path / "artifacts")
    git.take("done", "rejected")
    git.load_without_failure()
    git.end_dead("dead")
    git.take("pending")
    return git


@pytest.mark.slow_after_first
def test_all_copies_of_old_bodies_are_removed_and_what_is_pending_stays(git):
    assert git.copies() == ["events_webhooks", "rejects", "store"]
    git.pass_days(31)
    emptied = git.clean_up(webhook_body_days=30)["emptied_rows"].records
    sizes = len(BODIES["done"]) + len(BODIES["rejected"])
    assert [blob.data for blob in emptied] == [
        {"kind": "webhook bodies", "row_count": 2, "byte_count": sizes}
    ]
    assert (git.copies(), git.bodies()) == ([], {"dead", "pending"})
    assert git.rows(events_webhooks, "delivery_id", "payload") == [("done", None)]
    assert git.rows(rejects, "reason_code", "record") == [("json", "")]
    assert git.rows(work_items, "item_key", "state") == [
        ("dead", "dead"),
        ("done", "done"),
        ("pending", "ready"),
        ("rejected", "done"),
    ]
    inventory = take_inventory(git.warehouse, git.store, read_all=True)
    assert (inventory.found.missing, inventory.found.unnamed, inventory.changed) == ([], [], [])
    assert git.clean_up(webhook_body_days=30)["emptied_rows"].records == []


@pytest.mark.slow_on_postgresql
def test_by_default_and_in_a_dry_run_nothing_is_removed(git):
    git.pass_days(3650)
    assert git.clean_up()["emptied_rows"].records == []
    measured = git.clean_up(dry_run=True, webhook_body_days=2, webhook_dead_body_days=2)
    assert measured["emptied_rows"].records[0].data["row_count"] == 3
    assert measured["artifacts"].value == 1
    assert git.copies() == ["events_webhooks", "rejects", "store"]
    assert git.bodies() == BODIES.keys()


@pytest.mark.slow
@pytest.mark.slow_on_postgresql
def test_younger_bodies_stay_and_dead_ones_have_days_of_their_own(git):
    git.pass_days(5)
    git.clean_up(webhook_body_days=6)
    assert git.bodies() == BODIES.keys()
    git.clean_up(webhook_dead_body_days=5)
    assert git.bodies() == BODIES.keys()
    git.pass_days(1)
    git.clean_up(webhook_dead_body_days=5)
    assert git.bodies() == {"done", "rejected", "pending"}


@pytest.mark.slow
def test_refused_uploads_are_deleted_after_thirty_days(git):
    refusals = UploadRefusals(git.warehouse, git.clock)
    file = NewFile("sheets", "old.csv", "text/csv", "ada")
    refusals.record(file, 413, "the file is too large", "at most 1 MiB", None)
    git.pass_days(30)
    refusals.record(replace(file, file_name="new.csv"), 413, "the file is too large", "", None)
    assert git.clean_up()["emptied_rows"].records == []
    git.pass_days(1)
    for is_dry_run in (True, False):
        [emptied] = git.clean_up(dry_run=is_dry_run)["emptied_rows"].records
        assert emptied.data == {"kind": "refused uploads", "row_count": 1, "byte_count": 0}
    assert [refusal.file_name for refusal in refusals.read(9)] == ["new.csv"]


@pytest.mark.slow_after_first
def test_a_repeated_delivery_is_a_duplicate_also_without_its_body(git):
    git.pass_days(31)
    git.clean_up(webhook_body_days=30)
    assert git.take("done") == ["duplicate"]
    assert git.take("done", bodies={"done": b"{}"}) == ["changed"]
    assert git.bodies() == {"dead", "pending"}
    git.load_without_failure()
    assert git.rows(events_webhooks, "delivery_id") == [("done",), ("pending",)]


@pytest.mark.slow_on_postgresql
def test_a_replay_of_a_removed_body_says_so_and_one_of_all_dead_leaves_it_out(git):
    git.pass_days(31)
    git.clean_up(webhook_body_days=30, webhook_dead_body_days=30)
    for attempt in (
        lambda: git.queue.put_back("git", "done", attempts=1),
        lambda: git.queue.replayable("git", "dead"),
        lambda: git.queue.content("git", "done"),
    ):
        with pytest.raises(ConfigurationError, match="body of this delivery of git was removed"):
            attempt()
    assert git.queue.put_back("git", None, attempts=1) == []
    assert dict(git.rows(inbox_states, "delivery_id", "state"))["done"] == "done"


@pytest.mark.slow
@pytest.mark.slow_on_postgresql
def test_a_retry_of_a_dead_delivery_without_its_body_fails_and_delays_no_other(git):
    git.pass_days(31)
    git.clean_up(webhook_dead_body_days=30)
    [item] = open_delivery_items(git.warehouse, git.clock).retry("webhooks/git", keys=["dead"])
    assert (item.state, item.reason_code) == ("dead", "body_removed")
    git.load_without_failure()
    states = {key: (state, code) for key, state, code in git.rows(*ITEMS)}
    assert states["dead"] == ("dead", "body_removed")
    assert states["pending"] == ("done", None)


@pytest.mark.slow
@pytest.mark.slow_on_postgresql
def test_stored_bytes_that_others_need_move_to_a_new_object(git):
    """An equal body of a pending delivery, and bytes in the same pack, are not deleted."""
    others = {"equal": BODIES["done"], "young": json.dumps({"id": 9, "young": 1}).encode()}
    git.take("young", bodies=others)
    git.load_without_failure()
    git.pass_days(31)
    git.take("equal", bodies=others)
    git.clean_up(webhook_body_days=30)
    assert git.copies() == ["store"]  # of the equal one
    git.load_without_failure()
    assert git.rows(events_webhooks, "delivery_id", "payload")[1] == (
        "equal",
        others["equal"].decode(),
    )
    inventory = take_inventory(git.warehouse, git.store, read_all=True)
    assert (inventory.found.missing, inventory.changed) == ([], [])


@pytest.mark.slow_on_postgresql
def test_captured_bytes_of_a_store_that_may_be_shared_are_not_deleted(git):
    git.pass_days(31)
    with pytest.raises(ConfigurationError, match="captured bytes are not deleted"):
        git.clean_up(webhook_body_days=30, only_database=False)
    assert git.bodies() == BODIES.keys()
    assert len(git.rows(captures, "sha256")) == 2


@pytest.mark.slow
@pytest.mark.slow_on_postgresql
def test_a_body_stays_while_an_action_waits_and_a_dead_letter_says_that_it_is_gone(
    warehouse, clock, monkeypatch, tmp_path
):
    with routing(warehouse, clock, monkeypatch, tmp_path) as router:
        router.edit(ORDERS, TICKETS)
        router.deliver("a")
        router.deliver("b", id="no number")
        git = Deliveries(warehouse, clock, tmp_path / "artifacts")
        with warehouse.writing() as connection:
            connection.execute(work_items.update().values(state="done"))
        git.pass_days(31)
        git.clean_up(webhook_body_days=30)
        assert git.bodies() == {"a", "b"}  # waiting, and dead
        router.apply()
        git.pass_days(31)
        git.clean_up(webhook_body_days=30)
        assert git.bodies() == {"b"}
        fields = git.rows(events_routed, "delivery_id", "fields")
        assert [value for delivery_id, value in fields if delivery_id == "a"] == ["{}", "{}"]
        git.clean_up(webhook_dead_body_days=30)
        assert git.bodies() == set()
        assert router.replay() == ["body_removed"]
