"""Objectives: budgets and burn rates with known answers, the file, and Prometheus' rules."""

import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from orchestration_project.errors import ConfigurationError
from orchestration_project.services.host_samples import find_slot_start
from orchestration_project.services.objectives.rules.objectives import (
    WINDOWS,
    Evaluation,
    Events,
    Loads,
    build_row,
    compute_budget_left,
    compute_burn_rate,
    read_objectives,
)
from orchestration_project.services.objectives.rules.prometheus import render_rules
from orchestration_project.settings import PROJECT_ROOT

KNOWN = {
    "finra": ["loads", "freshness"],
    "prices": ["loads", "freshness"],
    "mqtt": ["loads", "mirror_lag"],
}
NOON = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
LOADS = Loads(name="loads", indicator="loads", domain="finra", target=0.99)


WITH_PROMTOOL = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed"
)


def promtool(*arguments: object) -> tuple[int, str]:
    """Return its exit status and what it writes of errors."""
    command = ["promtool", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)  # noqa: S603 - Debian's
    return done.returncode, done.stderr


def evaluation(total: Events, **recent: Events) -> Evaluation:
    return Evaluation(LOADS, total, {**dict.fromkeys(WINDOWS, Events()), **recent}, NOON)


def windows(long: str, long_events: Events, short: str, short_events: Events) -> dict[str, Events]:
    return {f"{long}": long_events, f"{short}": short_events}


@pytest.mark.parametrize(
    ("good", "total", "rate", "left"),
    [
        (100, 100, 0.0, 1.0),
        (99, 100, 1.0, 0.0),
        (199, 200, 0.5, 0.5),
        (90, 100, 10.0, -9.0),
        (0, 1, 100.0, -99.0),
    ],
)
def test_a_burn_rate_of_one_spends_the_budget_exactly(good, total, rate, left):
    assert compute_burn_rate(Events(good, total), 0.99) == pytest.approx(rate)
    assert compute_budget_left(Events(good, total), 0.99) == pytest.approx(left)


def test_without_an_event_there_is_no_data_which_is_not_good():
    found = evaluation(Events())
    assert (found.state, found.budget_left, set(found.burn.values())) == ("no_data", None, {None})
    assert compute_burn_rate(Events(), 0.99) is None


@pytest.mark.parametrize(
    ("recent", "state"),
    [
        ({}, "met"),
        (windows("1h", Events(8, 10), "5m", Events(0, 1)), "burning"),
        (windows("1h", Events(8, 10), "5m", Events(1, 1)), "met"),  # it has stopped
        (windows("1h", Events(8, 10), "5m", Events()), "met"),
        (windows("1h", Events(90, 100), "5m", Events(0, 9)), "met"),  # 10 times, not 14.4
        (windows("6h", Events(93, 100), "30m", Events(0, 9)), "burning"),
        (windows("6h", Events(95, 100), "30m", Events(0, 9)), "met"),  # 5 times, not 6
        (windows("1h", Events(0, 3), "5m", Events(0, 3)), "met"),  # 3 events are too few
    ],
)
def test_both_windows_of_an_alert_have_to_burn(recent, state):
    assert evaluation(Events(9_999, 10_000), **recent).state == state


def test_an_objective_that_does_not_burn_may_have_spent_its_budget():
    assert evaluation(Events(989, 1000)).state == "exhausted"
    assert build_row(evaluation(Events(989, 1000)))["budget_left"] == pytest.approx(-0.1)


def test_a_slot_has_five_minutes_of_the_day():
    assert find_slot_start(NOON + timedelta(minutes=4, seconds=59)) == NOON
    assert find_slot_start(NOON - timedelta(microseconds=1)) == NOON - timedelta(minutes=5)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("objectives: [", "invalid YAML"),
        ("goals: []", "goals"),
        ("objectives: [{name: a, indicator: uptime, target: 0.9}]", "line 1: objectives.0"),
        ("objectives: [{name: a, indicator: loads, domain: finra, target: 1}]", "target"),
        ("objectives: [{name: A b, indicator: loads, domain: finra, target: 0.9}]", "name"),
        (
            "objectives: [{name: a, indicator: loads, domain: finr, target: 0.9}]",
            "a: invalid domain 'finr' of loads: expected one of finra, mqtt, prices",
        ),
        (
            "objectives: [{name: a, indicator: freshness, domain: mqtt, target: 0.9}]",
            "expected one of finra, prices",
        ),
        (
            "objectives: [{name: a, indicator: gateway_latency, max_seconds: 3, target: 0.9}]",
            "expected one of 0.005, 0.01",
        ),
        (
            "objectives:\n  - &a {name: a, indicator: loads, domain: finra, target: 0.9}\n  - *a",
            "two objectives are called a",
        ),
    ],
)
def test_an_invalid_file_is_refused_by_name(text, found):
    with pytest.raises(ConfigurationError) as refusal:
        read_objectives(text, "slo.yaml", KNOWN)
    assert refusal.value.what == "invalid objectives in slo.yaml"
    assert found in str(refusal.value.found)


