"""Receiver of Alertmanager's notifications: alerts of Prometheus among those of the project."""

from collections import Counter
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from orchestration_project.engine.contracts.api.attention import ReceivedAlerts
from orchestration_project.engine.contracts.moments import Moment
from orchestration_project.gateway.api.audit import record
from orchestration_project.gateway.api.operation import Body, Call, Operation, Parameters
from orchestration_project.gateway.api.services import Services
from orchestration_project.services.alerts.alertmanager import ReceivedAlert, store_alert
from orchestration_project.services.attention.rules import KINDS
from orchestration_project.services.probes import open_alerts

PATH = "/alerts/alertmanager"

MAX_ALERTS = 500

MAX_LABELS = 64

EXAMPLE = {
    "version": "4",
    "alerts": [
        {
            "status": "firing",
            "fingerprint": "0123456789abcdef",
            "labels": {"alertname": "GatewayAway", "severity": "error"},
            "startsAt": "2026-01-05T12:00:00Z",
        }
    ],
}

Label = Annotated[str, Field(max_length=10_000)]
Labels = Annotated[dict[str, Label], Field(max_length=MAX_LABELS)]


class FiredAlert(BaseModel):
    """Alert of a notification; unknown fields are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    status: Literal["firing", "resolved"] = Field(description="Whether it fires")
    fingerprint: str = Field(pattern="^[0-9a-f]{16}$", description="Hash of its labels")
    labels: Labels = Field(description="Labels, with alertname")
    annotations: Labels = Field(
        default_factory=dict, description="Annotations: summary and description are shown"
    )
    starts_at: Moment = Field(alias="startsAt", description="Time at which it began to fire")


class Notification(Body):
    """Notification of Alertmanager, version 4; unknown fields are ignored."""

    model_config = ConfigDict(
        extra="ignore", frozen=True, json_schema_extra={"examples": [EXAMPLE]}
    )

    version: Literal["4"] = Field(description="Version of the format")
    alerts: list[FiredAlert] = Field(max_length=MAX_ALERTS, description="Alerts of a group")
    truncated_count: int = Field(
        0,
        ge=0,
        alias="truncatedAlerts",
        description="Alerts that max_alerts of its configuration left out",
    )


async def receive_alerts(call: Call[Parameters, Notification]) -> ReceivedAlerts:
    """Store alerts of a notification of Alertmanager, each fingerprint and startsAt once.

    A firing alert becomes an entry of /attention; its resolution ends the entry. An alert whose
    label covered_by names a kind of the project's own alerts or entries makes no second entry.
    """
    alerts = [
        ReceivedAlert(
            fingerprint=alert.fingerprint,
            starts_at=alert.starts_at,
            is_firing=alert.status == "firing",
            labels=alert.labels,
            annotations=alert.annotations,
        )
        for alert in call.body.alerts
    ]
    counts = await call.services.in_thread(_store, call.services, alerts)
    changed = {name: counts[name] for name in ("raised", "recovered") if counts[name]}
    if changed:
        await record(call, PATH, changed, "done", step=2)
    return ReceivedAlerts(
        raised_count=counts["raised"],
        recovered_count=counts["recovered"],
        known_count=counts["known"],
        covered_count=counts["covered"],
        truncated_count=call.body.truncated_count,
    )


def _store(services: Services, alerts: list[ReceivedAlert]) -> Counter[str]:
    with open_alerts(services.settings).inbox() as inbox:
        return Counter(store_alert(inbox, alert, KINDS) for alert in alerts)


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        *("POST", PATH, "operator", "Receive alerts of Alertmanager", receive_alerts),
        body=Notification,
        answer=ReceivedAlerts,
    ),
)
