"""The runner that takes a run's partitions one by one, and the weeks that there are."""

import gc
import re
import signal
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from orchestration_project.assets.finra.catalogue import build_weeks
from orchestration_project.assets.prices.catalogue import build_months
from orchestration_project.cli.execution import ProgressLine
from orchestration_project.domains.finra.datasets import (
    BOND_TRADE_ACTIVITY,
    CORPORATE_MARKET_BREADTH,
    TREASURY_WEEKLY,
)
from orchestration_project.domains.finra.declaration import MIDNIGHT
from orchestration_project.engine import runner
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.balance import Balance
from orchestration_project.engine.dataset import build_partitions
from orchestration_project.engine.loads import ItemResult, Load, record_run_balances
from orchestration_project.engine.own.partitions import Weekly
from orchestration_project.engine.runner import ItemPlan, Report, load_partitions, load_pieces
from orchestration_project.engine.warehouse import SupersededError, Warehouse
from orchestration_project.errors import (
    ConfigurationError,
    OrchestrationError,
    SourceError,
    TransientError,
)
from orchestration_project.resources.finra.weeks import first_finra_week, offered_weeks
from orchestration_project.services.ledger.reading import read_facts
from orchestration_project.settings import settings_class
from orchestration_project.tables.spine import balances
from tests.prepared import Prepared
from tests.runs import expect_failure, metadata_by_partition

LETTERS = dg.StaticPartitionsDefinition(["a", "b", "c", "d"])
THING = dg.AssetKey("thing")


@pytest.fixture(autouse=True)
def second_attempt_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test wait for the second attempt of a step."""
    monkeypatch.setattr(runner, "SECONDS_TO_NEXT_ATTEMPT", 0)


@dataclass
class Script:
    """A load that does to each partition what the script says, and notes what it was asked."""

    actions: Mapping[str, Callable[[int], None]] = field(default_factory=dict)
    requested: list[str] = field(default_factory=list)
    where: Mapping[str, str] = field(default_factory=lambda: {"asset": "thing"})
    opening: Callable[[int], None] = lambda times: None
    opened: int = 0

    def ready(self) -> None:
        self.opened += 1
        self.opening(self.opened)

    def take(self, key: str) -> str:
        self.requested.append(key)
        return key

    def write_batch(self, taken: str) -> str:
        self.actions.get(taken, lambda times: None)(self.requested.count(taken))
        return taken


def holding() -> list[dg.AssetCheckResult]:
    return [dg.AssetCheckResult(asset_key=THING, check_name="holds", passed=True)]


@dataclass(frozen=True)
class KeyReport(Report[str]):
    """Report of the asset whose loaded partitions are their keys."""

    holding: Callable[[], Sequence[dg.AssetCheckResult]] = tuple
    taking: Callable[[Mapping[str, str]], None] = lambda loaded: None
    unchanged: str = "-"
    warehouse: Warehouse | None = None

    def metadata(self, loaded: str) -> Mapping[dg.AssetKey, Mapping[str, Any]]:
        return {THING: {"key": loaded}}

    def checks(self) -> Sequence[dg.AssetCheckResult]:
        return self.holding()

    def settle(self, loaded: Mapping[str, str]) -> None:
        self.taking(loaded)

    def is_unchanged(self, loaded: str) -> bool:
        return loaded.startswith(self.unchanged)

    def record_balances(self, run_id: str, balances: Sequence[Balance]) -> None:
        if self.warehouse:
            record_run_balances(self.warehouse, "thing", run_id, balances, Clock().now())


def run(
    script: Load[Any, str],
    instance: dg.DagsterInstance,
    first: str = "a",
    last: str | None = "d",
    checks: Callable[[], list[dg.AssetCheckResult]] = holding,
) -> dg.ExecuteInProcessResult:
    @dg.multi_asset(
        specs=[dg.AssetSpec(THING)],
        check_specs=[dg.AssetCheckSpec("holds", asset=THING)],
        partitions_def=LETTERS,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def thing(context: dg.AssetExecutionContext):
        report = KeyReport(holding=checks)
        yield from load_partitions(context, lambda: script, report)

    job = dg.Definitions(assets=[thing], jobs=[dg.define_asset_job("all", [THING])])
    return job.resolve_job_def("all").execute_in_process(
        instance=instance,
        raise_on_error=False,
        tags={
            "dagster/asset_partition_range_start": first,
            "dagster/asset_partition_range_end": last,
        }
        if last
        else None,
    )


def raising(error: Exception, times: int = 99) -> Callable[[int], None]:
    def act(requested: int) -> None:
        if requested <= times:
            raise error

    return act


def test_every_partition_is_taken_once_and_materialized_with_its_own_metadata(instance):
    script = Script()
    result = run(script, instance)
    assert result.success
    assert script.requested == ["a", "b", "c", "d"]
    assert metadata_by_partition(result)["thing"] == {key: {"key": key} for key in "abcd"}


@pytest.mark.slow_after_first
@pytest.mark.parametrize("failing", ["", "c"])
def test_loads_are_settled_once_dagster_has_stored_their_events(instance, failing):
    """Also of those of a run that fails; Dagster's way of taking events makes that possible."""
    settled: list[tuple[set[str], set[str]]] = []

    @dg.asset(partitions_def=LETTERS, backfill_policy=dg.BackfillPolicy.single_run())
    def thing(context: dg.AssetExecutionContext):
        def settle(loaded: Mapping[str, str]) -> None:
            settled.append((set(loaded), instance.get_materialized_partitions(THING)))
            raise TransientError("the database does not answer")

        report = KeyReport(taking=settle)
        script = Script({failing: raising(SourceError("no"))})
        yield from load_partitions(context, lambda: script, report)

    job = dg.Definitions(assets=[thing], jobs=[dg.define_asset_job("all", [THING])])
    result = job.resolve_job_def("all").execute_in_process(
        instance=instance,
        raise_on_error=False,
        tags={
            "dagster/asset_partition_range_start": "a",
            "dagster/asset_partition_range_end": "d",
        },
    )
    assert result.success == (not failing)
    assert settled == [({*"abcd"} - {failing}, {*"abcd"} - {failing})]


