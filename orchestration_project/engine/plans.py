"""Plans: what replays would do to the loaded rows by the present code, found without a write.

A partition is read from its captures and validated as a replay does it, and compared with what is
loaded. So the plan and the replay cannot disagree, as long as code, captures and state stay.
"""

import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import polars as pl
from sqlalchemy import Connection, Table, select

from orchestration_project.engine.contracts.values import BATCH_INDEX, derive_schema
from orchestration_project.engine.deliveries import PendingDelivery
from orchestration_project.engine.distributions import Distribution, measure
from orchestration_project.engine.loader import DatasetLoader
from orchestration_project.engine.warehouse import RecordedDelivery, ValidatedBatch
from orchestration_project.engine.warehouse.delivery import build_latest_group
from orchestration_project.engine.warehouse.difference import Difference
from orchestration_project.engine.warehouse.fencing import read_states
from orchestration_project.engine.warehouse.frames import read_scope
from orchestration_project.engine.warehouse.loading import compare, split_ranges
from orchestration_project.engine.warehouse.target import BOOKKEEPING, KNOWN_FROM
from orchestration_project.errors import (
    ConfigurationError,
    ContractError,
    SourceError,
    TransientError,
)
from orchestration_project.tables.queries.personal import MASK
from orchestration_project.tables.schema import key_names, personal_columns
from orchestration_project.tables.spine import audits, captures, deliveries, fences, rejects

MAX_EXAMPLES = 3
"""Examples of each kind of change, and of each column."""

COMPARE_ATTEMPTS = 3
"""Comparisons of a partition that loads change meanwhile."""

ADDED, REMOVED, FAILED = "added", "removed", "failed"

REFUSALS = (SourceError, ContractError)
"""Errors of bytes that the present code refuses."""


@dataclass(frozen=True)
class Example:
    """A row that would change.

    Attributes:
        key: Its key, by column.
        before: The loaded value; of an added or removed row None.
        after: The value that would be loaded.
    """

    key: Mapping[str, Any]
    before: Any = None
    after: Any = None


@dataclass(frozen=True)
class TableDifference:
    """Changes of a table by a replay.

    Attributes:
        table: Its name.
        added, changed, removed, unchanged: Numbers of rows.
        columns: Number of rows with another value, by column.
        examples: A few rows by column, and by ``added`` and ``removed``.
        distributions: Values before and after of the rows that change, by numeric column with
            other values; not those of persons.
    """

    table: str
    added: int = 0
    changed: int = 0
    removed: int = 0
    unchanged: int = 0
    columns: Mapping[str, int] = field(default_factory=dict[str, int])
    examples: Mapping[str, Sequence[Example]] = field(default_factory=dict[str, Sequence[Example]])
    distributions: Mapping[str, tuple[Distribution, Distribution]] = field(
        default_factory=dict[str, tuple[Distribution, Distribution]]
    )

    @property
    def is_any(self) -> bool:
        """Whether any row would change."""
        return bool(self.added or self.changed or self.removed)

    def __add__(self, other: "TableDifference") -> "TableDifference":
        """Return the difference of two parts of one table."""
        names = dict.fromkeys([*self.examples, *other.examples])
        return TableDifference(
            self.table,
            self.added + other.added,
            self.changed + other.changed,
            self.removed + other.removed,
            self.unchanged + other.unchanged,
            dict(Counter(self.columns) + Counter(other.columns)),
            {
                name: [*self.examples.get(name, ()), *other.examples.get(name, ())][:MAX_EXAMPLES]
                for name in names
            },
            self._add_distributions(other),
        )

    def _add_distributions(
        self, other: "TableDifference"
    ) -> dict[str, tuple[Distribution, Distribution]]:
        nothing = (Distribution(), Distribution())
        pairs = {
            name: (self.distributions.get(name, nothing), other.distributions.get(name, nothing))
            for name in dict.fromkeys([*self.distributions, *other.distributions])
        }
        return {
            name: (one[0] + another[0], one[1] + another[1])
            for name, (one, another) in pairs.items()
        }


@dataclass(frozen=True)
class Turn:
    """A check whose verdict would be another one; blank: it was, or would be, not made."""

    check: str
    before: str
    after: str


