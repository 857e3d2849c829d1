"""FINRA's weekly assets as Dagster runs them, over the real demo source, on both databases."""

import re
import shutil
from datetime import date, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import dagster as dg
import pytest
from sqlalchemy import func, select

from orchestration_project.assets.finra import OTC_WEEKLY, SPECS
from orchestration_project.definitions import defs
from orchestration_project.domains.finra.audits import PLAUSIBILITY
from orchestration_project.domains.finra.tables.weekly import (
    finra_otc_weekly,
    finra_otc_weekly_history,
    finra_symbol_week,
    finra_venue_week,
)
from orchestration_project.engine.connections.simulator import ensure_demo_url
from orchestration_project.errors import TransientError
from orchestration_project.settings import load_settings
from orchestration_project.tables.queries.row_diff import row_diff
from orchestration_project.tables.spine import captures, deliveries, landings
from tests import databases
from tests.assets.conftest import BOTH
from tests.runs import expect_failure, lost_reports, metadata_by_partition, observed_by, texts_of

OP = "finra_otc_weekly_load"
LATEST = {"T1": date(2026, 2, 9), "T2": date(2026, 1, 26), "OTCE": date(2026, 1, 26)}
"""The latest published week of each tier on the demo's day."""

AFTER_BOTH = "2026-03-12T15:00:00+00:00"
"""The demo has restated a week of T1 by then, and changed the dates of one of OTCE."""


def key(tier: str, index: int) -> str:
    """Return the partition of the ``index``-th latest week, 1 being the latest."""
    return f"{tier}|{LATEST[tier] - timedelta(weeks=index - 1)}"


def load(instance, first: str, last: str | None = None, **config) -> dg.ExecuteInProcessResult:
    """Run the job for a week, or for a range of weeks."""
    one = {"dagster/partition": first}
    several = {
        "dagster/asset_partition_range_start": first,
        "dagster/asset_partition_range_end": last or first,
    }
    return defs.resolve_job_def("finra_otc_weekly").execute_in_process(
        instance=instance,
        raise_on_error=False,
        run_config={"ops": {OP: {"config": config}}},
        tags=several if last else one,
    )


def count(url, table, **where):
    conditions = [table.c[name] == value for name, value in where.items()]
    return databases.rows(url, select(func.count()).select_from(table).where(*conditions))[0][0]


@pytest.mark.slow_on_postgresql
@BOTH
def test_a_range_is_loaded_and_every_asset_materialized(url, instance):
    result = load(instance, key("T1", 3), key("T1", 1))
    assert result.success
    partitions = {key("T1", index) for index in (1, 2, 3)}
    for spec in SPECS:
        assert instance.get_materialized_partitions(spec.key) == partitions
    weeks = databases.rows(url, select(finra_otc_weekly.c.week_start).distinct())
    assert len(weeks) == 3
    for table in (finra_symbol_week, finra_venue_week):
        assert len(databases.rows(url, select(table.c.week_start).distinct())) == 3


@pytest.mark.slow_on_postgresql
@BOTH
def test_the_metadata_of_a_partition_has_rows_rejects_and_bytes(url, instance):
    result = load(instance, key("T1", 2))
    metadata = {
        asset: partitions[key("T1", 2)]
        for asset, partitions in metadata_by_partition(result).items()
    }
    rows = count(url, finra_otc_weekly)
    assert metadata["otc_weekly"]["dagster/row_count"] == rows
    assert metadata["otc_weekly"]["rows_added"] == rows
    assert metadata["otc_weekly"]["audits_passed"] == 6
    assert metadata["otc_weekly_staged"]["rejects"] == 4
    for asset in ("otc_weekly_staged", "otc_weekly"):
        lines = [record.data for record in metadata[asset]["rejected_lines"].records]
        assert len(lines) == 4
        assert list(lines[0]) == ["part", "line", "reason_code", "reason", "record"]
    assert "orchestrate export rejects --where" in metadata["otc_weekly"]["all_rejects"]
    assert metadata["otc_weekly_capture"]["bytes"] > 100_000
    assert metadata["symbol_week"]["dagster/row_count"] == count(url, finra_symbol_week)
    assert metadata["venue_week"]["dagster/row_count"] == count(url, finra_venue_week)
    assert {value["source"] for value in metadata.values()} == {"demo"}


