"""The commands that read: export and its alias, the list of tables, work items."""

import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import UTC, datetime, time
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from orchestration_project.cli.commands import Command, Group
from orchestration_project.cli.console import (
    OUTPUT,
    echo,
    emit,
    note,
    preview,
    printable,
    show_rows,
)
from orchestration_project.cli.exit_statuses import ExitStatus
from orchestration_project.engine.contracts.work_items import ItemState, WorkItem

if TYPE_CHECKING:
    from orchestration_project.engine.work_items import WorkItems

FORMATS = ("csv", "parquet", "arrow", "xlsx", "html", "md", "ndjson")
TEXT_FORMATS = ("csv", "html", "md", "ndjson")
"""As in services/export.py, whose import takes a second."""

Function = Callable[..., Any]

FILE_OPTIONS = (
    click.option(
        "--format",
        "form",
        type=click.Choice(FORMATS),
        help="csv is RFC 4180, NULL is empty and empty text is two quotes. parquet, arrow and "
        "ndjson have each value exactly; ndjson has decimals as text, and null for NaN. In xlsx, "
        "html and md, NULL and empty text are equal; xlsx rounds doubles to 16 digits, md drops "
        "blanks around a text. [default: by the suffix of --output, else csv]",
    ),
    click.option(
        "--output",
        default="-",
        metavar="FILE",
        show_default=True,
        help=f"A file; - is stdout ({', '.join(TEXT_FORMATS)}).",
    ),
    click.option(
        "--escape-formulas/--no-escape-formulas",
        default=None,
        help="csv, html, md: put ' before texts that a spreadsheet would calculate, in all columns "
        "or in none; the other formats have texts as they are. [default: in columns that senders "
        "write]",
    ),
    click.option(
        "--byte-order-mark",
        is_flag=True,
        help="csv: begin with the mark by which Excel reads it as UTF-8; other programs may take "
        "it for a part of the first column's name.",
    ),
    click.option("--force", is_flag=True, help="Replace an existing file."),
)

OPTIONS = (
    click.argument("table"),
    click.option(
        "--where",
        multiple=True,
        metavar="EXPR",
        help="Only rows with COLUMN OP VALUE, e.g. tier=T1, 'tier in (T1,T2)', 'trade_count "
        "between 1 and 9' or '(tier=T1) or (symbol=A)'; OP is one of = != < <= > >= in between, "
        "also == and <>. Blanks are ignored; single or double quotes are optional, except for "
        "texts with commas. Repeatable: all must hold. NULL matches nothing.",
    ),
    click.option("--columns", metavar="A,B", help="These columns, in this order. [default: all]"),
    click.option(
        "--order-by",
        metavar="A,-B",
        help="Sort by these columns, descending after a -. [default: the key]",
    ),
    click.option("--limit", type=click.IntRange(0), metavar="N", help="At most N rows."),
    *FILE_OPTIONS,
    click.option("--internal", is_flag=True, help="Also an internal table of this program."),
)

TABLE_HEADINGS = {
    "name": "name",
    "kind": "kind",
    "column_count": "columns",
    "history": "history",
    "shown_key": "key",
}

PAGE = 500

REPORT_OPTIONS = ("table", "days", "since", "until", "html", "force", "dry_run")
"""Options of `diff --html`."""

DATASET_OPTIONS = ("table", "dataset", "partition_by", "where", "columns", "internal", "dry_run")
"""Rows that `export --dataset` takes: all present rows, divided and in the order of the key."""


def refuse_beside(context: click.Context, option: str, *, keep: Collection[str]) -> None:
    """Refuse the options that were given and mean nothing beside another.

    Raises:
        click.UsageError: One was.
    """
    default = click.core.ParameterSource.DEFAULT
    for param in context.command.params:
        name = str(param.name)
        if name not in keep and context.get_parameter_source(name) not in (None, default):
            raise click.UsageError(f"{param.opts[0]} cannot be used with {option}")


def export_options(function: Function) -> Function:
    """Add the options of `export` and its alias `as-of`."""
    return _add_options(function, OPTIONS)


def file_options(function: Function) -> Function:
    """Add where rows are written, and how."""
    return _add_options(function, FILE_OPTIONS)


def _add_options(function: Function, options: Sequence[Function]) -> Function:
    for option in reversed(options):
        function = option(function)
    return function


