"""The `run` command as a person meets it: real processes, killed and repeated too."""

import os
import re
import signal
import stat
from datetime import date

import psutil
import pytest
from sqlalchemy import func, select

from orchestration_project.__main__ import main
from orchestration_project.cli.known_names import store_datasets
from orchestration_project.cli.stack_services import data_folder
from orchestration_project.cli.ui import only_ui_on
from orchestration_project.domains.finra.contract import FILE_FIELDS
from orchestration_project.domains.finra.tables.weekly import (
    finra_otc_weekly,
    finra_symbol_week,
    finra_venue_week,
)
from orchestration_project.instance.storage import open_instance
from orchestration_project.settings import PROJECT_ROOT
from orchestration_project.tables.spine import captures, rejects
from tests import databases, programs
from tests.faults.disks import tiny_disk
from tests.resources.balances import assert_balanced

REAL_FILES = PROJECT_ROOT.parent / "shared" / "data" / "finra"
RUN = ("orchestration_project", "run", "--weeks")


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """The STATE_DIR in which a program has loaded two weeks."""
    state_dir = tmp_path_factory.mktemp("landed") / "state"
    status, output, error = programs.run(state_dir, *RUN, "2")
    assert status == 0, error
    assert "demo (synthetic data from the embedded source)" in output
    assert "[ 6/6]" in output
    yield state_dir
    programs.kill_all_of(state_dir)


def test_a_run_loads_the_weeks_and_a_second_reports_no_change(loaded):
    before = databases.contents(databases.sqlite_url(loaded))
    status, output, error = programs.run(loaded, *RUN, "2")
    assert status == 0, error
    assert "6 of 6 partitions: nothing changed at the source" in output
    [weekly] = [
        line.split() for line in output.splitlines() if line.startswith("finra_otc_weekly ")
    ]
    assert weekly[2:5] == ["0", "0", "0"]  # added, changed, removed: by this run
    assert databases.contents(databases.sqlite_url(loaded)) == before


def test_all_loaded_and_derived_rows_balance(loaded):
    tables = ("finra_otc_weekly", "finra_symbol_week", "finra_venue_week")
    assert_balanced(databases.sqlite_url(loaded), *tables)


def test_all_that_a_run_leaves_is_for_its_user_alone(loaded):
    modes = {
        str(path.relative_to(loaded)): stat.S_IMODE(path.stat().st_mode)
        for path in [loaded, *loaded.rglob("*")]
    }
    assert any(name.endswith(".sqlite") for name in modes)
    assert any("dagster" in name for name in modes)
    assert {name: oct(mode) for name, mode in modes.items() if mode & 0o077} == {}


@pytest.mark.parametrize("weeks", ["abc", "0", "-1", "1.5", "²", ""])
def test_what_is_no_number_of_weeks_is_named(weeks, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["run", f"--weeks={weeks}"])
    assert ended.value.code == 2
    assert "Invalid value for '--weeks': " in capsys.readouterr().err


@pytest.mark.slow
def test_more_weeks_than_there_are_is_refused_before_any_work_with_their_number(state_dir):
    now = "2026-03-16T16:00:00+00:00"
    status, output, error = programs.run(state_dir, *RUN, "100000", DEMO_CLOCK_NOW=now)
    assert (status, output) == (1, "")
    assert error.startswith("invalid --weeks 100000: expected at most 52, e.g. 8\n")
    assert "52 weekly partitions, from 2025-03-03 on" in error
    assert not list(state_dir.rglob("*.sqlite"))
    assert not (state_dir / "dagster").exists()


@pytest.mark.slow
def test_a_quarantined_week_fails_the_command_and_others_load(state_dir):
    status, output, _ = programs.run(state_dir, *RUN, "9", DEMO_ROWS_PER_WEEK="6000")
    assert status == 1
    assert re.search(r"T2\|2025-12-01.*quarantined by reconciles_with_symbol_totals", output)
    assert "FAILED" in output
    url = databases.sqlite_url(state_dir)
    weeks = select(func.count(finra_otc_weekly.c.week_start.distinct()))
    by_tier = weeks.where(finra_otc_weekly.c.tier == "T2")
    assert databases.rows(url, by_tier) == [(8,)]
    assert databases.rows(url, weeks.where(finra_otc_weekly.c.tier == "T1")) == [(9,)]


