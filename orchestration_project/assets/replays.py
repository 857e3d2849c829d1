"""The replay job of a domain: it launches load runs that take recorded deliveries, and ends."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import dagster as dg
from pydantic import Field

from orchestration_project.engine.contracts.job_kinds import replay_job_name, replay_op
from orchestration_project.engine.contracts.job_options import describe_job
from orchestration_project.engine.contracts.partition_tags import RANGE_END, RANGE_START
from orchestration_project.engine.contracts.roles import REQUIRES_ADMIN
from orchestration_project.engine.loads import ReplayOptions, read_partition_keys
from orchestration_project.engine.options import JobOptions, build_real_config, report_dry_run
from orchestration_project.engine.replay_plans import Replay, ReplayRequest, ReplayRuns
from orchestration_project.engine.warehouse.recorded import parse_group_id
from orchestration_project.errors import ConfigurationError, UnknownNameError
from orchestration_project.registry import Job
from orchestration_project.services.backfills import build_launch_tags, request_backfill
from orchestration_project.services.ledger.rules.entries import BY_CLI, LAUNCHED_BY
from orchestration_project.services.metadata import log_metadata


class ReplaySelection(JobOptions):
    """Recorded deliveries of a table; one of the four ways to choose them is given."""

    table: str = Field(
        examples=["finra_otc_weekly"], description="Table whose deliveries are replayed."
    )
    partitions: list[str] = Field(
        default_factory=list,
        examples=[["T1|2025-11-10"]],
        description="Partition keys; of prices_daily symbols, of documents_pages days.",
    )
    filters: dict[str, str] = Field(
        default_factory=dict,
        examples=[{"tier": "T1", "from": "2025-11-10"}],
        description="Choice of partitions, by the options of the command replay: tier, from, to.",
    )
    all_partitions: bool = Field(
        default=False, description="Replay all partitions that have a recorded delivery."
    )
    dry_run: bool = Field(
        default=True, description="Dry run: only list the runs; false launches them."
    )


class ReplayTables(ReplaySelection, ReplayOptions):
    """Recorded deliveries to replay, and how."""


def build_replay_job(
    domain: str, replays: Sequence[Replay], model: type[ReplaySelection] = ReplayTables
) -> Job:
    """Return the job that replays tables of a domain; ``model`` has the options of its op."""
    by_table = {replay.table: replay for replay in replays}
    op = replay_op(domain)

    @dg.op(name=op, out=dg.Out(dg.Nothing), required_resource_keys={"settings", "warehouse"})
    def launch(
        context: dg.OpExecutionContext,
        config: model,  # pyright: ignore[reportInvalidTypeForm] - a model of the domain's own
    ) -> None:
        """Launch load runs of recorded deliveries, or execute them where no daemon started this.

        Raises:
            ConfigurationError: The table is unknown or an admin's, or nothing is chosen.
            Failure: A run that this process executed failed.
        """
        if config.table not in by_table:
            raise ConfigurationError(
                f"invalid table: expected one of {', '.join(by_table)}", found=config.table
            )
        _replay_table(context, by_table[config.table], config)

    @dg.job(
        name=replay_job_name(domain),
        description=describe_job(
            f"Replays recorded deliveries of {', '.join(by_table)} by the present rules, without a "
            "request to the source; a dry run by default.",
            op,
            model,
        ),
        tags={"domain": domain},
    )
    def replay_job() -> None:
        launch()

    return Job(definition=replay_job, parameters=(), real_config=build_real_config(op))


def _replay_table(context: dg.OpExecutionContext, replay: Replay, config: ReplaySelection) -> None:
    """Launch the runs of a table that the config chooses, or in a dry run report them."""
    resources = context.resources
    plan = replay.plan_runs(_request(replay, config), resources.settings, resources.warehouse)
    reported = report_dry_run(context.log, "nothing is replayed", is_dry_run=config.dry_run)
    reported |= {"replayed": plan.description, "run_count": len(plan.ranges)}
    if not config.dry_run:
        run_config = replay.run_config(plan, _select_options(config))
        reported |= _launch(context, replay, plan, run_config)
    context.add_output_metadata(log_metadata(reported))


def _request(replay: Replay, config: ReplaySelection) -> ReplayRequest:
    """Return the deliveries that the config chooses.

    Raises:
        ConfigurationError: It has none or several of the ways to choose, or an unknown filter.
    """
    group = getattr(config, "group_id", None)
    chosen = (group, config.partitions, config.filters, config.all_partitions)
    if sum(map(bool, chosen)) != 1:
        raise ConfigurationError(
            "invalid choice: expected one of group_id, partitions, filters, all_partitions",
            found=f"{sum(map(bool, chosen))} of them",
            remedy="give one of them in the run's config",
        )
    keys = [parse_group_id(group)[1]] if group else config.partitions
    filters = {name: _read_filter(replay, name, text) for name, text in config.filters.items()}
    return ReplayRequest(partitions=keys, filters=filters)


def _read_filter(replay: Replay, name: str, text: str) -> str | date:
    """Return a filter's value.

    Raises:
        ConfigurationError: The table has no such filter, or the filter no such value.
    """
    declared = {replay_filter.name: replay_filter for replay_filter in replay.filters}.get(name)
    if declared is None:
        names = ", ".join(replay_filter.name for replay_filter in replay.filters) or "none"
        raise ConfigurationError(f"invalid filter of {replay.table}: expected {names}", found=name)
    if declared.choices and text not in declared.choices:
        expected = ", ".join(declared.choices)
        raise ConfigurationError(f"invalid {name}: expected one of {expected}", found=text)
    try:
        return date.fromisoformat(text) if declared.is_date else text
    except ValueError:
        expected = "a date, e.g. 2026-11-02"
        raise ConfigurationError(f"invalid {name}: expected {expected}", found=text) from None


def _select_options(config: ReplaySelection) -> Mapping[str, Any]:
    """Return the options of the runs: those that choose no delivery."""
    model_dump = config.model_dump(mode="json", exclude_none=True)
    return {
        name: model_dump[name] for name in model_dump if name not in ReplaySelection.model_fields
    }


def _launch(
    context: dg.OpExecutionContext,
    replay: Replay,
    plan: ReplayRuns,
    run_config: Mapping[str, Any],
) -> Mapping[str, Any]:
    """Request a backfill and name it, or execute the runs here if no daemon started this one.

    Raises:
        ConfigurationError: Only an admin may load the table.
        Failure: A run failed.
    """
    job = context.repository_def.get_job(replay.job)
    _refuse_admin_tables(context, replay, job)
    spans = [{RANGE_START: first, RANGE_END: last} for first, last in plan.ranges]
    if _has_launcher(context.run):
        title = f"Replay of {plan.description}"
        return {"backfill": _request_backfill(context, job, spans, run_config, title)}
    _execute_here(context, job, spans, run_config)
    return {}


def _refuse_admin_tables(
    context: dg.OpExecutionContext, replay: Replay, job: dg.JobDefinition
) -> None:
    graph = context.repository_def.asset_graph
    assets = job.asset_layer.executable_asset_keys
    if any(REQUIRES_ADMIN.keys() & graph.get(asset).tags for asset in assets):
        raise UnknownNameError(
            f"invalid table {replay.table}: expected one that an operator may load",
            remedy=f"an admin launches the job {replay.job} with replay: true",
        )


def _request_backfill(
    context: dg.OpExecutionContext,
    job: dg.JobDefinition,
    spans: Sequence[Mapping[str, str]],
    run_config: Mapping[str, Any],
    title: str,
) -> str:
    return request_backfill(
        context.instance,
        context.repository_def,
        sorted(job.asset_layer.executable_asset_keys),
        [key for span in spans for key in read_partition_keys(span, job.partitions_def)],
        tags=build_launch_tags(context.job_name, context.run.tags),
        title=title,
        run_config=run_config,
    )


def _execute_here(
    context: dg.OpExecutionContext,
    job: dg.JobDefinition,
    spans: Sequence[Mapping[str, str]],
    run_config: Mapping[str, Any],
) -> None:
    """Execute a run over each span in this process, one after another.

    Raises:
        Failure: A run failed.
    """
    tags = build_launch_tags(context.job_name, context.run.tags)
    runs = [
        job.execute_in_process(
            instance=context.instance,
            run_config=dict(run_config),
            tags={**tags, **span},
            raise_on_error=False,
        )
        for span in spans
    ]
    if failed := [run.run_id for run in runs if not run.success]:
        raise dg.Failure(
            f"{len(failed)} of {len(runs)} runs failed, e.g. {failed[0]}", allow_retries=False
        )


def _has_launcher(run: dg.DagsterRun) -> bool:
    """Whether a launcher started the run; not in `dagster job execute`, or in a test."""
    return run.remote_job_origin is not None and run.tags.get(LAUNCHED_BY) != BY_CLI
