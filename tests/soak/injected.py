"""What the driver adds to each Python program that it starts, and to their children.

`write_hook` writes a sitecustomize.py with all that it needs: the programs get no setting for it.
"""

import sys
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.soak.patching import Patch, Patching

ROOT = Path(__file__).parents[2]
HOOK = """import sys
sys.path.append({root!r})
from tests.soak.injected import start
start({folder!r}, {canary!r})
"""


def write_hook(folder: Path, canary: str = "") -> Path:
    """Write the folder that belongs on PYTHONPATH, for a run in ``folder``; return it."""
    hooks = folder / "injected"
    hooks.mkdir(exist_ok=True)
    text = HOOK.format(root=str(ROOT), folder=str(folder), canary=canary)
    (hooks / "sitecustomize.py").write_text(text)
    return hooks


def start(folder: str, canary: str) -> None:
    """Follow the calendar, and patch the vendors and what a canary breaks when it is imported."""
    modules: dict[str, Any] = sys.modules
    modules["pytest"] = None  # time-machine imports it where it can
    from tests.soak import calendar_file

    del modules["pytest"]
    calendar_file.follow(Path(folder) / "calendar")
    from tests.soak import canaries, vendors

    patches: dict[str, list[Patch]] = defaultdict(list)
    real_time = dict.fromkeys(calendar_file.MODULES_OF_REAL_TIME, calendar_file.keep_real_time)
    for some in (real_time, STEPPED, vendors.patches(Path(folder)), canaries.patches(canary)):
        for name, patch in some.items():
            patches[name].append(patch)
    sys.meta_path.insert(0, Patching(patches))


def _look_each_second(scheduler: Any) -> None:
    """Have Dagster's scheduler look for due times each second; it would sleep for a real minute."""
    scheduler._get_next_scheduler_iteration_time = lambda start_time: start_time + 1


def _bear_steps(dagster_instance: Any) -> None:
    """Have the preflight check take a daemon for alive that was silent during a step."""
    dagster_instance.PATIENCE_SECONDS = 10 * 86_400


STEPPED: Mapping[str, Patch] = {
    "dagster._scheduler.scheduler": _look_each_second,
    "orchestration_project.services.dagster_instance": _bear_steps,
}
"""What a calendar needs that makes steps of hours."""
