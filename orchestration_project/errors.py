"""What can go wrong, in four kinds that say what Dagster should do about it.

Only a `TransientError` is worth another try. The other three need a person: the source
(`SourceError`), the data (`ContractError`) or the settings (`ConfigurationError`) must change.
"""

from typing import ClassVar, Self
from urllib.parse import urlsplit, urlunsplit

SECRET_QUERY_NAMES = ("apikey", "api_key", "key", "token", "secret", "password", "signature")


class OrchestrationError(Exception):
    """A failure that a reader at 3 a.m. can act on.

    Its text holds what failed, what was expected, what came, what to do, and where (`context`).
    """

    category: ClassVar[str]
    is_retryable: ClassVar[bool] = False

    def __init__(
        self, what: str, *, expected: str = "", found: str = "", remedy: str = "", **context: object
    ) -> None:
        super().__init__(what)
        self.what = what
        self.expected = expected
        self.found = found
        self.remedy = remedy
        self.context = {name: str(value) for name, value in context.items()}

    def within(self, **context: object) -> Self:
        """Add where it happened, keeping what is already known; return the error itself."""
        self.context = {name: str(value) for name, value in context.items()} | self.context
        return self

    def __str__(self) -> str:
        parts = {
            "expected": self.expected,
            "found": self.found,
            "what to do": self.remedy,
            "where": ", ".join(f"{name}={value}" for name, value in self.context.items()),
        }
        lines = [f"  {label}: {text}" for label, text in parts.items() if text]
        return "\n".join([self.what, *lines])


class TransientError(OrchestrationError):
    """The same request may work later: unreachable, throttled, busy, moved while being read."""

    category = "transient"
    is_retryable = True


class MovedError(TransientError):
    """The source changed what was asked for while it was read."""


class SourceError(OrchestrationError):
    """The source answered something that cannot be used, and would answer it again."""

    category = "source"


class ContractError(OrchestrationError):
    """The data came whole and breaks a rule that holds it back."""

    category = "contract"


class ConfigurationError(OrchestrationError):
    """A setting, a file's name or a run's config is missing or wrong."""

    category = "configuration"


def without_secrets(url: str) -> str:
    """Return ``url`` without user, password and the values of secret query parameters."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    query = "&".join(
        f"{name}=***" if name.lower() in SECRET_QUERY_NAMES else f"{name}{equals}{value}"
        for name, equals, value in (pair.partition("=") for pair in parts.query.split("&"))
    )
    return urlunsplit((parts.scheme, host, parts.path, query, ""))
