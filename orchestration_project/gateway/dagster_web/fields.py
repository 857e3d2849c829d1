"""Fields of Dagster's GraphQL schema whose answer depends on the role of who asks.

They are held where they are resolved, so that no alias, fragment or subscription passes them by.
"""

from collections.abc import Callable
from typing import Any

from graphql import (
    GraphQLError,
    GraphQLField,
    GraphQLObjectType,
    GraphQLResolveInfo,
    GraphQLSchema,
    default_field_resolver,
)

from orchestration_project.engine.contracts.addresses import is_log_key
from orchestration_project.engine.contracts.roles import Role, redact_for_role
from orchestration_project.engine.dagster_private.storage import SerializableErrorInfo

Resolver = Callable[..., Any]


def answer_by_role(schema: GraphQLSchema) -> None:
    """Make fields of ``schema`` answer by role: dry runs, stacks and messages that quote one."""
    types: dict[str, Any] = dict(schema.type_map)
    _resolve(types["DryRunInstigationTick"].fields["evaluationResult"], _guard_evaluation)
    _resolve(types["PythonError"].fields["stack"], _limit_to_admins)
    for kind in types.values():
        if isinstance(kind, GraphQLObjectType) and "message" in kind.fields:
            _resolve(kind.fields["message"], _hide_stacks)
    for name in ("capturedLogs", "capturedLogsMetadata"):
        _resolve(types["Query"].fields[name], _guard_logs)
    _resolve(types["Run"].fields["capturedLogs"], _guard_logs)
    watched = types["Subscription"].fields["capturedLogs"]
    watched.subscribe = _guard_logs(watched.subscribe)


def _resolve(field: GraphQLField, by_role: Callable[[Resolver], Resolver]) -> None:
    field.resolve = by_role(field.resolve or default_field_resolver)


def _limit_to_admins(resolve: Resolver) -> Resolver:
    def lines(error: Any, info: GraphQLResolveInfo) -> list[str]:
        return resolve(error, info) if info.context.principal.role.covers(Role.ADMIN) else []

    return lines


def _hide_stacks(resolve: Resolver) -> Resolver:
    def message(source: Any, info: GraphQLResolveInfo, **arguments: Any) -> Any:
        text = resolve(source, info, **arguments)
        return redact_for_role(info.context.principal.role, text) if isinstance(text, str) else text

    return message


def _guard_logs(resolve: Resolver) -> Resolver:
    """Dagster fails by a key that no log can have."""

    def log(source: Any, info: GraphQLResolveInfo, **arguments: Any) -> Any:
        key = arguments.get("logKey", [arguments.get("fileKey")])
        if not is_log_key(key):
            # with its path, or GraphQL would take it for a failure of the server
            raise GraphQLError("Log not found.", path=info.path.as_list())
        return resolve(source, info, **arguments)

    return log


def _guard_evaluation(resolve: Resolver) -> Resolver:
    """Evaluating a schedule or sensor runs its code; a query reaches it as mutations do."""

    def evaluated(tick: Any, info: GraphQLResolveInfo, **arguments: Any) -> Any:
        if info.context.may_evaluate(tick._selector):
            return resolve(tick, info, **arguments)
        message = f"{info.context.principal.role} may not evaluate this"
        evaluation: Any = info.return_type
        return evaluation.graphene_type(
            SerializableErrorInfo(message, [], None), info.context.find_automation(tick._selector)
        )

    return evaluated
