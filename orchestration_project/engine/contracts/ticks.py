"""Decisions of ticks: which runs a sensor or schedule requests, and why it requests no more.

A sensor reads, plans by a pure function, and returns the plan to Dagster.
"""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from typing import Any, NamedTuple

from orchestration_project.engine.contracts.balance import Balance
from orchestration_project.engine.contracts.partitioning import Partition, Partitioning

TICK = "tick"
"""Equation of a tick."""

REQUESTED = "requested"
"""Place of partitions that a tick requests runs or a backfill of."""

ONCE_A_DAY = "a run that brings nothing is requested again the day after."

Places = Mapping[str, Collection[str]]
"""Keys that a tick considered, by what became of them, such as requested, loaded and waiting."""


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """A run that a tick requests.

    Attributes:
        run_key: Dagster starts one run of each key; None: one of each request.
        partition_key: Partition that it loads; None: none, or those of its tags.
        job_name: Job of a sensor that has several; None: the one that it has.
        tags: Tags of the run.
        run_config: Config of the run.
        assets: Names of the assets of the job that it makes; empty: all.
    """

    run_key: str | None = None
    partition_key: str | None = None
    job_name: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    run_config: Mapping[str, Any] = field(default_factory=dict)
    assets: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class TickPlan:
    """Decision of a tick.

    Attributes:
        requests: Runs to request, in their order.
        cursor: What the next tick reads; None: the cursor stays.
        skip_reason: Why no run is requested; empty: a run is, or a backfill.
        places: Where each key goes that the tick considered.
        message: What is requested, for the log: Dagster shows no reason of such a tick.
    """

    requests: Sequence[PlannedRun] = ()
    cursor: str | None = None
    skip_reason: str = ""
    places: Places = field(default_factory=dict)
    message: str = ""


class ChosenRuns(NamedTuple):
    """Runs that are due, by what a tick does with them.

    Attributes:
        requested: Those that it requests.
        waiting: Those above the limit, which wait for the next tick.
        requested_today: Those whose run key a run has: Dagster starts none for them.
    """

    requested: Sequence[PlannedRun]
    waiting: Sequence[PlannedRun]
    requested_today: Sequence[PlannedRun]

    @property
    def places(self) -> Places:
        """Their partitions by place."""
        return {
            REQUESTED: list_keys(self.requested),
            "waiting": list_keys(self.waiting),
            "asked_today": list_keys(self.requested_today),
        }


def choose_runs(
    runs: Iterable[PlannedRun], known_keys: Collection[str], limit: int | None = None
) -> ChosenRuns:
    """Return due runs by what a tick does with them, in their order.

    Args:
        runs: Runs that are due.
        known_keys: Run keys that runs have.
        limit: How many to request at most; None: all.
    """
    due = list(runs)
    new = [run for run in due if run.run_key not in known_keys]
    requested_today = [run for run in due if run.run_key in known_keys]
    count = len(new) if limit is None else limit
    return ChosenRuns(new[:count], new[count:], requested_today)


def hash_keys(keys: Iterable[str]) -> str:
    """Return 16 hex digits for a list of keys, for a run key or a cursor."""
    return hashlib.sha256("\n".join(keys).encode()).hexdigest()[:16]


def list_keys(runs: Iterable[PlannedRun]) -> list[str]:
    """Return the partitions that runs name."""
    return [str(run.partition_key) for run in runs]


def balance_tick(listed: Collection[str], places: Mapping[str, Iterable[str]]) -> Balance:
    """Return the equation of a tick: partitions that it considered = those at each place.

    Args:
        listed: Keys that it considered, as its source or the database lists them.
        places: Keys by what the tick did with them, such as requested, loaded and waiting.
    """
    counts = {place: len(list(keys)) for place, keys in places.items()}
    went_to = {place: count for place, count in counts.items() if count}
    return Balance(TICK, len(set(listed)), went_to)


# -- partitions of a declared dataset --------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class ListedPartitions:
    """Partitions of a dataset as a tick finds them.

    Attributes:
        table_name: Table of the dataset.
        partitioning: Its partitioning.
        listed: Partitions that its source lists, by key.
        existing: Keys of those that Dagster has, oldest first.
        loaded: Versions that are loaded, by key.
        horizon: First day of partitions that are due.
        reread_count: Newest loaded partitions of each value that are read again.
        unknown: Values that the source lists and the dataset does not know.
    """

    table_name: str
    partitioning: Partitioning
    listed: Mapping[str, Partition]
    existing: Sequence[str]
    loaded: Mapping[str, Collection[str]]
    horizon: date
    reread_count: int
    unknown: Sequence[str] = ()

    @cached_property
    def missing_and_recent(self) -> tuple[list[Partition], list[Partition]]:
        """The partitions never loaded, and the newest loaded ones, to be read again."""
        return self.partitioning.missing_and_recent(
            [self.listed[key] for key in self.existing],
            loaded=self.loaded,
            since=self.horizon,
            most_recent=self.reread_count,
        )

    def find_changed(self, versions: Mapping[str, str]) -> dict[str, str]:
        """Return those of the present versions that are not loaded, by key."""
        return {
            key: version for key, version in versions.items() if version not in self.loaded[key]
        }

    def build_runs(
        self, versions: Mapping[str, str], running: Collection[str], today: date
    ) -> list[PlannedRun]:
        """Return the runs that are due, without partitions that a run loads now.

        Changed partitions come first, then missing ones, the newest first: people wait for these.

        Args:
            versions: Present versions of the partitions that were read again, by key.
            running: Keys of partitions that a run loads.
            today: Day of the tick: each state is requested once a day.
        """
        return [
            PlannedRun(
                run_key=f"{self.table_name} {key} {version} ({today})",
                partition_key=key,
            )
            for key, version in self.find_due(versions).items()
            if key not in running
        ]

    def find_due(self, versions: Mapping[str, str]) -> dict[str, str]:
        """Return the versions of partitions to be loaded by key, in the order of their runs."""
        missing, _ = self.missing_and_recent
        first_loads = {self.partitioning.key_of(day): "first" for day in reversed(missing)}
        return self.find_changed(versions) | first_loads

    def find_not_due(self) -> Places:
        """Return the listed partitions that are neither due nor read again, by the reason."""
        _, recent = self.missing_and_recent
        read_again = {self.partitioning.key_of(partition) for partition in recent}
        existing = set(self.existing)
        in_horizon = {key for key in existing if self.listed[key].day >= self.horizon}
        return {
            "no_partition": self.listed.keys() - existing,
            "before_horizon": existing - in_horizon,
            "loaded": [key for key in in_horizon if key in self.loaded and key not in read_again],
        }


