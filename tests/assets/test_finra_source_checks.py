"""The checks of FINRA's tiers and fields, in their job, over the real demo source."""

import dagster as dg
import pytest
from sqlalchemy import select

from orchestration_project.definitions import defs
from orchestration_project.tables.spine import source_fields
from tests import databases
from tests.expecting import expect_type
from tests.programs import from_then_on
from tests.runs import part_of_daily

TIERS, FIELDS = "lists_only_known_tiers", "has_the_fields_that_we_know"


def look(instance) -> dict[str, dg.AssetCheckEvaluation]:
    source = dg.AssetKey(["finra", "weekly_summary"])
    checks = [dg.AssetCheckKey(source, name) for name in (TIERS, FIELDS)]
    result = part_of_daily("finra", *checks).execute_in_process(instance=instance)
    return {
        evaluation.check_name: evaluation for evaluation in result.get_asset_check_evaluations()
    }


def rows_of(evaluation: dg.AssetCheckEvaluation, label: str) -> list[dict[str, object]]:
    table = expect_type(evaluation.metadata[label], dg.TableMetadataValue)
    return [dict(record.data) for record in table.records]


def test_a_tier_that_is_not_loaded_is_named_with_its_newest_week(url, instance):
    tiers = look(instance)[TIERS]
    assert (tiers.passed, tiers.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert rows_of(tiers, "unknown_tiers") == [
        {"tier": "NMS", "partitions": "1", "newest_week": "2025-12-08"}
    ]


@pytest.mark.slow
def test_a_field_that_the_source_adds_is_reported_once(url, instance, set_clock):
    assert look(instance)[FIELDS].passed
    known = databases.rows(url, select(source_fields.c.field_name))
    assert len(known) == 17
    set_clock(from_then_on("2026-03-16T15:00"))
    later = look(instance)[FIELDS]
    assert (later.passed, later.severity) == (False, dg.AssetCheckSeverity.WARN)
    (difference,) = rows_of(later, "differences")
    since = difference.pop("since")
    assert str(since).startswith("2026-03-16 15:0")
    assert difference == {
        "field_name": "totalOddLotTradeCount",
        "what": "new",
        "known": "",
        "listed": "Number",
    }
    assert rows_of(look(instance)[FIELDS], "differences")[0]["since"] == since
    assert len(databases.rows(url, select(source_fields.c.field_name))) == 18


def test_files_have_no_list_of_fields_to_check(url, instance, tmp_path, monkeypatch):
    (tmp_path / "files").mkdir()
    monkeypatch.setenv("FINRA_SOURCE", "files")
    monkeypatch.setenv("FINRA_FILES_DIR", str(tmp_path / "files"))
    found = look(instance)
    assert [found[name].passed for name in (TIERS, FIELDS)] == [True, True]
    assert str(found[FIELDS].metadata["outcome"].value).startswith("not applicable: ")


def test_a_load_by_its_job_does_not_look_at_tiers_and_fields(url, instance):
    result = defs.resolve_job_def("finra_otc_weekly").execute_in_process(
        instance=instance, tags={"dagster/partition": "OTCE|2026-01-26"}
    )
    assert {TIERS, FIELDS}.isdisjoint(
        evaluation.check_name for evaluation in result.get_asset_check_evaluations()
    )
