"""A vendor's requests a day: counted over processes and restarts, until its next day."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from orchestration_project.engine.http.shared_state import SqliteState
from orchestration_project.resources.prices.quota import Quota, QuotaEndedError
from orchestration_project.settings import PROJECT_ROOT, child_environment

EVENING = datetime(2026, 3, 2, 23, 30, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.time = EVENING

    def __call__(self) -> datetime:
        return self.time


Opening = Callable[[Clock, int | None], Quota]


@pytest.fixture
def quota(tmp_path: Path) -> Iterator[Opening]:
    with ExitStack() as stack:

        def opened(clock: Clock, requests_per_day: int | None) -> Quota:
            counted = Quota(
                SqliteState(tmp_path),
                system="vendor",
                vendor="Vendor",
                requests_per_day=requests_per_day,
                now=clock,
            )
            return stack.enter_context(closing(counted))

        yield opened


def test_it_ends_after_so_many_and_says_when_it_goes_on(quota: Opening):
    counted = quota(Clock(), 3)
    assert counted.left == 3
    for left in (2, 1, 0):
        counted.take()
        assert counted.left == left
    with pytest.raises(QuotaEndedError, match="Vendor grants no more requests today") as error:
        counted.take()
    assert error.value.resumes_at == datetime(2026, 3, 3, 5, tzinfo=UTC)
    assert error.value.is_retryable
    assert error.value.retry_in_seconds == timedelta(hours=5.5).total_seconds()


def test_a_restart_forgets_nothing_and_the_vendor_s_next_day_all(quota: Opening):
    clock = Clock()
    first = quota(clock, 3)
    first.take()
    first.close()
    clock.time = datetime(2026, 3, 3, 4, 59, 59, tzinfo=UTC)  # the same day in New York
    second = quota(clock, 3)
    assert second.left == 2
    clock.time += timedelta(seconds=1)
    assert second.left == 3
    second.take()
    assert second.left == 2


def test_the_day_that_loses_an_hour_ends_at_midnight_too(quota: Opening):
    clock = Clock()
    clock.time = datetime(2026, 3, 8, 5, 30, tzinfo=UTC)
    assert quota(clock, 3).resumes_at() == datetime(2026, 3, 9, 4, tzinfo=UTC)


def test_a_vendor_s_word_counts_more_than_our_count(quota: Opening):
    clock = Clock()
    for requests_per_day in (3, None):
        counted = quota(clock, requests_per_day)
        counted.close_for_today()
        assert counted.left == 0
        with pytest.raises(QuotaEndedError):
            counted.take()


def test_without_a_limit_all_are_let_through(quota: Opening):
    counted = quota(Clock(), None)
    for _ in range(50):
        counted.take()
    assert counted.left is None


TAKER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from orchestration_project.engine.http.shared_state import SqliteState
from orchestration_project.resources.prices.quota import Quota, QuotaEndedError
now = lambda: datetime(2026, 3, 2, 23, 30, tzinfo=UTC)
state = SqliteState(Path(sys.argv[1]))
quota = Quota(state, system="vendor", vendor="Vendor", requests_per_day=25, now=now)
taken = 0
try:
    while True:
        quota.take()
        taken += 1
except QuotaEndedError:
    print(taken)
"""


@pytest.mark.slow
def test_processes_that_ask_at_once_never_take_more_than_all(quota: Opening, tmp_path: Path):
    command = [sys.executable, "-c", TAKER, str(tmp_path)]
    environment = child_environment(PYTHONPATH=str(PROJECT_ROOT))
    processes = [
        subprocess.Popen(  # noqa: S603 - ours
            command, stdout=subprocess.PIPE, text=True, env=environment
        )
        for _ in range(2)
    ]
    taken = [int(process.communicate(timeout=120)[0]) for process in processes]
    assert sum(taken) == 25
    assert quota(Clock(), 25).left == 0
