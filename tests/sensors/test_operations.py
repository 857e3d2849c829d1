"""Alerts of real runs, from the run to the receiver, on both databases."""

import json
import logging
import shutil
import time
from pathlib import Path
from urllib.parse import quote

import dagster as dg
import pytest
from dagster._core.definitions.assets.graph.asset_graph_subset import AssetGraphSubset
from dagster._core.definitions.events import AssetKeyPartitionKey
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemotePartitionSetOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import TickData, TickStatus
from dagster._core.test_utils import freeze_time
from dagster._daemon.types import DaemonHeartbeat
from dagster_shared.error import SerializableErrorInfo
from sqlalchemy import select

from orchestration_project.assets.operations import alerts_asset
from orchestration_project.definitions import defs
from orchestration_project.sensors.operations import (
    operations_on_run_end,
    operations_on_state_change,
)
from orchestration_project.services.alerts.rules.decisions import MAX_POLLS_FOR_RETRY
from orchestration_project.services.backfills import request_backfill
from orchestration_project.services.ledger.reading import read_facts
from orchestration_project.tables.operations_alerts import (
    operations_alert_deliveries,
    operations_alert_states,
    operations_alerts,
)
from tests import databases
from tests.programs import from_then_on
from tests.receivers import http_receiver, mail_receiver
from tests.resources.definitions import RESOURCES
from tests.runs import check_declared

HELD_BACK = "T2|2025-12-01"
GOOD = ("T2|2025-11-24", "T2|2025-12-08")
CHECK = "reconciles_with_symbol_totals"


