"""Explanations of published numbers through the API and its client."""

import json
import subprocess
import sys

import dagster as dg
import pytest

from orchestration_project.catalog import REGISTRY
from orchestration_project.client import Client
from orchestration_project.engine.captures import Captures
from orchestration_project.engine.connections.artifacts import FolderStore
from orchestration_project.services.explanation import choose_number, explain_number
from orchestration_project.settings import PROJECT_ROOT
from tests.gateway.api.conftest import HOME, WEEK
from tests.programs import PATIENCE_SECONDS

GOLD = "/tables/finra_symbol_week"
OF_WEEK = "where=tier={}&where=week_start={}".format(*WEEK.split("|"))


@pytest.fixture
def symbol(api, loaded) -> str:
    """A symbol of the loaded week; other files may have loaded other weeks before."""
    return api.get(f"{GOLD}?limit=1&{OF_WEEK}")["rows"][0]["symbol"]


@pytest.mark.slow
def test_a_number_is_explained_by_formula_rows_capture_load_and_signature(api, symbol):
    key = {"key": f"{WEEK}|{symbol}"}
    explained = api.get(f"{GOLD}/explanation", params={**key, "column": "total_trade_count"})
    rows = api.get(f"/tables/finra_otc_weekly?where=symbol={symbol}&{OF_WEEK}")["rows"]
    assert explained["formula"] == ["sum", "trade_count"]
    assert (
        explained["published"] == explained["recomputed"] == sum(row["trade_count"] for row in rows)
    )
    assert explained["is_equal"]
    assert explained["input_count"] == len(explained["inputs"]) == len(rows)
    for row, place in zip(rows, explained["inputs"], strict=True):
        content = api.ask("GET", f"/artifacts/{place['capture_id']}").content
        assert place["capture_id"] == row["capture_id"]
        assert content.split(b"\n")[place["line_number"] - 1] == place["line"].encode()
        assert content[place["byte_offset"] :].startswith(place["line"].encode())
        assert place["request"]["compareFilters"]
    change = explained["last_change"]
    where = {"where": f"group_id={change['group_id']}"}
    [load] = api.get("/tables/landings", params=where)["rows"]
    assert (change["cause"], change["run_id"]) == (load["change_cause"], load["run_id"])
    assert len(change["signature"]["record_sha256"]) == 64


@pytest.mark.parametrize(
    ("name", "key", "column", "detail"),
    [
        ("finra_symbol_week", f"{WEEK}|?", "vwap", "invalid key of finra_symbol_week"),
        ("finra_symbol_week", "T1", "vwap", "invalid key 'T1' of finra_symbol_week"),
        ("finra_symbol_week", "T1|Monday|A", "vwap", "invalid key: expected DATE"),
        ("finra_symbol_week", f"{WEEK}|A", "vwop", "invalid column 'vwop' of finra_symbol_week"),
        ("captures", "1", "url", "invalid table 'captures'"),
        ("prices_symbol_spellings", "yahoo|A", "reason", "invalid table 'prices_symb"),
    ],
)
def test_a_number_that_cannot_be_explained_is_a_problem(api, loaded, name, key, column, detail):
    params = {"key": key, "column": column}
    problem = api.expect_problem("GET", f"/tables/{name}/explanation", "viewer", params=params)
    assert (problem["status"], problem["detail"][: len(detail)]) == (422, detail)


def test_tables_that_are_not_served_are_not_explained(api):
    params = {"key": "1", "column": "name"}
    path = "/tables/access_keys/explanation"
    assert api.expect_problem("GET", path, "viewer", params=params)["status"] == 404
    assert api.ask("GET", f"{GOLD}/explanation", "", params=params).status_code == 401


def test_metadata_of_a_load_link_to_the_explanation_of_a_number(api, loaded):
    for name in ("otc_weekly", "symbol_week", "venue_week"):
        asset = dg.AssetKey(["finra", name])
        event = api.services.instance.get_latest_materialization_event(asset)
        assert event is not None
        assert event.asset_materialization is not None
        address = str(event.asset_materialization.metadata["explanation"].value)
        explained = api.get(address.partition("/api/v1")[2])
        assert (explained["table"], explained["is_equal"]) == (f"finra_{name}", True)


def test_the_client_reads_explanations(api, symbol):
    with Client(HOME, str(api.keys["viewer"]), transport=api) as client:
        explained = client.explain("finra_symbol_week", f"{WEEK}|{symbol}", "venue_count")
    assert explained.published == explained.recomputed
    assert len(explained.inputs) == explained.input_count


def test_a_number_whose_bytes_are_missing_is_not_equal_and_says_why(api, loaded, tmp_path):
    rows = api.get(f"/tables/finra_otc_weekly?where=market=NON_ATS&limit=200&{OF_WEEK}")["rows"]
    unnamed = next(row for row in rows if row["mpid"] is None)
    key = "|".join([WEEK, *(unnamed[name] for name in ("market", "symbol", "venue_id"))])
    number = choose_number(REGISTRY.rules, "finra_otc_weekly", key, "mpid")
    elsewhere = Captures(FolderStore(tmp_path))
    with api.services.warehouse.reading() as connection:
        explained = explain_number(connection, elsewhere, number)
    [place] = explained.inputs
    assert (explained.published, explained.recomputed, explained.is_equal) == (None, None, False)
    assert place.line is None
    assert place.problem is not None
    assert "is not what was captured: " in place.problem


HEAVY = """
import sys
from orchestration_project.__main__ import main

status = main({arguments})
heavy = {{"alembic", "dagster", "httpx", "numpy", "pandas", "polars", "psycopg", "pyarrow", "rich"}}
found = sorted(heavy & sys.modules.keys())
sys.exit(f"imported: {{found}}" if found else status)
"""


@pytest.mark.slow
def test_the_command_explains_the_same_without_a_heavy_import(api, symbol):
    arguments = ["explain", "--json", "finra_symbol_week", f"{WEEK}|{symbol}\r", "notional_share"]
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", HEAVY.format(arguments=arguments)],
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )
    assert done.returncode == 0, done.stderr[-300:]
    params = {"key": f"{WEEK}|{symbol}", "column": "notional_share"}
    assert json.loads(done.stdout) == api.get(f"{GOLD}/explanation", params=params)
