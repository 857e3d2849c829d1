"""Statements that Db2 would get, in its dialect; no server of it is part of the tests.

Every statement that the spine sends to a database without a path of its own is collected while
whole runs, replays, alerts, exports and a copy pass, and is written as Db2's dialect writes it.
"""

import re
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from sqlalchemy import (
    Column,
    Connection,
    Engine,
    MetaData,
    Table,
    Text,
    cast,
    event,
    select,
    text,
)
from sqlalchemy.schema import CreateTable

from orchestration_project import Daily, Dataset, Field, file_source
from orchestration_project.catalog import REGISTRY
from orchestration_project.definitions import defs
from orchestration_project.domains.finra.tables.weekly import finra_otc_weekly
from orchestration_project.domains.saas.events import TaskEvent
from orchestration_project.engine.connections.artifacts import FolderStore
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.connections.simulator import stop_demos
from orchestration_project.engine.contracts.frame_types import QUANTITY
from orchestration_project.engine.contracts.presets import Preset
from orchestration_project.engine.contracts.problems import Problem
from orchestration_project.engine.contracts.roles import Principal, Role
from orchestration_project.engine.contracts.values import MAX_TEXT_BYTES, derive_schema
from orchestration_project.engine.contracts.webhooks.sources import WebhookSource
from orchestration_project.engine.contracts.work_items import ItemSettlement, NewItem
from orchestration_project.engine.dlt_states import STATE, append_state, start_state
from orchestration_project.engine.environment import open_warehouse
from orchestration_project.engine.own.contracts import declare_table
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.connecting import find_sql_state, parse_url
from orchestration_project.engine.warehouse.db2 import DOCUMENTS, TEXT_BYTES, Db2Dialect
from orchestration_project.engine.warehouse.frames import build_frame, insert_frame
from orchestration_project.engine.work_items import WorkItems
from orchestration_project.errors import ConfigurationError
from orchestration_project.migrations import VERSION_TABLE
from orchestration_project.resources.mqtt.arrivals import insert_arrivals
from orchestration_project.resources.mqtt.batching import ReceivedMessage
from orchestration_project.resources.saas.reconciling import Reconciler
from orchestration_project.resources.saas.rules import edit, revalidate, tried
from orchestration_project.resources.saas.runs import poll_all
from orchestration_project.resources.saas.standing import standing
from orchestration_project.resources.saas.ticks import Ticks
from orchestration_project.services.access import (
    Access,
    AccessLog,
    AccessLogEntry,
    Keys,
    KnownCaller,
)
from orchestration_project.services.access.approvals import ApprovalDemand, Approvals
from orchestration_project.services.access.rules.credentials import LoginLimits
from orchestration_project.services.alerts.rules.decisions import AlertDecision
from orchestration_project.services.alerts.rules.messages import Message
from orchestration_project.services.attention.marks import Marks
from orchestration_project.services.attention.reading import AttentionReader
from orchestration_project.services.cleanup.removing import Plan, Retention, clean_up, plan_cleanup
from orchestration_project.services.cleanup.rules import File
from orchestration_project.services.inbox.rows import Inbox, NewDelivery
from orchestration_project.services.inbox.uploads import NewFile, UploadRefusals
from orchestration_project.services.inbox.work import InboxQueue, plan_delivery
from orchestration_project.services.inventory import read_captures, take_inventory
from orchestration_project.services.ledger import Ledger
from orchestration_project.services.ledger.control_tower import read_observation, write_tower
from orchestration_project.services.ledger.rules.entries import RunFacts, StepFacts
from orchestration_project.services.ledger.rules.standings import build_rows, evaluate_health
from orchestration_project.services.ledger.sessions import SessionFilter, read_sessions
from orchestration_project.services.pauses import Pauses
from orchestration_project.services.presets import Presets
from orchestration_project.services.probes import open_alerts
from orchestration_project.settings import load_settings
from orchestration_project.tables.access import access_audit
from orchestration_project.tables.schema import HISTORY, METADATA
from orchestration_project.tables.views import VIEWS
from tests import another  # noqa: F401 - registers the database
from tests.commands import run_without_failure
from tests.domains.saas_tasks import rule
from tests.own.file_loading import FileLoading
from tests.programs import DEMO
from tests.resources.mqtt_syncs import NOON, MqttSync, message
from tests.resources.saas_systems import PROJECT, systems_in_memory
from tests.resources.weeks import FAILED, MONDAY, PartitionLoader, rejected, row
from tests.webhook_runs import load_content

