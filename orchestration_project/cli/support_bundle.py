"""`support-bundle`: write an archive that describes the installation, to attach to a report."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

import click

from orchestration_project.cli.commands import Command, read_versions
from orchestration_project.cli.console import emit_or, note


@click.command(cls=Command, has_json=True)
@click.option(
    "--output",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The archive. [default: support-bundle-TIME.zip in the current folder]",
)
@click.option("--force", is_flag=True, help="Replace an existing file.")
def support_bundle(output: Path | None, force: bool) -> int:
    """Write an archive to attach to a report: versions, settings, health, errors, sizes, ticks.

    Secrets of the settings are masked, and no loaded row is read. Messages of errors may quote
    values: read the files before you attach them. A section that cannot be read, as with a database
    that is down, has its error instead.
    """
    from orchestration_project.engine.connections.clock import Clock
    from orchestration_project.services.support_bundle import write_bundle

    file = output or Path(f"support-bundle-{Clock().now():%Y%m%dT%H%M%SZ}.zip")
    note("reading settings, dependencies, logs, database and runs")
    with ExitStack() as stack:
        problems = write_bundle(file, _make_sections(stack), replace=force)
    lines = [problem.splitlines()[0] for problem in problems]
    emit_or(
        {"file": str(file), "problems": problems},
        f"written: {file}",
        *(f"not read: {line}" for line in lines),
    )
    return 0


def _make_sections(stack: ExitStack) -> Mapping[str, Callable[[], object]]:
    """Return the readers of all sections; what they open is closed with the stack."""
    from orchestration_project.catalog import REGISTRY
    from orchestration_project.cli.config import list_settings
    from orchestration_project.cli.verify import daemon_state_reader
    from orchestration_project.engine.environment import (
        open_lazily,
        open_unprepared_warehouse,
        open_warehouse,
    )
    from orchestration_project.instance.storage import open_instance
    from orchestration_project.services import support_bundle as sections
    from orchestration_project.services.verification import describe_finding, verify_dependencies
    from orchestration_project.settings import load_settings

    settings = load_settings()
    folder = settings.state_path
    warehouse = stack.enter_context(open_lazily(lambda: open_warehouse(settings)))
    instance = stack.enter_context(open_lazily(open_instance))

    def verify() -> object:
        read_state = daemon_state_reader(settings, stack)
        findings = verify_dependencies(REGISTRY, settings, warehouse, read_state)
        return [describe_finding(finding) for finding in findings]

    def count_tables() -> object:
        with open_unprepared_warehouse(settings) as as_it_is:  # also of another version
            return sections.read_table_sizes(as_it_is)

    return {
        "versions": lambda: sections.read_versions(read_versions()),
        "settings": lambda: list_settings(settings),
        "dependencies": verify,
        "errors": lambda: sections.read_errors(folder),
        "folders": lambda: sections.read_folder_sizes(folder),
        "tables": count_tables,
        "ticks": lambda: sections.read_ticks(instance.open_it()),
        "failed_runs": lambda: sections.read_failed_runs(instance.open_it()),
    }
