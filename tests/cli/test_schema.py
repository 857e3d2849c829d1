"""`schema` and `rename` of a project whose declaration changes between commands."""

import json

import pytest
from sqlalchemy import select

from orchestration_project.__main__ import main
from orchestration_project.settings import load_settings
from orchestration_project.tables.access import access_audit
from tests import databases
from tests.own_project import forget, opened_project

SOURCE = """
from orchestration_project import Daily, Dataset, Field, file_source

pieces = Dataset(
    "pieces",
    key=["name"],
    partitions=Daily("2026-01-01"),
    fields=[Field("name", str, "its name"), FIELDS],
    source=file_source("{partition}.csv", format="csv"),
)
"""
COUNT = 'Field("count", int, "pieces")'
PIECES = 'Field("piece_count", int, "pieces", source="count")'
NOTE = 'Field("note", str, "a note", optional=True)'
TEXT = 'Field("count", str, "pieces")'


@pytest.fixture
def declare(state_dir, tmp_path):
    """Declare other fields, as a file does that was edited since the last command."""
    folder = tmp_path / "shop"
    file = folder / "defs" / "pieces" / "source.py"

    def change(*fields, key="name", name="pieces"):
        text = SOURCE.replace("FIELDS", ", ".join(fields)).replace('key=["name"]', f'key=["{key}"]')
        file.write_text(text.replace('"pieces",\n    key', f'"{name}",\n    key'))
        forget()

    first = {"pieces/source.py": SOURCE.replace("FIELDS", f"{COUNT}, {NOTE}")}
    with opened_project(folder, first):
        assert main(["schema", "diff"]) == 0
        assert main(["schema", "apply", "--all"]) == 0  # as without: all tables are new
        yield change


def run_and_check_status(capsys, *arguments, status=0):
    capsys.readouterr()
    assert main([*arguments]) == status
    forget()
    return capsys.readouterr().out.splitlines()


def recorded():
    """Return what the audit has of changed tables: the command and the change."""
    url = databases.sqlite_url(load_settings().state_path)
    column = access_audit.c
    who = (column.address == "shell", column.role == "admin", column.outcome == "done")
    statement = select(column.operation, column.target).where(*who)
    return sorted(databases.rows(url, statement.where(~column.operation.startswith("keys"))))


def test_changes_are_shown_made_when_asked_for_and_refused_where_values_go(declare, capsys):
    declare(TEXT)
    drop = "drop column pieces.note: its values would be lost; name it by --drop pieces.note"
    shown = run_and_check_status(capsys, "schema", "diff", status=1)
    assert shown[0] == "with --all: convert column pieces.count from integer to text"
    assert shown[1].startswith(f"refused: {drop}")
    assert main(["schema", "apply"]) == 1
    assert main(["schema", "apply", "--drop", "pieces.note"]) == 1
    assert main(["schema", "apply", "--all"]) == 1
    assert drop in capsys.readouterr().err
    every = ["schema", "apply", "--all", "--drop", "pieces.note"]
    assert run_and_check_status(capsys, *every, "--dry-run") == [
        "would convert column pieces.count from integer to text",
        "would drop column pieces.note",
    ]
    script = run_and_check_status(capsys, *every, "--sql")
    assert (script[0], script[-1]) == ("BEGIN IMMEDIATE;", "COMMIT;")
    assert run_and_check_status(capsys, *every) == [
        "did convert column pieces.count from integer to text, copy in pieces_old1",
        "did drop column pieces.note, copy in pieces_old1",
    ]
    assert run_and_check_status(capsys, "schema", "diff", "--json") == ["[]"]
    assert recorded() == [
        (
            "schema apply --all",
            "convert column pieces.count from integer to text, copy in pieces_old1",
        ),
        ("schema apply --all", "drop column pieces.note, copy in pieces_old1"),
    ]


def test_a_rename_needs_the_declaration_and_is_the_only_change(declare, capsys):
    rename = ["rename", "column", "pieces", "count", "piece_count"]
    assert main(rename) == 1
    assert "no such change of the declaration" in capsys.readouterr().err
    declare(PIECES)
    assert main(rename) == 1
    assert "drop column pieces.note" in capsys.readouterr().err
    declare(PIECES, NOTE)
    found = json.loads(
        "\n".join(run_and_check_status(capsys, "schema", "diff", "--json", status=1))
    )
    assert "orchestrate rename column" in found[-1]["change"]
    assert run_and_check_status(capsys, *rename) == [
        "did rename column pieces.count to piece_count, copy in pieces_old1"
    ]
    assert run_and_check_status(capsys, "schema", "diff") == [
        "the tables are as the sources declare"
    ]
    assert recorded() == [
        ("rename column", "rename column pieces.count to piece_count, copy in pieces_old1")
    ]


def test_a_renamed_table_is_in_the_audit_once(declare, capsys):
    declare(COUNT, NOTE, name="parts")
    assert (
        run_and_check_status(capsys, "rename", "table", "pieces", "parts")[0]
        == "did rename table pieces to parts"
    )
    assert recorded() == [("rename table", "rename table pieces to parts")]
    assert run_and_check_status(capsys, "rename", "table", "pieces", "parts") == [
        "the tables are as the sources declare"
    ]
    assert len(recorded()) == 1


def test_another_key_is_shown_and_refused_with_what_to_do(declare, capsys):
    declare(COUNT, NOTE, key="count")
    [refused] = run_and_check_status(capsys, "schema", "diff", status=1)
    assert refused == (
        "refused: key of pieces is (day, name), not (day, count): history is kept by key; "
        "declare a table of another name, and load it"
    )
    assert main(["schema", "apply", "--all"]) == 1
    assert "nothing was changed" in capsys.readouterr().err
    assert recorded() == []
