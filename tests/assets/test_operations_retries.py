"""Failed partitions, found across runs, and retried where that may help."""

import shutil
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from sqlite3 import OperationalError
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import select

from orchestration_project.assets.operations import runs_job
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.job_kinds import RETRY_FAILURES
from orchestration_project.engine.contracts.roles import REQUIRES_ADMIN
from orchestration_project.engine.contracts.work_items import ItemSettlement
from orchestration_project.engine.environment import open_warehouse
from orchestration_project.engine.runner import Report, load_partitions
from orchestration_project.errors import (
    ConfigurationError,
    ContractError,
    OrchestrationError,
    TransientError,
)
from orchestration_project.services.inbox.rows import Inbox, NewDelivery, open_delivery_items
from orchestration_project.services.retries.retrying import find_failed_partitions
from orchestration_project.services.retries.rules import explain_skip
from orchestration_project.tables.spine import inbox_states
from tests.expecting import expect_success
from tests.resources.definitions import RESOURCES
from tests.runs import executed, op_metadata

LETTERS = dg.StaticPartitionsDefinition(["a", "b", "c", "d"])
THING, TWIN = dg.AssetKey(["letters", "thing"]), dg.AssetKey(["letters", "twin"])
FIRST, LAST = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


class Trouble(dg.Config):
    """Faults by letter."""

    held: str = ""
    broken: str = ""
    remark: str = ""
    replay: bool = False


class Letters:
    """A load with the trouble that its run's tag names."""

    where: Mapping[str, str] = {"asset": "letters/thing"}

    def __init__(self, trouble: Trouble) -> None:
        self._trouble = trouble

    def ready(self) -> None:
        pass

    def take(self, key: str) -> str:
        return key

    def write_batch(self, taken: str) -> str:
        if taken in self._trouble.held:
            raise ContractError(f"{taken} breaks a rule")
        if taken in self._trouble.broken:
            raise OperationalError(f"no room for {taken}")
        return taken


class LetterReport(Report[str]):
    """Report of two assets that a letter makes."""

    def metadata(self, loaded: str) -> Mapping[dg.AssetKey, Mapping[str, Any]]:
        return {THING: {"key": loaded}, TWIN: {"key": loaded}}


