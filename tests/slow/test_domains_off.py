"""Domains that were loaded and then turned off: their rows are kept, checked, erased and reset."""

import json
import shutil
import sqlite3
import zipfile
from pathlib import Path
from typing import Any

import httpx
import pytest

from orchestration_project.engine.connections.artifacts import open_store
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.environment import open_warehouse
from orchestration_project.services.inbox.rows import Inbox, NewDelivery
from orchestration_project.settings import load_settings
from tests import programs
from tests.faults.stack import Stack
from tests.gateway.conftest import signed
from tests.programs import wait_for
from tests.webhook_runs import load_due

pytestmark = pytest.mark.slow

ALONE = {
    "DOMAINS": "finra",
    "FINRA_DATASETS": "",
    "DEMO_CLOCK_NOW": "2026-03-02T18:00:00+00:00",
}
"""The settings of the installation after the others were turned off."""

FIRST = ("finra_otc_weekly", "T1|2026-02-02")
"""Names the symbols of which prices are loaded."""

LOADED = {
    "fx_rates_daily": ("fx_rates_daily", "2026-02-27"),
    "market_volume_daily": ("market_volume_daily", "2026-02-26"),
    "prices_daily": ("prices_daily", "2026-01"),
    "documents_pages": ("documents",),
    "mqtt_tasks": ("mqtt",),
    "finra_otc_blocks": ("finra_otc_blocks", "2025-12-01"),
    "web_items": ("web", "shop", "2026-02-27"),
}
"""By table what `load` takes."""

EXPORTED = (*LOADED, "events_webhooks", "plugins", "saas_audit_log", "saas_source_states")
"""Tables with rows of domains that are off."""

SIZES = {"DEMO_MQTT_EVENTS": "200", "DEMO_SHOP_PRODUCTS": "20", "DEMO_SAAS_TASKS": "6"}


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a STATE_DIR with rows of domains that are off in the tests."""
    state = tmp_path_factory.mktemp("off") / "state"
    for arguments in (FIRST, *LOADED.values()):
        status, output, error = programs.run(
            state,
            "orchestration_project",
            "load",
            *arguments,
            **SIZES,
        )
        assert status in (0, 1), output + error  # the demo has bad documents on purpose
    plugin = str(state.parent / "plugin")
    for arguments in (
        ("run", "saas"),
        ("plugins", "new", "sample", "--output", plugin),
        ("plugins", "add", plugin, "--unsigned"),
    ):
        output = programs.run_without_failure(state, "orchestration_project", *arguments, **SIZES)
    load_webhooks(state)
    return state


def load_webhooks(state: Path) -> None:
    """Load three deliveries of a source, in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STATE_DIR", str(state))
        settings, clock = load_settings(), Clock()
        with open_warehouse(settings) as warehouse:
            for number in "123":
                delivery = NewDelivery("git", number, "push", b'{"a": 1}', {}, 3)
                Inbox(warehouse, clock).take([delivery])
            load_due(warehouse, clock, open_store(settings), "git")


@pytest.fixture
def state(loaded: Path, tmp_path: Path) -> Path:
    """Return a copy of it."""
    return shutil.copytree(loaded, tmp_path / "state", symlinks=True)


def run(state: Path, *arguments: str) -> str:
    """Run a command where the domains are off; return what it printed."""
    return programs.run_without_failure(state, "orchestration_project", *arguments, **ALONE)


def run_job(state: Path, job: str, *options: str) -> None:
    """Execute a job where the domains are off."""
    programs.run_without_failure(
        state,
        *("dagster", "job", "execute", "-m", "orchestration_project.definitions", "-j", job),
        *options,
        **ALONE,
        DAGSTER_HOME=str(state / "dagster"),
    )


def rows(state: Path, query: str) -> list[tuple[Any, ...]]:
    with sqlite3.connect(next(state.glob("*.sqlite"))) as connection:
        return connection.execute(query).fetchall()


@pytest.mark.parametrize("table", EXPORTED)
def test_rows_of_a_domain_that_is_off_are_exported(loaded, table):
    exported = run(loaded, "export", table, "--limit", "3", "--format", "ndjson")
    assert len(exported.splitlines()) == (1 if table == "plugins" else 3)


@pytest.mark.parametrize("table", LOADED)
def test_what_is_off_is_not_loaded(loaded, table):
    status, _, error = programs.run(
        loaded, "orchestration_project", "load", *LOADED[table], **ALONE
    )
    assert status == 1
    assert "is off" in error
    assert "add" in error


