"""Guards of helpers: each returns what it is passed if that is right, and fails otherwise."""

import subprocess
import threading
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Result(Protocol):
    """Result of a run of Dagster."""

    @property
    def success(self) -> bool: ...


R = TypeVar("R", bound=Result)


def expect_present(value: T | None) -> T:
    """Return a value that must not be None."""
    assert value is not None
    return value


def expect_type(value: object, kind: type[T]) -> T:
    """Return a value that must be of a type."""
    assert isinstance(value, kind), value
    return value


def expect_success(result: R) -> R:
    """Return the result of a run that must have succeeded."""
    assert result.success
    return result


def expect_exit(done: subprocess.CompletedProcess[str], status: int = 0) -> None:
    """Fail with the output of a process that ended with another status."""
    assert done.returncode == status, f"{done.stdout or ''}{done.stderr or ''}"[-4_000:]


def expect_status(answer: Any, status: int = 200) -> Any:
    """Return an answer of HTTP that must have this status."""
    assert answer.status_code == status, answer.text
    return answer


def expect_set(event: threading.Event, seconds: float = 10) -> None:
    """Wait for an event that must be set within some seconds."""
    assert event.wait(seconds)
