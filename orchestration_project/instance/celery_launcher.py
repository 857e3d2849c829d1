"""Launcher of runs by workers of Celery, over RabbitMQ; and the queues that both sides declare.

The broker only carries messages. Who is alive is decided by heartbeats (heartbeats.py), who
executes a run by its claim (run_claims.py).
"""

from collections.abc import Collection, Mapping
from typing import Any

from amqp.exceptions import AMQPError
from celery import Celery
from dagster import DagsterRun
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster_celery.launcher import CeleryRunLauncher
from dagster_celery.tags import DAGSTER_CELERY_QUEUE_TAG, DAGSTER_CELERY_RUN_PRIORITY_TAG
from kombu.entity import Exchange, Queue
from kombu.exceptions import OperationalError

from orchestration_project.instance.launcher import RunHealth
from orchestration_project.instance.releases import RELEASE_TAG, own_release
from orchestration_project.services.queues import DEFAULT_QUEUE, find_queue, run_priority
from orchestration_project.settings import Settings, without_secrets

EXCHANGE = Exchange("orchestration", type="topic", durable=True)

MAX_PRIORITY, NORMAL = 10, 5
"""Priorities of RabbitMQ go from 0 to 10; Dagster's tag counts from 0 up and down."""

CONFIRM_SECONDS = 10
"""Time within which the broker confirms that it has stored a message."""

TRANSPORT = {
    "confirm_publish": True,
    "max_retries": 2,
    "interval_start": 0,
    "interval_step": 0.5,
    "interval_max": 1,
    "read_timeout": CONFIRM_SECONDS,
    "write_timeout": CONFIRM_SECONDS,
}

CONFIG: Mapping[str, Any] = {
    "broker_connection_timeout": 5,
    "broker_transport_options": TRANSPORT,
    "task_ignore_result": True,
    "task_default_delivery_mode": "persistent",
    "task_publish_retry_policy": {"max_retries": 1, "interval_start": 0.2},
    "worker_prefetch_multiplier": 1,
    "worker_enable_remote_control": False,  # nothing of a worker is changed by way of the broker
    "worker_cancel_long_running_tasks_on_connection_loss": False,
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,  # a broker may be away for a night
}

LOST = (OperationalError, AMQPError, OSError)
"""Errors of a broker that is away, full, or refuses us."""


def queue_of(name: str) -> Queue:
    """Return the durable queue of a domain, as launcher and workers declare it."""
    arguments = {"x-max-priority": MAX_PRIORITY}
    return Queue(name, EXCHANGE, routing_key=f"{name}.#", queue_arguments=arguments)


def message_priority(tags: Mapping[str, str]) -> int:
    """Return the priority in RabbitMQ of a run with Dagster's tag `dagster/priority`."""
    return max(0, min(MAX_PRIORITY, NORMAL + run_priority(tags)))


class CeleryLauncher(RunHealth, CeleryRunLauncher):
    """Sends each run as a message to the queue of its domain; a worker executes it."""

    @classmethod
    def of(cls, settings: Settings, inst_data: Any) -> "CeleryLauncher":
        """Return the launcher of BROKER_URL."""
        assert settings.broker_url  # noqa: S101 - the settings require it
        launcher = cls(
            default_queue=DEFAULT_QUEUE,
            broker=settings.broker_url.get_secret_value(),
            config_source=dict(CONFIG),
            inst_data=inst_data,
        )
        launcher.celery.conf.task_queues = [queue_of(DEFAULT_QUEUE)]
        launcher.address = without_secrets(settings.broker_url.get_secret_value())
        return launcher

    address: str = ""

    def launch_run(self, context: Any) -> None:
        """Send a run's message.

        Raises:
            DagsterUserCodeUnreachableError: The broker did not confirm the message; Dagster's
                queue then tries again later.
        """
        run = context.dagster_run
        name = find_queue(run.tags)
        self._declare([name])
        self._instance.add_run_tags(run.run_id, {RELEASE_TAG: own_release()})
        addressed = {
            **run.tags,
            DAGSTER_CELERY_QUEUE_TAG: name,
            DAGSTER_CELERY_RUN_PRIORITY_TAG: str(message_priority(run.tags)),
        }
        try:
            super().launch_run(context._replace(dagster_run=run._replace(tags=addressed)))
        except LOST as error:
            raise DagsterUserCodeUnreachableError(
                f"the broker of BROKER_URL did not take the run: expected RabbitMQ at "
                f"{self.address}, found {_describe_error(error)}; start it, free its disk, "
                "remove the limit of its queue, or correct BROKER_URL; the run stays in the queue"
            ) from error

    def _declare(self, names: Collection[str]) -> None:
        for name in names:
            if name not in self.celery.amqp.queues:
                self.celery.amqp.queues.add(queue_of(name))

    def terminate(self, run_id: str) -> bool:
        """Ask a run to end: the process that executes it reads the status, without the broker."""
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        self._instance.report_run_canceling(run)
        return True

    @property
    def supports_resume_run(self) -> bool:
        """Whether a run goes on with another process: no, run retries start a new one."""
        return False

    def get_run_worker_debug_info(
        self, run: DagsterRun, include_container_logs: bool | None = True
    ) -> str | None:
        """Return where a run waits or waited, for the message of a run that was ended."""
        name = find_queue(run.tags)
        claim = self._instance.run_storage.claims.holder(run.run_id)  # pyright: ignore[reportAttributeAccessIssue] - of StoredRuns
        if claim is not None:
            return f"claimed by process {claim.partition(' ')[2]} of {claim.partition(' ')[0]}"
        return (
            f"no worker took it from the queue {name} of {self.address}; see that one runs with "
            f"`orchestrate worker --queues {name}`"
        )


def _describe_error(error: BaseException) -> str:
    """Return type and text of an error's cause: Kombu's own error may have no text."""
    cause = error.__cause__ or error
    return f"{type(cause).__name__}: {cause}".removesuffix(": ")


def app_of(launcher: CeleryLauncher, queues: Collection[str]) -> Celery:
    """Return the Celery application of a worker that reads ``queues``."""
    app = launcher.celery
    app.conf.task_queues = [queue_of(name) for name in queues]
    return app