@pytest.mark.slow
@BOTH
def test_a_loaded_partition_shows_rows_captures_and_last_weeks(url, instance):
    first, last = key("T1", 3), key("T1", 2)
    metadata = metadata_by_partition(load(instance, first, last))
    shown = metadata["otc_weekly"][last]
    weekly = finra_otc_weekly.c
    largest = (
        select(weekly.symbol, weekly.venue_id, weekly.share_quantity)
        .where(weekly.week_start == LATEST["T1"] - timedelta(weeks=1))
        .order_by(weekly.share_quantity.desc())
        .limit(10)
    )
    rows = [row.data for row in shown["largest"].records]
    assert [(row["symbol"], row["venue_id"], row["share_quantity"]) for row in rows] == (
        databases.rows(url, largest)
    )
    for asset, shares in (
        ("symbol_week", "total_share_quantity"),
        ("venue_week", "share_quantity"),
    ):
        quantities = [row.data[shares] for row in metadata[asset][last]["largest"].records]
        assert len(quantities) == 10
        assert quantities == sorted(quantities, reverse=True)
    fetched = shown["first_captures"].records
    assert len(fetched) == shown["captures"] == metadata["otc_weekly_capture"][last]["captures"]
    assert (
        sum(row.data["bytes"] for row in fetched) == metadata["otc_weekly_capture"][last]["bytes"]
    )
    path = f"/assets/finra/otc_weekly_capture?view=partitions&partition={last.replace('|', '%7C')}"
    assert shown["captured_as"] == f"[{last}]({path})"
    assert shown["recent_shares"].startswith("![Shares of the tier by week](data:image/svg+xml;")
    assert len(shown["recent_shares"]) < 1000
    assert texts_of(shown["recent_shares"]) == ["SYNTHETIC DATA"]
    assert {value[last]["data"] for value in metadata.values() if last in value} == {
        "SYNTHETIC DATA"
    }
    assert shown["recent_shares"] != metadata["otc_weekly"][first]["recent_shares"]


@pytest.mark.slow_on_postgresql
@BOTH
def test_a_second_run_fetches_no_page_and_changes_no_table(url, instance):
    load(instance, key("OTCE", 2), key("OTCE", 1))
    before = databases.contents(url)
    assert load(instance, key("OTCE", 2), key("OTCE", 1)).success
    assert databases.contents(url) == before


@pytest.mark.slow_on_postgresql
@BOTH
def test_a_full_run_fetches_again_and_says_that_nothing_changed(url, instance):
    load(instance, key("OTCE", 1))
    before = databases.contents(url)
    assert load(instance, key("OTCE", 1), full=True).success
    after = databases.contents(url)
    assert {name: after[name] for name in after if name.startswith("finra_")} == {
        name: before[name] for name in before if name.startswith("finra_")
    }
    assert after["blobs"] == before["blobs"]
    assert len(after["captures"]) == 2 * len(before["captures"])
    assert databases.rows(url, select(landings.c.change_cause).order_by(landings.c.landed_at)) == [
        ("first",),
        ("none",),
    ]


