"""A `rest_api` source of dlt as a mapping: with the partition in its texts, and secrets by path."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from datetime import date
from typing import Any

from orchestration_project.own.declarations import filled, names_partition
from orchestration_project.own.reading import invalid

SECRET_MEMBERS = ("token", "api_key", "password", "client_secret", "private_key", "access_token")
"""Members of an authentication that are secrets."""


def rest_api_maker(config: Mapping[str, Any], secrets: Mapping[str, str]) -> Callable[..., Any]:
    """Return a function that makes a source of ``config`` for a day, with secrets at their paths.

    ``{partition:%Y-%m-%d}`` in a text stands for the day.

    Raises:
        ConfigurationError: A path of ``secrets`` leads to nothing, or ``config`` has a secret.
    """
    _refuse_secrets(config)
    for path in secrets:
        _put(deepcopy(dict(config)), path, "")

    def make(day: date | None = None, **values: str) -> Any:
        from dlt.sources.rest_api import rest_api_source

        made = _filled(config, day)
        for path, value in values.items():
            _put(made, path, value)
        return rest_api_source(made)

    def make_without_day(**values: str) -> Any:
        return make(None, **values)

    return make if _names_partition(config) else make_without_day


def _refuse_secrets(value: Any, member: str = "") -> None:
    """Make sure that no authentication has the value of a secret: its variable is to be named."""
    if isinstance(value, Mapping):
        if member == "auth" and (given := set(SECRET_MEMBERS) & set(value)):
            expected = "paths and environment variables in secrets, and no value in auth"
            raise invalid("rest_api", expected, f"a value of {', '.join(sorted(given))}")
        for name, each in value.items():
            _refuse_secrets(each, name)
    for each in value if isinstance(value, list) else ():
        _refuse_secrets(each)


def _put(config: dict[str, Any], path: str, value: str) -> None:
    *members, name = path.split(".")
    found: Any = config
    for member in members:
        found = found.get(member) if isinstance(found, dict) else None
    if not isinstance(found, dict):
        raise invalid("secrets", "paths in rest_api, such as client.auth.token", path)
    found[name] = value


def _filled(value: Any, day: date | None) -> Any:
    """Return a copy of a value with the day in the places of its partition."""
    if isinstance(value, Mapping):
        return {name: _filled(member, day) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [_filled(member, day) for member in value]
    return filled(value, day) if isinstance(value, str) and day is not None else deepcopy(value)


def _names_partition(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_names_partition, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_names_partition, value))
    return isinstance(value, str) and names_partition(value)
