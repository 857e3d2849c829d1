"""Admission control: whether one more run or backfill may be launched now."""

from typing import Any

import dagster as dg

from orchestration_project.errors import ConfigurationError
from orchestration_project.gateway.api.operation import Call
from orchestration_project.gateway.api.problems import ProblemError
from orchestration_project.gateway.api.services import Services
from orchestration_project.services.probes import open_disk_probe

QUEUE_RETRY_SECONDS, DISK_RETRY_SECONDS = 60, 300


async def admit(call: Call[Any, Any]) -> None:
    """Check that a launch may join the queue, and count it for its caller.

    Raises:
        ProblemError: 503 with Retry-After: too many runs wait, or a disk is nearly full. 429: the
            caller launched too much.
    """
    services = call.services
    await services.in_thread(require_room, services)
    queue_max_launches_per_key = services.settings.queue_max_launches_per_key
    wait = services.launch_quota.take(
        call.caller.name, queue_max_launches_per_key, services.clock.now()
    )
    if wait:
        raise ProblemError(
            429,
            "too many launches by this key in the last hour",
            headers={"retry-after": str(wait)},
            expected=f"at most {queue_max_launches_per_key} launches an hour "
            "(QUEUE_MAX_LAUNCHES_PER_KEY)",
            remedy="wait, or launch one backfill in the place of many runs",
        )


def require_room(services: Services) -> None:
    """Check that runs do not pile up and that no disk is nearly full.

    Raises:
        ProblemError: 503 with Retry-After: one or the other.
    """
    queue_max_runs = services.settings.queue_max_runs
    queued = dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED])
    waiting = services.instance.get_runs_count(queued)
    if waiting >= queue_max_runs:
        raise ProblemError(
            503,
            "too many runs are waiting",
            headers={"retry-after": str(QUEUE_RETRY_SECONDS)},
            expected=f"fewer than {queue_max_runs} queued runs (QUEUE_MAX_RUNS)",
            found=f"{waiting} queued runs",
            remedy="wait until runs have started, cancel some, or raise QUEUE_MAX_RUNS",
        )
    try:
        open_disk_probe(services.settings).run()
    except ConfigurationError as error:
        raise ProblemError(
            503,
            error.what,
            headers={"retry-after": str(DISK_RETRY_SECONDS)},
            expected=error.expected,
            found=error.found,
            remedy=error.remedy,
        ) from error
