"""The names that others build on, read from where the pages of docs/reference have them."""

import inspect
import json
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import click
from sqlalchemy import Column

import orchestration_project
from orchestration_project import client
from orchestration_project.__main__ import root
from orchestration_project.catalog import REGISTRY
from orchestration_project.cli.commands import COMMON
from orchestration_project.gateway.api.app import operations_of
from orchestration_project.gateway.api.openapi import document
from orchestration_project.settings import settings_class
from orchestration_project.tables.catalogue import internal_tables, known_tables
from orchestration_project.tables.schema import key_names
from tools.contracts.comparison import REQUIRED, RESULT
from tools.contracts.record import Members, Record
from tools.reference_pages.cli import PROGRAM, leaf_commands
from tools.reference_pages.metrics import full_name, label_names, read_families
from tools.reference_pages.python_client import GROUPS, public_methods, shorten

ROLES = ("viewer", "operator", "admin")
"""Roles of the API, the least first."""


def read_surface() -> Record:
    """Return everything that the code has by now."""
    described = document(operations_of(REGISTRY))
    schemas = described["components"]["schemas"]
    operations = {
        f"{method.upper()} {path}": operation
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    }
    bodies = {name for each in operations.values() for name in names_of(each.get("requestBody"))}
    answers = {name for each in operations.values() for name in names_of(each["responses"])}
    return {
        "Python": dict(_python()),
        "Components of Dagster": dict(_components()),
        "API operations": {
            f"{operation.method} {operation.path}": {
                **read_operation(operations[f"{operation.method} {operation.path}"], schemas),
                "(role)": " | ".join(ROLES[ROLES.index(operation.role) :]),
            }
            for operation in operations_of(REGISTRY)
        },
        "API bodies": read_models(bodies, schemas),
        "API answers": read_models(answers, schemas),
        "commands": dict(_commands()),
        "settings": {name.upper(): {} for name in settings_class().model_fields},
        "tables": {
            name: {"(key)": ", ".join(key_names(table)), **dict(map(_column, table.columns))}
            for name, table in known_tables().items()
            if name not in internal_tables()
        },
        "metrics": {
            full_name(family): {
                "(type)": family.type,
                **dict.fromkeys(label_names(family), "label"),
            }
            for family in read_families()
        },
    }


def _python() -> Iterator[tuple[str, Members]]:
    for module in (orchestration_project, client):
        for name in module.__all__:
            member = getattr(module, name)
            yield f"{module.__name__}.{name}", read_signature(member) if callable(member) else {}
    for methods in GROUPS.values():
        for name, method in public_methods(methods).items():
            yield f"{client.__name__}.Client.{name}", read_signature(method)


def _components() -> Iterator[tuple[str, Members]]:
    for name in orchestration_project.COMPONENTS:
        schema = getattr(orchestration_project, name).model_json_schema()
        yield name, read_properties(schema, schema.get("$defs", {}))
        yield from (
            (f"{name}.{model}", members)
            for model, members in read_models(names_of(schema), schema.get("$defs", {})).items()
        )


def read_signature(function: Callable[..., Any]) -> Members:
    """Return the parameters of a function or class, and its result.

    One that may be given without its name has its position as a form.
    """
    members: dict[str, str] = {}
    signature = inspect.signature(function)
    for position, parameter in enumerate(signature.parameters.values()):
        if parameter.name == "self":
            continue
        options = _options(parameter)
        if options is not None:
            members |= options
            continue
        is_open = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        forms = [] if is_open or parameter.default is not parameter.empty else [REQUIRED]
        if parameter.kind <= parameter.VAR_POSITIONAL:
            forms.append(f"position {position}")
        members[parameter.name] = " | ".join([*forms, _annotation(parameter.annotation)])
    if signature.return_annotation not in (None, signature.empty):
        members[RESULT] = _annotation(signature.return_annotation)
    return members


def _options(parameter: inspect.Parameter) -> Members | None:
    """Return the keywords of a parameter such as ``**reading: Unpack[ReadingOptions]``."""
    if typing.get_origin(parameter.annotation) is not typing.Unpack:
        return None
    [options] = typing.get_args(parameter.annotation)
    return {
        name: " | ".join([REQUIRED] * (name in options.__required_keys__) + [_annotation(each)])
        for name, each in options.__annotations__.items()
    }


