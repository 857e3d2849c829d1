"""Small captures that are stored together lie in packs: whole, found by offset, moved, cleaned."""

import hashlib
import os
from datetime import timedelta

import pytest
from sqlalchemy import select

from orchestration_project.engine.captures import BlobError, Captures, build_capture
from orchestration_project.engine.connections.artifacts import FolderStore, open_artifacts
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.retention import CAPTURED
from orchestration_project.engine.packs import PACK_BYTES, PACKED_BYTES, PACKS, Blob
from orchestration_project.engine.warehouse.capture_log import read_blobs
from orchestration_project.errors import ConfigurationError
from orchestration_project.services.cleanup.removing import Retention, clean_up, plan_cleanup
from orchestration_project.services.inventory import find_blob, take_inventory
from orchestration_project.tables.spine import blobs
from tests.resources.weeks import NOON, row

DAY = timedelta(days=1)
SMALL = [f"page {number}".encode() * 400 for number in range(20)]
KEEP_ONE = Retention({CAPTURED: 10}, keep_newest=1)


@pytest.fixture(params=["folder", "s3"])
def store(request, tmp_path):
    folder = str(tmp_path / "store")
    return open_artifacts(folder if request.param == "folder" else request.getfixturevalue("s3"))


def noisy(number, size):
    """Return bytes that do not compress."""
    pieces = (hashlib.sha256(b"%d %d" % (number, each)).digest() for each in range(size // 32))
    return b"".join(pieces)


def keep_all(store, bodies, known=None):
    fetched = [build_capture(body, url="u", request={}, fetched_at=NOON) for body in bodies]
    return Captures(store).keep_all(fetched, lambda _: known or {})


def names(store):
    return sorted(stored_object.name for stored_object in store.listed())


def test_small_captures_share_an_object_and_come_back_to_the_byte(store):
    kept = keep_all(store, [*SMALL, SMALL[0], b""])
    assert names(store) == [kept[0].storage_uri]
    assert kept[0].storage_uri.startswith(PACKS)
    assert kept[20].blob == kept[0].blob
    captures = Captures(store)
    assert [captures.read(capture.blob) for capture in kept] == [*SMALL, SMALL[0], b""]
    with captures.open(kept[7].blob) as blob:
        assert blob.read() == SMALL[7]


def test_a_large_capture_and_a_single_one_are_objects_of_their_own(store):
    large, *small = keep_all(store, [noisy(1, PACKED_BYTES), *SMALL[:2]])
    assert large.byte_offset is None
    assert [capture.byte_offset is None for capture in small] == [False, False]
    [alone] = keep_all(store, [b"alone"])
    assert alone.blob == Captures(store).keep(b"alone", url="u", request={}, fetched_at=NOON).blob


@pytest.mark.slow
def test_a_pack_is_at_most_so_large(tmp_path):
    store = FolderStore(tmp_path)
    count = 2 * PACK_BYTES // (PACKED_BYTES - 32) + 1
    kept = keep_all(store, [noisy(number, PACKED_BYTES - 32) for number in range(count)])
    sizes = [stored_object.byte_count for stored_object in store.listed()]
    assert len(sizes) == len({capture.storage_uri for capture in kept}) == 3
    assert max(sizes) <= PACK_BYTES


def test_what_a_database_has_is_not_stored_again_but_what_is_gone_is(store):
    first = keep_all(store, SMALL[:4])
    known = {capture.sha256: capture.blob for capture in first}
    again = keep_all(store, SMALL[:6], known)
    assert [capture.blob for capture in again[:4]] == [capture.blob for capture in first]
    assert len(names(store)) == 2
    store.delete(first[0].storage_uri)
    assert Captures(store).read(keep_all(store, SMALL[:4], known)[3].blob) == SMALL[3]


def test_a_cut_pack_refuses_its_blobs_singly(store):
    kept = keep_all(store, SMALL)
    name = kept[0].storage_uri
    store.put(name, store.get(name)[: (kept[12].byte_offset or 0) + 3])
    captures = Captures(store)
    assert [captures.read(capture.blob) for capture in kept[:12]] == SMALL[:12]
    for capture in kept[12:]:
        with pytest.raises(BlobError, match="is not what was captured"):
            captures.read(capture.blob)


def test_a_store_that_takes_nothing_stores_no_pack(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="cannot write the artifact blobs/packs/"):
        keep_all(FolderStore(tmp_path / "file"), SMALL)


@pytest.fixture
def disk(partition_loader):
    return FolderStore(partition_loader.folder)


def delivered(partition_loader, disk, *bodies):
    """Load a delivery of a week whose pages are packed."""
    kept = keep_all(disk, bodies, known_by(partition_loader, bodies))
    partition_loader.write_batch(
        row("A", share_quantity=len(bodies)), version=str(len(bodies)), captures=kept
    )
    return [capture.blob for capture in kept]


def known_by(partition_loader, bodies):
    with partition_loader.warehouse.reading() as connection:
        return read_blobs(connection, [hashlib.sha256(body).hexdigest() for body in bodies])


def recorded(partition_loader):
    with partition_loader.warehouse.reading() as connection:
        found = connection.execute(select(*(blobs.c[name] for name in Blob._fields)))
        return {blob.sha256: Blob(*blob) for blob in found}


def age(partition_loader, clock):
    """Let everything stored be a fortnight old."""
    at = (Clock().now() - 14 * DAY).timestamp()
    for path in partition_loader.folder.rglob("*"):
        if path.is_file():
            os.utime(path, (at, at))
    clock.at += 20 * DAY


def cleaned(partition_loader, disk, clock):
    plan = plan_cleanup(partition_loader.warehouse, disk, KEEP_ONE, now=clock.now())
    deleted = clean_up(partition_loader.warehouse, disk, plan, now=clock.now(), run_id="r")
    return [stored_object.name for stored_object in deleted[CAPTURED]]


def test_an_inventory_knows_packs(partition_loader, disk):
    kept = delivered(partition_loader, disk, *SMALL)
    name = kept[0].storage_uri
    found = take_inventory(partition_loader.warehouse, disk, read_all=True)
    assert (found.found.missing, found.found.resized, found.found.unnamed) == ([], [], [])
    assert (found.changed, found.read_count) == ([], 20)
    assert find_blob(partition_loader.warehouse, kept[3].sha256) == kept[3]
    disk.put(name, disk.get(name)[:-5])
    found = take_inventory(partition_loader.warehouse, disk, read_all=False)
    assert (found.found.resized, found.changed) == ([name], [name])
    disk.delete(name)
    assert take_inventory(partition_loader.warehouse, disk, read_all=False).found.missing == [name]


@pytest.mark.slow_on_postgresql
def test_a_pack_goes_when_no_blob_of_it_is_needed(partition_loader, disk, clock):
    old = delivered(partition_loader, disk, *SMALL[:3])
    new = delivered(partition_loader, disk, *SMALL[10:20])
    age(partition_loader, clock)
    assert cleaned(partition_loader, disk, clock) == [old[0].storage_uri]
    assert names(disk) == [new[0].storage_uri]
    assert take_inventory(partition_loader.warehouse, disk, read_all=True).found.missing == []


@pytest.mark.slow_on_postgresql
def test_the_needed_blobs_of_an_old_pack_move_before_it_goes(partition_loader, disk, clock):
    old = delivered(partition_loader, disk, *SMALL[:6])
    delivered(partition_loader, disk, *SMALL[4:6], *SMALL[10:15])
    age(partition_loader, clock)
    assert cleaned(partition_loader, disk, clock) == [old[0].storage_uri]
    now = recorded(partition_loader)
    captures = Captures(disk)
    for number, blob in enumerate(old):
        if number < 4:
            with pytest.raises(BlobError, match="no such blob"):
                captures.read(now[blob.sha256])
        else:
            assert captures.read(now[blob.sha256]) == SMALL[number]
    found = take_inventory(partition_loader.warehouse, disk, read_all=True)
    assert (found.found.missing, found.changed) == ([], [])


@pytest.mark.slow_on_postgresql
def test_a_pack_with_a_damaged_blob_that_is_needed_stays(partition_loader, disk, clock, caplog):
    old = delivered(partition_loader, disk, *SMALL[:6])
    delivered(partition_loader, disk, *SMALL[4:6], *SMALL[10:15])
    name = old[4].storage_uri
    content = bytearray(disk.get(name))
    content[(old[4].byte_offset or 0) + 20] ^= 1
    disk.put(name, bytes(content))
    age(partition_loader, clock)
    assert cleaned(partition_loader, disk, clock) == []
    assert "a pack is not cleaned up" in caplog.text
    assert Captures(disk).read(recorded(partition_loader)[old[5].sha256]) == SMALL[5]


@pytest.mark.slow_on_postgresql
def test_a_pack_of_which_much_is_needed_stays(partition_loader, disk, clock):
    delivered(partition_loader, disk, *SMALL[:6])
    delivered(partition_loader, disk, *SMALL[1:6], SMALL[12], SMALL[13])
    age(partition_loader, clock)
    before = names(disk)
    assert cleaned(partition_loader, disk, clock) == []
    assert names(disk) == before


@pytest.mark.slow_after_first
def test_a_pack_that_is_used_again_after_the_plan_stays(partition_loader, disk, clock):
    old = delivered(partition_loader, disk, *SMALL[:3])
    delivered(partition_loader, disk, *SMALL[10:20])
    age(partition_loader, clock)
    plan = plan_cleanup(partition_loader.warehouse, disk, KEEP_ONE, now=clock.now())
    again = keep_all(disk, SMALL[:3], known_by(partition_loader, SMALL[:3]))
    assert [capture.blob for capture in again] == old
    deleted = clean_up(partition_loader.warehouse, disk, plan, now=clock.now(), run_id="r")
    assert deleted[CAPTURED] == []
    assert Captures(disk).restore(old[2]) == SMALL[2]


@pytest.mark.slow_on_postgresql
def test_bytes_that_are_captured_again_after_their_pack_went_are_found(
    partition_loader, disk, clock
):
    delivered(partition_loader, disk, *SMALL[:3])
    delivered(partition_loader, disk, *SMALL[10:20])
    age(partition_loader, clock)
    cleaned(partition_loader, disk, clock)
    single = Captures(disk).keep(SMALL[1], url="u", request={}, fetched_at=NOON)
    partition_loader.write_batch(row("A", share_quantity=99), version="99", captures=[single])
    assert Captures(disk).read(recorded(partition_loader)[single.sha256]) == SMALL[1]
    assert take_inventory(partition_loader.warehouse, disk, read_all=True).found.missing == []
