"""Dagster's web server, unchanged but for permissions, tags and errors, which follow who asks."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
from dagster import JobSelector
from dagster._check import CheckError
from dagster._core.definitions.selector import ScheduleSelector, SensorSelector
from dagster._core.workspace.context import WorkspaceProcessContext, WorkspaceRequestContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster._core.workspace.permissions import (
    PermissionResult,
    Permissions,
)
from dagster._utils.log import configure_loggers
from dagster_graphql import implementation
from dagster_graphql.implementation.utils import UserFacingGraphQLError, has_permission_for_run
from dagster_graphql.schema.errors import GraphenePythonError, GrapheneUnauthorizedError
from dagster_graphql.schema.pipelines.config import (
    GrapheneEvaluationStack,
    GrapheneRunConfigValidationInvalid,
    GrapheneRuntimeMismatchConfigError,
)
from starlette.types import ASGIApp
from yaml import YAMLError

from orchestration_project.engine.contracts.roles import (
    Principal,
    Role,
    list_permissions,
    may_run,
)
from orchestration_project.engine.dagster_private.backfills import (
    BulkActionStatus,
    PartitionBackfill,
)
from orchestration_project.engine.dagster_private.storage import SerializableErrorInfo
from orchestration_project.engine.tracing.traceparent import REJECTED_TAG, find_current_trace
from orchestration_project.engine.warehouse.connecting import answer_during_outages
from orchestration_project.errors import ConfigurationError
from orchestration_project.gateway.bar import Installation
from orchestration_project.gateway.dagster_web.launches import Launches, Part
from orchestration_project.gateway.dagster_web.webserver import GatewayWebserver
from orchestration_project.gateway.executions import QUERY_SECONDS, Executions
from orchestration_project.gateway.request import (
    CURRENT,
    LAUNCH_TAGS,
    REJECTED_TRACEPARENT,
)
from orchestration_project.services.ledger.rules.entries import reset_reserved_tags

REASON = "RUNTIME_TYPE_MISMATCH"

RunCheck = Callable[[dg.DagsterInstance, dg.DagsterRun], None]
"""Raises ConfigurationError for a run that may not be launched now."""

Check = Callable[[str, Mapping[str, Any]], None]
"""Raises ConfigurationError for a run config that is invalid for the job of that name."""


def check_runs(instance: dg.DagsterInstance, check: RunCheck) -> None:
    """Have all runs that this process makes checked before they are stored."""
    storage = instance.run_storage
    add_run = storage.add_run

    def add_checked_run(dagster_run: dg.DagsterRun) -> dg.DagsterRun:
        try:
            check(instance, dagster_run)
        except ConfigurationError as error:
            stack = SerializableErrorInfo(error.line, [], type(error).__name__)
            raise UserFacingGraphQLError(GraphenePythonError(stack)) from error
        return add_run(dagster_run)

    storage.add_run = add_checked_run


GRAPHQL: Any = implementation
"""The package that resolves launches and run configs; its modules are loaded by the schema."""


def check_run_configs(instance: dg.DagsterInstance, check: Check) -> None:
    """Have all runs and backfills that this process makes checked before they are stored.

    A run config without ops is checked before Dagster compares it with its schema, in the launchpad
    too.
    """
    storage = instance.run_storage
    add_run, add_backfill = storage.add_run, storage.add_backfill

    def add_checked_run(dagster_run: dg.DagsterRun) -> dg.DagsterRun:
        _require_valid(check, dagster_run.job_name, dagster_run.run_config)
        return add_run(dagster_run)

    def add_checked_backfill(partition_backfill: PartitionBackfill) -> None:
        job = partition_backfill.job_name or ""
        _require_valid(check, job, partition_backfill.run_config or {})
        return add_backfill(partition_backfill)

    def ensure_checked(remote_job: Any, run_config: object) -> object:
        if isinstance(run_config, Mapping) and "ops" not in run_config:
            _require_valid(check, remote_job.name, run_config)  # before Dagster names its schema
        return GRAPHQL.external.ensure_valid_config(remote_job, run_config)

    storage.add_run, storage.add_backfill = add_checked_run, add_checked_backfill
    for module in (GRAPHQL.execution.run_lifecycle, GRAPHQL.fetch_runs):
        module.ensure_valid_config = ensure_checked


def _require_valid(check: Check, job: str, run_config: Mapping[str, Any]) -> None:
    try:
        check(job, run_config)
    except ConfigurationError as error:
        raise UserFacingGraphQLError(_answer_invalid(job, error.line)) from error


def _answer_invalid(job: str, message: str) -> Any:
    """Return Dagster's answer to a config that its schema refuses, with this message."""
    stack = GrapheneEvaluationStack(SimpleNamespace(entries=[]))
    problem: dict[str, Any] = {"message": message, "path": [], "stack": stack, "reason": REASON}
    errors = [GrapheneRuntimeMismatchConfigError(**problem)]
    answer: dict[str, Any] = {"pipeline_name": job, "errors": errors}
    return GrapheneRunConfigValidationInvalid(**answer)


