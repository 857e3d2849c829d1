"""Loads partitions of a dataset: a run of its job for each range, then a table of changes."""

import calendar
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from difflib import get_close_matches
from typing import Any

import click
import dagster as dg

from orchestration_project.cli import console
from orchestration_project.cli.domains import require_defined
from orchestration_project.cli.execution import (
    ProgressLine,
    Range,
    document,
    execute,
    failures,
    outcome_of,
    repository,
    results_of,
    run_over,
    unloaded_partitions,
    unpublished_lines,
)
from orchestration_project.cli.exit_statuses import EXIT_STATUSES
from orchestration_project.cli.full_disk import full_disk_explained
from orchestration_project.cli.known_names import store_datasets
from orchestration_project.engine.contracts.partition_tags import group_consecutive
from orchestration_project.engine.contracts.pipelines import (
    DateRange,
    KnownPartitions,
    Parameter,
    RangeSelection,
    propose_key,
    select_range,
)
from orchestration_project.engine.environment import open_warehouse
from orchestration_project.engine.loads import build_known_partitions
from orchestration_project.engine.replay_plans import RunSummary
from orchestration_project.errors import ConfigurationError, UnknownNameError
from orchestration_project.registry import Domain, Job
from orchestration_project.settings import load_settings


@dataclass(frozen=True)
class DatasetJob:
    """A dataset, and the job that loads it.

    Attributes:
        name: The name of its table with history, or that of the job.
        tables: All tables that the job writes.
        known: Its partitions, with their calendar.
        is_partitioned: Whether it has partitions.
        parameter: How the API reads a key, where that is one value.
        summary: What is shown of its runs.
    """

    name: str
    job: str
    tables: Sequence[str]
    known: KnownPartitions
    is_partitioned: bool
    parameter: Parameter | None
    summary: RunSummary

    @property
    def keys(self) -> Sequence[str]:
        """The keys of its partitions, in their order."""
        return self.known.keys

    def key_of(self, written: str) -> str:
        """Return the key of the partition that a person names.

        Raises:
            ConfigurationError: The dataset lacks that partition.
        """
        if written in self.keys:
            return written
        if self.parameter is not None and (key := _read(self.parameter, written)) in self.keys:
            return key
        likely = propose_key(written, self.known)
        raise UnknownNameError(
            f"{self.name} has no partition {written!r}",
            expected=f"one of {len(self.keys)} partitions, {self.keys[0]} to {self.keys[-1]}"
            if self.keys
            else "a partition; there is none yet",
            remedy=f"did you mean {likely!r}?" if likely else "",
        )


def _read(parameter: Parameter, written: str) -> str:
    try:
        return parameter.to_key(written)
    except ConfigurationError:
        return ""


def dataset_jobs() -> list[DatasetJob]:
    """Return all datasets, by name."""
    # Not at the top: this import reads the settings, and `main` reports invalid ones.
    from orchestration_project.catalog import REGISTRY

    datasets = [
        dataset for domain in REGISTRY.domains if domain.tables for dataset in _list_jobs(domain)
    ]
    store_datasets({dataset_job.name: dataset_job.keys for dataset_job in datasets})
    return sorted(datasets, key=lambda each: each.name)


def find_dataset(name: str) -> DatasetJob:
    """Return the dataset of that name, or the one that writes the table of that name.

    Raises:
        BadParameter: There is none.
    """
    jobs = dataset_jobs()
    for dataset_job in jobs:
        if name in (dataset_job.name, dataset_job.job):
            return dataset_job
    writing = [dataset_job for dataset_job in jobs if name in dataset_job.tables]
    if len(writing) == 1:
        return writing[0]
    require_defined(name)
    likely = get_close_matches(name, [dataset_job.name for dataset_job in jobs], 1)
    hint = f" Did you mean {likely[0]!r}?" if likely else ""
    raise click.BadParameter(
        f"unknown dataset {name!r}; `orchestrate datasets` lists all.{hint}",
        param_hint="DATASET",
    )