@pytest.mark.slow_on_postgresql
@BOTH
def test_a_bad_partition_is_quarantined_alone_and_rerun_alone(url, instance):
    result = load(instance, key("T2", 10), key("T2", 8))
    assert not result.success
    assert expect_failure(result, OP).startswith(f"1 of 3 partitions did not load: {key('T2', 9)}")
    assert "reconciles_with_symbol_totals" in expect_failure(result, OP)
    for spec in SPECS:
        assert instance.get_materialized_partitions(spec.key) == {key("T2", 8), key("T2", 10)}
    assert count(url, finra_otc_weekly, week_start=LATEST["T2"] - timedelta(weeks=8)) == 0
    verdicts = {
        evaluation.check_name: evaluation.passed
        for evaluation in result.get_asset_check_evaluations()
    }
    assert verdicts == {
        "is_complete": True,
        "has_all_rows_of_record_total": True,
        "has_few_rejects": True,
        "has_firm_rows": True,
        "has_unique_keys": True,
        "holds_only_its_week_and_tier": True,
        "reconciles_with_symbol_totals": False,
        "is_of_usual_size": True,
        "has_all_large_venues": True,
        **dict.fromkeys(PLAUSIBILITY, True),
        "is_not_a_copy": True,
        "is_as_new_as_the_calendar": False,
    }

    quarantined = {name: value[key("T2", 9)] for name, value in observed_by(result).items()}
    assert quarantined.keys() == {spec.key.path[-1] for spec in SPECS}
    metadata = quarantined["otc_weekly"]
    assert list(metadata)[:5] == ["outcome", "reason", "expected", "found", "what_to_do"]
    assert metadata["outcome"] == "quarantined"
    assert metadata["reason"] == f"{key('T2', 9)} is quarantined by reconciles_with_symbol_totals"
    assert metadata["run"] == result.run_id
    (offender,) = [record.data for record in metadata["offenders"].records]
    assert offender["check"] == "reconciles_with_symbol_totals"
    assert '"share_quantity_of_finra"' in offender["offender"]

    fetched = {index: count(url, captures, partition_key=key("T2", index)) for index in (8, 9, 10)}
    assert not load(instance, key("T2", 10), key("T2", 8)).success
    assert count(url, captures, partition_key=key("T2", 8)) == fetched[8]
    assert count(url, captures, partition_key=key("T2", 10)) == fetched[10]
    assert count(url, captures, partition_key=key("T2", 9)) == 2 * fetched[9]


def test_a_permanent_refusal_is_not_tried_again(url, instance):
    result = load(instance, key("T2", 9))
    assert [event for event in result.all_events if event.is_step_up_for_retry] == []


@pytest.mark.slow_on_postgresql
@BOTH
def test_a_restatement_replaces_rows_and_keeps_the_old_ones_as_history(url, instance, set_clock):
    partition = key("T1", 5)
    load(instance, partition)
    symbols = {row[0] for row in databases.rows(url, select(finra_otc_weekly.c.symbol))}
    assert count(url, finra_otc_weekly_history) == 0

    set_clock(AFTER_BOTH)
    assert load(instance, partition).success
    now = {row[0] for row in databases.rows(url, select(finra_otc_weekly.c.symbol))}
    history = finra_otc_weekly_history
    gone = symbols - now
    assert len(gone) == 1
    assert count(url, history, symbol=gone.pop()) > 0
    assert {row[0] for row in databases.rows(url, select(history.c.change_cause))} == {"source"}
    loaded = databases.rows(
        url,
        select(landings.c.change_cause, landings.c.rows_removed).order_by(landings.c.landed_at),
    )
    assert [cause for cause, _ in loaded] == ["first", "source"]
    assert loaded[1][1] > 0


def restated_by_two(instance, set_clock, partition):
    """Load the partition, again after FINRA has restated it, and return the metadata of both."""
    first = metadata_by_partition(load(instance, partition))["otc_weekly"][partition]
    set_clock(AFTER_BOTH)
    return first, metadata_by_partition(load(instance, partition))["otc_weekly"][partition]


