"""The commands that load: run, load, backfill, replay, and the list of datasets.

Each imports what it works with when it runs, so that its help comes at once.
"""

from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from orchestration_project.cli.commands import Command

DAY = click.DateTime(["%Y-%m-%d"])
"""A day such as 2025-11-10."""

ACCEPT = click.option(
    "--accept", metavar="SHA256", help="Delivery to load although is_complete fails."
)
REASON = click.option("--reason", metavar="TEXT", help="Reason why that delivery is right.")

SOURCES = ("finra", "saas")
"""Sources of `run`, each with a function `run` in its module `…_run`; the first is the default."""


@click.command(cls=Command, has_json=True, has_dry_run=True, is_load=True)
@click.argument("source", type=click.Choice(SOURCES), default=SOURCES[0])
@click.option(
    "--weeks",
    type=click.IntRange(1),
    metavar="N",
    help="Number of weeks of each tier; finra only. [default: 8]",
)
def run(source: str, weeks: int | None) -> int:
    """Load the latest weeks of FINRA's OTC data, or sync PeopleForce with Jira once.

    SOURCE is finra, the default, or saas. Data is synthetic unless the settings name a real source.
    """
    from orchestration_project.cli.domains import require_defined

    require_defined(source)
    return import_module(f"orchestration_project.cli.{source}_run").run(weeks)


@click.command(cls=Command, has_json=True, has_dry_run=True, is_load=True)
def run_saas() -> int:
    """Sync PeopleForce's tasks with Jira's issues, once; the same as `run saas`."""
    from orchestration_project.cli.domains import require_defined

    require_defined("saas")
    return import_module("orchestration_project.cli.saas_run").run(None)


@click.command(cls=Command, has_json=True, has_dry_run=True, is_load=True)
@click.argument("dataset")
@click.argument("partitions", nargs=-1, metavar="[PARTITION]...")
@click.option("--full", is_flag=True, help="Ask the source also for what is loaded, and holidays.")
@ACCEPT
@REASON
def load(dataset: str, partitions: tuple[str, ...], **options: bool | str | None) -> int:
    """Load partitions of DATASET, one run for each range of consecutive ones.

    `orchestrate datasets` lists datasets and their partitions, e.g. finra_otc_weekly and
    'T1|2026-10-05'. A dataset without partitions takes none. Loading a partition again changes
    nothing unless the source has changed. Files are compared each time. Vendors of prices are not
    asked for months that are loaded, and no source for a holiday: such partitions are reported as
    `not asked`, and --full asks.

    A delivery that lacks many loaded keys, or is far smaller than the partitions around it, is
    quarantined by the audit is_complete, which reports its SHA-256. --accept with that SHA-256 and
    --reason loads it.

    `load documents` loads the days that wait, or those that are named. Without any file, it is
    not_published.

    `load web [SITE] [DAY]...` crawls a site, or all, for UTC days, by default today. A crawl that
    is not complete has failed.
    """
    from orchestration_project.cli.loading import load as load_partitions

    if module := _find_module("load", dataset):
        if any(options.values()):
            raise click.UsageError(f"{dataset} takes no --full, --accept or --reason")
        return import_module(module).load(partitions)

    names = {"full": "full", "accept": "accept_sha256", "reason": "accept_reason"}
    values = {names[name]: value for name, value in options.items() if value}
    return load_partitions(dataset, partitions, values)


@click.command(cls=Command, has_json=True, has_dry_run=True, is_load=True)
@click.argument("dataset")
@click.option(
    "--from",
    "first",
    required=True,
    metavar="DATE",
    help="First date, month or partition key, e.g. 2026-09-07, 2026-09 or 'T1|2026-09-07'.",
)
@click.option("--to", "last", required=True, metavar="DATE", help="Last one, included.")
@click.option(
    "--clip", is_flag=True, help="Load only the known partitions of a range that exceeds them."
)
def backfill(dataset: str, first: str, last: str, clip: bool) -> int:
    """Load the partitions of DATASET from one date to another, both included.

    One run for each range of consecutive partitions, in this process. A partition key with a
    first part, such as a tier, restricts the backfill to it. The UI backfills in the background.

    A range with dates of unknown partitions is refused, unless --clip is given. A partition
    belongs to the range if the day of its key does. A month in which the range begins is loaded
    whole. The requested and the loaded range are printed; they are tags of each run, too.
    """
    from orchestration_project.cli.loading import backfill as backfill_partitions

    return backfill_partitions(dataset, first, last, clip=clip)


