"""The alerts resource: it opens the inbox when asked, so a tick outlives a lost database."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta

from orchestration_project.domains.operations.channels import Channel
from orchestration_project.domains.operations.messages import Message, database_failure
from orchestration_project.errors import OrchestrationError
from orchestration_project.resources.alerts.inbox import Delivery, Inbox
from orchestration_project.resources.alerts.links import Links
from orchestration_project.resources.alerts.sending import send
from orchestration_project.resources.clock import Clock
from orchestration_project.resources.warehouse import Warehouse

DELIVERIES_PER_TICK = 10
"""To each channel: Dagster ends a tick that takes longer than 60 s."""


class Alerts:
    """Who is told, and where alerts wait."""

    def __init__(
        self,
        channels: Sequence[Channel],
        open_warehouse: Callable[[], Warehouse],
        *,
        clock: Clock,
        window: timedelta,
        links: Links,
    ) -> None:
        self.channels = channels
        self.links = links
        self._open_warehouse = open_warehouse
        self._clock = clock
        self._window = window

    @contextmanager
    def inbox(self) -> Iterator[Inbox]:
        """Open the stored alerts.

        Raises:
            OrchestrationError: The database cannot be used.
        """
        with self._open_warehouse() as warehouse:
            yield Inbox(warehouse, self.channels, clock=self._clock, window=self._window)

    def send_to_all(self, message: Message) -> dict[str, str | None]:
        """Send a message past the inbox; return by channel why it was not taken, None if it was."""
        return {channel.name: _attempt(channel, message) for channel in self.channels}

    def tell_of_lost_database(
        self, error: OrchestrationError, told: Mapping[str, datetime]
    ) -> dict[str, datetime]:
        """Tell each channel directly, once per window; return when each was told."""
        now = self._clock.now()
        message = database_failure(str(error))
        recent = {name: at for name, at in told.items() if at > now - self._window}
        due = [channel for channel in self.channels if channel.name not in recent]
        taken = [channel.name for channel in due if _attempt(channel, message) is None]
        return recent | dict.fromkeys(taken, now)

    def deliver(self, inbox: Inbox) -> tuple[int, dict[str, str]]:
        """Send what is due; return how many were taken, and why channels did not take one.

        A channel that did not is left alone until the next tick.
        """
        inbox.give_up_others([channel.name for channel in self.channels])
        taken, reasons = 0, dict[str, str]()
        for channel in self.channels:
            for delivery in inbox.due(channel.name, DELIVERIES_PER_TICK):
                if not inbox.claim(delivery):
                    continue
                reason = _deliver(inbox, delivery, channel)
                if reason is not None:
                    reasons[channel.name] = reason
                    break
                taken += 1
        return taken, reasons


def _deliver(inbox: Inbox, delivery: Delivery, channel: Channel) -> str | None:
    reason = _attempt(channel, delivery.message)
    if reason is None:
        inbox.delivered(delivery)
    else:
        inbox.refused(delivery, reason)
    return reason


def _attempt(channel: Channel, message: Message) -> str | None:
    """Return why ``channel`` did not take ``message``, None if it did."""
    try:
        send(channel, message)
    except OrchestrationError as error:
        return f"{error.what}: {error.found}" if error.found else error.what
    return None
