"""Keeps secrets out of what is written down: log lines, and Dagster's events and ticks.

No error of ours names a secret, but a library's may quote a URL or a header. So every secret that
this process came to know is known here too, and what it writes down is searched for all of them.
"""

import html
import json
import logging
import re
import sys
from threading import Lock
from traceback import format_exception
from types import TracebackType

MASK = "***"

SHORTEST_CHARACTERS = 6
"""Minimum length of a secret; a shorter one would mask ordinary words."""


class Secrets:
    """Pattern of all secrets, the longest first, as one may contain another.

    A text is redacted without a lock: garbage may be collected at any line, and the finalizer of a
    connection logs, so this thread would wait for itself, or for another one that logs.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._secrets: frozenset[str] = frozenset()
        self._compiled: tuple[frozenset[str], re.Pattern[str]] = self._secrets, re.compile("")

    def hide(self, *secrets: str) -> None:
        """Search for ``secrets`` from now on, also as they stand in a URL, in JSON and in XML."""
        names = {secret for secret in secrets if len(secret) >= SHORTEST_CHARACTERS}
        with self._lock:
            if not names <= self._secrets:
                self._secrets |= names

    def redacted(self, text: str) -> str:
        """Return ``text`` with every known secret replaced by asterisks."""
        secrets = self._secrets
        return self._read_pattern(secrets).sub(MASK, text) if secrets else text

    def _read_pattern(self, secrets: frozenset[str]) -> re.Pattern[str]:
        """Compile the pattern at the first text after a secret was added: that takes long."""
        compiled_of, pattern = self._compiled
        if compiled_of is not secrets:
            longest_first = sorted(secrets, key=len, reverse=True)
            pattern = re.compile("|".join(map(_match_secret, longest_first)))
            self._compiled = secrets, pattern
        return pattern


def _match_secret(secret: str) -> str:
    """Return a pattern of ``secret``, of which each writer escapes other characters."""
    return "".join(
        character if character.isalnum() and character.isascii() else _match_character(character)
        for character in secret
    )


def _match_character(character: str) -> str:
    """Return a pattern of ``character``: itself, after backslashes, or as URL, JSON or XML have it.

    What is written as one of these may be written again as the same or another: JSON within JSON
    has as many backslashes as one likes, and %22 in a URL becomes %2522.
    """
    in_json = json.dumps(character)[1:-1].lstrip("\\") or character
    texts = {character, in_json, html.escape(character)}
    in_url = "".join(
        f"%(?:25)*(?i:{byte:02X})" for byte in character.encode(errors="surrogatepass")
    )
    written = "|".join([*map(re.escape, sorted(texts)), in_url])
    return rf"(?:\\|%(?:25)*5[Cc])*(?:{written})"


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
    """Make every log record of this process, whoever writes it, one that shows no secret.

    The same of the last words of a process that ends by an error, which no logger writes.
    """
    logging.setLogRecordFactory(_Record)
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _write_last_words


def _write_last_words(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    sys.stderr.write(redacted("".join(format_exception(kind, error, trace))))