USER_TAG = "user"
"""The tag of a run that names who launched it; the ledger reads it."""

NOT_IN_A_TAG = re.compile(r"[^A-Za-z0-9_.-]")
"""Characters that Dagster refuses in a tag of an event, though not of a run."""

STOP = Permissions.STOP_RUNNING_SCHEDULE
"""Mutations of a schedule that launch nothing."""

STATEMENT_MILLISECONDS, RECYCLE_SECONDS, MORE_CONNECTIONS = 15_000, 3600, 20
"""Arguments that Dagster's own command gives its web server."""


class RoleContext(WorkspaceRequestContext):
    """Permissions of one request, by its role."""

    principal: Principal

    @property
    def permissions(self) -> Mapping[str, PermissionResult]:
        """Each of Dagster's permissions, and whether the role has it."""
        return _build_permissions(self.principal.role, super().permissions)

    @property
    def read_only(self) -> bool:
        """Whether nothing may be changed."""
        return not list_permissions(self.principal.role)

    def permissions_for_location(self, *, location_name: str) -> Mapping[str, PermissionResult]:
        """The same of what belongs to a code location."""
        of_location = super().permissions_for_location(location_name=location_name)
        return _build_permissions(self.principal.role, of_location)

    def has_permission(self, permission: str) -> bool:
        """Whether the role has a permission of Dagster's."""
        may = super().has_permission(permission)
        if permission == Permissions.TOGGLE_AUTO_MATERIALIZE:
            return may and self.may_launch(Launches(self).of_automation())
        return may

    def has_permission_for_selector(self, permission: str, selector: Any) -> bool:
        """Whether the role may do this to what is selected, which also follows from what that runs.

        Of a job, some part has to be for the role: what of it a run has is judged as it is made.
        """
        may = super().has_permission_for_selector(permission, selector)
        if not may or self.principal.role.covers(Role.ADMIN):
            return may
        if isinstance(selector, JobSelector):
            parts = Launches(self).of_job(selector)
            return not parts or any(self.may_launch([part]) for part in parts)
        if isinstance(selector, ScheduleSelector) and permission != STOP:
            return self.may_launch(Launches(self).of_schedule(selector) or ())
        if isinstance(selector, SensorSelector):
            return self.may_launch(Launches(self).of_sensor(selector) or ())
        return may

    def may_evaluate(self, selector: Any) -> bool:
        """Whether the role may evaluate a schedule or sensor, which runs its code."""
        is_schedule = isinstance(selector, ScheduleSelector)
        needed = Permissions.SCHEDULE_DRY_RUN if is_schedule else Permissions.SENSOR_DRY_RUN
        return self.has_permission_for_selector(needed, selector)

    def find_automation(self, selector: Any) -> Any:
        """Return the schedule or sensor that is selected."""
        is_schedule = isinstance(selector, ScheduleSelector)
        return self.get_schedule(selector) if is_schedule else self.get_sensor(selector)

    def may_launch(self, parts: Sequence[Part]) -> bool:
        """Whether the role may run all of these parts."""
        return may_run(self.principal.role, parts)

    def may_terminate(self, run: dg.DagsterRun) -> bool:
        """Whether the role may terminate a run, also one that cannot be resolved any more."""
        return self.may_launch(_select_known(Launches(self).of_run(run)))

    def get_viewer_tags(self) -> dict[str, str]:
        """The tags of what is launched."""
        return user_tags(self.principal)

    def get_reporting_user_tags(self) -> dict[str, str]:
        """Tags of manually reported events, which allow few characters."""
        tags = user_tags(self.principal)
        return {name: NOT_IN_A_TAG.sub(".", value)[:63] for name, value in tags.items()}


def _build_permissions(role: Role, names: Iterable[str]) -> Mapping[str, PermissionResult]:
    granted = list_permissions(role)
    return {
        name: PermissionResult(
            enabled=str(name) in granted,
            disabled_reason=None if str(name) in granted else f"Not for the role {role}",
        )
        for name in names
    }


class RoleProcessContext(WorkspaceProcessContext):
    """Gives each request the context of its role; without anybody known, of a viewer."""

    def create_request_context(self, source: object | None = None) -> RoleContext:
        """Return the context of the request that this task serves."""
        context = RoleContext(
            instance=self.instance,
            current_workspace=self.get_current_workspace(),
            process_context=self,
            version=self.version,
            source=source,
            read_only=True,
        )
        context.principal = CURRENT.get() or Principal("nobody", Role.VIEWER, "open")
        return context


@contextmanager
def dagster_web(
    instance: dg.DagsterInstance,
    workspace: Path,
    check_config: Check,
    check_run: RunCheck,
    installation: Installation,
    *,
    log_level: str,
    log_format: str,
) -> Iterator[ASGIApp]:
    """Give Dagster's web server over the code locations of a workspace file.

    Args:
        instance: What it serves.
        workspace: The file.
        check_config: Raises ConfigurationError for the run config of a launch that is invalid.
        check_run: Raises ConfigurationError for a run that may not be launched now.
        installation: What the bar above its pages shows.
        log_level: Of Dagster's own log lines.
        log_format: The same.

    Raises:
        ConfigurationError: The file cannot be read as one.
    """
    configure_loggers(formatter=log_format, log_level=log_level)
    target = _read_workspace(workspace)
    answer_during_outages()
    instance.optimize_for_webserver(STATEMENT_MILLISECONDS, RECYCLE_SECONDS, MORE_CONNECTIONS)
    check_run_configs(instance, check_config)
    check_runs(instance, check_run)
    with served(instance, target, installation) as app:
        yield app


