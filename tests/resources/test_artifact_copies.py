"""Copies of artifacts in a second store: new ones are copied once, cleaned up ones deleted."""

from datetime import date, timedelta

import pytest
from sqlalchemy import insert

from orchestration_project.connections.artifacts import FolderStore, open_artifacts
from orchestration_project.engine.blob_repair import delete_expired
from orchestration_project.services.repair.copying import ArtifactCopies, CopyCounts
from orchestration_project.tables.operations import operations_removals
from tests.resources.repair_desk import RepairDesk, damage
from tests.resources.weeks import row

AN_HOUR = timedelta(hours=1)

BOTH = pytest.mark.parametrize(
    ("warehouse", "second"), [("sqlite", "folder"), ("postgresql", "s3")], indirect=True
)
SQLITE = pytest.mark.parametrize("warehouse", ["sqlite"], indirect=True)


class Counting(FolderStore):
    """A folder that counts what it is asked for."""

    asked = 0

    def found(self, name):
        self.asked += 1
        return super().found(name)


@pytest.fixture
def second(request, tmp_path):
    folder = str(tmp_path / "second")
    return open_artifacts(folder if request.param == "folder" else request.getfixturevalue("s3"))


def copy(desk, clock, second, **options):
    """Copy what is new; return the counts by kind."""
    work = ArtifactCopies(
        warehouse=desk.warehouse,
        artifacts=FolderStore(desk.folder),
        second_store=second,
        clock=clock,
        run_id="copy",
        **options,
    )
    counts: dict[str, CopyCounts] = {}
    for each in work.copy():
        counts[each.kind] = counts.get(each.kind, CopyCounts(each.kind)).plus(each)
    return counts


def land_captured(desk, *bodies, version="v1", symbol="A"):
    """Load a week whose captures have these bytes; return the captures."""
    captures = [desk.capture(body) for body in bodies]
    desk.land(row(symbol), version=version, captures=captures)
    return captures


def settle(desk, clock, second):
    """Let the time pass in which rows are followed again."""
    clock.at += 2 * AN_HOUR
    copy(desk, clock, second)
    clock.at += 2 * AN_HOUR


def names(store):
    return sorted(each.name for each in store.listed())


@pytest.mark.slow_on_postgresql
@BOTH
def test_new_objects_are_copied_once_and_damaged_ones_never(desk, clock, second):
    first = land_captured(desk, b"one\nrow\n", b"two\nrow\n", b"bad\nrow\n")
    damage(FolderStore(desk.folder), first[2].storage_uri, "changed")
    counts = copy(desk, clock, second)["blobs"]
    assert (counts.object_count, len(counts.damaged)) == (2, 1)
    assert names(second) == sorted(each.storage_uri for each in first[:2])
    recorded = RepairDesk(desk, FolderStore(desk.folder), clock).rows()
    assert [(each["sha256"], each["problem"]) for each in recorded] == [
        (first[2].sha256, "changed")
    ]
    settle(desk, clock, second)
    assert "blobs" not in copy(desk, clock, second)


@SQLITE
def test_a_run_looks_at_new_objects_alone_and_one_of_all_finds_lost_ones(desk, clock, tmp_path):
    second = Counting(tmp_path / "counting")
    old = land_captured(desk, *(f"old {number}\nrow\n".encode() for number in range(8)))
    settle(desk, clock, second)
    land_captured(desk, b"new\nrow\n", version="v2", symbol="B")
    second.asked = 0
    assert copy(desk, clock, second)["blobs"].object_count == 1
    assert second.asked <= 3
    second.delete(old[0].storage_uri)
    settle(desk, clock, second)
    assert "blobs" not in copy(desk, clock, second)
    counts = copy(desk, clock, second, follows_all=True)["blobs"]
    assert (counts.object_count, counts.present_count) == (1, 8)


@pytest.mark.parametrize(("warehouse", "second"), [("sqlite", "folder")], indirect=True)
def test_a_load_that_commits_late_is_copied(desk, clock, second):
    land_captured(desk, b"one\nrow\n")
    clock.at += AN_HOUR / 2
    copy(desk, clock, second)
    clock.at -= AN_HOUR / 3  # its time is before the cursor
    late = land_captured(desk, b"late\nrow\n", version="v2", symbol="B")
    clock.at += AN_HOUR / 2
    assert copy(desk, clock, second)["blobs"].object_count == 1
    assert second.found(late[0].storage_uri)


@pytest.mark.slow_on_postgresql
@BOTH
def test_what_was_cleaned_up_is_deleted_in_the_second_store_and_a_lost_object_is_not(
    desk, clock, second
):
    gone, lost = land_captured(desk, b"gone\nrow\n", b"lost\nrow\n")
    copy(desk, clock, second)
    store = FolderStore(desk.folder)
    for each in (gone, lost):
        store.delete(each.storage_uri)
    removal = {
        "name": gone.storage_uri,
        "removed_at": clock.now(),
        "kind": "captured bytes",
        "byte_count": 1,
        "put_at": clock.now(),
        "run_id": "cleanup",
    }
    with desk.warehouse.writing() as connection:
        connection.execute(insert(operations_removals), removal)
    assert copy(desk, clock, second)["removals"].object_count == 1
    assert names(second) == [lost.storage_uri]


def test_what_repairs_set_aside_is_deleted_when_it_is_old(tmp_path):
    store = FolderStore(tmp_path)
    for name in (
        "damaged/2026-01-01/blobs/a",
        "damaged/2026-01-02/blobs/b",
        "damaged/2026-13-01/c",
        "damagedx/2026-01-01/d",
        "blobs/e",
    ):
        store.put(name, b"x")
    assert delete_expired(store, date(2026, 1, 31), 30) == 1
    assert "damaged/2026-01-01/blobs/a" not in names(store)
    assert len(names(store)) == 4