WEEK = "2026-01-26"
OWN_TO_SQLITE = ("PRAGMA ", "SELECT sql FROM", "SELECT name FROM")
"""How the stand-in looks up which tables there are; Db2's dialect has its own way."""


WRITTEN_BY_OTHER_TESTS = (
    *("finra_symbol_anomalies_week", "finra_symbol_movers_week", "finra_venue_movers_week"),
    *("finra_symbols", "finra_symbol_changes", "finra_symbol_renames", "prices_symbol_spellings"),
    *(
        "finra_venue_week_all_tiers",
        "documents_similarity",
        "http_counts",
        "http_hosts",
        "http_quotas",
    ),
    *("operations_erasure_requests", "operations_erasures", "operations_exports", "uploads"),
    *("events_routed", "events_routed_rows", "events_routing_dead_letters"),
    *("events_routing_rules", "mqtt_bridges", "mqtt_component_dependencies", "mqtt_components"),
    *("mqtt_metrics", "mqtt_tasks", "operations_schedule_launches"),
    *("operations_backups", "operations_damaged_artifacts"),
    *("operations_flag_versions", "operations_flags", "operations_hosts"),
    *("operations_schedule_versions", "operations_schedules"),
    *("operations_host_samples", "operations_slo", "operations_slo_days"),
    "operations_slo_samples",
    *("plugins", "plugins_calls", "plugins_grants", "plugins_publishers"),
    *("plugins_versions", "plugins_violations"),
    *("web_changes", "web_proposals", "web_switches"),
)
DOCUMENT_COUNT = 40
OWN_TABLES = ("parts", "parts_history", "pieces", "pieces_history")
WEEKLY = finra_otc_weekly.name


def run_job_without_failure(name: str, *partitions: str, replay: bool = False) -> None:
    tags = (
        {
            "dagster/asset_partition_range_start": partitions[0],
            "dagster/asset_partition_range_end": partitions[-1],
        }
        if partitions
        else {}
    )
    with dg.DagsterInstance.ephemeral() as instance:
        ended = defs.resolve_job_def(name).execute_in_process(
            instance=instance,
            raise_on_error=False,
            tags=tags,
            run_config={"ops": {f"{name}_load": {"config": {"replay": True}}}} if replay else {},
        )
    assert ended.success, name


def run_all(folder: Path) -> None:
    """Load, derive, draw, look, replay and export, as people do."""
    for tier in ("T1", "T2", "OTCE"):
        run_job_without_failure("finra_otc_weekly", f"{tier}|{WEEK}")
    run_job_without_failure("finra_otc_weekly", f"T1|{WEEK}", replay=True)
    run_job_without_failure("finra_gold", f"T1|{WEEK}")
    run_job_without_failure("finra_tier_week", WEEK)
    run_job_without_failure("finra_daily")
    run_job_without_failure("prices_daily", "2026-01-01", "2026-02-01")
    run_job_without_failure("prices_gold")
    run_job_without_failure("cboe_market_volume_daily", WEEK, "2026-01-30")
    run_job_without_failure("cboe_off_exchange_share_weekly", WEEK)
    run_job_without_failure("finra_symbol_week_value", WEEK)
    run_job_without_failure("finra_symbol_week_short", WEEK)
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("ALERT_URLS")  # nothing listens there, so nothing would be verified
        run_job_without_failure("operations_checks")
    run_without_failure(
        "export", "v_finra_otc_weekly", "--where", "tier=T1", "--output", f"{folder}/a"
    )
    as_of = ["as-of", "finra_otc_weekly", "--at", "2026-03-01T00:00:00Z"]
    run_without_failure(*as_of, "--output", f"{folder}/b")


def check_alerts() -> None:
    """Raise, repeat, deliver, list and settle alerts."""
    alerts = open_alerts(load_settings())
    bad = frozenset([Problem("failed", "finra/otc_weekly", f"T1|{WEEK}")])

    def words(decision: AlertDecision) -> list[Message]:
        return [Message("failed", "error", "it failed", "why", decision.raised)]

    with alerts.inbox() as inbox:
        inbox.take("a", bad, lambda _: False, words)
        inbox.take("b", bad, lambda _: False, lambda _: [])
        assert inbox.take("a", bad, lambda _: False, words) == []
        assert alerts.deliver(inbox)[1]
        assert inbox.standing()[0].repeated_count == 1
        assert inbox.waiting()
        inbox.take("c", frozenset(), lambda _: True, lambda _: [])


