"""Dashboards and rules: their queries name what the gateway serves, and SQL reads views alone."""

import json
import re
import shutil
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest
import yaml
from psycopg import sql
from sqlalchemy import make_url

from deploy.observe import known_metrics, metrics_page
from deploy.observed_files import (
    DASHBOARDS,
    RULES,
    Query,
    dashboard_queries,
    every_query,
    static_problems,
    unknown_metrics,
)
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.settings import PROJECT_ROOT
from tests.deploy.compose_file import networks_of, services, settings_of
from tests.prepared import Prepared

FOLDER = PROJECT_ROOT / "deploy" / "grafana"
ROW = re.compile(r"^\| `(orchestration_\w+)` \| \w+ \| (.*?) \|", re.MULTILINE)
ADDED_BY_PROMETHEUS = {"le", "objective", "instance"}
BOARDS = sorted(DASHBOARDS.glob("*.json"))
READER = "dashboards_reader"

WITH_PROMTOOL = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed"
)


def test_there_is_a_dashboard_of_the_whole_of_a_domain_and_of_gateway_and_hosts():
    titles = [json.loads(file.read_text())["title"] for file in BOARDS]
    assert titles == ["Domain", "Gateway and hosts", "Overview", "Services"]


@pytest.mark.parametrize("file", BOARDS, ids=lambda file: file.stem)
def test_each_dashboard_links_to_the_log_lines_that_programs_send(file: Path):
    [link] = json.loads(file.read_text())["links"]
    [panes] = parse_qs(urlsplit(link["url"]).query)["panes"]
    [pane] = json.loads(panes).values()
    sources = {
        datasource["uid"]: urlsplit(datasource["url"]).hostname
        for file in (FOLDER / "datasources").glob("*.yaml")
        for datasource in yaml.safe_load(file.read_text())["datasources"]
        if "://" in datasource["url"]
    }
    store = sources[pane["datasource"]]
    assert store in services("full")
    sent_to = settings_of("gateway", "full")["OTEL_EXPORTER_OTLP_LOGS_ENDPOINT"]
    assert urlsplit(sent_to).hostname == store
    shared = networks_of(services()[str(store)])
    for name in ("gateway", "daemon", "code-server", "worker", "bridge", "grafana"):
        assert networks_of(services()[name]) & shared, name


@pytest.mark.slow
@WITH_PROMTOOL
def test_dashboards_and_rules_keep_the_schema_and_name_metrics_that_there_are():
    assert static_problems(known_metrics()) == []
    assert len(every_query()) > 50


@pytest.mark.slow
@pytest.mark.parametrize("file", BOARDS, ids=lambda file: file.stem)
def test_each_selector_and_legend_has_labels_of_its_metric(file: Path):
    known = {
        name: set(re.findall(r"`(\w+)`", labels)) for name, labels in ROW.findall(metrics_page())
    }
    for panel in json.loads(file.read_text())["panels"]:
        for target in panel["targets"]:
            if "expr" not in target:
                continue
            names = re.findall(r"orchestration_\w+", target["expr"])
            if not names:  # of an exporter
                continue
            allowed = ADDED_BY_PROMETHEUS | {
                label
                for name in names
                for part in ("", "_bucket", "_count", "_total")
                for label in known.get(name.removesuffix(part) if part else name, set())
            }
            selectors = "".join(re.findall(r"\{(.*?)\}", target["expr"]))
            labels = set(re.findall(r"(\w+)=", selectors))
            labels |= set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            assert labels <= allowed, panel["title"]


def copies(folder: Path) -> tuple[Path, Path]:
    return (
        Path(shutil.copytree(DASHBOARDS, folder / "dashboards")),
        Path(shutil.copytree(RULES, folder / "rules")),
    )


@pytest.mark.slow_after_first
@WITH_PROMTOOL
@pytest.mark.parametrize(
    ("file", "old", "new", "found"),
    [
        (
            "dashboards/overview.json",
            "orchestration_queue_runs",
            "orchestration_que_runs",
            "overview.json: Queued and running runs: unknown metric orchestration_que_runs",
        ),
        (
            "dashboards/domain.json",
            "label_values(orchestration_domain_state",
            "label_values(orchestration_domains",
            "domain.json: variable domain: unknown metric orchestration_domains",
        ),
        ("dashboards/gateway.json", '"timeseries"', '"timeserie"', "gateway.json: $.panels[0]"),
        ("dashboards/gateway.json", '"uid"', '"uid', "gateway.json: invalid JSON"),
        ("rules/recorded.yml", "sum by (le) (", "sum by (le ((", "recorded.yml: "),
        (
            "rules/objectives.yml",
            "orchestration_objective_age_seconds",
            "orchestration_objective_years",
            "ObjectivesNotEvaluated: unknown metric orchestration_objective_years",
        ),
        (
            "rules/recorded.yml",
            "orchestration:gateway_errors",
            "orchestration:gateway_faults",
            "Share of errors: unknown metric orchestration:gateway_errors:ratio_rate5m",
        ),
    ],
)
def test_a_wrong_name_or_rule_is_refused_by_name(tmp_path, file, old, new, found):
    dashboards, rules = copies(tmp_path)
    changed = tmp_path / file
    text = changed.read_text()
    assert old in text
    changed.write_text(text.replace(old, new, 1))
    problems = static_problems(known_metrics(), dashboards, rules)
    assert any(found in problem for problem in problems), problems


