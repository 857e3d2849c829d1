"""Common to all commands: help, versions, global options, suggestions, exit statuses, no waste."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
import yaml

from orchestration_project.__main__ import COMMANDS, SECTIONS, main, root
from orchestration_project.catalog import REGISTRY
from orchestration_project.cli import console
from orchestration_project.cli.commands import DRY_RUN, JSON
from orchestration_project.cli.loads import replay
from orchestration_project.cli.queries import FORMATS, TEXT_FORMATS
from orchestration_project.services import export
from orchestration_project.settings import PROJECT_ROOT, load_settings
from orchestration_project.settings.given import ENV_FILE
from tests import databases, programs
from tools.reference_pages.cli import leaf_commands

LEAVES = [path for path, _ in leaf_commands(root)]

HEAVY = """
import sys
from orchestration_project.__main__ import main

for arguments in {calls}:
    try:
        main(arguments)
    except SystemExit:
        pass
heavy = {{"dagster", "pandas", "polars", "pyarrow", "pydantic", "rich", "sqlalchemy"}}
found = sorted(heavy & sys.modules.keys())
sys.exit(f"imported: {{found}}" if found else 0)
"""


def expect_usage_error(capsys, *arguments: str) -> str:
    """Return what is written of a command line that cannot be understood."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    output, error = capsys.readouterr()
    assert (ended.value.code, output) == (2, "")
    return error


@pytest.fixture
def state_dir(tmp_path, monkeypatch) -> Path:
    """A STATE_DIR of this process; what commands set in the environment goes with the test."""
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    for name in ("LOG_LEVEL", ENV_FILE):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return tmp_path / "state"


def test_no_help_version_or_usage_error_imports_anything_heavy():
    calls = [[*path, wrong] for path in LEAVES for wrong in ("--help", "--nonsense")]
    calls += [[], ["--help"], ["--version"], ["nonsense"]]
    done = subprocess.run(  # noqa: S603 - our own program
        [
            sys.executable,
            "-c",
            HEAVY.format(calls=calls),
        ],
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        timeout=programs.PATIENCE_SECONDS,
    )
    assert done.returncode == 0, done.stderr[-300:]
    assert all(f"Usage: orchestrate {' '.join(path)}" in done.stdout for path in LEAVES)


