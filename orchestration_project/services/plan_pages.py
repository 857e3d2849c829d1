"""A plan as text for a terminal, and as Markdown for a review."""

from collections import Counter
from collections.abc import Iterator, Sequence

from orchestration_project.engine.plans import (
    ADDED,
    REMOVED,
    Example,
    PartitionPlan,
    TableDifference,
)
from orchestration_project.services.plans import Plan

OUTCOMES = {"held_back": "quarantined", "landed": "loaded", "refused": "refused"}

MAX_SHOWN = 20
"""Partitions of a table that a page names."""


def write_text(plan: Plan) -> str:
    """Return a plan as lines for a terminal."""
    return "\n".join(_iterate_lines(plan))


def _iterate_lines(plan: Plan) -> Iterator[str]:
    for table, partitions in group_by_table(plan).items():
        changing = [partition for partition in partitions if partition.is_any]
        rows = sum(partition.row_count for partition in partitions)
        yield f"{table}: {len(changing)} of {len(partitions)} partitions change, {rows:,} rows read"
        for partition in changing[:MAX_SHOWN]:
            yield f"  {partition.partition_key}: {describe_partition(partition)}"
            for line in list_details(partition):
                yield f"    {line}"
        if len(changing) > MAX_SHOWN:
            yield f"  and {len(changing) - MAX_SHOWN} more partitions"
    yield from list_conclusions(plan)


def list_conclusions(plan: Plan) -> Iterator[str]:
    """Yield the bounds of a plan: its samples, its failures, its totals."""
    for sample in plan.samples:
        yield (
            f"{sample.table}: a sample of {sample.planned} of {sample.total} partitions; at most "
            f"{sample.most:.0%} of all change, with 95 % confidence"
        )
    for table, partition_key, reason in plan.failures:
        yield f"{table} {partition_key}: not planned: {reason}"
    seconds = sum(partition.seconds for partition in plan.partitions)
    changing = len(plan.changing)
    yield (
        f"plan {plan.plan_id}: {changing} of {len(plan.partitions)} partitions change; "
        f"{seconds:.1f} s to read and compare"
    )


def describe_partition(partition: PartitionPlan) -> str:
    """Return in a few words what would change of a partition."""
    if partition.error:
        return f"would be refused: {partition.error}"
    parts = [
        f"{difference.table} {_describe_counts(difference)}"
        for difference in partition.differences
        if difference.is_any
    ]
    if partition.outcome != partition.outcome_before:
        before, after = OUTCOMES[partition.outcome_before], OUTCOMES[partition.outcome]
        parts.insert(0, f"{before} → {after}")
    if partition.newly_rejected:
        parts.append(f"{partition.newly_rejected:,} newly rejected")
    if partition.no_longer_rejected:
        parts.append(f"{partition.no_longer_rejected:,} no longer rejected")
    parts += [
        f"{turn.check} {turn.before or 'new'} → {turn.after or 'gone'}" for turn in partition.turns
    ]
    return "; ".join(parts)


def _describe_counts(difference: TableDifference) -> str:
    counts = {"+": difference.added, "~": difference.changed, "-": difference.removed}
    return " ".join(f"{sign}{count:,}" for sign, count in counts.items() if count)


def list_details(partition: PartitionPlan) -> Iterator[str]:
    """Yield examples of a partition's changes, and what follows of them."""
    for difference in partition.differences:
        yield from _list_examples(difference)
    for rejected in partition.rejected_examples:
        yield f"rejected line {rejected['line_number']}: {rejected['reason']}: {rejected['record']}"
    if partition.needs_version:
        yield "a replay leaves this as it is: raise the version of the rules"
    if partition.dependents:
        yield f"derived later: {', '.join(partition.dependents)}"


def _list_examples(difference: TableDifference) -> Iterator[str]:
    for name, count in difference.columns.items():
        yield f"{difference.table}.{name}: {count:,} values"
        for example in difference.examples.get(name, ()):
            yield f"  {describe_key(example)}: {example.before} → {example.after}"
    for name in (ADDED, REMOVED):
        for example in difference.examples.get(name, ()):
            yield f"{difference.table} {name} {describe_key(example)}"


