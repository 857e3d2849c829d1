"""Whether the config of a run keeps the ranges of its ops' models, which Dagster does not know."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from orchestration_project.domains.operations.job_options import range_of
from orchestration_project.errors import ConfigurationError

EXPECTED = "Input should be "
"""How pydantic begins what it expected."""

OUTSIDE = ("greater_than", "greater_than_equal", "less_than", "less_than_equal")
"""The types of pydantic's errors of a number outside of its range."""


def require_valid(run_config: Mapping[str, Any], models: Mapping[str, type[BaseModel]]) -> None:
    """Make sure that the model of each op can take what a run config gives the op.

    Args:
        run_config: As the Launchpad takes it: ``{"ops": {op: {"config": {field: value}}}}``.
        models: The models by op; an op without one is not looked at.

    Raises:
        ConfigurationError: Naming each field that has an invalid value.
    """
    problems = [
        problem
        for op, model in models.items()
        if (given := within(run_config, "ops", op, "config"))
        for problem in _problems(op, model, given)
    ]
    if problems:
        raise ConfigurationError("; ".join(problems))


def within(config: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    """Return what stands at a path of a config; nothing where it has another shape."""
    found: Any = config
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _expected(model: type[BaseModel], problem: ErrorDetails) -> str:
    """Return what a model expects of a field: its range, where a number is outside of it."""
    field = model.model_fields.get(str(problem["loc"][0]))
    if field is not None and problem["type"] in OUTSIDE:
        return range_of(field)
    return str(problem["msg"]).removeprefix(EXPECTED)


def _problems(op: str, model: type[BaseModel], given: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each field that a model refuses; ``{env: NAME}`` is read by Dagster."""
    try:
        model(**given)
    except ValidationError as error:
        return [
            f"invalid {'.'.join(map(str, each['loc']))} in the config of {op}: expected "
            f"{_expected(model, each)}, found {each['input']!r}"
            for each in error.errors()
            if not isinstance(each["input"], Mapping)
        ]
    return []