@pytest.mark.slow_on_postgresql
@BOTH
def test_a_restatement_is_reported_with_the_numbers_stored(url, instance, set_clock):
    partition = key("T1", 5)
    weekly, history = finra_otc_weekly.c, finra_otc_weekly_history.c
    first, metadata = restated_by_two(instance, set_clock, partition)
    [(shares, trades)] = databases.rows(
        url, select(func.sum(weekly.share_quantity), func.sum(weekly.trade_count))
    )
    assert (metadata["shares_after"], metadata["trades_after"]) == (shares, trades)
    assert metadata["shares_before"] != shares
    assert metadata["restated_rows"] == sum(
        metadata[name] for name in ("rows_added", "rows_changed", "rows_removed")
    )
    assert (metadata["symbols_added"], metadata["symbols_removed"]) == (1, 1)
    query = parse_qs(urlsplit(metadata["diff"]).query)
    since, until = (datetime.fromisoformat(query[name][0]) for name in ("since", "until"))
    diff = row_diff("finra_otc_weekly", since, until)
    changes = [row[0] for row in databases.rows(url, diff.select(["change"], query["where"]))]
    counts = {name: changes.count(name) for name in ("added", "removed")}
    assert counts == {name: metadata[f"rows_{name}"] for name in counts}
    assert changes.count("changed") >= metadata["rows_changed"]
    assert 0.001 < metadata["restated_share_ratio"] < 0.1
    moves = [record.data for record in metadata["largest_moves"].records]
    assert len(moves) == 10
    assert [abs(move["change"]) for move in moves] == sorted(
        (abs(move["change"]) for move in moves), reverse=True
    )
    for move in moves:
        condition = history.symbol == move["symbol"], history.venue_id == move["venue_id"]
        before = databases.rows(url, select(history.share_quantity).where(*condition))
        assert before == [(move["shares_before"],)] * bool(move["shares_before"])
    assert metadata["change"].startswith(
        f"T1, week 2026-01-12, was restated: {metadata['rows_changed']} of "
        f"{first['rows_added']:,} rows"
    )
    assert (metadata["notice"], metadata["notice_kind"]) == (metadata["change"], "restatement")


def test_a_first_load_of_a_week_is_a_notice_not_a_restatement(url, instance):
    partition = key("T1", 2)
    metadata = metadata_by_partition(load(instance, partition))["otc_weekly"][partition]
    assert metadata["notice"].startswith("New week loaded: T1, week 2026-02-02: ")
    assert metadata["notice_kind"] == "landed"
    assert metadata["restated_rows"] == 0


@pytest.fixture
def notice_above(tmp_path, monkeypatch):
    """Set the limit of restatements in a checks.yaml."""

    def notice_above(ratio: float) -> None:
        file = tmp_path / "checks.yaml"
        file.write_text(f"finra_otc_weekly: {{restatement_notice_ratio: {ratio}}}\n")
        monkeypatch.setenv("CHECKS_FILE", str(file))

    return notice_above


def test_a_restatement_below_the_limit_makes_no_notice(url, instance, set_clock, notice_above):
    notice_above(0.5)
    _, metadata = restated_by_two(instance, set_clock, key("T1", 5))
    assert metadata["restated_rows"] > 0
    assert "notice" not in metadata
    assert "notice_kind" not in metadata


def test_a_change_of_metadata_alone_is_reported_without_a_notice(
    url, instance, set_clock, notice_above
):
    notice_above(0)
    _, metadata = restated_by_two(instance, set_clock, key("OTCE", 6))
    assert "only dates that FINRA keeps about rows changed" in metadata["change"]
    assert metadata.keys().isdisjoint({"notice", "notice_kind"})
    assert metadata["restated_rows"] == 0


@pytest.mark.slow
def test_what_did_not_change_is_no_notice_and_only_a_delivery_replaces_the_change(url, instance):
    partition = key("OTCE", 1)
    loaded = metadata_by_partition(load(instance, partition))["otc_weekly"][partition]
    for full in (False, True):
        metadata = metadata_by_partition(load(instance, partition, full=full))["otc_weekly"][
            partition
        ]
        assert metadata.keys().isdisjoint({"notice", "notice_kind"})
        assert metadata.get("change") == (None if full else loaded["change"])


@pytest.mark.slow
@BOTH
@pytest.mark.parametrize("full", [False, True])
def test_loads_of_a_killed_run_are_reported_once_by_the_next(url, instance, full):
    first, last = key("T1", 2), key("T1", 1)
    with lost_reports():
        crashed = load(instance, first, last)
    assert (crashed.success, metadata_by_partition(crashed)) == (False, {})
    metadata = metadata_by_partition(load(instance, first, last, full=full))["otc_weekly"]
    for partition in (first, last):
        tier, week = partition.split("|")
        assert metadata[partition]["notice"].startswith(f"New week loaded: {tier}, week {week}: ")
        assert metadata[partition]["notice_kind"] == "landed"
        assert metadata[partition]["outcome"] == ("none" if full else "reported late")
        assert (
            f"run {crashed.run_id[:8]}, which loaded it, had not reported it"
            in metadata[partition]["change"]
        )
    for again in (False, full):
        metadata = metadata_by_partition(load(instance, first, last, full=again))["otc_weekly"]
        assert metadata[first].keys().isdisjoint({"notice", "notice_kind"})
        assert metadata[first]["outcome"] == ("none" if again else "unchanged")