TIERS_AND_WEEKS = dg.MultiPartitionsDefinition(
    {
        "tier": dg.StaticPartitionsDefinition(["T1", "T2", "OTCE"]),
        "week": dg.WeeklyPartitionsDefinition("2026-01-11", end_date="2026-02-08"),
    }
)


def run_tagged(
    script: Load[Any, str], instance: dg.DagsterInstance, **tags: str
) -> dg.ExecuteInProcessResult:
    """Run a load of tiers and weeks with tags as Dagster writes them."""
    names = {
        "key": "dagster/partition",
        "first": "dagster/asset_partition_range_start",
        "last": "dagster/asset_partition_range_end",
        "tier": "dagster/partition/tier",
        "week": "dagster/partition/week",
        "partition_set": "dagster/partition_set",
    }

    @dg.multi_asset(
        specs=[dg.AssetSpec(THING)],
        partitions_def=TIERS_AND_WEEKS,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def thing(context: dg.AssetExecutionContext):
        report = KeyReport(unchanged="T1")
        yield from load_partitions(context, lambda: script, report)

    job = dg.Definitions(assets=[thing], jobs=[dg.define_asset_job("all", [THING])])
    return job.resolve_job_def("all").execute_in_process(
        instance=instance,
        raise_on_error=False,
        tags={names[name]: value for name, value in tags.items()},
    )


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("tags", "requested"),
    [
        (
            {"first": "T2|2026-01-11", "last": "OTCE|2026-01-18"},
            ["T2|2026-01-11", "T2|2026-01-18", "OTCE|2026-01-11", "OTCE|2026-01-18"],
        ),
        (
            {
                "first": "T2|2026-01-18",
                "last": "OTCE|2026-01-18",
                "tier": "T2",
                "week": "2026-01-11",
                "partition_set": "all_partition_set",
            },
            ["T2|2026-01-18", "OTCE|2026-01-18"],
        ),
        (
            {
                "first": "T1|2026-01-11",
                "last": "T1|2026-01-25",
                "tier": "T1",
                "week": "2026-01-11",
                "partition_set": "all_partition_set",
            },
            ["T1|2026-01-11", "T1|2026-01-18", "T1|2026-01-25"],
        ),
        (
            {"key": "T2|2026-01-18", "tier": "T2", "week": "2026-01-18"},
            ["T2|2026-01-18"],
        ),
    ],
)
def test_just_what_was_asked_for_is_loaded_and_materialized_whatever_other_tags_say(
    instance, tags, requested
):
    script = Script()
    result = run_tagged(script, instance, **tags)
    assert result.success
    assert script.requested == requested
    assert metadata_by_partition(result)["thing"] == {key: {"key": key} for key in requested}
    assert instance.get_materialized_partitions(THING) == set(requested)


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    "tags",
    [
        {"key": "T2|2026-01-18", "tier": "T1", "week": "2026-01-18"},
        {"first": "T2|2026-01-11", "last": "T2|2026-01-18", "tier": "T2", "week": "2026-01-11"},
        {"tier": "T1", "week": "2026-01-18"},
    ],
)
def test_a_run_whose_tags_disagree_or_name_no_whole_partition_fails_and_loads_nothing(
    instance, tags
):
    script = Script()
    result = run_tagged(script, instance, **tags)
    assert not result.success
    assert (script.requested, script.opened) == ([], 0)
    assert instance.get_materialized_partitions(THING) == set()
    record = instance.get_run_record_by_id(result.run_id)
    facts = read_facts(instance, record)
    assert facts.steps[0].error_classes == ["Failure", "ConfigurationError"]


