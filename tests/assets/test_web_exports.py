"""Exports of site files: the items of each complete crawl at their targets."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from sqlalchemy import select, text

from orchestration_project.catalog import REGISTRY
from orchestration_project.definitions import defs
from orchestration_project.domains.web.settings import WebSettings
from orchestration_project.domains.web.sites import Site, read_site
from orchestration_project.engine.connections.artifacts import open_store
from orchestration_project.resources.web.sites import site_files_of
from orchestration_project.sensors.operations import operations_on_due_export
from orchestration_project.services.exports import read_domain_exports
from orchestration_project.settings import load_settings
from orchestration_project.tables.operations_artifacts import operations_exports
from orchestration_project.tables.spine import work_items
from tests import databases
from tests.assets.test_web_operation import site_of
from tests.assets.web_shop import POSTGRESQL_SLOW, materialize_and_check_success
from tests.expecting import expect_type
from tests.faulty_server import Reply
from tests.resources.definitions import RESOURCES

DAY = "2026-02-01"


@pytest.fixture(autouse=True)
def exports_file(demo_settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of targets; site files are in ``sites`` beside it."""
    file = tmp_path / "exports.yaml"
    file.write_text("targets: {mart: {kind: database}}\n")
    (tmp_path / "sites").mkdir()
    monkeypatch.setenv("EXPORTS_FILE", str(file))
    monkeypatch.setenv("WEB_SITES_DIR", str(tmp_path / "sites"))
    monkeypatch.setenv("DEMO_CLOCK_NOW", f"{DAY}T09:00:00+00:00")
    monkeypatch.setenv("DISK_HEADROOM_MIB", "0")
    return file


def declared(exports: dict[str, Any], site: str = "small", **changes: Any) -> dict[str, Any]:
    return {
        "site": site,
        "base_url": "http://shop.demo",
        "start": ["/"],
        "follow": [{"css": "a"}],
        "item": {"key": ["sku"], "fields": {"sku": {"css": "h1", "required": True}}},
        "politeness": {"requests_per_second": 1000},
        "exports": exports,
        **changes,
    }


def site_with(exports: dict[str, Any], site: str = "small", **changes: Any) -> Site:
    return read_site(yaml.safe_dump(declared(exports, site, **changes)))


def page(sku: str, links: str = "") -> Reply:
    return Reply(headers={"Content-Type": "text/html"}, body=f"<h1>{sku}</h1>{links}".encode())


def delivered(result: dg.ExecuteInProcessResult) -> list[tuple[Any, Any]]:
    """Return name and outcome of each export of a crawl."""
    for event in result.get_asset_materialization_events():
        found = event.materialization.metadata.get("exports")
        if found is not None:
            table = expect_type(found, dg.TableMetadataValue)
            return [(record.data["name"], record.data["outcome"]) for record in table.records]
    return []


def files() -> dict[str, list[str]]:
    """Return the lines of each stored export by the name of the export, the latest file."""
    store = open_store(load_settings())
    names = sorted(
        stored_object.name
        for stored_object in store.listed()
        if stored_object.name.startswith("exports/")
    )
    return {
        name.removeprefix("exports/").rpartition("/")[0]: store.get(name).decode().split()
        for name in names
    }


@pytest.mark.slow
@POSTGRESQL_SLOW
def test_a_complete_crawl_delivers_the_rows_of_its_site_once(url, instance):
    exports = {
        "csv": {"format": "csv", "columns": ["item_key"]},
        "values": {"rows": "fields", "format": "csv", "columns": ["site", "text_value"]},
    }
    site, other = site_with(exports), site_with({}, "other")
    replies = {"/": page("1", "<a href=/a>a</a>"), "/a": page("2")}
    with site_of(replies, {}) as (_, access):
        materialize_and_check_success(instance, other, DAY, web=access)
        first = materialize_and_check_success(instance, site, DAY, web=access)
        assert delivered(first) == [
            ("web/small/csv", "delivered"),
            ("web/small/values", "delivered"),
        ]
        found = files()
        assert sorted(found["web/small/csv"][1:]) == ["1", "2"]
        assert sorted(found["web/small/values"][1:]) == ["small,1", "small,2"]
        again = materialize_and_check_success(instance, site, DAY, web=access)
        assert delivered(again)[0] == ("web/small/csv", "unchanged")
        replies["/a"] = page("3")
        spent = site_with(exports, budget={"requests": 1})
        assert (
            delivered(materialize_and_check_success(instance, spent, "2026-02-02", web=access))
            == []
        )
        assert sorted(files()["web/small/csv"][1:]) == ["1", "2"]
        materialize_and_check_success(instance, site, "2026-02-02", web=access)
    assert sorted(files()["web/small/csv"][1:]) == ["1", "3"]