BOTH = pytest.mark.parametrize("url", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
def url(request, demo_settings, tmp_path, prepared, monkeypatch, set_clock) -> str:
    """The URL of an empty database, set as DATABASE_URL."""
    if getattr(request, "param", "sqlite") == "sqlite":
        found = prepared.sqlite(tmp_path / "warehouse.sqlite")
    else:
        found = prepared.postgresql()
    monkeypatch.setenv("DATABASE_URL", found)
    set_clock(from_then_on("2026-03-02T15:00"))
    return found


@pytest.fixture
def instance(kept_instance):
    return kept_instance


@pytest.fixture
def hook(monkeypatch):
    """A receiver of everything."""
    with http_receiver() as hook:
        monkeypatch.setenv("ALERT_URLS", f"info={hook.url()}")
        yield hook


class Watch:
    """Ticks the sensor as the daemon does, with the cursor that the last tick left."""

    def __init__(self, instance, url):
        self.instance = instance
        self.url = url
        self.cursor = None
        self.repository = None
        self.sent: str | None = None
        self.tick_and_expect_skip()

    def tick_and_expect_skip(self) -> str:
        """Tick; return what the tick says of what it found."""
        used = {name: RESOURCES[name] for name in ("alerts", "clock", "warehouse")}
        with dg.build_resources(used, self.instance) as resources:
            context = dg.build_sensor_context(
                self.instance,
                self.cursor,
                resources=resources._asdict(),
                repository_def=self.repository,
            )
            said = operations_on_run_end(context)
            self.cursor = context.cursor
        assert isinstance(said, dg.SkipReason)
        found, _, self.sent = str(said.skip_message).rpartition("\n")
        return found

    def deliver(self) -> str:
        """Return what the last tick says of what it sent; the second time, tick."""
        if self.sent is None:
            self.tick_and_expect_skip()
        sent, self.sent = self.sent, None
        return str(sent)

    def alerts(self, *names):
        columns = [operations_alerts.c[name] for name in names]
        return databases.rows(
            self.url, select(*columns).order_by(operations_alerts.c.raised_at, *columns)
        )


@pytest.fixture
def watch(instance, url, hook):
    return Watch(instance, url)


STATE_RESOURCES = ("alerts", "clock", "registry", "settings", "warehouse")


def changed_state(instance, cursor: str | None = None):
    """Tick the sensor that shows states; return its cursor and its events by asset."""
    resources = {name: RESOURCES[name] for name in STATE_RESOURCES}
    with dg.build_sensor_context(instance, cursor, resources=resources) as context:
        found = operations_on_state_change.evaluate_tick(context)
    events = {
        event.asset_key.to_user_string(): check_declared(event.metadata)
        for event in found.asset_events
    }
    return found.cursor, events


@pytest.mark.slow
def test_the_state_of_alerts_presets_and_runs_is_shown_when_it_changed_with_what_acts_on_it(
    watch, instance
):
    cursor, shown = changed_state(instance)
    kinds = ("alerts", "definitions", "readiness", "runs")
    assert set(shown) == {f"operations/{kind}" for kind in kinds}
    assert all(shown.values())
    assert changed_state(instance, cursor)[1] == {}
    load(instance, HELD_BACK)
    watch.tick_and_expect_skip()
    cursor, shown = changed_state(instance, cursor)
    assert set(shown) == {f"operations/{kind}" for kind in ("alerts", "runs")}
    [(alert_id,)] = watch.alerts("alert_id")
    listed = shown["operations/alerts"]["alerts"]
    assert isinstance(listed, dg.TableMetadataValue)
    [record] = listed.records
    assert record.data["alert_id"] == alert_id
    assert record.data["close_with"] == f"orchestrate alerts close {alert_id}"
    assert changed_state(instance, cursor)[1] == {}


def load(instance, first: str, last: str | None = None, **config) -> dg.ExecuteInProcessResult:
    return defs.resolve_job_def("finra_otc_weekly").execute_in_process(
        instance=instance,
        raise_on_error=False,
        run_config={"ops": {"finra_otc_weekly_load": {"config": config}}},
        tags={
            "dagster/asset_partition_range_start": first,
            "dagster/asset_partition_range_end": last or first,
        },
    )


@pytest.mark.slow
def test_a_quarantine_is_reported_once_with_reason_and_links(watch, hook, instance):
    result = load(instance, *GOOD)
    assert not result.success
    title = f"finra_otc_weekly: 1 of 3 partitions did not load: {HELD_BACK}"
    loaded = f"info: Landed: {GOOD[0]}, {GOOD[1]}."
    assert watch.tick_and_expect_skip() == f"Evaluated 1 ended runs. error: {title}. {loaded}"
    assert watch.deliver() == "Sent 2 alerts; still waiting: none."
    (alert,) = [message for message in hook.received if message["title"] == title]
    assert (alert["title"], alert["type"]) == (title, "failure")
    body = alert["message"]
    assert f"{HELD_BACK} is quarantined by {CHECK}" in body
    assert "what to do: see the table audits" in body
    assert f"Check finra/otc_weekly {CHECK} failed (error): " in body
    assert "partitions_failed: 1" in body
    ui = "http://127.0.0.1:3000"
    assert f"Run: {ui}/runs/{result.run_id}" in body
    assert (
        f"{HELD_BACK}: {ui}/assets/finra/otc_weekly?view=partitions&partition="
        f"{quote(HELD_BACK, safe='')}" in body
    )
    assert f"{CHECK}: {ui}/assets/finra/otc_weekly?view=checks&checkDetail={CHECK}" in body
    assert watch.tick_and_expect_skip() == "Evaluated 0 ended runs."
    assert watch.deliver() == "Sent 0 alerts; still waiting: none."
    assert len(hook.received) == 2
    assert sorted(watch.alerts("kind", "state", "run_id", "job")) == [
        ("held_back", "open", result.run_id, "finra_otc_weekly"),
        ("landed", "told", result.run_id, "finra_otc_weekly"),
    ]
    partitions, assets = {
        kind: (partitions, assets)
        for kind, partitions, assets in watch.alerts("kind", "partitions", "assets")
    }["held_back"]
    assert (json.loads(partitions), json.loads(assets)) == ([HELD_BACK], ["finra/otc_weekly"])


@pytest.mark.slow
def test_the_same_failure_is_repeated_only_after_the_window(watch, hook, instance, set_clock):
    load(instance, HELD_BACK)
    watch.tick_and_expect_skip()
    load(instance, HELD_BACK)
    load(instance, HELD_BACK)
    assert watch.tick_and_expect_skip() == "Evaluated 2 ended runs."
    assert watch.alerts("state", "repeated_count") == [("open", 2)]
    watch.deliver()
    set_clock(from_then_on("2026-03-03T16:00"))  # a day and an hour later
    load(instance, HELD_BACK)
    watch.tick_and_expect_skip()
    watch.deliver()
    assert watch.alerts("state") == [("replaced",), ("open",)]
    assert len(hook.received) == 2


@pytest.mark.slow
def test_a_loaded_week_is_reported_for_information_once(watch, hook, instance, monkeypatch):
    monkeypatch.setenv("FINRA_FRESHNESS_GRACE_HOURS", "10000")  # no other week is late
    assert load(instance, GOOD[0]).success
    assert watch.tick_and_expect_skip() == f"Evaluated 1 ended runs. info: Landed: {GOOD[0]}."
    assert load(instance, GOOD[0]).success
    assert watch.tick_and_expect_skip() == "Evaluated 1 ended runs."
    assert watch.alerts("kind", "severity") == [("landed", "info")]


@dg.asset(partitions_def=dg.StaticPartitionsDefinition(["a", "b", "c"]), key_prefix="shop")
def orders(context: dg.AssetExecutionContext) -> None:
    """One row per order."""
    if context.run.tags.get("broken"):
        raise ZeroDivisionError("no till is open")
    if notice := context.run.tags.get("notice"):
        kind = context.run.tags["notice_kind"]
        context.add_output_metadata({"notice": notice, "notice_kind": kind})


@dg.asset_check(asset=orders)
def has_recent_orders(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """The latest order is of today."""
    return dg.AssetCheckResult(
        passed="stale" not in context.run.tags,
        severity=dg.AssetCheckSeverity.WARN,
        description="the latest order is three days old",
    )


SHOP = dg.Definitions(
    assets=[orders],
    asset_checks=[has_recent_orders],
    jobs=[dg.define_asset_job("shop_orders", [orders])],
)
JOB = SHOP.resolve_job_def("shop_orders")
SHOPS_ORIGIN = RemoteRepositoryOrigin(
    code_location_origin=RegisteredCodeLocationOrigin("shop"), repository_name="shop"
)


def shop(instance, partition: str = "a", **tags: str) -> dg.ExecuteInProcessResult:
    return JOB.execute_in_process(
        instance=instance, partition_key=partition, tags=tags, raise_on_error=False
    )


def sent_messages(watch, hook) -> list[tuple[str, str]]:
    """Look and deliver; return title and type of what came of it."""
    before = len(hook.received)
    watch.tick_and_expect_skip()
    watch.deliver()
    return [(message["title"], message["type"]) for message in hook.received[before:]]


@pytest.mark.slow
@BOTH
def test_a_failure_before_the_first_poll_is_reported_if_recent(hook, instance, url):
    with freeze_time(time.time() - 25 * 3600):
        old = instance.create_run_for_job(JOB, tags={"dagster/partition": "c"})
        instance.report_run_failed(old, "Run worker process 41 is gone.")
    shop(instance, "a", broken="yes")
    watch = Watch(instance, url)
    record_daemon_heartbeat(instance)
    shop(instance, "b", broken="yes")
    expected = [("shop_orders failed: a", "failure"), ("shop_orders failed: b", "failure")]
    assert [sent_messages(watch, hook) for _ in range(2)] == [expected, []]
    assert sent_messages(Watch(instance, url), hook) == []  # its cursor was lost: nothing twice


@pytest.mark.slow
@BOTH
def test_a_failed_run_is_reported_and_then_its_recovery(watch, hook, instance):
    shop(instance, "a", broken="yes")
    shop(instance, "b", broken="yes")
    assert sent_messages(watch, hook) == [
        ("shop_orders failed: a", "failure"),
        ("shop_orders failed: b", "failure"),
    ]
    assert "shop__orders: no till is open" not in hook.received[0]["message"]
    assert "ZeroDivisionError: no till is open" in hook.received[0]["message"]
    shop(instance, "c")
    assert sent_messages(watch, hook) == []
    shop(instance, "a")
    assert sent_messages(watch, hook) == [("Recovered: shop_orders failed: a", "success")]
    assert watch.alerts("kind", "state") == [
        ("failed", "recovered"),
        ("failed", "open"),
        ("recovered", "told"),
    ]
    shop(instance, "a", broken="yes")
    assert sent_messages(watch, hook) == [("shop_orders failed: a", "failure")]


@pytest.mark.slow
def test_a_failed_check_of_a_good_run_keeps_its_severity(watch, hook, instance):
    assert shop(instance, stale="yes").success
    title = "Check failed: shop/orders has_recent_orders"
    assert sent_messages(watch, hook) == [(title, "warning")]
    assert "(warning): the latest order is three days old" in hook.received[0]["message"]
    shop(instance, stale="yes")
    assert sent_messages(watch, hook) == []
    shop(instance)
    assert sent_messages(watch, hook) == [(f"Recovered: {title}", "success")]


@pytest.mark.slow
def test_notices_of_materializations_are_reported(watch, hook, instance):
    shop(instance, "a", notice="3 of 10 orders changed", notice_kind="restatement")
    shop(instance, "b", notice="10 orders", notice_kind="landed")
    assert sent_messages(watch, hook) == [("Restatement: a", "warning"), ("Landed: b", "info")]
    assert hook.received[0]["message"].startswith("3 of 10 orders changed\n")


@pytest.mark.slow
def test_a_run_that_ended_twice_is_reported_by_its_first_end(watch, hook, instance):
    ended = shop(instance, "a", notice="10 orders", notice_kind="landed").run_id
    instance.report_run_failed(instance.get_run_by_id(ended), "Run worker process 42 is gone.")
    assert sent_messages(watch, hook) == [("Landed: a", "info")]
    assert sent_messages(watch, hook) == []


@pytest.mark.slow
def test_each_channel_gets_what_is_as_severe_as_it_wants(watch, hook, instance, monkeypatch):
    with http_receiver() as all_, http_receiver() as usual, http_receiver() as errors:
        monkeypatch.setenv(
            "ALERT_URLS", f"INFO={all_.url()},warning={usual.url()},\n {errors.url()}"
        )
        shop(instance, "a", notice="10 orders", notice_kind="landed")
        shop(instance, "a", stale="yes")
        shop(instance, "b", broken="yes")
        shop(instance, "b")
        sent_messages(watch, hook)
        names = ["Landed: a", "Check failed: shop/orders has_recent_orders"]
        failed = "shop_orders failed: b"
        assert all_.titles[:3] == [*names, failed]
        assert usual.titles[:2] == [names[1], failed]
        assert errors.titles[0] == failed
        assert [len(channel.titles) for channel in (all_, usual, errors)] == [4, 3, 2]


@pytest.mark.slow
@BOTH
def test_rules_choose_the_channels_of_an_alert_and_its_recovery(
    watch, hook, instance, monkeypatch, tmp_path
):
    rules = tmp_path / "alerts.yaml"
    monkeypatch.setenv("ALERT_RULES", str(rules))
    rules.write_text(
        """
        rules:
          - name: till
            match: {asset: shop/orders, kind: failed, job: shop_orders}
            channels: [till, desk]
            stop: true
          - {name: silent, match: {check: has_recent_orders}, channels: [], stop: true}
          - {name: late news, match: {severity: error}, channels: [desk], recovered: false}
        """
    )
    with http_receiver() as till, mail_receiver() as partition_loader:
        monkeypatch.setenv("ALERT_URL_TILL", till.url())
        monkeypatch.setenv("ALERT_URL_DESK", partition_loader.url)
        shop(instance, "a", broken="yes")
        shop(instance, "b", stale="yes")
        sent_messages(watch, hook)
        shop(instance, "a")
        shop(instance, "b")
        sent_messages(watch, hook)
        assert hook.titles == []
        expected = ["shop_orders failed: a", "Recovered: shop_orders failed: a"]
        assert till.titles == expected
        assert [mail["Subject"] for mail in partition_loader.received] == expected
    silent = "Check failed: shop/orders has_recent_orders"
    assert ("recovered", silent) in watch.alerts("state", "title")


@pytest.mark.slow
def test_a_channel_is_notified_again_after_its_rules_window(
    watch, hook, instance, monkeypatch, tmp_path
):
    rules = tmp_path / "alerts.yaml"
    monkeypatch.setenv("ALERT_RULES", str(rules))
    rules.write_text(
        "rules: [{name: often, channels: [often], window_hours: 1}, {name: everything}]"
    )
    with http_receiver() as often:
        monkeypatch.setenv("ALERT_URL_OFTEN", often.url())
        for time in ("15:00", "15:30", "16:30"):
            monkeypatch.setenv("DEMO_CLOCK_NOW", from_then_on(f"2026-03-02T{time}"))
            shop(instance, "a", broken="yes")
            sent_messages(watch, hook)
        shop(instance, "a")
        sent_messages(watch, hook)
        title = "shop_orders failed: a"
        assert often.titles == [title, title, f"Recovered: {title}"]
        assert hook.titles == [title, f"Recovered: {title}"]


def test_a_run_that_never_started_is_reported(watch, hook, instance):
    run = instance.create_run_for_job(JOB, tags={"dagster/partition": "b"})
    instance.report_run_failed(run, "Run timed out due to taking longer than 180 seconds to start.")
    assert sent_messages(watch, hook) == [("shop_orders never started: b", "failure")]
    assert "longer than 180 seconds to start" in hook.received[0]["message"]


def test_a_killed_run_is_reported_and_a_canceled_one_is_not(watch, hook, instance):
    killed = instance.create_run_for_job(JOB, tags={"dagster/partition": "a"})
    start = dg.DagsterEventType.RUN_START
    instance.report_dagster_event(
        dg.DagsterEvent(event_type_value=start.value, job_name=JOB.name), killed.run_id
    )
    instance.report_run_failed(killed, "Run worker process 42 is gone.")
    ended = instance.create_run_for_job(JOB, tags={"dagster/partition": "b"})
    instance.report_run_canceled(ended)
    assert sent_messages(watch, hook) == [("shop_orders failed: a", "failure")]
    assert "process 42 is gone" in hook.received[0]["message"]


@pytest.fixture
def retrying(new_files, tmp_path):
    folder = shutil.copytree(new_files, tmp_path / "retrying")
    retries = {"run_retries": {"enabled": True}}
    with dg.instance_for_test(overrides=retries, temp_dir=str(folder)) as instance:
        yield instance


@pytest.mark.slow
def test_of_a_retried_run_the_last_attempt_alone_is_reported(url, hook, retrying):
    watch = Watch(retrying, url)
    first = shop(retrying, "a", broken="yes", **{"dagster/max_retries": "1"})
    assert "is to be retried" in watch.tick_and_expect_skip()
    retrying.add_run_tags(first.run_id, {"dagster/auto_retry_run_id": "the-next"})
    assert sent_messages(watch, hook) == []
    second = shop(retrying, "a", broken="yes", **{"dagster/max_retries": "0"})
    assert sent_messages(watch, hook) == [("shop_orders failed: a", "failure")]
    assert watch.alerts("run_id") == [(second.run_id,)]


@pytest.mark.slow
def test_an_announced_retry_that_never_runs_is_reported(url, hook, retrying):
    watch = Watch(retrying, url)
    shop(retrying, "a", broken="yes", **{"dagster/max_retries": "1"})
    for _ in range(MAX_POLLS_FOR_RETRY):
        assert sent_messages(watch, hook) == []
    assert sent_messages(watch, hook) == [("shop_orders failed: a", "failure")]
    assert sent_messages(watch, hook) == []


@pytest.mark.slow
def test_a_run_whose_log_is_damaged_holds_no_other_up(url, hook, new_files, tmp_path):
    folder = shutil.copytree(new_files, tmp_path / "dagster")
    with dg.instance_for_test(temp_dir=str(folder)) as instance:
        watch = Watch(instance, url)
        record_daemon_heartbeat(instance)
        runs = [shop(instance, key, broken="yes").run_id for key in "ab"]
        [file] = folder.rglob(f"{runs[0]}.db")
        file.write_bytes(b"no database" * 1000)
        assert sent_messages(watch, hook) == [
            ("shop_orders failed: a", "failure"),
            ("shop_orders failed: b", "failure"),
        ]
        record = instance.get_run_record_by_id(runs[0])
        assert record
        facts = read_facts(instance, record)
        assert (facts.status, facts.steps) == ("FAILURE", [])


@pytest.mark.slow
@pytest.mark.slow_on_postgresql
@BOTH
def test_a_channel_that_is_down_loses_nothing_and_gets_it_once_when_it_is_back(
    watch, hook, instance, url, monkeypatch
):
    hook.status = 503
    shop(instance, "a", broken="yes")
    assert sent_messages(watch, hook) == []
    assert watch.deliver() == "Sent 0 alerts; still waiting: 1 to json-1."
    d = operations_alert_deliveries
    assert databases.rows(url, select(d.c.state, d.c.attempt_count, d.c.last_error)) == [
        ("pending", 1, "json-1 did not accept an alert: HTTP 503")
    ]
    hook.status = 200
    monkeypatch.setenv("DEMO_CLOCK_NOW", from_then_on("2026-03-02T15:10"))
    assert watch.deliver() == "Sent 1 alerts; still waiting: none."
    assert watch.deliver() == "Sent 0 alerts; still waiting: none."
    assert hook.titles == ["shop_orders failed: a"]
    s = operations_alert_states.table.c
    came = select(s.state, s.channel, s.times_count, s.detail).order_by(s.happened_at)
    assert databases.rows(url, came) == [
        ("raised", "", 1, ""),
        ("delivery_failed", "json-1", 2, "json-1 did not accept an alert: HTTP 503"),
        ("delivered", "json-1", 1, "everything"),
    ]


@pytest.mark.slow
def test_runs_that_end_between_polls_are_reported_later_in_order(watch, hook, instance):
    for partition in ("a", "b", "c"):
        shop(instance, partition, broken="yes")
    shop(instance, "a")
    assert [title for title, _ in sent_messages(watch, hook)] == [
        "shop_orders failed: a",
        "shop_orders failed: b",
        "shop_orders failed: c",
        "Recovered: shop_orders failed: a",
    ]


@pytest.mark.slow
@BOTH
def test_a_look_that_is_repeated_after_a_crash_stores_nothing_twice(watch, hook, instance):
    before = watch.cursor
    shop(instance, "a", broken="yes")
    shop(instance, "a", broken="yes")
    shop(instance, "a")
    watch.tick_and_expect_skip()
    stored = watch.alerts("title", "state", "repeated_count")
    watch.cursor = before  # the process was killed before Dagster kept its cursor
    watch.tick_and_expect_skip()
    assert watch.alerts("title", "state", "repeated_count") == stored
    assert sent_messages(watch, hook) == []
    assert hook.titles == ["shop_orders failed: a", "Recovered: shop_orders failed: a"]


@pytest.mark.slow_on_postgresql
@BOTH
def test_a_lost_database_is_reported_once_and_the_runs_follow(
    watch, hook, instance, monkeypatch, tmp_path, url
):
    (tmp_path / "no-folder").write_text("")
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/no-folder/lost.sqlite")
    shop(instance, "a", broken="yes")
    seen = json.loads(watch.cursor)["seen"]
    said = watch.tick_and_expect_skip()
    assert said.startswith(
        "Alerts cannot be stored, and wait. Notified channels: json-1. the folder of"
    )
    watch.tick_and_expect_skip()
    assert hook.titles == ["The database cannot be used: nothing loads, and alerts wait"]
    assert json.loads(watch.cursor)["seen"] == seen
    monkeypatch.setenv("DATABASE_URL", url)
    assert sent_messages(watch, hook) == [
        ("Recovered: the database can be used again", "success"),
        ("shop_orders failed: a", "failure"),
    ]
    assert sent_messages(watch, hook) == []


def test_without_channels_alerts_are_stored_and_the_tick_says_so(watch, instance, monkeypatch):
    monkeypatch.delenv("ALERT_URLS")
    shop(instance, "a", broken="yes")
    assert watch.tick_and_expect_skip().endswith("No channel is notified: ALERT_URLS is not set.")
    assert watch.deliver() == "Alerts notify no channel: ALERT_URLS is not set."
    assert watch.alerts("title", "state") == [("shop_orders failed: a", "open")]


@pytest.mark.slow
def test_no_secret_of_a_channel_is_stored_logged_or_said(
    watch, hook, instance, url, monkeypatch, caplog, capfd, tmp_path
):
    secret = "hunter2hunter2"
    monkeypatch.setenv(
        "ALERT_URLS",
        f"json://me:{secret}@127.0.0.1:{hook.port}/{secret},json://127.0.0.1:1/{secret},"
        f"nosuch://{secret},slack://{secret}",
    )
    monkeypatch.setenv("ALERT_URL_OPS", f"json://127.0.0.1:1/{secret}")
    monkeypatch.setenv("ALERT_URL_BROKEN", secret)
    caplog.set_level(logging.DEBUG)
    hook.status = 500
    shop(instance, "a", broken="yes")
    said = [watch.tick_and_expect_skip(), watch.deliver(), watch.deliver()]
    hook.status = 200
    monkeypatch.setenv("DEMO_CLOCK_NOW", from_then_on("2026-03-02T15:10"))
    said.append(watch.deliver())
    assert hook.paths == [f"/{secret}"] * 2
    stored = databases.contents(url)
    for found in (said, stored, caplog.text, capfd.readouterr(), watch.cursor):
        assert secret not in str(found)
    files = [path for path in Path(tmp_path).rglob("*") if path.is_file()]
    assert [path for path in files if secret.encode() in path.read_bytes()] == []


ORIGIN = SerializableErrorInfo("KeyError: 'till'", [], "KeyError")
NO_TILL = SerializableErrorInfo("x.SourceError: no till", [], "SourceError", ORIGIN)


def failed_tick(instance: dg.DagsterInstance) -> TickData:
    """Return a tick of a sensor, `shop_on_order`, that failed."""
    state = add_sensor(instance, "shop_on_order")
    return TickData(
        instigator_origin_id=state.instigator_origin_id,
        instigator_name="shop_on_order",
        instigator_type=state.instigator_type,
        status=TickStatus.FAILURE,
        timestamp=1.0,
        selector_id=state.selector_id,
        error=SerializableErrorInfo("SensorExecutionError", [], "SensorExecutionError", NO_TILL),
    )


@pytest.mark.slow
def test_a_sensor_that_fails_is_reported_and_recovers(watch, hook, instance):
    tick = failed_tick(instance)
    record_daemon_heartbeat(instance)
    instance.create_tick(tick)
    title = "shop_on_order fails: it starts nothing until this is mended"
    assert sent_messages(watch, hook) == [(title, "failure")]
    assert "SourceError: no till" in hook.received[0]["message"]
    instance.create_tick(tick._replace(timestamp=2.0))
    assert sent_messages(watch, hook) == []
    assert watch.alerts("repeated_count") == [(1,)]
    instance.create_tick(tick._replace(timestamp=3.0, status=TickStatus.SKIPPED, error=None))
    assert sent_messages(watch, hook) == [(f"Recovered: {title}", "success")]
    assert sent_messages(watch, hook) == []


def test_a_sensor_that_fails_in_one_code_location_is_reported(watch, hook, instance):
    record_daemon_heartbeat(instance)
    tick = failed_tick(instance)._replace(timestamp=2.0)
    instance.create_tick(tick)
    other = SHOPS_ORIGIN._replace(repository_name="other")
    state = add_sensor(instance, "shop_on_order", other)
    instance.create_tick(
        tick._replace(
            instigator_origin_id=state.instigator_origin_id,
            selector_id=state.selector_id,
            timestamp=1.0,
            status=TickStatus.SUCCESS,
            error=None,
        )
    )
    title = "shop_on_order fails: it starts nothing until this is mended"
    assert [sent_messages(watch, hook) for _ in range(2)] == [[(title, "failure")], []]


@pytest.mark.slow
def test_a_failed_sensor_is_reported_after_a_loss_of_storage(
    watch, hook, instance, url, new_files, tmp_path
):
    title = "shop_on_order fails: it starts nothing until this is mended"
    expected = [(title, "failure"), (f"Recovered: {title}", "success")]
    with dg.instance_for_test(
        temp_dir=str(shutil.copytree(new_files, tmp_path / "other"))
    ) as other:
        for number, each in enumerate([instance, other]):
            record_daemon_heartbeat(each)
            looks = watch if each is instance else Watch(each, url)
            tick = each.create_tick(failed_tick(each)._replace(timestamp=float(number)))
            assert sent_messages(looks, hook) == expected[:1]
            each.update_tick(tick.with_status(TickStatus.SUCCESS, error=None))
            assert sent_messages(looks, hook) == expected[1:]


def test_a_tick_that_goes_well_when_it_is_tried_again_recovers_its_own_alert(watch, hook, instance):
    record_daemon_heartbeat(instance)
    tick = instance.create_tick(failed_tick(instance))
    title = "shop_on_order fails: it starts nothing until this is mended"
    assert sent_messages(watch, hook) == [(title, "failure")]
    instance.update_tick(tick.with_status(TickStatus.SUCCESS, error=None))
    assert sent_messages(watch, hook) == [(f"Recovered: {title}", "success")]
    assert sent_messages(watch, hook) == []


@pytest.mark.slow
@BOTH
def test_an_abandoned_backfill_is_reported_once_until_loaded(watch, hook, instance):
    watch.repository = SHOP.get_repository_def()
    give_up(instance, ask_for_orders(instance, "a", "b"))
    title = "Dagster gave up a backfill of shop/orders: a, b did not load"
    assert [sent_messages(watch, hook) for _ in range(2)] == [[(title, "failure")], []]
    body = hook.received[0]["message"]
    assert body.startswith("Orders of the summer\nno such partition\nWhat to do: ")
    [(assets, partitions, link)] = watch.alerts("assets", "partitions", "link")
    assert (json.loads(assets), json.loads(partitions)) == (["shop/orders"], ["a", "b"])
    assert "http://127.0.0.1:3000/runs/b/" in link
    assert f"Backfill: {link}\na: http://" in body
    shop(instance, "a")
    assert sent_messages(watch, hook) == []
    shop(instance, "b")
    assert sent_messages(watch, hook) == [(f"Recovered: {title}", "success")]


def test_of_an_abandoned_backfill_its_loads_are_not_reported(watch, hook, instance):
    watch.repository = SHOP.get_repository_def()
    backfill, graph = ask_for_orders(instance, "a", "b"), watch.repository.asset_graph
    data = backfill.get_asset_backfill_data(graph)
    made = AssetGraphSubset.from_asset_partition_set({AssetKeyPartitionKey(orders.key, "a")}, graph)
    data = data._replace(materialized_subset=made)
    give_up(instance, backfill.with_asset_backfill_data(data, instance, graph))
    title = "Dagster gave up a backfill of shop/orders: b did not load"
    assert sent_messages(watch, hook) == [(title, "failure")]


def test_a_canceled_or_long_failed_backfill_is_not_reported(watch, hook, instance):
    watch.repository = SHOP.get_repository_def()
    backfill = ask_for_orders(instance, "a")
    instance.update_backfill(backfill.with_status(BulkActionStatus.CANCELED))
    give_up(instance, ask_for_orders(instance, "a"), hours_ago=25)
    assert sent_messages(watch, hook) == []


def test_a_backfill_of_removed_assets_or_partitions_is_reported(watch, hook, instance):
    @dg.asset(key_prefix="shop", partitions_def=dg.WeeklyPartitionsDefinition("2026-01-05"))
    def other() -> None:
        """Orders of a week."""

    give_up(instance, ask_for_orders(instance, "a"))
    watch.repository = dg.Definitions(assets=[other]).get_repository_def()
    title = "Dagster gave up a backfill of shop/orders: a did not load"
    assert sent_messages(watch, hook) == [(title, "failure")]


def ask_for_the_job(instance, *partitions: str) -> PartitionBackfill:
    backfill = PartitionBackfill(
        "summer",
        status=BulkActionStatus.REQUESTED,
        from_failure=False,
        tags={},
        backfill_timestamp=time.time(),
        partition_set_origin=RemotePartitionSetOrigin(
            repository_origin=SHOPS_ORIGIN, partition_set_name="shop_orders_partition_set"
        ),
        partition_names=list(partitions),
    )
    instance.add_backfill(backfill)
    return backfill


@pytest.mark.slow
def test_of_a_jobs_backfill_missing_partitions_are_reported(watch, hook, instance):
    watch.repository = SHOP.get_repository_def()
    backfill = ask_for_the_job(instance, "a", "b")
    shop(instance, "a", **{"dagster/backfill": "summer"})
    give_up(instance, backfill)
    title = "Dagster gave up a backfill of shop_orders: b did not load"
    assert sent_messages(watch, hook) == [(title, "failure")]
    shop(instance, "b")
    assert sent_messages(watch, hook) == [(f"Recovered: {title}", "success")]


def test_of_a_jobs_backfill_made_ranges_are_not_reported(watch, hook, instance):
    watch.repository = SHOP.get_repository_def()
    backfill = ask_for_the_job(instance, "a", "b", "c")
    tag = "dagster/asset_partition_range_"
    range_ = {f"{tag}start": "a", f"{tag}end": "b"}
    JOB.execute_in_process(instance=instance, tags={**range_, "dagster/backfill": "summer"})
    give_up(instance, backfill)
    title = "Dagster gave up a backfill of shop_orders: c did not load"
    assert sent_messages(watch, hook) == [(title, "failure")]


@pytest.mark.slow
def test_a_daemon_with_a_silent_part_is_reported_and_recovers(watch, hook, instance):
    record_daemon_heartbeat(instance, seconds_ago=1000)
    assert sent_messages(watch, hook) == []  # it may just have been started
    assert sent_messages(watch, hook) == [("Dagster's daemon does not run", "failure")]
    record_daemon_heartbeat(instance)
    assert sent_messages(watch, hook) == [("Recovered: Dagster's daemon does not run", "success")]


@pytest.mark.slow
def test_a_low_disk_is_reported_and_recovers(watch, hook, instance, monkeypatch):
    monkeypatch.setenv("DISK_HEADROOM_MIB", str(10**9))
    assert [sent_messages(watch, hook) for _ in range(3)] == [
        [],
        [("A disk is nearly full", "failure")],
        [],
    ]
    assert "free some space" in hook.received[0]["message"]
    assert watch.alerts("kind", "state", "repeated_count") == [("disk_low", "open", 0)]
    monkeypatch.delenv("DISK_HEADROOM_MIB")
    assert sent_messages(watch, hook) == [("Recovered: A disk is nearly full", "success")]


@pytest.mark.slow
def test_unusable_rules_are_reported_and_alerts_go_on(watch, hook, instance, monkeypatch, tmp_path):
    rules = tmp_path / "alerts.yaml"
    monkeypatch.setenv("ALERT_RULES", str(rules))
    rules.write_text("rules: [{name: none, chanels: [], stop: true}]")
    shop(instance, "a", broken="yes")
    assert sent_messages(watch, hook) == [("shop_orders failed: a", "failure")]
    title = f"Invalid alert rules in {rules}"
    assert sent_messages(watch, hook) == [(title, "failure")]
    assert "line 1: rule none: chanels: unknown name" in hook.received[1]["message"]
    rules.write_text("rules: [{name: unknown, match: {job: none}}]")
    watch.repository = defs.get_repository_def()
    title = f"Recovered: {title}"
    assert sent_messages(watch, hook) == []  # another mistake, and the same alert
    rules.write_text("rules: [{name: known, match: {job: finra_otc_weekly}}]")
    assert sent_messages(watch, hook) == [(title, "success")]


def test_unknown_names_in_rules_are_reported_and_the_rules_hold(
    watch, hook, instance, monkeypatch, tmp_path
):
    rules = tmp_path / "alerts.yaml"
    monkeypatch.setenv("ALERT_RULES", str(rules))
    rules.write_text("rules: [{name: few, match: {check: none}}, {name: all}]")
    watch.repository = defs.get_repository_def()
    assert sent_messages(watch, hook) == []
    assert sent_messages(watch, hook) == [("Rules of alerts are never applied", "failure")]
    assert "rule few: match.check: the project has no check none" in hook.received[0]["message"]


@pytest.mark.slow
def test_a_malformed_channel_is_reported_to_the_others(watch, hook, instance, monkeypatch):
    monkeypatch.setenv("ALERT_URL_OPS", "hunter2")
    shop(instance, "a", broken="yes")
    assert sent_messages(watch, hook) == [("shop_orders failed: a", "failure")]
    assert sent_messages(watch, hook) == [("ALERT_URL_OPS cannot be used", "failure")]
    assert "hunter2" not in str(hook.received)
    monkeypatch.setenv("ALERT_URL_OPS", hook.url())
    assert sent_messages(watch, hook) == [("Recovered: ALERT_URL_OPS cannot be used", "success")]


@pytest.mark.slow
def test_an_asset_checks_that_alerts_arrive_and_the_rules_hold(
    watch, hook, instance, monkeypatch, tmp_path
):
    def looked() -> list[tuple[str, bool, str]]:
        resources = {"alerts": RESOURCES["alerts"]}
        found = dg.materialize([alerts_asset], resources=resources, instance=instance)
        checks = found.get_asset_check_evaluations()
        return [(check.check_name, check.passed, str(check.description)) for check in checks]

    assert looked() == [
        ("reach_their_channels", True, "every channel accepts its messages"),
        ("go_by_usable_rules", True, "1 rules"),
    ]
    hook.status = 500
    shop(instance, "a", broken="yes")
    sent_messages(watch, hook)
    rules = tmp_path / "alerts.yaml"
    rules.write_text("rules: [{name: a, match: {chek: x}}]")
    monkeypatch.setenv("ALERT_RULES", str(rules))
    sent, ruled = looked()
    assert sent == (
        "reach_their_channels",
        False,
        "json-1: 1 wait, 1 tried in vain, 0 overdue, 0 given up "
        "(json-1 did not accept an alert: HTTP 500)",
    )
    assert ruled[1] is False
    assert "rule a: match.chek: unknown name" in ruled[2]
    watch.tick_and_expect_skip()
    assert "Check failed: operations/alerts reach_their_channels" in str(watch.alerts("title"))


def ask_for_orders(instance, *partitions: str) -> PartitionBackfill:
    backfill_id = request_backfill(
        instance,
        SHOP.get_repository_def(),
        [orders.key],
        partitions,
        tags={},
        title="Orders of the summer",
    )
    return instance.get_backfill(backfill_id)


def give_up(instance, backfill: PartitionBackfill, hours_ago: float = 0) -> None:
    """Note what Dagster's daemon notes when an error of its own ends a backfill."""
    error = SerializableErrorInfo("no such partition", [], "CheckError")
    ended = backfill.with_status(BulkActionStatus.FAILED).with_error(error)
    instance.update_backfill(ended.with_end_timestamp(time.time() - hours_ago * 3600))


def record_daemon_heartbeat(instance, seconds_ago: float = 0) -> None:
    for name in instance.get_required_daemon_types():
        at = time.time() - seconds_ago
        instance.add_daemon_heartbeat(DaemonHeartbeat(at, name, "one", errors=[]))


def add_sensor(instance, name: str, repository_origin=None):
    from dagster._core.definitions.run_request import InstigatorType
    from dagster._core.scheduler.instigation import (
        InstigatorState,
        InstigatorStatus,
        SensorInstigatorData,
    )

    origin = RemoteInstigatorOrigin(
        repository_origin=repository_origin or SHOPS_ORIGIN, instigator_name=name
    )
    return instance.add_instigator_state(
        InstigatorState(
            origin, InstigatorType.SENSOR, InstigatorStatus.RUNNING, SensorInstigatorData()
        )
    )
