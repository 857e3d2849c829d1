"""Dagster's web server, unchanged but for who asks: its permissions, tags and errors follow that.

The one module that knows classes which are private to Dagster 1.13; tests hold what it counts on.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from inspect import isawaitable
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._check import CheckError
from dagster._core.definitions.selector import JobSelector
from dagster._core.execution.backfill import PartitionBackfill
from dagster._core.remote_representation.code_location import is_implicit_asset_job_name
from dagster._core.workspace.context import WorkspaceProcessContext, WorkspaceRequestContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster._core.workspace.permissions import (
    EDITOR_PERMISSIONS,
    LOCATION_SCOPED_PERMISSIONS,
    PermissionResult,
)
from dagster._utils.log import configure_loggers
from dagster_graphql.implementation.utils import ErrorCapture, UserFacingGraphQLError
from dagster_graphql.schema.errors import GrapheneUnauthorizedError
from dagster_webserver.version import __version__
from dagster_webserver.webserver import DagsterWebserver
from graphql import DocumentNode, ExecutionResult, GraphQLError, execute, parse, validate
from starlette.responses import JSONResponse
from starlette.types import ASGIApp
from yaml import YAMLError

from orchestration_project.domains.access.roles import (
    Principal,
    Role,
    may_make,
    may_use_job,
    permissions_of,
)
from orchestration_project.errors import ConfigurationError
from orchestration_project.gateway.request import BODY_TAG, CURRENT, KEY_TAG, MARKS

USER_TAG = "user"
"""The tag of a run that names who launched it; the ledger reads it."""

NOT_IN_A_TAG = re.compile(r"[^A-Za-z0-9_.-]")
"""What Dagster refuses in a tag of an event; a run's may have it."""

POLL_MILLISECONDS = 2000
"""How often the pages ask for what is new: Dagster's default."""

STATEMENT_MILLISECONDS, RECYCLE_SECONDS, MORE_CONNECTIONS = 15_000, 3600, 20
"""What Dagster's own command gives its web server."""


MOST_DOCUMENTS, KEPT_CHARACTERS = 128, 8 * 1024
"""Of queries that were found valid: each takes 40 to 200 bytes of memory a character. Those of the
pages have 4,000 characters at most, as far as seen; a longer one is read anew."""


class RoleContext(WorkspaceRequestContext):
    """What one request may ask of Dagster, which is what its role may."""

    principal: Principal

    @property
    def permissions(self) -> Mapping[str, PermissionResult]:
        """Each of Dagster's permissions, and whether the role has it."""
        return PERMISSIONS[self.principal.role]

    @property
    def read_only(self) -> bool:
        """Whether nothing may be changed."""
        return not permissions_of(self.principal.role)

    def permissions_for_location(self, *, location_name: str) -> Mapping[str, PermissionResult]:
        """The same of what belongs to a code location."""
        return LOCATION_PERMISSIONS[self.principal.role]

    def has_permission_for_selector(self, permission: str, selector: Any) -> bool:
        """Whether the role may do this to what is selected; of a job also whether to this one."""
        may = super().has_permission_for_selector(permission, selector)
        if isinstance(selector, JobSelector):
            return may and may_use_job(self.principal.role, selector.job_name)
        return may

    def get_viewer_tags(self) -> dict[str, str]:
        """The tags of what is launched."""
        return user_tags(self.principal)

    def get_reporting_user_tags(self) -> dict[str, str]:
        """The tags of what is stated by hand, which may hold few letters."""
        tags = user_tags(self.principal)
        return {name: NOT_IN_A_TAG.sub(".", value)[:63] for name, value in tags.items()}


def _permissions(role: Role) -> Mapping[str, PermissionResult]:
    granted = permissions_of(role)
    return {
        name: PermissionResult(
            enabled=str(name) in granted,
            disabled_reason=None if str(name) in granted else f"Not for the role {role}",
        )
        for name in EDITOR_PERMISSIONS
    }


