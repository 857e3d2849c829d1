"""Commands of `alerts`: list and close alerts, test channels, check rules, watch the daemon."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from orchestration_project.cli.console import OUTPUT, echo, emit, emit_or, preview, show_rows
from orchestration_project.errors import (
    OrchestrationError,
    TransientError,
    UnknownNameError,
    cut,
)
from orchestration_project.services.alerts import Alerts, AlertState, build_alerts, collect_names
from orchestration_project.services.alerts.rules.messages import build_test_message
from orchestration_project.services.alerts.rules.notification import RoutingRule, find_unknown_names
from orchestration_project.services.alerts.sending import refuse_unusable
from orchestration_project.settings import load_settings

if TYPE_CHECKING:
    from orchestration_project.services.alerts.conditions import ConditionResult

HEADINGS = {
    "shown_id": "id",
    "since": "since (UTC)",
    "severity": "severity",
    "repeated_count": "again",
    "shown_title": "alert",
    "undelivered": "not delivered to",
}
MAX_TITLE_LENGTH = 80
SHOWN_OF_AN_ID = 8


def _open_channels() -> Alerts:
    """Return the channels and the stored alerts; no command that takes it looks at conditions."""
    return build_alerts(load_settings(), lambda _: [])


def _decide_status(alerts: Alerts, status: int) -> int:
    """Return the exit status.

    Raises:
        ConfigurationError: A channel or the rules cannot be used; what can was.
    """
    if alerts.policy.problem:
        raise alerts.policy.problem
    return status


def test_channels() -> int:
    """Send a test message to each channel; return 1 if one of them refused it."""
    alerts = _open_channels()
    if OUTPUT.is_dry_run:
        names = [channel.name for channel in alerts.channels]
        preview(f"a test message would go to {', '.join(names) or 'no channel'}", channels=names)
        return _decide_status(alerts, 0)
    if not alerts.channels:
        emit_or([], "ALERT_URLS is not set: alerts go nowhere; see docs/how-to/set-up-alerts.md")
        return _decide_status(alerts, 1)
    refusals = alerts.send_to_all(build_test_message())
    emit_or(
        [{"channel": each.name, "problem": refusals[each.name]} for each in alerts.channels],
        *(
            f"{each.name} ({each.least} and worse): {refusals[each.name] or 'taken'}"
            for each in alerts.channels
        ),
    )
    return _decide_status(alerts, int(any(refusals.values())))


def check_rules() -> int:
    """Check rules and channels; return 1 if a rule names what the project does not have."""
    alerts = _open_channels()
    policy = alerts.policy
    for rule in policy.rules:
        echo(_render_rule(rule))
    for channel in alerts.channels:
        refuse_unusable(channel)
    if policy.problem:
        return _decide_status(alerts, 1)
    unknown = _find_unknown_names(policy.rules)
    rules, channels = len(policy.rules), len(alerts.channels)
    emit_or(
        {"is_valid": not unknown, "rules": rules, "channels": channels, "unknown": unknown},
        "\n".join(unknown) or f"valid: {rules} rules, {channels} channels",
    )
    return int(bool(unknown))


def _find_unknown_names(rules: Sequence[RoutingRule]) -> list[str]:
    if not any(rule.match.has_names for rule in rules):
        return []
    from orchestration_project.cli.execution import repository  # imports all definitions

    return find_unknown_names(rules, collect_names(repository()))


def watch_once(because: str) -> int:
    """Look at daemon, queue and disk, and send alerts; return 1 if something is wrong."""
    from orchestration_project.catalog import REGISTRY
    from orchestration_project.engine.connections.clock import Clock
    from orchestration_project.services.alerts.conditions import build_daemon_condition, see
    from orchestration_project.services.alerts.watching import watch
    from orchestration_project.services.probes import open_alerts

    alerts = open_alerts(load_settings(), REGISTRY)
    seen_condition_results = (
        see([build_daemon_condition(_explain_end(because))], Clock())
        if because
        else _see_conditions(alerts)
    )
    sent = [] if OUTPUT.is_dry_run else list(watch(alerts, seen_condition_results))
    if OUTPUT.is_json:
        emit(
            {
                "conditions": [_render_condition(result) for result in seen_condition_results],
                "alerts": sent,
            }
        )
    else:
        for result in seen_condition_results:
            echo(f"{result.problem.kind}: {result.finding.outcome}: {result.finding.got}")
        echo("\n".join(sent) or "dry run: no alert was sent")
    return int(any(result.is_bad for result in seen_condition_results))


def _render_condition(each: "ConditionResult") -> dict[str, object]:
    return {
        "kind": each.problem.kind,
        "outcome": each.finding.outcome,
        "found": each.finding.got,
        "is_bad": each.is_bad,
    }


def _explain_end(because: str) -> TransientError:
    program = because.partition(" ")[0]
    return TransientError(
        "Dagster's daemon ended" if program == "daemon" else f"the program {program} ended",
        found=because,
        remedy="read the logs below STATE_DIR; if `ui` or `stack` ended, start it again",
    )


def _see_conditions(alerts: Alerts) -> "Sequence[ConditionResult]":
    from orchestration_project.cli.full_disk import full_disk_explained
    from orchestration_project.engine.connections.clock import Clock
    from orchestration_project.instance.storage import open_instance
    from orchestration_project.services.alerts.conditions import build_daemon_condition, see

    try:
        with full_disk_explained(load_settings()), open_instance() as instance:
            return see(alerts.conditions(instance), Clock())
    except OrchestrationError as error:  # the storage that the daemon needs cannot be used
        return see([build_daemon_condition(error)], Clock())


def _render_rule(rule: RoutingRule) -> str:
    about = rule.match.model_dump(exclude_defaults=True)
    conditions = [f"{name} {_join_words(value)}" for name, value in about.items()]
    whom = "each channel by its severity" if rule.channels is None else _join_words(rule.channels)
    after = "; then no other rule" if rule.stop else ""
    return f"{rule.name}: {'; '.join(conditions) or 'all'} -> {whom or 'no channel'}{after}"


def _join_words(value: str | Sequence[str]) -> str:
    return value if isinstance(value, str) else ", ".join(value)


def list_open() -> int:
    """List open alerts and what waits for delivery."""
    alerts = _open_channels()
    with alerts.inbox() as inbox:
        standing = inbox.standing()
        waiting = inbox.waiting()
    if OUTPUT.is_json:
        emit({"alerts": [_render_alert(alert) for alert in standing], "waiting": waiting})
        return _decide_status(alerts, 0)
    if standing:
        show_rows([_render_alert(alert) for alert in standing], HEADINGS)
    else:
        echo("no alert is open")
    if waiting:
        pending = ", ".join(f"{count} to {name}" for name, count in waiting.items())
        echo(f"waiting to be delivered: {pending}")
    return _decide_status(alerts, 0)


def close(beginnings: Sequence[str]) -> int:
    """Close the alerts whose ids begin so, all of them or none."""
    alerts = _open_channels()
    with alerts.inbox() as inbox:
        standing = inbox.standing()
        for alert in [_find_alert(standing, beginning) for beginning in beginnings]:
            if OUTPUT.is_dry_run:
                preview(f"would be closed: {alert.title}", alert_id=alert.alert_id)
                continue
            inbox.close(alert.alert_id)
            echo(f"closed: {alert.title}")
    return 0


def _find_alert(standing: Sequence[AlertState], beginning: str) -> AlertState:
    alerts = [alert for alert in standing if alert.alert_id.startswith(beginning.lower())]
    if len(alerts) == 1:
        return alerts[0]
    raise UnknownNameError(
        f"{len(alerts)} open alerts match {beginning!r}"
        if alerts
        else f"no open alert matches {beginning!r}",
        expected="the beginning of one id",
        remedy="take the id from `alerts list`; nothing was closed",
    )


def _render_alert(alert: AlertState) -> dict[str, object]:
    return {
        "alert_id": alert.alert_id,
        "shown_id": alert.alert_id[:SHOWN_OF_AN_ID],
        "since": alert.raised_at,
        "severity": alert.severity,
        "repeated_count": alert.repeated_count,
        "title": alert.title,
        "shown_title": cut(alert.title, MAX_TITLE_LENGTH),
        "undelivered": ", ".join(alert.undelivered),
    }
