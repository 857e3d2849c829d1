"""Contents of a message: one alert, or a digest of many alerts for each rule."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from orchestration_project.engine.contracts.problems import SEVERITIES
from orchestration_project.errors import cut
from orchestration_project.services.alerts.rules.decisions import find_worst
from orchestration_project.services.alerts.rules.messages import LISTED, RECOVERED, Message

FLOOD_QUIET_PERIOD = timedelta(seconds=45)
"""A flood is over when so long nothing came: more than the time between two looks at what ended."""

MAX_FLOOD = timedelta(minutes=5)
"""Maximum wait before a digest is sent; later alerts go into the next digest."""


@dataclass(frozen=True)
class AlertDelivery:
    """An alert that is to be sent to a channel, by a rule, and the attempts that were begun."""

    alert_id: str
    channel: str
    rule: str
    attempts: int
    raised_at: datetime
    message: Message


def plan_batches(
    due: Sequence[AlertDelivery], digest_above: Callable[[str], int], *, now: datetime
) -> list[Sequence[AlertDelivery]]:
    """Return the deliveries of ``due``, those of one channel in order, to send now, by message.

    More than ``digest_above(rule)`` of a rule go together, once no more of them come.
    """
    by_rule: dict[str, list[AlertDelivery]] = {}
    for alert_delivery in due:
        by_rule.setdefault(alert_delivery.rule, []).append(alert_delivery)
    entries: list[Sequence[AlertDelivery]] = []
    for rule, waiting in by_rule.items():
        if len(waiting) <= digest_above(rule):
            entries += [[alert_delivery] for alert_delivery in waiting]
        elif _is_over(waiting, now):
            entries.append(waiting)
    return sorted(entries, key=lambda batch: (batch[0].raised_at, batch[0].alert_id))


def _is_over(waiting: Sequence[AlertDelivery], now: datetime) -> bool:
    raised = [alert_delivery.raised_at for alert_delivery in waiting]
    return (
        max(raised) <= now - FLOOD_QUIET_PERIOD
        or min(raised) <= now - MAX_FLOOD
        or max(raised) > now + FLOOD_QUIET_PERIOD  # the clock was set back
    )


def build_message(batch: Sequence[AlertDelivery]) -> Message:
    """Return the message for a batch: the alert's own, or a digest of several."""
    if len(batch) == 1:
        return batch[0].message
    messages = [alert_delivery.message for alert_delivery in batch]
    kinds = Counter(message.kind for message in messages).most_common()
    counts = ", ".join(f"{count} {kind}" for kind, count in kinds)
    first = sorted(messages, key=lambda each: -SEVERITIES.index(each.severity))[:LISTED]
    shown_names = [f"{each.title}\n  {each.link or '(no page)'}" for each in first]
    number = len(messages) - len(first)
    return Message(
        kind=RECOVERED if kinds == [(RECOVERED, len(messages))] else "digest",
        severity=find_worst(message.severity for message in messages),
        title=cut(f"{len(messages)} alerts at once: {counts}", 200),
        body="\n".join(
            [
                f"Grouped by the rule {batch[0].rule}: {counts}.",
                "",
                *shown_names,
                *([f"and {number} more"] if number else []),
                "",
                "All: the table operations_alerts, `orchestrate alerts list`.",
            ]
        ),
    )
