"""Alerts as an asset: what is open, whether all reach their channels, whether the rules hold."""

from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg
import polars as pl

from orchestration_project.assets.operations.catalogue import ALERTS, build_asset_spec
from orchestration_project.services.alerts import Alerts, AlertState
from orchestration_project.services.alerts.rules.channels import ChannelReach
from orchestration_project.services.gate.rules import format_error
from orchestration_project.services.metadata import build_table, check_spec
from orchestration_project.tables.operations_alerts import operations_alerts

DELIVERED, RULES = "reach_their_channels", "go_by_usable_rules"
ALERTS_SHOWN = 50


@dg.multi_asset(
    name="look_at_alerts",
    specs=[build_asset_spec(ALERTS, operations_alerts, "ledger")],
    check_specs=[
        check_spec(
            DELIVERED,
            asset=ALERTS,
            description="No alert delivery failed, is overdue, or was abandoned in the last day.",
            remedy="check the channel's settings and service; `alerts test`",
        ),
        check_spec(
            RULES,
            asset=ALERTS,
            description="The alert rules file is valid, and each name in it exists in the project.",
            remedy="correct the rules that the check lists",
        ),
    ],
)
def alerts_asset(
    alerts: dg.ResourceParam[Alerts],
) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
    """Look at the alerts that are open, and at the way that they take."""
    with alerts.inbox() as inbox:
        standing, reaches = inbox.standing(), inbox.reaches()
        doubts = inbox.open_problems(["alert_rules"])
    yield dg.MaterializeResult(
        asset_key=ALERTS,
        metadata={
            "channels": ", ".join(channel.name for channel in alerts.channels) or "none",
            "open": len(standing),
            "waiting": sum(reach.waiting for reach in reaches),
            "alerts": render_alerts(standing[:ALERTS_SHOWN]),
        },
    )
    yield _check_delivery(reaches)
    problem = alerts.policy.problem
    text = format_error(problem) if problem else "an open alert has the details" if doubts else ""
    yield dg.AssetCheckResult(
        asset_key=ALERTS,
        check_name=RULES,
        passed=not text,
        description=text or f"{len(alerts.policy.rules)} rules",
    )


def _check_delivery(reaches: Sequence[ChannelReach]) -> dg.AssetCheckResult:
    ill = [reach for reach in reaches if not reach.is_well]
    return dg.AssetCheckResult(
        asset_key=ALERTS,
        check_name=DELIVERED,
        passed=not ill,
        description="; ".join(map(str, ill)) or "every channel accepts its messages",
        metadata={
            "tried_in_vain": sum(channel_reach.failed_count for channel_reach in ill),
            "overdue": sum(channel_reach.overdue for channel_reach in ill),
            "given_up": sum(channel_reach.given_up for channel_reach in ill),
        },
    )


def render_alerts(standing: Sequence[AlertState]) -> dg.TableMetadataValue:
    """Return open alerts as a table: what each is about first, and the command that closes it."""
    rows = [
        {
            "title": alert_state.title,
            "severity": alert_state.severity,
            "raised_at": alert_state.raised_at,
            "close_with": f"orchestrate alerts close {alert_state.alert_id}",
            "not_delivered_to": ", ".join(alert_state.undelivered),
            "repeated_count": alert_state.repeated_count,
            "alert_id": alert_state.alert_id,
        }
        for alert_state in standing
    ]
    schema = {
        "title": pl.String,
        "severity": pl.String,
        "raised_at": pl.Datetime("us", "UTC"),
        "close_with": pl.String,
        "not_delivered_to": pl.String,
        "repeated_count": pl.Int64,
        "alert_id": pl.String,
    }
    return build_table(pl.DataFrame(rows, schema))
