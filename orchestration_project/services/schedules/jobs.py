"""Jobs of a code location, as schedules need them: whether a config fits, and which partition."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg

from orchestration_project.engine.contracts.edits import REMEDY
from orchestration_project.engine.contracts.job_kinds import describe_former_job
from orchestration_project.engine.contracts.job_options import require_valid
from orchestration_project.engine.contracts.pauses import Pause
from orchestration_project.engine.dagster_private.definitions import find_models
from orchestration_project.engine.loads import find_time_windows
from orchestration_project.errors import ConfigurationError, cut, did_you_mean
from orchestration_project.services.pauses import pause_of_job
from orchestration_project.services.presets import read_run_config
from orchestration_project.services.schedules.rules.schedules import (
    JobShape,
    Schedule,
    find_partition_problems,
    read_zone,
)
from orchestration_project.services.schedules.rules.timetable import Window, choose_window

MAX_WINDOWS = 400
"""Latest partitions that a rule chooses from: a year of days."""

MAX_PROBLEM_CHARACTERS = 500


class ScheduledJobs:
    """The jobs of a code location; what was found of each is kept, for one tick or edit.

    Args:
        repository: The code location.
        published_on: By job, what returns the day on which the source publishes a partition; of
            these, no rule chooses a partition before that day.
    """

    def __init__(
        self,
        repository: dg.RepositoryDefinition,
        published_on: Mapping[str, Callable[[str], date]] | None = None,
    ) -> None:
        self._repository = repository
        self._published_on = published_on or {}
        self._shapes: dict[str, JobShape] = {}
        self._windows: dict[str, Sequence[Window]] = {}
        self._problems: dict[tuple[str, str], str | None] = {}

    def has(self, name: str) -> bool:
        """Whether there is a job of this name; Dagster's own are none."""
        return not name.startswith("__") and self._repository.has_job(name)

    def is_paused(self, name: str, pauses: Sequence[Pause]) -> bool:
        """Whether a pause holds the runs of a job."""
        if not pauses or not self.has(name):
            return False
        return pause_of_job(pauses, self._repository.get_job(name)) is not None

    def require_valid(self, schedule: Schedule) -> None:
        """Make sure that a schedule could start its job.

        Raises:
            ConfigurationError: The job is missing, or refuses the run config or partition rule.
        """
        problems = self.problems(schedule)
        if problems:
            names = [name for name in self._repository.job_names if not name.startswith("__")]
            raise ConfigurationError(
                f"invalid schedule {schedule.name}",
                expected="a job, a run config that it takes and a partition rule that fits it",
                found="; ".join(problems),
                remedy=describe_former_job(schedule.job)
                or did_you_mean(schedule.job, names)
                or REMEDY,
            )

    def problems(self, schedule: Schedule) -> list[str]:
        """Return why a schedule could not start its job; empty: it could."""
        if not self.has(schedule.job):
            return [f"job not found: {schedule.job}"]
        problems = find_partition_problems(schedule, self.shape(schedule.job))
        try:
            config = self.run_config(schedule)
        except ConfigurationError as error:
            return [*problems, error.line]
        key = schedule.job, json.dumps(config, sort_keys=True)
        if key not in self._problems:
            self._problems[key] = self._config_problem(schedule.job, config)
        problem = self._problems[key]
        return problems if problem is None else [*problems, problem]

    def run_config(self, schedule: Schedule) -> Mapping[str, Any]:
        """Return the run config of a schedule's runs, as `run_config_of`."""
        return run_config_of(schedule)

    def shape(self, name: str) -> JobShape:
        """Return how the runs of a job are partitioned."""
        if name not in self._shapes:
            self._shapes[name] = _read_shape(self._repository.get_job(name).partitions_def)
        return self._shapes[name]

    def partition_key(self, schedule: Schedule, due: datetime) -> str | None:
        """Return the partition of a due time; None: the rule finds none that is published."""
        definition = self._repository.get_job(schedule.job).partitions_def
        periods = find_time_windows(definition)
        if periods is None or definition is None:
            return None
        if schedule.job not in self._windows:
            self._windows[schedule.job] = _list_windows(periods)
        windows = self._windows[schedule.job]
        if (published_on := self._published_on.get(schedule.job)) is not None:
            day = due.astimezone(ZoneInfo(periods.timezone)).date()
            windows = [
                window
                for window in windows
                if published_on(_build_key(definition, periods, window.key, schedule)) <= day
            ]
        zone, days = read_zone(schedule.timezone), schedule.days_before
        chosen = choose_window(schedule.partitions, windows, due, zone, days=days)
        return chosen and _build_key(definition, periods, chosen.key, schedule)

    def _config_problem(self, name: str, config: Mapping[str, Any]) -> str | None:
        job = self._repository.get_job(name)
        try:
            require_valid(config, find_models([job]))
            dg.validate_run_config(job, dict(config))
        except ConfigurationError as error:
            return cut(error.line, MAX_PROBLEM_CHARACTERS)
        except dg.DagsterInvalidConfigError as error:
            reasons = "; ".join(evaluation_error.message for evaluation_error in error.errors)
            return cut(f"the job {name} refuses the run config: {reasons}", MAX_PROBLEM_CHARACTERS)
        return None


def run_config_of(schedule: Schedule) -> Mapping[str, Any]:
    """Return the run config of a schedule's runs: its own, or that of its preset.

    Raises:
        ConfigurationError: The preset is missing, or is for another job.
    """
    if schedule.preset is not None:
        return read_run_config(schedule.preset, schedule.job)
    return schedule.run_config or {}


def _build_key(
    definition: dg.PartitionsDefinition,
    periods: dg.TimeWindowPartitionsDefinition,
    period: str,
    schedule: Schedule,
) -> str:
    """Return the key of a period, with the schedule's values of the other dimensions."""
    if not isinstance(definition, dg.MultiPartitionsDefinition):
        return period
    values = {
        dimension.name: period
        if dimension.partitions_def is periods
        else schedule.partition_values[dimension.name]
        for dimension in definition.partitions_defs
    }
    return str(dg.MultiPartitionKey(values))


def _read_shape(definition: dg.PartitionsDefinition | None) -> JobShape:
    if definition is None:
        return JobShape()
    periods, other_names = find_time_windows(definition), dict[str, Sequence[str]]()
    if isinstance(definition, dg.MultiPartitionsDefinition):
        other_names = {
            partitions_def.name: partitions_def.partitions_def.get_partition_keys()
            for partitions_def in definition.partitions_defs
            if partitions_def.partitions_def is not periods
        }
    return JobShape(is_partitioned=True, is_by_time=periods is not None, dimensions=other_names)


def _list_windows(periods: dg.TimeWindowPartitionsDefinition) -> Sequence[Window]:
    keys = periods.get_partition_keys()[-MAX_WINDOWS:]
    found = [(key, periods.time_window_for_partition_key(key)) for key in keys]
    return [Window(key, time_window.start, time_window.end) for key, time_window in found]
