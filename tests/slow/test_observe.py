"""`make observe` for real: every expression of dashboards and rules has series on a stack."""

import os
import subprocess
import sys

import pytest

from orchestration_project.cli.stack_services import TOOLS, find_program
from orchestration_project.settings import PROJECT_ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not all(map(find_program, TOOLS)), reason="programs of the stack are missing"
    ),
    pytest.mark.skipif(
        "OBSERVE" not in os.environ,  # noqa: TID251 - of the test
        reason="takes up to 30 minutes: run it with OBSERVE=1",
    ),
]

PATIENCE_SECONDS = 2000


def test_every_expression_of_dashboards_and_rules_has_series_of_a_running_stack():
    command = [sys.executable, str(PROJECT_ROOT / "deploy" / "observe.py"), "--own"]
    done = subprocess.run(  # noqa: S603 - our own
        command, capture_output=True, text=True, timeout=PATIENCE_SECONDS
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("valid: ")
