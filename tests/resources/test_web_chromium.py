"""The process of the browser."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestration_project.resources.web.chromium import kill_browser
from tests.programs import HANGING


@contextmanager
def hanging(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([*HANGING, *arguments])  # noqa: S603 - our own
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_the_browser_of_a_file_is_killed_and_no_process_that_has_its_number_now(tmp_path: Path):
    pid_file = tmp_path / "pid"
    with hanging() as other, hanging(f"--user-data-dir={tmp_path}/profile") as browser:
        pid_file.write_text(str(other.pid))
        kill_browser(pid_file)
        pid_file.write_text(str(browser.pid))
        kill_browser(pid_file)
        assert browser.wait(timeout=60) == -9
        assert other.poll() is None