def test_all_problems_of_a_file_are_shown_at_once():
    text = """objectives:
  - {name: a, indicator: loads, domain: finr, target: 0.9}
  - {name: b, indicator: loads, domain: finra, target: 7}
  - {name: c, indicator: freshness, domain: mqtt, target: 0.9}
"""
    with pytest.raises(ConfigurationError) as refusal:
        read_objectives(text, "slo.yaml", KNOWN)
    lines = [problem.partition(":")[0] for problem in str(refusal.value.found).split("; ")]
    assert lines == ["line 3", "line 2", "line 4"]


def test_an_empty_file_declares_no_objective():
    assert read_objectives("", "slo.yaml", KNOWN) == ()
    assert yaml.safe_load(render_rules([])) == {"groups": []}


def test_the_committed_rules_are_those_of_the_shipped_objectives():
    shipped = read_objectives((PROJECT_ROOT / "config/slo.yaml").read_text(), "slo.yaml", KNOWN)
    written = PROJECT_ROOT / "deploy" / "prometheus" / "rules" / "objectives.yml"
    assert written.read_text() == render_rules(shipped)
    rules = [
        rule for group in yaml.safe_load(written.read_text())["groups"] for rule in group["rules"]
    ]
    burning = [rule for rule in rules if rule.get("alert") == "ObjectiveBurning"]
    assert {rule["labels"]["objective"] for rule in burning} == {
        objective.name for objective in shipped
    }
    assert len(burning) == 2 * len(shipped)


@WITH_PROMTOOL
def test_promtool_accepts_the_rules():
    paths = sorted((PROJECT_ROOT / "deploy" / "prometheus" / "rules").iterdir())
    assert paths
    for path in paths:
        assert promtool("check", "rules", path) == (0, "")


@WITH_PROMTOOL
def test_a_rule_alerts_while_both_windows_burn_and_events_suffice(tmp_path: Path):
    rules = tmp_path / "rules.yml"
    rules.write_text(render_rules([LOADS]))
    labels = 'objective="loads",domain="finra"'
    burn = f"orchestration_objective_burn{{{labels},window="
    series = [
        {"series": f'{burn}"1h"}}', "values": "20x30"},
        {"series": f'{burn}"5m"}}', "values": "20x14 0x15"},
        {
            "series": f'orchestration_objective_window_events{{{labels},window="1h"}}',
            "values": "9x30",
        },
        {"series": "orchestration_objective_age_seconds", "values": "1x30"},
    ]
    alert = {
        "exp_labels": {
            "severity": "error",
            "objective": "loads",
            "domain": "finra",
            "window": "1h",
            "covered_by": "objective_burning",
        },
        "exp_annotations": {
            "summary": "loads spends its error budget 14.4 times as fast as its target of 0.99 "
            "allows, within 1h",
            "description": "Read `orchestrate objectives list`, then the control tower's verdict "
            "of finra.",
        },
    }
    expected = [
        {"eval_time": "10m", "alertname": "ObjectiveBurning", "exp_alerts": [alert]},
        {"eval_time": "20m", "alertname": "ObjectiveBurning", "exp_alerts": []},
        {"eval_time": "20m", "alertname": "ObjectivesNotEvaluated", "exp_alerts": []},
    ]
    case = {"interval": "1m", "input_series": series, "alert_rule_test": expected}
    test = tmp_path / "test.yml"
    test.write_text(yaml.safe_dump({"rule_files": [str(rules)], "tests": [case]}))
    assert promtool("test", "rules", test) == (0, "")
