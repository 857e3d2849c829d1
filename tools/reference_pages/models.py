"""Fields of pydantic models as tables, from their types, defaults and described attributes."""

import inspect
import re
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from tools.reference_pages.markdown import code, table

NAMES = {bool: "boolean", float: "number", int: "integer", str: "text"}
"""Types as people who write YAML call them."""


def fields_table(model: type[BaseModel]) -> str:
    """Return a model's fields: name, type, default and meaning."""
    described = attributes_of(model)
    rows = [
        (code(name), type_name(each.annotation), _default(each), _about(described, name, each))
        for name, each in model.model_fields.items()
    ]
    return table(("field", "type", "default", "meaning"), rows)


def _about(described: dict[str, str], name: str, field: FieldInfo) -> str:
    return field.description or described.get(name, "")


def _default(field: FieldInfo) -> str:
    return "required" if field.is_required() else shown(field.get_default())


def shown(value: object) -> str:
    """Return a default as people write it in YAML or in the environment."""
    if value is None or value == () or isinstance(value, BaseModel):
        return ""
    return code(str(value).lower() if isinstance(value, bool) else value)


def attributes_of(described: type) -> dict[str, str]:
    """Return what a class's docstring says of each attribute."""
    text = inspect.cleandoc(described.__doc__ or "").partition("Attributes:\n")[2]
    return {
        name: " ".join(about.split())
        for name, about in re.findall(
            r"^ {4}(\w+): (.*?)(?=^ {4}\w+: |\Z)", text, re.DOTALL | re.MULTILINE
        )
    }


def type_name(annotation: Any) -> str:
    """Return a type as it is written, without the names of modules."""
    if get_origin(annotation) is Literal:
        return ", ".join(map(code, get_args(annotation)))
    if get_origin(annotation) is Annotated:
        return type_name(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        kinds = [each for each in get_args(annotation) if each is not NoneType]
        return " or ".join(map(type_name, kinds))
    if get_origin(annotation) in (tuple, list):
        return f"list of {type_name(get_args(annotation)[0])}"
    return NAMES.get(annotation, getattr(annotation, "__name__", str(annotation)))
