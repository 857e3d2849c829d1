"""A secret in every setting and from every side; and then no file, table or line has one of them.

The sources echo whatever they are asked with, in the body and in headers, as bad ones do.
"""

import json
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from random import Random
from urllib.parse import quote
from uuid import uuid4

import dagster as dg
import psycopg
import pytest
from orchestration_demo.documents.corpus import FORMATS
from orchestration_demo.documents.story import Words, make_story
from sqlalchemy.engine import make_url

from orchestration_project.__main__ import main
from orchestration_project.engine.captures import Captures
from orchestration_project.engine.connections.artifacts import open_store
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.job_kinds import EXPORT_TABLES, LIST_ARTIFACTS
from orchestration_project.engine.tracing import spans
from orchestration_project.instance.storage import open_instance
from orchestration_project.resources.finra.connection import open_http
from orchestration_project.resources.prices.connection import opened_prices
from orchestration_project.resources.prices.source import PriceRange
from orchestration_project.settings import load_settings
from tests import programs
from tests.collector import Collector, collecting
from tests.commands import run_without_failure
from tests.domains.encrypted_xls import encrypted_xls
from tests.faults.publisher import Publisher, key_of, week_of
from tests.faulty_server import FaultyServer, Reply, Request
from tests.programs import free_port, from_then_on
from tests.receivers import Hook, http_receiver
from tests.resources.finra_server import TOKEN_PATH, as_json, is_page
from tests.runs import executed
from tests.secrets_planted import SECRET_SETTINGS, Planted, below, in_postgresql
from tests.sensors.test_operations import Watch

EXPORTED = (
    *("captures", "deliveries", "rejects", "operations_alerts", "operations_readiness"),
    *("operations_exports", "work_items"),
)
NOWHERE = free_port()

EXPORTS = """
targets:
  partner: {kind: webhook}
  mart: {kind: database}
  lake: {kind: s3, url: s3://bucket/prefix}
exports:
  sent: {table: database_labels, target: partner}
  copied: {table: database_labels, target: mart}
  kept: {table: database_labels, target: lake}
"""


@dataclass
class Echo:
    """FINRA, a token service, a bucket and others: what they refuse, they echo."""

    planted: Planted
    publisher: Publisher = field(default_factory=lambda: Publisher(2))
    refuses: bool = False
    pages_to_fail: int = 1
    requested: list[str] = field(default_factory=list)

    def __call__(self, request: Request) -> Reply:
        self.requested.append(f"{request.target} {request.headers}")
        if "/bucket/" in request.target:
            return echoed(403, request)
        if request.target.startswith("/query"):
            return echoed(200, request)
        if "/elsewhere" in request.target:
            return echoed(418, request)
        if self.refuses:
            return echoed(401, request)
        if request.target.startswith(TOKEN_PATH):
            return as_json({"access_token": self.planted.secret("access token")})
        if is_page(request) and self.pages_to_fail:
            self.pages_to_fail -= 1
            return echoed(503, request)
        return self.publisher(request)


def echoed(status: int, request: Request) -> Reply:
    request_data = {"target": request.target, **request.headers}
    quoted = quote(json.dumps(request_data))
    headers = {"Location": f"/{quoted}", "X-Echo": quoted, "WWW-Authenticate": quoted}
    # Often at its start, so that who quotes the first characters of it cuts within a secret.
    often = 20 * [request.headers.get("authorization", request.target)]
    body = json.dumps({"message": often, "asked": request_data, "again": json.dumps(request_data)})
    return Reply(status, headers | {"Retry-After": "0"}, body.encode())


