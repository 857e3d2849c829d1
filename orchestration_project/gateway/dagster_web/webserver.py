"""Dagster's web server for GraphQL: bounded, with errors as who asks may see them."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Sequence
from functools import lru_cache, partial
from inspect import isawaitable
from typing import Any

from dagster_graphql.implementation.utils import ErrorCapture
from dagster_webserver.graphql import _handle_async_results
from dagster_webserver.webserver import DagsterWebserver
from graphql import (
    DocumentNode,
    ExecutionResult,
    GraphQLError,
    create_source_event_stream,
    execute,
    parse,
    validate,
)
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, StreamingResponse
from starlette.websockets import WebSocket

from orchestration_project.engine.contracts.roles import Role, redact_for_role
from orchestration_project.gateway.bar import Installation, with_bar
from orchestration_project.gateway.dagster_web.fields import answer_by_role
from orchestration_project.gateway.dagster_web.partition_statuses import (
    group_by_first_dimension,
)
from orchestration_project.gateway.executions import TIMEOUT_MESSAGE, Executions, TookTooLong
from orchestration_project.gateway.graphql import read_document
from orchestration_project.gateway.request import CURRENT, current_user

POLL_MILLISECONDS = 2000
"""How often the pages request what is new: Dagster's default."""

MAX_DOCUMENTS, MAX_KEPT_CHARACTERS = 128, 8 * 1024
"""Limits of the cache of valid queries: number, and characters of one. A query takes 40 to 200
bytes of memory a character. Those of the pages have 4,000 characters at most, as far as seen; a
longer one is parsed again."""