@pytest.mark.slow
@pytest.mark.parametrize("both_die", [False, True])
def test_unreported_changes_are_reported_with_the_next_ones(url, instance, set_clock, both_die):
    partition = key("T1", 5)
    with lost_reports():
        load(instance, partition)
    set_clock(AFTER_BOTH)
    if both_die:
        with lost_reports():
            load(instance, partition)
    metadata = metadata_by_partition(load(instance, partition))["otc_weekly"][partition]
    assert metadata["change"].startswith("New week loaded: T1, week 2026-01-12: ")
    assert "T1, week 2026-01-12, was restated: " in metadata["notice"]
    assert metadata["notice_kind"] == "restatement"
    assert metadata["restated_rows"] > 0


@pytest.mark.parametrize("full", [False, True])
def test_loads_of_a_first_attempt_are_reported_by_the_second(url, instance, monkeypatch, full):
    fails = [TransientError("the connection was lost after the commit"), None]

    def see(*_):
        if (error := fails.pop(0)) is not None:
            raise error
        return seen

    seen = None
    monkeypatch.setattr("orchestration_project.resources.finra.weekly.read_preview", see)
    partition = key("OTCE", 1)
    result = load(instance, partition, full=full)
    assert (result.success, retries(result)) == (True, 1)
    assert count(url, landings) == (2 if full else 1)
    metadata = metadata_by_partition(result)["otc_weekly"][partition]
    assert metadata["notice"].startswith(f"New week loaded: OTCE, week {LATEST['OTCE']}: ")


def test_a_report_of_a_failed_run_is_not_repeated(url, instance):
    """Another partition was quarantined; this one was reported to Dagster all the same."""
    databases.forbid_two_weeks(url, finra_venue_week.name, "tier", "market", "venue_id")
    failed = load(instance, key("OTCE", 3), key("OTCE", 2))
    assert not failed.success
    assert metadata_by_partition(failed)["otc_weekly"][key("OTCE", 3)]["notice_kind"] == "landed"
    metadata = metadata_by_partition(load(instance, key("OTCE", 3)))["otc_weekly"][key("OTCE", 3)]
    assert "notice" not in metadata


def test_loads_of_a_run_that_goes_on_are_left_for_it_to_report(url, instance):
    partition = key("OTCE", 1)
    with lost_reports():
        crashed = load(instance, partition)
    going_on = dg.DagsterEvent("PIPELINE_START", "finra_otc_weekly")
    instance.report_dagster_event(going_on, crashed.run_id)
    assert not instance.get_run_by_id(crashed.run_id).is_finished
    metadata = metadata_by_partition(load(instance, partition))["otc_weekly"][partition]
    assert metadata.keys().isdisjoint({"change", "notice", "known_from"})


def retries(result) -> int:
    return len([event for event in result.all_events if event.is_step_up_for_retry])