def restate(folder: Path) -> None:
    """Load, restate, quarantine and refuse a partition, query its past, and copy everything."""
    with open_warehouse(load_settings()) as warehouse:
        partition_loader = PartitionLoader(
            warehouse, folder, tier="T2", week_start=MONDAY - timedelta(days=70)
        )
        partition_loader.write_batch(*(row(f"A{n}") for n in range(12)), rejects=rejected(7))
        partition_loader.write_batch(*(row(f"A{n}") for n in range(11)), row("A12"), version="v2")
        with pytest.raises(Exception, match="is quarantined"):
            partition_loader.write_batch(row("ZZZ"), version="v3", audits=[FAILED])
        warehouse.record_refused(partition_loader.target(), partition_loader.delivery("v4"))
        warehouse.known_versions(finra_otc_weekly)
        warehouse.replayable(finra_otc_weekly)
        with Warehouse(f"another:///{folder}/copy.db", clock=Clock()) as copy:
            copy.fill_from(warehouse)


def load_documents() -> None:
    """Load a few documents, as the job does."""
    with pytest.MonkeyPatch.context() as constants:
        constants.setattr("orchestration_project.catalog.documents.DEMO_COUNT", DOCUMENT_COUNT)
        run_job_without_failure("documents_load", "2026-03-02")