def _list_jobs(domain: Domain) -> Iterator[DatasetJob]:
    """Yield the datasets of a domain; of jobs that write the same tables, the first one loads."""
    with_history = {table.table.name for table in domain.tables}
    names: set[str] = set()
    for job in domain.definitions.jobs:
        dataset = _build_dataset(job, with_history)
        if dataset is not None and dataset.name not in names:
            names.add(dataset.name)
            yield dataset


def _build_dataset(job: Job, with_history: Collection[str]) -> DatasetJob | None:
    """Return the dataset that a job loads, None where it writes no table or needs more than a key.

    A job without partitions that the API cannot run by name takes its work from tags or config.
    """
    definition = repository().get_job(job.name)
    tables = _list_tables(definition)
    partitions = definition.partitions_def
    if not tables or (partitions is None and job.parameters is None):
        return None
    main = next((table for table in tables if table in with_history), None)
    asset = main if main in _list_assets(definition) else _list_assets(definition)[-1]
    parameters = job.parameters or ()
    name = main or job.name
    keys = partitions.get_partition_keys() if partitions else ()
    return DatasetJob(
        name=name,
        job=job.name,
        tables=tables,
        known=build_known_partitions(name, partitions, keys, job.first_setting),
        is_partitioned=partitions is not None,
        parameter=parameters[0] if len(parameters) == 1 else None,
        summary=RunSummary(assets=_list_assets(definition), audited=asset, rejecting=asset),
    )


def _list_tables(job: dg.JobDefinition) -> list[str]:
    """Return the tables of the assets that a job materializes."""
    graph = job.asset_layer.asset_graph
    entries = [
        graph.get(key).metadata.get("dagster/table_name")
        for key in graph.toposorted_asset_keys
        if key in job.asset_layer.executable_asset_keys
    ]
    return [str(name) for name in entries if name]


def _list_assets(job: dg.JobDefinition) -> list[str]:
    graph = job.asset_layer.asset_graph
    keys = job.asset_layer.executable_asset_keys
    return ["_".join(key.path) for key in graph.toposorted_asset_keys if key in keys]


def load(name: str, partitions: Sequence[str], options: Mapping[str, object]) -> int:
    """Load partitions by ``options`` of the run's config; return the exit status.

    Raises:
        UsageError: The dataset is unknown, it lacks an option, or partitions are missing or too
            many.
        ConfigurationError: A partition does not exist.
    """
    dataset = find_dataset(name)
    if partitions and not dataset.is_partitioned:
        raise click.UsageError(f"{dataset.name} has no partitions: leave PARTITION out")
    if dataset.is_partitioned and not partitions:
        example = f", e.g. '{dataset.keys[-1]}'" if dataset.keys else ""
        raise click.UsageError(f"{dataset.name} needs partitions{example}, or use `backfill`")
    config = _build_config(dataset, options) if options else None
    return _load(dataset, [dataset.key_of(partition) for partition in partitions], config)


def backfill(name: str, first: str, last: str, *, clip: bool = False) -> int:
    """Load all partitions from ``first`` to ``last``; return the exit status.

    Args:
        name: The dataset.
        first: The first date, month or key.
        last: The last one, included.
        clip: Whether a range that reaches beyond the known partitions is cut to them.

    Raises:
        UsageError: The dataset is unknown, it has no partitions, or an end is not a date.
        ConfigurationError: No partition lies between the two, or some would be that are not known.
    """
    dataset = find_dataset(name)
    if not dataset.is_partitioned:
        raise click.UsageError(f"{dataset.name} has no partitions: use `load {dataset.name}`")
    (part, start), (end_part, end) = _parse_end(first, "--from"), _parse_end(last, "--to")
    if part != end_part:
        raise click.UsageError(f"--from {first} and --to {last} name different partitions")
    selection = select_range(dataset.known, DateRange(start, end, part), clip=clip)
    return _load(dataset, selection.keys, selection=selection)