def test_a_silent_database_is_retried_and_then_named(instance, demo_settings, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql://me:hidden@127.0.0.1:9/none")
    result = load(instance, key("T1", 3), key("T1", 1))
    assert not result.success
    assert retries(result) == 1
    said = expect_failure(result, OP)
    assert said.startswith("the database did not do what was asked")
    assert "what to do: check that it runs" in said
    assert "finra/otc_weekly," in said
    assert f"partitions={key('T1', 3)} to {key('T1', 1)} (3), run={result.run_id}" in said
    assert "hidden" not in str(result.all_events)


def test_a_demo_that_cannot_start_is_not_asked_again_and_named(url, instance, monkeypatch):
    folder = load_settings().state_path / "demo"
    shutil.rmtree(folder)
    folder.touch()  # where its folder should be
    result = load(instance, key("T1", 1))
    assert not result.success
    assert retries(result) == 0
    said = expect_failure(result, OP)
    assert said.startswith("the demo source does not start")
    assert f"partitions={key('T1', 1)}, run={result.run_id}" in said


@pytest.mark.slow_on_postgresql
@BOTH
def test_partitions_loaded_before_a_defect_are_materialized(url, instance):
    databases.forbid_two_weeks(url, finra_venue_week.name, "tier", "market", "venue_id")
    result = load(instance, key("OTCE", 3), key("OTCE", 1))
    assert not result.success
    for spec in SPECS:
        assert instance.get_materialized_partitions(spec.key) == {key("OTCE", 3)}
    assert count(url, landings) == 1
    failure = result.failure_data_for_node(OP)
    assert failure
    assert failure.error
    assert f"where: partition={key('OTCE', 2)}, run={result.run_id}" in failure.error.to_string()


def test_credentials_that_the_source_refuses_are_a_clear_error_without_the_secret(
    url, instance, demo_settings, monkeypatch
):
    api_url = ensure_demo_url(demo_settings)
    monkeypatch.setenv("FINRA_SOURCE", "api")
    monkeypatch.setenv("FINRA_API_URL", api_url)
    monkeypatch.setenv("FINRA_TOKEN_URL", f"{api_url}/fip/rest/ews/oauth2/access_token")
    monkeypatch.setenv("FINRA_CLIENT_ID", "somebody")
    monkeypatch.setenv("FINRA_CLIENT_SECRET", "not-the-secret")
    result = load(instance, key("OTCE", 1))
    assert not result.success
    assert "FINRA refuses the client somebody with HTTP 401" in expect_failure(result, OP)
    assert "not-the-secret" not in str(result.all_events)


def test_real_credentials_and_proxies_are_not_for_the_demo(url, instance, monkeypatch):
    monkeypatch.setenv("FINRA_CLIENT_ID", "somebody")
    monkeypatch.setenv("FINRA_CLIENT_SECRET", "real")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    assert load(instance, key("OTCE", 1)).success


@pytest.mark.slow_on_postgresql
@BOTH
def test_a_change_of_metadata_alone_is_marked_as_one(url, instance, set_clock):
    partition = key("OTCE", 6)
    load(instance, partition)
    shares = select(func.sum(finra_otc_weekly.c.share_quantity))
    before = databases.rows(url, shares)
    set_clock(AFTER_BOTH)
    assert load(instance, partition).success
    assert databases.rows(url, shares) == before
    causes = databases.rows(url, select(finra_otc_weekly_history.c.change_cause).distinct())
    assert causes == [("metadata",)]


def test_a_load_with_rejects_is_refused_under_a_limit_of_none(url, instance):
    result = load(instance, key("T1", 2), max_reject_ratio=0.0)
    assert not result.success
    assert "has_few_rejects" in expect_failure(result, OP)
    assert count(url, finra_otc_weekly) == 0


@pytest.mark.parametrize(
    ("partition", "found"),
    [
        ("T1|2026-02-10", "2026-02-10 is a Tuesday"),
        ("T9|2026-02-09", "tier T9"),
        ("nonsense", "no week"),
        ("T1|2031-01-06", "a week that has not ended by 2026-03-02"),
    ],
)
def test_a_partition_that_is_none_is_refused_by_name(url, instance, partition, found):
    result = load(instance, partition)
    assert not result.success
    assert f"invalid partition {partition}" in expect_failure(result, OP)
    assert f"found: {found}" in expect_failure(result, OP)


def test_weeks_that_are_not_published_are_observed_with_the_day_and_fail_nothing(url, instance):
    result = load(instance, "T2|2026-01-26", "T2|2026-02-09")
    assert result.success
    assert instance.get_materialized_partitions(OTC_WEEKLY) == {"T2|2026-01-26"}
    observed = observed_by(result)
    assert observed.keys() == {spec.key.path[-1] for spec in SPECS}
    assert observed["otc_weekly"].keys() == {"T2|2026-02-02", "T2|2026-02-09"}
    metadata = observed["otc_weekly"]["T2|2026-02-09"]
    assert metadata["outcome"] == "not published"
    assert metadata["reason"] == "not published until 2026-03-16"
    assert metadata["run"] == result.run_id
    assert count(url, deliveries) == 1


@pytest.mark.slow
@BOTH
def test_another_real_source_replaces_a_partition_only_by_force(
    url, instance, tmp_path, demo_settings, monkeypatch
):
    partition = key("OTCE", 1)
    api_url = ensure_demo_url(demo_settings)
    monkeypatch.setenv("FINRA_SOURCE", "api")
    monkeypatch.setenv("FINRA_API_URL", api_url)
    monkeypatch.setenv("FINRA_TOKEN_URL", f"{api_url}/fip/rest/ews/oauth2/access_token")
    monkeypatch.setenv("FINRA_CLIENT_ID", "demo")
    monkeypatch.setenv("FINRA_CLIENT_SECRET", "demo-secret")
    assert load(instance, partition).success
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "manifest.csv").write_text(
        "file,tier,week_start,market\nmine.csv,OTCE,2026-01-26,ATS\n"
    )
    (folder / "mine.csv").write_text(
        "tierDescription|issueSymbolIdentifier|issueName|marketParticipantName|MPID|"
        "totalWeeklyShareQuantity|totalWeeklyTradeCount|lastUpdateDate\n"
        "OTC|NULL|Null Corp|OTCN OTC LINK|OTCN|10|1|2026-03-02"
    )
    monkeypatch.setenv("FINRA_SOURCE", "files")
    monkeypatch.setenv("FINRA_FILES_DIR", str(folder))
    others = count(url, finra_otc_weekly, market="NON_ATS")

    result = load(instance, partition)
    assert not result.success
    assert "was loaded from another source" in expect_failure(result, OP)
    forced = expect_failure(load(instance, partition, allow_conflicts=True), OP)
    [sha256] = re.findall(r"SHA-256 ([0-9a-f]{64})", forced)  # one row in place of hundreds
    accepted = {"accept_sha256": sha256, "accept_reason": "a file of one symbol"}
    assert load(instance, partition, allow_conflicts=True, **accepted).success
    assert count(url, finra_otc_weekly, market="ATS") == 1
    assert count(url, finra_otc_weekly, market="NON_ATS") == others > 0