@dg.multi_asset(
    name="make_letters",
    specs=[dg.AssetSpec(THING), dg.AssetSpec(TWIN, deps=[THING])],
    partitions_def=LETTERS,
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def make_letters(context: dg.AssetExecutionContext, config: Trouble):
    yield from load_partitions(context, lambda: Letters(config), LetterReport())


defs = dg.Definitions(
    assets=[make_letters],
    jobs=[
        dg.define_asset_job("letters", [THING, TWIN]),
        runs_job,
    ],
    resources=RESOURCES,
    executor=dg.in_process_executor,
)


def run(instance, first: str, last: str | None = None, job: str = "letters", **trouble) -> str:
    config = {"ops": {"make_letters": {"config": trouble}}} if trouble else {}
    result = defs.resolve_job_def(job).execute_in_process(
        instance=instance,
        raise_on_error=False,
        run_config=config,
        tags={FIRST: first, LAST: last or first},
    )
    return result.run_id


def found(instance, **wanted) -> list[tuple[str, str, str]]:
    partitions = find_failed_partitions(instance, defs.get_repository_def(), **wanted)
    return [
        (partition.partition, partition.category, partition.reason.partition("\n")[0])
        for partition in partitions
    ]


def retried(instance, **config) -> Mapping[str, Any]:
    """Run the job that retries, and return its metadata."""
    config = RETRY_FAILURES.run_config({"dry_run": False, **config})
    result = executed(instance, "operations_runs", module=__name__, **config)
    return op_metadata(expect_success(result))


def only_backfill(instance):
    [backfill] = instance.get_backfills()
    return backfill


HELD, BROKEN = (
    ("b", "contract", "b breaks a rule"),
    ("d", "database", "sqlite3.OperationalError: no room for d"),
)


@pytest.fixture(autouse=True)
def settings(demo_settings, tmp_path, monkeypatch):
    """Settings of a database without work items, and a source of webhooks."""
    file = tmp_path / "webhooks.yaml"
    file.write_text("sources: {hub: {scheme: github, job: events_webhooks}}")
    monkeypatch.setenv("WEBHOOKS_FILE", str(file))
    monkeypatch.setenv("DISK_HEADROOM_MIB", "0")
    return demo_settings


@pytest.fixture
def instance(kept_instance):
    return kept_instance


def test_a_failed_partition_is_found_until_it_is_loaded(instance):
    run(instance, "a", "d", held="b", broken="d")
    assert found(instance) == found(instance, domain="letters") == [HELD, BROKEN]
    assert found(instance, since=datetime.now(UTC)) == []  # noqa: TID251 - by the machine's clock
    run(instance, "d")
    assert found(instance) == [HELD]


def test_a_partition_that_a_run_did_not_come_to_failed_for_what_ended_the_run(instance):
    run(instance, "a", "c", broken="b")
    assert [retry[:2] for retry in found(instance)] == [("b", "database"), ("c", "database")]
    job = defs.resolve_job_def("letters")
    killed, ended = (
        instance.create_run_for_job(job, tags={FIRST: key, LAST: key}) for key in ("c", "d")
    )
    assert [retry[0] for retry in found(instance)] == ["b"]  # the others are under way
    instance.report_run_failed(killed)
    instance.report_run_canceled(ended)
    assert [retry[:2] for retry in found(instance)[1:]] == [("c", "crash"), ("d", "canceled")]


def test_what_only_an_admin_may_launch_is_listed_and_not_tried_again(instance):
    """Whoever launches the job is not known within it."""

    @dg.asset(key=["letters", "shredded"], partitions_def=LETTERS, tags=REQUIRES_ADMIN)
    def shredded() -> None:
        raise OperationalError("no room")

    own = dg.Definitions(assets=[shredded], jobs=[dg.define_asset_job("shredding", [shredded])])
    job = own.resolve_job_def("shredding")
    job.execute_in_process(instance=instance, raise_on_error=False, partition_key="a")
    [failed] = find_failed_partitions(instance, own.get_repository_def())
    assert (failed.partition, failed.category) == ("a", "database")
    assert explain_skip(failed, ["database"]) == "only an admin may launch it"


@pytest.mark.slow
def test_a_run_that_dagster_tries_again_is_left_alone_until_it_plainly_does_not(
    new_files, tmp_path, monkeypatch: pytest.MonkeyPatch
):
    folder = shutil.copytree(new_files, tmp_path / "retrying")
    retries = {"run_retries": {"enabled": True, "max_retries": 2}}
    with dg.instance_for_test(overrides=retries, temp_dir=str(folder)) as instance:
        job = defs.resolve_job_def("letters")
        killed = instance.create_run_for_job(job, tags={FIRST: "c", LAST: "c"})
        instance.report_run_failed(killed)  # of a job in a shell Dagster announces it in vain
        reported = retried(instance, dry_run=True)
        assert [record.data["left_out_because"] for record in reported["left_out"].records] == [
            "Dagster tries the run again by itself"
        ]
        waited = "orchestration_project.services.retries.retrying.MAX_RETRY_DELAY"
        monkeypatch.setattr(waited, timedelta(0))
        reported = retried(instance, dry_run=True)
        assert [record.data["partition"] for record in reported["due"].records] == ["c"]


def test_an_unknown_domain_is_refused_with_those_that_there_are(instance):
    with pytest.raises(ConfigurationError, match="expected: one of letters"):
        found(instance, domain="numbers")


@pytest.mark.slow
def test_the_job_launches_due_retries_and_lists_others_why(instance):
    failed = run(instance, "a", "d", held="b", broken="d", remark="kept")
    run(instance, "c", broken="c", replay=True)
    dry = retried(instance, dry_run=True)
    assert retried(instance, dry_run=True, run_id="another")["due_count"] == 0
    assert retried(instance, dry_run=True, run_id=failed)["due_count"] == dry["due_count"] == 1
    assert (dry["backfills"], instance.get_backfills()) == ("none: dry run", [])

    reported = retried(instance)
    backfill = only_backfill(instance)
    assert reported["backfills"] == backfill.backfill_id
    assert backfill.run_config == instance.get_run_by_id(failed).run_config
    own = {name: value for name, value in backfill.tags.items() if "trace" not in name}
    assert own == {"launched_by_job": "operations_runs"}
    targets = backfill.asset_backfill_data.target_subset.partitions_subsets_by_asset_key
    assert {key: set(subset.get_partition_keys()) for key, subset in targets.items()} == {
        THING: {"d"},
        TWIN: {"d"},
    }
    [due] = [record.data for record in reported["due"].records]
    assert (due["asset"], due["partition"], due["kind"]) == ("letters/thing", "d", "database")
    left_out = {record.data["partition"]: record.data for record in reported["left_out"].records}
    assert left_out["b"]["failure"].startswith("b breaks a rule")
    assert left_out["b"]["left_out_because"].startswith("it stays quarantined until the source")
    assert left_out["c"]["left_out_because"] == "a replay is repeated by launching it again"

    again = retried(instance, kinds=["contract"])
    assert (
        again["backfills"]
        == f"none: {backfill.backfill_id}, of an earlier run of this job, is not over"
    )
    assert only_backfill(instance) == backfill


@pytest.mark.slow
def test_of_a_run_what_it_left_and_is_failed_now_is_launched_whichever_attempt_was_the_latest(
    instance,
):
    failed = run(instance, "a", "d", held="c", broken="d")  # a and b loaded
    later = run(instance, "c", "d", held="c", broken="d")
    run(instance, "a", broken="a")
    for each in (failed, later):
        reported = retried(instance, run_id=each, dry_run=True)
        assert [record.data["partition"] for record in reported["due"].records] == ["d"]
        assert [record.data["run_id"] for record in reported["due"].records] == [later]
        assert [record.data["partition"] for record in reported["left_out"].records] == ["c"]
    run(instance, "d")
    assert retried(instance, run_id=failed)["due_count"] == 0
    run(instance, "d", broken="d")
    assert retried(instance, run_id=failed)["backfills"] == only_backfill(instance).backfill_id


def fail_deliveries(settings, **errors: OrchestrationError) -> None:
    """Store a delivery for each error, with which its one attempt ends."""
    with open_warehouse(settings) as warehouse:
        clock = Clock()
        received = [NewDelivery("hub", error, "push", b'{"a": 1}', {}, 1) for error in errors]
        Inbox(warehouse, clock).take(received)
        items, until = open_delivery_items(warehouse, clock), clock.now() + timedelta(minutes=1)
        claimed = items.claim("webhooks/hub", limit=9, run_id="earlier", until=until)
        with warehouse.writing() as connection:
            ended = [ItemSettlement.of_error(item, errors[item.key]) for item in claimed]
            items.settle(connection, ended)


def deliveries(settings) -> dict[str, tuple[str, int, int]]:
    """Return state, attempts and allowed attempts of each delivery."""
    names = ("delivery_id", "state", "attempt_count", "allowed_count")
    columns = [inbox_states.c[name] for name in names]
    with open_warehouse(settings) as warehouse, warehouse.reading() as connection:
        found = connection.execute(select(*columns))
        return {row.delivery_id: (row.state, row.attempt_count, row.allowed_count) for row in found}


BUSY, BROKEN_RULE = TransientError("the disk is full"), ContractError("it breaks a rule")


@pytest.mark.slow
def test_a_dead_delivery_is_retried_beside_partitions_and_loaded_by_the_next_run(
    instance, settings
):
    run(instance, "d", broken="d")
    fail_deliveries(settings, dead=BUSY)
    dry = retried(instance, dry_run=True)
    assert (dry["items_due_count"], dry["items_retried_count"]) == (1, 0)
    assert deliveries(settings) == {"dead": ("dead", 1, 1)}

    reported = retried(instance)
    assert reported["backfills"] == only_backfill(instance).backfill_id
    assert (reported["items_due_count"], reported["items_retried_count"]) == (1, 1)
    [item] = [record.data for record in reported["items"].records]
    assert (item["topic"], item["item_key"], item["state"]) == ("webhooks/hub", "dead", "dead")
    assert (item["attempt_count"], item["run_id"]) == (1, "earlier")
    assert item["reason"].startswith("the disk is full")
    assert deliveries(settings) == {"dead": ("received", 1, 4)}
    loaded = executed(instance, "events_webhooks", tags={"webhook_source": "hub"})
    assert loaded.success
    assert deliveries(settings) == {"dead": ("done", 2, 4)}
    assert retried(instance)["items_due_count"] == 0


def test_a_permanent_failure_is_listed_and_retried_only_on_request(instance, settings):
    run(instance, "d", broken="d")
    fail_deliveries(settings, busy=BUSY, wrong=BROKEN_RULE, other=BROKEN_RULE)
    reported = retried(instance, dry_run=True)
    assert [record.data for record in reported["item_topics"].records] == [
        {"topic": "webhooks/hub", "due_count": 1, "left_out_count": 2}
    ]
    shown = {
        record.data["item_key"]: record.data["left_out_because"]
        for record in reported["items"].records
    }
    assert list(shown) == ["busy", "other", "wrong"]
    assert shown["busy"] == ""
    assert shown["wrong"] == "the data, or the rule that it breaks, has to change"

    reported = retried(instance, item_keys=["wrong", "unknown"])
    assert (reported["items_retried_count"], reported["items_missing"]) == (1, "unknown")
    assert (reported["due_count"], instance.get_backfills()) == (
        0,
        [],
    )  # items alone were requested
    states = {key: state for key, (state, *_) in deliveries(settings).items()}
    assert states == {"busy": "dead", "wrong": "received", "other": "dead"}
    reported = retried(instance, topics=["webhooks/hub"], include_permanent=True)
    assert (reported["items_retried_count"], reported["items_left_out_count"]) == (2, 0)


@pytest.mark.slow
def test_items_are_retried_of_the_run_and_the_domain_that_were_asked_for(instance, settings):
    fail_deliveries(settings, busy=BUSY)
    for config in ({"run_id": "another"}, {"domain": "letters"}, {"since": "2100-01-01T00:00:00Z"}):
        assert retried(instance, dry_run=True, **config)["items_due_count"] == 0, config
    for config in ({"run_id": "earlier"}, {"domain": "events"}):
        assert retried(instance, dry_run=True, **config)["items_due_count"] == 1, config


def test_an_unknown_topic_is_refused_with_the_known_ones_and_nothing_is_launched(
    instance, settings
):
    run(instance, "d", broken="d")
    fail_deliveries(settings, busy=BUSY)
    config = RETRY_FAILURES.run_config({"topics": ["webhooks/hubb"]})
    result = executed(instance, "operations_runs", module=__name__, **config)
    failure = result.failure_data_for_node("handle_runs")
    assert failure
    assert failure.error
    assert "expected: one of webhooks/hub\n" in failure.error.to_string()
    assert instance.get_backfills() == []
    assert deliveries(settings) == {"busy": ("dead", 1, 1)}
