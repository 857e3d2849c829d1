"""Retries of failed files: exactly those that were chosen, with what the others need."""

from collections.abc import Mapping
from typing import Any

import pytest
from sqlalchemy import update

from orchestration_project.engine.contracts.job_kinds import RETRY_FAILURES
from orchestration_project.tables.spine import work_items
from tests.document_loader import BOTH, TOPIC, DocumentLoader
from tests.document_loader import document_loader as document_loader
from tests.document_loader import folder as folder
from tests.expecting import expect_success
from tests.runs import executed, op_metadata


def retried(document_loader: DocumentLoader, **config: Any) -> Mapping[str, Any]:
    options = {"dry_run": False, "domain": "documents", **config}
    result = executed(
        document_loader.instance, "operations_runs", **RETRY_FAILURES.run_config(options)
    )
    return op_metadata(expect_success(result))


def items(document_loader: DocumentLoader) -> dict[str, tuple[str, int]]:
    """Return state and attempts of each file."""
    columns = work_items.c
    found = document_loader.rows(columns.item_key, columns.state, columns.attempt_count)
    return {key: (state, count) for key, state, count in found}


@pytest.mark.slow
@BOTH
def test_failed_files_are_retried_and_permanent_ones_say_what_has_to_change(document_loader):
    document_loader.write(good_txt="fine", cut_json=b"{", none_txt=b"")
    (document_loader.folder / "late.txt").symlink_to(document_loader.folder / "target")
    document_loader.load()
    failed = {"cut.json": ("dead", 1), "none.txt": ("done", 1), "late.txt": ("failed", 1)}
    assert items(document_loader) == {"good.txt": ("done", 1), **failed}

    dry = retried(document_loader, dry_run=True)
    assert items(document_loader)["late.txt"] == ("failed", 1)
    assert (dry["items_due_count"], dry["items_left_out_count"]) == (1, 1)
    listed = {record.data["item_key"]: record.data for record in dry["items"].records}
    assert listed["late.txt"]["left_out_because"] == ""
    assert listed["cut.json"]["left_out_because"] == (
        "the file ends too early; deliver the whole file again"
    )

    assert retried(document_loader)["items_retried_count"] == 1
    assert items(document_loader) == {"good.txt": ("done", 1), **failed, "late.txt": ("ready", 1)}
    counts = document_loader.load()
    assert counts["loaded_document_count"] == counts["unchanged_document_count"] == 0
    assert items(document_loader)["late.txt"] == ("failed", 2)  # counted across runs
    document_loader.write(target="here now")
    retried(document_loader)
    assert document_loader.load()["loaded_document_count"] == 2  # and the new file target
    later = {"late.txt": ("done", 1), "target": ("done", 1)}  # of the version that is there now
    assert items(document_loader) == {"good.txt": ("done", 1), **failed, **later}
    assert retried(document_loader)["items_retried_count"] == 0


@pytest.mark.slow
@BOTH
def test_files_are_chosen_by_reason_by_name_or_all_of_them(document_loader):
    document_loader.write(a_json=b"{", b_json=b"[", c_bin=b"\x00\x01\x02" * 99)
    document_loader.load()
    dead = dict.fromkeys(("a.json", "b.json", "c.bin"), ("dead", 1))
    assert items(document_loader) == dead
    with document_loader.warehouse.writing() as connection:
        own = work_items.c.item_key == "b.json"
        connection.execute(update(work_items).where(own).values(reason_code="encrypted"))
    reported = retried(document_loader, reason_codes=["encrypted"])
    assert (reported["items_retried_count"], reported["due_count"]) == (1, 0)
    assert items(document_loader) == {**dead, "b.json": ("ready", 1)}
    reported = retried(document_loader, item_keys=["c.bin", "nothing"], topics=[TOPIC])
    assert (reported["items_retried_count"], reported["items_missing"]) == (1, "nothing")
    assert items(document_loader)["a.json"] == ("dead", 1)
    reported = retried(document_loader, include_permanent=True)
    assert reported["items_retried_count"] == 1
    assert {state for state, _ in items(document_loader).values()} == {"ready"}


@pytest.mark.slow
def test_a_reason_that_no_failed_file_has_is_refused_with_those_that_there_are(document_loader):
    document_loader.write(a_json=b"{")
    document_loader.load()
    config = RETRY_FAILURES.run_config({"reason_codes": ["encripted"], "dry_run": False})
    result = executed(document_loader.instance, "operations_runs", **config)
    failure = result.failure_data_for_node("handle_runs")
    assert failure
    assert failure.error
    assert "invalid reason code 'encripted'" in failure.error.to_string()
    assert "expected: one of truncated\n" in failure.error.to_string()
    assert items(document_loader) == {"a.json": ("dead", 1)}
