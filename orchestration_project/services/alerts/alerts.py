"""The alerts resource: it opens the inbox when asked, so a tick outlives a lost database."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.environment import open_clock, open_warehouse
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import OrchestrationError
from orchestration_project.services.alerts.inbox import Inbox
from orchestration_project.services.alerts.policy import Links, read_policy
from orchestration_project.services.alerts.rules.channels import Channel, parse_channels
from orchestration_project.services.alerts.rules.decisions import is_lately
from orchestration_project.services.alerts.rules.digest import (
    AlertDelivery,
    build_message,
    plan_batches,
)
from orchestration_project.services.alerts.rules.messages import Message, build_database_failure
from orchestration_project.services.alerts.rules.notification import Policy
from orchestration_project.services.alerts.rules.runbooks import add_runbook
from orchestration_project.services.alerts.sending import LastResortLog, send
from orchestration_project.settings import Settings, without_secrets

if TYPE_CHECKING:
    import dagster as dg

    from orchestration_project.registry import AlertCondition

MESSAGES_PER_TICK = 10
"""To each channel."""

SECONDS_PER_TICK = 30
"""Dagster ends a tick that takes longer than 60 s; past half of that a channel gets one alone."""


class Alerts:
    """The channels that are notified, and the store of alerts."""

    def __init__(
        self,
        policy: Policy,
        open_warehouse: Callable[[], Warehouse],
        *,
        clock: Clock,
        links: Links,
        conditions: "Callable[[dg.DagsterInstance], Sequence[AlertCondition]]",
        last_resort_log: LastResortLog,
        docs_url: str | None = None,
    ) -> None:
        self.policy = policy
        self.conditions = conditions
        self.links = links
        self.last_resort_log = last_resort_log
        self._docs_url = docs_url
        self._open_warehouse = open_warehouse
        self._clock = clock

    @property
    def channels(self) -> Sequence[Channel]:
        """Those that there are."""
        return self.policy.channels

    @contextmanager
    def inbox(self) -> Iterator[Inbox]:
        """Open the stored alerts.

        Raises:
            OrchestrationError: The database cannot be used.
        """
        with self._open_warehouse() as warehouse:
            yield Inbox(warehouse, self.policy, clock=self._clock)

    def send_to_all(self, message: Message) -> dict[str, str | None]:
        """Send a message past the inbox; return by channel why it was not taken, None if it was."""
        return {channel.name: self._attempt(channel, message) for channel in self.channels}

    def notify_of_lost_database(
        self, error: OrchestrationError, notified_at: Mapping[str, datetime]
    ) -> dict[str, datetime]:
        """Notify each channel directly, once per window; return when each was notified."""
        now = self._clock.now()
        message = build_database_failure(str(error))
        window = self.policy.window
        recent = {name: at for name, at in notified_at.items() if is_lately(at, now, window)}
        due = [channel for channel in self.channels if channel.name not in recent]
        names = [channel.name for channel in due if self._attempt(channel, message) is None]
        return recent | dict.fromkeys(names, now)

    def give_up(self, inbox: Inbox) -> None:
        """Give up what is for channels that are gone; one that cannot be used is none of these."""
        if self.policy.problem is None:
            inbox.give_up_others([channel.name for channel in self.channels])

    def deliver(self, inbox: Inbox) -> tuple[int, dict[str, str]]:
        """Send due alerts; return how many were accepted, and why channels did not accept one.

        A channel that did not is left alone until the next tick; for some there may be no time.
        """
        name, reasons = 0, dict[str, str]()
        until = time.monotonic() + SECONDS_PER_TICK
        for channel in self.channels:
            due = inbox.due(channel.name)
            chosen = plan_batches(due, self.policy.digest_above, now=self._clock.now())
            for batch in chosen[:MESSAGES_PER_TICK]:
                claimed = inbox.claim(batch)
                reason = self._deliver(inbox, claimed, channel) if claimed else None
                if reason is not None:
                    reasons[channel.name] = reason
                    break
                name += len(claimed)
                if time.monotonic() > until:
                    break
        return name, reasons

    def _deliver(
        self, inbox: Inbox, batch: Sequence[AlertDelivery], channel: Channel
    ) -> str | None:
        reason = self._attempt(channel, build_message(batch))
        if reason is None:
            inbox.delivered(batch)
        else:
            inbox.refused(batch, reason)
        return reason

    def _attempt(self, channel: Channel, message: Message) -> str | None:
        """Return why ``channel`` did not take ``message``, None if it did."""
        try:
            send(channel, add_runbook(message, self._docs_url))
        except OrchestrationError as error:
            return f"{error.what}: {error.found}" if error.found else error.what
        return None


def build_alerts(
    settings: Settings, conditions: "Callable[[dg.DagsterInstance], Sequence[AlertCondition]]"
) -> Alerts:
    """Return the channels and the store of alerts; opens nothing yet.

    Args:
        settings: The settings of this process.
        conditions: Returns the conditions that alerts report although no run ends by them.
    """
    return Alerts(
        read_policy(
            settings.alert_rules_path,
            *parse_channels(settings.every_alert_url, settings.named_alert_urls),
            window=timedelta(hours=settings.alert_repeat_after_hours),
        ),
        lambda: open_warehouse(settings),
        clock=open_clock(settings),
        links=Links(without_secrets(settings.public_url)),  # they go to people
        conditions=conditions,
        last_resort_log=LastResortLog(settings.state_path / "alerts_told.json"),
        docs_url=settings.docs_url and without_secrets(settings.docs_url),
    )