@pytest.mark.slow_on_postgresql
@BOTH
def test_a_week_that_lost_most_rows_is_loaded_with_a_warning(url, instance):
    result = load(instance, key("OTCE", 16), key("OTCE", 12))
    assert result.success
    metadata = metadata_by_partition(result)["otc_weekly"]
    assert [metadata[key("OTCE", index)]["audits_warning"] for index in (13, 12)] == [0, 1]
    assert metadata[key("OTCE", 12)]["audits_passed"] == 6
    checks = {
        evaluation.check_name: evaluation for evaluation in result.get_asset_check_evaluations()
    }
    size = checks["is_of_usual_size"]
    assert (size.passed, size.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert size.metadata["partitions_failed"].value == 1
    assert size.metadata["partitions_not_applicable"].value == 4
    failures = size.metadata["failures"]
    assert isinstance(failures, dg.TableMetadataValue)
    (record,) = failures.records
    assert record.data["partition_key"] == key("OTCE", 12)
    assert '"measure": "rows"' in str(record.data["offenders"])
    failed = {name for name, check in checks.items() if not check.passed}
    assert failed == {"is_of_usual_size", "is_as_new_as_the_calendar"}


def replayed(instance, partition: str, **config) -> dg.ExecuteInProcessResult:
    return load(instance, partition, replay=True, **config)


def test_a_replay_materializes_the_partition_and_changes_no_table(url, instance):
    load(instance, key("OTCE", 1))
    before = databases.contents(url)
    result = replayed(instance, key("OTCE", 1))
    assert result.success
    assert metadata_by_partition(result)["otc_weekly"][key("OTCE", 1)]["outcome"] == "unchanged"
    assert databases.contents(url) == before


def test_an_option_of_the_other_kind_of_run_is_refused(demo_settings, instance):
    refused = replayed(instance, key("OTCE", 1), full=True)
    assert "invalid full: expected no option of a load in a replay" in expect_failure(refused, OP)
    refused = load(instance, key("OTCE", 1), allow_older=True)
    assert "invalid allow_older: expected no option of a replay" in expect_failure(refused, OP)
