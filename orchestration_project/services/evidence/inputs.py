"""Partitions that derived rows of a partition read: weeks of windows, and all tiers of a week."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import NamedTuple

from sqlalchemy import Connection, and_, or_, select

from orchestration_project.engine.contracts.formulas import TableRules
from orchestration_project.errors import ConfigurationError
from orchestration_project.services.evidence.subjects import EvidenceSubject, select_runs
from orchestration_project.tables.spine import deliveries


class DerivedInputs(NamedTuple):
    """Captured partitions that the derived rows of a partition read.

    Attributes:
        key: The derived partition.
        table: The captured table.
        partitions: Those of its partitions that were delivered by then.
    """

    key: str
    table: str
    partitions: Sequence[str]


def read_inputs(
    connection: Connection, subject: EvidenceSubject, rules: Mapping[str, TableRules]
) -> dict[str, DerivedInputs]:
    """Return the inputs of the derived rows of a partition, by derived table."""
    if subject.partition is None:
        return {}
    statement = select(deliveries.c.table_name, deliveries.c.partition_key).distinct()
    names: dict[str, list[str]] = {}
    for table, key in connection.execute(statement.where(*subject.until(deliveries.c.recorded_at))):
        names.setdefault(table, []).append(key)
    inputs = {}
    for name, derived in rules.items():
        captured = find_captured_rules(rules, name)
        keys = sorted(names.get(captured.table.name, []))
        if derived.rows_of and subject.partition in keys:
            texts = _split_key(captured, subject.partition)
            key = "|".join(texts[part] for part in derived.partition)
            read = [
                other for other in keys if _does_read(derived, texts, _split_key(captured, other))
            ]
            inputs[name] = DerivedInputs(key, captured.table.name, read)
    return inputs


def add_inputs(subject: EvidenceSubject, inputs: Mapping[str, DerivedInputs]) -> EvidenceSubject:
    """Return a subject to which the inputs of its derived rows belong.

    Raises:
        ConfigurationError: It is not a partition.
    """
    if subject.partition is None:
        raise ConfigurationError(
            "invalid include_inputs: expected the evidence of a partition",
            remedy="name partition and at, or leave it out",
        )
    texts: dict[str, set[str]] = {}
    for of_table in inputs.values():
        texts.setdefault(of_table.table, set()).update(of_table.partitions)
    columns = deliveries.c
    conditions = [
        and_(columns.table_name == table, columns.partition_key.in_(sorted(keys)))
        for table, keys in texts.items()
    ]
    condition = and_(or_(subject.deliveries, *conditions), *subject.until(columns.recorded_at))
    names = sorted({key for keys in texts.values() for key in keys} - {subject.partition})
    return replace(
        subject,
        about={**subject.about, "inputs": ", ".join(names)},
        runs=select_runs(condition),
        deliveries=condition,
        inputs={table: sorted(keys - {subject.partition}) for table, keys in texts.items()},
    )


def find_captured_rules(rules: Mapping[str, TableRules], table: str) -> TableRules:
    """Return the rules of the captured rows that a table's rows are made of."""
    rows_of = rules[table].rows_of
    return rules[table] if rows_of is None else find_captured_rules(rules, rows_of)


def _split_key(rules: TableRules, partition: str) -> dict[str, str]:
    return dict(zip(rules.partition, partition.split("|"), strict=True))


def _does_read(derived: TableRules, own: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Return whether derived rows of one captured partition read those of another."""
    return all(_is_within(derived, name, own[name], other[name]) for name in derived.partition)


def _is_within(derived: TableRules, name: str, own: str, other: str) -> bool:
    window = derived.window
    if window is None or name != window.column:
        return own == other
    day = date.fromisoformat(own)
    first, last = (str(day + timedelta(days=count)) for count in (window.first, window.last))
    return first <= other <= last