@dataclass(frozen=True)
class PartitionPlan:
    """Effect of a replay of a partition.

    Attributes:
        table: Name of the dataset's table.
        partition_key: The partition.
        token: Deliveries of it that were recorded when the plan was made.
        group_id: The latest recorded delivery.
        row_count: Valid rows by the present rules.
        differences: What would change in the table, then in the tables derived with it.
        newly_rejected: Records that would be rejected, and were not.
        no_longer_rejected: Records that were rejected, and would not be.
        rejected_examples: Some of the newly rejected, with the reason.
        turns: Checks with another verdict.
        outcome: landed, held_back or refused, by the present rules.
        outcome_before: The same of the latest delivery.
        error: Why it would be refused; blank: it would not.
        needs_version: Whether derived rows differ, and a replay would leave them, as neither the
            rows nor the version of the rules are others.
        dependents: Tables derived later, which it reaches.
        seconds: Time that it took to find out.
    """

    table: str
    partition_key: str
    token: int
    group_id: str
    row_count: int = 0
    differences: Sequence[TableDifference] = ()
    newly_rejected: int = 0
    no_longer_rejected: int = 0
    rejected_examples: Sequence[Mapping[str, Any]] = ()
    turns: Sequence[Turn] = ()
    outcome: str = "landed"
    outcome_before: str = "landed"
    error: str = ""
    needs_version: bool = False
    dependents: Sequence[str] = ()
    seconds: float = 0.0

    @property
    def is_loaded(self) -> bool:
        """Whether a replay would load it, and anything would be another than it is."""
        return self.is_any and self.outcome == "landed" and not self.needs_version

    @property
    def is_any(self) -> bool:
        """Whether anything would be another than it is."""
        return bool(
            any(difference.is_any for difference in self.differences)
            or self.newly_rejected
            or self.no_longer_rejected
            or self.turns
            or self.outcome != self.outcome_before
        )


def plan_partition(loader: DatasetLoader[Any, Any], key: str) -> PartitionPlan:
    """Return the effect of a replay of a partition; nothing is written to database or store.

    Args:
        loader: Loads the dataset from `RecordedDeliveries`.
        key: A partition with a recorded delivery that was read whole.

    Raises:
        TransientError: Loads of the partition came between, again and again.
        BlobError: The store does not hold what was captured.
    """
    started = time.monotonic()
    for _ in range(COMPARE_ATTEMPTS):
        plan = _plan_once(loader, key)
        if plan is not None:
            return replace(plan, seconds=time.monotonic() - started)
    raise TransientError(
        f"{key} of {loader.dataset.table.name} was loaded while it was planned",
        remedy="plan again once its loads have ended",
    )


def _plan_once(loader: DatasetLoader[Any, Any], key: str) -> PartitionPlan | None:
    """Return the plan of a partition; None: it was loaded meanwhile."""
    table = loader.dataset.table
    before = loader.warehouse.state(table, key).token
    refusal: Exception | None = None
    prepared: tuple[PendingDelivery, ValidatedBatch[Any]] | None = None
    try:
        prepared = loader.validate(key)
    except REFUSALS as error:
        refusal = error
    with loader.warehouse.reading() as connection:
        token = read_states(connection, table, [key])[key].token
        if token != before or (prepared is not None and prepared[1].target.token != token):
            return None
        recorded = _Recorded(connection, table, key, prepared[0].recorded if prepared else ())
        plan = PartitionPlan(table.name, key, token, recorded.group_id)
        if prepared is None:
            return replace(
                plan, outcome="refused", outcome_before=recorded.outcome, error=str(refusal)
            )
        return _compare(loader, connection, plan, recorded, *prepared)