def test_the_help_lists_every_command_in_a_section_and_how_to_complete(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    shown = capsys.readouterr().out
    assert ended.value.code == 0
    assert re.findall(r"^(\w+):$", shown, re.MULTILINE)[1:] == list(SECTIONS)
    listed = [name for name, entry in COMMANDS.items() if entry.section]
    assert re.findall(r"^  ([a-z][a-z-]*)  +[A-Z]", shown, re.MULTILINE) == listed
    assert "orchestrate completion --help" in shown


@pytest.mark.parametrize("group", ["alerts", "keys", "config", "evidence", "artifacts", "items"])
def test_a_group_lists_its_commands_with_whole_sentences_and_takes_h_for_help(group, capsys):
    with pytest.raises(SystemExit) as ended:
        main([group, "-h"])
    assert ended.value.code == 0
    listed = capsys.readouterr().out.partition("\nCommands:\n")[2]
    assert re.findall(r"^  (\w+)", listed, re.MULTILINE)
    assert "..." not in listed


def test_a_shell_gets_completions(monkeypatch, capsys):
    monkeypatch.setenv("_ORCHESTRATE_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "orchestrate backf")
    monkeypatch.setenv("COMP_CWORD", "1")
    assert main([]) == 0
    assert capsys.readouterr().out == "plain,backfill\n"


@pytest.mark.parametrize(
    "arguments", [["--version"], ["--json", "--version"], ["--version", "--json"]]
)
def test_the_version_names_dagster_schema_and_python(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    if "--json" in arguments:
        assert list(json.loads(shown)) == ["orchestrate", "dagster", "schema", "python"]
    else:
        versions = (
            r"orchestrate \d+\.\d+\.\d+ \(dagster 1\.13\.\d+, schema \d{4}, python 3\.\d+\.\d+\)\n"
        )
        assert re.fullmatch(versions, shown)


def test_the_script_in_the_venv_runs_in_any_folder_and_takes_no_module_from_it(tmp_path):
    script = PROJECT_ROOT / ".venv" / "bin" / "orchestrate"
    (tmp_path / "click.py").write_text("raise SystemExit('the wrong module')")
    done = subprocess.run(  # noqa: S603 - our own program
        [str(script), "keys", "--help"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.splitlines()[:1]) == (
        0,
        ["Usage: orchestrate keys [OPTIONS] COMMAND [ARGS]..."],
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Usage: orchestrate [OPTIONS] COMMAND"),
        (["exprot"], "No such command 'exprot'. Did you mean 'export'?"),
        (["version"], "No such command 'version'. (Did you mean one of: '--version', 'verify'?)"),
        (["help"], "No such command 'help'. Did you mean '--help'?"),
        (["keys", "lst"], "No such command 'lst'. Did you mean 'list'?"),
        (["run", "--week", "8"], "No such option '--week'. Did you mean '--weeks'?"),
        (["run", "prices"], "'prices' is not one of 'finra', 'saas'"),
        (["run", "saas", "--weeks", "2"], "--weeks applies to `run finra` only"),
        (["--quiet", "tables", "--verbose"], "--quiet and --verbose exclude each other"),
        (["--dry-run", "tables"], "orchestrate tables has no --dry-run"),
        (["--json", "migrate"], "orchestrate migrate has no --json"),
        (["--env-file", "/nosuch", "tables"], "File '/nosuch' does not exist"),
        (["evidence", "export"], "expected one of: --run, --session, --partition with --at"),
        (["replay", "--nonsense"], "No such option '--nonsense'"),
    ],
)
def test_what_is_mistyped_is_a_usage_error_with_a_suggestion(arguments, message, capsys):
    assert message in expect_usage_error(capsys, *arguments)


def test_whatever_lists_or_judges_has_json_and_whatever_writes_has_a_dry_run():
    has = {
        option: {
            " ".join(path)
            for path, each in leaf_commands(root)
            if option in each.get_params(click.Context(each))
        }
        for option in (JSON, DRY_RUN)
    }
    of_settings = {name for name in has[JSON] if name.startswith("config ")}
    assert has[JSON] - of_settings == {
        *("run", "run-saas", "load", "backfill", "replay", "items list", "datasets", "tables"),
        *("explain", "automation list", "automation on", "automation off"),
        *("verify", "alerts list", "alerts test", "alerts check", "alerts watch"),
        *("keys create", "keys list", "keys rotate", "keys revoke"),
        *("evidence verify", "evidence export", "artifacts list", "erase", "documents show"),
        "support-bundle",
        *("documents timeline", "web check", "backup", "restore", "automation simulate"),
        *("artifacts repair", "evidence repair", "trace"),
        *("objectives check", "objectives evaluate", "objectives list"),
        *("domains list", "domains add", "domains remove", "pause", "resume", "attention"),
        *("plugins list", "plugins show", "plugins add", "plugins grant", "plugins enable"),
        *("plugins disable", "plugins refuse", "plugins remove", "plugins publishers"),
        *("check", "preview", "test", "schema apply", "schema diff", "access review"),
        *("approvals list", "approvals request", "approvals confirm", "approvals refuse"),
        *("rename column", "rename source", "rename table", "plan", "upgrade"),
    }
    assert has[DRY_RUN] == {
        *("run", "run-saas", "load", "backfill", "replay", "export", "as-of", "diff"),
        *("automation on", "automation off", "domains add", "domains remove", "pause", "resume"),
        *("attention", "alerts close", "alerts test", "alerts watch"),
        *("keys create", "keys rotate", "keys revoke", "migrate", "copy-database", "reset"),
        *("backup", "restore", "artifacts repair", "evidence repair", "objectives rules"),
        *("evidence export", "artifacts get", "erase"),
        *("plugins add", "plugins grant", "plugins enable", "plugins disable", "plugins refuse"),
        *("plugins remove", "plugins trust", "plugins revoke", "plugins keygen"),
        *("plugins sign", "plugins new", "init", "new-source", "schema apply"),
        *("rename column", "rename source", "rename table", "apply"),
        *("approvals request", "approvals confirm", "approvals refuse"),
    }


@pytest.mark.slow
@pytest.mark.parametrize("place", [0, 2])
def test_global_options_stand_before_and_after_the_command(place, state_dir, tmp_path, capsys):
    other = tmp_path / "other"
    arguments = ["keys", "list"]
    arguments[place:place] = ["--json", "--state-dir", str(other)]
    assert main(arguments) == 0
    assert json.loads(capsys.readouterr().out) == []
    assert list(other.glob("*.sqlite"))
    assert not state_dir.exists()


@pytest.mark.slow
def test_a_file_of_settings_overrides_nothing_of_the_environment(state_dir, tmp_path, capsys):
    file = tmp_path / "env"
    file.write_text(f"STATE_DIR={tmp_path}/ignored\nLOG_LEVEL=ERROR\n")
    assert main(["keys", "list", "--env-file", str(file)]) == 0
    assert (load_settings().state_path, load_settings().log_level) == (state_dir, "ERROR")
    file.write_bytes(b"LOG_LEVEL=\xff")
    assert main(["keys", "list", "--env-file", str(file)]) == 1
    assert capsys.readouterr().err.startswith(f"invalid --env-file {file}: it cannot be read\n")


@pytest.mark.slow
def test_quiet_leaves_the_result_and_verbose_adds_the_traceback(state_dir, capsys):
    assert main(["items", "list", "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")
    assert main(["export", "nothing", "-v"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("Traceback")
    assert "\ntable or view not found: 'nothing'\n" in error


def test_every_filter_of_a_replay_is_an_option():
    filters = {
        replay_filter.name for found in REGISTRY.replays.values() for replay_filter in found.filters
    }
    assert filters <= {param.name for param in replay.params}


def test_the_formats_are_those_that_can_be_written():
    assert (set(FORMATS), set(TEXT_FORMATS)) == (set(export.WRITERS), set(export.TEXT_FORMATS))


def test_tables_are_listed_without_internal_ones_unless_asked_for(capsys):
    assert main(["tables", "--json"]) == 0
    found = {load["name"]: load for load in json.loads(capsys.readouterr().out)}
    assert found["finra_otc_weekly"]["history"] == "yes"
    assert found["v_finra_otc_weekly"]["kind"] == "view"
    assert not {"access_keys", "fences", "leases", "outbox"} & found.keys()
    assert main(["tables", "--internal"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].split() == ["name", "kind", "columns", "history", "key"]
    assert "access_keys" in {line.split()[0] for line in shown}


@pytest.mark.slow
def test_the_tables_are_described_as_sources_of_dbt(state_dir, capsys):
    assert main(["dbt-sources", "--schema", "loaded"]) == 0
    described = yaml.safe_load(capsys.readouterr().out)
    sources = {source["name"]: source for source in described["sources"]}
    assert {source["schema"] for source in sources.values()} == {"loaded"}
    tables = {table["name"]: table for table in sources["finra"]["tables"]}
    weekly, symbols = tables["finra_otc_weekly"], tables["finra_symbols"]
    assert weekly["config"]["meta"]["dagster"]["asset_key"] == ["finra", "otc_weekly"]
    assert weekly["config"]["loaded_at_field"] == "known_from"
    assert weekly["config"]["freshness"]["warn_after"] == {"count": 8, "period": "day"}
    assert weekly["data_tests"][0]["unique"]["name"] == "unique_key_of_finra_otc_weekly"
    assert {"name": "symbol", "data_tests": ["not_null"]}.items() <= {
        **next(column for column in weekly["columns"] if column["name"] == "symbol")
    }.items()
    assert "freshness" not in symbols["config"]
    assert "finra_otc_weekly_history" not in tables


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["migrate"], r"version none -> \d{4}"),
        (["keys", "create", "--role", "viewer", "--owner", "x"], "would be valid for 90 days"),
        (["keys", "rotate", "abc"], "the key abc would be replaced"),
        (["keys", "revoke", "abc"], "the key abc would be revoked"),
        (["alerts", "test"], "would go to no channel"),
        (["run", "saas"], "saas_reconcile would sync demo"),
        (["evidence", "export", "--run", "x"], "operations_export would run with"),
        (["export", "blobs", "--output", "x.csv"], "of blobs would be written to x.csv"),
    ],
)
def test_a_dry_run_says_what_would_be_done_and_writes_no_table(
    arguments, message, state_dir, capsys
):
    assert main([*arguments, "--dry-run"]) == 0
    assert re.match(f"dry run: .*{message}", capsys.readouterr().out)
    assert not any(
        databases.has_table(f"sqlite:///{file}", "blobs") for file in state_dir.glob("*.sqlite")
    )


def test_a_dry_run_of_a_reset_names_what_would_go_and_keeps_it(state_dir, capsys):
    (state_dir / "artifacts").mkdir(parents=True)
    assert main(["reset", "--dry-run"]) == 0
    assert capsys.readouterr().out == f"dry run: of {state_dir} would be deleted: artifacts\n"
    assert (state_dir / "artifacts").exists()


@pytest.mark.parametrize("is_forbidden", [False, True])
def test_a_terminal_gets_colours_unless_no_color_is_set(is_forbidden, monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if is_forbidden:
        monkeypatch.setenv("NO_COLOR", "1")
    reader, writer = os.openpty()
    with monkeypatch.context() as on_terminal, os.fdopen(writer, "w") as terminal:
        on_terminal.setattr(sys, "stdout", terminal)
        console.show_rows([{"state": "FAIL"}], {"state": "state"})
        shown = os.read(reader, 10_000)
    os.close(reader)
    assert b"FAIL" in shown
    assert (b"\x1b[1;31m" in shown) != is_forbidden


def test_a_file_or_pipe_gets_plain_columns_however_long(capsys):
    rows = [{"a": "x" * 200, "b": 1234, "c": "\x1b[2J"}, {"a": "y"}]
    console.show_rows(rows, {"a": "first", "b": "second", "c": "third"})
    assert capsys.readouterr().out.splitlines() == [
        f"{'first':200}  second  third",
        f"{'x' * 200}  1234     [2J",
        "y",
    ]
