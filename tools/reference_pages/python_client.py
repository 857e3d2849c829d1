"""The page of the Python client: every method with its signature and docstring."""

import inspect
import re
from collections.abc import Callable
from typing import Any

from orchestration_project.client import ApiError, Client, RunFailedError, frame_of_parquet
from orchestration_project.client.data import DataMethods
from orchestration_project.client.extensions import PluginMethods
from orchestration_project.client.installation import InstallationMethods
from orchestration_project.client.messages import MqttMethods
from orchestration_project.client.program_logs import LogMethods
from orchestration_project.client.runs import RunMethods
from tools.reference_pages.markdown import page, paragraph, section

GROUPS = {
    "Runs": RunMethods,
    "Data": DataMethods,
    "MQTT": MqttMethods,
    "Logs": LogMethods,
    "Plugins": PluginMethods,
    "Installation": InstallationMethods,
}


def write() -> str:
    """Return the page."""
    functions = [_function("frame_of_parquet", frame_of_parquet)]
    raised = [
        section(f"`{each.__name__}`", _text(each), level=3) for each in (ApiError, RunFailedError)
    ]
    return page(
        "python-client",
        [
            section("`Client`", _signature("Client", Client.__init__), _text(Client)),
            *(section(title, *_methods(methods)) for title, methods in GROUPS.items()),
            section("Functions", *functions),
            section("Errors", *raised),
        ],
    )


def _methods(declared: type) -> list[str]:
    return [_function(name, method) for name, method in public_methods(declared).items()]


def public_methods(declared: type) -> dict[str, Callable[..., Any]]:
    """Return the public methods that a class itself declares, by name."""
    return {
        name: member
        for name, member in vars(declared).items()
        if inspect.isfunction(member) and not name.startswith("_")
    }


def _function(name: str, function: Callable[..., Any]) -> str:
    return section(f"`{name}`", _signature(name, function), _text(function), level=3)


def _signature(name: str, function: Callable[..., Any]) -> str:
    signature = inspect.signature(function)
    shown = [
        each.replace(annotation=inspect.Parameter.empty)
        if name == "Client" and each.name in ("transport", "sleep")
        else each
        for each in signature.parameters.values()
        if each.name not in ("self", *(("transport", "sleep") if name == "Client" else ()))
    ]
    written = str(signature.replace(parameters=shown))
    written = shorten(written)
    if name == "Client":
        written = written.partition(" ->")[0]
    text = f"{name}{written}"
    if len(text) > 96:
        head, _, tail = text.rpartition(")")
        name, _, inner = head.partition("(")
        text = f"{name}(\n    {_split(inner)},\n){tail}"
    return f"```python\n{text}\n```"


def shorten(annotation: str) -> str:
    """Return a signature or annotation without the modules of classes, and without quotes."""
    return re.sub(r"\b(?:[a-z_]+\.)+(?=[A-Z])", "", annotation).replace("'", "")


def _split(inner: str) -> str:
    """Break between parameters, but not within brackets."""
    depth, broken = 0, ""
    for character in inner:
        depth += (character in "([{") - (character in ")]}")
        broken += ",\n   " if character == "," and not depth else character
    return broken


def _text(described: object) -> str:
    text = inspect.cleandoc(getattr(described, "__doc__", None) or "").replace("``", "`")
    parts = re.split(r"\n\n|\n(?=\w+:\n)", text)
    return "\n\n".join(_part(each) for each in parts)


def _part(text: str) -> str:
    """Return a paragraph, or a part such as `Raises:` as a list."""
    title, _, rest = text.partition("\n")
    if not (title.endswith(":") and rest.startswith("    ")):
        return paragraph(text)
    items = re.split(r"\n(?= {4}\S)", rest)
    lines = [paragraph(f"- {_item(item)}").replace("\n", "\n  ") for item in items]
    return "\n".join([f"{title}", "", *lines])


def _item(text: str) -> str:
    name, _, about = " ".join(text.split()).partition(": ")
    return f"`{name}`: {about}" if about else name
