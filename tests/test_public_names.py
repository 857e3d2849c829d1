"""Names that others build on: a planted break of each kind is found, and a named one is allowed."""

import inspect
from collections.abc import Sequence

import click
import pytest

from tools.contracts.comparison import (
    compare,
    named_changes,
    undeprecated_removals,
    unnamed_breaks,
)
from tools.contracts.record import FILE, Record, format_record, read_record
from tools.contracts.surface import (
    names_of,
    read_models,
    read_operation,
    read_parameter,
    read_properties,
    read_signature,
)

RECORD = read_record(FILE.read_text())
CHANGELOG = """# Changelog

## Unreleased

### Removed

- `orchestrate run --weeks`
  and the table `finra_weekly`: load by preset. `orchestrate runs` stays.

### Changed

- `Client.runs.limit`: an integer.
- `orchestrate load` is faster.

## 0.1.0

### Removed

- `orchestrate verify`: gone.
"""


def found(recorded: Record, present: Record) -> Sequence[tuple[str, str]]:
    """Return the names and problems of breaks."""
    return [(change.name, change.problem) for change in compare(recorded, present)]


def test_the_record_has_every_section_and_is_read_as_it_is_written():
    counts = {section: len(owners) for section, owners in RECORD.items()}
    assert list(counts) == [
        "Python",
        "Components of Dagster",
        "API operations",
        "API bodies",
        "API answers",
        "commands",
        "settings",
        "tables",
        "metrics",
    ]
    assert min(counts.values()) >= 8, counts
    assert format_record(RECORD) == FILE.read_text()


@pytest.mark.parametrize(
    ("section", "owner", "member"),
    [
        ("Python", "orchestration_project.Dataset", "licence"),
        ("Python", "orchestration_project.client.Client.runs", "(result)"),
        ("Python", "orchestration_project.http_source", "format"),
        ("Components of Dagster", "HttpDataset.HttpAttributes", "url"),
        ("API operations", "GET /runs", "limit"),
        ("API bodies", "NewBackfill", "job"),
        ("API answers", "RunStatus", "status"),
        ("commands", "orchestrate run", "--weeks"),
        ("tables", "finra_otc_weekly", "symbol"),
        ("tables", "finra_otc_weekly_history", "known_from"),
        ("metrics", "orchestration_runs", "job"),
    ],
)
def test_a_recorded_member_or_owner_that_is_gone_is_found(section: str, owner: str, member: str):
    without_member = {
        name: forms for name, forms in RECORD[section][owner].items() if name != member
    }
    without_owner = {name: forms for name, forms in RECORD[section].items() if name != owner}
    separator = " " if section in ("API operations", "commands") else "."
    assert found(RECORD, {**RECORD, section: {**RECORD[section], owner: without_member}}) == [
        (f"{owner}{separator}{member}", "is gone")
    ]
    assert found(RECORD, {**RECORD, section: without_owner}) == [(owner, "is gone")]


def test_a_setting_that_is_gone_is_found():
    without = {name: {} for name in RECORD["settings"] if name != "STATE_DIR"}
    assert found(RECORD, {**RECORD, "settings": without}) == [("STATE_DIR", "is gone")]


@pytest.mark.parametrize(
    ("old", "new", "given", "read"),
    [
        ("text", "text", "", ""),
        ("text", "required | text", "became required", "became required"),
        ("required | text", "text", "", ""),
        ("integer", "integer | text", "", "became text"),
        ("integer | null", "integer", "lost null", ""),
        ("integer", "text", "lost integer", "lost integer and became text"),
        ("position 1 | str", "str", "lost position 1", ""),
    ],
)
def test_what_users_give_may_widen_and_what_they_read_may_narrow(
    old: str, new: str, given: str, read: str
):
    for section, name, problem in (
        ("commands", "owner member", given),
        ("tables", "owner.member", read),
    ):
        expected = [(name, problem)] if problem else []
        planted = [{section: {"owner": {"member": forms}}} for forms in (old, new)]
        assert found(*planted) == expected


def test_additions_are_compatible_unless_they_are_required():
    present = {
        "commands": {"run": {"--new": "flag", "--must": "required | text"}, "walk": {}},
        "tables": {"bars": {"volume": "BIGINT"}},
    }
    recorded = {"commands": {"run": {}}, "tables": {"bars": {}}}
    assert found(recorded, present) == [("run --must", "is new and required")]


