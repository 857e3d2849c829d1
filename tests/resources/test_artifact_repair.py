"""Damaged artifacts: repaired where the right bytes can be had, else named with what is lost."""

import hashlib
from dataclasses import replace
from datetime import date, timedelta
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestration_project.engine.blob_repair import delete_expired, put_blob
from orchestration_project.engine.captures import BlobError, Captures, build_capture
from orchestration_project.engine.connections.artifacts import FolderStore, open_artifacts
from orchestration_project.engine.contracts.repair import DAMAGED
from orchestration_project.engine.packs import PACKS
from orchestration_project.errors import ConfigurationError, SourceError, TransientError
from orchestration_project.services.inventory import find_blob, take_inventory
from orchestration_project.services.repair.copies import open_copy
from orchestration_project.services.repair.damage import DamagedArtifact, open_damage
from orchestration_project.services.repair.repairing import StoreError
from tests.properties import bounded
from tests.resources.repair_stores import (
    FAULTS,
    PROBLEMS,
    RepairStores,
    copy_all,
    damage,
    from_source,
)
from tests.resources.weeks import NOON, PartitionLoader, StoppedClock, row

BOTH = pytest.mark.parametrize(
    ("warehouse", "store"), [("sqlite", "folder"), ("postgresql", "s3")], indirect=True
)
SQLITE = pytest.mark.parametrize("warehouse", ["sqlite"], indirect=True)

BODIES = {fault: f"header\nrow of {fault}\n".encode() * 50 for fault in FAULTS}
URL = "https://api.finra.org/data"


@pytest.fixture
def store(request, tmp_path):
    folder = str(tmp_path / "store")
    return open_artifacts(folder if request.param == "folder" else request.getfixturevalue("s3"))


@pytest.fixture
def bench(partition_loader, store, clock):
    return RepairStores(partition_loader, store, clock)


@pytest.fixture
def in_folder(partition_loader, clock):
    return RepairStores(partition_loader, FolderStore(partition_loader.folder), clock)


def keep(store, *bodies, packed=False, url=URL):
    """Capture bodies: each as an object, or all in a pack."""
    fetched = [
        build_capture(body, url=f"{url}/{number}", request={"offset": number}, fetched_at=NOON)
        for number, body in enumerate(bodies)
    ]
    captures = Captures(store)
    if packed:
        return captures.keep_all(fetched, lambda _: {})
    return [captures.store(body) for body in fetched]


def is_whole(bench):
    found = take_inventory(bench.partition_loader.warehouse, bench.store, read_all=True)
    return not found.damaged


@pytest.mark.slow_after_first
@pytest.mark.slow_on_postgresql
@BOTH
@pytest.mark.parametrize("packed", [False, True])
def test_each_fault_is_repaired_from_a_copy(bench, tmp_path, packed):
    store = bench.store
    kept = keep(store, *BODIES.values(), packed=packed)
    bench.partition_loader.write_batch(row("A"), captures=kept)
    bench.second = copy_all(store, tmp_path / "second")
    faults = dict(zip(FAULTS, kept, strict=True)) if not packed else {"zeros": kept[0]}
    before = {each.storage_uri: store.get(each.storage_uri) for each in kept}
    for fault, capture in faults.items():
        damage(store, capture.storage_uri, fault)
    aside = {stored_object.name: store.get(stored_object.name) for stored_object in store.listed()}

    repaired = bench.repaired()

    assert {repair.outcome.state for repair in repaired} == {"repaired"}
    assert len(repaired) == len(kept)
    assert is_whole(bench)
    assert {name: store.get(name) for name in before} == before
    rows = {artifact["sha256"]: artifact for artifact in bench.rows()}
    for fault, capture in faults.items():
        assert rows[capture.sha256]["problem"] == PROBLEMS.get(fault, fault)
        assert rows[capture.sha256]["repaired_from"] == "copy"
        if fault != "missing":  # what was there is set aside, for a time
            name = capture.storage_uri
            assert store.get(f"{DAMAGED}{NOON.date()}/{name}") == aside[name]
    assert not [stored_object for stored_object in store.listed() if "drafts" in stored_object.name]
    assert open_damage(bench.partition_loader.warehouse) == []