@click.command(cls=Command, has_json=True, has_dry_run=True, is_load=True)
@click.argument("partitions", nargs=-1, metavar="[PARTITION]...")
@click.option("--table", metavar="TABLE", help="Table to load. [default: finra_otc_weekly]")
@click.option("--group", metavar="ID", help="One delivery, by its group_id.")
@click.option("--all", "is_all", is_flag=True, help="Every partition with a delivery.")
@click.option("--tier", metavar="TIER", help="Partitions of this tier, e.g. T1.")
@click.option("--from", type=DAY, help="Partitions from this day on.")
@click.option("--to", type=DAY, help="Partitions up to this day.")
@click.option(
    "--allow-older", "--older", is_flag=True, help="Replay even if newer data is already loaded."
)
@ACCEPT
@REASON
@click.option(
    "--with",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Site file whose rules are used; web_items only.",
)
def replay(
    partitions: tuple[str, ...],
    table: str | None,
    group: str | None,
    is_all: bool,
    allow_older: bool,
    accept: str | None,
    reason: str | None,
    file: Path | None,
    **filters: str | datetime | None,
) -> int:
    """Validate and load recorded deliveries again, by the present rules, without the source.

    PARTITION is a key such as 'T1|2025-11-10', a symbol of --table prices_daily, or a day of
    --table documents_pages. Of each, the latest delivery is replayed that was read whole; of a
    symbol, all that make up its prices; of a day, all documents that other rules made.

    A delivery that is_complete has quarantined is judged again, and quarantined unless --accept and
    --reason load it.

    `replay web_items SITE [DAY]` extracts items from the captured pages of a site's latest
    complete crawl, or of a day. With --dry-run it lists the differences to the loaded items.
    """
    values: dict[str, Any] = {
        name: value.date() if isinstance(value, datetime) else value
        for name, value in filters.items()
        if value is not None
    }
    if sum(map(bool, (partitions, group, is_all or values))) != 1:
        raise click.UsageError(
            "name partitions, or a --group, or a choice: --all, --tier, --from, --to"
        )
    if group and table:
        raise click.UsageError("a --group names its table; leave --table out")
    words = [table, *partitions] if table else list(partitions)
    if module := _find_module("replay", words[0] if words else ""):
        if values or is_all or allow_older or accept or reason:
            raise click.UsageError(f"{words[0]} takes a site, a day, --with and --dry-run")
        return import_module(module).replay(words[1:], file)
    if file is not None:
        raise click.UsageError("--with applies to web_items: replay web_items SITE --with FILE")
    from orchestration_project.cli.replay import ReplayChoice
    from orchestration_project.cli.replay import replay as replay_deliveries

    accepted = {"accept_sha256": accept, "accept_reason": reason}
    options = {name: value for name, value in accepted.items() if value}
    return replay_deliveries(
        ReplayChoice(partitions, table, group, values, allow_older=allow_older, options=options)
    )


def _find_module(command: str, name: str) -> str | None:
    """Return the module that a domain registered for a command and a name."""
    from orchestration_project.catalog import REGISTRY
    from orchestration_project.registry import CommandModule

    return next(
        (
            registered.module
            for registered in REGISTRY.registered(CommandModule)
            if (registered.command, registered.name) == (command, name)
        ),
        None,
    )


@click.command(cls=Command, has_json=True)
def datasets() -> int:
    """List datasets: partitions, first and last partition key, the job that loads them."""
    from orchestration_project.cli.datasets import show_datasets

    return show_datasets()
