"""The command that derives a gold table as it was known or published at a time."""

from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestration_project.cli.commands import Command
from orchestration_project.cli.queries import FORMATS

if TYPE_CHECKING:
    from orchestration_project.engine.warehouse.as_of import AsOf

AS_OF_MODULES = tuple(
    f"orchestration_project.resources.{name}"
    for name in ("cboe", "finra.gold_as_of", "prices.gold")
)
"""Modules that the catalog registers by `AsOfModule`; its import takes twice as long as all
else that the command does."""

OWN_MODULE = "orchestration_project.resources.own_derived"
"""The same of the tables that a project derives, where there is a project."""


def _import_as_of() -> "AsOf":
    from orchestration_project.settings.project import own_files

    modules = [*AS_OF_MODULES, *([OWN_MODULE] if own_files() else [])]
    return {
        name: derive for module in modules for name, derive in import_module(module).AS_OF.items()
    }


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
    "--missing",
    metavar="FILE",
    help="With --published-by: write the keys of weekly rows whose state then is not known, or "
    "that the source does not date, with the reason, CSV.",
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
    missing: str | None,
    form: str | None,
    output: str,
    force: bool,
) -> int:
    """Derive a PARTITION of a derived TABLE as of a time, and write its rows.

    A partition is TIER|MONDAY, such as T1|2025-11-10; the Monday for tables of all tiers, the day
    for off_exchange_share_daily, the symbol for tables of prices, and all for finra_symbols. Of a
    table that you derive it is a value of partition_by, or all.
    """
    from orchestration_project.cli.export import (
        Destination,
        moment_of,
        report_left_out,
        write_rows,
    )
    from orchestration_project.engine.environment import open_warehouse
    from orchestration_project.engine.warehouse.as_of import derive_as_of
    from orchestration_project.errors import ConfigurationError
    from orchestration_project.services.export import open_atomic_file, write_csv
    from orchestration_project.settings import load_settings

    if missing is not None and published_by is None:
        raise ConfigurationError(
            "--missing needs --published-by", remedy="add --published-by DAY, or leave it out"
        )
    at = moment_of(as_of, "--as-of") if as_of is not None else None
    day = published_by.date() if published_by else None
    destination = Destination.of({"form": form, "output": output, "force": force})
    with open_warehouse(load_settings()) as warehouse:
        derived_as_of = derive_as_of(warehouse, _import_as_of(), table, partition, at=at, day=day)
    status = write_rows(derived_as_of.table.name, [derived_as_of.rows], destination)
    if status == 0 and day is not None:
        keys = derived_as_of.left_out.keys
        if missing is not None:
            with open_atomic_file(Path(missing), replace=force) as file:
                write_csv([keys], file)
        report_left_out(day, derived_as_of.left_out.counts, keys, missing)
    return status
