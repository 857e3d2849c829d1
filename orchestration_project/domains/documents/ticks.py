"""Decision of the tick that loads documents: which days with files that are due get a run."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from orchestration_project.engine.contracts.ticks import PlannedRun, TickPlan, choose_runs


@dataclass(frozen=True, kw_only=True)
class DueDays:
    """Days with files that are due.

    Attributes:
        due: How many files of each day are due, and since when, by the day, oldest first.
        partitions: Days that are partitions.
        running: Days that a run loads.
    """

    due: Mapping[str, tuple[int, datetime]]
    partitions: Collection[str]
    running: Collection[str]

    def build_runs(self) -> list[PlannedRun]:
        """Return a run of each day that no run loads; it is new when other files are due."""
        return [
            PlannedRun(run_key=f"{day}|{since.isoformat()}|{file_count}", partition_key=day)
            for day, (file_count, since) in self.due.items()
            if day in self.partitions and day not in self.running
        ]


def describe_poll(counts: Mapping[str, int], unreadable: Sequence[str]) -> str:
    """Return how many files a poll found in each state, and how many folders it cannot read."""
    states = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
    folders = f"; folders that cannot be read: {len(unreadable)}" if unreadable else ""
    return f"{states or 'no files'}{folders}"


def plan_arrivals(
    days: DueDays,
    runs: Sequence[PlannedRun],
    known_keys: Collection[str],
    *,
    limit: int,
    polled: str,
) -> TickPlan:
    """Return which days a tick requests.

    Args:
        days: Days with files that are due.
        runs: Their runs, as `DueDays.build_runs` returns them.
        known_keys: Run keys that a run has.
        limit: How many runs to request at most.
        polled: What the poll found, as `describe_poll` returns it.
    """
    chosen = choose_runs(runs, known_keys, limit)
    in_partitions = [day for day in days.due if day in days.partitions]
    places = {
        **chosen.places,
        "under_way": [day for day in in_partitions if day in days.running],
        "no_partition": days.due.keys() - set(days.partitions),
    }
    reason = "" if chosen.requested else f"No file is due: {polled}."
    return TickPlan(requests=chosen.requested, places=places, skip_reason=reason)
