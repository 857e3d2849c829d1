"""Polls of documents on both databases: states, order, folders that cannot be read, and cost."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import BinaryIO

import pytest
from sqlalchemy import event, select, update
from sqlalchemy.engine import Engine

from orchestration_project.domains.documents.arrivals import ListedFile
from orchestration_project.domains.documents.tables import documents_files
from orchestration_project.engine.contracts.work_items import NewItem
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.work_items import WorkItems
from orchestration_project.resources.documents.arrivals import Arrivals
from orchestration_project.resources.documents.items import record_files
from orchestration_project.resources.documents.source import Listing
from orchestration_project.resources.documents.waiting import oldest_waiting
from orchestration_project.services.ledger.rules.standings import (
    ActiveRuns,
    Figures,
    evaluate_state,
)
from orchestration_project.tables.spine import uploads, work_items
from tests.resources.weeks import StoppedClock

OLD = datetime(2020, 1, 1, tzinfo=UTC)
STABLE = timedelta(seconds=10)


@dataclass
class Files:
    """A source with files of these sizes."""

    sizes: dict[str, int] = field(default_factory=dict[str, int])
    unreadable: list[str] = field(default_factory=list[str])
    is_sorted: bool = True
    shown_name = "files of a test"

    def listing(self) -> Listing:
        paths = sorted(self.sizes) if self.is_sorted else sorted(self.sizes, reverse=True)
        return Listing(
            iter([(path, self.sizes[path], OLD.replace(tzinfo=None), "1") for path in paths]),
            self.unreadable,
        )

    def url_of(self, path: str) -> str:
        return path

    def read(self, path: str, *, max_bytes: int) -> bytes:
        raise NotImplementedError

    def open(self, path: str) -> AbstractContextManager[BinaryIO]:
        raise NotImplementedError


class Polls:
    """Polls of files, each some seconds after the one before."""

    def __init__(self, warehouse: Warehouse, clock: StoppedClock) -> None:
        self.files = Files()
        self.warehouse = warehouse
        self.clock = clock
        self.arrivals = Arrivals(self.files, warehouse, clock, STABLE, "documents")

    def poll(self, seconds: int = 10, **sizes: int | None) -> Mapping[str, str]:
        """Change files, poll, and return the states by path."""
        self.clock.at += timedelta(seconds=seconds)
        for path, size in sizes.items():
            self.files.sizes.pop(path, None)
            if size is not None:
                self.files.sizes[path] = size
        self.result = self.arrivals.poll()
        return self.states()

    def states(self) -> dict[str, str]:
        columns = documents_files.c
        with self.warehouse.reading() as connection:
            found = connection.execute(select(columns.path, columns.state)).all()
        return dict(map(tuple, found))

    def load(self, **documents: str) -> None:
        """Record what a load found at paths."""
        with self.warehouse.writing() as connection:
            record_files(connection, documents)
            connection.execute(update(work_items).values(state="done"))

    def due(self) -> list[tuple[str, int]]:
        return [(arrival.day, arrival.item_count) for arrival in self.arrivals.due()]


@pytest.fixture
def polls(warehouse: Warehouse, clock: StoppedClock) -> Polls:
    return Polls(warehouse, clock)


def test_a_file_is_seen_stable_loaded_changed_and_loaded_again(polls):
    day = f"{polls.clock.at:%Y-%m-%d}"
    assert polls.poll(a=1) == {"a": "seen"}
    assert (polls.result.counts, polls.result.enqueued_count, polls.due()) == ({"seen": 1}, 0, [])
    assert polls.poll(9) == {"a": "seen"}
    assert polls.poll(1) == {"a": "stable"}
    assert (polls.result.enqueued_count, polls.due()) == (1, [(day, 1)])
    assert polls.poll() == {"a": "stable"}
    assert polls.result.enqueued_count == 0
    polls.load(a="one")
    assert polls.poll() == {"a": "loaded"}
    assert polls.poll(a=2) == {"a": "changed"}
    assert polls.due() == []
    assert polls.poll(5, a=3) == {"a": "changed"}
    assert polls.poll(9) == {"a": "changed"}
    assert polls.poll(1) == {"a": "stable"}
    assert polls.due() == [(day, 1)]


def test_stable_files_that_wait_for_an_hour_make_the_domain_late(polls, clock):
    polls.poll(a=1, b=1)
    polls.poll()
    since = clock.at
    clock.at += timedelta(minutes=59)
    assert oldest_waiting(polls.warehouse, clock.at) is None
    clock.at += timedelta(hours=2)
    late = oldest_waiting(polls.warehouse, clock.at)
    assert late
    assert (late.missing_count, late.due_at) == (2, since + timedelta(hours=1))
    state, [reason] = evaluate_state(
        [Figures(24)], ActiveRuns(), [late], now=clock.at, machine_now=clock.at
    )
    assert state == "stale"
    assert reason == (
        f"2 files wait, the oldest since {since:%Y-%m-%d %H:%M} UTC; do this: start documents_load "
        f"for {since:%Y-%m-%d}, or switch the sensor documents_on_arrival on"
    )
    polls.load(a="one")
    assert oldest_waiting(polls.warehouse, clock.at) is None


def test_a_renamed_file_is_another_path_and_one_that_comes_back_waits_again(polls):
    polls.poll(a=1, b=1)
    polls.poll()
    polls.load(a="one", b="two")
    assert polls.poll(a=None, c=1) == {"a": "gone", "b": "loaded", "c": "seen"}
    assert polls.result.counts == {"gone": 1, "loaded": 1, "seen": 1}
    assert polls.poll() == {"a": "gone", "b": "loaded", "c": "stable"}
    assert polls.result.counts == {"loaded": 1, "stable": 1}
    assert polls.poll(a=1) == {"a": "changed", "b": "loaded", "c": "stable"}
    assert polls.poll() == {"a": "stable", "b": "loaded", "c": "stable"}
    assert polls.due()[0][1] == 2


def test_a_file_removed_before_its_load_is_seen_again_later(polls):
    polls.poll(a=1)
    assert polls.poll(a=None) == {"a": "gone"}
    assert polls.poll(a=1) == {"a": "seen"}
    assert polls.poll() == {"a": "stable"}


def test_files_of_a_folder_that_cannot_be_read_are_not_gone(polls):
    polls.poll(**{"x/a": 1, "x/b": 1, "xy": 1})
    polls.files.unreadable = ["x"]
    assert polls.poll(**{"x/a": None, "x/b": None, "xy": None}) == {
        "x/a": "seen",
        "x/b": "seen",
        "xy": "gone",
    }
    polls.files.unreadable = []
    assert set(polls.poll().values()) == {"gone"}


def test_a_file_whose_status_cannot_be_read_is_not_gone(polls):
    polls.poll(**{"x/a": 1, "x/b": 1})
    polls.files.unreadable = ["x/a"]
    assert polls.poll(**{"x/a": None, "x/b": None}) == {"x/a": "seen", "x/b": "gone"}


def test_a_listing_without_an_order_gives_the_same_states(polls):
    polls.files.is_sorted = False
    polls.poll(a=1, b=1, c=1, d=1)
    polls.poll()
    polls.load(a="one", b="two", c="three")
    assert polls.poll(b=2, d=None) == {"a": "loaded", "b": "changed", "c": "loaded", "d": "gone"}
    assert polls.result.counts == {"changed": 1, "gone": 1, "loaded": 2}


@pytest.mark.slow_on_postgresql
def test_an_upload_is_whole_when_it_comes(polls):
    row = {
        "inbox": "documents",
        "file_name": "a 100%.pdf",
        "content_type": "x",
        "user_name": "ada",
        "sha256": "0",
        "byte_count": 5,
        "received_at": OLD,
        "capture_id": 1,
    }
    with polls.warehouse.writing() as connection:
        ids = [{"upload_id": "u1"}, {"upload_id": "u2"}, {"upload_id": "u3", "inbox": "other"}]
        connection.execute(uploads.insert(), [{**row, **identity} for identity in ids])
        items = WorkItems(polls.warehouse, polls.clock)
        for inbox, keys in {"documents": ("u1", "u2"), "other": ("u3",)}.items():
            new = [NewItem(key, "0") for key in keys]
            items.enqueue(f"uploads/{inbox}", new, connection=connection)
    assert polls.poll(**{"-rf": 1, "z": 1}) == {
        "-rf": "seen",
        "/inbox/documents/u1/a 100%25.pdf": "stable",
        "/inbox/documents/u2/a 100%25.pdf": "stable",
        "z": "seen",
    }
    assert (polls.result.enqueued_count, polls.due()[0][1]) == (2, 2)
    assert items.list_items(topic="uploads/documents") == []
    assert [item.item_key for item in items.list_items(topic="uploads/other")] == ["u3"]
    polls.poll()
    assert (polls.result.counts, polls.result.enqueued_count) == ({"stable": 2}, 2)
    assert polls.arrivals.present_count() == 4


@pytest.fixture
def statements(warehouse: Warehouse) -> Iterator[list[str]]:
    """The statements that databases execute meanwhile."""
    found: list[str] = []

    def note(connection: object, cursor: object, statement: str, *_: object) -> None:
        found.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    yield found
    event.remove(Engine, "before_cursor_execute", note)


@pytest.mark.slow_on_postgresql
def test_new_files_of_a_day_are_one_run_and_polled_again_they_write_nothing(polls, statements):
    sizes = {f"{number:05}.txt": 1 for number in range(500)}
    polls.poll(**sizes)
    polls.poll()
    assert [count for _, count in polls.due()] == [500]
    del statements[:]
    assert polls.arrivals.poll().counts == {"stable": 500}
    assert not [
        statement
        for statement in statements
        if statement.startswith(("INSERT", "UPDATE", "DELETE"))
    ]
    assert len([statement for statement in statements if "documents_files" in statement]) == 1


def test_a_later_poll_is_not_undone_by_one_that_listed_before(polls, clock):
    polls.poll(a=1)
    listed = polls.files.listing

    class Overtaken:
        """A listing that begins before another poll, and ends after it."""

        def __iter__(self) -> Iterator[ListedFile]:
            found = list(listed().files)
            polls.files.listing = listed
            polls.poll(5, a=7)
            return iter(found)

    polls.files.listing = lambda: Listing(iter(Overtaken()))
    polls.arrivals.poll()
    with polls.warehouse.reading() as connection:
        [row] = connection.execute(select(documents_files)).all()
    assert (row.byte_count, row.state) == (7, "seen")
