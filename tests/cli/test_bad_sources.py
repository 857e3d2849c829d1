"""Wrong declarations and sources that change, as the commands of a project say it."""

import json

import pytest

from orchestration_project.__main__ import main
from tests.own_project import forget, opened_project

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
        ["line 6: attributes.fields.0: type of field 'name'", "'txt'"],
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


def test_a_source_that_changes_its_columns_fails_in_those_days_of_a_backfill_alone(
    state_dir, tmp_path, capsys, set_clock
):
    set_clock("2026-01-09T12:00:00+00:00")
    folder = tmp_path / "shop"
    headers = ["name,count", "name,count,note", "name,pieces", "count,name", "name,count"]
    with opened_project(folder, {"pieces/source.py": SOURCE}):
        (folder / "in").mkdir()
        for day, header in enumerate(headers, 5):
            row = (
                "3,Ann"
                if header == "count,name"
                else ",".join(["Ann", "3", "x"][: header.count(",") + 1])
            )
            (folder / "in" / f"2026-01-{day:02}.csv").write_text(f"{header}\n{row}\n")
        assert main(["schema", "apply"]) == 0
        capsys.readouterr()
        assert main(["backfill", "pieces", "--from", "2026-01-05", "--to", "2026-01-08"]) == 1
        said = capsys.readouterr()
        assert "a header with count once" in said.out + said.err
        assert "name, pieces" in said.out + said.err
        forget()
        assert main(["export", "pieces", "--columns", "day,count", "--format", "ndjson"]) == 0
        found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert found == [{"day": f"2026-01-{day:02}", "count": 3} for day in (5, 6, 8)]


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
