"""Times in the JSON of commands are in ISO 8601, with a zone."""

import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from io import StringIO
from pathlib import Path
from typing import Any

import click
import pytest
from pypdf import PdfWriter
from sqlalchemy import select

from orchestration_project.__main__ import main, root
from orchestration_project.cli import console
from orchestration_project.cli.commands import JSON
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.connections.simulator import stop_demos
from orchestration_project.engine.contracts.problems import Problem
from orchestration_project.engine.contracts.work_items import NewItem
from orchestration_project.engine.environment import open_warehouse
from orchestration_project.engine.work_items import WorkItems
from orchestration_project.services.ledger import Ledger
from orchestration_project.settings import PROJECT_ROOT, load_settings
from orchestration_project.tables.catalogue import known_tables
from orchestration_project.tables.spine import captures
from tests.cli.test_alerts import store
from tests.commands import run_without_failure
from tests.expecting import expect_present
from tests.plugin_files import plugin_files, zipped
from tests.prepared import write_default
from tests.programs import DEMO
from tests.resources.test_ledger import LOAD, facts

LIKE_A_TIME = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?( ?(UTC|Z|[+-]\d\d(:?\d\d)?))?"
)
ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")

TABLE, WEEK, TRACE = "finra_treasury_weekly", "2023-01-16", "4bf92f3577b34da6a3ce929d0e0e4736"
SHOP = str(PROJECT_ROOT / "config" / "sites" / "shop.yaml")

CASES: Mapping[str, Sequence[str]] = {
    "access review": [""],
    "alerts check": [""],
    "alerts list": [""],
    "alerts test": [""],
    "alerts watch": [""],
    "approvals confirm": ["{approval} --sha256 {sha256} --key-file {folder}/ada.key --dry-run"],
    "approvals list": [""],
    "approvals refuse": ["{approval} --reason x --key-file {folder}/ada.key --dry-run"],
    "approvals request": ["{approval} --key-file {folder}/ada.key"],
    "artifacts list": [""],
    "artifacts repair": ["--dry-run"],
    "attention": ["", "--ignored"],
    "automation list": [""],
    "automation off": ["weekly-finra --dry-run"],
    "automation on": ["weekly-finra --dry-run"],
    "automation simulate": [""],
    "backfill": [f"{TABLE} --from {WEEK} --to {WEEK} --dry-run"],
    "backup": ["--to {folder}/backups"],
    "config check": [""],
    "config diff": [""],
    "config show": [""],
    "datasets": [""],
    "plan": ["--sample 1"],
    "erase": ["saas/person --from {folder}/subject --reason x --dry-run"],
    "documents show": ["{folder}/state/documents_demo/files/a.pdf"],
    "documents timeline": ["a.pdf"],
    "domains add": ["finra --dry-run"],
    "domains list": [""],
    "domains remove": ["web --dry-run"],
    "evidence export": ["--run {run} --output {folder}/e.zip"],
    "evidence repair": ["--dry-run"],
    "evidence verify": ["{folder}/verified.zip"],
    "explain": ["finra_treasury_weekly {key} dealer_customer_volume"],
    "items list": [""],
    "keys create": ["--role viewer --owner Bob", "--role viewer --owner Bob --dry-run"],
    "keys list": [""],
    "keys revoke": ["{key_id} --dry-run"],
    "keys rotate": ["{key_id} --dry-run"],
    "load": [f"{TABLE} {WEEK}", "documents"],
    "objectives check": [""],
    "objectives evaluate": [""],
    "objectives list": [""],
    "pause": ["--list", "finra/otc_monthly --reason x --until 2099-01-02T03:00Z --dry-run"],
    "plugins add": ["{folder}/rss.zip --unsigned --dry-run"],
    "plugins disable": ["rss --dry-run"],
    "plugins enable": ["rss --dry-run"],
    "plugins grant": ["rss --reason x --dry-run"],
    "plugins refuse": ["rss --reason x --dry-run"],
    "plugins remove": ["rss --dry-run"],
    "plugins list": [""],
    "plugins publishers": [""],
    "plugins show": ["rss"],
    "replay": [f"{WEEK} --table {TABLE}"],
    "restore": ["--from {folder}/backups --state-dir {folder}/restored --dry-run"],
    "resume": ["finra/otc_weekly --dry-run"],
    "run": ["--dry-run"],
    "schema diff": [""],
    "support-bundle": ["--output {folder}/bundle.zip"],
    "tables": [""],
    "trace": [TRACE],
    "upgrade": ["--check"],
    "verify": ["", "--chain", "--balance", "--production"],
    "web check": [SHOP],
}
"""Arguments of each command that writes JSON."""

BEFORE: Mapping[str, str] = {
    "evidence verify": "evidence export --run {run} --output {folder}/verified.zip",
    "restore": "backup --to {folder}/backups",
}
"""Command that writes the file which a case reads, by the command of the case."""

RECORDED = (
    *("access review", "alerts list", "approvals list", "attention", "config diff", "config show"),
    *("items list", "keys list", "pause", "plugins show", "trace"),
)
"""Commands that need records alone, and whose JSON has times."""

OF_A_PROJECT = (
    *("check", "preview", "rename column", "rename source", "rename table", "schema apply", "test"),
)
"""Commands about sources of a project, whose JSON has names and rows."""


def paths(command: click.Command, *names: str) -> Iterator[str]:
    """Yield the commands below a command that write JSON."""
    context = click.Context(command)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = expect_present(command.get_command(context, name))
            yield from paths(below, *names, name)
    elif JSON in command.get_params(context):
        yield " ".join(names)


