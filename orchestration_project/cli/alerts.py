"""`alerts`: the open alerts as a table, or a test message to every channel."""

import argparse
from collections.abc import Sequence

from orchestration_project.domains.operations.messages import cut, trial_message
from orchestration_project.resources.alerts import Alerts, Standing
from orchestration_project.resources.providers import open_alerts
from orchestration_project.settings import load_settings

HEADINGS = ("since (UTC)", "severity", "again", "alert", "not delivered to")
LONGEST_TITLE = 80


def main(arguments: Sequence[str]) -> int:
    """List, or test; return 1 if a channel did not take the test message, or there is none."""
    parser = argparse.ArgumentParser(
        prog="python -m orchestration_project alerts",
        description="Show what is not well, or find out whether alerts reach their channels.",
    )
    parser.add_argument(
        "what", choices=["list", "test"], help="list open alerts, or send a test to every channel"
    )
    options = parser.parse_args(arguments)
    alerts = open_alerts(load_settings())
    return _test(alerts) if options.what == "test" else _list(alerts)


def _test(alerts: Alerts) -> int:
    if not alerts.channels:
        _say("ALERT_URLS is not set: nobody is told of alerts; docs/alerts.md has examples")
        return 1
    refusals = alerts.send_to_all(trial_message())
    for channel in alerts.channels:
        reason = refusals[channel.name]
        _say(f"{channel.name} ({channel.least} and worse): {reason or 'taken'}")
    return int(any(refusals.values()))


def _list(alerts: Alerts) -> int:
    with alerts.inbox() as inbox:
        standing = inbox.standing()
        waiting = inbox.waiting()
    if standing:
        _say(_table([HEADINGS, *(_row(alert) for alert in standing)]))
    else:
        _say("no alert is open")
    if waiting:
        pending = ", ".join(f"{count} to {name}" for name, count in waiting.items())
        _say(f"waiting to be delivered: {pending}")
    return 0


def _row(alert: Standing) -> tuple[str, ...]:
    return (
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


def _say(text: str) -> None:
    print(text)  # noqa: T201 - a command talks to its user
