"""View of the states of alerts and of their deliveries, over the tables that hold them."""

from typing import Any

from sqlalchemy import BigInteger, Column, ColumnElement, Select, cast, literal, select, type_coerce

from orchestration_project.tables.operations import operations_alert_deliveries, operations_alerts
from orchestration_project.tables.schema import BYTEWISE_TEXT, count, moment, text
from orchestration_project.tables.views import view_of_all

_alerts, _sent = operations_alerts.c, operations_alert_deliveries.c


def _word(value: str) -> ColumnElement[str]:
    return type_coerce(literal(value), BYTEWISE_TEXT)


def _state_of_alert(
    state: ColumnElement[str], happened_at: Column[Any], times: ColumnElement[int]
) -> Select[Any]:
    columns: list[ColumnElement[Any]] = [
        _alerts.alert_id.label("alert_id"),
        state.label("state"),
        _word("").label("channel"),
        happened_at.label("happened_at"),
        times.label("times_count"),
        _alerts.severity.label("severity"),
        _alerts.title.label("title"),
        _alerts.link.label("link"),
        _word("").label("detail"),
    ]
    return select(*columns)


def _state_of_delivery(
    state: str, happened_at: Column[Any], times: ColumnElement[int], detail: ColumnElement[str]
) -> Select[Any]:
    columns: list[ColumnElement[Any]] = [
        _sent.alert_id.label("alert_id"),
        _word(state).label("state"),
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
    _state_of_alert(_word("raised"), _alerts.raised_at, _once),
    _state_of_alert(_word("repeated"), _alerts.repeated_at, _alerts.repeated_count).where(
        _alerts.repeated_at.is_not(None)
    ),
    _state_of_alert(_alerts.state, _alerts.ended_at, _once).where(_alerts.ended_at.is_not(None)),
    _state_of_delivery("waiting", _sent.next_attempt_at, _sent.attempt_count, _sent.rule).where(
        _sent.state == "pending"
    ),
    _state_of_delivery("delivered", _sent.delivered_at, _once, _sent.rule).where(
        _sent.state == "delivered"
    ),
    _state_of_delivery(
        "delivery_failed", _sent.failed_at, _sent.attempt_count, _sent.last_error
    ).where(_sent.failed_at.is_not(None)),
)
