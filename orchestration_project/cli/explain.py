"""The command that explains a published number."""

import json
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import click

from orchestration_project.cli.commands import Command
from orchestration_project.cli.console import OUTPUT, echo, emit, printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from orchestration_project.engine.captures import Captures
    from orchestration_project.engine.contracts.api.explanation import InputRow, NumberExplanation

    Explainer = Callable[[Connection, Captures], NumberExplanation]


@click.command(cls=Command, has_json=True)
@click.argument("table")
@click.argument("key")
@click.argument("column")
def explain(table: str, key: str, column: str) -> int:
    """Show how the number in a COLUMN of a TABLE's row came about.

    KEY is the partition and the rest of the row's key, such as 'T1|2026-10-05|AAAI'. The formula is
    evaluated on the stored input rows; the exit status is 1 if its value is not the stored one. Of
    a source of your own, the field is read again from the captured record. Of a table that you
    derive, its query or function runs again.
    """
    from orchestration_project.engine.captures import Captures
    from orchestration_project.engine.connections.artifacts import open_store
    from orchestration_project.engine.warehouse.connecting import open_reading
    from orchestration_project.services.explanation import (
        choose_number,
        explain_number,
        read_rules,
    )
    from orchestration_project.settings import load_settings

    key = key.strip()  # CSV lines end with CR LF
    settings = load_settings()
    explain_it = _find_explainer(table, key, column)
    if explain_it is None:
        number = choose_number(read_rules(), table, key, column)
        explain_it = partial(explain_number, number=number)
    with open_reading(settings) as connection:
        explanation = explain_it(connection, Captures(open_store(settings)))
    if OUTPUT.is_json:
        emit(explanation.model_dump(mode="json"))
    else:
        for line in describe(explanation):
            echo(printable(line))
    return int(not explanation.is_equal)


def _find_explainer(table: str, key: str, column: str) -> "Explainer | None":
    """Return the explainer of a value of a project's table; None: it has none of this name."""
    from orchestration_project.settings.project import own_files

    if not own_files():
        return None
    from orchestration_project.engine.own_derived import find_derived
    from orchestration_project.resources.own_derived import explain_value
    from orchestration_project.services.own_explanation import explain_own, find_own

    if declared := find_own(table):
        return lambda connection, store: explain_own(connection, store, declared, key, column)
    if derived := find_derived(table):
        return lambda connection, _: explain_value(derived, connection, key, column)
    return None


def describe(explanation: "NumberExplanation") -> Iterator[str]:
    """Yield the lines that people read."""
    yield f"{explanation.table} {explanation.key} {explanation.column}: {explanation.description}"
    yield f"formula     {json.dumps(explanation.formula)}"
    yield f"            SHA-256 {explanation.formula_sha256}"
    yield f"published   {explanation.published}"
    verdict = "equal" if explanation.is_equal else "not equal"
    yield f"recomputed  {explanation.recomputed}, {verdict}"
    yield from _describe_change(explanation)
    other_count = explanation.other_count
    other_text = f", and {other_count} of other keys" if other_count else ""
    yield f"rows        {explanation.input_count} of {explanation.rows_of}{other_text}"
    for row in explanation.inputs:
        yield from _describe_row(row)
    if len(explanation.inputs) < explanation.input_count:
        yield f"  and {explanation.input_count - len(explanation.inputs)} more"


def _describe_change(explanation: "NumberExplanation") -> Iterator[str]:
    change = explanation.last_change
    if change is None:
        yield "changed     not recorded"
        return
    day = f", published on {change.published_on}" if change.published_on else ""
    yield f"changed     {change.loaded_at:%Y-%m-%d %H:%M:%S} UTC, cause {change.cause}{day}"
    yield f"            delivery {change.group_id}, run {change.run_id}"
    if change.signature is None:
        yield "signature   none: loaded before the chain"
    else:
        yield f"signature   record {change.signature.number}, {change.signature.record_sha256}"
        yield f"            {change.signature.signature} by {change.signature.public_key}"


def _describe_row(row: "InputRow") -> Iterator[str]:
    values = ", ".join(f"{name} {value}" for name, value in row.values.items())
    yield f"  {row.key}  {values}"
    if row.fetched_at is None:
        yield f"    {row.problem}"
        return
    offset = "" if row.byte_offset is None else f", byte {row.byte_offset}"
    problem = row.problem or f"line {row.line_number}{offset}"
    yield f"    capture {row.capture_id}, {problem}, SHA-256 {row.sha256}"
    yield f"    fetched {row.fetched_at:%Y-%m-%d %H:%M:%S} UTC by run {row.fetched_by}: {row.url}"
    if row.line is not None:
        yield f"    {row.line}"
