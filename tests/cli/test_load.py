"""`datasets`, `load` and `backfill`: the jobs of Dagster, by the names of tables and dates."""

import json
import re
import shutil

import pytest
from sqlalchemy import select

from orchestration_project.__main__ import main
from orchestration_project.cli.exit_statuses import EXIT_STATUS_TEXT, EXIT_STATUSES
from orchestration_project.engine.connections.simulator import stop_demos
from orchestration_project.engine.contracts.partition_tags import group_consecutive
from orchestration_project.engine.contracts.partitioning import load_outcome
from orchestration_project.instance.storage import open_instance
from orchestration_project.settings import load_settings
from orchestration_project.tables.catalogue import METADATA
from tests import databases
from tests.commands import run_without_failure
from tests.prepared import write_default
from tests.programs import DEMO

WEEKLY, TREASURY = "finra_otc_weekly", "finra_treasury_weekly"


@pytest.fixture
def empty_dir(tmp_path, monkeypatch):
    folder = tmp_path / "state"
    for name, value in {**DEMO, "STATE_DIR": str(folder)}.items():
        monkeypatch.setenv(name, value)
    yield folder
    stop_demos(load_settings())


@pytest.fixture
def state_dir(empty_dir, new_files):
    write_default(load_settings())
    shutil.copytree(new_files, empty_dir / "dagster")
    return empty_dir


def keys_of(dataset: str, capsys) -> tuple[str, str]:
    """Return the first and the last partition, as `datasets` lists them."""
    run_without_failure("datasets", "--json")
    [found] = [load for load in json.loads(capsys.readouterr().out) if load["name"] == dataset]
    return found["first_key"], found["last_key"]