@click.command(cls=Command, has_dry_run=True)
@click.option(
    "--as-of",
    metavar="TIME",
    help="The rows as they were known at a time with zone, e.g. 2026-11-01T00:00:00Z.",
)
@click.option(
    "--published-by",
    metavar="DAY",
    type=click.DateTime(["%Y-%m-%d"]),
    help="The rows as their source had published them by a day, e.g. 2026-11-01; with --as-of, "
    "of what was known then.",
)
@click.option(
    "--missing",
    metavar="FILE",
    help="With --published-by: write the keys of rows whose state then is not known, or that the "
    "source does not date, with the reason, CSV.",
)
@click.option(
    "--dataset",
    metavar="DIR",
    help="Write Parquet files, one for each partition, below a folder; a later export writes "
    "only the partitions that changed.",
)
@click.option(
    "--partition-by",
    metavar="A,B",
    help="With --dataset: the columns that divide it. [default: the day of the key, and tier]",
)
@export_options
@click.pass_context
def export(
    context: click.Context,
    as_of: str | None,
    published_by: datetime | None,
    missing: str | None,
    dataset: str | None,
    partition_by: str | None,
    **chosen: Any,
) -> int:
    """Write the rows of TABLE, a table or view, to a file, a dataset or standard output.

    `orchestrate tables` lists the tables and views.
    """
    from orchestration_project.cli import export as exporting

    query = exporting.Query.of(chosen)
    if dataset is not None:
        refuse_beside(context, "--dataset", keep=DATASET_OPTIONS)
        return exporting.export_dataset(query, dataset, partition_by)
    if partition_by is not None:
        raise click.UsageError("--partition-by needs --dataset DIR")
    return exporting.export_table(
        query,
        exporting.Destination.of(chosen),
        exporting.moment_of(as_of, "--as-of") if as_of is not None else None,
        published_by=published_by.date() if published_by else None,
        missing=missing,
    )


@click.command(cls=Command, has_dry_run=True)
@click.option(
    "--from",
    "since",
    metavar="TIME",
    help="First time, with zone, e.g. 2026-11-01T00:00:00Z.",
)
@click.option("--to", "until", metavar="TIME", help="Second time, not before the first.")
@click.option(
    "--published-from",
    metavar="DAY",
    type=click.DateTime(["%Y-%m-%d"]),
    help="Instead of --from: the rows as their source had published them by a day.",
)
@click.option(
    "--published-by",
    metavar="DAY",
    type=click.DateTime(["%Y-%m-%d"]),
    help="Instead of --to: the second such day.",
)
@click.option(
    "--html",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Instead of rows: a page with the changes by cause, the loads, and what shows the rows.",
)
@export_options
@click.argument("days", nargs=-1, type=click.DateTime(["%Y-%m-%d"]), metavar="[DAY DAY]")
@click.pass_context
def diff(
    context: click.Context,
    since: str | None,
    until: str | None,
    published_from: datetime | None,
    published_by: datetime | None,
    html: Path | None,
    days: tuple[datetime, ...],
    **chosen: Any,
) -> int:
    """Write the rows of TABLE that were added, changed or removed between two times.

    Each has the key, change, and old_X and new_X of each other column X. DAY DAY: the states at the
    end of two days, UTC.
    """
    from orchestration_project.cli.export import Destination, Query, export_relation
    from orchestration_project.tables.queries.row_diff import publication_diff, row_diff

    table = chosen["table"]
    if published_from and published_by and not (since or until or days or html):
        relation = publication_diff(table, published_from.date(), published_by.date())
        return export_relation(relation, Query.of(chosen), Destination.of(chosen))
    times = None if published_from or published_by else _read_times(since, until, days)
    if times is None:
        raise click.UsageError(
            "expected DAY DAY, or --from TIME and --to TIME, or --published-from DAY and "
            "--published-by DAY; with --html, one of the first two"
        )
    if html is not None:
        refuse_beside(context, "--html", keep=REPORT_OPTIONS)
        return _write_report(table, *times, html, is_replaced=chosen["force"])
    return export_relation(row_diff(table, *times), Query.of(chosen), Destination.of(chosen))


def _write_report(
    table: str, since: datetime, until: datetime, path: Path, *, is_replaced: bool
) -> int:
    """Write the page of what changed between two times; return the exit status.

    Raises:
        ConfigurationError: The table has no history, the times are in the wrong order, or the file
            cannot be written.
    """
    from orchestration_project.catalog import REGISTRY
    from orchestration_project.engine.environment import open_warehouse
    from orchestration_project.services.difference_pages import write_time_difference
    from orchestration_project.services.export import open_atomic_file
    from orchestration_project.services.time_differences import (
        find_downstream,
        read_time_difference,
    )
    from orchestration_project.settings import load_settings

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


def _read_times(
    since: str | None, until: str | None, days: Sequence[datetime]
) -> tuple[datetime, datetime] | None:
    """Return the two times of a comparison; None: they are not two, or of both kinds."""
    from orchestration_project.cli.export import moment_of

    if len(days) == 2 and not (since or until):
        first, last = (datetime.combine(day, time.max, UTC) for day in days)
        return first, last
    if since and until and not days:
        return moment_of(since, "--from"), moment_of(until, "--to")
    return None


@click.command(cls=Command, has_dry_run=True)
@click.option(
    "--at", required=True, metavar="TIME", help="A time with zone, e.g. 2026-11-01T00:00:00Z."
)
@export_options
def as_of(at: str, **chosen: Any) -> int:
    """Write the rows of TABLE as they were known at a time; the same as `export --as-of`.

    The command `tables` shows which tables have history.
    """
    from orchestration_project.cli.export import Destination, Query, export_table, moment_of

    return export_table(Query.of(chosen), Destination.of(chosen), moment_of(at, "--at"))


