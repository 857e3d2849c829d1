"""Decision of the tick that mirrors messages, and replays dead letters that people put back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from orchestration_project.domains.mqtt.judging import hour_of
from orchestration_project.engine.contracts.ticks import PlannedRun, TickPlan


@dataclass(frozen=True, kw_only=True)
class WaitingMessages:
    """Messages that wait for a run.

    Attributes:
        newest_at: Arrival of the newest that is not mirrored; None: all are.
        is_partition: Whether the hour of the newest is a partition.
        has_dead_letters: Whether dead letters were put back.
        now: When the tick is.
    """

    newest_at: datetime | None
    is_partition: bool
    has_dead_letters: bool
    now: datetime

    @property
    def hour(self) -> str | None:
        """Partition of a run for all messages; None: none waits.

        It is the hour of the newest, or the present one where Dagster lacks that partition.
        """
        if self.newest_at is None:
            return None
        return hour_of(self.newest_at if self.is_partition else self.now)


@dataclass(frozen=True, kw_only=True)
class MessageJob:
    """A job that loads messages.

    Attributes:
        name: Its name.
        running: A sentence about a run of it that is under way; empty: none is.
        run_config: Config of its runs.
    """

    name: str
    running: str = ""
    run_config: Mapping[str, Any] = field(default_factory=dict)


def plan_messages(messages: WaitingMessages, mirror: MessageJob, replay: MessageJob) -> TickPlan:
    """Return a run for all messages that wait, and one for all dead letters that were put back.

    Of each job one run is under way at most.

    Args:
        messages: Messages that wait.
        mirror: Job that mirrors them.
        replay: Job that replays dead letters.
    """
    runs: list[PlannedRun] = []
    if messages.hour is not None and not mirror.running:
        runs.append(PlannedRun(job_name=mirror.name, partition_key=messages.hour))
    if messages.has_dead_letters and not replay.running:
        runs.append(PlannedRun(job_name=replay.name, run_config=replay.run_config))
    reason = "" if runs else mirror.running or "No message waits."
    return TickPlan(requests=runs, skip_reason=reason)
