"""Wrong declarations and sources that change, as the commands of a project say it."""

import json
import os
import subprocess
import sys

import pytest

from orchestration_project.__main__ import main
from orchestration_project.settings import PROJECT_ROOT
from tests.own_project import opened_project

SOURCE = """\
from orchestration_project import Daily, Dataset, Field, file_source, http_source

pieces = Dataset(
    "pieces",
    key=["name"],
    partitions=Daily("2026-01-01"),
    fields=[Field("name", str, "its name"), Field("count", int, "pieces")],
    source=file_source("in/{partition}.csv", format="csv"),
)
"""
COMPONENT = """\
type: orchestration_project.FileDataset
attributes:
  name: pieces
  key: [name]
  partitions: {every: day, since: 2026-01-01}
  fields: [{name: name, type: text, description: x}]
  source: {path: "in/{partition}.csv", format: csv}
"""
ALL_DAYS = 'http_source("https://api.example/all", format="csv")'
CASES = {
    "two sources with one table": (
        {"one/source.py": SOURCE, "two/source.py": SOURCE},
        ["invalid dataset 'pieces': expected a table of its own", "defs/one/source.py"],
        "file=defs/two/source.py",
    ),
    "a source and a component with one table": (
        {"one/source.py": SOURCE, "two/defs.yaml": COMPONENT},
        ["invalid dataset 'pieces': expected a table of its own", "defs/one/source.py"],
        "file=defs/two/defs.yaml",
    ),
    "a table with the name of a history": (
        {"a/source.py": SOURCE.replace('"pieces"', '"pieces_history"'), "b/source.py": SOURCE},
        ["invalid dataset 'pieces_history'", "the history of pieces in defs/b/source.py"],
        "file=defs/a/source.py",
    ),
    "a table with the name of a source": (
        {"one/source.py": SOURCE, "two/source.py": SOURCE.replace('"pieces"', '"pieces_source"')},
        ["invalid dataset 'pieces_source'", "asset of the source of pieces"],
        "file=defs/two/source.py",
    ),
    "an address without its partition": (
        {
            "one/source.py": SOURCE.replace(
                'file_source("in/{partition}.csv", format="csv")', ALL_DAYS
            )
        },
        ["an address with {partition}", "the same address for all partitions"],
        "file=defs/one/source.py:3",
    ),
    "an unknown type": (
        {"one/source.py": SOURCE.replace("int,", "float,")},
        ["type of field 'count'", "str, int, bool", "<class 'float'>"],
        "file=defs/one/source.py:7",
    ),
    "an unknown type in YAML": (
        {"one/defs.yaml": COMPONENT.replace("type: text", "type: txt")},
        ["line 6: attributes.fields.0.type: type of field 'name'", "'txt'"],
        "file=defs/one/defs.yaml",
    ),
    "a file that declares nothing": (
        {"one/source.py": "pieces = None\n"},
        ["it declares nothing", "a dataset, such as"],
        "file=defs/one/source.py",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_wrong_declaration_is_refused_with_file_field_expected_and_found(
    case, state_dir, tmp_path, capsys
):
    files, says, place = CASES[case]
    with opened_project(tmp_path / "shop", files):
        assert main(["check"]) == 1
    said = capsys.readouterr()
    for text in (*says, place):
        assert text in said.out + said.err


@pytest.mark.slow
def test_a_source_that_changes_its_columns_fails_in_those_days_of_a_backfill_alone(
    tmp_path,
):
    days = {
        "2026-01-05": "name,count\nAnn,3\n",
        "2026-01-06": "name,count,note\nAnn,3,x\n",
        "2026-01-07": "name,pieces\nAnn,3\n",
        "2026-01-08": "count,name\n3,Ann\n",
    }
    files = {f"../in/{day}.csv": text for day, text in days.items()}

    def run(*arguments):
        return subprocess.run(  # noqa: S603 - our own program
            [sys.executable, "-m", "orchestration_project", *arguments],
            cwd=tmp_path / "shop",
            env={
                "PATH": os.defpath,
                "HOME": str(tmp_path),
                "PYTHONPATH": str(PROJECT_ROOT),
                "DOMAINS": "shop",
                "DATA_PROFILE": "real",
            },
            capture_output=True,
            text=True,
            check=False,
        )

    with opened_project(tmp_path / "shop", {"pieces/source.py": SOURCE, **files}):
        assert run("schema", "apply").returncode == 0
        loaded = run("backfill", "pieces", "--from", "2026-01-05", "--to", "2026-01-08")
        assert loaded.returncode == 1
        assert "a header with count once" in loaded.stdout + loaded.stderr
        assert "name, pieces" in loaded.stdout + loaded.stderr
        exported = run("export", "pieces", "--columns", "day,count").stdout.splitlines()
    assert exported[1:] == ["2026-01-05,3", "2026-01-06,3", "2026-01-08,3"]


def test_fields_that_look_personal_and_say_nothing_of_it_are_named(state_dir, tmp_path, capsys):
    fields = (
        'Field("mail", str, "address"), Field("phone", str, "number", personal=True), '
        'Field("iban", str, "account", subject="customer")'
    )
    files = {"pieces/source.py": SOURCE.replace('Field("count", int, "pieces")', fields)}
    with opened_project(tmp_path / "shop", files):
        assert main(["check", "--json"]) == 0
    [found] = json.loads(capsys.readouterr().out)
    assert found["hint"].startswith("personal? name, mail: subject= makes erasure find it")