def test_a_run_first_logs_its_partitions_and_last_what_became_of_them(instance):
    script = Script({"OTCE|2026-01-11": raising(SourceError("unusable"))})
    result = run_tagged(script, instance, first="T1|2026-01-11", last="OTCE|2026-01-11")
    entries = instance.all_logs(result.run_id)
    first, *_, last = [entry.user_message for entry in entries if entry.dagster_event is None]
    assert first == "3 partitions requested: T1|2026-01-11, T2|2026-01-11, OTCE|2026-01-11"
    assert last == "partitions: 3 = 1 loaded + 1 unchanged + 1 refused"


def test_a_run_of_which_a_partition_has_no_result_fails_and_names_it(instance):
    @dg.multi_asset(
        specs=[dg.AssetSpec(THING)],
        partitions_def=LETTERS,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def thing(context: dg.AssetExecutionContext):
        load = Pairs(pieces=lambda partitions: partitions)
        report = KeyReport()
        without_b = ItemPlan[str](lambda keys, ended: [key for key in ended if "b" not in str(key)])
        yield from load_pieces(context, lambda: load, report, without_b)

    job = dg.Definitions(assets=[thing], jobs=[dg.define_asset_job("all", [THING])])
    result = job.resolve_job_def("all").execute_in_process(
        instance=instance,
        raise_on_error=False,
        tags={
            "dagster/asset_partition_range_start": "a",
            "dagster/asset_partition_range_end": "c",
        },
    )
    assert not result.success
    assert "partitions: 3 != 2 loaded; without an end: b" in expect_error(result)
    assert instance.get_materialized_partitions(THING) == {"a", "c"}


def test_a_range_that_ends_before_it_starts_is_refused(instance):
    result = run(Script(), instance, first="c", last="b")
    assert not result.success
    assert expect_failure(result, "thing").startswith("the run's range holds no partition: c to b")


def test_a_run_without_a_partition_names_the_tag_to_set(instance):
    script = Script()
    result = run(script, instance, last=None)
    assert not result.success
    message = expect_failure(result, "thing")
    assert message.startswith("the run names no partition\n")
    assert """--tags '{"dagster/partition": "d"}'""" in message
    assert script.requested == []


def test_a_refused_partition_leaves_the_others_alone_and_is_named_with_its_reason(instance):
    script = Script({"b": raising(SourceError("the page is HTML", url="https://x"))})
    result = run(script, instance)
    assert not result.success
    assert script.requested == ["a", "b", "c", "d"]
    assert instance.get_materialized_partitions(THING) == {"a", "c", "d"}
    description = expect_failure(result, "thing")
    assert description.startswith("1 of 4 partitions did not load: b\nthe page is HTML")
    assert f"partition=b, run={result.run_id}, asset=thing, url=https://x" in description


def test_a_refused_partition_is_observed_with_the_kind_of_its_error(instance):
    run(Script({"b": raising(ConfigurationError("no folder"))}), instance)
    records = instance.fetch_observations(THING, limit=9).records
    failures = {
        record.asset_observation.partition: record.asset_observation.metadata["category"].value
        for record in records
    }
    assert failures == {"b": "configuration"}


@pytest.mark.slow
def test_a_transient_error_is_retried_and_a_refusal_is_not(instance):
    script = Script(
        {
            "b": raising(TransientError("throttled"), times=1),
            "c": raising(SourceError("unusable")),
        }
    )
    result = run(script, instance)
    assert not result.success
    assert (script.requested.count("b"), script.requested.count("c")) == (2, 1)
    assert instance.get_materialized_partitions(THING) == {"a", "b", "d"}
    description = expect_failure(result, "thing")
    assert description.startswith("1 of 4 partitions did not load: c\nunusable")


def test_a_second_attempt_is_counted_from_one_and_named_as_such(instance, capsys, caplog):
    script = Script({"b": raising(TransientError("throttled"), times=1)})
    with ProgressLine(of=3) as progress:
        run(script, instance, last="c")
    shown = capsys.readouterr().out
    counted = re.findall(r"^\[ ?(\d/\d)\] (\w):", shown, re.MULTILINE)
    assert counted == 2 * [("1/3", "a"), ("2/3", "b"), ("3/3", "c")]
    assert re.findall(r"^.* (\w): .*\(attempt 2, \d+ s left\)$", shown, re.MULTILINE) == [*"abc"]
    assert progress.done == 3
    assert "a: a (attempt 2, 1 of 3, about 0 s left)" in caplog.messages


@pytest.mark.slow
def test_what_an_attempt_loaded_is_not_unchanged_for_the_next(instance):
    class Twice(Script):
        def write_batch(self, taken: str) -> str:
            super().write_batch(taken)
            return "landed" if taken != "c" and self.requested.count(taken) == 1 else "unchanged"

    script = Twice({"b": raising(TransientError("throttled"), times=1)})
    with ProgressLine(of=3) as progress:
        run(script, instance, last="c")
    assert (progress.done, progress.unchanged) == (3, 2)


def test_a_transient_error_that_stays_ends_the_run_after_the_second_attempt(instance):
    script = Script({"b": raising(TransientError("unreachable"))})
    result = run(script, instance)
    assert not result.success
    assert script.requested.count("b") == 2


def test_a_partition_that_another_run_delivered_first_is_looked_at_again(instance):
    script = Script({"b": raising(SupersededError("overtaken"), times=2)})
    assert run(script, instance).success
    assert script.requested.count("b") == 3


@dataclass
class Pairs:
    """Pieces that load two by two; some of them another run delivered first, so many times."""

    overtaken: dict[str, int] = field(default_factory=dict)
    taken: list[list[str]] = field(default_factory=list)
    where: Mapping[str, str] = field(default_factory=lambda: {"asset": "thing"})
    pieces: Callable[[Sequence[str]], Sequence[str]] = lambda partitions: [*"vwxyz"]

    def ready(self) -> None:
        """It needs nothing."""

    def batches(self, keys: Sequence[str]) -> Iterator[list[str]]:
        for place in range(0, len(keys), 2):
            self.taken.append(list(keys[place : place + 2]))
            yield self.taken[-1]

    def write_batch(self, taken: list[str]) -> Mapping[str, str | OrchestrationError]:
        return {key: self._write_key(key) for key in taken}

    def _write_key(self, key: str) -> str | OrchestrationError:
        if not self.overtaken.get(key):
            return key
        self.overtaken[key] -= 1
        return SupersededError("overtaken")


class SwallowingPairs(Pairs):
    """Pieces of which one that fails is dropped in silence."""

    def write_batch(self, taken: list[str]) -> Mapping[str, str | OrchestrationError]:
        return {key: key for key in taken if key != "y"}


@pytest.fixture
def warehouse(tmp_path: Path, prepared: Prepared) -> Iterator[Warehouse]:
    """An empty warehouse."""
    url = prepared.sqlite(tmp_path / "warehouse.sqlite")
    with Warehouse(url, clock=Clock()) as opened:
        opened.prepare(holds="real")
        yield opened


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("load", "lost_keys", "message", "counts"),
    [
        (
            SwallowingPairs,
            "",
            "pieces: 5 != 4 ended",
            {"partitions": (2, '{"loaded": 2}'), "pieces": (5, '{"ended": 4}')},
        ),
        (
            Pairs,
            "b",
            "partitions: 2 != 1 loaded; without an end: b",
            {"partitions": (2, '{"loaded": 1}'), "pieces": (5, '{"ended": 5}')},
        ),
    ],
    ids=["a_piece_whose_error_was_swallowed", "a_partition_that_was_dropped"],
)
def test_what_a_run_lost_fails_it_with_its_numbers(
    instance, warehouse, load, lost_keys, message, counts
):
    def summed(keys: Sequence[str], _: Sequence[ItemResult[str]]) -> list[ItemResult[str]]:
        return [ItemResult(key, key) for key in keys if key not in lost_keys]

    @dg.multi_asset(
        specs=[dg.AssetSpec(THING)],
        partitions_def=LETTERS,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def thing(context: dg.AssetExecutionContext):
        report = KeyReport(warehouse=warehouse)
        yield from load_pieces(context, load, report, ItemPlan[str](summed, "piece"))

    job = dg.Definitions(assets=[thing], jobs=[dg.define_asset_job("all", [THING])])
    result = job.resolve_job_def("all").execute_in_process(
        instance=instance,
        raise_on_error=False,
        tags={
            "dagster/asset_partition_range_start": "a",
            "dagster/asset_partition_range_end": "b",
        },
    )
    assert message in expect_error(result)
    names = ("equation", "came_in", "went_to")
    statement = select(*(balances.c[name] for name in names)).order_by(balances.c.equation)
    recorded = warehouse.frame(statement, balances).rows()
    assert {name: tuple(numbers) for name, *numbers in recorded} == counts


def outcomes_of(load: Pairs, instance: dg.DagsterInstance) -> dict[str, str]:
    """Run a load of pieces and return how each ended."""
    seen: dict[str, str] = {}

    def summed(keys: Sequence[str], outcomes: Sequence[ItemResult[str]]) -> list[ItemResult[str]]:
        seen.update(
            {outcome.partition_key: str(outcome.error or outcome.loaded) for outcome in outcomes}
        )
        return [ItemResult(key, key) for key in keys]

    @dg.multi_asset(
        specs=[dg.AssetSpec(THING)],
        partitions_def=LETTERS,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def thing(context: dg.AssetExecutionContext):
        report = KeyReport()
        yield from load_pieces(context, lambda: load, report, ItemPlan(summed, "piece"))

    job = dg.Definitions(assets=[thing], jobs=[dg.define_asset_job("all", [THING])])
    tags = {"dagster/partition": "a"}
    job.resolve_job_def("all").execute_in_process(instance=instance, tags=tags)
    return seen


def test_a_superseded_piece_is_retried_without_loaded_ones(
    instance,
):
    load = Pairs({"w": 1, "y": 2})
    assert outcomes_of(load, instance) == {key: key for key in "vwxyz"}
    assert sorted(map("".join, load.taken)) == ["vw", "w", "xy", "y", "y", "z"]


def test_a_piece_that_is_always_overtaken_is_given_up_and_named(instance):
    load = Pairs({"y": 99})
    ended = outcomes_of(load, instance)
    assert {key: value for key, value in ended.items() if key != "y"} == {
        key: key for key in "vwxz"
    }
    assert ended["y"].startswith("overtaken\n  where: piece=y, run=")
    assert load.taken.count(["y"]) == 3


def expect_error(result: dg.ExecuteInProcessResult) -> str:
    """Return what the step's error says, with its causes."""
    data = result.failure_data_for_node("thing")
    assert data
    assert data.error
    return data.error.to_string()


def retries(result: dg.ExecuteInProcessResult) -> int:
    return len([event for event in result.all_events if event.is_step_up_for_retry])


def test_a_run_does_not_keep_its_place_until_a_source_answers_again_tomorrow(instance):
    script = Script({"b": raising(TransientError("throttled", retry_in_seconds=86_400))})
    result = run(script, instance)
    assert not result.success
    assert (retries(result), script.requested.count("b")) == (0, 1)
    assert instance.get_materialized_partitions(THING) == {"a", "c", "d"}
    assert expect_failure(result, "thing").startswith(
        "1 of 4 partitions did not load: b\nthrottled"
    )


def test_a_run_that_waits_for_a_source_can_be_ended(instance, monkeypatch):
    wait, sleep = 2.25, time.sleep

    def interrupted(seconds: float) -> None:
        if seconds == wait:
            signal.raise_signal(signal.SIGINT)
        sleep(seconds)

    monkeypatch.setattr(time, "sleep", interrupted)
    throttled = raising(TransientError("throttled", retry_in_seconds=wait))
    result = run(Script({"b": throttled}), instance)
    assert not result.success
    assert retries(result) == 0
    assert "DagsterExecutionInterruptedError" in expect_error(result)
    assert instance.get_materialized_partitions(THING) == {"a", "c", "d"}


def test_a_defect_ends_the_run_by_name_and_is_not_tried_again(instance):
    script = Script({"c": raising(ZeroDivisionError("by nothing"))})
    result = run(script, instance)
    assert not result.success
    assert script.requested.count("c") == 1
    assert "by nothing" in expect_error(result)
    assert f"where: partition=c, run={result.run_id}, asset=thing" in expect_error(result)


def test_loaded_partitions_materialize_quarantined_are_observed(instance):
    script = Script(
        {"b": raising(SourceError("unusable")), "c": raising(ZeroDivisionError())},
    )
    result = run(script, instance)
    assert instance.get_materialized_partitions(THING) == {"a"}
    assert metadata_by_partition(result)["thing"] == {"a": {"key": "a"}}
    [record] = instance.fetch_observations(THING, limit=9).records
    assert record.asset_observation
    assert record.asset_observation.partition == "b"


def failing(error: Exception, times: int) -> Callable[[], list[dg.AssetCheckResult]]:
    """Return checks that fail this often, and hold then."""
    act, requested = raising(error, times), [0]

    def checks() -> list[dg.AssetCheckResult]:
        requested[0] += 1
        act(requested[0])
        return holding()

    return checks


def test_loaded_partitions_are_materialized_if_checks_break(instance):
    result = run(Script(), instance, checks=failing(ZeroDivisionError("in checks"), times=9))
    assert not result.success
    assert "in checks" in expect_error(result)
    assert instance.get_materialized_partitions(THING) == {"a", "b", "c", "d"}


@pytest.mark.slow
def test_checks_that_cannot_be_read_for_a_moment_are_read_by_a_second_attempt(instance):
    result = run(Script(), instance, checks=failing(TransientError("busy"), times=1))
    assert result.success
    assert retries(result) == 1


def test_checks_that_stay_unreadable_end_the_run_with_everything_materialized(instance):
    result = run(Script(), instance, checks=failing(TransientError("busy"), times=9))
    assert not result.success
    assert expect_failure(result, "thing").startswith("busy")
    assert instance.get_materialized_partitions(THING) == {"a", "b", "c", "d"}


def test_what_cannot_be_opened_for_a_moment_is_opened_by_a_second_attempt(instance):
    script = Script(opening=raising(TransientError("no database"), times=1))
    result = run(script, instance)
    assert result.success
    assert (script.opened, retries(result)) == (2, 1)
    assert script.requested == ["a", "b", "c", "d"]


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("error", "attempts"),
    [(TransientError("no database", remedy="start it"), 2), (ConfigurationError("no driver"), 1)],
)
def test_what_cannot_be_opened_names_asset_partitions_and_run(instance, error, attempts):
    script = Script(opening=raising(error))
    result = run(script, instance)
    assert not result.success
    assert (script.opened, script.requested) == (attempts, [])
    assert expect_failure(result, "thing").startswith(error.what)
    assert f"assets=thing, partitions=a to d (4), run={result.run_id}" in expect_failure(
        result, "thing"
    )
    assert error.remedy in expect_failure(result, "thing")


def test_of_one_partition_that_one_is_named(instance):
    result = run(Script(opening=raising(SourceError("gone"))), instance, first="b", last="b")
    assert "partitions=b, run=" in expect_failure(result, "thing")


@dataclass(eq=False)
class Rows:
    """A partition's data, which can be watched as it goes."""

    key: str


@dataclass
class Hoarder:
    """A load that counts the partitions whose data is alive whenever it loads one."""

    where: Mapping[str, str] = field(default_factory=dict)
    alive: weakref.WeakSet[Rows] = field(default_factory=weakref.WeakSet)
    counts: list[int] = field(default_factory=list)

    def ready(self) -> None:
        """It needs nothing."""

    def take(self, key: str) -> Rows:
        rows = Rows(key)
        self.alive.add(rows)
        return rows

    def write_batch(self, taken: Rows) -> str:
        gc.collect()
        self.counts.append(len(self.alive))
        if taken.key == "b":
            raise SourceError("unusable")
        return taken.key


@pytest.mark.slow
def test_the_data_of_a_partition_is_let_go_before_the_next_but_one_is_taken(instance):
    hoarder = Hoarder()
    run(hoarder, instance)
    assert len(hoarder.counts) == 4
    assert max(hoarder.counts) <= 2


NEW_YORK = ZoneInfo("America/New_York")
MOMENTS = st.integers(0, 2 * 365 * 24 * 60).map(
    lambda minutes: datetime(2025, 3, 1, tzinfo=UTC) + timedelta(minutes=minutes)
)
DAYS = st.dates(date(2025, 3, 1), date(2027, 3, 1))
MACHINE_CLOCKS = [
    datetime(2026, 3, 2, 2, tzinfo=UTC),  # Sunday in New York, and February
    datetime(2026, 3, 2, 4, 59, tzinfo=UTC),
    datetime(2026, 3, 2, 5, tzinfo=UTC),
    datetime(2026, 3, 9, 4, tzinfo=UTC),  # the clocks have been put forward
    datetime(2026, 11, 2, 4, 59, tzinfo=UTC),  # and back
]
"""Moments around the midnights in New York that begin a week or a month."""


def _at(partitions: dg.PartitionsDefinition, machine_clock: datetime) -> Sequence[str]:
    return partitions.get_partition_keys(current_time=machine_clock)


def _monday(day: date) -> date:
    return day - timedelta(days=day.weekday())


def around_midnight(test):
    for moment in MACHINE_CLOCKS:
        test = example(machine_clock=moment, now=moment.astimezone(NEW_YORK).date())(test)
    return settings(deadline=None, max_examples=25)(given(machine_clock=MOMENTS, now=DAYS)(test))


@around_midnight
def test_weeks_and_months_go_by_the_projects_clock_whatever_the_machine_says(machine_clock, now):
    machine_now = machine_clock.astimezone(NEW_YORK).date()
    weeks = build_weeks(
        date(2024, 12, 30), _monday(now) - timedelta(days=21), machine_now=machine_now
    )
    months = build_months(date(2024, 12, 1), now=now, machine_now=machine_now)
    of_weeks, of_months = _at(weeks, machine_clock), _at(months, machine_clock)
    assert (of_weeks[0], of_months[0]) == ("2024-12-30", "2024-12-01")
    assert of_weeks[-1] == str(_monday(now) - timedelta(days=21))  # FINRA has published it
    ended = build_weeks(
        date(2024, 12, 30), date(2025, 1, 13), machine_now=machine_now, goes_on=False
    )
    for moment in (machine_clock, machine_clock + timedelta(days=7)):
        assert _at(ended, moment) == ["2024-12-30", "2025-01-06", "2025-01-13"]
    assert of_months[-1] == str(now.replace(day=1))


MONDAYS = Weekly("2025-01-06", delay_days=8, column="week_start", published=MIDNIGHT)
EVERY_WEEK = replace(
    TREASURY_WEEKLY, declared=replace(TREASURY_WEEKLY.declared, partitions=MONDAYS)
)


@pytest.mark.slow
@around_midnight
def test_days_of_datasets_go_by_the_projects_clock_whatever_the_machine_says(machine_clock, now):
    machine_now = machine_clock.astimezone(NEW_YORK).date()
    mondays, fridays, weekdays = (
        _at(
            build_partitions(
                dataset.partitioning, date(2025, 1, 6), now=now, machine_now=machine_now
            ),
            machine_clock,
        )
        for dataset in (EVERY_WEEK, BOND_TRADE_ACTIVITY, CORPORATE_MARKET_BREADTH)
    )
    last_friday = now - timedelta(days=(now.weekday() - 4) % 7)
    assert (mondays[0], fridays[0], weekdays[0]) == ("2025-01-06", "T1|2025-01-10", "2025-01-06")
    assert mondays[-1] == str(_monday(now) - timedelta(days=7))  # named by its begin: once over
    assert fridays[-1] == f"OTCE|{last_friday}"
    assert weekdays[-1] == str(min(now, _monday(now) + timedelta(days=4)))


@pytest.mark.parametrize(
    ("changes", "first"),
    [
        ({}, date(2025, 3, 3)),
        ({"finra_first_week": "2024-01-01"}, date(2024, 1, 1)),
        ({"finra_source": "files", "finra_files_dir": "/data"}, date(2014, 5, 12)),
    ],
)
def test_the_first_week_is_the_setting_or_a_year_back_or_for_files_the_first_of_all(
    changes, first, monkeypatch
):
    monkeypatch.delenv("FINRA_FIRST_WEEK")
    settings = settings_class()(**changes)
    assert first_finra_week(settings, date(2026, 3, 4)) == first


@pytest.mark.parametrize(
    ("changes", "first", "last"),
    [
        ({"finra_source": "demo"}, date(2025, 12, 8), date(2026, 1, 26)),
        (
            {"finra_source": "demo", "finra_first_week": "2024-01-01"},
            date(2024, 1, 1),
            date(2026, 2, 9),
        ),
        ({"finra_source": "api"}, date(2025, 3, 3), date(2026, 2, 9)),
    ],
)
def test_a_demo_offers_eight_weeks_that_all_tiers_have_published(changes, first, last, monkeypatch):
    monkeypatch.delenv("FINRA_FIRST_WEEK")
    settings = settings_class()(**changes)
    assert offered_weeks(settings, date(2026, 3, 4)) == (first, last)
