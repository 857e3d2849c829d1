"""A few alerts are sent one by one, a flood of a rule's in one message."""

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from orchestration_project.services.alerts.rules.digest import (
    FLOOD_QUIET_PERIOD,
    MAX_FLOOD,
    AlertDelivery,
    build_message,
    plan_batches,
)
from orchestration_project.services.alerts.rules.messages import Message

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def waiting(
    number: int,
    rule: str = "everything",
    kind: str = "failed",
    severity: Any = "error",
    age: Any = FLOOD_QUIET_PERIOD,
) -> AlertDelivery:
    message = Message(kind, severity, f"it failed {number}", "why", link=f"http://ui/runs/{number}")
    return AlertDelivery(f"{number:05}", "json-1", rule, 0, NOON - age, message)


def sizes(due: list[AlertDelivery]) -> list[int]:
    return [len(batch) for batch in plan_batches(due, lambda _: 10, now=NOON)]


def test_a_thousand_at_once_are_one_message_for_each_rule_and_ten_are_ten():
    assert sizes([waiting(n) for n in range(10)]) == [1] * 10
    assert sizes([waiting(n) for n in range(1000)]) == [1000]
    due = [waiting(n, rule=["a", "b", "c"][n % 3 if n < 40 else 0]) for n in range(100)]
    due += [waiting(200, rule="d")]
    assert sizes(due) == [74, 13, 13, 1]


def test_a_flood_is_reported_once_it_ends_or_lasts_too_long():
    due = [waiting(n, age=timedelta(seconds=n)) for n in range(100)]
    assert sizes(due) == []
    assert sizes([alert for alert in due if alert.raised_at <= NOON - FLOOD_QUIET_PERIOD]) == [55]
    assert sizes([*due, waiting(101, age=MAX_FLOOD)]) == [101]
    assert sizes([waiting(n, age=timedelta(days=-1)) for n in range(11)]) == [11]  # set back


def test_a_digest_counts_by_kind_and_leads_to_the_first_of_the_worst():
    due = [waiting(n, kind="check", severity="warning") for n in range(20)]
    due += [waiting(n) for n in range(20, 50)]
    message = build_message(due)
    assert (message.kind, message.severity) == ("digest", "error")
    assert message.title == "50 alerts at once: 30 failed, 20 check"
    assert message.body.startswith("Grouped by the rule everything: 30 failed, 20 check.\n")
    assert message.body.count("http://ui/runs/") == 5
    assert "it failed 20\n  http://ui/runs/20\n" in message.body
    assert "and 45 more\n" in message.body


def test_many_recoveries_are_sent_together_and_one_alert_alone():
    many = [waiting(n, kind="recovered") for n in range(20)]
    assert build_message(many).kind == "recovered"
    assert build_message(many[:1]) is many[0].message


@given(
    ages=st.lists(st.tuples(st.integers(0, 600), st.sampled_from("abc")), max_size=80),
    most=st.integers(1, 20),
)
def test_nothing_is_sent_twice_or_mixed_and_all_in_the_end(ages: list[Any], most: int):
    due = [waiting(n, rule=rule, age=timedelta(seconds=age)) for n, (age, rule) in enumerate(ages)]
    for at in (NOON, NOON + FLOOD_QUIET_PERIOD):
        found = plan_batches(due, lambda _: most, now=at)
        alert_ids = [alert.alert_id for batch in found for alert in batch]
        assert len(alert_ids) == len(set(alert_ids))
        for batch in found:
            assert len({alert.rule for alert in batch}) == 1
            assert len(batch) == 1 or len(batch) > most
    assert sorted(alert_ids) == [alert.alert_id for alert in due]
