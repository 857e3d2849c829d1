"""`alerts`: the open alerts as a table, a test message to every channel, the rules checked."""

import argparse
from collections.abc import Sequence

from orchestration_project.cli.console import echo
from orchestration_project.cli.execution import repository
from orchestration_project.cli.full_disk import full_disk_explained
from orchestration_project.connections.clock import Clock
from orchestration_project.domains.operations.messages import cut, trial_message
from orchestration_project.domains.operations.rules import RoutingRule, unknown_names
from orchestration_project.errors import ConfigurationError, OrchestrationError, TransientError
from orchestration_project.instance.storage import open_instance
from orchestration_project.services.alerts import Alerts, AlertState, names_of
from orchestration_project.services.alerts.conditions import ConditionResult, failed_daemon, see
from orchestration_project.services.alerts.sending import refuse_unusable
from orchestration_project.services.alerts.watching import watch
from orchestration_project.services.probes import open_alerts
from orchestration_project.settings import load_settings

HEADINGS = ("id", "since (UTC)", "severity", "again", "alert", "not delivered to")
LONGEST_TITLE = 80
SHOWN_OF_AN_ID = 8


def main(arguments: Sequence[str]) -> int:
    """List, close, test, check or watch; return 1 if a message was not taken, or not all is well.

    Raises:
        ConfigurationError: A channel or the rules cannot be used; what can was.
    """
    parser = argparse.ArgumentParser(
        prog="python -m orchestration_project alerts",
        description="Show what is not well, or find out whether alerts reach their channels.",
    )
    parser.add_argument(
        "what",
        choices=[*COMMANDS, CLOSE, WATCH],
        help="list open alerts, close some of them, send a test to every channel, check the rules, "
        "or watch: look once at daemon, queue and disk from outside of the daemon, and tell",
    )
    parser.add_argument(
        "ids", nargs="*", metavar="ID", help="of close: what list shows as the id of an alert"
    )
    parser.add_argument(
        "--because", default="", metavar="TEXT", help="of watch: tell that the daemon ended, so"
    )
    options = parser.parse_args(arguments)
    alerts = open_alerts(load_settings())
    if bool(options.ids) != (options.what == CLOSE):
        parser.error("close takes the ids of alerts, and nothing else does")
    if options.what == WATCH:
        return _watch(alerts, options.because)
    if options.what == CLOSE:
        return _close(alerts, options.ids)
    status = COMMANDS[options.what](alerts)
    if alerts.policy.problem:
        raise alerts.policy.problem
    return status


def _test(alerts: Alerts) -> int:
    if not alerts.channels:
        echo("ALERT_URLS is not set: nobody is told of alerts; see docs/how-to/set-up-alerts.md")
        return 1
    refusals = alerts.send_to_all(trial_message())
    for channel in alerts.channels:
        reason = refusals[channel.name]
        echo(f"{channel.name} ({channel.least} and worse): {reason or 'taken'}")
    return int(any(refusals.values()))


def _check(alerts: Alerts) -> int:
    policy = alerts.policy
    for rule in policy.rules:
        echo(_rule(rule))
    for channel in alerts.channels:
        refuse_unusable(channel)
    if policy.problem:
        return 1
    unknown = unknown_names(policy.rules, names_of(repository()))
    echo("\n".join(unknown) or "every name in them is one of the project")
    return int(bool(unknown))


def _watch(alerts: Alerts, because: str) -> int:
    seen = see([failed_daemon(_end(because))], Clock()) if because else _seen(alerts)
    for each in seen:
        echo(f"{each.problem.kind}: {each.finding.outcome}: {each.finding.got}")
    echo("\n".join(watch(alerts, seen)))
    return int(any(each.is_bad for each in seen))


def _end(because: str) -> TransientError:
    return TransientError(
        "Dagster's daemon ended",
        found=because,
        remedy="read the logs below STATE_DIR; start it again: make ui, or dagster-daemon run",
    )


def _seen(alerts: Alerts) -> Sequence[ConditionResult]:
    try:
        with full_disk_explained(load_settings()), open_instance() as instance:
            return see(alerts.conditions(instance), Clock())
    except OrchestrationError as error:  # the storage that the daemon needs cannot be used
        return see([failed_daemon(error)], Clock())


def _rule(rule: RoutingRule) -> str:
    about = rule.match.model_dump(exclude_defaults=True)
    conditions = [f"{name} {_words(value)}" for name, value in about.items()]
    whom = "each channel by its severity" if rule.channels is None else _words(rule.channels)
    after = "; then no other rule" if rule.stop else ""
    return f"{rule.name}: {'; '.join(conditions) or 'all'} -> {whom or 'nobody'}{after}"


def _words(value: str | Sequence[str]) -> str:
    return value if isinstance(value, str) else ", ".join(value)


def _list(alerts: Alerts) -> int:
    with alerts.inbox() as inbox:
        standing = inbox.standing()
        waiting = inbox.waiting()
    if standing:
        echo(_table([HEADINGS, *(_row(alert) for alert in standing)]))
    else:
        echo("no alert is open")
    if waiting:
        pending = ", ".join(f"{count} to {name}" for name, count in waiting.items())
        echo(f"waiting to be delivered: {pending}")
    return 0


def _close(alerts: Alerts, starts: Sequence[str]) -> int:
    with alerts.inbox() as inbox:
        standing = inbox.standing()
        for alert in [_the_one(standing, start) for start in starts]:
            inbox.close(alert.alert_id)
            echo(f"closed: {alert.title}")
    return 0


def _the_one(standing: Sequence[AlertState], start: str) -> AlertState:
    found = [alert for alert in standing if alert.alert_id.startswith(start.lower())]
    if len(found) != 1:
        raise ConfigurationError(
            f"{len(found)} open alerts have an id that begins with {start}",
            expected="one",
            remedy="take the id from `alerts list`; nothing was closed",
        )
    return found[0]


def _row(alert: AlertState) -> tuple[str, ...]:
    return (
        alert.alert_id[:SHOWN_OF_AN_ID],
        f"{alert.raised_at:%Y-%m-%d %H:%M}",
        alert.severity,
        str(alert.repeated_count),
        cut(alert.title, LONGEST_TITLE),
        ", ".join(alert.undelivered),
    )


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(len(row[place]) for row in rows) for place in range(len(HEADINGS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


COMMANDS = {"list": _list, "test": _test, "check": _check}
CLOSE, WATCH = "close", "watch"
