"""When a failed attempt is followed by another, and the log lines of attempts."""

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from stamina.instrumentation import RetryDetails, set_on_retry_hooks

from orchestration_project.connections.http.request import Question

MAX_RETRY_AFTER_SECONDS = 60  # a longer wait holds a run for nothing: the run may come again
LONGEST_RETRY_AFTER_SECONDS = 366 * 24 * 3600  # what is longer is taken for this

logger = logging.getLogger("orchestration_project.http")


class AttemptError(Exception):
    """One attempt failed in a way that another may not."""

    def __init__(
        self,
        question: Question,
        number: int,
        reason: str,
        retry_after: float | None = None,
        *,
        is_throttled: bool = False,
    ) -> None:
        super().__init__(reason)
        self.question = question
        self.number = number
        self.retry_after = retry_after  # seconds, if the source named a time
        self.is_throttled = is_throttled  # the source asked for fewer requests


def when_to_try_again(error: Exception) -> bool | float:
    """Tell stamina whether to try again: by its own backoff, or after so many seconds."""
    if not isinstance(error, AttemptError):
        return False
    if error.retry_after is None:
        return True
    return error.retry_after if error.retry_after <= MAX_RETRY_AFTER_SECONDS else False


def seconds_to_wait(headers: Mapping[str, str], now: Callable[[], datetime]) -> float | None:
    """Return the seconds that the source asks us to wait; None if it does not say."""
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return min(float(value), LONGEST_RETRY_AFTER_SECONDS)
    due = _http_date(value)
    if due is None:
        return None
    # By the source's own clock where it tells: ours may differ.
    wait = due - (_http_date(headers.get("date", "")) or now())
    return min(max(wait.total_seconds(), 0.0), LONGEST_RETRY_AFTER_SECONDS)


def _http_date(value: str) -> datetime | None:
    try:
        return parsedate_to_datetime(value).replace(tzinfo=UTC)  # HTTP dates are in GMT
    except (ValueError, OverflowError):  # the latter of numbers that no day has
        return None


def replace_lines_with_urls() -> None:
    """Replace, for the process, the log lines of urllib3 and stamina that hold whole URLs."""
    for name in ("connection", "connectionpool", "poolmanager", "response"):
        logging.getLogger(f"urllib3.{name}").addFilter(_refuse)
    set_on_retry_hooks([_log_retry])


def log_answer(question: Question, status: int, byte_count: int, elapsed_seconds: float) -> None:
    """Log that an attempt succeeded."""
    logger.debug(
        "%s: %s %s: status %d, %d bytes in %.3f s",
        question.system,
        question.method,
        question.url,
        status,
        byte_count,
        elapsed_seconds,
    )


def _refuse(_: logging.LogRecord) -> bool:
    return False


def _log_retry(details: RetryDetails) -> None:
    error = details.caused_by
    if not isinstance(error, AttemptError):
        logger.warning("retry of something that is not ours: %s", type(error).__name__)
        return
    logger.warning(
        "%s: %s %s failed (attempt %d: %s); next attempt in %.2f s",
        error.question.system,
        error.question.method,
        error.question.url,
        error.number,
        error,
        details.wait_for,
    )