@dataclass
class Installation:
    """One STATE_DIR, its surroundings, and all that was said."""

    state: Path
    planted: Planted
    source: FaultyServer
    echo: Echo
    hook: Hook
    collector: Collector
    environment: pytest.MonkeyPatch
    database_url: str
    dagster_url: str = ""
    said: list[tuple[str, str]] = field(default_factory=list)
    now_set: dict[str, str] = field(default_factory=dict)

    def set(self, **settings: str) -> None:
        for name, value in settings.items():
            self.now_set[name] = value
            self.environment.setenv(name, value)

    def unset(self, *names: str) -> None:
        for name in names:
            del self.now_set[name]
            self.environment.delenv(name)

    def run(self, *arguments: str) -> int:
        """Run a program as in a shell with these settings, to its end."""
        status, output, error = programs.run(self.state, *arguments, **self.now_set)
        self.record("a program", output + error)
        return status

    def record(self, what: str, text: object) -> None:
        self.said.append((what, str(text)))


PLANTING: dict[str, Callable[[Installation, str], str]] = {
    "alpha_vantage_api_key": lambda _, secret: secret,
    "finra_access_token": lambda _, secret: secret,
    "finra_bonds_access_token": lambda _, secret: secret,
    "finra_client_secret": lambda _, secret: secret,
    "analyst_database_url": lambda _, secret: (
        f"postgresql://analyst:{in_url(secret)}@127.0.0.1:{NOWHERE}/none"
    ),
    "broker_url": lambda _, secret: f"amqp://me:{in_url(secret)}@127.0.0.1:{NOWHERE}//",
    "database_url": lambda _, secret: f"postgresql://me:{in_url(secret)}@127.0.0.1:{NOWHERE}/none",
    "dagster_database_url": lambda _, secret: f"mysql://me:{in_url(secret)}@127.0.0.1/none",
    "alert_urls": lambda installation, secret: (
        f"info=json://me:{in_url(secret)}@127.0.0.1:{installation.hook.port}/{in_url(secret)},"
        f"nosuch://{in_url(secret)}"
    ),
    "chain_key": lambda _, secret: b64encode(secret.encode()[:15].ljust(32, b"x")).decode(),
    "oidc_client_secret": lambda _, secret: secret,
    "session_secret": lambda _, secret: f"{secret} {secret}",  # has to be long
    "peopleforce_api_key": lambda _, secret: secret,
    "documents_passwords": lambda _, secret: f"another password\n{secret}",
    "jira_token": lambda _, secret: secret,
    "otel_exporter_otlp_headers": lambda _, secret: f"x-api-key={in_url(secret)}",
    "mqtt_password": lambda _, secret: secret,
    "web_mask_key": lambda _, secret: secret,
    "web_proxies": lambda _, secret: f"http://me:{in_url(secret)}@127.0.0.1:{NOWHERE}",
    "slack_webhook": lambda _, secret: f"json://127.0.0.1:{NOWHERE}/{in_url(secret)}",
}
"""Value of each secret setting; a new one has to be given a place here, and in the play."""


OF_THE_GATEWAY = ("OIDC_CLIENT_SECRET", "SESSION_SECRET")
OF_TWO_SYSTEMS = ("PEOPLEFORCE_API_KEY", "JIRA_TOKEN")
FROM_THE_START = (
    *(
        "ALERT_URLS",
        "ANALYST_DATABASE_URL",
        "BROKER_URL",
        "MQTT_PASSWORD",
        "SLACK_WEBHOOK",
        "WEB_MASK_KEY",
        "CHAIN_KEY",
        "WEB_PROXIES",
    ),
    "OTEL_EXPORTER_OTLP_HEADERS",
    *(*OF_THE_GATEWAY, *OF_TWO_SYSTEMS),
)