def _parse_end(written: str, option: str) -> tuple[str | None, date]:
    """Return the first part of a key, if one is given, and the day of an end of a backfill.

    Raises:
        BadParameter: It has no date.
    """
    part, _, day = written.rpartition("|")
    try:
        if len(day) == len("2026-09"):
            month = date.fromisoformat(f"{day}-01")
            days = calendar.monthrange(month.year, month.month)[1]
            return part or None, month.replace(day=1 if option == "--from" else days)
        return part or None, date.fromisoformat(day)
    except ValueError:
        raise click.BadParameter(
            f"{written!r} is not a date, month or partition key, e.g. 2026-09-07",
            param_hint=option,
        ) from None


def _build_config(dataset: DatasetJob, options: Mapping[str, object]) -> Mapping[str, object]:
    """Return the config of a run: the options go to the op of the job that has them.

    Raises:
        UsageError: No op has them.
    """
    for node in repository().get_job(dataset.job).nodes:
        definition = node.definition
        field = definition.config_field if isinstance(definition, dg.OpDefinition) else None
        if field and getattr(field.config_type, "fields", {}).keys() >= options.keys():
            return {"ops": {node.name: {"config": dict(options)}}}
    raise click.UsageError(f"{dataset.name} has no option {', '.join(options)}")


def _load(
    dataset: DatasetJob,
    keys: Sequence[str],
    config: Mapping[str, object] | None = None,
    *,
    selection: RangeSelection | None = None,
) -> int:
    ranges = group_consecutive(keys, dataset.keys)
    if console.OUTPUT.is_dry_run:
        runs = [first if first == last else f"{first} to {last}" for first, last in ranges]
        lines = [f"  {line}" for line in _render_range(selection)] + [f"  {run}" for run in runs]
        console.preview(
            "\n".join([f"{_format_count(len(ranges) or 1, 'run')} of {dataset.job}", *lines]),
            job=dataset.job,
            **_describe_range(selection),
            runs=ranges,
            partition_count=len(set(keys)),
        )
        return 0
    from orchestration_project.instance.storage import open_instance  # not to list datasets

    settings = load_settings()
    with (
        full_disk_explained(settings),
        open_instance() as instance,
        open_warehouse(settings) as warehouse,
    ):
        console.progress(f"database  {warehouse.shown_url}")
        for line in _render_range(selection):
            console.progress(line)
        partitions = _format_count(len(set(keys)), "partition")
        counts = f"{partitions} in {_format_count(len(ranges) or 1, 'run')}"
        console.progress(f"job       {dataset.job}: {counts}\n")
        with ProgressLine(len(set(keys)), keys) as progress:
            results = (
                run_over(
                    instance,
                    dataset.job,
                    ranges,
                    progress,
                    config,
                    tags=selection.tags if selection else {},
                    after_each=lambda span, result: progress.finish(
                        _select_keys(span, dataset.keys),
                        is_loaded=result.success,
                        outcomes=unloaded_partitions(result, dataset.summary.audited),
                    ),
                )
                if dataset.is_partitioned
                else [execute(instance, dataset.job, config=config)]
            )
        run_results = results_of(warehouse, results, dataset.summary)
    failed = [result for result in results if not result.success]
    if console.OUTPUT.is_json:
        values = document(run_results, progress.outcomes, results)
        console.emit({**_describe_range(selection), **values})
    else:
        lines = [str(run_results), *unpublished_lines(results), *failures(failed)]
        console.echo("\n".join(lines))
    return EXIT_STATUSES[outcome_of(results)]


def _render_range(selection: RangeSelection | None) -> list[str]:
    """Return the requested and the loaded dates of a backfill, and what differs between them."""
    if selection is None:
        return []
    return [
        f"requested {selection.requested}",
        f"loaded    {selection.loaded_range}",
        *(f"note      {note}" for note in selection.notes),
    ]


def _describe_range(selection: RangeSelection | None) -> Mapping[str, Any]:
    if selection is None:
        return {}
    return {**selection.tags, "notes": list(selection.notes)}


def _format_count(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _select_keys(span: Range, keys: Sequence[str]) -> Sequence[str]:
    """Return the keys from the first to the last of a range, which are consecutive."""
    first, last = span
    return keys[keys.index(first) : keys.index(last) + 1]
