"""The commands that show what the present code would do to loaded rows, and that do it."""

import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestration_project.cli.commands import Command
from orchestration_project.cli.console import OUTPUT, echo, emit, note, progress
from orchestration_project.cli.exit_statuses import ExitStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orchestration_project.engine.plans import PartitionPlan
    from orchestration_project.services.plans import Plan


@click.command(cls=Command, has_json=True)
@click.argument("tables", nargs=-1, metavar="[TABLE]...")
@click.option(
    "--partition", "partitions", multiple=True, metavar="KEY", help="Only this one. Repeatable."
)
@click.option(
    "--sample",
    type=click.IntRange(1),
    metavar="N",
    help="Only N partitions of each table, chosen at random, with a bound of how many change.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Another choice of --sample.")
@click.option(
    "--markdown",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write it as Markdown, for a review.",
)
@click.option(
    "--html",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write it as a page with pictures of the values before and after.",
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the JSON that `apply` takes.",
)
def plan(
    tables: tuple[str, ...],
    partitions: tuple[str, ...],
    sample: int | None,
    seed: int,
    markdown: Path | None,
    html: Path | None,
    output: Path | None,
) -> int:
    """Show the changes that a replay of all captures by the present code and checks would make.

    Each partition of TABLE, or of all datasets, is read from its captures, validated, and compared
    with the loaded rows. Nothing is written to the database or the artifact store.

    Exit status: 0 nothing changes; 4 something changes; 1 some partition could not be planned.
    """
    from orchestration_project.catalog import REGISTRY
    from orchestration_project.engine.connections.artifacts import open_store
    from orchestration_project.engine.environment import open_clock, open_warehouse
    from orchestration_project.services.difference_pages import write_plan
    from orchestration_project.services.export import open_atomic_file
    from orchestration_project.services.plan_pages import write_markdown, write_text
    from orchestration_project.services.plans import Planner, PlanRequest
    from orchestration_project.settings import load_settings
    from orchestration_project.tables.queries.json_rows import write_json

    settings = load_settings()
    request = PlanRequest(tables, partitions, sample, seed)
    writers: Mapping[Path | None, Callable[[Plan], str]] = {
        markdown: write_markdown,
        html: write_plan,
        output: lambda plan: write_json(plan.to_fields()),
    }
    with ExitStack() as stack, open_warehouse(settings) as warehouse:
        files = [  # opened first: what cannot be written is refused before the work
            (stack.enter_context(open_atomic_file(path, replace=True)), write)
            for path, write in writers.items()
            if path is not None
        ]
        planner = Planner(settings, REGISTRY, warehouse, open_store(settings), open_clock(settings))
        chosen = planner.choose(request)
        planned: list[PartitionPlan | tuple[str, str, str]] = []
        started = time.monotonic()
        for item in planner.plan_each(chosen):
            planned.append(item)
            _show_progress(item, len(planned), len(chosen), time.monotonic() - started)
        plan_document = planner.finish(request, chosen, planned)
        for file, write in files:
            file.write(write(plan_document).encode())
    if OUTPUT.is_json:
        emit(plan_document.to_fields())
    else:
        echo(write_text(plan_document))
    if markdown is not None:
        note(f"Markdown: {markdown}")
    if html is not None:
        note(f"HTML: {html}")
    if output is not None:
        note(f"to apply it: orchestrate apply {output}")
    if plan_document.failures:
        return ExitStatus.FAILED
    return ExitStatus.CHANGES if plan_document.changing else ExitStatus.DONE


def _show_progress(
    item: "PartitionPlan | tuple[str, str, str]", done: int, of: int, seconds: float
) -> None:
    """Write a line on standard error now and then, with the remaining time."""
    if done % 20 and done != of and seconds < done:
        return
    key = item[1] if isinstance(item, tuple) else item.partition_key
    note(f"[{done}/{of}] {key}  ({seconds / done * (of - done):.0f} s left)")


@click.command(cls=Command, has_dry_run=True, is_load=True)
@click.argument(
    "file", metavar="PLAN", type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
def apply(file: Path) -> int:
    """Replay the partitions that PLAN, a file of `plan --output`, says will change.

    A plan of other code is refused, and so is one of a partition that was delivered since. Its runs
    have the tag `plan` with its ID. What they change is compared with the plan.
    """
    from orchestration_project.cli.plan_applying import apply_plan

    progress(f"plan      {file}")
    return apply_plan(file)