class ReadVersions(NamedTuple):
    """Present states of partitions.

    Attributes:
        versions: Version of each partition by its key.
        unreadable: Why others have none, by key.
    """

    versions: Mapping[str, str]
    unreadable: Mapping[str, str]


def plan_tick(
    listed: ListedPartitions,
    read: ReadVersions,
    running: Collection[str],
    runs: Sequence[PlannedRun],
    *,
    known_keys: Collection[str],
    limit: int,
) -> TickPlan:
    """Return which partitions of a dataset a tick requests.

    Args:
        listed: Partitions of the source, and those that are loaded.
        read: Present states of the newest loaded ones.
        running: Keys of partitions that a run loads.
        runs: Runs that are due, as `ListedPartitions.build_runs` returns them.
        known_keys: Those of their run keys that a run has.
        limit: How many runs to request at most.
    """
    changed, due = listed.find_changed(read.versions), listed.find_due(read.versions)
    chosen = choose_runs(runs, known_keys, limit)
    places = {
        **chosen.places,
        "under_way": [key for key in due if key in running],
        "unreadable": list(read.unreadable),
        "unchanged": [key for key in read.versions if key not in changed],
        **listed.find_not_due(),
    }
    left_out = _describe_left_out(listed.unknown, read.unreadable)
    if not chosen.requested:
        missing, recent = listed.missing_and_recent
        again = f" Being loaded or requested today: {', '.join(due)}; {ONCE_A_DAY}" if due else ""
        reason = (
            f"Nothing to request: {len(listed.listed)} partitions are listed, and of those in the "
            f"horizon {len(missing)} were never taken; of the latest {len(recent)} that were, "
            f"{len(changed)} changed.{again}{left_out}"
        )
        return TickPlan(places=places, skip_reason=reason)
    waiting = describe_waiting(len(chosen.waiting))
    message = f"Requested {', '.join(list_keys(chosen.requested))}.{waiting}{left_out}"
    return TickPlan(requests=chosen.requested, places=places, message=message)


def plan_partition(partition: str | None, reason: str) -> TickPlan:
    """Return the run of a partition, unless there is a reason against it.

    Args:
        partition: Key of the partition; None: the run has none.
        reason: Why it does not start, such as a switched off flag; empty: it starts.
    """
    if reason:
        return TickPlan(skip_reason=reason)
    return TickPlan(requests=[PlannedRun(partition_key=partition)])


def describe_waiting(count: int) -> str:
    """Return a sentence about runs above the limit of a tick; without any, an empty text."""
    return f" {count} more wait for the next tick." if count else ""


def _describe_left_out(unknown: Sequence[str], unreadable: Mapping[str, str]) -> str:
    left_out = f" Left out, as values that are not known: {', '.join(unknown)}." if unknown else ""
    if not unreadable:
        return left_out
    first = next(iter(unreadable.values()))
    return f"{left_out} No state is read of {', '.join(unreadable)}. The first: {first}"


def plan_backfill(
    listed: Iterable[str], existing: Collection[str], loaded: Collection[str]
) -> TickPlan:
    """Return which partitions of a dataset a scheduled backfill loads: those never loaded.

    They are the place `REQUESTED`, oldest first.

    Args:
        listed: Keys that the source lists.
        existing: Those of them that Dagster has.
        loaded: Keys that are loaded.
    """
    keys = list(dict.fromkeys(listed))
    missing = [key for key in keys if key in existing and key not in loaded]
    places = {
        REQUESTED: missing,
        "loaded": [key for key in keys if key in loaded],
        "no_partition": [key for key in keys if key not in existing and key not in loaded],
    }
    if missing:
        message = f"{len(missing)} partitions, from {missing[0]} to {missing[-1]}."
        return TickPlan(places=places, message=message)
    reason = f"Nothing to do: all {len(keys)} listed partitions are loaded."
    return TickPlan(places=places, skip_reason=reason)


def combine_plans(plans: Sequence[TickPlan]) -> TickPlan:
    """Return the runs of several plans as one; without any, all their reasons."""
    requests = [run for plan in plans for run in plan.requests]
    reasons = [plan.skip_reason for plan in plans if plan.skip_reason]
    return TickPlan(requests=requests, skip_reason="" if requests else " ".join(reasons))