def crawl_a_site() -> None:
    """Crawl the shop of the demo, as the job does."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("DEMO_SHOP_PRODUCTS", "20")
        run_job_without_failure("web_shop", "2026-03-02")


def mirror_events(folder: Path) -> None:
    """Receive, mirror and fold messages of a broker, of which one is dead and one comes twice."""
    other = message("b", "project.created", {"project_id": "p2", "name": "b"})
    received = [
        ReceivedMessage("tracker/events/projects/p1", 1, False, False, body, NOON, number)
        for number, body in enumerate((message("a"), message("a"), other, b"no JSON"), start=1)
    ]
    with open_warehouse(load_settings()) as warehouse:
        with warehouse.writing() as connection:
            insert_arrivals(connection, "broker:1883", received, max_bytes=10_000)
        MqttSync(warehouse, Clock(), folder / "mqtt").run_and_expect_all_settled()


def declare() -> None:
    """Put a row into tables of datasets and prices: they load, and are kept, as the weekly one.

    And into tables whose own statements `test_exports`, `test_erasure`, `test_uploads` and
    `test_http_state` execute.
    """
    values = {
        pl.Date(): MONDAY,
        pl.Int64(): 1,
        pl.Float64(): 0.5,
        QUANTITY: Decimal(1),
        pl.String(): "x",
        pl.Boolean(): True,
        pl.Datetime("us", "UTC"): Clock().now(),
    }
    with open_warehouse(load_settings()) as warehouse, warehouse.writing() as connection:
        tables = [
            table.table for table in REGISTRY.tables.values() if table.table is not finra_otc_weekly
        ]
        declared = [versioned for table in tables for versioned in (table, table.info[HISTORY])]
        declared += [METADATA.tables[name] for name in WRITTEN_BY_OTHER_TESTS]
        for table in declared:
            one = {name: values[kind] for name, kind in derive_schema(table).items()}
            insert_frame(connection, table, build_frame([one], table))


def check_ledger() -> None:
    """Record runs, list sessions, look from the tower, and apply a preset."""
    at = Clock().now()
    load = StepFacts("load", "SUCCESS", ["finra/otc_weekly"], at, at, 1)
    facts = RunFacts("run", "finra_otc_weekly", "SUCCESS", at, at, at, at, steps=[load])
    with open_warehouse(load_settings()) as warehouse:
        ledger = Ledger(warehouse, Clock())
        ledger.record([facts, replace(facts, run_id="gone", ended_at=None)])
        ledger.mark_gone(ledger.under_way())
        assert ledger.known(["run"]) == {"run": at}
        assert len(read_sessions(warehouse, SessionFilter(at, "finra", "COMPLETED"))) == 1
        found = evaluate_health(read_observation(warehouse, at), [], now=at, machine_now=at)
        write_tower(warehouse, build_rows(found, at))
        standard = Preset("standard", "finra_otc_weekly", {})
        assert Presets(warehouse, Clock()).apply(standard, user="I", reason="so", run_id="run")


def check_webhooks(folder: Path) -> None:
    """Take deliveries in, work on them, load one under two kinds, and replay it."""
    first = NewDelivery("git", "1", None, b"{}", {}, 1)
    with open_warehouse(load_settings()) as warehouse, dg.instance_for_test() as instance:
        taken = Inbox(warehouse, Clock()).take([first, replace(first, body=b"[]")])
        assert taken == ["stored", "changed"]
        assert Inbox(warehouse, Clock()).waiting_count(9) == 1
        work = InboxQueue(warehouse, Clock())
        [row] = work.dispatch(instance, {"git": WebhookSource(scheme="github")}).due
        tags = plan_delivery(row, "events_webhooks").tags
        job_of_it = defs.resolve_job_def("events_webhooks")
        instance.create_run_for_job(job_of_it, status=dg.DagsterRunStatus.FAILURE, tags=tags)
        assert not work.dispatch(instance, {"git": WebhookSource(scheme="github")}).due
        assert work.put_back("git", None, attempts=1)
        content = work.content("git", "1")
        store = FolderStore(folder / "hooks")
        assert load_content(warehouse, Clock(), store, content).state == "done"
        assert (
            load_content(warehouse, Clock(), store, replace(content, kind="push")).state == "done"
        )


def check_work_items() -> None:
    """Enqueue items in two versions, claim, settle, lose and retry them, and list them."""
    with open_warehouse(load_settings()) as warehouse:
        items, until = WorkItems(warehouse, Clock()), Clock().now() + timedelta(minutes=1)
        assert items.enqueue("x", [NewItem("a", "1"), NewItem("b", "1")]) == 2
        assert items.enqueue("x", [NewItem("a", "2")]) == 1
        claims = {"limit": 1, "run_id": "run", "until": until}
        [b] = items.claim("x", **claims)
        [a] = items.claim("x", **claims)
        assert items.claim("x", **claims, in_order=True) == []
        with warehouse.writing() as connection:
            assert not items.settle(connection, [ItemSettlement(a, "done")])
        assert items.lease_holders("x") == ["run"]
        assert items.expire("x", {"run": None}) == ["failed"]
        assert [work_item.item_key for work_item in items.retry("x", keys=[b.key])] == ["b"]
        assert len(items.list_items(topic="x", after=("x", "a"))) == 1


def check_declared_dataset(folder: Path) -> None:
    """Make, load and rename tables of a project's dataset; read them as another project does."""
    files = folder / "own"
    files.mkdir()
    declared = Dataset(
        "pieces",
        key=["name"],
        partitions=Daily("2026-01-01"),
        fields=[Field("name", str, "its name")],
        source=file_source("{partition}.csv", format="csv"),
    )
    url = f"another:///{folder}/own.db"
    try:
        declare_table(declared, "shop")
        with Warehouse(url, clock=Clock()) as warehouse:
            assert FileLoading(warehouse, files, Clock()).load_file(
                declared, "2026-01-05", "name\nnut\n"
            )
            METADATA.remove(METADATA.tables["pieces"])
            METADATA.remove(METADATA.tables["pieces_history"])
            declare_table(replace(declared, name="parts"), "shop")
            assert warehouse.rename_own("pieces", "parts")
        forget_own_tables()
        with Warehouse(url, clock=Clock()) as warehouse:
            warehouse.prepare(holds="real")
            assert METADATA.tables.keys() >= {"parts", "parts_history"}
    finally:
        forget_own_tables()


def forget_own_tables() -> None:
    for name in OWN_TABLES:
        if name in METADATA.tables:
            METADATA.remove(METADATA.tables[name])


def check_incremental_resource(folder: Path) -> None:
    """Append the states of two loads of an incremental dlt resource, and start from them."""
    with open_warehouse(load_settings()) as warehouse:
        for number, day in enumerate((MONDAY, MONDAY + timedelta(weeks=1))):
            partition_loader = PartitionLoader(warehouse, folder, tier="OTCE", week_start=day)
            after = {STATE: {"number": number, "after": {"cursor": number}}}
            delivery = partition_loader.delivery(captures=[partition_loader.capture(request=after)])
            with warehouse.writing() as connection:
                append_state(connection, partition_loader.target(), delivery, Clock().now())
                start = start_state(connection, WEEKLY, partition_loader.partition_key)
                assert start.number == number + 1