@pytest.mark.slow_on_postgresql
@BOTH
def test_a_source_is_asked_again_and_counts_only_with_the_same_bytes(bench):
    same, other, gone = keep(bench.store, b"same\nrow\n", b"before\nrow\n", b"gone\nrow\n")
    bench.partition_loader.write_batch(row("A"), captures=[same, other, gone], source="demo")
    for capture in (same, other, gone):
        damage(bench.store, capture.storage_uri, "changed")
    left = {capture.storage_uri: bench.store.get(capture.storage_uri) for capture in (other, gone)}
    bench.recoveries = [
        from_source(
            {
                same.url: b"same\nrow\n",
                other.url: b"after\nrow\n",
                gone.url: SourceError("FINRA has no such week"),
            }
        )
    ]
    found = {repair.artifact.sha256: repair for repair in bench.repaired()}
    assert found[same.sha256].outcome.way == "source"
    assert bench.captures.read(same.blob) == b"same\nrow\n"
    assert found[other.sha256].outcome.state == "lost"
    assert found[other.sha256].outcome.reason == "the source has other bytes (10 bytes)"
    assert found[gone.sha256].outcome.reason == (
        "the source does not have the bytes (FINRA has no such week)"
    )
    assert {name: bench.store.get(name) for name in left} == left


@SQLITE
def test_what_is_lost_is_named_with_its_rows_and_a_later_capture(in_folder):
    partition_loader = in_folder.partition_loader
    [first] = keep(in_folder.store, b"first\nrow\n")
    partition_loader.write_batch(row("A"), row("B"), captures=[first])
    damage(in_folder.store, first.storage_uri, "missing")
    [alone] = in_folder.repaired()
    assert alone.loss == (
        "The bytes of weeklySummary of api, partition T1|2025-11-10, fetched at 2026-01-05 12:00 "
        "UTC, are lost; the database still has 2 rows in finra_otc_weekly; no later capture is "
        "whole."
    )
    assert alone.outcome.reason == (
        "nothing has its bytes: no copy is named, and no source or rows have them"
    )

    later = partition_loader.capture(b"later\nrow\n", fetched_at=NOON + timedelta(days=1))
    partition_loader.write_batch(row("A", share_quantity=7), version="v2", captures=[later])
    [again] = in_folder.repaired()
    assert again.loss.endswith(
        "no current row was read from them; a later capture of 2026-01-06 12:00 UTC is whole."
    )
    [recorded] = in_folder.rows()
    assert (recorded["state"], recorded["attempt_count"]) == ("lost", 2)
    assert recorded["loss"] == again.loss


@SQLITE
def test_a_way_that_fails_for_now_loses_nothing(in_folder):
    [kept] = keep(in_folder.store, b"one\nrow\n")
    in_folder.partition_loader.write_batch(row("A"), captures=[kept], source="demo")
    damage(in_folder.store, kept.storage_uri, "missing")
    in_folder.recoveries = [from_source({kept.url: TransientError("FINRA is away")})]
    [ended] = in_folder.repaired()
    assert (ended.outcome.state, ended.loss) == ("damaged", None)
    assert ended.outcome.reason == "the source failed (FINRA is away)"
    in_folder.recoveries = [from_source({kept.url: b"one\nrow\n"})]
    [ended] = in_folder.repairs().repair(open_damage(in_folder.partition_loader.warehouse))
    assert ended.outcome.state == "repaired"


@pytest.mark.slow_on_postgresql
@BOTH
def test_a_blob_of_a_damaged_pack_gets_an_object_of_its_own(bench):
    kept = keep(bench.store, *BODIES.values(), packed=True)
    assert kept[0].storage_uri.startswith(PACKS)
    bench.partition_loader.write_batch(row("A"), captures=kept, source="demo")
    content = bench.store.get(kept[0].storage_uri)
    cut = content[: kept[-1].byte_offset]
    bench.store.put(kept[0].storage_uri, cut)
    bench.recoveries = [from_source({kept[-1].url: list(BODIES.values())[-1]})]
    [ended] = bench.repaired()
    assert (ended.artifact.problem, ended.outcome.state) == ("truncated", "repaired")
    assert bench.store.get(kept[0].storage_uri) == cut
    assert is_whole(bench)