def test_a_break_needs_its_name_before_the_colon_of_an_unreleased_item_of_its_heading():
    assert named_changes(CHANGELOG) == {
        ("Removed", "orchestrate run --weeks"),
        ("Removed", "finra_weekly"),
        ("Changed", "Client.runs.limit"),
    }
    recorded = {
        "Python": {"Client.runs": {"limit": "int | str"}},
        "commands": {"orchestrate run": {"--weeks": "integer"}, "orchestrate runs": {}},
        "tables": {"finra_weekly": {"week": "DATE"}},
    }
    present = {
        "Python": {"Client.runs": {"limit": "int"}},
        "commands": {"orchestrate run": {}},
    }
    assert [
        unnamed_break.name for unnamed_break in unnamed_breaks(recorded, present, CHANGELOG)
    ] == ["orchestrate runs"]
    assert len(unnamed_breaks(recorded, present, "# Changelog\n\n## 0.1.0\n")) == 4


def test_a_released_name_goes_only_after_a_release_that_lists_it_as_deprecated():
    recorded = {"settings": {name: {} for name in ("OLD_PORT", "PORT", "NEW_PORT", "KEPT_PORT")}}
    present = {"settings": {"KEPT_PORT": {}}}
    removed = (
        "# Changelog\n\n## Unreleased\n\n### Added\n\n- `NEW_PORT`: of drafts.\n\n### Removed\n\n"
        "- `OLD_PORT`, `PORT`, `NEW_PORT`: use `KEPT_PORT`.\n\n"
    )
    deprecation = "### Deprecated\n\n- `OLD_PORT`: use `KEPT_PORT`.\n"
    drafted, released = (
        f"{removed}## 0.2.0{day}\n\n{deprecation}" for day in (", not tagged yet", " - 2027-03-01")
    )
    assert unnamed_breaks(recorded, present, released) == []
    assert undeprecated_removals(recorded, present, drafted) == []
    assert [found.describe() for found in undeprecated_removals(recorded, present, released)] == [
        "settings: PORT is gone without a deprecation; restore it until a minor release lists "
        '"- `PORT`: …" in Deprecated of CHANGELOG.md'
    ]
    with pytest.raises(ValueError, match=r"found 0\.2\.0 of March$"):
        undeprecated_removals(recorded, present, released.replace(" - 2027-03-01", " of March"))


def test_a_break_is_shown_with_the_line_and_the_command_that_allow_it():
    [shown] = [
        change.describe() for change in compare({"settings": {"PORT": {}}}, {"settings": {}})
    ]
    assert shown == (
        'settings: PORT is gone; restore it, or add "- `PORT`: …" to Removed of Unreleased in '
        "CHANGELOG.md and run `python -m tools.contracts --write`"
    )


def test_a_signature_has_positions_requirements_and_its_result():
    def load(day: str, /, *names: str, rate: int | None = None, key: str, **others: int) -> bool:
        return bool((day, names, rate, key, others))

    assert read_signature(load) == {
        "day": "required | position 0 | str",
        "names": "position 1 | str",
        "rate": "int | None",
        "key": "required | str",
        "others": "int",
        "(result)": "bool",
    }
    assert "self" in inspect.signature(click.Context.forward).parameters
    assert "self" not in read_signature(click.Context.forward)


def test_an_operation_has_parameters_body_and_answer():
    schemas = {
        "Job": {"properties": {"name": {"type": "string"}, "of": {"$ref": "#/s/Kind"}}},
        "Kind": {"enum": ["daily", "weekly"]},
        "Runs": {
            "properties": {"runs": {"type": "array", "items": {"$ref": "#/s/Job"}}},
            "required": ["runs"],
        },
    }
    json_answer = {"application/json": {"schema": {"$ref": "#/s/Runs"}}}
    operation = {
        "parameters": [
            {"name": "limit", "required": False, "schema": {"type": "integer"}},
            {"name": "kind", "required": True, "schema": {"enum": ["a", "b"]}},
        ],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": "#/s/Job"}}},
        },
        "responses": {"200": {"content": json_answer}, "404": {"content": {}}},
    }
    assert read_operation(operation, schemas) == {
        "limit": "integer",
        "kind": 'required | "a" | "b"',
        "(body)": "required | Job",
        "(status)": "200",
        "(media types)": "application/json",
        "(result)": "Runs",
    }
    assert read_models(names_of(operation["responses"]), schemas) == {
        "Runs": {"runs": "required | list of Job"},
        "Job": {"name": "string", "of": '"daily" | "weekly"'},
    }
    assert read_properties(schemas["Job"], {}) == {"name": "string", "of": "Kind"}


def test_an_option_has_each_of_its_names_and_an_argument_its_position():
    option = click.Option(["-f", "--format"], type=click.Choice(["csv", "md"]), multiple=True)
    argument = click.Argument(["table"], required=True)
    assert dict(read_parameter(option, 0)) == dict.fromkeys(
        ["-f", "--format"], "csv | md | several"
    )
    assert dict(read_parameter(argument, 2)) == {"argument 2": "required | text"}
    assert dict(read_parameter(click.Option(["--all/--none"]), 0)) == dict.fromkeys(
        ["--all", "--none"], "flag"
    )