def in_url(secret: str) -> str:
    return quote(secret, safe="")


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installation]:
    planted = Planted()
    echo = Echo(planted)
    state = tmp_path / "state"
    with FaultyServer(echo) as source, http_receiver() as hook, collecting() as collector:
        url = f"sqlite:///{state}/real.sqlite"
        installation = Installation(state, planted, source, echo, hook, collector, monkeypatch, url)
        installation.set(
            STATE_DIR=str(state),
            DEMO_CLOCK_NOW=from_then_on("2026-03-02T15:00"),
            FINRA_SOURCE="api",
            FINRA_API_URL=source.url,
            FINRA_FIRST_WEEK=week_of(0),
            FINRA_TOKEN_URL=f"{source.url}{TOKEN_PATH}".replace(
                "//", f"//me:{planted.in_url('token url')}@"
            ),
            FINRA_CLIENT_ID="client",
            FINRA_MAX_REJECT_RATIO="0.1",
            FINRA_REQUESTS_PER_SECOND="500",
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
            PUBLIC_URL=f"http://me:{planted.in_url('ui url')}@127.0.0.1:3000",
            AWS_ACCESS_KEY_ID="AKIAEXAMPLE",
            AWS_SECRET_ACCESS_KEY=planted.secret("aws secret"),
            AWS_SESSION_TOKEN=planted.secret("aws token"),
            AWS_ENDPOINT_URL=source.url,
            AWS_ALLOW_HTTP="true",
            AWS_REGION="us-east-1",
            PGPASSWORD=planted.secret("pgpassword"),
            NO_PROXY="127.0.0.1",
            HTTPS_PROXY=f"http://me:{planted.in_url('proxy')}@127.0.0.1:{NOWHERE}",
            OIDC_DISCOVERY_URL=f"{source.url}/openid",
            OIDC_CLIENT_ID="gateway",
            SAAS_SOURCE="api",
            PEOPLEFORCE_URL=f"{source.url}/peopleforce",
            JIRA_URL=f"{source.url}/jira",
            JIRA_EMAIL="robot@example.org",
            **{name: value_of(installation, name) for name in FROM_THE_START},
            FINRA_CLIENT_SECRET=value_of(installation, "FINRA_CLIENT_SECRET"),
        )
        spans.forget_settings()
        yield installation
        spans.forget_settings()


def value_of(installation: Installation, name: str) -> str:
    where = name.lower()
    return PLANTING[where](installation, installation.planted.secret(where))


def load(instance: dg.DagsterInstance, *, forced: bool = False) -> bool:
    tags = {"dagster/partition": key_of(0)}
    gate = {"gate": {"config": {"force": forced}}}
    return executed(instance, "finra_otc_weekly", tags=tags, resources=gate).success


def alerted(installation: Installation, watch: Watch) -> None:
    installation.record("tick", watch.tick_and_expect_skip())
    installation.record("tick", watch.deliver())


def asking(installation: Installation) -> dg.AssetsDefinition:
    """Return a source of somebody's, with a key in its URL, whose errors quote what they got."""
    url = f"{installation.source.url}/elsewhere?api_key={installation.planted.in_url('query')}"
    header = {"X-Api-Token": installation.planted.secret("header")}

    @dg.asset
    def elsewhere(context: dg.AssetExecutionContext) -> None:
        with open_http(load_settings()) as http:
            response = http.request("GET", url, headers=header)
        context.log.info(f"it said {response.headers}")
        context.add_output_metadata({"asked": url})
        raise ValueError(f"no answer that can be used: {response.body!r}")

    return elsewhere


@dg.asset
def prices() -> None:
    """Asks a vendor whose key stands in the URL, and who echoes it with status 200."""
    settings = load_settings()
    captures = Captures(open_store(settings))
    requested = PriceRange("AAPL", date(2026, 2, 2), date(2026, 2, 27))
    with opened_prices(settings, captures, Clock()) as source:
        source.fetch(requested, [])


