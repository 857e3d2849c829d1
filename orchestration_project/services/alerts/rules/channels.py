"""Alert channels, named by ALERT_URLS and each ALERT_URL_<NAME>, and whether alerts reach them."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Protocol

from orchestration_project.engine.contracts.problems import SEVERITIES, Severity
from orchestration_project.errors import ConfigurationError

ENTRY = re.compile(r"(?:(?P<severity>[A-Za-z]+)=)?(?P<url>(?P<scheme>[A-Za-z0-9]+)://\S+)")


SEVERITY_BY_NAME: dict[str, Severity] = {severity: severity for severity in SEVERITIES}


@dataclass(frozen=True)
class Channel:
    """Somewhere that alerts are sent to.

    Attributes:
        name: What rules, tables and logs call it: that of its ALERT_URL_<NAME>, in lower case; of
            an entry of ALERT_URLS its scheme and place, such as mailto-2. All that is shown of the
            URL, which is a secret. It stays when a password in the URL changes, so what waits for
            the channel still goes.
        least: The least severity that it gets by rules that name no channels.
        setting: Where its URL stands, for errors.
    """

    name: str
    least: Severity
    url: str = field(repr=False)
    setting: str = field(compare=False)


def parse_channels(
    alert_urls: Sequence[str], named: Mapping[str, str] | None = None
) -> tuple[tuple[Channel, ...], tuple[ConfigurationError, ...]]:
    """Return the channels of ``alert_urls``, the entries ``[severity=]url`` of ALERT_URLS.

    Those of ``named``, an entry by name, come after them. An entry that is malformed silences no
    other: with the channels come the errors, which say which one, and nothing of it.
    """
    placed = [
        (entry, f"entry {number} of ALERT_URLS", str(number), None)
        for number, entry in enumerate(alert_urls, 1)
    ]
    called = [
        (entry.strip(), f"ALERT_URL_{name.upper()}", name, name)
        for name, entry in sorted((named or {}).items())
    ]
    found: list[Channel] = []
    errors: list[ConfigurationError] = []
    for entry, setting, text, name in (*placed, *called):
        try:
            channel = _parse_channel(entry, setting, text)
        except ConfigurationError as error:
            errors.append(error)
        else:
            found.append(replace(channel, name=name or channel.name))
    return tuple(found), tuple(errors)


def _parse_channel(entry: str, setting: str, place: str) -> Channel:
    match = ENTRY.fullmatch(entry)
    if match is None:
        spaces = "spaces within the entry" if len(entry.split()) > 1 else "another form"
        raise build_entry_error(setting, spaces)
    least = SEVERITY_BY_NAME.get((match["severity"] or "error").lower())
    if least is None:
        raise build_entry_error(setting, "another word before its =")
    return Channel(f"{match['scheme'].lower()}-{place}", least, match["url"], setting)


def build_entry_error(setting: str, found: str) -> ConfigurationError:
    """Return the error for the entry in this place, which shows nothing of it."""
    return ConfigurationError(
        f"{setting} cannot be used",
        expected="[severity=]URL, the severity info, warning or error, the URL one of Apprise's; "
        "commas between entries",
        found=found,
        remedy="correct the entry; docs/how-to/set-up-alerts.md has examples",
    )


OVERDUE = timedelta(minutes=15)
"""Age from which a due delivery counts as stuck: the sending sensor polls twice a minute, and a
digest waits for five minutes."""

FAILURE_WINDOW = timedelta(days=1)
"""For so long a delivery that was given up is spoken of."""


class Pending(Protocol):
    """A delivery that was not taken."""

    channel: str
    state: str
    attempt_count: int
    last_error: str | None
    next_attempt_at: datetime
    failed_at: datetime | None


@dataclass(frozen=True)
class ChannelReach:
    """How a channel that did not take all alerts stands.

    Attributes:
        waiting: Deliveries that are to be made.
        failed_count: Those of them that were tried.
        overdue: Those of them that were due and not tried.
        given_up: Deliveries that lately became impossible: the channel was no longer set.
        why: What came of the latest attempt in vain, without secrets.
    """

    channel: str
    waiting: int
    failed_count: int
    overdue: int
    given_up: int
    why: str

    @property
    def is_well(self) -> bool:
        """Whether all that waits has just not had its turn."""
        return not (self.failed_count or self.overdue or self.given_up)

    def __str__(self) -> str:
        counts = (
            f"{self.waiting} wait, {self.failed_count} tried in vain, {self.overdue} overdue, "
            f"{self.given_up} given up"
        )
        return f"{self.channel}: {counts}" + (f" ({self.why})" if self.why else "")


def summarize_reach(pending: Iterable[Pending], now: datetime) -> list[ChannelReach]:
    """Return how each channel stands that did not take all that is for it, by name."""
    by_channel: dict[str, list[Pending]] = {}
    for each in pending:
        by_channel.setdefault(each.channel, []).append(each)
    return [_reach(name, by_channel[name], now) for name in sorted(by_channel)]


def _reach(name: str, pending: Sequence[Pending], now: datetime) -> ChannelReach:
    waiting = [each for each in pending if each.state == "pending"]
    errors = [(each.failed_at, each.last_error) for each in pending if each.failed_at]
    return ChannelReach(
        channel=name,
        waiting=len(waiting),
        failed_count=sum(each.last_error is not None for each in waiting),
        overdue=sum(each.next_attempt_at < now - OVERDUE for each in waiting),
        given_up=sum(
            each.state == "failed" and (each.failed_at or now) > now - FAILURE_WINDOW
            for each in pending
        ),
        why=str(max(errors)[1]) if errors else "",
    )
