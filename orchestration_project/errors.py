"""Errors in four categories, which decide whether Dagster retries.

Only a `TransientError` is worth another try. The other three need a person: the source
(`SourceError`), the data (`ContractError`) or the settings (`ConfigurationError`) must change.
"""

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, ClassVar, Self

from orchestration_project.redaction import redacted


class OrchestrationError(Exception):
    """A failure that a reader at 3 a.m. can act on.

    Its text holds what failed, what was expected, what came, what to do, and where (`context`);
    none of the secrets that this process knows, and nothing that cannot be written down, whatever
    is quoted.
    """

    category: ClassVar[str]
    is_retryable: ClassVar[bool] = False
    is_unknown_name: ClassVar[bool] = False
    """Whether a name that somebody wrote does not exist."""
    group_ids: Sequence[str] = ()
    """The recorded deliveries that a check quarantined."""

    def __init__(
        self, what: str, *, expected: str = "", found: str = "", remedy: str = "", **context: object
    ) -> None:
        self.what = _clean_text(what)
        super().__init__(self.what)
        self.expected = _clean_text(expected)
        self.found = _clean_text(found)
        self.remedy = _clean_text(remedy)
        self.context = _render_texts(context)

    def within(self, **context: object) -> Self:
        """Add where it happened, keeping what is already known; return the error itself."""
        self.context = _render_texts(context) | self.context
        return self

    @property
    def parts(self) -> Mapping[str, str]:
        """The lines below what failed, by label; those that are empty too."""
        return {
            "expected": self.expected,
            "found": self.found,
            "what to do": self.remedy,
            "where": ", ".join(f"{name}={value}" for name, value in self.context.items()),
        }

    @property
    def line(self) -> str:
        """The text in one line, without where it happened."""
        labels = ("expected", "found", "what to do")
        parts = [f"{label}: {self.parts[label]}" for label in labels if self.parts[label]]
        return "; ".join(" ".join(part.split()) for part in (self.what, *parts))

    def __str__(self) -> str:
        return error_text(self.what, self.parts)


def error_text(what: str, parts: Mapping[str, str]) -> str:
    """Return the failure ``what``, and below it a line for each part that is not empty."""
    return "\n".join([what, *(f"  {label}: {text}" for label, text in parts.items() if text)])


def cut(text: str, length: int) -> str:
    """Return ``text``, or of a longer one its beginning and a sign that it goes on."""
    return text if len(text) <= length else text[: length - 2] + " …"


def did_you_mean(written: str, known: Iterable[str]) -> str:
    """Return the remedy for a mistyped name: the known one that is most like it; empty: none is."""
    return "".join(f"did you mean {name}?" for name in get_close_matches(written, list(known), 1))


def _render_texts(context: Mapping[str, object]) -> dict[str, str]:
    return {name: _clean_text(str(value)) for name, value in context.items()}


def _clean_text(text: str) -> str:
    """Return ``text`` without secrets, and with escapes for what no database and log takes.

    Such is NUL, and half a character, as which Python reads the name of a file that is not UTF-8.
    """
    return redacted(text).replace("\0", r"\x00").encode(errors="backslashreplace").decode()


class TransientError(OrchestrationError):
    """The same request may work later: unreachable, throttled, busy, moved while being read.

    It would be in vain within ``retry_in_seconds``.
    """

    category = "transient"
    is_retryable = True

    def __init__(self, what: str, *, retry_in_seconds: float = 0, **said: Any) -> None:
        super().__init__(what, **said)
        self.retry_in_seconds = retry_in_seconds


class ThrottledError(TransientError):
    """The source asked for fewer requests, at the last attempt as well."""


class MovedError(TransientError):
    """The source changed what was asked for while it was read."""


class SourceError(OrchestrationError):
    """The source answered something that cannot be used, and would answer it again."""

    category = "source"


class UnavailableError(SourceError):
    """The source does not have what was requested, and says so: other answers are not affected."""


class ContractError(OrchestrationError):
    """The data came whole and breaks a rule that holds it back."""

    category = "contract"


class ConfigurationError(OrchestrationError):
    """A setting, a file's name or a run's config is missing or wrong."""

    category = "configuration"


class UnknownNameError(ConfigurationError):
    """A name that somebody wrote, such as that of a table, a partition or a key, does not exist."""

    is_unknown_name = True
