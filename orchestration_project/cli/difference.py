"""Writes the report of what changed in a table between two times."""

from datetime import datetime
from pathlib import Path

from orchestration_project.catalog import REGISTRY
from orchestration_project.cli.console import OUTPUT, note, preview
from orchestration_project.cli.exit_statuses import ExitStatus
from orchestration_project.engine.environment import open_warehouse
from orchestration_project.services.difference_pages import write_time_difference
from orchestration_project.services.export import open_atomic_file
from orchestration_project.services.time_differences import find_downstream, read_time_difference
from orchestration_project.settings import load_settings


def write_report(
    table: str, since: datetime, until: datetime, path: Path, *, is_replaced: bool
) -> int:
    """Write the page; return the exit status.

    Raises:
        ConfigurationError: The table has no history, the times are in the wrong order, or the file
            cannot be written.
    """
    settings = load_settings()
    downstream = find_downstream(table, REGISTRY, settings)
    if OUTPUT.is_dry_run:
        preview(f"the changes of {table} would be written to {path}")
        return ExitStatus.DONE
    with open_atomic_file(path, replace=is_replaced) as file, open_warehouse(settings) as warehouse:
        with warehouse.reading() as connection:
            difference = read_time_difference(connection, table, since, until, downstream)
        file.write(write_time_difference(difference).encode())
    note(f"HTML: {path}")
    return ExitStatus.DONE
