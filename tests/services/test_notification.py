"""Rules that match a problem, times and channels of its alerts, and files that cannot be used."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from orchestration_project.engine.contracts.problems import Problem
from orchestration_project.errors import ConfigurationError
from orchestration_project.services.alerts.rules.channels import Channel, parse_channels
from orchestration_project.services.alerts.rules.decisions import (
    AlertDecision,
    Notification,
    OpenAlert,
    Route,
    decide,
    is_admitted,
)
from orchestration_project.services.alerts.rules.messages import Message
from orchestration_project.services.alerts.rules.notification import (
    EVERYTHING,
    Facts,
    Match,
    Names,
    Policy,
    RoutingRule,
    build_facts,
    build_message_facts,
    find_unknown_names,
    read_rules,
)
from orchestration_project.settings import PROJECT_ROOT

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(hours=24)
ASSET, WEEK = "finra/otc_weekly", "T1|2026-01-05"
FAILED = Problem("failed", ASSET, WEEK)
WARNED = Problem("check_warning", ASSET, "has_few_rejects")
LATE = Problem("check_error", "finra/otc_weekly", "is_as_new_as_the_calendar")
TICK = Problem("tick_failed", "finra_on_publication")
DISK = Problem("disk_low", "/var")
CHANNELS, _ = parse_channels(["info=json://a", "warning=json://b", "json://c"], {"ops": "json://o"})
EVERY = ["json-1", "json-2", "json-3", "ops"]


def policy(text: str) -> Policy:
    return Policy(CHANNELS, DAY, read_rules(text, "alerts.yaml", CHANNELS))


def notified_channels(rules: Policy, problem: Problem, **facts: Any) -> list[str]:
    return sorted(rules.routes(build_facts(problem, **facts)))


def test_without_a_rule_each_channel_gets_errors_or_from_its_own_severity_on():
    assert notified_channels(Policy(CHANNELS, DAY), FAILED) == EVERY
    assert notified_channels(Policy(CHANNELS, DAY), WARNED) == EVERY[:2]
    loaded = build_message_facts(Message("landed", "info", "t", "b", job="j", assets=[ASSET]))
    assert list(Policy(CHANNELS, DAY).routes(loaded)) == EVERY[:1]


def test_the_file_that_comes_with_the_project_is_the_built_in_rule():
    text = (PROJECT_ROOT / "config/alerts.yaml").read_text()
    assert read_rules(text, "alerts.yaml", []) == (EVERYTHING,)


@pytest.mark.parametrize(
    ("match", "problem", "holds"),
    [
        ("{domain: finra}", FAILED, True),
        ("{domain: finra}", TICK, True),
        ("{domain: finra}", DISK, False),
        ("{domain: [prices, operations]}", DISK, True),
        ("{asset: finra/otc_weekly}", FAILED, True),
        ("{asset: finra/*}", WARNED, True),
        ("{asset: finra/weekly_summary}", FAILED, True),
        ("{asset: finra/weekly_summary}", WARNED, False),
        ("{asset: finra/weekly_summary}", TICK, False),
        ("{check: has_few_rejects}", WARNED, True),
        ("{check: has_few_rejects}", FAILED, False),
        ("{check: '*'}", WARNED, True),
        ("{check: '*'}", FAILED, False),
        ("{check: '*'}", DISK, False),
        ("{job: finra_otc_weekly}", FAILED, True),
        ("{job: finra_on_publication}", TICK, True),
        ("{job: '*'}", FAILED, True),
        ("{job: '*'}", DISK, False),
        ("{asset: '*'}", TICK, False),
        ("{kind: check, severity: warning}", WARNED, True),
        ("{kind: check, severity: error}", WARNED, False),
        ("{severity: error}", LATE, True),
        ("{domain: finra, kind: tick_failed}", FAILED, False),
    ],
)
def test_a_rule_is_about_what_all_of_its_conditions_hold_for(match, problem, holds):
    rules = policy(f"rules: [{{name: x, match: {match}, channels: [ops]}}]")
    together = {ASSET: frozenset([ASSET, "finra/weekly_summary"])}
    found = rules.routes(build_facts(problem, job="finra_otc_weekly", together=together))
    assert [route.rule for route in found.values()][:1] == ["x" if holds else "everything"]


def test_all_matching_rules_count_until_one_stops_and_of_one_channel_the_first():
    rules = policy(
        """
        rules:
          - {name: ops receives finra, match: {domain: finra}, channels: [ops], window_hours: 1}
          - {name: silent, match: {check: has_few_rejects}, channels: [], stop: true}
          - {name: all, window_hours: 8}
        """
    )
    assert rules.routes(build_facts(FAILED)) == {
        "ops": Route("ops receives finra", HOUR),
        **dict.fromkeys(EVERY[:3], Route("all", 8 * HOUR)),
    }
    assert list(rules.routes(build_facts(WARNED))) == ["ops"]
    assert notified_channels(rules, DISK) == EVERY


def test_a_rule_notifies_its_channels_whatever_their_severity():
    rules = policy("rules: [{name: x, match: {severity: warning}, channels: [ops]}]")
    assert notified_channels(rules, WARNED) == ["ops"]


def test_what_no_rule_matches_goes_by_the_built_in_one():
    assert notified_channels(policy("rules: []"), FAILED) == EVERY
    assert notified_channels(policy("rules: [{name: x, match: {domain: prices}}]"), FAILED) == EVERY


def test_recoveries_go_to_notified_channels_by_default():
    rules = policy("rules: [{name: quiet, recovered: false}, {name: loud}]")
    who = {
        "ops": Notification("quiet", NOON),
        "json-1": Notification("loud", NOON),
        "gone": Notification("old", NOON),
    }
    alert = OpenAlert("a", "error", "t", frozenset([FAILED]), NOON, who)
    assert rules.recovery_rules([alert]) == {"json-1": "loud", "gone": "old"}


KNOWN = Names(
    domain=frozenset(["finra"]),
    asset=frozenset([ASSET]),
    check=frozenset(["has_few_rejects"]),
    job=frozenset(["finra_otc_weekly"]),
)


def test_names_that_the_project_does_not_have_are_found_with_their_rule():
    rules = policy(
        """
        rules:
          - {name: good, match: {domain: finra, asset: "finra/*", job: finra_otc_weekly}}
          - {name: bad, match: {domain: fin, asset: [finra/otc_weekly, finra/x], job: y,
              check: few}}
        """
    ).rules
    assert find_unknown_names(rules, KNOWN) == [
        "rule bad: match.domain: the project has no domain fin",
        "rule bad: match.asset: the project has no asset finra/x",
        "rule bad: match.check: the project has no check few",
        "rule bad: match.job: the project has no job y",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rules: [", "line 1: invalid YAML: "),
        ("", "expected a mapping, found nothing"),
        ("rule: []", "line 1: rules: expected a value, found none; line 1: rule: unknown name"),
        ("rules: [3]", "line 1: rule 1: expected a mapping, found 3"),
        ("rules:\n- name: x\n  chanels: [a]", "line 3: rule x: chanels: unknown name"),
        ("rules: [{match: {}}]", "rule 1: name: expected a value, found none"),
        (
            "rules: [{name: x, match: {severity: bad}}]",
            "match.severity: expected 'info', 'warning' or 'error', found 'bad'",
        ),
        (
            "rules: [{name: x, match: {job: [1]}}]",
            "rule x: match.job.0: expected a string, found 1",
        ),
        ("rules: [{name: x, window_hours: 0}]", "rule x: window_hours: expected a number greater"),
        ("rules: [{name: x, window_hours: .inf}]", "rule x: window_hours: expected a number less"),
        ("rules: [{name: x, recovered: 1}]", "rule x: recovered: expected a boolean, found 1"),
        ("rules: [{name: x, channels: []}]", "rule x: channels: [] notifies no channel"),
        ("rules: [{name: x}, {name: x}]", "two rules are called x"),
        (
            "rules: [{name: x, channels: [opps]}]",
            "rule x: channels: unknown channel opps, expected one of json-1, json-2, json-3, ops",
        ),
        ("rules: []\nrules: []", "rules stands there twice"),
        ("rules: [{name: 2026-02-30}]", "day is out of range for month"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_rule_and_field(text: str, said: str):
    with pytest.raises(ConfigurationError, match=r"invalid alert rules in a\.yaml") as refused:
        read_rules(text, "a.yaml", CHANNELS)
    assert said in refused.value.found


def decision(*known: OpenAlert, routes: Any, bad: tuple[Problem, ...] = (FAILED,)) -> AlertDecision:
    ways: Any = dict.fromkeys(bad, routes)
    return decide(frozenset(bad), lambda _: False, known, now=NOON, window=DAY, routes=ways)


def test_each_channel_is_notified_again_after_its_own_window():
    who = {
        "ops": Notification("fast", NOON - HOUR),
        "json-1": Notification("slow", NOON - 5 * HOUR),
    }
    alert = OpenAlert("a", "error", "t", frozenset([FAILED]), NOON - HOUR, who)
    routes = {"ops": Route("fast", HOUR), "json-1": Route("slow", DAY)}
    found = decision(alert, routes=routes)
    assert (found.raised, found.fresh) == (frozenset([FAILED]), {"ops": "fast"})
    assert found.kept == {"json-1": Notification("slow", NOON - 5 * HOUR)}
    assert decision(alert, routes={"json-1": Route("slow", DAY)}).repeated == [alert]


def test_reports_before_the_clock_was_set_back_are_repeated():
    routes = {"ops": Route("fast", DAY)}
    for ahead, raised in ((HOUR, frozenset[Problem]()), (2 * HOUR, frozenset([FAILED]))):
        at = NOON + ahead  # an hour may be another machine's clock
        alert = OpenAlert(
            "a", "error", "t", frozenset([FAILED]), at, {"ops": Notification("fast", at)}
        )
        assert decision(alert, routes=routes).raised == raised
        assert decision(alert, routes={}).raised == raised


def test_an_alert_without_channels_is_stored_once_per_window():
    known = OpenAlert("a", "error", "t", frozenset([FAILED]), NOON - HOUR)
    assert decision(routes={}).raised == {FAILED}
    assert decision(known, routes={}).raised == frozenset()


KINDS = st.sampled_from([FAILED, WARNED, LATE, TICK, DISK])
RULES = st.lists(
    st.builds(
        RoutingRule,
        name=st.just("x"),
        match=st.builds(
            Match,
            domain=st.sampled_from([(), ("finra",), ("o*",)]),
            kind=st.sampled_from([(), ("check",), ("failed", "disk_low")]),
            severity=st.sampled_from(["info", "warning", "error"]),
        ),
        channels=st.sampled_from([None, ("ops",), ("json-2", "ops")]),
        stop=st.booleans(),
    ),
    max_size=4,
).map(lambda rules: [rule.model_copy(update={"name": str(n)}) for n, rule in enumerate(rules)])


@given(rules=RULES, problem=KINDS)
def test_no_rules_but_a_silent_one_leave_an_error_untold(
    rules: list[RoutingRule], problem: Problem
):
    facts = build_facts(problem)
    found = Policy(CHANNELS, DAY, rules).routes(facts)
    assert found or facts.severity != "error"
    assert set(found) <= set(EVERY)


@given(rules=RULES, problem=KINDS)
def test_a_rule_that_stops_first_decides_alone(rules: list[RoutingRule], problem: Problem):
    only = RoutingRule(name="only", channels=("ops",), stop=True)
    assert set(Policy(CHANNELS, DAY, [only, *rules]).routes(build_facts(problem))) == {"ops"}


@pytest.mark.slow
@given(rules=RULES)
def test_rules_survive_being_written_and_read(rules: list[RoutingRule]):
    text = yaml.safe_dump({"rules": [rule.model_dump(mode="json") for rule in rules]})
    assert list(read_rules(text, "x", CHANNELS)) == rules


TIMES = st.integers(0, 200).map(lambda steps: timedelta(minutes=15) * steps)


@given(
    steps=st.lists(st.tuples(TIMES, st.sets(KINDS, min_size=1)), max_size=12),
    fast=st.sampled_from([HOUR, 3 * HOUR]),
    slow=st.sampled_from([HOUR, DAY]),
)
def test_no_channel_is_notified_again_before_or_after_its_window(
    steps: list[tuple[timedelta, set[Problem]]], fast: timedelta, slow: timedelta
):
    routes = {"a": Route("fast", fast), "b": Route("slow", slow)}
    known: list[OpenAlert] = []
    last: dict[tuple[str, Problem], datetime] = {}
    for number, (at, bad) in enumerate(sorted(steps, key=lambda step: step[0])):
        now = NOON + at
        found = decide(
            frozenset(bad),
            lambda _: False,
            known,
            now=now,
            window=DAY,
            routes=dict.fromkeys(bad, routes),
        )
        for channel, route in routes.items():
            due = [
                problem
                for problem in bad
                if last.get((channel, problem), NOON - DAY) <= now - route.window
            ]
            assert (channel in found.fresh) == bool(due)
            if channel in found.fresh:
                last |= {(channel, problem): now for problem in bad}
            elif found.raised:  # of what stands in one alert, it is reminded as of the first
                first = min(last[channel, problem] for problem in bad if (channel, problem) in last)
                last |= {(channel, problem): first for problem in bad}
        known = [
            OpenAlert(
                open_alert.alert_id,
                "error",
                "t",
                left,
                open_alert.raised_at,
                open_alert.notifications,
            )
            for open_alert in known
            if (left := found.remaining.get(open_alert.alert_id, open_alert.problems))
        ]
        if found.raised:
            notifications = {name: Notification(rule, now) for name, rule in found.fresh.items()}
            notifications |= found.kept
            known.append(OpenAlert(str(number), "error", "t", found.raised, now, notifications))


def test_a_channels_floor_is_for_rules_that_name_no_channels():
    assert [channel.least for channel in CHANNELS] == ["info", "warning", "error", "error"]
    assert not is_admitted("error", "warning")
    facts = Facts("check", "warning", frozenset(["finra"]))
    assert list(Policy([Channel("x", "error", "json://x", "")], DAY).routes(facts)) == []