@SQLITE
def test_a_copy_with_other_bytes_repairs_nothing(in_folder, tmp_path):
    [kept] = keep(in_folder.store, b"one\nrow\n")
    in_folder.partition_loader.write_batch(row("A"), captures=[kept])
    in_folder.second = copy_all(in_folder.store, tmp_path / "second")
    damage(in_folder.second, kept.storage_uri, "changed")
    damage(in_folder.store, kept.storage_uri, "missing")
    [ended] = in_folder.repaired()
    assert ended.outcome.reason == "the copy has other bytes"
    assert in_folder.store.found(kept.storage_uri) is None


@SQLITE
def test_a_copy_with_its_pack_alone_or_the_blob_alone_serves(in_folder, tmp_path):
    kept = keep(in_folder.store, *BODIES.values(), packed=True)
    in_folder.partition_loader.write_batch(row("A"), captures=kept)
    in_folder.second = FolderStore(tmp_path / "second")
    keep(in_folder.second, *BODIES.values())  # objects of their own
    damage(in_folder.store, kept[0].storage_uri, "missing")
    assert {repair.outcome.state for repair in in_folder.repaired()} == {"repaired"}
    assert is_whole(in_folder)


class Unreadable(FolderStore):
    """A folder in which some files may not be read."""

    names: frozenset[str] = frozenset()

    def open(self, name):
        if name in self.names:
            raise ConfigurationError(f"cannot read the artifact {name}", found="Permission denied")
        return super().open(name)


@SQLITE
def test_damage_that_is_found_again_is_recorded_once(in_folder):
    kept = keep(in_folder.store, *BODIES.values())
    in_folder.partition_loader.write_batch(row("A"), captures=kept)
    for capture in kept:
        damage(in_folder.store, capture.storage_uri, "missing")
    in_folder.verify()
    in_folder.clock.at += timedelta(days=1)
    assert len(in_folder.verify()) == len(kept)
    rows = in_folder.rows()
    assert sorted(artifact["sha256"] for artifact in rows) == sorted(
        capture.sha256 for capture in kept
    )
    assert {(artifact["state"], artifact["found_at"]) for artifact in rows} == {
        ("damaged", in_folder.clock.at)
    }


@SQLITE
def test_a_copy_is_tried_before_the_source_and_rows(in_folder, tmp_path):
    [kept] = keep(in_folder.store, b"one\nrow\n")
    in_folder.partition_loader.write_batch(row("A"), captures=[kept], source="demo")
    copy = copy_all(in_folder.store, tmp_path / "second")
    damage(in_folder.store, kept.storage_uri, "missing")
    source = from_source({kept.url: b"one\nrow\n"})
    in_folder.recoveries = [replace(source, way="derived"), source]
    for second, expected in ((None, ["source", "derived"]), (copy, ["copy", "source", "derived"])):
        in_folder.second = second
        [planned] = in_folder.repairs().plan(in_folder.verify())
        assert (planned.outcome, planned.ways) == (None, expected)
    assert in_folder.store.found(kept.storage_uri) is None
    in_folder.recoveries = []
    in_folder.second = None
    [planned] = in_folder.repairs().plan(in_folder.verify())
    assert planned.ways == []


@pytest.mark.slow_after_first
@SQLITE
@pytest.mark.parametrize("packed", [False, True])
def test_a_copy_in_a_bucket_serves_as_a_folder_does(in_folder, s3, packed):
    kept = keep(in_folder.store, *BODIES.values(), packed=packed)
    in_folder.partition_loader.write_batch(row("A"), captures=kept)
    copy = open_artifacts(s3)
    for stored_object in in_folder.store.listed():
        copy.put(stored_object.name, in_folder.store.get(stored_object.name))
    for name in {capture.storage_uri for capture in kept}:
        damage(in_folder.store, name, "truncated")
    found = in_folder.verify()
    in_folder.second = open_copy(s3, in_folder.store, found)
    repaired = list(in_folder.repairs().repair(found))
    assert {(repair.outcome.state, repair.outcome.way) for repair in repaired} == {
        ("repaired", "copy")
    }
    assert is_whole(in_folder)