@pytest.mark.slow
def test_a_run_killed_at_five_places_and_repeated_gives_the_tables_of_one_that_was_not(
    state_dir, tmp_path
):
    undisturbed = tmp_path / "undisturbed"
    assert programs.run(undisturbed, *RUN, "3")[0] == 0
    for lines_before_death in (1, 4, 6, 8, 11):
        process = programs.start(state_dir, *RUN, "3", DEMO_LATENCY_SECONDS="0.05")
        assert process.stdout
        for _ in range(lines_before_death):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        process.communicate()
    status, _, error = programs.run(state_dir, *RUN, "3", DEMO_LATENCY_SECONDS="0.05")
    assert status == 0, error
    assert databases.contents(databases.sqlite_url(state_dir)) == databases.contents(
        databases.sqlite_url(undisturbed)
    )


@pytest.mark.slow
def test_two_runs_at_once_both_succeed_and_give_the_tables_of_one(state_dir, tmp_path):
    alone = tmp_path / "alone"
    assert programs.run(alone, *RUN, "2")[0] == 0
    both = [programs.start(state_dir, *RUN, "2") for _ in range(2)]
    for process in both:
        output, error = process.communicate(timeout=programs.PATIENCE_SECONDS)
        assert process.returncode == 0, output + error
    published = {
        name: rows
        for name, rows in databases.contents(databases.sqlite_url(state_dir)).items()
        if name.startswith("finra_")
    }
    assert published == {
        name: rows
        for name, rows in databases.contents(databases.sqlite_url(alone)).items()
        if name.startswith("finra_")
    }


@pytest.mark.slow
def test_a_restated_week_is_reported_below_the_table(state_dir):
    assert programs.run(state_dir, *RUN, "5")[0] == 0
    later = {"DEMO_CLOCK_NOW": "2026-03-12T15:00:00+00:00"}
    status, output, error = programs.run(state_dir, *RUN, "6", **later)
    assert status == 0, error
    _, below = output.split("finra_venue_week ")
    assert re.search(
        r"^T1, week 2026-01-12, was restated: [\d,]+ of [\d,]+ rows changed, .* gone; .*"
        r"shares [\d,]+ → [\d,]+ \(\+\d\.\d\d%\)",
        below,
        re.MULTILINE,
    )
    assert "New week loaded" not in below


@pytest.mark.slow
def test_ctrl_c_ends_all_of_it_and_says_how_far_it_came(state_dir):
    process = programs.start(state_dir, *RUN, "4", DEMO_LATENCY_SECONDS="0.2")
    assert process.stdout
    while not process.stdout.readline().startswith("[ 1/12]"):
        pass
    for pid in [process.pid, *(child.pid for child in psutil.Process(process.pid).children())]:
        if os.getpgid(pid) == os.getpgid(process.pid):
            os.kill(pid, signal.SIGINT)  # as a terminal does
    output, error = process.communicate(timeout=programs.PATIENCE_SECONDS)
    assert process.returncode == 130
    assert re.search(r"\d of 12 partitions are through; what is loaded stays", output)
    assert error == "interrupted\n"


def test_ctrl_c_during_the_import_is_reported_alike(state_dir):
    process = programs.start(state_dir, *RUN, "1")
    maps = psutil.Process(process.pid).memory_maps
    programs.wait_for(lambda: any("pydantic_core" in mapped_file.path for mapped_file in maps()))
    process.send_signal(signal.SIGINT)
    output, error = process.communicate(timeout=programs.PATIENCE_SECONDS)
    assert (output, error) == ("", "interrupted\n")
    assert process.returncode in (130, -signal.SIGINT)  # Python's own, where it was in `exec`


@pytest.mark.slow
def test_a_refusal_by_the_gate_is_reported_with_its_remedy(state_dir):
    status, output, _ = programs.run(state_dir, *RUN, "1", DISK_HEADROOM_MIB="99999999")
    assert status == 1
    assert re.search(r"^FAILED: run [0-9a-f-]+: a disk is nearly full\n  expected: ", output, re.M)
    assert "  what to do: free some space" in output
    assert "Next: " not in output


def test_bad_lines_are_kept_as_rejects_with_their_record_and_reason(loaded):
    found = databases.rows(
        databases.sqlite_url(loaded),
        select(rejects.c.reason_code, func.count())
        .join(captures, captures.c.capture_id == rejects.c.capture_id)
        .where(captures.c.partition_key == "T1|2026-02-02")
        .group_by(rejects.c.reason_code)
        .order_by(rejects.c.reason_code),
    )
    assert found == [("blank_symbol", 2), ("impossible_date", 1), ("missing_venue", 1)]


