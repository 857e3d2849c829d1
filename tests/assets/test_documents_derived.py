"""What a run of documents derives and reports: similarity, topics, metadata, verdict, exports."""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import delete, select

from orchestration_project.__main__ import main
from orchestration_project.definitions import defs
from orchestration_project.domains.documents.tables import (
    documents,
    documents_bands,
    documents_fingerprints,
    documents_similarity,
)
from orchestration_project.engine.contracts.work_items import ItemSettlement, NewItem
from orchestration_project.engine.work_items import WorkItems
from tests import databases
from tests.assets.conftest import BOTH
from tests.assets.test_documents import DAY, tick
from tests.resources.definitions import RESOURCES
from tests.runs import metadata_by_partition, observed_by

LETTER = "Dear customer, the turbine of your order is ready. Please collect it this week."
LOADED = ["capture", "pages", "chunks"]
BOMB = b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>"


@pytest.fixture
def inbox(tmp_path: Path, demo_settings: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of documents, whose files are loaded at the first poll."""
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    monkeypatch.setenv("DATA_PROFILE", "real")
    monkeypatch.setenv("DOCUMENTS_SOURCE", "folder")
    monkeypatch.setenv("DOCUMENTS_DIR", str(inbox))
    monkeypatch.setenv("DOCUMENTS_STABLE_SECONDS", "0")
    return inbox


def derive(instance: dg.DagsterInstance) -> Any:
    return defs.resolve_job_def("documents_derive").execute_in_process(
        instance=instance, partition_key=DAY, raise_on_error=False
    )


def execute(instance: dg.DagsterInstance, **config: Any) -> Any:
    return defs.resolve_job_def("documents_load").execute_in_process(
        instance=instance,
        partition_key=DAY,
        raise_on_error=False,
        run_config={"ops": {"documents_load_day": {"config": config}}},
    )


def reported(result: Any) -> Mapping[str, Mapping[str, Any]]:
    """Return the metadata of each asset, materialized and observed."""
    found = metadata_by_partition(result)
    seen = observed_by(result)
    return {
        asset: {**by_day[DAY], **seen.get(asset, {}).get(DAY, {})}
        for asset, by_day in found.items()
    }


def checks(result: Any) -> Mapping[str, Any]:
    return {
        evaluation.check_name: evaluation for evaluation in result.get_asset_check_evaluations()
    }


@pytest.mark.slow
@BOTH
def test_a_run_reports_outcomes_chunks_and_what_it_derived(url, inbox, instance):
    (inbox / "a.txt").write_text(LETTER)
    (inbox / "b.txt").write_text(f"{LETTER} Yours")
    (inbox / "c.html").write_text(
        "<p>\u202eboilers of a whole town\u0007 <script>alert(1)</script></p>"
    )
    (inbox / "empty.txt").write_text("")
    assert tick(instance) == [DAY]
    result = execute(instance)
    assert result.success
    found = reported(result)
    assert list(found) == ["capture", "pages", "chunks", "similarity"]
    captured = found["capture"]
    assert captured["document_verdict"] == "watch"
    assert captured["document_score"] == pytest.approx(100 * (25 + 0.75 * 60) / 85, abs=0.1)
    assert captured["verdict_reasons"].startswith("1 of 4 not ")
    types = {
        record.data["media_type"]: record.data for record in captured["outcomes_by_type"].records
    }
    check = checks(result)["has_good_verdict"]
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert (types["text/plain"]["loaded"], types["text/plain"]["pages"]) == (2, 2)
    assert types["text/html"]["loaded"] == 1
    assert (found["pages"]["page_count"], "pages_per_second" in found["pages"]) == (3, True)
    previews = {
        record.data["file"]: record.data["text"]
        for record in found["chunks"]["first_chunks"].records
    }
    assert previews["a.txt"] == LETTER
    assert "\\u202eboilers" in previews["c.html"]
    assert found["similarity"]["rows_written"] == 1
    assert found["similarity"]["compared_count"] == 4
    [(score,)] = databases.rows(url, select(documents_similarity.c.score))
    assert score > 0.8
    again = reported(execute(instance))
    assert again["similarity"]["compared_count"] == 0
    assert reported(execute(instance, replay=True))["similarity"]["rows_written"] == 0


@pytest.mark.slow
def test_a_bad_verdict_is_an_error_of_its_check_and_by_setting_of_its_run(
    url,
    inbox,
    instance,
    monkeypatch: pytest.MonkeyPatch,
):
    (inbox / "bad.xml").write_bytes(BOMB)
    tick(instance)
    result = execute(instance)
    assert result.success
    check = checks(result)["has_good_verdict"]
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert reported(result)["capture"]["document_verdict"] == "bad"
    monkeypatch.setenv("DOCUMENTS_FAIL_ON", "bad")
    (inbox / "worse.xml").write_bytes(BOMB + b" ")
    (inbox / "good.txt").write_text(LETTER)
    tick(instance)
    result = execute(instance)
    assert not result.success
    assert set(reported(result)) == {"capture", "pages", "chunks", "similarity"}
    [failure] = [event for event in result.all_events if event.is_step_failure]
    assert "critical reason xml_entities" in str(failure.step_failure_data.error.message)


DERIVED = [
    documents_bands,
    documents_fingerprints,
    documents_similarity,
]


def derived_rows(url: str) -> list[list[str]]:
    return [sorted(map(repr, databases.rows(url, select(table)))) for table in DERIVED]


@pytest.mark.slow
@BOTH
def test_a_load_that_ended_before_its_derivation_is_repaired_by_the_assets_alone(
    url, inbox, instance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (inbox / "a.txt").write_text(LETTER)
    (inbox / "b.txt").write_text(f"{LETTER} Yours")
    tick(instance)
    load = defs.resolve_job_def("documents_load").get_subset(
        asset_selection={dg.AssetKey(["documents", asset_name]) for asset_name in LOADED}
    )
    result = load.execute_in_process(instance=instance, partition_key=DAY)
    assert list(reported(result)) == LOADED
    bands, fingerprints, pairs = derived_rows(url)
    assert (bands, pairs) == ([], [])
    assert len(fingerprints) == 2  # by the workers that extracted them
    (inbox / "a.txt").unlink()  # the source is not read
    monkeypatch.setenv("DOCUMENTS_DIR", str(tmp_path / "unmounted"))
    found = reported(derive(instance))
    assert list(found) == ["similarity"]
    assert (found["similarity"]["rows_written"], found["similarity"]["compared_count"]) == (1, 2)
    assert checks(derive(instance))["names_existing_documents"].passed
    before = derived_rows(url)
    assert all(before)
    again = reported(derive(instance))
    assert again["similarity"]["compared_count"] == 0
    assert derived_rows(url) == before


@pytest.mark.slow
def test_a_failed_derivation_fails_the_run_after_its_load_and_the_next_run_derives_the_rest(
    url, inbox, instance
):
    (inbox / "a.txt").write_text(LETTER)
    tick(instance)
    databases.execute(
        url,
        "CREATE TRIGGER refuse BEFORE INSERT ON documents_bands "
        "BEGIN SELECT RAISE(ABORT, 'refused'); END",
    )
    result = execute(instance)
    databases.execute(url, "DROP TRIGGER refuse")
    assert not result.success
    assert list(reported(result)) == LOADED
    (inbox / "b.txt").write_text(f"{LETTER} Yours")
    tick(instance)
    found = reported(execute(instance))
    assert (found["similarity"]["rows_written"], found["similarity"]["compared_count"]) == (1, 2)


@pytest.mark.slow
def test_days_are_derived_in_one_run_and_a_pair_without_its_document_fails_the_check(
    url, inbox, instance
):
    (inbox / "a.txt").write_text(LETTER)
    (inbox / "b.txt").write_text(f"{LETTER} Yours")
    tick(instance)
    execute(instance)
    databases.execute(url, delete(documents))
    result = defs.resolve_job_def("documents_derive").execute_in_process(
        instance=instance,
        tags={
            "dagster/asset_partition_range_start": "2026-03-01",
            "dagster/asset_partition_range_end": DAY,
        },
    )
    assert set(metadata_by_partition(result)["similarity"]) == {"2026-03-01", DAY}
    check = checks(result)["names_existing_documents"]
    assert (check.passed, check.metadata["found"].value) == (False, "1 pairs")


@pytest.mark.slow
def test_an_export_of_chunks_delivers_them_and_a_late_one_lowers_the_verdict(
    url,
    inbox,
    instance,
    tmp_path: Path,
    capfd,
    monkeypatch: pytest.MonkeyPatch,
):
    exports = tmp_path / "exports.yaml"
    exports.write_text("exports:\n  chunks: {table: v_documents_chunks, format: csv}\n")
    monkeypatch.setenv("EXPORTS_FILE", str(exports))
    (inbox / "a.txt").write_text("=1+1")
    tick(instance)
    assert reported(execute(instance))["capture"]["document_score"] == 100
    capfd.readouterr()
    assert main(["export", "v_documents_chunks", "--columns", "page_number,text"]) == 0
    assert capfd.readouterr().out.split("\r\n")[:2] == ["page_number,text", "1,'=1+1"]
    with dg.build_resources(RESOURCES, instance) as made:
        items = WorkItems(made.warehouse, made.clock)
        items.enqueue("exports", [NewItem("chunks", "1")])
        until = made.clock.now() + timedelta(hours=1)
        [item] = items.claim("exports", limit=1, run_id="run", until=until)
        with made.warehouse.writing() as connection:
            failed = ItemSettlement(item, "failed", reason_code="x", is_retryable=False)
            items.settle(connection, [failed])
    (inbox / "b.txt").write_text(LETTER)
    tick(instance)
    captured = reported(execute(instance))["capture"]
    assert (captured["document_score"], captured["document_verdict"]) == (85, "good")
    assert captured["verdict_reasons"] == "the export chunks is overdue"
