"""Public names: assets, checks, jobs, settings, tables, API operations and commands.

`DOMAINS=all FINRA_DATASETS=all python -m tests.definition_surface` writes it to
`tests/definitions.txt`.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click
import dagster as dg
from sqlalchemy import Column

from orchestration_project.__main__ import root
from orchestration_project.catalog import REGISTRY
from orchestration_project.definitions import defs
from orchestration_project.gateway.api.app import operations_of
from orchestration_project.gateway.api.operation import Operation
from orchestration_project.settings import settings_class
from orchestration_project.tables.catalogue import METADATA
from orchestration_project.tables.views import VIEWS
from tools.reference_pages.cli import leaf_commands

FILE = Path(__file__).parent / "definitions.txt"


def surface() -> str:
    """Return the whole surface: a heading per section, then one line per name, sorted."""
    repository = defs.get_repository_def()
    jobs = [all_job for all_job in repository.get_all_jobs() if all_job.name != "__ASSET_JOB"]
    sections = {
        "assets": map(_asset, defs.resolve_all_asset_specs()),
        "asset checks": _checks(),
        "jobs": (f"{job.name}: {_listed(node.name for node in job.nodes)}" for job in jobs),
        "schedules": map(_schedule, repository.schedule_defs),
        "sensors": map(_sensor, repository.sensor_defs),
        "resources": defs.resources or {},
        "settings": (
            f"{name.upper()}={_default(model_field)}"
            for name, model_field in settings_class().model_fields.items()
        ),
        "tables": (
            f"{table.name}: {', '.join(map(_column, table.columns))}"
            for table in METADATA.tables.values()
        ),
        "indexes": (
            f"{table.name}: {index.name} ({_listed(map(str, index.expressions), is_sorted=False)})"
            + (", unique" if index.unique else "")
            for table in METADATA.tables.values()
            for index in table.indexes
        ),
        "views": (
            f"{name}: {', '.join(map(_column, view.table.columns))}" for name, view in VIEWS.items()
        ),
        "api": map(_operation, operations_of(REGISTRY)),
        "commands": _commands(),
    }
    return "\n".join(
        f"# {heading}\n" + "".join(f"{line}\n" for line in sorted(lines))
        for heading, lines in sections.items()
    )


def _listed(names: Iterable[str], *, is_sorted: bool = True) -> str:
    return ", ".join(sorted(names) if is_sorted else names)


def _asset(spec: dg.AssetSpec) -> str:
    needed = _listed(dep.asset_key.to_user_string() for dep in spec.deps)
    partitions = type(spec.partitions_def).__name__ if spec.partitions_def else "not partitioned"
    name = f"{spec.key.to_user_string()} in {spec.group_name}, {partitions}"
    return name + (f", from {needed}" if needed else "")


def _checks() -> Iterator[str]:
    graph = defs.resolve_asset_graph()
    for key in graph.asset_check_keys:
        is_blocking = graph.get_check_spec(key).blocking
        yield f"{key.asset_key.to_user_string()} {key.name}" + (", blocking" if is_blocking else "")


def _schedule(each: dg.ScheduleDefinition) -> str:
    when = f"{each.cron_schedule} {each.execution_timezone}"
    return f"{each.name}: {each.job_name}, {when}, {each.default_status.value}"


def _sensor(each: dg.SensorDefinition) -> str:
    jobs = _listed(job.name for job in each.jobs) if each.has_jobs else "any job"
    return f"{each.name}: {jobs}, {each.minimum_interval_seconds} s, {each.default_status.value}"


def _operation(operation: Operation) -> str:
    """Return method, path and role of an operation, with its parameters and fields of its body."""
    models = [operation.query, *([operation.body] if operation.body else [])]
    names = [name for model in models for name in model.model_fields]
    return f"{operation.method} {operation.path} ({operation.role}): {', '.join(names)}".rstrip(
        ": "
    )


def _default(field: Any) -> str:
    return "" if field.is_required() else str(field.get_default(call_default_factory=True))


def _column(column: Column[Any]) -> str:
    return (
        f"{column.name} {column.type}"
        + (" key" if column.primary_key else "")
        + (" null" if column.nullable else "")
    )


def _commands() -> Iterator[str]:
    """Yield each command with its arguments and options, without the global ones."""
    for path, command in leaf_commands(root):
        named = [
            param.make_metavar(click.Context(command))
            if isinstance(param, click.Argument)
            else "|".join(param.opts + param.secondary_opts)
            for param in command.params
        ]
        yield f"{' '.join(path)}: {' '.join(named)}".rstrip()


if __name__ == "__main__":
    FILE.write_text(surface())