def play_and_check(installation: Installation) -> None:
    """Do what operators do, while everything fails that can."""
    with open_instance() as instance:
        watch = Watch(instance, installation.database_url)
        assert load(instance)
        assert installation.echo.pages_to_fail == 0
        installation.echo.refuses = True
        assert not load(instance)
        assert not load(instance, forced=True)
        installation.set(LOG_FORMAT="json")
        dg.materialize([asking(installation)], instance=instance, raise_on_error=False)
        expect_failure_with_prices(installation, instance)
        alerted(installation, watch)
        expect_failure_with_a_bearer_token(installation, instance)
        expect_failure_with_a_licensed_feed(installation, instance)
        expect_failure_with_a_password_in_the_url(installation, instance)
        typed = installation.planted.secret("finra_client_secret")
        typed += " ".join(value_of(installation, name) for name in OF_THE_GATEWAY)
        preset = {"preset": "full", "who": "ada", "why": typed, "dry_run": False}
        config = {"edit_definitions": {"config": {"apply_preset": preset}}}
        assert executed(
            instance, "operations_definitions_edit", ops=config, tags={"note": typed}
        ).success
        expect_failure_with_a_bucket(installation, instance)
        export_and_expect_success(installation, instance)
        load_documents_and_expect_status(installation, instance)
        assert not executed(instance, "saas_reconcile").success
        assert executed(instance, "operations_checks").success
        listed = LIST_ARTIFACTS.run_config({})
        assert executed(instance, LIST_ARTIFACTS.job, **listed).success
        alerted(installation, watch)
        run_and_check_commands(installation)
        expect_failure_without_a_database(installation, instance, watch)


def expect_failure_with_prices(installation: Installation, instance: dg.DagsterInstance) -> None:
    installation.set(PRICES_SOURCE="alpha_vantage", ALPHA_VANTAGE_API_URL=installation.source.url)
    installation.set(ALPHA_VANTAGE_API_KEY=value_of(installation, "ALPHA_VANTAGE_API_KEY"))
    assert not dg.materialize([prices], instance=instance, raise_on_error=False).success
    installation.unset("PRICES_SOURCE", "ALPHA_VANTAGE_API_URL", "ALPHA_VANTAGE_API_KEY")


def expect_failure_with_a_bearer_token(
    installation: Installation, instance: dg.DagsterInstance
) -> None:
    installation.set(FINRA_ACCESS_TOKEN=value_of(installation, "FINRA_ACCESS_TOKEN"))
    assert not load(instance, forced=True)
    installation.unset("FINRA_ACCESS_TOKEN")


def expect_failure_with_a_licensed_feed(
    installation: Installation, instance: dg.DagsterInstance
) -> None:
    key = value_of(installation, "FINRA_BONDS_ACCESS_TOKEN")
    installation.set(FINRA_BONDS_API_URL=installation.source.url, FINRA_BONDS_ACCESS_TOKEN=key)
    tags = {"dagster/partition": "T1|2026-02-20"}
    gate = {"gate": {"config": {"force": True}}}
    job = "finra_bond_trade_activity"
    assert not executed(instance, job, tags=tags, resources=gate).success
    installation.unset("FINRA_BONDS_API_URL", "FINRA_BONDS_ACCESS_TOKEN")


def expect_failure_with_a_password_in_the_url(
    installation: Installation, instance: dg.DagsterInstance
) -> None:
    password = installation.planted.in_url("api url")
    installation.unset("FINRA_CLIENT_ID", "FINRA_CLIENT_SECRET")
    installation.set(FINRA_API_URL=installation.source.url.replace("//", f"//me:{password}@"))
    assert not load(instance, forced=True)
    installation.set(FINRA_API_URL=installation.source.url, FINRA_CLIENT_ID="client")
    installation.set(FINRA_CLIENT_SECRET=value_of(installation, "FINRA_CLIENT_SECRET"))


def expect_failure_with_a_bucket(installation: Installation, instance: dg.DagsterInstance) -> None:
    installation.set(ARTIFACTS_URL="s3://bucket/prefix")
    assert not load(instance)
    assert main(["verify", "--send-test"]) == 1
    installation.unset("ARTIFACTS_URL")