def _read_workspace(file: Path) -> WorkspaceFileTarget:
    target = WorkspaceFileTarget(paths=[str(file)])
    try:
        target.create_origins()
    except (OSError, ValueError, YAMLError, CheckError, dg.DagsterError) as error:
        raise ConfigurationError(
            f"{file} is not a workspace file",
            expected="a file such as workspace.yaml of the project",
            found=str(error).strip(),
            remedy="name another one: -w",
        ) from error
    return target


@contextmanager
def served(
    instance: dg.DagsterInstance,
    target: Any,
    installation: Installation,
    *,
    query_seconds: float = QUERY_SECONDS,
) -> Iterator[ASGIApp]:
    """Give Dagster's web server over ``target``, which says where code locations are.

    Args:
        instance: Dagster's runs and events.
        target: Where the code locations are.
        installation: What the bar above its pages shows.
        query_seconds: For which a GraphQL document is executed at most.
    """
    with RoleProcessContext(instance, target, version=version("dagster-webserver")) as process:
        name_users(process)
        GRAPHQL.execution.has_permission_for_run = (
            _may_terminate  # the one name by which all that terminates asks
        )
        yield GatewayWebserver(process, Executions(query_seconds), installation).create_asgi_app()


def _may_terminate(info: Any, permission: Permissions, run: dg.DagsterRun) -> bool:
    """Return Dagster's answer, which knows the job of a run but not what is selected of it."""
    return has_permission_for_run(info, permission, run) and info.context.may_terminate(run)


def name_users(process: RoleProcessContext) -> None:
    """Give each run and backfill that a request of this process makes the tag of who asked.

    A reserved tag that the request itself gives does not stay.
    Whatever way they asked, what is not for their role is not made, resumed or ended.
    """
    storage = process.instance.run_storage
    add_run, add_backfill = storage.add_run, storage.add_backfill
    update_backfill = storage.update_backfill

    def add_named_run(dagster_run: dg.DagsterRun) -> dg.DagsterRun:
        _require(process, lambda launches: launches.of_run(dagster_run))
        return add_run(dagster_run.with_tags(_build_run_tags(process, dagster_run)))

    def add_named_backfill(partition_backfill: PartitionBackfill) -> None:
        _require(process, lambda launches: launches.of_backfill(partition_backfill))
        tags = reset_reserved_tags(partition_backfill.tags, {}, {}) | _request_tags()
        return add_backfill(partition_backfill._replace(tags=tags))

    def update_own_backfill(partition_backfill: PartitionBackfill) -> None:
        is_end = partition_backfill.status is BulkActionStatus.CANCELING
        select = _select_known if is_end else tuple
        _require(process, lambda launches: select(launches.of_backfill(partition_backfill)))
        return update_backfill(partition_backfill)

    storage.add_run, storage.add_backfill = add_named_run, add_named_backfill
    storage.update_backfill = update_own_backfill


def _require(process: RoleProcessContext, resolve: Callable[[Launches], Sequence[Part]]) -> None:
    """Refuse launches that the caller's role may not make; without a caller, nothing is read."""
    user = CURRENT.get()
    if user is None or user.role.covers(Role.ADMIN):
        return
    if not may_run(user.role, resolve(Launches(process.create_request_context()))):
        raise UserFacingGraphQLError(GrapheneUnauthorizedError())


def _select_known(parts: Sequence[Part]) -> Sequence[Part]:
    return [part for part in parts if part is not None]


def _build_run_tags(process: RoleProcessContext, run: dg.DagsterRun) -> dict[str, str]:
    """Return the tags of a run; a run of another job is not its parent."""
    job_tags = Launches(process.create_request_context()).job_tags(run)
    parent = process.instance.get_run_by_id(run.parent_run_id) if run.parent_run_id else None
    parent_tags = parent.tags if parent and parent.job_name == run.job_name else {}
    return reset_reserved_tags(run.tags, job_tags, parent_tags) | _request_tags()


def _request_tags() -> dict[str, str]:
    return {**(LAUNCH_TAGS.get() or {}), **user_tags(CURRENT.get()), **_request_trace_tags()}


def _request_trace_tags() -> dict[str, str]:
    """Return the tags of the trace of the request; none where no request asks."""
    trace, rejected = find_current_trace(), REJECTED_TRACEPARENT.get()
    if trace is None:
        return {}
    return {**trace.as_tags(), **({REJECTED_TAG: rejected} if rejected else {})}


def user_tags(user: Principal | None) -> dict[str, str]:
    """Return the tags that name the user; none where the user is unknown."""
    return {USER_TAG: user.name} if user and user.way != "open" else {}
