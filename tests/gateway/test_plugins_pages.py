"""The pages that list plugins and show one: states, permissions, calls and violations."""

import json
from datetime import UTC, datetime

import pytest
from sqlalchemy import insert
from starlette.applications import Starlette

from orchestration_project.domains.plugins.tables import (
    plugins,
    plugins_calls,
    plugins_grants,
    plugins_versions,
    plugins_violations,
)
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.roles import Principal, Role
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.gateway.plugins import PATH, routes
from orchestration_project.gateway.request import CURRENT
from tests.gateway.login_client import INSTALLATION, requested
from tests.prepared import write_sqlite

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
EVIL = "<script>alert(1)</script>"
BUDGET = {"seconds": 60, "memory_mib": 256, "requests": 100, "bytes": 10_000_000, "rows": 10_000}


@pytest.fixture
def warehouse(tmp_path):
    with Warehouse(write_sqlite(tmp_path / "w.sqlite"), clock=Clock()) as opened:
        opened.prepare(holds="demo")
        yield opened


def shown(warehouse, path=PATH):
    CURRENT.set(Principal("ada", Role.VIEWER, "session"))
    found = routes(warehouse, INSTALLATION, lambda: "process: files and hosts are not enforced")
    return requested(Starlette(routes=found), "GET", path)


def added(warehouse, name="rss", **fields):
    """Store a plugin that requests two hosts, of which one was granted."""
    manifest = {
        "id": name,
        "version": "1.2.0",
        "publisher": "example.org",
        "kind": "source",
        "entry": "main.py",
        "requires": ">=0.1",
        "permissions": {"hosts": [{"host": "a.example"}, {"host": "b.example"}]},
        "budget": BUDGET,
    }
    row = {
        "id": name,
        "version": "1.2.0",
        "sha256": "ab" * 32,
        "publisher": "example.org",
        "kind": "source",
        "state": "enabled",
        "share": 0.1,
        "listed_keys": "[]",
        "manifest": json.dumps(manifest),
        "is_signed": False,
        "granted_number": 1,
        "reason": None,
        "version_number": 1,
        "changed_by": "ada",
        "changed_at": NOON,
        **fields,
    }
    grant = {
        "plugin": name,
        "number": 1,
        "version": "1.2.0",
        "sha256": "ab" * 32,
        "permissions": json.dumps({"hosts": [{"host": "a.example"}]}),
        "budget": json.dumps(BUDGET),
        "folders": "{}",
        "granted_by": "ada",
        "granted_at": NOON,
        "is_current": True,
    }
    with warehouse.writing() as connection:
        connection.execute(insert(plugins), [row])
        connection.execute(insert(plugins_grants), [grant])


def test_the_list_has_states_shares_and_what_the_isolation_enforces(warehouse):
    added(warehouse)
    added(warehouse, "bad", state="disabled", reason=EVIL, is_signed=True)
    page = shown(warehouse).text
    assert '<a href="/plugins/rss">rss</a>' in page
    assert "<strong>enabled</strong></td><td>10%</td>" in page
    assert "example.org (not signed)" in page
    assert "example.org (signed)" in page
    assert "Isolation: process: files and hosts are not enforced." in page
    assert "&lt;script&gt;" in page
    assert "<script>" not in page


def test_a_plugin_s_page_compares_what_it_asks_for_with_what_was_granted(warehouse):
    added(warehouse)
    page = shown(warehouse, f"{PATH}/rss").text
    rows = [part for part in page.split("<tr>") if "<td>hosts</td>" in part]
    assert [("not granted" in row) for row in rows] == [False, True]
    assert "b.example" in rows[1]
    assert "not signed; it names as publisher example.org" in page
    assert 'href="/assets/plugins/rss"' in page


def test_calls_and_violations_of_a_plugin_are_shown_as_text(warehouse):
    added(warehouse)
    call = {
        "run_id": "run-1",
        "number": 1,
        "plugin": "rss",
        "kind": "fetch",
        "target": EVIL,
        "verdict": "refused",
        "bytes": 1234,
        "seconds": 0.1,
        "at": NOON,
    }
    violation = {
        "run_id": "run-1",
        "number": 1,
        "plugin": "rss",
        "permission": "hosts",
        "what": EVIL,
        "at": NOON,
    }
    change = {
        "id": "rss",
        "version_number": 1,
        "action": "enable",
        "definition": "{}",
        "edited_by": EVIL,
        "edited_at": NOON,
        "run_id": None,
    }
    with warehouse.writing() as connection:
        connection.execute(insert(plugins_calls), [call])
        connection.execute(insert(plugins_violations), [violation])
        connection.execute(insert(plugins_versions), [change])
    page = shown(warehouse, f"{PATH}/rss").text
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") == 3
    assert "<script>" not in page
    assert "1,234" in page
    assert 'href="/runs/run-1"' in page


def test_a_plugin_that_was_never_added_has_no_page(warehouse):
    assert "No entries." in shown(warehouse).text
    assert shown(warehouse, f"{PATH}/none").status_code == 404
