"""The command that derives a gold table as it was known or published at a time."""

from datetime import datetime

import click

from orchestration_project.cli.commands import Command
from orchestration_project.cli.console import note
from orchestration_project.cli.queries import FORMATS


@click.command(cls=Command)
@click.argument("table")
@click.argument("partition")
@click.option(
    "--as-of",
    metavar="TIME",
    help="Of what was loaded by a time with zone, e.g. 2026-11-01T00:00:00Z.",
)
@click.option(
    "--published-by",
    metavar="DAY",
    type=click.DateTime(["%Y-%m-%d"]),
    help="Of what FINRA had published by a day, e.g. 2026-11-01.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    help="Format of the rows. [default: by the suffix of FILE, else csv]",
)
@click.option("--output", default="-", metavar="FILE", show_default=True, help="- is stdout.")
@click.option("--force", is_flag=True, help="Replace an existing file.")
def gold(
    table: str,
    partition: str,
    as_of: str | None,
    published_by: datetime | None,
    form: str | None,
    output: str,
    force: bool,
) -> int:
    """Derive a PARTITION of a derived TABLE as of a time, and write its rows.

    A partition is TIER|MONDAY, such as T1|2025-11-10; the Monday for tables of all tiers, the day
    for off_exchange_share_daily, the symbol for tables of prices, and all for finra_symbols.
    """
    from orchestration_project.catalog import REGISTRY
    from orchestration_project.cli.export import destination_of, moment_of, write_rows
    from orchestration_project.engine.environment import open_warehouse
    from orchestration_project.engine.warehouse.as_of import derive_as_of
    from orchestration_project.settings import load_settings

    at = moment_of(as_of, "--as-of") if as_of is not None else None
    day = published_by.date() if published_by else None
    destination = destination_of(form, output, force=force)
    with open_warehouse(load_settings()) as warehouse:
        found = derive_as_of(warehouse, REGISTRY.tables_as_of, table, partition, at=at, day=day)
    status = write_rows(found.table.name, [found.rows], destination)
    if found.missing_count:
        note(
            f"missing_earlier_state: {found.missing_count} weekly rows were changed after "
            f"{day}, and their earlier state was never loaded; they are left out"
        )
    return status
