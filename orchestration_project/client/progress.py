"""What a run is doing, in lines for a person who waits for it."""

import sys
from datetime import datetime
from typing import TextIO

from orchestration_project.domains.api.runs import Event

SHOWN = frozenset(
    {
        "RUN_ENQUEUED",
        "RUN_START",
        "RUN_SUCCESS",
        "RUN_FAILURE",
        "RUN_CANCELING",
        "RUN_CANCELED",
        "STEP_START",
        "STEP_SUCCESS",
        "STEP_FAILURE",
        "STEP_UP_FOR_RETRY",
        "STEP_RESTARTED",
        "STEP_SKIPPED",
        "ASSET_MATERIALIZATION",
    }
)
WORTH_A_LINE = frozenset({"INFO", "WARNING", "ERROR", "CRITICAL"})
LONGEST_LINE = 160


class Progress:
    """Writes a line for each event of a run that is worth one."""

    def __init__(self, output: TextIO | None = None) -> None:
        self._output = output or sys.stderr
        self._began: datetime | None = None

    def show(self, event: Event) -> None:
        """Write the line of an event, if it has one."""
        self._began = self._began or event.at
        line = line_of(event, (event.at - self._began).total_seconds())
        if line:
            self._output.write(f"{line}\n")
            self._output.flush()


def line_of(event: Event, seconds: float) -> str:
    """Return an event in a line, ``seconds`` after the first; empty if it is not worth one."""
    if event.type == "LOG":
        said = event.message.partition("\n")[0] if event.level in WORTH_A_LINE else ""
    elif event.type in SHOWN:
        where = event.asset or event.step or ""
        what = event.type.lower().replace("_", " ")
        said = " ".join(each for each in (what, where, event.partition or "") if each)
    else:
        said = ""
    return f"{seconds:8.1f} s  {said}"[:LONGEST_LINE] if said else ""