class GatewayWebserver(DagsterWebserver[Any, Any]):
    """Shows stacks to admins only, bounds executions, and validates a query once.

    Dagster's own parses and validates each request again, which takes longer than the gateway does.
    """

    def __init__(
        self,
        process: Any,
        executions: Executions,
        installation: Installation,
    ) -> None:
        super().__init__(process, live_data_poll_rate=POLL_MILLISECONDS)
        self._executions = executions
        self._installation = installation
        self._known = lru_cache(maxsize=MAX_DOCUMENTS)(self._valid)
        answer_by_role(self._graphene_schema.graphql_schema)
        group_by_first_dimension(self._graphene_schema.graphql_schema)

    def handle_graphql_errors(self, errors: Sequence[GraphQLError]) -> list[Any]:
        """Return the errors as they are shown: with their extensions to admins only."""
        graphql_errors = super().handle_graphql_errors([_redact_error(error) for error in errors])
        if not _find_role().covers(Role.ADMIN):
            for error in graphql_errors:
                error.pop("extensions", None)
        return graphql_errors

    def index_html_endpoint(self, request: Request) -> HTMLResponse:
        """Return Dagster's page with the bar of who asks above it."""
        answer = super().index_html_endpoint(request)
        page = with_bar(bytes(answer.body).decode(), self._installation, current_user())
        kept_names = {
            name: value for name, value in answer.headers.items() if name != "content-length"
        }
        return HTMLResponse(page, answer.status_code, kept_names)

    async def download_debug_file_endpoint(self, request: Request) -> StreamingResponse:
        """Return the debug file of a run.

        Raises:
            HTTPException: The run does not exist.
        """
        with self.request_context(request) as context:
            if not context.instance.has_run(request.path_params["run_id"]):
                raise HTTPException(404, "Run not found.")
        return await super().download_debug_file_endpoint(request)

    async def execute_graphql_request(
        self,
        request: Request,
        query: str,
        variables: dict[str, Any] | None,
        operation_name: str | None,
    ) -> JSONResponse:
        """Answer within the limit of time, in a thread of its own."""
        request_args = (request, query, variables, operation_name)
        is_mutation = "mutation" in read_document(query).kinds
        try:
            return await self._executions.run(
                _name(),
                partial(self.graphql_execution_thread, *request_args),
                is_mutation=is_mutation,
            )
        except TookTooLong:
            return self._too_long()

    async def gen_graphql_response(
        self,
        request_context: Any,
        query: str,
        variables: dict[str, Any] | None,
        operation_name: str | None,
    ) -> JSONResponse:
        """Answer as Dagster does, which reads by itself what is not valid."""
        try:
            document = self._read(query)
        except GraphQLError:
            return await super().gen_graphql_response(
                request_context, query, variables, operation_name
            )
        captured: list[Exception] = []
        try:
            with ErrorCapture.watch(captured.append):
                executed = await self._executed(
                    document, request_context, variables, operation_name
                )
        except TookTooLong:
            return self._too_long()
        return self._answer(executed, captured)

    def _read(self, query: str) -> DocumentNode:
        return self._known(query) if len(query) <= MAX_KEPT_CHARACTERS else self._valid(query)

    async def _executed(
        self,
        document: DocumentNode,
        context: Any,
        variables: dict[str, Any] | None,
        operation_name: str | None,
        event: Any = None,
    ) -> ExecutionResult:
        result = execute(
            schema=self._graphene_schema.graphql_schema,
            document=document,
            root_value=event,
            context_value=context,
            variable_values=variables,
            operation_name=operation_name,
            middleware=self._graphql_middleware,
            execution_context_class=self._executions.context_class,
        )
        return await result if isawaitable(result) else result

    def _too_long(self) -> JSONResponse:
        text = TIMEOUT_MESSAGE.format(self._executions.seconds)
        return JSONResponse({"data": None, "errors": [{"message": text}]}, 504)

    async def execute_graphql_subscription(
        self,
        websocket: WebSocket,
        operation_id: str,
        query: str,
        variables: dict[str, Any] | None,
        operation_name: str | None,
    ) -> tuple[asyncio.Task[None] | None, Any]:
        """Begin a subscription; what is requested of each event is executed as a query is.

        Dagster's own executes that between all other requests, however much it is.
        """
        pair = (variables, operation_name)
        try:
            document = await run_in_threadpool(self._read, query)
        except GraphQLError as error:
            return None, self.handle_graphql_errors([error])[0]
        with self.request_context(websocket) as context:
            source = await create_source_event_stream(
                self._graphene_schema.graphql_schema,
                document,
                context_value=context,
                variable_values=variables,
                operation_name=operation_name,
            )
        if isinstance(source, ExecutionResult):
            return None, self.handle_graphql_errors(source.errors or [])[0]
        events = self._events(source, websocket, document, pair)
        return asyncio.create_task(_handle_async_results(events, operation_id, websocket)), None

    async def _events(
        self,
        source: AsyncIterable[Any],
        websocket: WebSocket,
        document: DocumentNode,
        requested: tuple[dict[str, Any] | None, str | None],
    ) -> AsyncGenerator[ExecutionResult, None]:
        def executed(event: Any) -> ExecutionResult:
            with self.request_context(websocket) as context:
                return asyncio.run(self._executed(document, context, *requested, event))

        async for event in source:
            try:
                execution_result = await self._executions.run(_name(), partial(executed, event))
            except TookTooLong:
                raise GraphQLError(TIMEOUT_MESSAGE.format(self._executions.seconds)) from None
            yield ExecutionResult(
                execution_result.data,
                [_redact_error(error) for error in execution_result.errors or ()],
            )

    def _answer(self, done: ExecutionResult, captured: list[Exception]) -> JSONResponse:
        content: dict[str, Any] = {"data": done.data}
        if done.errors:
            content["errors"] = self.handle_graphql_errors(done.errors)
        status = self._determine_status_code(resolver_errors=done.errors, captured_errors=captured)
        return JSONResponse(content, status)

    def _valid(self, query: str) -> DocumentNode:
        """Return a query as it was read.

        Raises:
            GraphQLError: It is none, or requests what there is not; that is not remembered.
        """
        document = parse(query)
        schema = self._graphene_schema.graphql_schema
        for problem in validate(schema, document, rules=self._graphql_validation_rules):
            raise problem
        return document


def _name() -> str:
    user = CURRENT.get()
    return user.name if user else ""


def _find_role() -> Role:
    user = CURRENT.get()
    return user.role if user else Role.VIEWER


def _redact_error(error: GraphQLError) -> GraphQLError:
    """Return an error as who asks may see it: a stack may also be quoted in its message."""
    text = redact_for_role(_find_role(), error.message)
    return error if text == error.message else GraphQLError(text, error.nodes, path=error.path)
