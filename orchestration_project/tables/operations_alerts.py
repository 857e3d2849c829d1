"""Tables of alerts: their deliveries to channels, evaluated causes, and the states of both."""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Index,
    Select,
    cast,
    literal,
    select,
    type_coerce,
)

from orchestration_project.tables.schema import BYTEWISE_TEXT, count, moment, table, text, trace_id
from orchestration_project.tables.views import view_of_all

ALERT_STATES = ("open", "recovered", "replaced", "told")

operations_alerts = table(
    "operations_alerts",
    "One row per alert: a failure of a run or sensor, a recovery, or a notice.",
    text("alert_id", "Alert ID: first 128 bits of the SHA-256 of kind and cause, hex", key=True),
    text("kind", "Kind of the alert, see docs/reference/alerts.md"),
    text("severity", "Severity: info, warning or error", values=("info", "warning", "error")),
    text("title", "Title, one line"),
    text("body", "Text of the alert: failure, cause, remedy and links"),
    text("run_id", "Dagster run of the alert; NULL: no run", optional=True),
    text("job", "Job of the alert; NULL: no job", optional=True),
    text("assets", "Asset keys, a JSON list"),
    text("partitions", "Partition keys, a JSON list"),
    text("link", "URL of the UI; NULL: no page", optional=True),
    text(
        "state",
        "State: open, recovered, replaced (by a later alert) "
        f"or {ALERT_STATES[-1]} (a notice, nothing to fix)",
        values=ALERT_STATES,
    ),
    text("open_problems", "Problems that are open, a JSON list of kind, subject and detail"),
    count("repeated_count", "Repetitions within the window, which were not sent"),
    moment("raised_at", "UTC time at which the alert was raised"),
    moment("repeated_at", "UTC time of the latest repetition; NULL: none", optional=True),
    moment(
        "ended_at", "UTC time at which it recovered or was replaced; NULL: neither", optional=True
    ),
    trace_id(),
)

Index("operations_alerts_by_state", operations_alerts.c.state)
Index("operations_alerts_by_trace", operations_alerts.c.trace_id)

operations_alert_deliveries = table(
    "operations_alert_deliveries",
    "One row per alert and channel that it is sent to.",
    text("alert_id", "Alert ID", key=True),
    text(
        "channel",
        "Name of the channel, such as ops, or mailto-2 for an entry of ALERT_URLS",
        key=True,
    ),
    text(
        "state",
        "State: pending (also after failed attempts), delivered, failed (no further attempt) "
        "or told_before (suppressed, since an earlier alert was sent within the window)",
        values=("pending", "delivered", "failed", "told_before"),
    ),
    count("attempt_count", "Attempts started"),
    text(
        "last_error",
        "Error of the latest failed attempt, without secrets; NULL: no failed attempt",
        optional=True,
    ),
    moment("next_attempt_at", "UTC time from which the next attempt is due"),
    moment(
        "delivered_at",
        "UTC time at which the channel accepted it; NULL: not delivered",
        optional=True,
    ),
    text("rule", "Alert rule that selected the channel; NULL: before alert rules", optional=True),
    moment(
        "told_at",
        "UTC time at which the earlier alert was raised; NULL: the state is not told_before",
        optional=True,
    ),
    moment(
        "failed_at", "UTC time of the latest failed attempt; NULL: no failed attempt", optional=True
    ),
    count(
        "digest_count",
        "Alerts in the message that was delivered; 1: only this one; NULL: not delivered, or "
        "unknown",
        optional=True,
    ),
)

operations_evaluations = table(
    "operations_evaluations",
    "One row per evaluated cause, so that each cause raises alerts only once.",
    text("cause", "Cause, such as a run ID and its final status", key=True),
    moment("evaluated_at", "UTC time of the evaluation"),
)

_alerts, _sent = operations_alerts.c, operations_alert_deliveries.c


def _build_word(value: str) -> ColumnElement[str]:
    return type_coerce(literal(value), BYTEWISE_TEXT)


def _select_alert_state(
    state: ColumnElement[str], happened_at: Column[Any], times: ColumnElement[int]
) -> Select[Any]:
    columns: list[ColumnElement[Any]] = [
        _alerts.alert_id.label("alert_id"),
        state.label("state"),
        _build_word("").label("channel"),
        happened_at.label("happened_at"),
        times.label("times_count"),
        _alerts.severity.label("severity"),
        _alerts.title.label("title"),
        _alerts.link.label("link"),
        _build_word("").label("detail"),
    ]
    return select(*columns)


def _select_delivery_state(
    state: str, happened_at: Column[Any], times: ColumnElement[int], detail: ColumnElement[str]
) -> Select[Any]:
    columns: list[ColumnElement[Any]] = [
        _sent.alert_id.label("alert_id"),
        _build_word(state).label("state"),
        _sent.channel.label("channel"),
        happened_at.label("happened_at"),
        times.label("times_count"),
        _alerts.severity.label("severity"),
        _alerts.title.label("title"),
        _alerts.link.label("link"),
        detail.label("detail"),
    ]
    return select(*columns).join_from(
        operations_alert_deliveries, operations_alerts, _alerts.alert_id == _sent.alert_id
    )


_once = cast(literal(1), BigInteger)

operations_alert_states = view_of_all(
    "operations_alert_states",
    "One row per alert and state, and per alert, channel and state of a delivery.",
    [
        text("alert_id", "Alert ID", key=True),
        text(
            "state",
            "State: raised, repeated, recovered, replaced, waiting, delivered or delivery_failed",
            values=(
                "raised",
                "repeated",
                "recovered",
                "replaced",
                "waiting",
                "delivered",
                "delivery_failed",
            ),
            key=True,
        ),
        text("channel", "Channel of the delivery; empty: a state of the alert", key=True),
        moment(
            "happened_at",
            "UTC time of the latest change to the state; for waiting, of the next attempt",
        ),
        count("times_count", "Repetitions in the window, or attempts; for other states 1"),
        text("severity", "Severity: info, warning or error", values=("info", "warning", "error")),
        text("title", "Title, one line"),
        text("link", "URL of the UI; NULL: no page", optional=True),
        text(
            "detail",
            "Error of a failed delivery; rule of another delivery; empty: a state of the alert",
            optional=True,
        ),
    ],
    _select_alert_state(_build_word("raised"), _alerts.raised_at, _once),
    _select_alert_state(_build_word("repeated"), _alerts.repeated_at, _alerts.repeated_count).where(
        _alerts.repeated_at.is_not(None)
    ),
    _select_alert_state(_alerts.state, _alerts.ended_at, _once).where(
        _alerts.ended_at.is_not(None)
    ),
    _select_delivery_state("waiting", _sent.next_attempt_at, _sent.attempt_count, _sent.rule).where(
        _sent.state == "pending"
    ),
    _select_delivery_state("delivered", _sent.delivered_at, _once, _sent.rule).where(
        _sent.state == "delivered"
    ),
    _select_delivery_state(
        "delivery_failed", _sent.failed_at, _sent.attempt_count, _sent.last_error
    ).where(_sent.failed_at.is_not(None)),
)
