"""The pages of docs/reference hold what the code has; `make check` compares them with it."""

import re
from xml.etree import ElementTree

import pytest

from benchmarks.structure.modules import PACKAGE, Module
from orchestration_project.catalog import REGISTRY
from orchestration_project.definitions import defs
from orchestration_project.gateway.api.app import operations_of
from orchestration_project.services.alerts.rules.decisions import KINDS
from orchestration_project.settings import PROJECT_ROOT, settings_class
from orchestration_project.settings.checks import CheckLimits
from orchestration_project.tables.catalogue import known_tables
from tools.reference_pages.dictionary import joins, null_rule, unit
from tools.reference_pages.house import find_imports, nearest
from tools.reference_pages.markdown import HEADS, cell, table
from tools.reference_pages.pages import FOLDER
from tools.reference_pages.tables import DATA_MODULES, OTHER_MODULES, data_tables, groups

MAX_WORDS = 150


@pytest.fixture(scope="module")
def files():
    """Every page and picture, by its path below docs/reference."""
    return {
        str(path.relative_to(FOLDER)): path.read_text()
        for path in FOLDER.rglob("*")
        if path.suffix in {".md", ".svg"}
    }


def test_every_name_that_users_can_type_is_on_its_page(files):
    repository = defs.get_repository_def()
    checks = {key.name for key in defs.resolve_asset_graph().asset_check_keys}
    names = {
        "tables.md": set(known_tables()),
        "jobs.md": {name for name in repository.job_names if name != "__ASSET_JOB"},
        "automation.md": {
            schedule_def.name
            for schedule_def in (*repository.schedule_defs, *repository.sensor_defs)
        },
        "checks.md": checks,
        "alerts.md": set(KINDS),
        "rest-api.md": {
            f"{operation.method} {operation.path}" for operation in operations_of(REGISTRY)
        },
    }
    assert min(map(len, names.values())) > 10
    missing = {
        page: sorted(name for name in found if f"`{name}`" not in files[page])
        for page, found in names.items()
    }
    assert not any(missing.values()), missing


def test_the_dictionary_has_every_column_of_data_with_its_unit_and_rule_of_null(files):
    lines = files["dictionary.md"].splitlines()
    described = {
        (line.split("`")[1], name)
        for line in lines
        if line.startswith("| `") and line.count(" | ") == 5
        for name in line.rpartition(" | ")[2].strip(" |").replace("`", "").split(", ")
    }
    tables = data_tables()
    assert described == {(column.key, each.name) for each in tables for column in each.columns}
    by_name = {each.name: each.c for each in tables}
    week = by_name["finra_symbol_week"]
    assert (unit(week.notional_usd), unit(week.vwap)) == ("US dollars x 10^6", "US dollars")
    assert (unit(week.hhi_lower), unit(week.total_share_quantity)) == ("0-1", "shares")
    treasuries, blocks = by_name["finra_treasury_daily"], by_name["finra_ats_blocks"]
    assert unit(treasuries.ats_interdealer_volume) == "billions of US dollars x 10^6"
    assert unit(treasuries.vwap) == "percent of par x 10^6"
    assert unit(blocks.share_percent) == "percent x 10^6"
    assert unit(by_name["finra_reg_sho_daily"].short_quantity) == "shares"
    assert unit(by_name["finra_symbol_anomalies_week"].trailing_mean) == "shares"
    assert unit(by_name["finra_venue_week_all_tiers"].market_share) == "0-1"
    assert null_rule(week.notional_usd) == "FINRA lacks it for a row"
    assert null_rule(week.symbol) == ""
    assert null_rule(by_name["finra_otc_weekly"].issue_name) == "not reported, or not known"


def test_each_module_of_tables_is_in_the_dictionary_or_serves_operations():
    assert sorted(group.name for group in groups()) == sorted((*DATA_MODULES, *OTHER_MODULES))


def test_the_dictionary_joins_tables_by_whole_keys(files):
    found = {(many, one): list(key) for many, one, key in joins(data_tables())}
    weekly = "finra_otc_weekly"
    assert found[weekly, "finra_symbol_week"] == ["week_start", "tier", "symbol"]
    assert found["prices_returns", "prices_daily"] == ["symbol", "trade_date"]
    assert found["finra_short_interest", "finra_symbols"] == ["symbol"]
    assert ("finra_symbol_week", weekly) not in found


def test_the_dictionary_shows_its_entity_diagram_as_a_picture(files):
    page, picture = files["dictionary.md"], files["diagrams/dictionary.svg"]
    assert "](diagrams/dictionary.svg)" in page
    assert "```mermaid" not in page
    texts = [element.text for element in ElementTree.fromstring(picture).iter() if element.text]  # noqa: S314
    assert {data_table.name for data_table in data_tables()} <= set(texts)
    assert "captures" not in texts
    assert picture.count('class="arrow"') > 20
    assert "http" not in picture.replace("http://www.w3.org/2000/svg", "")


def test_each_notebook_is_a_page_with_what_its_cells_showed(files):
    page = files["notebook-market-share.md"]
    assert page.startswith("# Market share of ATS venues\n")
    assert "150 shares, all equal: True" in page
    assert page.count('<img alt="') == 1
    assert "](notebook-first-look.md)" in page
    assert {name for name in files if name.startswith("notebook-")} == {
        f"notebook-{path.stem}.md" for path in (PROJECT_ROOT / "docs/notebooks").glob("*.ipynb")
    }


@pytest.mark.parametrize("head", sorted(HEADS.glob("*.md")), ids=lambda path: path.stem)
def test_what_is_written_by_hand_is_short(head):
    assert len(head.read_text().split()) <= MAX_WORDS


def test_cells_hold_what_would_end_them_or_be_html():
    assert cell("a | b\nc `<x>` <y>") == r"a \| b c `<x>` &lt;y>"


def test_a_column_without_values_is_left_out():
    assert table(("a", "b"), [("1", ""), ("2", None)]) == "| a |\n| --- |\n| 1 |\n| 2 |\n"


def test_every_check_of_data_says_what_to_do_and_how_severe_it_is():
    graph = defs.resolve_asset_graph()
    specs = [graph.get_check_spec(key) for key in graph.asset_check_keys]
    assert {spec.metadata["severity"] for spec in specs} == {"ERROR", "WARN"}
    without = {spec.name for spec in specs if "remedy" not in spec.metadata}
    assert all(re.fullmatch("finds_[a-z_]+_ready", name) for name in without)
    named = {name for spec in specs for name in spec.metadata.get("settings", "").split()}
    assert named
    settings = {name.upper() for name in settings_class().model_fields}
    limits = list(CheckLimits().flat())
    assert {
        n for n in named - settings if not any(limit.startswith(n) for limit in limits)
    } == set()


def test_the_diagram_of_folders_leaves_out_what_another_folder_leads_to():
    imports = {"cli": {"engine", "tables"}, "engine": {"tables"}, "tables": set()}
    assert nearest(imports) == {"cli": ["engine"], "engine": ["tables"], "tables": []}
    modules = [Module("cli/a.py", f"import {PACKAGE.name}.engine.b"), Module("engine/b.py", "")]
    assert find_imports(modules) == {"cli": {"engine"}, "engine": set()}
