"""The job that repairs artifacts: dry run, outcome, and the checks that name what is lost."""

import dagster as dg
import pytest
import zstandard
from sqlalchemy import update

from orchestration_project.assets.operations import clean_up_job
from orchestration_project.catalog import REGISTRY
from orchestration_project.engine.contracts.job_kinds import LIST_ARTIFACTS, REPAIR_ARTIFACTS
from orchestration_project.engine.contracts.repair import DAMAGED
from orchestration_project.services.exports.rendering import build_renderer
from orchestration_project.services.repair.damage import find_damaged_files
from orchestration_project.settings import load_settings
from orchestration_project.tables.operations_artifacts import operations_exports
from tests.resources.repair_stores import RepairStores, copy_all, damage
from tests.resources.weeks import row
from tests.runs import run_kind

WHOLE = """
exports:
  weekly: {table: finra_otc_weekly, columns: [symbol, share_quantity], format: csv}
"""


def resources(stores, store, clock):
    return {
        "artifacts": store,
        "clock": clock,
        "registry": dg.ResourceDefinition.hardcoded_resource(REGISTRY),
        "settings": load_settings(),
        "warehouse": stores.warehouse,
    }


@pytest.fixture
def job(installation, monkeypatch, tmp_path):
    """Run a kind; return its metadata and its check."""
    stores, store, clock = installation.partition_loader, installation.store, installation.clock
    monkeypatch.setenv("ARTIFACTS_URL", str(stores.folder))

    def run(kind, **config):
        with dg.instance_for_test() as instance:
            given = resources(stores, store, clock)
            result = run_kind(clean_up_job, kind, given, instance, **config)
        [made] = result.asset_materializations_for_node("clean_up")
        [check] = result.get_asset_check_evaluations()
        return {name: value.value for name, value in made.metadata.items()}, check

    return run


@pytest.mark.slow
@pytest.mark.parametrize("warehouse", ["sqlite"], indirect=True)
def test_the_job_repairs_what_verification_found_and_names_what_is_lost(
    installation, job, monkeypatch, tmp_path
):
    stores, store = installation.partition_loader, installation.store
    kept, lost = (stores.capture(body) for body in (b"kept\nrow\n", b"lost\nrow\n"))
    stores.write_batch(row("A"), captures=[kept, lost])
    second = copy_all(store, tmp_path / "second")
    second.delete(lost.storage_uri)
    copy = str(tmp_path / "second")
    for capture in (kept, lost):
        damage(store, capture.storage_uri, "changed")
    _, verified = job(LIST_ARTIFACTS, read_all=True)
    assert not verified.passed
    assert verified.metadata["open_artifact_count"].value == 2

    shown, check = job(REPAIR_ARTIFACTS, copy_url=copy)
    assert (shown["dry_run"], shown["damaged_count"], shown["repaired_count"]) == (True, 2, 0)
    assert {record.data["from"] for record in shown["repairs"].records} == {"the copy"}
    assert not [
        stored_object for stored_object in store.listed() if stored_object.name.startswith(DAMAGED)
    ]

    shown, check = job(REPAIR_ARTIFACTS, dry_run=False, copy_url=copy)
    assert (shown["repaired_count"], shown["lost_count"]) == (1, 1)
    assert not check.passed
    [open_one] = check.metadata["open_artifacts"].value.records
    assert open_one.data["artifact"] == lost.storage_uri
    assert "partition T1|2025-11-10" in open_one.data["loss"]
    _, verified = job(LIST_ARTIFACTS, read_all=True)
    assert (verified.metadata["repaired_count"].value, verified.passed) == (1, False)

    store.put(lost.storage_uri, recompressed(b"lost\nrow\n"))  # from a backup
    _, verified = job(LIST_ARTIFACTS, read_all=True)
    assert verified.passed
    assert verified.metadata["open_artifact_count"].value == 0


def recompressed(body):
    return zstandard.ZstdCompressor(level=1).compress(body)


@pytest.mark.slow_after_first
@pytest.mark.parametrize("warehouse", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"sha256": ["zz"]}, "64 hexadecimal digits each"),
        ({"sha256": ["0f" * 32]}, f"invalid sha256 '{'0f' * 32}'"),
        ({"dataset": "none"}, "invalid dataset 'none'"),
    ],
)
def test_an_artifact_that_there_is_not_is_named_with_what_can_be(job, config, expected):
    with pytest.raises(Exception, match=expected):
        job(REPAIR_ARTIFACTS, **config)


@pytest.mark.parametrize("warehouse", ["sqlite"], indirect=True)
def test_an_exported_file_is_rendered_again_from_its_loads(installation, tmp_path):
    installation.declare(WHOLE)
    installation.write_batch(row("AAA", share_quantity=10))
    exported = installation.export().export
    assert exported
    first = exported.artifact
    installation.write_batch(row("AAA", share_quantity=12))
    store = installation.store
    before = store.get(first)
    damage(store, first, "truncated")
    stores = RepairStores(installation.partition_loader, store, installation.clock)
    (tmp_path / "scratch").mkdir()
    found = find_damaged_files(installation.warehouse, store, read_all=False)
    render = build_renderer(installation.warehouse, installation.declared, tmp_path / "scratch")
    [ended] = stores.repairs(render=render).repair(found)
    assert ended.outcome
    assert (ended.outcome.state, ended.outcome.way) == ("repaired", "derived")
    assert store.get(first) == before

    with installation.warehouse.writing() as connection:  # written by another release of polars
        connection.execute(update(operations_exports).values(sha256="f" * 64))
    damage(store, first, "missing")
    found = find_damaged_files(installation.warehouse, store, read_all=True)
    [ended] = stores.repairs(render=render).repair(found)
    assert ended.outcome
    assert ended.outcome.state == "rederived"
    assert find_damaged_files(installation.warehouse, store, read_all=True) == []

    installation.declare(WHOLE.replace("share_quantity]", "trade_count]"))
    damage(store, first, "missing")
    render = build_renderer(installation.warehouse, installation.declared, tmp_path / "scratch")
    found = find_damaged_files(installation.warehouse, store, read_all=True)
    [ended] = stores.repairs(render=render).repair(found)
    assert ended.outcome
    assert ended.outcome.state == "lost"
    assert "its rows are in the database" in str(ended.loss)