def check_attention() -> None:
    """Ignore an entry, pause a domain, refuse a file, and have another person confirm a grant."""
    tomorrow = Clock().now() + timedelta(days=1)
    with open_warehouse(load_settings()) as warehouse:
        marks, pauses = Marks(warehouse), Pauses(warehouse)
        entry = AttentionReader(REGISTRY, load_settings(), warehouse, Clock()).read().entries[0]
        marks.ignore(entry, "known", tomorrow, by="I")
        assert marks.read()[entry.entry_id].state == "ignored"
        marks.remove(entry)
        pauses.pause(REGISTRY, "finra", "closed", until=tomorrow, by="I")
        assert pauses.resume("finra", by="I").subject == "finra"
        refusals = UploadRefusals(warehouse, Clock())
        file = NewFile("sheets", "a.csv", "text/csv", "ada")
        for _ in range(2):
            refusals.record(file, 413, "too large", "1 MiB", 2**20 + 1)
        assert [refusal.attempt_count for refusal in refusals.read(9)] == [2]
        approvals = Approvals(warehouse, Clock())
        demand = ApprovalDemand("grant", {"plugin": "rss"}, "needed", None)
        with pytest.raises(ConfigurationError, match="needs a second person"):
            approvals.use(demand)
        [waiting] = approvals.listed()
        approvals.claim(waiting.approval_id, Principal("ada", Role.ADMIN, "key", "a"))
        bob = Principal("bob", Role.ADMIN, "session")
        approvals.confirm(waiting.approval_id, demand.sha256, bob)
        approvals.use(demand)


def check_access() -> None:
    """Make, rotate and revoke keys; log in, fail to, and log out."""
    with open_warehouse(load_settings()) as warehouse:
        keys, clock = Keys(warehouse, Clock()), Clock()
        access = Access(warehouse, clock, LoginLimits(timedelta(hours=1), timedelta(hours=2)))
        assert keys.create_first(owner="I", lasts=timedelta(days=1))
        key = keys.create(owner="I", role=Role.VIEWER, lasts=timedelta(days=1))
        keys.rotate(key.key_id, lasts=timedelta(days=1), overlap=timedelta(hours=1))
        found = access.by_key(str(key), "10.0.0.1")
        assert isinstance(found, KnownCaller)
        access.note_use(found.principal)
        access.by_key("no key", "10.0.0.1")
        token = access.begin(found.principal, "10.0.0.1")
        session = access.by_session(token)
        assert session
        access.note_use(session.principal)
        access.end(token)
        access.end_everywhere(found.principal)
        keys.revoke(key.key_id)
        assert len(keys.listed()) == 3
        entry = AccessLogEntry("request", "10.0.0.1", "login", "done", user=found.principal)
        AccessLog(warehouse, clock).record(entry)
        with warehouse.reading() as connection:
            assert len(connection.execute(select(access_audit)).all()) == 1


def tidy_up(folder: Path) -> None:
    """List captures, compare the store with the tables, and delete what is old."""
    artifacts = FolderStore(folder / "tidy")
    artifacts.put("staged/a.parquet", b"")
    artifacts.put("staged/b.parquet", b"")
    plan = Plan({"staged rows": [File(*stored_object) for stored_object in artifacts.listed()]}, {})
    now = Clock().now()
    plan.before["staged rows"] = now + timedelta(days=1)
    with open_warehouse(load_settings()) as warehouse:
        read_captures(warehouse, ["part_number=1"], 9)
        take_inventory(warehouse, artifacts, read_all=False)
        retention = Retention({"captured bytes": 2}, keep_newest=1)
        plan_cleanup(warehouse, artifacts, retention, now=now)
        clean_up(warehouse, artifacts, plan, now=now, run_id="run")