@pytest.mark.parametrize(("name", "found"), [("unmounted", "empty"), ("store", "the store itself")])
def test_a_copy_that_cannot_be_one_is_refused(tmp_path, name, found):
    (tmp_path / "unmounted").mkdir()
    store = FolderStore(tmp_path / "store")
    store.put("plots/a.svg", b"<svg/>")
    with pytest.raises(ConfigurationError, match="invalid copy_url") as refused:
        open_copy(str(tmp_path / name), store, [])
    assert str(refused.value.found).endswith(f"{name}, {found}")


@SQLITE
def test_a_failed_source_does_not_hide_that_the_copy_has_nothing(in_folder, tmp_path):
    [kept] = keep(in_folder.store, b"one\nrow\n")
    in_folder.partition_loader.write_batch(row("A"), captures=[kept], source="demo")
    damage(in_folder.store, kept.storage_uri, "missing")
    in_folder.second = FolderStore(tmp_path / "second")
    in_folder.recoveries = [from_source({kept.url: TransientError("FINRA is away")})]
    [ended] = in_folder.repaired()
    assert (ended.outcome.state, ended.outcome.way) == ("damaged", None)
    assert ended.outcome.reason == (
        "the copy does not have the bytes; the source failed (FINRA is away)"
    )


@SQLITE
def test_an_object_that_may_not_be_read_is_replaced_and_set_aside(in_folder, tmp_path):
    store = Unreadable(in_folder.partition_loader.folder)
    one, two = keep(store, b"one\nrow\n", b"two\nrow\n")
    in_folder.partition_loader.write_batch(row("A"), captures=[one, two])
    in_folder.second = copy_all(store, tmp_path / "second")
    stored = store.get(one.storage_uri)
    store.names = frozenset({one.storage_uri})
    in_folder.store = store
    [ended] = in_folder.repaired()
    assert (ended.artifact.problem, ended.outcome.state) == ("unreadable", "repaired")
    assert store.get(f"{DAMAGED}{NOON.date()}/{one.storage_uri}") == stored


class Failing(FolderStore):
    """A folder that fails at some calls that write, from the ``after``th on."""

    after = 10**9
    error: BaseException = TransientError("the store is away")

    def _count(self):
        self.after -= 1
        if self.after < 0:
            raise self.error

    def put_chunks(self, name, chunks):
        self._count()
        super().put_chunks(name, chunks)

    def copy(self, name, to):
        self._count()
        super().copy(name, to)

    def found(self, name):
        self._count()
        return super().found(name)


@SQLITE
def test_a_store_that_goes_down_half_way_keeps_what_was_repaired(in_folder, tmp_path):
    store = Failing(in_folder.partition_loader.folder)
    kept = keep(store, *BODIES.values())
    in_folder.partition_loader.write_batch(row("A"), captures=kept)
    in_folder.second = copy_all(store, tmp_path / "second")
    for capture in kept:
        damage(store, capture.storage_uri, "missing")
    found = in_folder.verify()
    in_folder.store = store
    store.after = 9
    with pytest.raises(TransientError):
        list(in_folder.repairs().repair(found))
    states = [artifact["state"] for artifact in in_folder.rows()]
    assert 0 < states.count("repaired") < len(kept)
    assert states.count("lost") == 0
    store.after = 10**9
    assert all(
        repair.outcome.state == "repaired"
        for repair in in_folder.repairs().repair(open_damage(in_folder.partition_loader.warehouse))
    )
    assert is_whole(in_folder)


