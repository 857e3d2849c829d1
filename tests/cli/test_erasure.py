"""The command `erase`: a dry run, a question, and a record without the identifier."""

import io
import json
import sys
from pathlib import Path

import pytest
from sqlalchemy import insert, select

from orchestration_project.__main__ import main
from orchestration_project.domains.saas.tables import saas_audit_log
from orchestration_project.engine.environment import open_warehouse
from orchestration_project.settings import load_settings
from orchestration_project.tables.erasures import operations_erasure_requests, operations_erasures
from tests.resources.weeks import NOON

ANN = "ann.planted@example.com"


@pytest.fixture
def planted(demo_settings, tmp_path) -> Path:
    """An entry of the audit log about Ann, and a file that names her."""
    entry = {
        "entry_id": "e",
        "happened_at": NOON,
        "system": "peopleforce",
        "entity_type": "task",
        "entity_id": "42",
        "operation": "created",
        "detail": f'{{"to": "{ANN}"}}',
        "run_id": "r",
    }
    with open_warehouse(demo_settings) as warehouse, warehouse.writing() as connection:
        connection.execute(insert(saas_audit_log), [entry])
    file = tmp_path / "subject.txt"
    file.write_text(f"{ANN}\n")
    return file


def expect_no_request_and_read_details() -> list[str]:
    with open_warehouse(load_settings()) as warehouse, warehouse.reading() as connection:
        assert connection.execute(select(operations_erasure_requests)).all() == []
        return list(connection.scalars(select(saas_audit_log.c.detail)))


@pytest.mark.slow
def test_an_erasure_is_previewed_asked_for_and_carried_out(planted, capsys, monkeypatch):
    options = ("saas/person", "--from", str(planted), "--reason", "asked for")
    assert main(["erase", *options, "--dry-run"]) == 0
    previewed = capsys.readouterr().out
    assert "dry run: would be erased: 1 rows masked" in previewed
    assert "not reached:\n" in previewed
    monkeypatch.setattr(sys, "stdin", io.StringIO("n\n"))
    assert main(["erase", *options]) == 1
    assert "nothing was erased" in capsys.readouterr().out
    assert ANN in expect_no_request_and_read_details()[0]
    assert main(["--json", "erase", *options, "--yes"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["rows_masked"], found["rows_deleted"]) == (1, 0)
    assert any("backups" in place for place in found["not_reached"])
    assert expect_no_request_and_read_details() == [f'{{"to": "{"*" * len(ANN)}"}}']
    assert main(["verify", "--chain"]) == 0
    with open_warehouse(load_settings()) as warehouse, warehouse.reading() as connection:
        row = connection.execute(select(operations_erasures)).one()
    assert (row.erasure_id, row.kind) == (found["erasure_id"], "saas/person")
    assert row.reason == "asked for"
    state = load_settings().state_path
    assert not [
        path for path in state.rglob("*") if path.is_file() and ANN.encode() in path.read_bytes()
    ]


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("arguments", "content", "said"),
    [
        (("saas/ghost", "--reason", "r"), ANN, "no domain declares subjects of the kind"),
        (("saas/person", "--reason", "r"), "a\0b" * 9, "control character"),
        (("saas/person", "--reason", "r"), "x" * 10_000, "1 to 1000 bytes"),
        (("saas/person", "--reason", "r"), "x\n" * 40_000, "65536 bytes or less"),
        (("saas/person", "--reason", "r"), "", "1 to 20 identifiers"),
        (("--request", "0" * 16), "", "no erasure is requested"),
    ],
)
def test_what_cannot_be_erased_is_refused(
    demo_settings, tmp_path, capsys, arguments, content, said
):
    file = tmp_path / "subject.txt"
    file.write_text(content)
    assert main(["erase", *arguments, "--from", str(file)]) != 0
    assert said in capsys.readouterr().err