def describe_key(example: Example) -> str:
    """Return the key of an example as text."""
    return "|".join(str(value) for value in example.key.values())


def group_by_table(plan: Plan) -> dict[str, list[PartitionPlan]]:
    """Return the partitions of a plan by table."""
    tables: dict[str, list[PartitionPlan]] = {}
    for partition in plan.partitions:
        tables.setdefault(partition.table, []).append(partition)
    return tables


def write_markdown(plan: Plan) -> str:
    """Return a plan as Markdown: tables, changed columns with an example, and partitions."""
    lines = [f"# Plan {plan.plan_id}", ""]
    if not plan.changing and not plan.failures:
        lines += [f"Nothing changes in {len(plan.partitions)} partitions.", ""]
    else:
        lines += _list_tables(plan)
        lines += _list_columns(plan)
        for table, partitions in group_by_table(plan).items():
            lines += _list_partitions(table, [item for item in partitions if item.is_any])
    lines += [f"- {line}" for line in list_conclusions(plan)]
    return "\n".join(lines) + "\n"


def _list_tables(plan: Plan) -> list[str]:
    lines = ["| Table | Added | Changed | Removed |", "| --- | ---: | ---: | ---: |"]
    lines += [
        f"| {total.table} | {total.added:,} | {total.changed:,} | {total.removed:,} |"
        for total in sum_by_table(plan)
    ]
    return [*lines, "", *(f"- {line}" for line in list_outcomes(plan)), ""]


def sum_by_table(plan: Plan) -> list[TableDifference]:
    """Return the changes of all partitions, by table."""
    totals: dict[str, TableDifference] = {}
    for partition in plan.changing:
        for difference in partition.differences:
            if difference.is_any:
                before = totals.get(difference.table, TableDifference(difference.table))
                totals[difference.table] = before + difference
    return list(totals.values())


def list_outcomes(plan: Plan) -> list[str]:
    """Return how many partitions have another outcome, and how many records are rejected."""
    outcomes = Counter(
        (partition.table, partition.outcome)
        for partition in plan.changing
        if partition.outcome != partition.outcome_before
    )
    rejected = Counter[str]()
    for partition in plan.changing:
        rejected[partition.table] += partition.newly_rejected
    lines = [
        f"{table}: {count} partitions would be {OUTCOMES[outcome]}"
        for (table, outcome), count in outcomes.items()
    ]
    lines += [
        f"{table}: {count:,} records newly rejected" for table, count in rejected.items() if count
    ]
    return lines


def _list_columns(plan: Plan) -> list[str]:
    lines = ["| Column | Values | Example | Before | After |", "| --- | ---: | --- | --- | --- |"]
    counts, examples = Counter[str](), dict[str, Example]()
    for partition in plan.changing:
        for difference in partition.differences:
            for name, count in difference.columns.items():
                column = f"{difference.table}.{name}"
                counts[column] += count
                examples.setdefault(column, difference.examples[name][0])
    if not counts:
        return []
    for column, count in counts.items():
        example = examples[column]
        cells = (describe_key(example), example.before, example.after)
        lines.append(f"| {column} | {count:,} | {' | '.join(map(_escape, cells))} |")
    return [*lines, ""]


def _escape(value: object) -> str:
    """Return a value as a cell, in which neither a line nor the table ends."""
    text = str(value).replace("\\", "\\\\").replace("|", "\\|").replace("`", "\\`")
    return " ".join(text.replace("<", "&lt;").split())


def _list_partitions(table: str, changing: Sequence[PartitionPlan]) -> list[str]:
    if not changing:
        return []
    lines = [f"## {table}", ""]
    lines += [
        f"- {_escape(partition.partition_key)}: {_escape(describe_partition(partition))}"
        for partition in changing[:MAX_SHOWN]
    ]
    if len(changing) > MAX_SHOWN:
        lines.append(f"- and {len(changing) - MAX_SHOWN} more partitions")
    return [*lines, ""]
