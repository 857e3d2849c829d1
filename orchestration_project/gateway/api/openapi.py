"""The OpenAPI document, made of the operations' declarations; nothing of it is written twice."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from orchestration_project import release
from orchestration_project.gateway.api.operation import Operation
from orchestration_project.gateway.api.problems import MEDIA_TYPE, Problem

PATH = "/api/v1"
REF = "#/components/schemas/{model}"
JSON = "application/json"

USUAL_PROBLEMS = (400, 401, 403, 404, 422, 429, 431, 500, 502, 503, 504)
MUTATION_STATUSES = (409,)
WITH_A_BODY = (413, 415)


def document(operations: Sequence[Operation]) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of these operations."""
    schemas = _build_schemas(operations)
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _build_operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "orchestration_project",
            "version": "1",
            "x-release": release(),
            "description": "Runs, data and operations of one installation. Errors are problem "
            "details (RFC 9457). A key is sent as X-API-Key or Authorization: Bearer.",
        },
        "servers": [{"url": PATH}],
        "security": [{"key": []}, {"bearer": []}, {"session": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
                "bearer": {"type": "http", "scheme": "bearer"},
                "session": {"type": "apiKey", "in": "cookie", "name": "session"},
            },
        },
    }


def _build_schemas(operations: Iterable[Operation]) -> dict[str, Any]:
    values: dict[tuple[type[BaseModel], JsonSchemaMode], None] = {(Problem, "serialization"): None}
    for operation in operations:
        if operation.body is not None:
            values[operation.body, "validation"] = None
        if operation.answer is not None:
            values[operation.answer, "serialization"] = None
    return models_json_schema(list(values), ref_template=REF)[1].get("$defs", {})


def _build_operation(operation: Operation) -> dict[str, Any]:
    document: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "description": f"{operation.handler.__doc__ or ''} Role: {operation.role}.",
        "tags": [operation.path.split("/")[1]],
        "parameters": [*_list_parameters(operation), *_list_headers(operation)],
        "responses": _build_responses(operation),
    }
    if operation.takes_file:
        schema = {"type": "string", "format": "binary"}
        content = {"application/octet-stream": {"schema": schema}}
        document["requestBody"] = {"required": True, "content": content}
    if operation.body is not None:
        is_optional = not any(field.is_required() for field in operation.body.model_fields.values())
        document["requestBody"] = {
            "required": not is_optional,
            "content": {JSON: {"schema": _build_reference(operation.body)}},
        }
    return document


def _list_parameters(operation: Operation) -> list[dict[str, Any]]:
    schema = operation.query.model_json_schema()
    in_path = set(re.findall(r"{(\w+)(?::\w+)?}", operation.path))
    required = set(schema.get("required", ()))
    return [
        {
            "name": name,
            "in": "path" if name in in_path else "query",
            "required": name in required,
            "description": field_schema.get("description", ""),
            "schema": _drop_null(field_schema),
        }
        for name, field_schema in schema.get("properties", {}).items()
    ]


def _drop_null(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of a parameter, which is left out rather than null."""
    values = {name: value for name, value in schema.items() if name not in ("title", "description")}
    forms = [each for each in values.pop("anyOf", ()) if each.get("type") != "null"]
    if values.get("default", ...) is None:
        del values["default"]
    return (
        {**values, **forms[0]}
        if len(forms) == 1
        else {**values, **({"anyOf": forms} if forms else {})}
    )


def _list_headers(operation: Operation) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "header",
            "required": False,
            "description": described,
            "schema": {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[!-~]+$"},
        }
        for name, described in operation.headers.items()
    ]


def _build_responses(operation: Operation) -> dict[str, Any]:
    content: dict[str, Any] = {kind: {"schema": value} for kind, value in operation.media.items()}
    if operation.answer is not None:
        content = {JSON: {"schema": _build_reference(operation.answer)}} | content
    problem = {
        "description": "It was not done",
        "content": {MEDIA_TYPE: {"schema": _build_reference(Problem)}},
    }
    statuses = [*USUAL_PROBLEMS, *operation.problems]
    statuses += MUTATION_STATUSES if operation.method in ("POST", "DELETE") else ()
    statuses += WITH_A_BODY if operation.body is not None else ()
    entries = {str(operation.status): {"description": operation.summary, "content": content}}
    return entries | {str(status): problem for status in sorted(set(statuses))}


def _build_reference(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": REF.format(model=model.__name__)}
