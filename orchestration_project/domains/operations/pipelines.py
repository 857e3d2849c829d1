"""Pipelines of the API, and the parameters that name a partition."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from orchestration_project.errors import ConfigurationError


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """A parameter by which callers name a part of a partition's key.

    Attributes:
        to_key: Returns the part of the key that a value means.
    """

    name: str
    to_key: Callable[[str], str] = str


@dataclass(frozen=True)
class Pipeline:
    """A job under the name by which callers run it; its partition is named by ``parameters``."""

    job: str
    parameters: tuple[Parameter, ...] = ()


def partition_key(pipeline: Pipeline, given: Mapping[str, str]) -> str | None:
    """Return the key of the partition that parameters name; None: it has no parameters.

    Raises:
        ConfigurationError: One is missing, not known, or means nothing.
    """
    names = [parameter.name for parameter in pipeline.parameters]
    unknown = sorted(set(given).difference(names))
    missing = [name for name in names if name not in given]
    if unknown or missing:
        raise ConfigurationError(
            f"{pipeline.job} does not take {', '.join(unknown)}"
            if unknown
            else f"{pipeline.job} needs {', '.join(missing)}",
            expected=", ".join(names) or "no parameter",
        )
    parts = [parameter.to_key(given[parameter.name]) for parameter in pipeline.parameters]
    return "|".join(parts) or None


def _day(text: str) -> str:
    try:
        return f"{datetime.fromisoformat(text):%Y-%m-%d}"
    except ValueError:
        raise ConfigurationError(
            f"invalid day {text!r}: expected a date, e.g. 2026-11-02"
        ) from None


DAY = Parameter(name="partition", to_key=_day)
"""Partition of a domain whose partitions are UTC days."""
