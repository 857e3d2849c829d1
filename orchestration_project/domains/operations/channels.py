"""Alert channels, named by ALERT_URLS and each ALERT_URL_<NAME>."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from orchestration_project.domains.operations.alerts import SEVERITIES, Severity
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


def channels(
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
    for entry, setting, place, name in (*placed, *called):
        try:
            channel = _channel(entry, setting, place)
        except ConfigurationError as error:
            errors.append(error)
        else:
            found.append(replace(channel, name=name or channel.name))
    return tuple(found), tuple(errors)


def _channel(entry: str, setting: str, place: str) -> Channel:
    found = ENTRY.fullmatch(entry)
    if found is None:
        spaces = "spaces within the entry" if len(entry.split()) > 1 else "another form"
        raise unusable(setting, spaces)
    least = SEVERITY_BY_NAME.get((found["severity"] or "error").lower())
    if least is None:
        raise unusable(setting, "another word before its =")
    return Channel(f"{found['scheme'].lower()}-{place}", least, found["url"], setting)


def unusable(setting: str, found: str) -> ConfigurationError:
    """Return the error for the entry in this place, which shows nothing of it."""
    return ConfigurationError(
        f"{setting} cannot be used",
        expected="[severity=]URL, the severity info, warning or error, the URL one of Apprise's; "
        "commas between entries",
        found=found,
        remedy="correct the entry; docs/how-to/set-up-alerts.md has examples",
    )
