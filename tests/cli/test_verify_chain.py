"""The command `verify --chain`."""

import json
import sqlite3
import stat
from pathlib import Path

import pytest

from orchestration_project.__main__ import main
from orchestration_project.engine.connections.artifacts import open_artifacts
from orchestration_project.engine.environment import open_warehouse
from orchestration_project.settings import load_settings
from tests.prepared import write_default
from tests.programs import free_port
from tests.receivers import http_receiver
from tests.resources.weeks import PartitionLoader, row
from tests.s3 import s3, s3_endpoint  # noqa: F401 - fixtures


@pytest.fixture
def database(tmp_path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A database with two loads of a week."""
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/rows.sqlite")
    with open_warehouse(write_default(load_settings())) as warehouse:
        partition_loader = PartitionLoader(warehouse, tmp_path / "artifacts")
        partition_loader.write_batch(row("AAA"), row("BBB"))
        partition_loader.write_batch(row("AAA", share_quantity=7), row("BBB"), version="v2")
    return tmp_path / "rows.sqlite"


def change_and_expect_rows(database: Path, *statements: str) -> None:
    with sqlite3.connect(database) as connection:
        for statement in statements:
            assert connection.execute(statement).rowcount > 0


def test_an_untouched_database_fits_and_its_key_is_private(database, capsys):
    assert main(["verify", "--chain", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["is_whole"]
    assert shown["tables"] == [
        {"table": "finra_otc_weekly", "records": 4, "rows": 3, "unchained": 0, "problems": 0}
    ]
    assert len(shown["not_proven"]) == 2
    key = load_settings().state_path / "chain_key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_a_changed_row_ends_with_1_and_names_its_record(database, capsys):
    change_and_expect_rows(
        database, "UPDATE finra_otc_weekly SET share_quantity_micros = 8 WHERE symbol = 'AAA'"
    )
    assert main(["verify", "--chain"]) == 1
    shown = capsys.readouterr().out
    assert (
        "finra_otc_weekly, record 4 (finra_otc_weekly:T1|2025-11-10#2): "
        "expected the rows that it has written, found others"
    ) in shown


def test_exported_heads_find_deleted_newest_records(database, tmp_path, capsys):
    heads = str(tmp_path / "heads.json")
    assert main(["verify", "--export-heads", heads]) == 0
    assert main(["verify", "--heads", heads]) == 0
    change_and_expect_rows(
        database,
        "DELETE FROM load_chain",
        "DELETE FROM chain_heads",
        "DELETE FROM finra_otc_weekly",
        "DELETE FROM deliveries",
    )
    assert main(["verify", "--chain"]) == 0
    assert main(["verify", "--heads", heads]) == 1
    assert "the newest records were deleted" in capsys.readouterr().out


def test_heads_are_not_exported_where_rows_do_not_fit(database, tmp_path):
    change_and_expect_rows(database, "DELETE FROM finra_otc_weekly WHERE symbol = 'BBB'")
    assert main(["verify", "--export-heads", str(tmp_path / "heads.json")]) == 1
    assert not (tmp_path / "heads.json").exists()


def test_heads_are_posted_to_an_address(database, capsys):
    with http_receiver() as hook:
        url = f"http://127.0.0.1:{hook.port}/heads"
        assert main(["verify", "--export-heads", url]) == 0
        [posted] = hook.received
        assert posted["tables"]["finra_otc_weekly"][0] == 4
        hook.status = 500
        assert main(["verify", "--export-heads", url]) == 1
    assert "did not accept the chain heads" in capsys.readouterr().err


def test_an_address_that_does_not_answer_is_named_without_its_path(database, capsys):
    url = f"http://127.0.0.1:{free_port()}/hunter2"
    assert main(["verify", "--export-heads", url]) == 1
    shown = capsys.readouterr().err
    assert "127.0.0.1 did not accept the chain heads" in shown
    assert "hunter2" not in shown


def test_each_export_to_s3_is_an_object_of_its_own(database, s3):  # noqa: F811 - fixture
    assert main(["verify", "--export-heads", s3]) == 0
    [stored] = open_artifacts(s3).listed()
    assert stored.name.startswith("chain-heads-")


def test_a_file_that_is_no_export_is_refused(database, tmp_path, capsys):
    (tmp_path / "heads.json").write_text("{}")
    assert main(["verify", "--heads", str(tmp_path / "heads.json")]) == 1
    assert "invalid chain heads" in capsys.readouterr().err
    assert main(["verify", "--heads", str(tmp_path / "none.json")]) == 1
    assert "invalid file of chain heads" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["short", "A" * 44, "!" * 44])
def test_an_invalid_key_is_refused_before_anything_is_loaded(database, monkeypatch, capsys, text):
    monkeypatch.setenv("CHAIN_KEY", text)
    assert main(["verify", "--chain"]) == 1
    shown = capsys.readouterr().err
    assert "invalid CHAIN_KEY" in shown
    assert text not in shown