@pytest.mark.slow
def test_a_target_that_is_down_fails_no_crawl_and_gets_the_items_later(
    url, instance, tmp_path, monkeypatch
):
    exports = {"mart": {"target": "mart"}}
    (tmp_path / "sites" / "small.yaml").write_text(yaml.safe_dump(declared(exports)))
    name, mart = "web/small/mart", f"sqlite:///{tmp_path}/mart.sqlite"
    replies = {"/": page("1", "<a href=/a>a</a>"), "/a": page("2")}
    with site_of(replies, {}) as (_, access):
        result = materialize_and_check_success(instance, site_with(exports), DAY, web=access)
        assert delivered(result) == [(name, "failed")]  # EXPORT_URL_MART is not set
        replies["/"] = page("5")
        partial = site_with(exports, budget={"requests": 1})
        materialize_and_check_success(instance, partial, "2026-02-02", web=access)
    monkeypatch.setenv("EXPORT_URL_MART", mart)
    resources = {key: RESOURCES[key] for key in ("clock", "registry", "settings", "warehouse")}
    databases.execute(url, work_items.update().values(state="ready"))
    with dg.build_sensor_context(instance, resources=resources) as context:
        [request] = operations_on_due_export.evaluate_tick(context).run_requests or []
    run = defs.resolve_job_def("operations_export").execute_in_process(
        instance=instance, run_config=request.run_config
    )
    assert run.success
    loaded = databases.rows(mart, text("SELECT item_key FROM small_mart ORDER BY item_key"))
    assert loaded == [("1",), ("2",)]  # as the complete crawl had them
    rows = select(operations_exports.c.name, operations_exports.c.row_count)
    assert databases.rows(url, rows) == [(name, 2)]


@pytest.mark.parametrize(
    ("exports", "problem"),
    [
        ("csv: {target: marrt}", "exports.csv.target: expected one of artifacts, mart"),
        ("csv: {target: mart, format: csv}", "exports.csv.target: expected no format"),
        ("csv: {columns: [price]}", "exports.csv.columns: "),
        ("csv: {target_table: a}", "exports.csv.target_table: expected with a database"),
        ("csv: {table: web_pages}", "exports.csv.table: unknown name"),
        ("Csv: {format: csv}", "exports.Csv"),
        ("csv: {format: xlsx}", "exports.csv.format: expected 'csv'"),
    ],
)
def test_an_export_that_fits_no_target_is_a_problem_with_its_line(tmp_path, exports, problem):
    text = yaml.safe_dump({**declared({}), "exports": None}).replace("exports: null\n", "")
    content = f"exports:\n  {exports}\n{text}"
    (tmp_path / "sites" / "small.yaml").write_text(content)
    found = site_files_of(WebSettings.of(load_settings()))
    assert found.sites == {}
    assert found.problems["small.yaml"].startswith(f"line 2: {problem}")
    assert read_domain_exports(REGISTRY, load_settings()) == {}


def test_an_invalid_exports_file_takes_no_site_away(tmp_path, exports_file):
    exports = {"mart": {"target": "mart"}, "csv": {}}
    (tmp_path / "sites" / "small.yaml").write_text(yaml.safe_dump(declared(exports)))
    exports_file.write_text("targets: {mart: {kind: shelf}}\n")
    settings = load_settings()
    assert list(site_files_of(WebSettings.of(settings)).sites) == ["small"]
    assert list(read_domain_exports(REGISTRY, settings)) == ["web/small/csv"]
