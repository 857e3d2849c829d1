"""The command `verify --balance`."""

import json
from datetime import timedelta

import pytest
from sqlalchemy import func, select, text

from orchestration_project.__main__ import main
from orchestration_project.engine.environment import open_warehouse
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.settings import load_settings
from orchestration_project.tables.spine import landings
from tests.resources.weeks import PartitionLoader, rejected, row

ZEROS = {"balanced": 0, "unbalanced": 0, "not_counted": 0, "not_recorded": 0}


@pytest.fixture
def database(partition_loader: PartitionLoader, tmp_path) -> Warehouse:
    """A database with two loads of a week, the second with a reject."""
    with open_warehouse(load_settings()) as warehouse:
        chained = PartitionLoader(warehouse, tmp_path / "artifacts")
        chained.write_batch(row("AAA"), row("BBB"))
        rejects = rejected(3)
        chained.write_batch(row("AAA", share_quantity=7), row("CCC"), version="v2", rejects=rejects)
    return partition_loader.warehouse


def change_and_expect_rows(database: Warehouse, *statements: str) -> None:
    with database.writing() as connection:
        for statement in statements:
            assert connection.execute(text(statement)).rowcount > 0


def verify(capsys: pytest.CaptureFixture, *options: str) -> tuple[int, dict]:
    status = main(["verify", "--balance", "--json", *options])
    return status, json.loads(capsys.readouterr().out)


def test_an_untouched_database_balances(database, capsys):
    status, shown = verify(capsys)
    assert status == 0
    assert shown["is_balanced"]
    assert not shown["imbalances"]
    counts = {equation.pop("equation"): equation for equation in shown["equations"]}
    of_table = {"table": "finra_otc_weekly", **ZEROS}
    assert counts["rejects"] == {**of_table, "balanced": 2}
    assert counts["rows_kept"] == {**of_table, "balanced": 2}
    assert counts["rows_now"] == {**of_table, "balanced": 1}


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("fault", "equation", "difference"),
    [
        ("DELETE FROM finra_otc_weekly WHERE symbol = 'CCC'", "rows_now", 1),
        ("UPDATE landings SET rows_removed = 0 WHERE rows_removed = 1", "rows_kept", 1),
        ("DELETE FROM rejects", "rejects", 1),
    ],
)
def test_a_lost_row_is_found(database, capsys, fault, equation, difference):
    change_and_expect_rows(database, fault)
    status, shown = verify(capsys)
    assert status == 1
    found = {imbalance["equation"]: imbalance for imbalance in shown["imbalances"]}
    assert found[equation]["difference"] == difference
    assert found[equation]["table"] == "finra_otc_weekly"


def test_a_doubled_row_is_found(database, capsys):
    columns = "week_start, tier, market, symbol, venue_id, week_end, share_quantity_micros"
    columns += ", trade_count, capture_id, known_from"
    values = columns.replace("symbol", "'AAA2'")
    change_and_expect_rows(
        database,
        f"INSERT INTO finra_otc_weekly ({columns}) "  # noqa: S608 - our own text
        f"SELECT {values} FROM finra_otc_weekly WHERE symbol = 'AAA'",
    )
    status, shown = verify(capsys)
    assert status == 1
    found = {imbalance["equation"]: imbalance["difference"] for imbalance in shown["imbalances"]}
    assert found["rows_now"] == -1
    assert found["shares"] == 7_000_000  # symbols and venues were derived without it


def test_text_names_the_imbalance_with_its_numbers(database, capsys):
    change_and_expect_rows(database, "DELETE FROM finra_otc_weekly WHERE symbol = 'CCC'")
    assert main(["verify", "--balance"]) == 1
    assert "finra_otc_weekly T1|2025-11-10: rows_now: 2 != 1 rows" in capsys.readouterr().out


@pytest.mark.slow_after_first
def test_a_recorded_equation_with_a_difference_is_found(database, capsys):
    change_and_expect_rows(
        database,
        "INSERT INTO balances VALUES ('', 'run 1', 'asked', 3, '{\"loaded\": 2}', 'balanced', "
        "'run 1', '2026-01-05 12:00:00.000000')",
    )
    status, shown = verify(capsys)
    assert status == 1
    [imbalance] = shown["imbalances"]
    assert imbalance == {
        "table": "",
        "subject": "run 1",
        "equation": "asked",
        "came_in": 3,
        "went_to": {"loaded": 2},
        "difference": 1,
    }


@pytest.mark.slow_after_first
def test_a_day_and_a_table_choose_the_loads(database, capsys):
    change_and_expect_rows(database, "DELETE FROM finra_otc_weekly WHERE symbol = 'CCC'")
    with database.reading() as connection:
        day = connection.execute(select(func.max(landings.c.landed_at))).scalar_one().date()
    assert verify(capsys, "--from", str(day), "--to", str(day))[0] == 1
    assert verify(capsys, "--to", str(day - timedelta(days=1))) == (
        0,
        {"is_balanced": True, "imbalance_count": 0, "equations": [], "imbalances": []},
    )
    assert verify(capsys, "--table", "prices_daily")[0] == 0
    assert main(["verify", "--balance", "--table", "no_table"]) == 1
    assert "invalid --table" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--balance", "--chain"], "--balance excludes --chain"),
        (["--balance", "--heads", "heads.json"], "--balance excludes --chain"),
        (["--balance", "--send-test"], "--balance excludes --chain"),
        (["--balance", "--from", "2026-02-02", "--to", "2026-02-01"], "invalid --from"),
        (["--from", "2026-02-02"], "need --balance"),
    ],
)
def test_options_that_would_have_no_effect_are_refused(capsys, options, problem):
    with pytest.raises(SystemExit) as ended:
        main(["verify", *options])
    assert ended.value.code == 2
    assert problem in capsys.readouterr().err


@pytest.mark.slow_after_first
def test_a_range_without_a_load_is_said_to_count_nothing(database, capsys):
    assert main(["verify", "--balance", "--from", "2001-01-01", "--to", "2001-01-02"]) == 0
    assert "nothing was counted" in capsys.readouterr().out