def export_and_expect_success(installation: Installation, instance: dg.DagsterInstance) -> None:
    """Export to targets that quote what they are sent, and to one that is not there."""
    (installation.state / "exports.yaml").write_text(EXPORTS)
    secret, password = (
        installation.planted.secret("export secret"),
        installation.planted.in_url("export to"),
    )
    path = installation.planted.in_url("export url")
    installation.set(
        EXPORTS_FILE=str(installation.state / "exports.yaml"),
        HTTP_ALLOWED_NETWORKS="127.0.0.0/8",
        EXPORT_SECRET_PARTNER=f"whsec_{b64encode(secret.encode()).decode()}",
        EXPORT_URL_PARTNER=f"{installation.source.url}/{path}?token={path}",
        EXPORT_URL_MART=f"postgresql://me:{password}@127.0.0.1:{NOWHERE}/none",
    )
    assert executed(instance, "operations_export", **EXPORT_TABLES.run_config({})).success
    own = ("EXPORT_SECRET_PARTNER", "EXPORT_URL_PARTNER", "EXPORT_URL_MART")
    installation.unset("EXPORTS_FILE", "HTTP_ALLOWED_NETWORKS", *own)


def load_documents_and_expect_status(
    installation: Installation, instance: dg.DagsterInstance
) -> None:
    """Load a workbook that none of the passwords opens."""
    folder = installation.state.parent / "inbox"
    folder.mkdir(exist_ok=True)
    write, _ = FORMATS["xls"]
    workbook = write(make_story(Random(1), Words(Random(1)), sections=1))  # noqa: S311 - no secret
    (folder / "a.xls").write_bytes(encrypted_xls(workbook, "of another", "RC4"))
    passwords = value_of(installation, "DOCUMENTS_PASSWORDS")
    installation.set(
        DOCUMENTS_SOURCE="folder", DOCUMENTS_DIR=str(folder), DOCUMENTS_STABLE_SECONDS="0"
    )
    installation.set(DOCUMENTS_PASSWORDS=passwords)
    tags = {"dagster/partition": "2026-03-02"}
    assert executed(instance, "documents_load", tags=tags).success
    assert main(["documents", "show", str(folder / "a.xls")]) == 1
    own = ("DOCUMENTS_SOURCE", "DOCUMENTS_DIR", "DOCUMENTS_STABLE_SECONDS")
    installation.unset(*own, "DOCUMENTS_PASSWORDS")


def run_and_check_commands(installation: Installation) -> None:
    assert main(["verify"]) == 1
    assert main(["alerts", "list"]) == 0
    assert main(["alerts", "test"]) == 1
    for table in EXPORTED:
        file = installation.state / "exports" / f"{table}.csv"
        file.parent.mkdir(exist_ok=True)
        assert main(["export", table, "--output", str(file)]) == 0
    with_a_bundle(installation, "bundle")
    other = f"postgresql://me:{installation.planted.in_url('copy to')}@127.0.0.1:{NOWHERE}/none"
    assert main(["copy-database", "--to", other]) == 1


def with_a_bundle(installation: Installation, name: str) -> None:
    """Write a support bundle, which the end of the test unpacks."""
    run_without_failure("support-bundle", "--output", str(installation.state / f"{name}.zip"))


def expect_failure_without_a_database(
    installation: Installation, instance: dg.DagsterInstance, watch: Watch
) -> None:
    installation.set(DATABASE_URL=value_of(installation, "DATABASE_URL"))
    installation.record("tick", watch.tick_and_expect_skip())
    assert main(["verify"]) == 1
    with_a_bundle(installation, "bundle without a database")
    installation.set(DATABASE_URL=installation.database_url)
    installation.set(DAGSTER_DATABASE_URL=value_of(installation, "DAGSTER_DATABASE_URL"))
    assert main(["verify"]) == 1
    installation.unset("DAGSTER_DATABASE_URL")
    if installation.dagster_url:
        installation.set(DAGSTER_DATABASE_URL=installation.dagster_url)