def _compare(
    loader: DatasetLoader[Any, Any],
    connection: Connection,
    plan: PartitionPlan,
    recorded: "_Recorded",
    pending: PendingDelivery,
    batch: ValidatedBatch[Any],
) -> PartitionPlan:
    verdicts = [*batch.validated.audits, *loader.compare_with_loaded(connection, batch)]
    validated = replace(batch.validated, audits=verdicts)
    batch = replace(batch, validated=validated)
    plan = replace(
        plan,
        row_count=validated.row_count,
        outcome="held_back" if validated.is_quarantined else "landed",
        outcome_before=recorded.outcome,
        turns=recorded.find_turns({audit.name: audit.outcome for audit in verdicts}),
        **recorded.compare_rejects(validated.rejects),
    )
    if validated.is_quarantined:
        return plan
    differences = list(_iterate_changes(connection, batch))
    changed = any(difference.is_any for difference in differences)
    is_derived_alone = changed and not differences[0].is_any
    return replace(
        plan,
        differences=differences,
        needs_version=is_derived_alone and loader.changes_nothing(pending, batch),
        dependents=[table.name for table in batch.target.spec.dependents] if changed else [],
    )


def _iterate_changes(
    connection: Connection, batch: ValidatedBatch[Any]
) -> Iterator[TableDifference]:
    """Yield the changes of the table, then of those derived of the partition."""
    target = batch.target
    if batch.validated.ranges is None:
        change = compare(connection, [batch], [True])
        yield _build_difference(target.table, change)
        if target.spec.transforms:
            yield from _iterate_derived(connection, batch, change)
        return
    total = TableDifference(target.table.name)
    for _, part in split_ranges(batch):
        total += _build_difference(target.table, compare(connection, [part], [True]))
    yield total


def _iterate_derived(
    connection: Connection, batch: ValidatedBatch[Any], change: Difference
) -> Iterator[TableDifference]:
    transforms = batch.target.spec.transforms
    derived = batch.derived
    if derived is None:
        rows = _build_final_rows(connection, batch, change)
        derived = {table: transform.of_all(rows) for table, transform in transforms.items()}
    for table in transforms:
        names = [name for name in derive_schema(table) if name != KNOWN_FROM]
        loaded = read_scope(connection, table, batch.target.partition).select(names)
        yield compare_rows(table, loaded, derived[table].select(names))


def _build_final_rows(
    connection: Connection, batch: ValidatedBatch[Any], change: Difference
) -> pl.DataFrame:
    """Return all rows of the partition as they would be; a delivery may be of a part of them."""
    table, partition = batch.target.table, batch.target.partition
    loaded = read_scope(connection, table, partition)
    written = change.written.select(loaded.columns)
    replaced_rows = pl.concat([change.replaced.select(loaded.columns), written])
    unchanged_rows = loaded.join(replaced_rows, on=key_names(table), how="anti", nulls_equal=True)
    return pl.concat([unchanged_rows, written]).sort(key_names(table))


def _build_difference(table: Table, change: Difference) -> TableDifference:
    """Return the changes by a delivery, from its difference to the loaded rows."""
    [counts] = change.counts
    difference = compare_rows(table, change.replaced, change.written)
    return replace(
        difference,
        added=counts.added,
        changed=counts.changed,
        removed=counts.removed,
        unchanged=counts.unchanged,
    )


def compare_rows(table: Table, before: pl.DataFrame, after: pl.DataFrame) -> TableDifference:
    """Compare rows of a table by its key, with the number of other values by column.

    Both frames have the columns of its key and values; columns that say where a row came from are
    not compared.
    """
    key = key_names(table)
    names = [
        name
        for name in after.columns
        if name in before.columns and name not in (*key, *BOOKKEEPING, BATCH_INDEX)
    ]
    added = after.join(before, on=key, how="anti", nulls_equal=True)
    removed = before.join(after, on=key, how="anti", nulls_equal=True)
    common_rows = before.select(*key, *names).join(
        after.select(*key, *names), on=key, how="inner", suffix="_after", nulls_equal=True
    )
    differs = {name: pl.col(name).ne_missing(pl.col(f"{name}_after")) for name in names}
    changed = (
        common_rows.filter(pl.any_horizontal(differs.values())) if differs else common_rows.clear()
    )
    columns: dict[str, int] = {}
    hidden = set(personal_columns(table))
    examples = {
        kind: [
            Example(_mask(row, hidden))
            for row in frame.select(key).sort(key).head(MAX_EXAMPLES).to_dicts()
        ]
        for kind, frame in ((ADDED, added), (REMOVED, removed))
        if len(frame)
    }
    for name, condition in differs.items():
        rows = changed.filter(condition)
        if len(rows):
            columns[name] = len(rows)
            first = rows.sort(key).head(MAX_EXAMPLES).to_dicts()
            examples[name] = [
                Example(
                    _mask({part: row[part] for part in key}, hidden),
                    *_mask({name: row[name]}, hidden).values(),
                    *_mask({name: row[f"{name}_after"]}, hidden).values(),
                )
                for row in first
            ]
    distributions = {
        name: (
            measure(pl.concat([changed[name], removed[name]])),
            measure(pl.concat([changed[f"{name}_after"], added[name]])),
        )
        for name in columns
        if name not in hidden
        and before.schema[name].is_numeric()
        and after.schema[name].is_numeric()
    }
    return TableDifference(
        table.name,
        len(added),
        len(changed),
        len(removed),
        len(common_rows) - len(changed),
        columns,
        examples,
        distributions,
    )