@pytest.mark.slow
def test_a_database_of_demo_data_refuses_real_data(state_dir, tmp_path):
    url = databases.sqlite_url(tmp_path, "shared")
    assert programs.run(state_dir, *RUN, "1", DATABASE_URL=url)[0] == 0
    (tmp_path / "files").mkdir()
    status, _, error = programs.run(
        state_dir,
        *RUN,
        "1",
        DATABASE_URL=url,
        FINRA_SOURCE="files",
        FINRA_FILES_DIR=str(tmp_path / "files"),
    )
    assert status == 1
    assert error.startswith("the database holds demo data and would now get real data")
    assert "Traceback" not in error


@pytest.mark.slow
@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"FINRA_SOURCE": "ftp", "LOG_LEVEL": "LOUD"}, "2 invalid settings: FINRA_SOURCE"),
        pytest.param(
            {"FINRA_SOURCE": "files", "FINRA_FILES_DIR": "/nowhere"},
            "FINRA_FILES_DIR cannot be read",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            {"DATABASE_URL": "nonsense"},
            "invalid DATABASE_URL",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            {"STATE_DIR": "/proc/nowhere"}, "STATE_DIR cannot be used", marks=pytest.mark.slow
        ),
        pytest.param(
            {"FINRA_SOURCE": "api", "FINRA_API_URL": "http://127.0.0.1:9"},
            "finra_api did not answer GET http://127.0.0.1:9/partitions/",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_setting_that_leads_nowhere_is_a_clear_message(state_dir, environment, message):
    status, _, error = programs.run(state_dir, *RUN, "1", **environment)
    assert status == 1
    assert message in error
    assert "Traceback" not in error


@pytest.mark.slow
def test_a_folder_without_weekly_files_is_no_success(state_dir, tmp_path):
    environment = {"FINRA_SOURCE": "files", "FINRA_FILES_DIR": str(tmp_path)}
    status, _, error = programs.run(state_dir, *RUN, "1", **environment)
    assert status == 1
    assert error.startswith("no week to load")


@pytest.mark.slow
def test_weeks_that_are_no_partitions_are_left_out_by_name(state_dir, tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    lines = ["|".join(FILE_FIELDS), "OTC|AAA|Aaa|Xats|XATS|7|1|2025-12-01\n"]
    for name in ("old", "new", "future"):
        (folder / f"{name}.csv").write_text("\n".join(lines))
    (folder / "manifest.csv").write_text(
        "file,tier,week_start,market\nold.csv,OTCE,2020-01-06,ATS\n"
        "new.csv,OTCE,2025-11-10,ATS\nfuture.csv,OTCE,2099-01-05,ATS\n"
    )
    status, output, error = programs.run(
        state_dir,
        *RUN,
        "8",
        FINRA_SOURCE="files",
        FINRA_FILES_DIR=str(folder),
        FINRA_FIRST_WEEK="2025-01-06",
    )
    assert status == 0, error
    assert "OTCE 2020-01-06 (1 week), OTCE 2099-01-05 (1 week)" in output
    assert "[ 1/1] OTCE|2025-11-10: 1 rows added" in output


@pytest.mark.slow
def test_what_a_first_run_loads_is_all_that_the_demo_offers(state_dir, monkeypatch):
    """Each asset has all its partitions: the graph of Dagster's UI shows none as missing."""
    chosen = {"DOMAINS": "finra", "FINRA_DATASETS": "", "FINRA_FIRST_WEEK": ""}
    status, _, error = programs.run(state_dir, "orchestration_project", "run", **chosen)
    assert status == 0, error
    monkeypatch.setenv("STATE_DIR", str(state_dir))
    with open_instance() as instance:
        found = {
            key.path[-1]: len(instance.get_materialized_partitions(key))
            for key in instance.all_asset_keys()
        }
    weeks, tier_weeks = 8, 24
    assert found == {
        **dict.fromkeys(("otc_weekly", "otc_weekly_capture", "otc_weekly_staged"), tier_weeks),
        **dict.fromkeys(("symbol_week", "venue_week", "symbol_rolling_6w"), tier_weeks),
        **dict.fromkeys(("concentration_week", "symbol_movers_week"), tier_weeks),
        **dict.fromkeys(("venue_movers_week", "symbol_anomalies_week"), tier_weeks),
        **dict.fromkeys(("tier_week", "venue_week_all_tiers"), weeks),
        **dict.fromkeys(("symbols", "symbol_changes", "symbol_renames", "trade_activity"), 0),
        **dict.fromkeys(("ats_share_chart", "concentration_chart"), 0),
        **dict.fromkeys(("movers_chart", "restatements_chart"), 0),
    }


@pytest.mark.slow
def test_reset_deletes_the_state_only_after_a_yes(state_dir):
    assert programs.run(state_dir, *RUN, "1")[0] == 0
    assert programs.run(state_dir, "orchestration_project", "reset")[0] == 1
    assert (state_dir / "demo.sqlite").exists()
    for name in ("thesis", "saas", "scratch"):
        (state_dir / name).mkdir()
    assert programs.run(state_dir, "orchestration_project", "reset", "--yes")[0] == 0
    assert [path.name for path in state_dir.iterdir()] == ["thesis"]


def test_reset_empties_a_folder_that_is_a_link(state_dir, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "elsewhere"
    (folder / "artifacts").mkdir(parents=True)
    state_dir.symlink_to(folder)
    monkeypatch.setenv("STATE_DIR", str(state_dir))
    assert main(["reset", "--yes"]) == 0
    assert f"all that was in {state_dir}" in capsys.readouterr().out
    assert list(folder.iterdir()) == []
    state_dir.unlink()
    (state_dir / "artifacts").mkdir(parents=True)
    store_datasets({"fx_rates_daily": ["2026-02-27"]})
    (state_dir / "domains.partial").touch()  # a command was killed as it wrote it
    assert (state_dir / "datasets.json").exists()
    assert main(["reset", "--yes"]) == 0
    assert f"deleted {state_dir};" in capsys.readouterr().out
    assert not state_dir.exists()


def test_reset_empties_a_folder_where_a_disk_is_mounted(state_dir, monkeypatch, capsys):
    monkeypatch.setenv("STATE_DIR", str(state_dir))
    with tiny_disk(state_dir, mebibytes=1):
        (state_dir / "artifacts").mkdir()
        assert main(["reset", "--yes"]) == 0
        assert list(state_dir.iterdir()) == []
    assert f"all that was in {state_dir}" in capsys.readouterr().out


@pytest.mark.parametrize("had_ui", [True, False])
def test_reset_makes_space_on_a_full_disk(state_dir, monkeypatch, capsys, had_ui):
    monkeypatch.setenv("STATE_DIR", str(state_dir))
    with tiny_disk(state_dir, mebibytes=1) as disk:
        (state_dir / "artifacts").mkdir()
        if had_ui:
            (state_dir / "dagster").mkdir()
            (state_dir / "dagster" / "ui.lock").touch()
        disk.fill()
        assert main(["reset", "--yes"]) == 0
        assert [path.name for path in state_dir.iterdir()] == ["filler"]
    assert "not ours, so still there: filler" in capsys.readouterr().out


def test_reset_says_that_it_may_delete_nothing(state_dir, monkeypatch, capsys):
    monkeypatch.setenv("STATE_DIR", str(state_dir))
    with tiny_disk(state_dir, mebibytes=1) as disk:
        (state_dir / "artifacts").mkdir()
        disk.refuse_writes()
        assert main(["reset", "--yes"]) == 1
        assert (state_dir / "artifacts").exists()
    assert f"{state_dir}/artifacts: Read-only file system" in capsys.readouterr().err


def test_reset_leaves_all_as_it_is_while_a_ui_runs(state_dir, monkeypatch, capsys):
    monkeypatch.setenv("STATE_DIR", str(state_dir))
    (state_dir / "dagster").mkdir(parents=True)
    with only_ui_on(state_dir / "dagster"):
        assert main(["reset", "--yes"]) == 1
    assert "another `ui` runs on this STATE_DIR" in capsys.readouterr().err
    assert (state_dir / "dagster" / "ui.lock").exists()


def test_reset_names_what_it_cannot_delete_and_deletes_nothing(state_dir, monkeypatch, capsys):
    monkeypatch.setenv("STATE_DIR", str(state_dir))
    with tiny_disk(state_dir / "artifacts", mebibytes=1) as disk:
        (disk.folder / "file").touch()
        (state_dir / "logs").mkdir()
        assert main(["reset", "--yes"]) == 1
        assert sorted(path.name for path in state_dir.iterdir()) == ["artifacts", "logs"]
        assert [path.name for path in disk.folder.iterdir()] == ["file"]
    error = capsys.readouterr().err
    assert error.startswith(f"not all that is in {state_dir} can be deleted, so nothing was\n")
    assert f"{state_dir}/artifacts: Device or resource busy" in error


def test_reset_deletes_the_database_of_a_stack_with_its_captured_bytes(
    state_dir, monkeypatch, capsys
):
    monkeypatch.setenv("STATE_DIR", str(state_dir))
    data = data_folder(state_dir / "stack" / "postgresql")
    for folder in (data, state_dir / "artifacts", state_dir / "stack" / "secrets"):
        folder.mkdir(parents=True)
    for name in ("uploads", "matplotlib", "exports"):
        (state_dir / name).mkdir()
    assert main(["reset", "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in ("artifacts", "stack", "uploads"))
    assert os.geteuid() or str(data) in shown
    assert main(["reset", "--yes"]) == 0
    assert not data.exists()
    assert not state_dir.exists()


def test_reset_refuses_while_a_database_elsewhere_has_tables(
    state_dir, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("STATE_DIR", str(state_dir))
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/elsewhere.sqlite")
    (state_dir / "artifacts").mkdir(parents=True)
    assert main(["migrate"]) == 0
    assert main(["reset", "--yes"]) == 1
    error = capsys.readouterr().err
    assert f"{tmp_path}/elsewhere.sqlite has tables of version" in error
    assert (state_dir / "artifacts").exists()
    (tmp_path / "elsewhere.sqlite").unlink()
    assert main(["reset", "--yes"]) == 0
    assert not (state_dir / "artifacts").exists()


def test_reset_refuses_while_a_store_elsewhere_has_artifacts(
    state_dir, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("STATE_DIR", str(state_dir))
    monkeypatch.setenv("ARTIFACTS_URL", str(tmp_path / "elsewhere"))
    (state_dir / "dagster").mkdir(parents=True)
    (tmp_path / "elsewhere" / "raw").mkdir(parents=True)
    (tmp_path / "elsewhere" / "raw" / "file").touch()
    assert main(["reset", "--yes"]) == 1
    assert "ARTIFACTS_URL: " in capsys.readouterr().err
    assert (state_dir / "dagster").exists()


@pytest.mark.slow
def test_reset_leaves_a_folder_alone_that_is_not_ours(state_dir):
    state_dir.mkdir()
    (state_dir / "logs").mkdir()
    (state_dir / "thesis.txt").touch()
    status, _, error = programs.run(state_dir, "orchestration_project", "reset", "--yes")
    assert status == 1
    assert "a folder with nothing of this project's in it" in error
    assert (state_dir / "thesis.txt").exists()


@pytest.mark.slow
def test_migrate_makes_the_tables_and_may_be_repeated(state_dir, monkeypatch, capfd):
    status, output, error = programs.run(state_dir, "orchestration_project", "migrate")
    assert status == 0, error
    assert "up to date" in output
    monkeypatch.setenv("STATE_DIR", str(state_dir))
    assert main(["migrate"]) == 0
    assert "up to date" in capfd.readouterr().out
    assert databases.contents(databases.sqlite_url(state_dir))["finra_otc_weekly"] == []


@pytest.mark.slow
@pytest.mark.skipif(not REAL_FILES.is_dir(), reason="the folder of real FINRA files is absent")
def test_the_real_file_is_loaded_with_the_figures_of_its_readme(state_dir):
    status, output, error = programs.run(
        state_dir, *RUN, "8", FINRA_SOURCE="files", FINRA_FILES_DIR=str(REAL_FILES)
    )
    assert status == 0, error
    assert "5328 rows added" in output
    balanced = programs.run(
        state_dir, "orchestration_project", "verify", "--balance", DATA_PROFILE="real"
    )
    assert balanced[0] == 0, balanced
    url = databases.sqlite_url(state_dir, "real")
    weekly, symbols, venues = finra_otc_weekly.c, finra_symbol_week.c, finra_venue_week.c
    totals = select(
        func.count(),
        func.count(weekly.symbol.distinct()),
        func.sum(weekly.share_quantity),
        func.sum(weekly.trade_count),
        func.count(weekly.venue_id.distinct()),
        func.min(weekly.week_start),
    )
    assert databases.rows(url, totals) == [
        (5328, 3111, 1_335_995_901, 472_776, 9, date(2025, 11, 10))
    ]
    assert databases.rows(url, select(func.count()).select_from(rejects)) == [(0,)]
    top = select(symbols.symbol, symbols.total_share_quantity).order_by(
        symbols.total_share_quantity.desc()
    )
    assert databases.rows(url, top.limit(3)) == [
        ("ECOX", 259_127_041),
        ("OZSC", 122_767_691),
        ("EARI", 114_436_996),
    ]
    ranked = select(venues.venue_id, venues.tier_share).where(venues.rank <= 3)
    shares = dict(databases.rows(url, ranked.order_by(venues.rank)))
    assert shares == {
        "OTCN": pytest.approx(0.82188393, abs=5e-9),
        "OTCX": pytest.approx(0.14423180, abs=5e-9),
        "ARCA": pytest.approx(0.03069141, abs=5e-9),
    }
    ecox = select(symbols.hhi_lower, symbols.hhi_upper).where(symbols.symbol == "ECOX")
    (bounds,) = databases.rows(url, ecox)
    assert bounds == (pytest.approx(0.9299147466, abs=5e-11),) * 2
