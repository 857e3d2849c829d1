"""The page of the REST API, from the OpenAPI document that the gateway answers with."""

from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any

from orchestration_project.catalog import REGISTRY
from orchestration_project.gateway.api.app import operations_of
from orchestration_project.gateway.api.openapi import PATH, document
from orchestration_project.gateway.api.operation import Operation
from orchestration_project.gateway.login import Login
from tools.reference_pages.markdown import code, page, paragraph, section, table

HTML_PAGES = {
    "/auth/oidc/callback": "Where the provider of OpenID Connect sends a browser back to.",
    "/auth/oidc/login": "Starts a login at the provider of OpenID Connect.",
    "/bar.css": "Style of the bar above Dagster's pages.",
    "/plugins": "Plugins with state and share.",
    "/plugins/{plugin}": "One plugin: grants, violations and calls.",
    "/approvals": "Actions that need a second person; operators and admins decide.",
    "/pauses": "Pauses in effect; operators pause and resume.",
    "/attention": "What needs a person, why, and what can be done; `kind`, `domain`, `ignored`.",
    "/attention/{entry_id}": "An entry: facts, preview, and a form for each action.",
    "/attention/{entry_id}/rows/{table}": "Its rejects, captures, items or letters as a table.",
    "/quarantined": "Redirect to the quarantined partitions of `/attention`.",
}
"""Paths of the gateway for browsers, at its root; all other paths are Dagster's web server."""


def write() -> str:
    """Return the page."""
    operations = sorted(operations_of(REGISTRY), key=lambda each: each.path.split("/")[1])
    described = document(operations)
    groups = groupby(operations, key=lambda each: each.path.split("/")[1])
    return page(
        "rest-api",
        [_overview(operations), _sessions(), _html_pages()]
        + [section(_title(tag), *_operations(list(found), described)) for tag, found in groups],
    )


def _title(tag: str) -> str:
    return tag.replace("-", " ").capitalize()


def _overview(operations: list[Operation]) -> str:
    rows = [
        (code(each.method), code(PATH + each.path), each.role, each.summary) for each in operations
    ]
    return section("Operations", table(("method", "path", "role", "summary"), rows))


def _sessions() -> str:
    doors: Any = None  # the routes are only described
    login = Login(doors, has_provider=False)
    rows = [
        (code(method), code(route.path), paragraph(str(route.endpoint.__doc__)))
        for route in [*login.public_routes(), *login.private_routes()]
        for method in sorted(set(route.methods or ()) - {"HEAD"})
    ]
    text = (
        "A key is enough for the API. Browsers log in by a form, at the root of the gateway and "
        "not below `/api/v1`; the cookie of the session then authenticates requests of its origin."
    )
    return section("Login", paragraph(text), table(("method", "path", "meaning"), rows))


def _html_pages() -> str:
    rows = [(code(path), meaning) for path, meaning in HTML_PAGES.items()]
    return section("Pages for browsers", table(("path", "meaning"), rows))


def _operations(operations: list[Operation], described: Mapping[str, Any]) -> Iterator[str]:
    for each in operations:
        found = described["paths"][each.path][each.method.lower()]
        answer = next(status for status in found["responses"] if status < "300")
        kinds = found["responses"][answer].get("content", {})
        text = f"{found['description']} Answers {answer}: {', '.join(map(code, kinds)) or 'empty'}."
        rows = [*map(_parameter, found["parameters"]), *_body(each, described)]
        columns = ("name", "in", "type", "required", "meaning")
        yield (
            section(f"`{each.method} {each.path}`", paragraph(text), table(columns, rows), level=3)
            if rows
            else section(f"`{each.method} {each.path}`", paragraph(text), level=3)
        )


def _parameter(each: Mapping[str, Any]) -> tuple[str, ...]:
    required = "yes" if each["required"] else ""
    return code(each["name"]), each["in"], _type(each["schema"]), required, each["description"]


def _body(operation: Operation, described: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    if operation.body is None:
        return
    schema = described["components"]["schemas"][operation.body.__name__]
    for name, each in schema.get("properties", {}).items():
        required = "yes" if name in schema.get("required", ()) else ""
        yield code(name), "body", _type(each), required, each.get("description", "")


def _type(schema: Mapping[str, Any]) -> str:
    """Return a schema's type, its choices and its bounds, in a few words."""
    if "anyOf" in schema:
        return " or ".join(_type(each) for each in schema["anyOf"] if each.get("type") != "null")
    if "enum" in schema:
        return ", ".join(map(code, schema["enum"]))
    if "const" in schema:
        return code(schema["const"])
    if "$ref" in schema:
        return code(schema["$ref"].rpartition("/")[2])
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}"
    bounds = [
        f"{word} {schema[key]}"
        for key, word in (("minimum", "from"), ("maximum", "to"))
        if key in schema
    ]
    kind = schema.get("format") or schema.get("type") or "any"
    default = f"default {code(schema['default'])}" if schema.get("default") is not None else ""
    return ", ".join(filter(None, [" ".join([kind, *bounds]), default]))