def test_what_is_off_still_balances_and_fits_its_chain(loaded):
    run(loaded, "verify", "--chain")
    document = json.loads(run(loaded, "--json", "verify", "--balance"))
    assert document["is_balanced"]
    equations = {equation["equation"] for equation in document["equations"]}
    assert equations >= {"parts", "messages"}
    tables = {equation["table"] for equation in document["equations"]}
    assert tables >= {"web_items", "events_webhooks", "outbox"}


def test_a_document_is_erased_after_documents_were_turned_off(state, tmp_path):
    shas = "SELECT DISTINCT document_id FROM documents_pages ORDER BY 1"
    [(sha256,), *others] = rows(state, shas)
    subject = tmp_path / "subject.txt"
    subject.write_text(f"{sha256}\n")
    run(
        state,
        "erase",
        "documents/document",
        "--from",
        str(subject),
        "--reason",
        "asked",
        "--yes",
        "--only-database",
    )
    assert rows(state, shas) == others


def test_a_task_is_erased_after_the_sync_was_turned_off(state, tmp_path):
    tasks = "SELECT DISTINCT entity_id FROM saas_source_states ORDER BY 1"
    [(task,), *others] = rows(state, tasks)
    subject = tmp_path / "subject.txt"
    subject.write_text(f"{task}\n")
    run(
        state,
        *("erase", "saas/task", "--from", str(subject), "--reason", "requested"),
        *("--yes", "--only-database"),
    )
    assert rows(state, tasks) == others


def test_a_damaged_capture_of_a_domain_that_is_off_is_had_again_from_its_source(state):
    [(sha256,), *_] = rows(
        state,
        "SELECT sha256 FROM captures JOIN deliveries USING (group_id) "
        "WHERE table_name = 'fx_rates_daily'",
    )
    [file] = [path for path in (state / "artifacts").rglob(f"*{sha256}*") if path.is_file()]
    file.write_bytes(b"damaged")
    run(state, "artifacts", "repair", "--sha256", sha256)


def test_backup_and_evidence_have_what_is_off_and_reset_deletes_it(state, tmp_path):
    run(state, "backup", "--to", str(tmp_path / "backup"))
    archive = tmp_path / "evidence.zip"
    run(
        state,
        *("evidence", "export", "--partition", "2026-02-27", "--at", "2026-03-02T17:00Z"),
        *("--output", str(archive)),
    )
    with zipfile.ZipFile(archive) as members:
        assert any("fx_rates_daily" in name for name in members.namelist())
    config = tmp_path / "clean_up.yaml"
    config.write_text("ops: {clean_up: {config: {delete_artifacts: {}}}}")
    run_job(state, "operations_clean_up", "-c", str(config))
    run(state, "reset", "--yes")
    assert sorted(state.rglob("*")) == []
    assert not state.exists()


WEBHOOKS = "sources:\n  git: {scheme: github, job: events_webhooks}\n"
SECRET = "secret of a source"


def deliver(stack: Stack, delivery_id: str) -> int:
    """Deliver a signed webhook to the gateway; return the status."""
    body = b'{"action": "opened"}'
    headers = signed(body, SECRET, x_github_delivery=delivery_id)
    url = f"http://127.0.0.1:{stack.port}/hooks/git"
    return httpx.post(url, content=body, headers=headers, timeout=30).status_code


def test_webhooks_of_a_domain_that_is_off_wait_up_to_a_limit_and_load_once_it_is_on(tmp_path):
    (tmp_path / "webhooks.yaml").write_text(WEBHOOKS)
    stack = Stack(
        tmp_path,
        DOMAINS="finra",
        FINRA_DATASETS="",
        WEBHOOKS_FILE=str(tmp_path / "webhooks.yaml"),
        WEBHOOK_INBOX_ROWS="2",
        WEBHOOK_SECRET_GIT=SECRET,
    )
    try:
        stack.start()
        assert [deliver(stack, number) for number in "123"] == [202, 202, 503]
        stack.kill_all()
        stack.environment["DOMAINS"] = "finra,events"
        stack.start()
        stack.switch_on_without_failure("events_on_webhook")
        delivered = "SELECT delivery_id FROM events_webhooks ORDER BY 1"
        wait_for(lambda: len(rows(stack.state_dir, delivered)) == 2, seconds=300)
        assert rows(stack.state_dir, delivered) == [("1",), ("2",)]
        wait_for(lambda: deliver(stack, "3") == 202, seconds=60)
    finally:
        stack.kill_all()