@click.command(cls=Command)
@click.argument("query")
@click.option(
    "--as-of",
    metavar="TIME",
    help="The tables as they were known at a time with zone, e.g. 2026-11-01T00:00:00Z.",
)
@click.option(
    "--limit",
    type=click.IntRange(1),
    metavar="N",
    help="Refuse a query with more rows than N. [default: 100000]",
)
@file_options
def sql(query: str, as_of: str | None, limit: int | None, **chosen: Any) -> int:
    """Write the rows of QUERY, one SELECT, which can only read; - reads it from standard input.

    On PostgreSQL, the role of ANALYST_DATABASE_URL runs it. With --as-of, each table that it names
    needs a history. Formulas are escaped in all columns of texts, unless --no-escape-formulas.
    """
    from orchestration_project.cli.export import Destination, export_query, moment_of

    text = sys.stdin.read() if query == "-" else query
    moment = moment_of(as_of, "--as-of") if as_of is not None else None
    return export_query(text, Destination.of(chosen), moment, limit)


@click.command(cls=Command, has_json=True)
@click.option("--internal", is_flag=True, help="Also internal tables of this program.")
def tables(internal: bool) -> int:
    """List tables and views; `export --as-of` writes those with history."""
    from orchestration_project.tables.catalogue import internal_tables, known_tables
    from orchestration_project.tables.schema import HISTORY, key_names
    from orchestration_project.tables.views import VIEWS

    hidden = () if internal else internal_tables()
    show_rows(
        [
            {
                "name": name,
                "kind": "view" if name in VIEWS else "table",
                "column_count": len(table.columns),
                "history": "yes" if table.info.get(HISTORY) is not None else "",
                "shown_key": ", ".join(key_names(table)),
                "columns": table.columns.keys(),
            }
            for name, table in known_tables().items()
            if name not in hidden
        ],
        TABLE_HEADINGS,
    )
    return 0


@click.group(cls=Group)
def items() -> None:
    """Work items, such as webhook deliveries and symbols."""


@items.command("list", has_json=True)
@click.option("--topic", help="Only items of this topic, e.g. webhooks/github.")
@click.option("--state", type=click.Choice(get_args(ItemState)), help="Only items in this state.")
@click.option(
    "--limit", type=click.IntRange(1), default=100, show_default=True, help="Number of items."
)
def list_items(topic: str | None, state: ItemState | None, limit: int) -> int:
    """List work items in the order of topic and key."""
    from orchestration_project.engine.connections.clock import Clock
    from orchestration_project.engine.environment import open_warehouse
    from orchestration_project.engine.work_items import WorkItems
    from orchestration_project.settings import load_settings

    with open_warehouse(load_settings()) as warehouse:
        items = _iterate_items(WorkItems(warehouse, Clock()), topic, state)
        chosen = islice(items, limit)
        if OUTPUT.is_json:
            emit(fields := [_read_fields(item) for item in chosen])
            is_empty = not fields
        else:
            is_empty = not sum(_show(item) for item in chosen)
        if next(items, None) is not None:
            note(f"there are more than {limit}: raise --limit")
        elif is_empty:
            note(f"no work items{_format_conditions(topic, state)}")
    return 0


def _format_conditions(topic: str | None, state: str | None) -> str:
    """Return the options that select items, for a message."""
    given_names = {"--topic": topic, "--state": state}
    chosen = " ".join(f"{name} {value}" for name, value in given_names.items() if value)
    return f" with {printable(chosen)}" if chosen else ""


def _iterate_items(
    items: "WorkItems", topic: str | None, state: ItemState | None
) -> Iterator[WorkItem]:
    """Yield the items, read a page at a time."""
    after: tuple[str, str] | None = None
    while page := items.list_items(topic=topic, state=state, after=after, limit=PAGE):
        yield from page
        after = page[-1].topic, page[-1].item_key


def _read_fields(item: WorkItem) -> dict[str, Any]:
    names = (
        *("topic", "item_key", "state", "attempt_count", "allowed_count"),
        *("due_at", "lease_holder", "reason_code", "reason"),
    )
    return {name: getattr(item, name) for name in names}


def _show(item: WorkItem) -> int:
    """Write a line for an item; return 1, to be counted."""
    echo(_render_item(item))
    return 1


def _render_item(item: WorkItem) -> str:
    """Return topic, key, state and attempts, and what is known of the latest failure."""
    parts = [item.topic, item.item_key, item.state]
    parts.append(f"{item.attempt_count} of {item.allowed_count} attempts")
    if item.state == "failed":
        parts.append(f"due {item.due_at:%Y-%m-%d %H:%M:%S} UTC")
    if item.lease_holder:
        parts.append(f"run {item.lease_holder}")
    if item.reason:
        parts.append(f"{item.reason_code}: {item.reason}")
    return printable("  ".join(parts))
