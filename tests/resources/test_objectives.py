"""Objectives evaluated from our own tables, on both databases."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, event, insert, select

from orchestration_project.assets.operations.objectives import describe_objectives
from orchestration_project.catalog import REGISTRY
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.problems import OldestMissing, Problem
from orchestration_project.registry import AlertCondition, Domain, Registry
from orchestration_project.services.alerts.conditions import see
from orchestration_project.services.metrics.objectives import measure_objectives
from orchestration_project.services.objectives import MirrorLagReader
from orchestration_project.services.objectives.conditions import build_conditions
from orchestration_project.services.objectives.counting import add_events, take_samples
from orchestration_project.services.objectives.evaluating import evaluate, read_days, read_slo
from orchestration_project.services.objectives.rules.objectives import (
    Events,
    Freshness,
    GatewayLatency,
    Loads,
    MirrorLag,
    WebhookToLoaded,
)
from orchestration_project.services.pauses import Pauses
from orchestration_project.services.status import Deadlines
from orchestration_project.settings import load_settings
from orchestration_project.tables.operations_objectives import (
    operations_slo_samples,
)
from orchestration_project.tables.operations_runs import operations_runs
from orchestration_project.tables.spine import inbox, work_items
from tests.resources.weeks import StoppedClock

NOON = datetime(2026, 3, 20, 12, 0, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
LOADS = Loads(name="loads", indicator="loads", domain="finra", target=0.9)
LATENCY = GatewayLatency(name="latency", indicator="gateway_latency", target=0.99, max_seconds=0.5)
WEBHOOKS = WebhookToLoaded(
    name="webhooks", indicator="webhook_to_loaded", target=0.9, max_seconds=60
)


def filled(table: Any, **given: Any) -> dict[str, Any]:
    usual = {"TEXT": "x", "BIGINT": 0, "DATETIME": NOON, "DOUBLE": 0.0}
    return {
        column.name: given.get(
            column.name, None if column.nullable else usual.get(str(column.type), NOON)
        )
        for column in table.columns
    }


def runs(warehouse, ended_at: datetime, **statuses: int) -> None:
    with warehouse.writing() as connection:
        for status, count in statuses.items():
            rows = [
                filled(
                    operations_runs,
                    run_id=f"{status}{number}{ended_at.isoformat()}",
                    status=status,
                    domain="finra",
                    ended_at=ended_at,
                )
                for number in range(count)
            ]
            connection.execute(insert(operations_runs), rows)


def evaluated(warehouse, *objectives, now: datetime = NOON, sources=("git",)):
    return [
        (evaluation.state, evaluation.events, evaluation.burn)
        for evaluation in evaluate(warehouse, objectives, now, sources)
    ]


def test_loads_are_counted_over_28_days_and_in_the_windows_of_burn_rates(warehouse):
    runs(warehouse, NOON - 30 * DAY, FAILURE=9)
    runs(warehouse, NOON - 20 * DAY, SUCCESS=70, FAILURE=2, CANCELED=5)
    runs(warehouse, NOON - 3 * HOUR, SUCCESS=10)
    runs(warehouse, NOON - MINUTE, SUCCESS=1, FAILURE=1)
    [(state, events, burn)] = evaluated(warehouse, LOADS)
    assert (state, events) == ("met", Events(81, 84))
    assert burn["5m"] == burn["30m"] == burn["1h"] == pytest.approx(5.0)
    assert burn["6h"] == pytest.approx(1 / 12 / 0.1)
    [row] = read_slo(warehouse)
    assert (row.name, row.good, row.total, row.events_6h) == ("loads", 81, 84, 12)
    assert row.budget_left == pytest.approx(1 - 3 / 84 / 0.1)


def test_runs_that_are_recorded_a_day_late_still_count(warehouse):
    evaluated(warehouse, LOADS)
    runs(warehouse, NOON - DAY, SUCCESS=4)
    [(_, events, _)] = evaluated(warehouse, LOADS)
    assert events == Events(4, 4)
    assert read_days(warehouse, NOON)["loads"][(NOON - DAY).date()] == Events(4, 4)


def test_a_clock_that_is_set_back_counts_nothing_twice(warehouse):
    runs(warehouse, NOON - HOUR, SUCCESS=4)
    later = evaluated(warehouse, LOADS, now=NOON + 2 * DAY)
    assert later == evaluated(warehouse, LOADS, now=NOON + 2 * DAY)
    [(_, events, _)] = evaluated(warehouse, LOADS)
    assert events == Events(4, 4)


@pytest.mark.slow_after_first
def test_an_evaluation_asks_as_much_of_a_year_as_of_a_day(warehouse):
    def statement_count(now: datetime) -> int:
        found: list[str] = []

        def collect(_connection, _cursor, statement, *_):
            found.append(statement)

        event.listen(Engine, "before_cursor_execute", collect)
        evaluated(warehouse, LOADS, LATENCY, WEBHOOKS, now=now)
        event.remove(Engine, "before_cursor_execute", collect)
        return len(found)

    runs(warehouse, NOON - 20 * DAY, SUCCESS=70)
    first = statement_count(NOON)
    assert statement_count(NOON + MINUTE) < first / 3
    assert statement_count(NOON + 2 * MINUTE) == statement_count(NOON + DAY)


def test_requests_of_several_gateways_add_up_and_outlive_their_samples(warehouse):
    with warehouse.writing() as connection:
        for _ in range(2):
            add_events(connection, "latency", NOON - MINUTE, Events(99, 100))
        add_events(connection, "latency", NOON - DAY, Events(800, 800))
    [(state, events, burn)] = evaluated(warehouse, LATENCY)
    assert (state, events) == ("met", Events(998, 1000))
    assert burn["5m"] == pytest.approx(1.0)
    [(_, events, burn)] = evaluated(warehouse, LATENCY, now=NOON + 5 * DAY)
    assert (events, burn["6h"]) == (Events(998, 1000), None)
    with warehouse.reading() as connection:
        assert connection.execute(select(operations_slo_samples)).all() == []


def test_a_delivery_is_good_if_it_was_done_in_time_and_counts_once_that_is_known(warehouse):
    states = {
        "in time": ("done", 40, 10),
        "late": ("done", 500, 300),
        "dead": ("dead", 500, 490),
        "waits in vain": ("failed", 500, 490),
        "may be in time": ("ready", 30, 30),
    }
    with warehouse.writing() as connection:
        for name, (state, received, changed) in states.items():
            row = filled(
                inbox,
                source="git",
                delivery_id=name,
                received_at=NOON - timedelta(seconds=received),
            )
            item = filled(
                work_items,
                topic="webhooks/git",
                item_key=name,
                state=state,
                changed_at=NOON - timedelta(seconds=changed),
            )
            connection.execute(insert(inbox), [row])
            connection.execute(insert(work_items), [item])
    [(_, events, burn)] = evaluated(warehouse, WEBHOOKS)
    assert events == Events(1, 4)
    assert burn["5m"] == 0  # what waited in vain was known to 440 s ago
    [(_, events, burn)] = evaluated(warehouse, WEBHOOKS, now=NOON + MINUTE)
    assert events == Events(1, 5)
    assert burn["5m"] == pytest.approx(5.0)
    of_others = WEBHOOKS.model_copy(update={"sources": ("hr",)})
    assert [evaluation[:2] for evaluation in evaluated(warehouse, of_others)] == [
        ("no_data", Events())
    ]
    assert [evaluation[0] for evaluation in evaluated(warehouse, WEBHOOKS, sources=())] == [
        "no_data"
    ]


def domain(lag: float, *due_at: datetime) -> Registry:
    missing = [OldestMissing("finra/otc_weekly", "2026-03-09", at) for at in due_at]
    return Registry.of(
        [
            Domain(
                name="finra",
                registrations=[Deadlines(lambda *_: missing), MirrorLagReader(lambda *_: lag)],
            )
        ]
    )


def test_samples_say_whether_a_domain_was_fresh_once_in_five_minutes(warehouse):
    fresh = Freshness(
        name="fresh", indicator="freshness", domain="finra", target=0.9, max_late_hours=2
    )
    lag = MirrorLag(name="lag", indicator="mirror_lag", domain="finra", target=0.9, max_seconds=60)
    off = fresh.model_copy(update={"name": "off", "domain": "prices"})
    given = (load_settings(), StoppedClock(NOON))
    looks = [
        (0, domain(60, NOON - HOUR)),
        (1, domain(61, NOON - 3 * HOUR)),  # the same five minutes
        (5, domain(61, NOON - HOUR, NOON - 3 * HOUR)),
        (10, domain(0)),
    ]
    for minutes, registry in looks:
        take_samples(warehouse, [fresh, lag, off], registry, *given, NOON + minutes * MINUTE)
    found = evaluated(warehouse, fresh, lag, off, now=NOON + 10 * MINUTE)
    assert [evaluation[1] for evaluation in found] == [Events(2, 3), Events(2, 3), Events()]
    assert [evaluation[0] for evaluation in found] == ["exhausted", "exhausted", "no_data"]


def test_a_burning_objective_and_a_removed_one_are_conditions(warehouse):
    runs(warehouse, NOON - MINUTE, FAILURE=4)
    evaluated(warehouse, LOADS, WEBHOOKS)
    conditions = build_conditions(lambda: warehouse, StoppedClock(NOON))
    assert [(condition.kind, condition.subject) for condition in conditions] == [
        ("objective_burning", "loads"),
        ("objective_burning", "webhooks"),
    ]


@pytest.mark.slow_after_first
@pytest.mark.parametrize("subject", ["all", "finra", "source:finra"])
def test_an_objective_is_judged_again_after_its_pause(warehouse, subject: str):
    runs(warehouse, NOON - MINUTE, FAILURE=4)
    evaluated(warehouse, LOADS, LATENCY)

    def burning_at(now: datetime) -> list[str]:
        conditions = build_conditions(lambda: warehouse, StoppedClock(now))
        return [one.subject for one in see_failed(conditions)]

    end = NOON + 10 * MINUTE
    pauses = Pauses(warehouse, StoppedClock(NOON))
    pauses.pause(REGISTRY, subject, "maintenance", by="ada", until=end)
    assert burning_at(NOON) == []
    assert burning_at(end) == ["loads"]


def see_failed(conditions: Sequence[AlertCondition]) -> list[Problem]:
    return [one.problem for one in see(conditions, Clock()) if one.is_bad]


@pytest.mark.slow_after_first
def test_a_pause_is_shown_beside_its_objectives_and_has_no_burn_rate(warehouse):
    runs(warehouse, NOON - MINUTE, FAILURE=4)
    evaluated(warehouse, LOADS, LATENCY)
    Pauses(warehouse).pause(REGISTRY, "source:finra", "maintenance", by="ada")
    found = describe_objectives(warehouse, NOON, is_synthetic=False)["objectives"]
    assert {record.data["name"]: record.data["pause"] for record in found.value.records} == {
        "loads": "source:finra is paused by ada: maintenance",
        "latency": "",
    }
    metrics = {metric.name: metric.samples for metric in measure_objectives(warehouse, NOON)}
    rates = {sample.labels["objective"] for sample in metrics["orchestration_objective_burn"]}
    assert rates == set()


@pytest.mark.slow_on_postgresql
def test_the_control_tower_shows_budgets_the_least_left_first(warehouse):
    assert describe_objectives(warehouse, NOON, is_synthetic=False) == {}
    runs(warehouse, NOON - DAY, SUCCESS=6, FAILURE=4)
    with warehouse.writing() as connection:
        add_events(connection, "latency", NOON, Events(100, 100))
    evaluated(warehouse, LATENCY, LOADS, WEBHOOKS)
    found = describe_objectives(warehouse, NOON, is_synthetic=False)
    records = found["objectives"].value.records
    assert [(record.data["name"], record.data["state"]) for record in records] == [
        ("loads", "exhausted"),
        ("latency", "met"),
        ("webhooks", "no_data"),
    ]
    assert records[0].data["budget_left"] == pytest.approx(-3.0)
    assert "data:image/svg+xml" in str(found["error_budgets"].value)