def run_and_check_programs(installation: Installation) -> None:
    """Do it in processes of their own, that write to their own consoles and compute logs."""
    installation.echo.refuses = False
    installation.echo.pages_to_fail = 1
    assert installation.run("orchestration_project", "run", "--weeks", "2") == 0
    installation.echo.refuses = True
    tags = json.dumps({"dagster/partition": key_of(0)})
    job = ("-m", "orchestration_project.definitions", "-j", "finra_otc_weekly", "--tags", tags)
    assert installation.run("dagster", "job", "execute", *job) == 1
    installation.set(DATABASE_URL=value_of(installation, "DATABASE_URL"))
    assert installation.run("dagster", "job", "execute", *job) == 1


def assert_they_travelled(installation: Installation) -> None:
    """The secrets were sent where they belong, or none of this would show anything."""
    sent = installation.planted.found_in("\n".join(installation.echo.requested))
    wanted = {
        "finra_client_secret",
        "access token",
        "finra_access_token",
        "api url",
        "query",
        "header",
        "export url",
    }
    wanted |= {"alpha_vantage_api_key", "finra_bonds_access_token", "peopleforce_api_key"}
    assert sent >= wanted | {"aws token"}
    assert installation.planted.found_in("".join(installation.hook.paths)) == {"alert_urls"}
    spans.flush(20)
    assert {span.name for span in installation.collector.spans} >= {"run", "step", "http", "load"}
    keys = "".join(header.get("x-api-key", "") for header in installation.collector.headers)
    assert installation.planted.found_in(keys) == {"otel_exporter_otlp_headers"}
    assert {"The database cannot be used: nothing loads, and alerts wait"} <= set(
        installation.hook.titles
    )
    assert installation.planted.marks.keys() >= SECRET_SETTINGS


def assert_nothing_leaked(installation: Installation, *more: tuple[str, str]) -> None:
    received = ("received", json.dumps(installation.hook.received))
    sent = [("spans", line) for line in installation.collector.raw]
    written = [*below(installation.state), *installation.said, received, *sent, *more]
    assert installation.planted.leaks(written) == {}


def assert_something_was_masked(installation: Installation) -> None:
    masked = [
        place for place, content in below(installation.state) if b"***" in content_of(content)
    ]
    members = [f"bundle.zip, support-bundle/{name}.json" for name in ("settings", "failed_runs")]
    for place in ("dagster/history/runs.db", "compute_logs", "index.db", "real.sqlite", *members):
        assert [text for text in masked if place in text], f"nothing was masked in {place}"


def content_of(content: bytes | str) -> bytes:
    return content.encode() if isinstance(content, str) else content


def test_a_new_secret_setting_is_planted_here_too():
    assert PLANTING.keys() == SECRET_SETTINGS


def database_with_password(server: str, password: str) -> str:
    name = f"planted_{uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
    url = make_url(server).set(database=name, password=password)
    return url.render_as_string(hide_password=False)


@pytest.mark.slow
def test_nor_is_one_written_by_programs_or_to_postgresql(
    installation: Installation, postgres_server: str, capfd
):
    secrets = [
        installation.planted.secret(name) for name in ("database_url", "dagster_database_url")
    ]
    installation.database_url, installation.dagster_url = (
        database_with_password(postgres_server, secret) for secret in secrets
    )
    installation.set(
        DATABASE_URL=installation.database_url, DAGSTER_DATABASE_URL=installation.dagster_url
    )
    play_and_check(installation)
    run_and_check_programs(installation)
    assert_they_travelled(installation)
    shown = capfd.readouterr()
    tables = [*in_postgresql(installation.database_url), *in_postgresql(installation.dagster_url)]
    assert [name for name, rows in tables if "***" in rows and name.endswith("event_logs")]
    assert_nothing_leaked(installation, *tables, ("stdout", shown.out), ("stderr", shown.err))


@pytest.mark.slow
def test_no_secret_is_written_down_anywhere_whatever_fails(
    installation: Installation, capfd, caplog
):
    play_and_check(installation)
    assert_they_travelled(installation)
    shown = capfd.readouterr()
    assert_something_was_masked(installation)
    assert_nothing_leaked(
        installation, ("stdout", shown.out), ("stderr", shown.err), ("log", caplog.text)
    )
