"""Differences of tables as a page of HTML: one file that needs neither a network nor a script."""

from collections.abc import Iterable, Iterator, Sequence
from html import escape

from orchestration_project.engine.distributions import Distribution
from orchestration_project.engine.plans import ADDED, REMOVED, TableDifference
from orchestration_project.plots.distribution import draw_distributions
from orchestration_project.services.plan_pages import (
    MAX_SHOWN,
    describe_key,
    describe_partition,
    group_by_table,
    list_conclusions,
    list_details,
    list_outcomes,
    sum_by_table,
)
from orchestration_project.services.plans import Plan
from orchestration_project.services.time_differences import TimeDifference
from orchestration_project.tables.queries.changes import CHANGED

HEAD = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark }}
body {{ font-family: sans-serif; font-size: 14px; max-width: 72em; margin: 2em auto }}
table {{ border-collapse: collapse; margin: 1em 0 }}
th, td {{ border: 1px solid #7a8190; padding: 2px 8px; text-align: left; vertical-align: top }}
td.number {{ text-align: right; font-variant-numeric: tabular-nums }}
pre {{ white-space: pre-wrap; overflow-wrap: anywhere }}
</style>
</head>
<body>
<h1>{title}</h1>
"""
FOOT = "</body>\n</html>\n"

MAX_LOADS = 200
"""Loads that a page lists."""

LEGEND = "Values of changed rows by size: before above the line, after below it."


def write_page(title: str, parts: Iterable[str]) -> str:
    """Return a whole page of parts, each of them HTML."""
    return "\n".join([HEAD.format(title=escape(title)), *parts, FOOT])


def write_table(names: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table; numbers are aligned to the right."""
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    body = "\n".join(f"<tr>{''.join(map(_write_cell, row))}</tr>" for row in rows)
    return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"


def _write_cell(value: object) -> str:
    if isinstance(value, int):
        return f'<td class="number">{value:,}</td>'
    return f"<td>{escape(str(value))}</td>"


def write_list(lines: Iterable[str]) -> str:
    """Return a list of texts; empty without lines."""
    items = "\n".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<ul>\n{items}\n</ul>" if items else ""


def write_plan(plan: Plan) -> str:
    """Return a plan as a page."""
    return write_page(f"Plan {plan.plan_id}", _write_plan_parts(plan))


def _write_plan_parts(plan: Plan) -> Iterator[str]:
    yield write_list(list_conclusions(plan))
    if not plan.changing:
        return
    totals = sum_by_table(plan)
    yield write_counts(totals)
    yield write_list(list_outcomes(plan))
    for total in totals:
        yield from write_difference(total)
    yield "<h2>Partitions</h2>"
    for table, partitions in group_by_table(plan).items():
        changing = [partition for partition in partitions if partition.is_any]
        if changing:
            yield f"<h3>{escape(table)}</h3>"
        for partition in changing[:MAX_SHOWN]:
            summary = f"{partition.partition_key}: {describe_partition(partition)}"
            details = escape("\n".join(list_details(partition)))
            yield (f"<details><summary>{escape(summary)}</summary>\n<pre>{details}</pre></details>")
        if len(changing) > MAX_SHOWN:
            yield f"<p>and {len(changing) - MAX_SHOWN} more partitions</p>"


def write_counts(totals: Iterable[TableDifference]) -> str:
    """Return the numbers of rows by table."""
    rows = [(total.table, total.added, total.changed, total.removed) for total in totals]
    return write_table(("Table", "Added", "Changed", "Removed"), rows)


def write_difference(difference: TableDifference) -> Iterator[str]:
    """Yield the changed columns of a table with examples and pictures, and examples of its rows."""
    yield f"<h2>{escape(difference.table)}</h2>"
    if difference.columns:
        rows = [
            (name, count if row == 0 else "", describe_key(example), example.before, example.after)
            for name, count in difference.columns.items()
            for row, example in enumerate(difference.examples.get(name, ()))
        ]
        yield write_table(("Column", "Values", "Example", "Before", "After"), rows)
    if difference.distributions:
        yield f"<p>{LEGEND}</p>"
    for name, (before, after) in difference.distributions.items():
        yield _write_distributions(name, before, after)
    rows = [
        (kind, describe_key(example))
        for kind in (ADDED, REMOVED)
        for example in difference.examples.get(kind, ())
    ]
    if rows:
        yield write_table(("Row", "Example"), rows)


def _write_distributions(name: str, before: Distribution, after: Distribution) -> str:
    smallest = [end for end in (before.minimum, after.minimum) if end is not None]
    largest = [end for end in (before.maximum, after.maximum) if end is not None]
    picture = ""
    if smallest and largest:
        ends = (_write_number(min(smallest)), _write_number(max(largest)))
        title = f"{name} before and after, from {ends[0]} to {ends[1]}"
        picture = draw_distributions(dict(before.bins), dict(after.bins), ends, title)
    rows = [
        (
            *(state, sum(count for _, count in values.bins), values.null_count),
            *(_write_number(values.minimum), _write_number(values.maximum)),
        )
        for state, values in (("before", before), ("after", after))
    ]
    table = write_table(("", "Values", "NULL", "Smallest", "Largest"), rows)
    return f"<h3>{escape(name)}</h3>\n<figure>{picture}</figure>\n{table}"


def _write_number(value: float | None) -> str:
    return "" if value is None else f"{value:,.6f}".rstrip("0").rstrip(".")


def write_time_difference(difference: TimeDifference) -> str:
    """Return the changes of a table between two times as a page."""
    title = f"Changes of {difference.table}"
    return write_page(title, _write_time_parts(difference))


def _write_time_parts(difference: TimeDifference) -> Iterator[str]:
    since, until = (at.isoformat(timespec="seconds") for at in (difference.since, difference.until))
    counts = ", ".join(
        f"{difference.row_counts.get(name, 0):,} {name}" for name in (ADDED, CHANGED, REMOVED)
    )
    yield f"<p>From {escape(since)} to {escape(until)}: {counts} rows between the two states.</p>"
    for heading, by_cause in difference.group_causes().items():
        yield f"<h2>{heading}</h2>"
        if not by_cause:
            yield "<p>No changes.</p>"
            continue
        yield write_table(
            ("Cause", "Added", "Changed", "Removed"),
            [(cause, item.added, item.changed, item.removed) for cause, item in by_cause.items()],
        )
        for cause, item in by_cause.items():
            yield f"<h2>Cause {escape(cause)}</h2>"
            yield from write_difference(item)
    yield "<h2>Loads</h2>"
    yield write_table(
        ("Time", "Partition", "Cause", "Rules", "Added", "Changed", "Removed"),
        [
            (
                *(load.landed_at.isoformat(timespec="seconds"), load.partition_key, load.cause),
                *(load.rule_version, load.added, load.changed, load.removed),
            )
            for load in difference.loads[-MAX_LOADS:]
        ],
    )
    if len(difference.loads) > MAX_LOADS:
        yield f"<p>{len(difference.loads) - MAX_LOADS:,} earlier loads are not listed.</p>"
    downstream = difference.downstream
    for heading, names in (
        ("Made of these rows", downstream.names),
        ("Exports", downstream.exports),
        ("Routes of the API", downstream.routes),
    ):
        yield f"<h2>{heading}</h2>"
        yield write_list(names) or "<p>None.</p>"
