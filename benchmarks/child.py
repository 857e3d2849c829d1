"""One measured call in a process of its own: `python -m benchmarks.child MODULE:FUNCTION JSON`.

The module is imported, and so its imports are warm, before the function starts its clock. Prints
what the function returns, with the process's highest memory and CPU seconds, imports included.
"""

import importlib
import json
import resource
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from orchestration_project.settings import PROJECT_ROOT, child_environment

MARK = "RESULT "

ALL = {"DOMAINS": "all", "FINRA_DATASETS": "all"}
"""The settings of an installation that has everything."""


def call(function: str, environment: Mapping[str, str], **arguments: object) -> dict[str, Any]:
    """Call ``module:function`` in a new process and return what it told.

    Raises:
        RuntimeError: The process failed; its last words are quoted.
    """
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.child", function, json.dumps(arguments)],
        cwd=PROJECT_ROOT,
        env=child_environment(PYTHONPATH=str(PROJECT_ROOT), **{**ALL, **environment}),
        capture_output=True,
        text=True,
        check=False,
    )
    told = [line for line in done.stdout.splitlines() if line.startswith(MARK)]
    if done.returncode or not told:
        raise RuntimeError(f"{function} ended with {done.returncode}: {done.stderr[-3000:]}")
    return json.loads(told[-1].removeprefix(MARK))


def main() -> None:
    """Import, call, tell."""
    name, arguments = sys.argv[1:]
    module, function = name.split(":")
    told = getattr(importlib.import_module(module), function)(**json.loads(arguments))
    used = resource.getrusage(resource.RUSAGE_SELF)
    told |= {"peak_mebibytes": used.ru_maxrss / 1024, "cpu_seconds": used.ru_utime + used.ru_stime}
    print(MARK + json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