def test_a_suffix_of_a_histogram_is_known_and_another_is_not():
    known = {"orchestration_load_seconds"}
    assert unknown_metrics(Query("a", "orchestration_load_seconds_bucket"), known) == []
    assert unknown_metrics(Query("a", "orchestration_load_seconds_max"), known) == [
        "a: unknown metric orchestration_load_seconds_max"
    ]


def test_data_sources_are_services_and_files_lie_where_grafana_reads_them():
    files = [FOLDER / "datasources" / f"{name}.yaml" for name in ("metrics", "database")]
    sources = [
        datasource
        for file in files
        for datasource in yaml.safe_load(file.read_text())["datasources"]
    ]
    hosts = {re.split(r"[/:]+", source["url"].removeprefix("http://"))[0] for source in sources}
    assert hosts <= services("full").keys()
    [provider] = yaml.safe_load((FOLDER / "dashboards" / "provider.yaml").read_text())["providers"]
    mounts = dict(volume.split(":")[:2] for volume in services()["grafana"]["volumes"])
    assert provider["options"]["path"] == mounts["../grafana/dashboards"]
    rules = dict(volume.split(":")[:2] for volume in services()["prometheus"]["volumes"])
    assert rules["../prometheus/rules"] == "/etc/prometheus/rules"


@pytest.fixture
def reader(prepared: Prepared):
    """Connections of the owner of the tables and of the role of dashboards."""
    with prepared.schema() as (url, schema):
        with Warehouse(url, clock=Clock(), schema=schema) as warehouse:
            warehouse.prepare(holds="real")
        place = make_url(url).set(drivername="postgresql")
        address = place.render_as_string(hide_password=False)
        options = f"-c search_path={schema}"
        with psycopg.connect(address, autocommit=True, options=options) as owner:
            text = (FOLDER / "reader.sql").read_text()
            for _ in range(2):
                owner.execute(text.encode())
            password = "of_dashboards"
            statement = sql.SQL("ALTER ROLE {} PASSWORD {}")
            owner.execute(statement.format(sql.Identifier(READER), sql.Literal(password)))
            own = place.set(username=READER, password=password)
            try:
                with psycopg.connect(
                    own.render_as_string(hide_password=False), autocommit=True
                ) as found:
                    yield found, schema
            finally:
                owner.execute(f"DROP OWNED BY {READER}".encode())
                owner.execute(f"DROP ROLE {READER}".encode())
                owner.execute(b"DROP SCHEMA dashboards CASCADE")


def test_the_role_of_dashboards_reads_views_and_nothing_else(reader):
    connection, schema = reader
    queries = [
        dashboard_query
        for file in BOARDS
        for dashboard_query in dashboard_queries(file)
        if dashboard_query.is_sql
    ]
    assert len(queries) >= 5
    for query in queries:
        assert connection.execute(query.text.encode()).description
    views = connection.execute(
        "SELECT table_name, table_type FROM information_schema.tables "
        "WHERE table_schema = 'dashboards'"
    ).fetchall()
    assert {kind for _, kind in views} == {"VIEW"}
    assert {f"dashboards.{name}" for name, _ in views} >= {
        name for query in queries for name in re.findall(r"dashboards\.\w+", query.text)
    }
    tables = [f"{schema}.{name}" for name in ("operations_runs", "access_keys", "inbox")]
    for refused in (
        *(f"TABLE {name}" for name in tables),
        "SELECT params FROM dashboards.runs",
        "SELECT error_message FROM dashboards.runs",
        "CREATE TABLE dashboards.x (a int)",
        "DELETE FROM dashboards.objectives",
    ):
        with pytest.raises(psycopg.errors.Error):
            connection.execute(refused.encode())
    readable = connection.execute(
        "SELECT count(*) FROM information_schema.tables WHERE table_schema = %s", [schema]
    ).fetchone()
    assert readable == (0,)
