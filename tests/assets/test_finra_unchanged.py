"""Page of a week after a run that found it unchanged: the figures of what loaded."""

from typing import Any

import dagster as dg
import pytest

from orchestration_project.assets.finra import SPECS
from orchestration_project.definitions import defs
from orchestration_project.engine.announcements import KNOWN_FROM
from tests.assets.conftest import BOTH
from tests.runs import metadata_by_partition

WEEK = "T1|2026-02-02"
RESTATED = "T1|2026-01-12"
AFTER_IT = "2026-03-12T15:00:00+00:00"


def load(
    instance: dg.DagsterInstance, week: str = WEEK, *, replay: bool = False
) -> dg.ExecuteInProcessResult:
    return defs.resolve_job_def("finra_otc_weekly").execute_in_process(
        instance=instance,
        tags={"dagster/partition": week},
        run_config={"ops": {"finra_otc_weekly_load": {"config": {"replay": replay}}}},
    )


def metadata_of_week(
    result: dg.ExecuteInProcessResult, week: str = WEEK
) -> dict[str, dict[str, Any]]:
    return {asset: partitions[week] for asset, partitions in metadata_by_partition(result).items()}


def without_notices(metadata: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in metadata.items() if not name.startswith("notice")}


@pytest.mark.slow
@BOTH
def test_an_unchanged_week_shows_metadata_of_its_loaded_delivery(url, instance):
    first = load(instance)
    loaded = metadata_of_week(first)
    marks = {"outcome": "unchanged", "landed_by": first.run_id}
    assert loaded["otc_weekly_staged"]["rejects"] == 4
    assert "notice" in loaded["otc_weekly"]
    for is_replay in (False, True, False):
        unchanged = metadata_of_week(load(instance, replay=is_replay))
        assert unchanged.keys() == loaded.keys()
        for asset, metadata in unchanged.items():
            assert metadata == without_notices(loaded[asset]) | marks


@pytest.mark.slow_on_postgresql
@BOTH
def test_without_an_earlier_materialization_the_figures_are_those_of_the_database(url, instance):
    first = load(instance)
    with dg.DagsterInstance.ephemeral() as another:
        unchanged = metadata_of_week(load(another))
    for asset, metadata in metadata_of_week(first).items():
        numbers = {
            name: value
            for name, value in metadata.items()
            if isinstance(value, int | float) or name in ("artifact", "group_id", KNOWN_FROM)
        }
        expected = {**numbers, "seconds": 0.0, "landed_by": first.run_id, "outcome": "unchanged"}
        found = unchanged[asset]
        assert {name: found.get(name) for name in expected} == expected


@pytest.mark.slow
def test_a_restatement_stays_shown_and_is_no_news_twice(url, instance, set_clock):
    load(instance, week=RESTATED)
    set_clock(AFTER_IT)
    loaded = metadata_of_week(load(instance, week=RESTATED), RESTATED)["otc_weekly"]
    assert loaded["restated_rows"] > 0
    unchanged = metadata_of_week(load(instance, week=RESTATED), RESTATED)["otc_weekly"]
    assert unchanged == without_notices(loaded) | {
        "outcome": "unchanged",
        "landed_by": unchanged["landed_by"],
    }
    assert unchanged["change"] == loaded["change"]


@pytest.mark.slow
def test_a_look_reads_no_more_than_one_earlier_materialization_at_a_time(
    url, instance, monkeypatch
):
    load(instance)
    load(instance)
    fetch, read = instance.fetch_materializations, []

    def counted(wanted: Any, limit: int, **more: Any) -> Any:
        found = fetch(wanted, limit=limit, **more)
        read.append((wanted.asset_key, limit))
        return found

    monkeypatch.setattr(instance, "fetch_materializations", counted)
    load(instance)
    assert set(read) == {(spec.key, 1) for spec in SPECS}
