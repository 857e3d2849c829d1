"""Jobs of several kinds of work: the config of their one op selects exactly one kind."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from inspect import signature
from typing import Any, TypeAlias

import dagster as dg

from orchestration_project.engine.contracts.job_options import describe_job, describe_kinds
from orchestration_project.engine.contracts.roles import REQUIRES_ADMIN, build_admin_tags
from orchestration_project.engine.dagster_private.definitions import declare_model
from orchestration_project.engine.options import JobOptions, build_kinds_model
from orchestration_project.services.links import build_launchpad_url

AssetEvent: TypeAlias = dg.AssetCheckResult | dg.AssetObservation | dg.MaterializeResult[Any]

OpEvent: TypeAlias = dg.AssetCheckEvaluation | dg.AssetMaterialization | dg.AssetObservation


@dataclass(frozen=True)
class Kind:
    """A kind of work of a job.

    Attributes:
        name: Its name in the config of the op.
        summary: What it does, in a sentence.
        options: Its options.
        run: Does it: takes the context, the options and resources by their names; returns events.
        requires_admin: Whether only an admin may run it.
        launches: Options of usual launches, by the name of the link to the filled launchpad.
    """

    name: str
    summary: str
    options: type[JobOptions]
    run: Callable[..., Iterable[AssetEvent] | AssetEvent | None]
    requires_admin: bool = False
    launches: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def resources(self) -> Sequence[str]:
        """Names of the resources that it takes."""
        return list(signature(self.run).parameters)[2:]


def build_kinds_job(name: str, op: str, summary: str, kinds: Sequence[Kind]) -> dg.JobDefinition:
    """Return the job ``name``, whose op runs the kind that its config selects.

    The config is a selector without default, so Dagster refuses a launch without a kind.
    """
    by_name = {kind.name: kind for kind in kinds}
    models = {kind.name: kind.options for kind in kinds}

    @dg.op(
        name=op,
        out=dg.Out(dg.Nothing),
        config_schema=dg.Selector(
            {kind: model.to_config_schema().as_field() for kind, model in models.items()}
        ),
        required_resource_keys={name for kind in kinds for name in kind.resources},
        tags=build_admin_tags([kind.name for kind in kinds if kind.requires_admin]),
    )
    def run_kind(context: dg.OpExecutionContext) -> Iterator[OpEvent | dg.Output[None]]:
        """Run the selected kind, and yield its events."""
        [(selected, options)] = context.op_config.items()
        yield from _yield_events(context, by_name[selected], options)
        yield dg.Output(None)

    declare_model(run_kind, build_kinds_model(op, models))
    text = describe_kinds(summary, op, {kind.name: (kind.summary, kind.options) for kind in kinds})
    return _build_job(name, text + _launch_links(name, op, kinds), run_kind)


def _launch_links(job: str, op: str, kinds: Sequence[Kind]) -> str:
    """Return the Markdown of links that open the launchpad with a config filled in."""
    links = [
        f"- [{title}]({build_launchpad_url(job, op, note='', **{kind.name: options})})"
        for kind in kinds
        for title, options in kind.launches.items()
    ]
    return "\n\nLaunchpad with its config filled in:\n\n" + "\n".join(links) if links else ""


def build_kind_job(name: str, kind: Kind) -> dg.JobDefinition:
    """Return the job ``name``, whose op runs its only kind."""

    @dg.op(
        name=kind.name,
        out=dg.Out(dg.Nothing),
        config_schema=kind.options.to_config_schema().as_field(),
        required_resource_keys=set(kind.resources),
        tags=REQUIRES_ADMIN if kind.requires_admin else {},
    )
    def run_kind(context: dg.OpExecutionContext) -> Iterator[OpEvent | dg.Output[None]]:
        """Run the kind, and yield its events."""
        yield from _yield_events(context, kind, context.op_config)
        yield dg.Output(None)

    declare_model(run_kind, kind.options)
    return _build_job(name, describe_job(kind.summary, kind.name, kind.options), run_kind)


def _build_job(name: str, text: str, op: dg.OpDefinition) -> dg.JobDefinition:
    @dg.job(name=name, description=text, tags={"domain": "operations"})
    def job() -> None:
        op()

    return job


def _yield_events(
    context: dg.OpExecutionContext, kind: Kind, options: Mapping[str, Any]
) -> Iterator[OpEvent]:
    """Run a kind, and yield each of its events as an op does, once it is there."""
    resources = {name: getattr(context.resources, name) for name in kind.resources}
    outcome = kind.run(context, kind.options(**options), **resources)
    if outcome is None:
        return
    single = isinstance(outcome, dg.AssetCheckResult | dg.AssetObservation | dg.MaterializeResult)
    for event in [outcome] if single else outcome:
        if isinstance(event, dg.AssetObservation):
            yield event
        elif isinstance(event, dg.AssetCheckResult):
            yield _convert_result(event)
        else:
            yield dg.AssetMaterialization(_read_key(event), metadata=event.metadata)
            yield from map(_convert_result, event.check_results or ())


def _read_key(event: dg.AssetCheckResult | dg.MaterializeResult[Any]) -> dg.AssetKey:
    if event.asset_key is None:
        raise AssertionError("an event of a kind names its asset")
    return event.asset_key


def _convert_result(result: dg.AssetCheckResult) -> dg.AssetCheckEvaluation:
    return dg.AssetCheckEvaluation(
        asset_key=_read_key(result),
        check_name=str(result.check_name),
        passed=result.passed,
        metadata=result.metadata,
        severity=result.severity,
        description=result.description,
    )
