"""Launcher and queue of runs that the settings choose; dagster.yaml names these classes."""

from collections.abc import Mapping
from typing import Any

import dagster as dg
from dagster import DefaultRunLauncher, QueuedRunCoordinator, SubmitRunContext

from orchestration_project.errors import ConfigurationError
from orchestration_project.instance.launcher import CheckedRunLauncher, RunHealth
from orchestration_project.services.backfills import BACKFILL
from orchestration_project.services.queues import PRIORITY_TAG
from orchestration_project.settings import load_shared_settings

LAUNCH_ATTEMPTS = 40
SECONDS_BETWEEN_ATTEMPTS = 15
"""A run whose code server or broker is away stays in the queue for ten minutes."""


class SettingsLauncher(DefaultRunLauncher):
    """Chooses by RUN_LAUNCHER: the code server, workers of Celery, or Kubernetes jobs.

    Each process reads the settings itself, so a password is never part of the instance that
    Dagster passes on command lines and in messages. It extends a launcher that Dagster exports, as
    dagster.yaml can name no other class.
    """

    @classmethod
    def config_type(cls) -> Mapping[str, Any]:
        """Return the config that dagster.yaml may give: none."""
        return {}

    @classmethod
    def from_config_value(  # pyright: ignore[reportIncompatibleMethodOverride] - as SettingsStorage
        cls, inst_data: Any, config_value: Mapping[str, Any]
    ) -> RunHealth:
        """Return the launcher of the settings.

        Raises:
            ConfigurationError: The extra of that launcher is not installed.
        """
        settings = load_shared_settings()
        if settings.run_launcher == "local":
            return CheckedRunLauncher(inst_data)
        try:
            if settings.run_launcher == "celery":
                from orchestration_project.instance.celery_launcher import CeleryLauncher

                return CeleryLauncher.of(settings, inst_data)
            from orchestration_project.instance.k8s_launcher import K8sLauncher

            return K8sLauncher.of(settings, inst_data)
        except ModuleNotFoundError as error:
            raise missing_extra(settings.run_launcher, error) from error


def missing_extra(extra: str, error: ModuleNotFoundError) -> ConfigurationError:
    """Return the error of RUN_LAUNCHER without the extra that it needs."""
    return ConfigurationError(
        f"RUN_LAUNCHER={extra} cannot be used",
        expected=f"the extra {extra} of this package",
        found=f"the package {error.name} is missing",
        remedy=f"pip install 'orchestration_project[{extra}]', or in a checkout: "
        f"pip install '.[{extra}]'; or RUN_LAUNCHER=local",
    )


DEQUEUE_SECONDS = 1
"""Time between two looks at the queue: a webhook's run starts soon after it was requested."""

BACKFILL_PRIORITY = "-1"
"""Of a backfill's runs, so that no other run waits behind thousands of them; others have 0."""


class SettingsCoordinator(QueuedRunCoordinator):
    """Dagster's queue of runs, with the limit that MAX_CONCURRENT_RUNS sets.

    Runs of a backfill come after all others, unless their tag dagster/priority says otherwise.
    """

    @classmethod
    def config_type(cls) -> Mapping[str, Any]:
        """Return the config that dagster.yaml may give: none."""
        return {}

    @classmethod
    def from_config_value(
        cls, inst_data: Any, config_value: Mapping[str, Any]
    ) -> "SettingsCoordinator":
        """Return the queue of the settings."""
        return cls(
            max_concurrent_runs=load_shared_settings().max_concurrent_runs,
            dequeue_interval_seconds=DEQUEUE_SECONDS,
            max_user_code_failure_retries=LAUNCH_ATTEMPTS,
            user_code_failure_retry_delay=SECONDS_BETWEEN_ATTEMPTS,
            inst_data=inst_data,
        )

    def submit_run(self, context: SubmitRunContext) -> dg.DagsterRun:
        """Put a run into the queue."""
        run = context.dagster_run
        if BACKFILL in run.tags and PRIORITY_TAG not in run.tags:
            self._instance.add_run_tags(run.run_id, {PRIORITY_TAG: BACKFILL_PRIORITY})
        return super().submit_run(context)