def _mask(values: Mapping[str, Any], hidden: Collection[str]) -> Mapping[str, Any]:
    """Return values without those of persons: plans are read in reviews, and are not erased."""
    return {name: MASK if name in hidden else value for name, value in values.items()}


class _Recorded:
    """Records of the deliveries that a partition is made of.

    Attributes:
        group_id: The latest delivery.
        outcome: Its outcome.
    """

    def __init__(
        self,
        connection: Connection,
        table: Table,
        key: str,
        made_of: Sequence[RecordedDelivery],
    ) -> None:
        self._connection = connection
        self._table = table
        columns = ("group_id", "outcome", "replay_of", "scope")
        latest = select(*(deliveries.c[name] for name in columns)).select_from(
            fences.join(deliveries, deliveries.c.group_id == build_latest_group())
        )
        is_of_partition = (fences.c.table_name == table.name, fences.c.scope_key == key)
        delivery = connection.execute(latest.where(*is_of_partition)).first()
        if delivery is None:
            raise ConfigurationError(
                f"the latest delivery of {key} of {table.name} is not recorded",
                remedy="load the partition again, then plan",
            )
        self.group_id, self.outcome = delivery.group_id, delivery.outcome
        is_all = delivery.replay_of is not None or delivery.scope == "{}"
        self._groups = [self.group_id] if is_all else [each.group_id for each in made_of]

    def find_turns(self, verdicts: Mapping[str, str]) -> list[Turn]:
        """Return the checks that failed and would not, or would fail and did not."""
        rows = self._connection.execute(
            select(audits.c.name, audits.c.outcome).where(
                audits.c.group_id.in_(self._groups), audits.c.table_name == self._table.name
            )
        )
        before: dict[str, str] = {}
        for name, outcome in rows:
            before[name] = outcome if before.get(name) != FAILED else FAILED
        return [
            Turn(name, before.get(name, ""), verdicts.get(name, ""))
            for name in sorted({*before, *verdicts})
            if (before.get(name) == FAILED) != (verdicts.get(name) == FAILED)
        ]

    def compare_rejects(self, found: pl.DataFrame) -> dict[str, Any]:
        """Return how many records are rejected now and were not, and the reverse, with examples."""
        of_groups = select(captures.c.capture_id).where(captures.c.group_id.in_(self._groups))
        columns = (rejects.c.line_number, rejects.c.record)
        rows = self._connection.execute(
            select(*columns).where(
                rejects.c.table_name == self._table.name, rejects.c.capture_id.in_(of_groups)
            )
        )
        before = Counter(tuple(row) for row in rows)
        reasons = {(line, record): reason for line, record, reason in _read_rejects(found)}
        after = Counter((line, record) for line, record, _ in _read_rejects(found))
        newly, no_longer = after - before, before - after
        return {
            "newly_rejected": newly.total(),
            "no_longer_rejected": no_longer.total(),
            "rejected_examples": [
                {
                    "line_number": line,
                    "record": MASK if personal_columns(self._table) else record,
                    "reason": reasons[line, record],
                }
                for line, record in sorted(newly)[:MAX_EXAMPLES]
            ],
        }


def _read_rejects(found: pl.DataFrame) -> Iterator[tuple[int, str, str]]:
    yield from found.select("line_number", "record", "reason").iter_rows()
