"""Lost log lines of this host's programs: counted, for metrics and the alert `log_lines_lost`."""

import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.connections.log_files import LOST, count_unwritten
from orchestration_project.errors import TransientError
from orchestration_project.registry import Answer, Probe

SHIPPED = "shipped.json"
"""File of the shipper: positions up to which lines were sent, and counts of lost ones."""

ALERT_FOR = timedelta(hours=1)
"""Time after the latest loss in which it is an alert."""


class Losses(NamedTuple):
    """Numbers of lost lines by service, and when the latest was lost.

    Attributes:
        unwritten: Lines that could not be written, such as on a full disk.
        unsent: Lines that were deleted or refused before a collector accepted them.
        latest: Time of the latest loss; None: there is none.
    """

    unwritten: Mapping[str, int]
    unsent: Mapping[str, int]
    latest: datetime | None


def read_shipped(folder: Path) -> dict[str, Any]:
    """Return the state of the shipper; empty: it has sent nothing, or the file is damaged."""
    try:
        state = json.loads((folder / SHIPPED).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    is_state = isinstance(state, dict) and all(
        isinstance(state.get(name), dict) for name in ("services", "lost")
    )
    return state if is_state else {}


def read_losses(folder: Path) -> Losses:
    """Return the losses of the programs below a folder."""
    unwritten, state = count_unwritten(folder), read_shipped(folder)
    times: list[datetime] = []
    for name in unwritten:
        with suppress(OSError):
            times.append(datetime.fromtimestamp((folder / name / LOST).stat().st_mtime, UTC))
    with suppress(ValueError, TypeError):
        times.append(datetime.fromisoformat(state.get("lost_at") or ""))
    unsent = {
        str(name): count
        for name, count in state.get("lost", {}).items()
        if isinstance(count, int) and count
    }
    return Losses(unwritten, unsent, max(times, default=None))


def build_losses_probe(folder: Path, clock: Clock) -> Probe:
    """Return the probe of lost log lines: it fails for an hour after the latest loss."""

    def run() -> Answer:
        losses = read_losses(folder)
        if losses.latest is None or clock.now() - losses.latest > ALERT_FOR:
            return Answer("no log line was lost within the last hour")
        counts = [
            *(f"{name}: {count} not written" for name, count in sorted(losses.unwritten.items())),
            *(f"{name}: {count} not sent" for name, count in sorted(losses.unsent.items())),
        ]
        raise TransientError(
            "log lines were lost",
            expected="each line written, and sent before its segment is deleted",
            found=f"{'; '.join(counts)}; the latest at {losses.latest:%Y-%m-%d %H:%M} UTC",
            remedy="see whether the disk is full and the collector answers; a larger LOG_KEEP_MIB "
            "or LOG_KEEP_DAYS keeps lines for longer",
        )

    return Probe("log_lines", (), lambda: "count the lost log lines", run)
