"""Contents of the artifact store, listed, found and compared with the tables, on both databases."""

from datetime import timedelta

import dagster as dg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestration_project.assets.operations import clean_up_job
from orchestration_project.engine.connections.artifacts import FolderStore
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.job_kinds import LIST_ARTIFACTS
from orchestration_project.engine.contracts.retention import compare_sizes, sum_by_kind
from orchestration_project.errors import ConfigurationError
from orchestration_project.services.inventory import find_blob, read_captures, take_inventory
from tests.properties import bounded
from tests.resources.weeks import FAILED, row
from tests.runs import run_kind


@pytest.fixture
def store(partition_loader) -> FolderStore:
    return FolderStore(partition_loader.folder)


def capture(partition_loader, *bodies: bytes, **options):
    captures = [partition_loader.capture(body) for body in bodies]
    partition_loader.write_batch(row("A"), captures=captures, **options)
    return captures


def looked_at(partition_loader, store, **config) -> tuple[dict, dg.AssetCheckEvaluation]:
    """Return what the asset shows, and how its check came out."""
    resources = {"artifacts": store, "clock": Clock(), "warehouse": partition_loader.warehouse}
    result = run_kind(clean_up_job, LIST_ARTIFACTS, resources, **config)
    [made] = result.asset_materializations_for_node("clean_up")
    [check] = result.get_asset_check_evaluations()
    return {name: value.value for name, value in made.metadata.items()}, check


@pytest.mark.slow_on_postgresql
def test_captures_are_listed_by_conditions_and_all_artifacts_counted_by_kind(
    partition_loader, store
):
    first, _ = capture(partition_loader, b"one", b"two")
    store.put("staged/x.parquet", b"12345")
    metadata, check = looked_at(partition_loader, store, where=["part_number=1"])
    [record] = metadata["captures"].records
    assert (record.data["sha256"], record.data["byte_count"]) == (first.sha256, 3)
    assert record.data["partition_key"] == partition_loader.partition_key
    kinds = {record.data["kind"]: record.data for record in metadata["kinds"].records}
    assert kinds["captured bytes"]["artifact_count"] == 2
    assert kinds["staged rows"]["byte_count"] == 5
    assert (metadata["artifacts"], metadata["captures_listed"]) == (3, 1)
    assert check.passed


@pytest.mark.slow_after_first
def test_the_check_finds_what_is_missing_changed_and_not_named(partition_loader, store):
    gone, shorter, altered, _ = capture(partition_loader, b"gone", b"shorter", b"altered", b"whole")
    partition_loader.capture(b"of a load that was killed")
    store.delete_older(gone.storage_uri, Clock().now() + timedelta(days=1))
    store.put(shorter.storage_uri, b"")
    stored = store.get(altered.storage_uri)
    store.put(altered.storage_uri, stored[:-1] + bytes([stored[-1] ^ 1]))

    quick = take_inventory(partition_loader.warehouse, store, read_all=False)
    assert quick.found.missing == [gone.storage_uri]
    assert (quick.changed, quick.read_count) == ([shorter.storage_uri], 1)
    _, check = looked_at(partition_loader, store, read_all=True)
    counts = {name: value.value for name, value in check.metadata.items() if "count" in name}
    assert counts == {
        "missing_count": 1,
        "changed_count": 2,
        "unnamed_count": 1,
        "read_count": 3,
        "repaired_count": 0,
        "rederived_count": 0,
        "lost_count": 0,
        "open_artifact_count": 3,
    }
    assert not check.passed


def test_a_blob_is_found_by_hash_or_by_a_quarantined_capture(partition_loader):
    with pytest.raises(Exception, match="is quarantined"):
        capture(partition_loader, b"one", audits=[FAILED])
    found = read_captures(partition_loader.warehouse, [], 9)
    [capture_id], [sha256] = found["capture_id"], found["sha256"]
    assert find_blob(partition_loader.warehouse, str(capture_id)) == find_blob(
        partition_loader.warehouse, sha256.upper()
    )


@pytest.mark.parametrize("wanted", ["1", "f" * 64, "a name"])
def test_what_was_never_captured_is_not_found(partition_loader, wanted):
    with pytest.raises(ConfigurationError, match=r"captured under|invalid capture"):
        find_blob(partition_loader.warehouse, wanted)


names = st.sampled_from(["blobs/a", "blobs/b", "staged/a", "plots/a", "x"])
sizes = st.dictionaries(names, st.integers(0, 2))


@given(named=sizes, stored=sizes)
@settings(bounded, max_examples=50)
def test_a_comparison_puts_each_name_where_it_belongs(named, stored):
    found = compare_sizes(named, stored)
    assert set(found.missing) == {name for name in named if name not in stored}
    assert set(found.unnamed) == {name for name in stored if name not in named}
    both = named.keys() & stored.keys()
    assert set(found.resized) == {name for name in both if named[name] != stored[name]}
    kinds = sum_by_kind(stored.items())
    assert kinds["artifact_count"].sum() == len(stored)
    assert kinds["byte_count"].sum() == sum(stored.values())