def check_reconciliation() -> None:
    """Have tasks become issues, one be refused and one be gone; sweep, and try it all again."""
    systems, clock = systems_in_memory("peopleforce"), Clock()
    with open_warehouse(load_settings()) as warehouse:
        label = {"target_field": "labels", "source_type": "static", "value": "hr"}
        ours = [rule(target_project=PROJECT, mappings=[label])]
        trial = tried(warehouse, systems.target, ours)
        edit(warehouse, ours, trial, by="x", at=clock.now(), run_id="run")
        for title in ("Order a laptop", "poison", "Order a cup"):
            systems.tasks.add(title, assignee_email="ghost@example.org")
        reconciler = Reconciler(warehouse, clock, systems.source, systems.target, run_id="run")
        assert poll_all(reconciler, warehouse, clock).problem is None
        assert Ticks(warehouse, reconciler.pair).tick().synced_at
        systems.tasks.remove("1002")
        systems.issues.remove("IT-1")
        reconciler.poll()
        assert [difference.what for difference in reconciler.sweep()] == ["missing"]
        assert reconciler.retry_refused().actions == {"planned": 1}
        assert reconciler.apply().outcomes == {"done": 1, "dead": 1}
        assert reconciler.handle_event(TaskEvent("jira", "deleted", "IT-3")).outcome == "compared"
        revalidate(warehouse, systems.target, at=clock.now(), run_id="run")
        assert standing(warehouse, "peopleforce", reconciler.pair).refused_count == 1


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Each statement as Db2 would be sent it, once unless it defines something."""
    folder, db2, found = tmp_path_factory.mktemp("db2"), Db2Dialect(), list[str]()
    known = set[str]()

    def collect(connection: Connection, statement, *_: object) -> None:
        if connection.dialect.name != "another":
            return
        if not isinstance(statement, str):
            statement = str(statement.compile(dialect=db2))
        text = " ".join(statement.split())
        if text not in known or text.startswith(("CREATE", "ALTER", "RENAME")):
            found.append(text)
        known.add(text)

    event.listen(Engine, "before_execute", collect)
    with pytest.MonkeyPatch.context() as environment:
        for name, value in DEMO.items():
            environment.setenv(name, value)
        environment.setenv("STATE_DIR", str(folder / "state"))
        environment.setenv("DATABASE_URL", f"another:///{folder}/x.db")
        environment.setenv("ALERT_URLS", "json://127.0.0.1:1")
        try:
            run_all(folder)
            check_alerts()
            check_webhooks(folder)
            check_work_items()
            restate(folder)
            load_documents()
            crawl_a_site()
            mirror_events(folder)
            check_access()
            check_attention()
            declare()
            check_ledger()
            check_declared_dataset(folder)
            check_incremental_resource(folder)
            check_reconciliation()
            tidy_up(folder)
        finally:
            stop_demos(load_settings())
            event.remove(Engine, "before_execute", collect)
    return [each for each in found if not each.startswith(OWN_TO_SQLITE)]


COLUMN = re.compile(r'"?(\w+)"? (VARCHAR|CLOB|BIGINT|DATE|TIMESTAMP|DOUBLE|BOOLEAN)(?:\((\d+))?')
BYTES = {"CLOB": 200, "BIGINT": 8, "DATE": 4, "TIMESTAMP": 10, "DOUBLE": 8, "BOOLEAN": 1}
"""Bytes of a value in its row, where the type alone says it; of a CLOB its locator."""

ROW_BYTES, KEY_BYTES = 32_677, 8_192
"""The largest row on a page of 32 KB, and the largest key of an index."""


RENAMED = r'ALTER TABLE "?(\w+)"? RENAME COLUMN "?(\w+)"? TO "?(\w+)'
REBUILT = r'(?:ALTER|RENAME) TABLE "?(\w+)"?(?: RENAME)? TO "?(\w+)'


def created(said: list[str]) -> dict[str, tuple[dict[str, tuple[str, int]], list[list[str]]]]:
    """Return of each table that is made its columns, with type and bytes, and its keys."""
    found = {}
    for statement in said:
        if table := re.match(r"CREATE TABLE (\w+) \( (.*)PRIMARY KEY \((.*?)\)", statement):
            columns = {
                name: (kind, int(length) + 4 if length else BYTES[kind])
                for name, kind, length in COLUMN.findall(table[2])
            }
            found[table[1]] = (columns, [re.findall(r"\w+", table[3])])
        if added := re.match(r"ALTER TABLE (\w+) ADD COLUMN (.*)", statement):
            for name, kind, length in COLUMN.findall(f"{added[2]},"):
                found[added[1]][0][name] = (kind, int(length) + 4 if length else BYTES[kind])
        if renamed := re.match(RENAMED, statement):
            columns, keys = found[renamed[1]]
            found[renamed[1]] = (
                {
                    renamed[3] if name == renamed[2] else name: kind
                    for name, kind in columns.items()
                },
                keys,
            )
        if rebuilt := re.match(REBUILT, statement):
            found[rebuilt[2]] = found.pop(rebuilt[1])
        if index := re.match(r"CREATE INDEX \w+ ON (\w+) \((.*)\)", statement):
            found[index[1]][1].append(re.findall(r"\w+", index[2]))
    return found


@pytest.mark.slow
def test_what_was_said_is_about_every_table_in_every_way(said):
    everything = "\n".join(said)
    for way in ("CREATE TABLE {} (", "INSERT INTO {} (", " FROM {}"):
        texts = {name: way.format(name) for name in METADATA.tables}
        assert [name for name, text in texts.items() if text not in everything] == []
    for name in VIEWS:
        assert f"CREATE VIEW {name} AS" in everything
    for way in ("CREATE INDEX", "UPDATE fences", "DELETE FROM finra_otc_weekly", "SAVEPOINT"):
        assert way in everything


@pytest.mark.slow
def test_no_key_is_of_a_type_that_db2_takes_for_none_or_longer_than_its_page_allows(said):
    assert created(said).keys() - {VERSION_TABLE, *OWN_TABLES} == METADATA.tables.keys()
    for columns, keys in created(said).values():
        for key in keys:
            assert {columns[name][0] for name in key} <= {"VARCHAR", "BIGINT", "DATE", "TIMESTAMP"}
            assert sum(columns[name][1] for name in key) <= KEY_BYTES
        assert sum(length for _, length in columns.values()) <= ROW_BYTES


@pytest.mark.slow
def test_every_column_has_a_type_and_documents_alone_are_clobs(said):
    tables = created(said)
    for name, declared in METADATA.tables.items():
        columns, _ = tables[name]
        assert list(columns) == [column.name for column in declared.columns]
        clobs = {column for column, (kind, _) in columns.items() if kind == "CLOB"}
        keys = {column.name for column in declared.primary_key}
        texts = {column.name for column in declared.columns if isinstance(column.type, Text)}
        assert clobs == DOCUMENTS & texts - keys


def test_a_document_is_a_clob_unless_it_is_a_key_and_another_text_has_a_length():
    table = Table(
        "pages",
        MetaData(),
        Column("url", Text, primary_key=True),
        Column("body", Text),
        Column("name", Text),
    )
    created = " ".join(str(CreateTable(table).compile(dialect=Db2Dialect())).split())
    assert created == (
        "CREATE TABLE pages ( url VARCHAR(1024 OCTETS) NOT NULL, body CLOB, "
        "name VARCHAR(1024 OCTETS), PRIMARY KEY (url) )"
    )
    cast_to_text = str(select(cast(table.c.body, Text)).compile(dialect=Db2Dialect()))
    assert "CAST(pages.body AS VARCHAR(1024 OCTETS))" in cast_to_text


def test_rows_that_are_selected_for_update_are_locked_until_the_transaction_ends():
    statement = select(Table("fences", MetaData(), Column("scope", Text))).with_for_update()
    written = str(statement.compile(dialect=Db2Dialect()))
    assert written.endswith("FROM fences WITH RS USE AND KEEP UPDATE LOCKS")


def test_every_document_is_a_column_that_there_is():
    there_are = {column.name for table in METADATA.tables.values() for column in table.columns}
    assert there_are >= DOCUMENTS


OPERATOR = r"<>|!=|<=|>=|=|<|>|\b(?:NOT )?(?:IN|BETWEEN)\b|\bIS (?:NOT )?DISTINCT FROM\b"
NAMED = r"(\w+)\.\"?(\w+)\"?"
NULL_PREDICATE = re.compile(rf"(?<![=<>] ){NAMED} IS (?:NOT )?NULL(?! *[=<>])", re.IGNORECASE)
"""Asks only whether there is a value, which Db2 does of a CLOB, too."""

CAST_TO_VARCHAR = re.compile(r"CAST\((?:[^()]|\([^()]*\))* AS VARCHAR\(\d+ OCTETS\)\)")
COMPARED = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"{NAMED}(?:, '[^']*'\))? *(?:{OPERATOR})",
        rf"(?:{OPERATOR}) *\(?(?:COALESCE\()?{NAMED}",
        rf"\b(?:{OPERATOR}) *\(SELECT (?:DISTINCT )?{NAMED}",
        rf"\b(?:MIN|MAX)\({NAMED}",
        rf"\bDISTINCT {NAMED}",
    )
]


def compared_documents(statement: str) -> set[str]:
    """Return the CLOBs that a statement compares, or has in its conditions, order or groups."""
    statement = NULL_PREDICATE.sub("", CAST_TO_VARCHAR.sub("", statement))
    names = [found for pattern in COMPARED for found in pattern.findall(statement)]
    if statement.startswith(("SELECT", "UPDATE", "DELETE")):
        _, _, conditions = statement.partition(" FROM ")
        conditions = conditions or statement.partition(" WHERE ")[2]
        names += re.findall(NAMED, f"{conditions} {statement.partition('DISTINCT')[2]}")
    return {column for table, column in names if not is_key(table, column)} & DOCUMENTS


@pytest.mark.slow
def test_no_statement_compares_sorts_or_groups_what_is_a_clob(said):
    assert {
        statement: found for statement in said if (found := compared_documents(statement))
    } == {}


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("SELECT t.reason FROM t WHERE t.reason IS NOT NULL", set()),
        ("SELECT t.a FROM t WHERE t.reason IS NULL AND t.reason = 'x'", {"reason"}),
        (
            "SELECT t.a FROM t WHERE COALESCE(t.reason, '') = COALESCE(u.body, '')",
            {"reason", "body"},
        ),
        ("SELECT CASE WHEN t.reason = 'x' THEN 1 END FROM t", {"reason"}),
        ("SELECT min(t.reason) FROM t", {"reason"}),
        ("SELECT CASE WHEN t.a = t.reason THEN 1 END FROM t", {"reason"}),
        ("SELECT t.a FROM t ORDER BY t.reason", {"reason"}),
        ("CREATE VIEW v AS SELECT t.a FROM t JOIN u ON t.a IN (u.body)", {"body"}),
        ("SELECT t.a FROM t WHERE CAST(t.reason AS VARCHAR(9 OCTETS)) = 'x'", set()),
    ],
)
def test_a_clob_in_a_comparison_is_found_beside_what_asks_for_null(statement, found):
    assert compared_documents(statement) == found


def test_the_text_of_a_migration_casts_the_clobs_that_it_compares():
    texts = {
        "COALESCE(a.reason, '') = COALESCE(b.reason, '')": (
            "CAST(COALESCE(a.reason, '') AS VARCHAR(32672 OCTETS)) = "
            "CAST(COALESCE(b.reason, '') AS VARCHAR(32672 OCTETS))"
        ),
        "a.body <> 'x.reason = y'": "CAST(a.body AS VARCHAR(32672 OCTETS)) <> 'x.reason = y'",
        "UPDATE a SET reason = NULL WHERE a.state = b.state": None,
        "a.reason IS NULL AND 'a.reason = b' = a.state": None,
    }
    for written, expected in texts.items():
        assert str(text(written).compile(dialect=Db2Dialect())) == (expected or written)


def is_key(table: str, column: str) -> bool:
    declared = METADATA.tables.get(table)
    return declared is not None and column in declared.primary_key.columns


@pytest.mark.slow
def test_a_row_that_is_read_to_be_changed_stays_locked(said):
    locking = [
        statement for statement in said if statement.endswith(" WITH RS USE AND KEEP UPDATE LOCKS")
    ]
    assert [
        statement for statement in said if "UPDATE LOCKS" in statement or "FOR UPDATE" in statement
    ] == locking
    tables = {re.findall(r"FROM (\w+)", statement)[0] for statement in locking}
    assert tables == {"access_failures", "documents_files", "fences", "leases"} | {
        *("chain_heads", "events_webhooks", "mqtt_cursors", "work_items"),
    }


@pytest.mark.slow
def test_nothing_is_said_in_the_words_of_another_database(said):
    for statement in said:
        assert not re.search(
            r"::|%s|ON CONFLICT|WITHOUT ROWID|PRAGMA|COLLATE|TEXT|RETURNING", statement
        )


def test_a_text_that_is_a_key_has_room_for_the_longest_that_the_contract_takes():
    assert len("NAME:") + MAX_TEXT_BYTES <= TEXT_BYTES


@pytest.mark.parametrize("scheme", ["db2", "ibm_db_sa", "db2+ibm_db"])
def test_however_a_url_writes_db2_it_is_spoken_to_in_the_dialect_made_whole(scheme):
    url = parse_url(f"{scheme}://me:x@host:50000/db?Security=SSL")
    assert (url.drivername, url.get_dialect()) == ("db2", Db2Dialect)


def test_a_refusal_of_db2_has_its_state_in_words():
    lost = 'SQL30081N A communication error has been detected. "*". SQLSTATE=08001 SQLCODE=-30081'
    assert find_sql_state(OSError(lost)) == "08001"
    assert find_sql_state(OSError("no state")) is None


@pytest.mark.slow
def test_the_sql_of_a_migration_begins_no_transaction_where_there_always_is_one(tmp_path, clock):
    with Warehouse(f"another:///{tmp_path}/x.db", clock=clock) as warehouse:
        script = warehouse.migration_sql()
    assert script.startswith("CREATE TABLE orchestration_project_version (")
    assert script.endswith("COMMIT;\n")