PERMISSIONS = {role: _permissions(role) for role in Role}
LOCATION_PERMISSIONS = {
    role: {name: each for name, each in found.items() if name in LOCATION_SCOPED_PERMISSIONS}
    for role, found in PERMISSIONS.items()
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


class GatewayWebserver(DagsterWebserver[RoleProcessContext, RoleContext]):
    """Shows the stack of an error to admins alone, and reads a query once however often it comes.

    Dagster's own parses and validates each request anew, which takes longer than the gateway does.
    """

    def __init__(self, process: RoleProcessContext) -> None:
        super().__init__(process, live_data_poll_rate=POLL_MILLISECONDS)
        self._known = lru_cache(maxsize=MOST_DOCUMENTS)(self._valid)

    def handle_graphql_errors(self, errors: Sequence[GraphQLError]) -> list[Any]:
        """Return the errors as they are told."""
        told = super().handle_graphql_errors(errors)
        user = CURRENT.get()
        if user is None or user.role is not Role.ADMIN:
            for each in told:
                each.pop("extensions", None)
        return told

    async def gen_graphql_response(
        self,
        request_context: RoleContext,
        query: str,
        variables: dict[str, Any] | None,
        operation_name: str | None,
    ) -> JSONResponse:
        """Answer as Dagster does; what is not valid, or long, Dagster reads itself."""
        try:
            document = self._known(query) if len(query) <= KEPT_CHARACTERS else None
        except GraphQLError:
            document = None
        if document is None:
            return await super().gen_graphql_response(
                request_context, query, variables, operation_name
            )
        captured: list[Exception] = []
        with ErrorCapture.watch(captured.append):
            result = execute(
                schema=self._graphene_schema.graphql_schema,
                document=document,
                context_value=request_context,
                variable_values=variables,
                operation_name=operation_name,
                middleware=self._graphql_middleware,
            )
            done = await result if isawaitable(result) else result
        return self._answer(done, captured)

    def _answer(self, done: ExecutionResult, captured: list[Exception]) -> JSONResponse:
        content: dict[str, Any] = {"data": done.data}
        if done.errors:
            content["errors"] = self.handle_graphql_errors(done.errors)
        status = self._determine_status_code(resolver_errors=done.errors, captured_errors=captured)
        return JSONResponse(content, status)

    def _valid(self, query: str) -> DocumentNode:
        """Return a query as it was read.

        Raises:
            GraphQLError: It is none, or asks for what there is not; that is not remembered.
        """
        document = parse(query)
        schema = self._graphene_schema.graphql_schema
        for problem in validate(schema, document, rules=self._graphql_validation_rules):
            raise problem
        return document


@contextmanager
def dagster_web(
    instance: dg.DagsterInstance, workspace: Path, *, log_level: str, log_format: str
) -> Iterator[ASGIApp]:
    """Give Dagster's web server over the code locations of a workspace file.

    Raises:
        ConfigurationError: The file cannot be read as one.
    """
    configure_loggers(formatter=log_format, log_level=log_level)
    target = _read_workspace(workspace)
    instance.optimize_for_webserver(STATEMENT_MILLISECONDS, RECYCLE_SECONDS, MORE_CONNECTIONS)
    with served(instance, target) as app:
        yield app


def _read_workspace(file: Path) -> WorkspaceFileTarget:
    target = WorkspaceFileTarget(paths=[str(file)])
    try:
        target.create_origins()
    except (OSError, ValueError, YAMLError, CheckError, dg.DagsterError) as error:
        raise ConfigurationError(
            f"{file} is no workspace file",
            expected="a file such as workspace.yaml at the root",
            found=str(error).strip(),
            remedy="name another one: -w",
        ) from error
    return target


@contextmanager
def served(instance: dg.DagsterInstance, target: Any) -> Iterator[ASGIApp]:
    """Give Dagster's web server over ``target``, which says where code locations are."""
    name_users(instance)
    with RoleProcessContext(instance, target, version=__version__) as process:
        yield GatewayWebserver(process).create_asgi_app()


def name_users(instance: dg.DagsterInstance) -> None:
    """Give each run and backfill that a request of this process makes the tag of who asked.

    A tag that the request itself gives, or one of the run that is tried again, does not stay.
    Whatever way they asked, what is not for their role is not made.
    """
    storage = instance.run_storage
    add_run, add_backfill = storage.add_run, storage.add_backfill

    def add_named_run(dagster_run: dg.DagsterRun) -> dg.DagsterRun:
        chosen = dagster_run.asset_selection
        if not is_implicit_asset_job_name(dagster_run.job_name):
            _require_job(dagster_run.job_name)
        elif chosen or not dagster_run.asset_check_selection:
            _require_assets(chosen)
        return add_run(dagster_run.with_tags(_own_tags(dagster_run.tags)))

    def add_named_backfill(partition_backfill: PartitionBackfill) -> None:
        if partition_backfill.is_asset_backfill:
            _require_assets(partition_backfill.asset_selection)
        return add_backfill(partition_backfill._replace(tags=_own_tags(partition_backfill.tags)))

    for name, method in (("add_run", add_named_run), ("add_backfill", add_named_backfill)):
        setattr(storage, name, method)


def _own_tags(given: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in given.items() if name not in (KEY_TAG, BODY_TAG)}
    return {**kept, **(MARKS.get() or {}), **user_tags(CURRENT.get())}


def _require_job(job: str) -> None:
    user = CURRENT.get()
    if user and not may_use_job(user.role, job):
        raise UserFacingGraphQLError(GrapheneUnauthorizedError())


def _require_assets(chosen: Collection[dg.AssetKey] | None) -> None:
    """Refuse to have assets made that are not for the role; without any choice, all would be."""
    user, paths = CURRENT.get(), [key.path for key in chosen] if chosen else None
    if user and not may_make(user.role, paths):
        raise UserFacingGraphQLError(GrapheneUnauthorizedError())


def user_tags(user: Principal | None) -> dict[str, str]:
    """Return the tags that name who asks; none where nobody is known."""
    return {USER_TAG: user.name} if user and user.way != "open" else {}
