"""Who is told: the channels that ALERT_URLS names."""

import re
from dataclasses import dataclass, field

from orchestration_project.domains.operations.alerts import SEVERITIES, Severity
from orchestration_project.errors import ConfigurationError

ENTRY = re.compile(r"(?:(?P<severity>[A-Za-z]+)=)?(?P<url>(?P<scheme>[A-Za-z0-9]+)://\S+)")


LEAST: dict[str, Severity] = {severity: severity for severity in SEVERITIES}


@dataclass(frozen=True)
class Channel:
    """One entry of ALERT_URLS.

    Attributes:
        name: Its scheme and place, such as mailto-2: what is shown of the URL, which is a secret.
            It stays when a password in the URL changes, so what waits for the channel still goes.
        least: The least severity that it gets.
    """

    name: str
    least: Severity
    url: str = field(repr=False)


def channels(alert_urls: str) -> tuple[Channel, ...]:
    """Return the channels of ``alert_urls``, entries ``[severity=]url`` with blanks between.

    Raises:
        ConfigurationError: An entry is malformed; the text names its number only.
    """
    return tuple(_channel(number, entry) for number, entry in enumerate(alert_urls.split(), 1))


def _channel(number: int, entry: str) -> Channel:
    found = ENTRY.fullmatch(entry)
    if found is None:
        raise unusable(number, "no such entry")
    given = (found["severity"] or "warning").lower()
    least = LEAST.get(given)
    if least is None:
        raise unusable(number, "another word before its =")
    return Channel(f"{found['scheme'].lower()}-{number}", least, found["url"])


def unusable(number: int, found: str) -> ConfigurationError:
    """Return the error for the entry of this number, which shows nothing of it."""
    return ConfigurationError(
        f"entry {number} of ALERT_URLS cannot be used",
        expected="[severity=]URL, the severity info, warning or error, the URL one of Apprise's",
        found=found,
        remedy="correct the entry; docs/alerts.md has examples",
    )
