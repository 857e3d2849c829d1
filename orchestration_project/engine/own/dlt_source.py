"""A resource of dlt as the source of a dataset, and its rows as JSON with exact values.

dlt is imported when a partition is read, and not by a declaration.
"""

import json
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from inspect import Parameter, signature
from math import isfinite
from typing import Any
from uuid import UUID

from orchestration_project.engine.contracts.partitioning import fill_json, has_day_placeholder
from orchestration_project.engine.own.formats.json_documents import read_json
from orchestration_project.engine.own.reading import Reading, build_config_error, parse_rate
from orchestration_project.errors import SourceError, did_you_mean

CAPTURED: Sequence[str] = ("answers", "rows")
"""Kinds of captures of a resource: its answers over HTTP, or the rows that it yields."""

DAY = "day"
"""Name of the parameter of a function that takes the day of a partition."""


@dataclass(frozen=True, kw_only=True)
class DltSource:
    """A resource of dlt; `dlt_source` makes it.

    Attributes:
        make: Returns a source or resource of dlt; it is called for each read of a partition.
        resource: Name of the resource; empty: the only one.
        secrets: Environment variables of arguments, by the name of the argument.
        is_incremental: Whether a read begins where the one before it ended.
        requests_per_second: Limit of requests through dlt's client.
        max_attempts: Attempts of such a request.
        reading: How captured bytes are read.
        takes_day: Whether ``make`` takes the day of the partition.
        code: Bytes of further files that make records, for the version of the rules.
    """

    make: Callable[..., Any] = field(repr=False)
    resource: str
    secrets: Mapping[str, str]
    is_incremental: bool
    requests_per_second: int
    max_attempts: int
    reading: Reading
    takes_day: bool
    code: bytes = field(default=b"", repr=False)

    @property
    def captures_answers(self) -> bool:
        """Whether answers over HTTP are captured, and not rows."""
        return self.reading.parse is not None


def dlt_source(
    make: Callable[..., Any],
    *,
    resource: str = "",
    capture: str = "answers",
    incremental: bool = False,
    secrets: Mapping[str, str] | None = None,
    rate: str = "2/s",
    retries: int = 4,
) -> DltSource:
    """Return a resource of dlt as a source.

    Args:
        make: Returns a source or resource of dlt. A parameter ``day`` gets the day of the
            partition, those of ``secrets`` get secrets.
        resource: Name of the resource. Default: the only one.
        capture: ``answers`` of requests through dlt's client, as of `rest_api`; or ``rows``, where
            the resource reads from elsewhere, as `sql_database` does.
        incremental: Whether a read begins where the one of the partition before ended: a partition
            has the rows that were new then.
        secrets: Environment variables of arguments of ``make``, such as ``{"token": "API_TOKEN"}``.
        rate: Requests a second at most through dlt's client, such as ``2/s``.
        retries: Further attempts after a fault that may pass.
    """
    if capture not in CAPTURED:
        raise build_config_error(
            "capture", ", ".join(CAPTURED), capture, did_you_mean(capture, CAPTURED)
        )
    named = dict(secrets or {})
    per_second = parse_rate(rate, retries, named.values())
    is_replayed = capture == "answers"
    return DltSource(
        make=make,
        resource=resource,
        secrets=named,
        is_incremental=incremental,
        requests_per_second=per_second,
        max_attempts=retries + 1,
        reading=Reading(parse=iterate_rows) if is_replayed else Reading(format="ndjson"),
        takes_day=_can_take_day(make, named),
    )