def times_in(document: object, name: str = "") -> Iterator[str]:
    """Yield the values of a JSON document that are times, by their form or their name."""
    if isinstance(document, dict):
        for key, value in document.items():
            yield from times_in(value, key)
    elif isinstance(document, list):
        for value in document:
            yield from times_in(value, name)
    elif isinstance(document, str) and (
        LIKE_A_TIME.fullmatch(document) or (document and name.endswith("_at"))
    ):
        yield document


@pytest.fixture(scope="module")
def recorded(tmp_path_factory, new_files) -> Iterator[Path]:
    """A folder with a STATE_DIR that has a record of each kind."""
    folder = tmp_path_factory.mktemp("times")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**DEMO, "STATE_DIR": str(folder / "state")}.items():
            patch.setenv(name, value)
        write_default(load_settings())
        shutil.copytree(new_files, folder / "state" / "dagster")
        store_and_check_records(folder)
        yield folder
        stop_demos(load_settings())


@pytest.fixture(scope="module")
def loaded(recorded: Path) -> Mapping[str, str]:
    """The same with a loaded week and document; names of records by what they are."""
    files = recorded / "state" / "documents_demo" / "files"
    files.mkdir(parents=True)
    writer = PdfWriter()
    writer.add_blank_page(100, 100)
    writer.add_metadata({"/CreationDate": "D:20260101120000", "/Title": "blank"})
    writer.write(files / "a.pdf")
    (recorded / "subject").write_text("ada@example.org\n")
    assert main(["load", TABLE, WEEK, "-q"]) == 0
    main(["load", "documents", "-q"])  # a page without text is a failure
    return {"folder": str(recorded), **names_of_records(recorded)}


def document_of(arguments: str) -> Any:
    """Return the JSON of a command."""
    with redirect_stdout(StringIO()) as output:
        run_without_failure(*arguments.split(), "--json")
    return json.loads(output.getvalue())


def names_of_records(folder: Path) -> Mapping[str, str]:
    """Return names of records, by what they are; write the key of a person to a file."""
    created = document_of("keys create --role admin --owner Ada")
    (folder / "ada.key").write_text(created["key"])
    [approval] = document_of("approvals list")
    table = known_tables()[TABLE]
    with open_warehouse(load_settings()) as warehouse, warehouse.reading() as connection:
        row = connection.execute(select(*table.primary_key.columns).limit(1)).one()
        run = connection.execute(select(captures.c.run_id).limit(1)).scalar_one()
    return {
        "key_id": created["key_id"],
        "approval": approval["approval_id"],
        "sha256": approval["sha256"],
        "key": "|".join(map(str, row)),
        "run": run,
    }


def store_and_check_records(folder: Path) -> None:
    """Store an alert, a key, a pause, a plugin, a work item, a trace and a waiting approval."""
    store("a", Problem("failed", "finra/otc_weekly", "T1|2026-01-05"))
    run_without_failure("keys", "create", "--role", "viewer", "--owner", "Ada", "-q")
    run_without_failure(
        "pause", "finra/otc_weekly", "--reason", "x", "--until", "2099-01-02T03:00Z"
    )
    archive = folder / "rss.zip"
    archive.write_bytes(zipped(plugin_files()))
    run_without_failure("plugins", "add", str(archive), "--unsigned")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FOUR_EYES", "grant")
        assert main(["plugins", "grant", "rss", "--reason", "news"]) == 1
    with open_warehouse(load_settings()) as warehouse:
        WorkItems(warehouse, Clock()).enqueue("documents/2026-01-01", [NewItem("x", "1")])
        failed = replace(facts("FAILURE", 3, [LOAD]), tags={"trace_id": TRACE}, error="disk full")
        Ledger(warehouse, Clock()).record([failed])


def test_each_command_that_writes_json_has_a_case():
    assert {*paths(root)} == {*CASES, *OF_A_PROJECT}


@pytest.mark.parametrize("command", RECORDED)
@pytest.mark.usefixtures("recorded")
def test_a_command_writes_times_of_records_with_their_zone(command: str, capsys):
    found = times_of(command, CASES[command][0], capsys)
    assert found
    assert [value for value in found if not ISO.fullmatch(value)] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "arguments"),
    [(command, option) for command, several in CASES.items() for option in several],
)
def test_a_command_writes_times_with_their_zone(
    command: str, arguments: str, loaded: Mapping[str, str], capsys
):
    if command in BEFORE:
        assert main(BEFORE[command].format_map(loaded).split()) == 0
    found = times_of(command, arguments.format_map(loaded), capsys)
    assert [value for value in found if not ISO.fullmatch(value)] == []


def times_of(command: str, arguments: str, capsys) -> list[str]:
    """Return the times in the JSON of a command."""
    capsys.readouterr()
    main([*command.split(), *arguments.split(), "--json"])
    return list(times_in(json.loads(capsys.readouterr().out)))


@pytest.mark.parametrize(
    ("zone", "text"),
    [
        (None, "2026-11-02T03:04:05+00:00"),
        (UTC, "2026-11-02T03:04:05+00:00"),
        (timezone(timedelta(hours=-5)), "2026-11-02T03:04:05-05:00"),
    ],
)
def test_a_time_without_zone_is_of_a_database_and_thus_in_utc(zone, text, capsys):
    console.emit({"at": datetime(2026, 11, 2, 3, 4, 5, tzinfo=zone)})
    assert json.loads(capsys.readouterr().out) == {"at": text}
