"""Programs that `ui` and `stack` supervise: restarted after they end, until they end too often."""

import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestration_project.cli.services import RestartPolicy, StopRequest, SupervisedServices
from orchestration_project.errors import TransientError
from orchestration_project.settings import child_environment
from tests.programs import HANGING

ENDS = [sys.executable, "-c", "import sys; print('no port'); sys.exit(3)"]
STAYS = [*HANGING]


@pytest.fixture
def services(tmp_path: Path) -> Iterator[SupervisedServices]:
    """Programs of which five ends are too many, restarted quickly."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    handlers = [signal.getsignal(number) for number in numbers]
    with (
        (tmp_path / "lock").open("w") as lock,
        SupervisedServices(
            folder=tmp_path,
            logs=tmp_path,
            environment=child_environment(),
            lock=lock,
            restarts=RestartPolicy(5, 600, first_wait_seconds=0.01),
        ) as services,
    ):
        yield services
    for number, handler in zip(numbers, handlers, strict=True):
        signal.signal(number, handler)


@pytest.mark.slow
def test_a_program_that_keeps_ending_is_restarted_four_times_and_then_ends_the_others(services):
    services.start_command("stays", STAYS)
    services.start_command("mqtt", ENDS)
    reports: list[str] = []
    with pytest.raises(TransientError, match="mqtt ended by itself with status 3") as ended:
        services.watch(lambda: None, reports.append)
    assert "no port" in str(ended.value.found)
    assert [report.partition("; see")[0] for report in reports] == [
        f"mqtt ended by itself with status 3; it is restarted in {wait} s"
        for wait in (0.01, 0.02, 0.04, 0.08)
    ]


@pytest.mark.slow
def test_an_optional_program_that_keeps_ending_stays_off_and_the_others_go_on(services):
    services.start_command("exporter", ENDS, is_optional=True)
    services.start_command("stays", STAYS)
    reports: list[str] = []

    def stop_once_it_is_off() -> None:
        if len(reports) == 5:
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(StopRequest):
        services.watch(stop_once_it_is_off, reports.append)
    off = "exporter ended by itself with status 3; it stays off after 5 ends within 10 minutes"
    assert reports[-1].startswith(off)


def test_the_wait_before_a_restart_doubles_up_to_a_minute():
    policy = RestartPolicy(5, 600)
    assert [policy.wait_seconds(count) for count in (1, 2, 3, 9)] == [1, 2, 4, 60]


def test_a_wait_for_a_program_that_never_answers_ends_with_its_last_lines(services):
    services.start_command("stays", STAYS)
    with pytest.raises(TransientError, match="stays does not answer") as ended:
        services.wait_until("stays", lambda: False, seconds=0.2)
    assert ended.value.expected == "an answer within 0.2 s"


def test_a_wait_names_the_program_before_and_after(services, capsys):
    services.start_command("stays", STAYS)
    services.wait_until("stays", iter([False, True]).__next__)
    waits, is_ready = capsys.readouterr().err.splitlines()
    assert waits == "waiting for stays"
    assert re.fullmatch(r"stays is ready after \d\.\d s", is_ready)


def test_an_optional_program_that_ends_does_not_end_a_wait_for_another(services, tmp_path):
    services.start_command("worker-1", ENDS, is_optional=True)
    services.start_command("stays", STAYS)
    log = tmp_path / "worker-1.log"
    services.wait_until("stays", lambda: "no port" in log.read_text())
    services.wait_until("stays", iter([False, False, True]).__next__)
