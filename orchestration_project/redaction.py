"""Keeps secrets out of what is written down: log lines, and Dagster's events and ticks.

No error of ours names a secret, but a library's may quote a URL or a header. So every secret that
this process came to know is known here too, and what it writes down is searched for all of them.
"""

import json
import logging
import re
from threading import Lock
from urllib.parse import quote

MASK = "***"

SHORTEST_CHARACTERS = 6
"""Of a secret that is searched for; a shorter one would take ordinary words with it."""


class Secrets:
    """What is searched for, as one pattern; the longest first, as one may hold another."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._spellings: set[str] = set()
        self._pattern: re.Pattern[str] | None = None

    def hide(self, *secrets: str) -> None:
        """Search for ``secrets`` from now on, also as they stand in a URL and in JSON."""
        spellings = {
            spelling
            for secret in secrets
            for spelling in (secret, quote(secret, safe=""), quote(secret), _quoted(secret))
            if len(spelling) >= SHORTEST_CHARACTERS
        }
        with self._lock:
            if spellings <= self._spellings:
                return
            self._spellings |= spellings
            longest_first = sorted(self._spellings, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(re.escape, longest_first)))

    def redacted(self, text: str) -> str:
        """Return ``text`` with every known secret replaced by asterisks."""
        return self._pattern.sub(MASK, text) if self._pattern else text


def _quoted(text: str) -> str:
    return json.dumps(text)[1:-1]


_OF_THIS_PROCESS = Secrets()


def hide(*secrets: str) -> None:
    """Search for ``secrets`` in this process from now on."""
    _OF_THIS_PROCESS.hide(*secrets)


def redacted(text: str) -> str:
    """Return ``text`` without the secrets of this process."""
    return _OF_THIS_PROCESS.redacted(text)


class _Record(logging.LogRecord):
    """A log record that shows no secret, in its message or in its traceback."""

    def __init__(self, *args: object, **more: object) -> None:
        super().__init__(*args, **more)  # pyright: ignore[reportArgumentType] - passed on as they are
        if self.exc_info and self.exc_info[0]:
            self.exc_text = redacted(logging.Formatter().formatException(self.exc_info))

    def getMessage(self) -> str:  # noqa: N802 - logging's name
        """Return the message, its arguments put in."""
        return redacted(super().getMessage())


def keep_secrets_out_of_logs() -> None:
    """Make every log record of this process, whoever writes it, one that shows no secret."""
    logging.setLogRecordFactory(_Record)
