"""The base of the options of jobs: each description ends with the option's range or choices."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import dagster as dg
from pydantic import BaseModel, create_model

from orchestration_project.engine.contracts.job_options import OptionFields

OptionsT = TypeVar("OptionsT", bound=BaseModel)


class JobOptions(OptionFields, dg.Config):
    """Options of a job, as the launchpad lists them: Dagster's config schema has no ranges."""


def report_dry_run(log: logging.Logger, unchanged: str, *, is_dry_run: bool) -> dict[str, bool]:
    """Log that a run is a dry run, if it is, and return the first entry of its metadata.

    Args:
        log: The run's.
        unchanged: What a dry run leaves as it is, such as ``nothing is deleted``.
        is_dry_run: Whether it is one.
    """
    if is_dry_run:
        log.info(f"dry run: {unchanged}", extra={"event": "dry_run"})
    return {"dry_run": is_dry_run}


def build_real_config(op: str, kind: str | None = None) -> dict[str, Any]:
    """Return the run config of a job of ``op``, or a kind of it, whose run is not a dry run."""
    options = {"dry_run": False}
    return {"ops": {op: {"config": options if kind is None else {kind: options}}}}


def build_kinds_model(op: str, kinds: Mapping[str, type[JobOptions]]) -> type[dg.Config]:
    """Return the model of the config of an op that selects a kind: ``{kind: options}``."""
    fields: dict[str, Any] = {kind: (model | None, None) for kind, model in kinds.items()}
    return create_model(op, __base__=dg.Config, **fields)


def describe_defaults(model: type[BaseModel], defaults: Mapping[str, str]) -> None:
    """End the descriptions of options with their defaults, which the launchpad cannot show.

    Args:
        model: A class of its own; other models with these options keep their descriptions.
        defaults: Where the value comes from when a run does not give it, by option.
    """
    for name, default in defaults.items():
        field = model.model_fields[name]
        field.description = f"{field.description} Default: {default}."


def build_config(model: type[BaseModel]) -> type[BaseModel]:
    """Return the class of the config of an op with the options of a model."""
    return create_model(model.__name__, __base__=(model, JobOptions), __doc__=model.__doc__)


def add_default_texts(model: type[OptionsT], defaults: Mapping[str, str]) -> type[OptionsT]:
    """Return a class of the same options whose descriptions end with ``defaults``."""
    described = create_model(model.__name__, __base__=model)
    describe_defaults(described, defaults)
    return described


MAX_VALUES_SHOWN = 20


def show_configured(model: type[BaseModel], option: str, values: Sequence[str]) -> None:
    """End the description of an option with the values that are configured, where they are few.

    The launchpad does not enforce them: what is configured later is valid, too.
    """
    if 0 < len(values) <= MAX_VALUES_SHOWN:
        field = model.model_fields[option]
        field.description = f"{field.description} Configured: {', '.join(values)}."