def _can_take_day(make: Callable[..., Any], secrets: Mapping[str, str]) -> bool:
    """Whether a function takes the day; it must take each secret, and nothing else."""
    try:
        parameters = signature(make).parameters
    except (TypeError, ValueError):
        expected = "a function that returns a source or resource of dlt"
        raise build_config_error("make of dlt_source", expected, type(make).__name__) from None
    takes_more = any(each.kind is Parameter.VAR_KEYWORD for each in parameters.values())
    for name in secrets:
        if name not in parameters and not takes_more:
            remedy = did_you_mean(name, parameters)
            raise build_config_error("secrets", "names of parameters of the function", name, remedy)
    for name, parameter in parameters.items():
        is_named = parameter.kind in (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
        is_required = is_named and parameter.default is Parameter.empty
        if is_required and name != DAY and name not in secrets:
            expected = "parameters day and those of secrets"
            raise build_config_error(
                "make of dlt_source", expected, name, f"name {name} in secrets="
            )
    return DAY in parameters


def iterate_rows(body: bytes) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of lines of JSON, with members of objects also at their paths with dots."""
    for line in body.split(b"\n"):
        if line:
            yield dict(_walk_members(read_json(line), ""))


def _walk_members(value: Mapping[str, Any], path: str) -> Iterator[tuple[str, Any]]:
    for name, member in value.items():
        if isinstance(member, Mapping):
            yield from _walk_members(member, f"{path}{name}.")
        yield f"{path}{name}", member


def build_arguments(source: DltSource, day: date, secrets: Mapping[str, str]) -> Mapping[str, Any]:
    """Return the arguments of ``make``."""
    return {**({DAY: day} if source.takes_day else {}), **secrets}


def iterate_lines(item: Any, resource: str) -> Iterator[str]:
    """Yield a line of JSON for each row of an item that a resource yields.

    Raises:
        SourceError: It is neither a mapping nor a table, or has a value without a JSON form.
    """
    if hasattr(item, "to_batches") or hasattr(item, "to_pylist"):  # a table of Arrow
        item = item.to_pylist()
    elif hasattr(item, "to_records") and hasattr(item, "to_dict"):  # a frame of pandas
        item = _convert_frame(item)
    if isinstance(item, list | tuple):
        for value in item:
            yield from iterate_lines(value, resource)
    elif isinstance(item, Mapping):
        yield _render_json(item, resource)
    elif item is not None:
        raise SourceError(
            f"the resource {resource} yields what is not a row",
            expected="mappings, lists of them, or tables of Arrow or pandas",
            found=type(item).__name__,
            remedy="let the resource yield a mapping for each row",
        )


def _convert_frame(frame: Any) -> Any:
    import pyarrow as pa

    return pa.Table.from_pandas(frame, preserve_index=False).to_pylist()


def _render_json(value: Any, resource: str) -> str:
    """Return a value as JSON: decimals with all digits, bytes as Base64."""
    value = value.value if isinstance(value, Enum) else value
    if isinstance(value, Mapping):
        members = (
            f"{json.dumps(str(name), ensure_ascii=False)}: {_render_json(member, resource)}"
            for name, member in value.items()
        )
        return f"{{{', '.join(members)}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_render_json(item, resource) for item in value)}]"
    if isinstance(value, Decimal) and value.is_finite():
        return f"{value:f}"
    if isinstance(value, float) and isfinite(value):
        return repr(float(value))
    return json.dumps(_convert_value(value, resource), ensure_ascii=False)


def _convert_value(value: Any, resource: str) -> bool | int | str | None:
    if value is None or isinstance(value, bool | str | int):
        return value
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, bytes | bytearray | memoryview):
        return b64encode(value).decode()
    if isinstance(value, UUID | Decimal | float):
        return str(value)
    raise SourceError(
        f"the resource {resource} yields a value without a JSON form",
        expected="text, number, decimal, date, timestamp, truth, bytes, UUID, list or mapping",
        found=type(value).__name__,
        remedy="convert it in the resource, such as by add_map",
    )


SECRET_MEMBERS = ("token", "api_key", "password", "client_secret", "private_key", "access_token")
"""Members of an authentication that are secrets."""


def build_rest_factory(config: Mapping[str, Any], secrets: Mapping[str, str]) -> Callable[..., Any]:
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

        filled = fill_json(config, day)
        for path, value in values.items():
            _put(filled, path, value)
        return rest_api_source(filled)

    def make_without_day(**values: str) -> Any:
        return make(None, **values)

    return make if has_day_placeholder(config) else make_without_day


def _refuse_secrets(value: Any, member: str = "") -> None:
    """Make sure that no authentication has the value of a secret: its variable is to be named."""
    if isinstance(value, Mapping):
        if member == "auth" and (given_names := set(SECRET_MEMBERS) & set(value)):
            expected = "paths and environment variables in secrets, and no value in auth"
            raise build_config_error(
                "rest_api", expected, f"a value of {', '.join(sorted(given_names))}"
            )
        for name, item in value.items():
            _refuse_secrets(item, name)
    for item in value if isinstance(value, list) else ():
        _refuse_secrets(item)


def _put(config: dict[str, Any], path: str, value: str) -> None:
    *members, name = path.split(".")
    member_config: Any = config
    for member in members:
        member_config = member_config.get(member) if isinstance(member_config, dict) else None
    if not isinstance(member_config, dict):
        raise build_config_error("secrets", "paths in rest_api, such as client.auth.token", path)
    member_config[name] = value