def _annotation(annotation: Any) -> str:
    return shorten(inspect.formatannotation(annotation))


def read_operation(operation: Mapping[str, Any], schemas: Mapping[str, Any]) -> Members:
    """Return parameters, body and answer of an operation of the OpenAPI document."""
    members = {
        each["name"]: " | ".join([REQUIRED] * each["required"] + forms_of(each["schema"], schemas))
        for each in operation["parameters"]
    }
    body = operation.get("requestBody")
    if body:
        forms = [form for each in body["content"].values() for form in forms_of(each["schema"], {})]
        members["(body)"] = " | ".join([REQUIRED] * body["required"] + forms)
    status, answer = next(each for each in operation["responses"].items() if each[0] < "300")
    members["(status)"] = status
    members["(media types)"] = " | ".join(answer["content"])
    members[RESULT] = " | ".join(
        form
        for media_type, each in answer["content"].items()
        if media_type == "application/json"
        for form in forms_of(each["schema"], {})
    )
    return {name: forms for name, forms in members.items() if forms}


def names_of(schema: Any) -> set[str]:
    """Return the names of the models that a part of a schema refers to."""
    if isinstance(schema, Mapping):
        found = {name for value in schema.values() for name in names_of(value)}
        reference = schema.get("$ref")
        return found | {reference.rpartition("/")[2]} if isinstance(reference, str) else found
    if isinstance(schema, list):
        return {name for value in schema for name in names_of(value)}
    return set()


def read_models(names: set[str], schemas: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Members]:
    """Return the fields of models, and of those that they refer to."""
    reached: set[str] = set()
    while names - reached:
        reached |= names
        names = {found for name in names for found in names_of(schemas[name])}
    return {
        name: read_properties(schemas[name], schemas)
        for name in reached
        if "properties" in schemas[name]
    }


def read_properties(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> Members:
    """Return the fields of a model."""
    return {
        name: " | ".join(
            [REQUIRED] * (name in schema.get("required", ())) + forms_of(field, schemas)
        )
        for name, field in schema["properties"].items()
    }


def forms_of(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> list[str]:
    """Return the forms of a value: its types and choices, and the names of models."""
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return [form for each in schema[key] for form in forms_of(each, schemas)]
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        is_model = "properties" in schemas.get(name, {"properties": {}})
        return [name] if is_model else forms_of(schemas[name], schemas)
    if "enum" in schema or "const" in schema:
        return [json.dumps(value) for value in schema.get("enum", [schema.get("const")])]
    if schema.get("type") == "array":
        return [f"list of {form}" for form in forms_of(schema.get("items", {}), schemas)]
    if isinstance(schema.get("additionalProperties"), Mapping):
        return [f"map of {form}" for form in forms_of(schema["additionalProperties"], schemas)]
    return [schema.get("format") or schema.get("type") or "any"]


def _commands() -> Iterator[tuple[str, Members]]:
    yield PROGRAM, {name: forms for each in COMMON for name, forms in read_parameter(each, 0)}
    for path, command in leaf_commands(root):
        parameters = command.get_params(click.Context(command))
        own = [each for each in parameters if each not in COMMON and "--help" not in each.opts]
        positions = {
            each.name: position
            for position, each in enumerate(
                (each for each in own if isinstance(each, click.Argument)), 1
            )
        }
        yield (
            " ".join([PROGRAM, *path]),
            {
                name: forms
                for each in own
                for name, forms in read_parameter(each, positions.get(each.name, 0))
            },
        )


def read_parameter(parameter: click.Parameter, position: int) -> Iterator[tuple[str, str]]:
    """Yield the names of an option, or the position of an argument, with what it takes."""
    if isinstance(parameter.type, click.Choice):
        forms = [str(getattr(each, "value", each)) for each in parameter.type.choices]
    else:
        forms = ["flag" if getattr(parameter, "is_flag", False) else parameter.type.name]
    if parameter.multiple or parameter.nargs != 1:
        forms.append("several")
    written = " | ".join([REQUIRED] * parameter.required + forms)
    names = [f"argument {position}"] if position else parameter.opts + parameter.secondary_opts
    yield from ((name, written) for name in names)


def _column(column: Column[object]) -> tuple[str, str]:
    return column.name, f"{column.type} | null" if column.nullable else str(column.type)
