"""Sends alerts to channels; notes those that were sent while the database was down."""

import json
import logging
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from orchestration_project.errors import TransientError
from orchestration_project.services.alerts.rules.channels import Channel, build_entry_error
from orchestration_project.services.alerts.rules.messages import RECOVERED, Message

log = logging.getLogger(__name__)


class LastResortLog:
    """A file of STATE_DIR with the channels that were notified while the database was lost.

    If it cannot be written, they are notified again.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    def read(self) -> dict[str, datetime]:
        """Return when each channel was notified; empty if the database is not lost."""
        try:
            sent_at = json.loads(self._file.read_text())
            return {name: datetime.fromisoformat(at) for name, at in sent_at.items()}
        except (OSError, ValueError):
            return {}

    def keep(self, sent_at: Mapping[str, datetime]) -> None:
        """Store when each channel was notified."""
        with self._logging_errors():
            self._file.write_text(
                json.dumps({name: at.isoformat() for name, at in sent_at.items()})
            )

    def forget(self) -> None:
        """Delete the file, once the database can be used again."""
        with self._logging_errors():
            self._file.unlink(missing_ok=True)

    @contextmanager
    def _logging_errors(self) -> Iterator[None]:
        """Log that the file cannot be written: no alert is lost by that."""
        try:
            yield
        except OSError as error:
            log.warning(
                "cannot write %s, so a notification may repeat: %s",
                self._file,
                error,
                extra={"event": "last_resort_log_unwritable"},
            )


if TYPE_CHECKING:
    from apprise import Apprise

HTTP_STATUS = re.compile(r"error=(\d{3})\b")
"""How Apprise's services write the status that they were answered; the rest may hold secrets."""

SECONDS_IN_ALL = 20
"""For one message, whatever a service does; Apprise waits 4 s for a connection and an answer."""

SECONDS_TO_CONNECT = 4

SENT_TEST = "sent a test message to each channel"
"""Action of the probe that sends, as its finding stores it."""


def send(channel: Channel, message: Message) -> None:
    """Send ``message``.

    Raises:
        ConfigurationError: Apprise knows no such URL.
        TransientError: The channel did not take it.
    """
    notifier = _build_notifier(channel)
    result = notifier.notify(
        title=message.title,
        body=message.body,
        notify_type=_choose_type(message),
        body_format="text",
        timeout=SECONDS_IN_ALL,
    )
    if not result:
        entries = [match[1] for log in result.logs() if (match := HTTP_STATUS.search(log.message))]
        raise TransientError(
            f"{channel.name} did not accept an alert",
            found=f"HTTP {entries[-1]}" if entries else "no connection, no answer, or a refusal",
            remedy=f"check the service and {channel.setting}; it is retried",
        )


def refuse_unusable(channel: Channel) -> None:
    """Connect to nothing, and make sure that the channel's URL is one.

    Raises:
        ConfigurationError: Apprise knows no such URL.
    """
    _build_notifier(channel)


def check_channel(channel: Channel) -> str:
    """Return the status of ``channel`` that is known without sending to it.

    Where the entry names a port (and of mail, whose port is known), that is connected to. Of
    others the host is the service's own, or the text in its place a secret: it is never looked up.

    Raises:
        ConfigurationError: Apprise knows no such URL.
        TransientError: The service accepts no connection.
    """
    places = [
        (str(getattr(service, "smtp_host", None) or service.host), int(service.port))
        for service in _build_notifier(channel)
        if service.port
    ]
    for pair in places:
        try:
            socket.create_connection(pair, timeout=SECONDS_TO_CONNECT).close()
        except OSError as error:
            raise TransientError(
                f"{channel.name} accepts no connection",
                found=error.strerror or type(error).__name__,
                remedy=f"check the service and {channel.setting}",
            ) from None  # its text may hold the host
    return "takes connections" if places else "is well formed"


def _choose_type(message: Message) -> str:
    if message.kind == RECOVERED:
        return "success"
    return {"info": "info", "warning": "warning", "error": "failure"}[message.severity]


def _build_notifier(channel: Channel) -> "Apprise":
    """Return the sender for ``channel``, with nothing kept on disk."""
    apprise = _import_library()
    notifier = apprise.Apprise(asset=apprise.AppriseAsset(storage_mode="memory", async_mode=False))
    if not notifier.add(channel.url):
        raise build_entry_error(channel.setting, "a URL that Apprise cannot use")
    return notifier


class _StatusOnly(logging.Filter):
    """Lets of Apprise's log lines just the HTTP status through: they quote whole URLs."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Cut the line down to the status; drop one that has none."""
        match = HTTP_STATUS.search(record.getMessage())
        record.msg, record.args = (match[0] if match else ""), ()
        return match is not None and record.levelno >= logging.WARNING


STATUS_ONLY = _StatusOnly()


def _import_library():  # noqa: ANN202 - a module
    """Import Apprise, which takes 0.8 s, with nothing secret in what it and urllib3 log."""
    import apprise

    logging.getLogger("apprise").addFilter(STATUS_ONLY)  # once, however often it is said
    logging.getLogger("urllib3").setLevel(logging.CRITICAL)
    return apprise