@SQLITE
def test_a_store_that_may_not_be_written_ends_the_repair_and_loses_nothing(in_folder, tmp_path):
    store = Failing(in_folder.partition_loader.folder)
    store.error = ConfigurationError("cannot write", found="Permission denied")
    [kept] = keep(store, b"one\nrow\n")
    in_folder.partition_loader.write_batch(row("A"), captures=[kept])
    in_folder.second = copy_all(store, tmp_path / "second")
    damage(store, kept.storage_uri, "missing")
    found = in_folder.verify()
    in_folder.store = store
    store.after = 1
    with pytest.raises(StoreError, match="artifacts cannot be repaired: cannot write"):
        list(in_folder.repairs().repair(found))
    assert [artifact["state"] for artifact in in_folder.rows()] == ["damaged"]


class Killed(BaseException):
    """The end of a process."""


class Killing(Failing):
    """A folder whose process ends before a call, and runs nothing after it."""

    error = Killed()
    is_dead = False

    def _count(self):
        if self.after <= 0:
            self.is_dead = True
        super()._count()

    def delete(self, name):
        if not self.is_dead:
            super().delete(name)


@pytest.mark.parametrize("fault", ["missing", "changed"])
def test_a_process_killed_at_each_step_leaves_the_damaged_object_or_the_whole_one(tmp_path, fault):
    body, step = b"one\nrow\n" * 100, 0
    for step in range(20):
        store = Killing(tmp_path / f"{step}")
        [kept] = keep(store, body)
        damage(store, kept.storage_uri, fault)
        left = None if fault == "missing" else store.get(kept.storage_uri)
        store.after, is_over = step, False
        try:
            with (tmp_path / "body").open("w+b") as file:
                file.write(body)
                file.seek(0)
                put_blob(store, kept.blob, file, NOON.date())
            is_over = True
        except Killed:
            pass
        store.after, store.is_dead = 10**9, False
        if is_over or not is_damaged(store, kept.blob):
            assert Captures(store).read(kept.blob) == body
        else:
            found = store.found(kept.storage_uri)
            assert (found and store.get(kept.storage_uri)) == left
        if is_over:
            break
    assert step >= 3


def is_damaged(store, blob):
    try:
        Captures(store).verify(blob)
    except BlobError:
        return True
    return False


fault_sets = st.lists(
    st.tuples(st.sampled_from([*FAULTS, "whole"]), st.booleans(), st.booleans()),
    min_size=1,
    max_size=5,
)


numbers = count()


@pytest.mark.slow
@given(faults=fault_sets, packed=st.booleans())
@settings(bounded, max_examples=6)
def test_after_a_repair_every_object_is_whole_or_named_as_lost(
    saas_warehouse, tmp_path_factory, faults, packed
):
    number = next(numbers)
    folder = tmp_path_factory.mktemp("store")
    store, second = FolderStore(folder / "first"), FolderStore(folder / "second")
    bodies = [f"row {place} of {number}\n".encode() * 30 for place in range(len(faults))]
    kept = keep(store, *bodies, packed=packed)
    partition_loader = PartitionLoader(saas_warehouse, folder / "first")
    partition_loader.write_batch(row("A"), version=f"v{number}", captures=kept, source="demo")
    held: dict[str, bytes] = {}
    for (fault, is_copied, is_held), capture, body in zip(faults, kept, bodies, strict=True):
        if is_copied:
            keep(second, body)
        if is_held:
            held[capture.url] = body
        if fault != "whole" and store.found(capture.storage_uri):
            damage(store, capture.storage_uri, fault)
    bench = RepairStores(partition_loader, store, StoppedClock(), second, [from_source(held)])
    damaged = [DamagedArtifact.of_blob(each.blob, "missing") for each in kept]
    ended = {repair.artifact.sha256: repair for repair in bench.repairs().repair(damaged)}
    for (_, is_copied, is_held), capture in zip(faults, kept, strict=True):
        blob = find_blob(saas_warehouse, capture.sha256)
        found = ended.get(capture.sha256)
        if found and found.outcome and found.outcome.state == "lost":
            assert (is_copied, is_held) == (False, False)
            assert is_damaged(store, blob)
            assert "are lost" in str(found.loss)
        else:
            content = Captures(store).read(blob)
            assert hashlib.sha256(content).hexdigest() == capture.sha256


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
    assert "damaged/2026-01-01/blobs/a" not in {
        stored_object.name for stored_object in store.listed()
    }
    assert len(list(store.listed())) == 4
