"""Deliveries of alerts that failed, are overdue, or get no further attempt."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from orchestration_project.services.alerts.rules.channels import (
    OVERDUE,
    ChannelReach,
    summarize_reach,
)

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@dataclass
class Row:
    channel: str
    state: str = "pending"
    attempt_count: int = 0
    last_error: str | None = None
    next_attempt_at: datetime = NOON
    failed_at: datetime | None = None


def test_what_has_just_not_had_its_turn_is_well():
    [found] = summarize_reach([Row("a"), Row("a", next_attempt_at=NOON - OVERDUE)], NOON)
    assert (found.is_well, found.waiting) == (True, 2)
    assert summarize_reach([], NOON) == []


def test_each_channel_has_its_own_counts_and_the_latest_reason():
    rows = [
        Row("b", next_attempt_at=NOON - HOUR),
        Row("a", attempt_count=2, last_error="HTTP 500", failed_at=NOON - HOUR),
        Row("a", attempt_count=1, last_error="HTTP 404", failed_at=NOON),
        Row("c", "failed", last_error="not set", failed_at=NOON - HOUR),
        Row("c", "failed", last_error="not set", failed_at=NOON - 30 * HOUR),
    ]
    found = summarize_reach(rows, NOON)
    assert found == [
        ChannelReach("a", 2, 2, 0, 0, "HTTP 404"),
        ChannelReach("b", 1, 0, 1, 0, ""),
        ChannelReach("c", 0, 0, 0, 1, "not set"),
    ]
    assert [channel.is_well for channel in found] == [False] * 3
    assert str(found[0]) == "a: 2 wait, 2 tried in vain, 0 overdue, 0 given up (HTTP 404)"