def expect_usage_error(capsys, *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    return capsys.readouterr().err


def test_the_datasets_are_tables_that_load_and_derive_with_jobs_and_partitions(capsys):
    assert main(["datasets", "--json"]) == 0
    found = {load["name"]: load for load in json.loads(capsys.readouterr().out)}
    assert {name: value["job"] for name, value in found.items()} == {
        **{
            name: name
            for name in (
                *(WEEKLY, TREASURY, "finra_corporate_market_breadth", "finra_short_interest"),
                *("finra_treasury_daily", "finra_treasury_monthly", "finra_reg_sho_daily"),
                *("finra_otc_monthly", "finra_threshold_list", "finra_ats_blocks"),
                *("finra_otc_blocks", "finra_symbol_week_short", "finra_daily"),
                *("finra_gold", "finra_tier_week", "finra_symbol_week_value"),
                *("documents_derive", "fx_rates_daily", "mqtt_mirror"),
                *("prices_daily", "prices_gold"),
            )
        },
        "documents_pages": "documents_load",
        "market_volume_daily": "cboe_market_volume_daily",
        "cboe_off_exchange_share_weekly": "cboe_off_exchange_share_weekly",
        "fact_bond_trade_activity": "finra_bond_trade_activity",
    }
    assert all(value["description"] for value in found.values())
    assert {name for value in found.values() for name in value["tables"]} <= METADATA.tables.keys()
    assert found["prices_gold"]["partition_count"] is None
    assert main(["datasets"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].split() == ["dataset", "partitions", "first", "last", "job", "description"]
    assert len(shown) == len(found) + 1


def test_partitions_load_in_ranges_and_again_change_nothing(state_dir, capsys):
    weeks = ["2023-01-16", "2023-01-09", "2023-01-30"]
    assert main(["load", TREASURY, *weeks]) == 0
    shown = capsys.readouterr().out
    assert f"job       {TREASURY}: 3 partitions in 2 runs" in shown
    for place, week in enumerate(sorted(weeks), 1):
        assert f"[ {place}/3] {week}: 14 rows added" in shown
    assert len(re.findall(r"^\[ ./3\] .*  \(\d+ s left\)$", shown, re.MULTILINE)) == 3
    assert [line.split()[:3] for line in shown.splitlines() if line.startswith(TREASURY)] == [
        [TREASURY, "42", "42"]
    ]
    url = databases.sqlite_url(state_dir)
    table = METADATA.tables[TREASURY]
    before = databases.rows(url, select(table))
    assert main(["load", TREASURY, weeks[0], "--json"]) == 0
    output, error = capsys.readouterr()
    found = json.loads(output)
    assert (found["is_success"], found["outcome"]) == (True, "loaded")
    assert [partition["partition"] for partition in found["partitions"]] == [weeks[0]]
    assert found["partitions"][0]["outcome"].startswith("unchanged")
    assert f"[ 1/1] {weeks[0]}: unchanged" in error
    assert databases.rows(url, select(table)) == before
    with open_instance() as instance:
        assert [run.job_name for run in instance.get_runs()] == 3 * [TREASURY]


@pytest.mark.slow
def test_a_failed_partition_is_named_and_others_are_loaded(state_dir, capsys):
    week = "2025-12-01"
    assert main(["backfill", "finra_otc_weekly", "--from", week, "--to", week, "-q"]) == 1
    shown = capsys.readouterr().out
    assert "FAILED: run " in shown
    assert f"1 of 1 partitions did not load: T2|{week}" in shown
    assert "[1/1]" not in shown
    tiers = select(METADATA.tables["finra_otc_weekly"].c.tier).distinct()
    found = databases.rows(databases.sqlite_url(state_dir), tiers)
    assert {tier for (tier,) in found} == {"OTCE", "T1"}


@pytest.mark.slow
def test_a_day_that_is_not_published_yet_is_no_failure_and_has_its_own_status(state_dir, capsys):
    days = ["--from", "2026-02-27", "--to", "2026-03-02"]
    assert main(["backfill", "finra_treasury_daily", *days, "--json"]) == 3
    found = json.loads(capsys.readouterr().out)
    assert (found["outcome"], found["is_success"], found["failures"]) == ("not_published", True, [])
    assert [
        (partition["partition"], partition["status"], partition["is_loaded"])
        for partition in found["partitions"]
    ] == [
        ("2026-02-27", "loaded", True),
        ("2026-03-02", "not_published", False),
    ]
    table = METADATA.tables["finra_treasury_daily"]
    assert len(databases.rows(databases.sqlite_url(state_dir), select(table))) == 14


@pytest.mark.slow
def test_a_run_that_is_refused_before_its_first_step_says_why(
    state_dir, tmp_path, monkeypatch, capsys
):
    file = tmp_path / "limits.yaml"
    file.write_text("finra_otc_weekly:\n  outliers: {sigma: 0}\n")
    monkeypatch.setenv("CHECKS_FILE", str(file))
    assert main(["load", TREASURY, "2023-01-09"]) == 1
    shown = capsys.readouterr().out
    assert re.search(r"^FAILED: run \S+: .*invalid limits in limits\.yaml$", shown, re.MULTILINE)
    assert "line 2: finra_otc_weekly.outliers.sigma: expected a number greater than 0" in shown


@pytest.mark.slow
def test_a_dataset_without_partitions_loads_by_its_name_alone(state_dir, capsys):
    assert main(["load", "prices_gold"]) == 0
    assert "job       prices_gold: 0 partitions in 1 run" in capsys.readouterr().out
    assert "prices_gold has no partitions" in expect_usage_error(
        capsys, "load", "prices_gold", "2026-01"
    )


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("arguments", "runs"),
    [
        (
            ["load", WEEKLY, "T2|2026-01-05", "T1|2026-01-12", "T1|2026-01-05"],
            [["T1|2026-01-05", "T1|2026-01-12"], ["T2|2026-01-05", "T2|2026-01-05"]],
        ),
        (["load", "prices_daily", "2026-01"], [["2026-01-01", "2026-01-01"]]),
        (["load", "finra_venue_week", "T1|2026-01-05"], [["T1|2026-01-05", "T1|2026-01-05"]]),
        (
            ["backfill", WEEKLY, "--from", "2026-01", "--to", "2026-01"],
            [[f"{tier}|2026-01-05", f"{tier}|2026-01-26"] for tier in ("T1", "T2", "OTCE")],
        ),
        (
            ["backfill", WEEKLY, "--from", "T2|2026-01-05", "--to", "T2|2026-02-02"],
            [["T2|2026-01-05", "T2|2026-02-02"]],
        ),
        (
            ["backfill", "prices_daily", "--from", "2025-12", "--to", "2026-02"],
            [["2025-12-01", "2026-02-01"]],
        ),
    ],
)
def test_a_dry_run_lists_the_runs_and_starts_none(arguments, runs, empty_dir, capsys):
    assert main([*arguments, "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["runs"] == runs
    assert not list(empty_dir.rglob("*.sqlite"))


@pytest.mark.slow
def test_what_does_not_exist_is_refused_with_what_was_probably_meant(state_dir, capsys):
    first, last = keys_of(TREASURY, capsys)
    message = expect_usage_error(capsys, "load", "finra_tresury_weekly", first)
    assert "unknown dataset 'finra_tresury_weekly'" in message
    assert "Did you mean 'finra_treasury_weekly'?" in message
    assert f"{TREASURY} needs partitions, e.g. '{last}'" in expect_usage_error(
        capsys, "load", TREASURY
    )
    wrong = expect_usage_error(capsys, "backfill", TREASURY, "--from", "soon", "--to", last)
    assert "'soon' is not a date, month or partition key" in wrong
    assert "use `load prices_gold`" in expect_usage_error(
        capsys, "backfill", "prices_gold", "--from", first, "--to", last
    )
    assert main(["load", TREASURY, f"{last[:-1]}x"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"{TREASURY} has no partition '{last[:-1]}x'\n")
    assert f"{first} to {last}" in error
    assert "did you mean " in error
    assert main(["backfill", TREASURY, "--from", "2001-01-01", "--to", "2001-12-31"]) == 2
    assert f"expected: dates between {first} and {last}" in capsys.readouterr().err
    assert not list(state_dir.rglob("*.sqlite"))


def test_ranges_are_consecutive_and_of_one_first_part():
    keys = [f"{tier}|{week}" for tier in "AB" for week in "1234"]
    assert group_consecutive(["B|1", "A|4", "A|3", "A|1"], keys) == [
        ("A|1", "A|1"),
        ("A|3", "A|4"),
        ("B|1", "B|1"),
    ]


def test_a_month_in_another_form_is_refused_with_the_partitions_that_there_are(state_dir, capsys):
    first, last = keys_of("finra_treasury_monthly", capsys)
    assert main(["load", "finra_treasury_monthly", last[:7]]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"finra_treasury_monthly has no partition '{last[:7]}'\n")
    assert f"partitions, {first} to {last}" in error


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("dataset", "first", "last", "setting"),
    [
        (WEEKLY, "T1|2020-01-06", "T1|2026-01-05", "FINRA_FIRST_WEEK"),
        ("fx_rates_daily", "2020-01-01", "2026-01-05", "FX_FIRST_DAY"),
        ("prices_daily", "2020-01-15", "2026-01-05", "PRICES_FIRST_MONTH"),
        ("market_volume_daily", "2020-01-01", "2026-01-05", "CBOE_FIRST_DAY"),
    ],
)
def test_a_backfill_beyond_the_known_partitions_is_refused_unless_it_is_clipped(
    dataset, first, last, setting, state_dir, capsys
):
    known = keys_of(dataset, capsys)[0].rpartition("|")[2]
    backfill = ["backfill", dataset, "--from", first, "--to", last, "--dry-run", "--json"]
    assert main(backfill) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"invalid range: {dataset} has no partition before {known}\n")
    assert f"set {setting} to an earlier day" in error
    assert main([*backfill, "--clip"]) == 0
    found = json.loads(capsys.readouterr().out)
    part = first.rpartition("|")[0]
    prefix = f"{part}|" if part else ""
    assert found["requested_range"] == f"{first} to {last}"
    assert found["loaded_range"].startswith(f"{prefix}{known} to ")
    assert found["notes"][0] == f"nothing is loaded before {known}, the first partition"


@pytest.mark.slow
def test_the_runs_of_a_backfill_have_both_ranges_as_tags(state_dir, capsys):
    days = ["--from", "2023-01-09", "--to", "2023-03-31"]
    assert main(["backfill", TREASURY, *days, "--json", "--clip"]) == 0
    output, error = capsys.readouterr()
    found = json.loads(output)
    ranges = {
        "requested_range": "2023-01-09 to 2023-03-31",
        "loaded_range": "2023-01-09 to 2023-02-06",
    }
    assert {name: found[name] for name in ranges} == ranges
    assert "requested 2023-01-09 to 2023-03-31\nloaded    2023-01-09 to 2023-02-06" in error
    with open_instance() as instance:
        [run] = instance.get_runs()
    assert {name: run.tags[name] for name in ranges} == ranges


@pytest.mark.parametrize("command", ["run", "load", "backfill", "replay", "run-saas"])
def test_the_help_of_a_command_that_loads_names_its_exit_statuses(command, capsys):
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert EXIT_STATUS_TEXT in text


@pytest.mark.parametrize(
    ("has_failed", "unpublished", "status"),
    [(False, [], 0), (False, ["a"], 3), (True, [], 1), (True, ["a"], 1)],
)
def test_a_failure_outweighs_what_is_not_published(has_failed, unpublished, status):
    outcome = load_outcome(has_failed=has_failed, unpublished=unpublished)
    assert EXIT_STATUSES[outcome] == status
