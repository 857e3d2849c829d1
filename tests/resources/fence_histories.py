"""Random histories of several partitions, and what their fences must say of them.

The model asks `landings` and `audits` themselves, as the project did before fences had the state.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from random import Random
from typing import Any

import polars as pl
from hypothesis import strategies as st
from sqlalchemy import Engine, RowMapping, Select, Table, event, func, select

from orchestration_project.domains.finra.tables.weekly import finra_otc_weekly
from orchestration_project.engine.contracts.audits import Audit, Validated
from orchestration_project.engine.contracts.frame_types import REJECT_SCHEMA
from orchestration_project.engine.warehouse import (
    QuarantinedError,
    ScopeState,
    SupersededError,
    ValidatedBatch,
    Warehouse,
    prepare,
)
from orchestration_project.tables.spine import audits, fences, landings
from tests.resources.weeks import (
    FAILED,
    PASSED,
    PUBLISHED,
    WARNED,
    PartitionLoader,
    StoppedClock,
    frame,
    row,
)

TIERS = ("T1", "T2", "OTCE")
MAX_STATEMENTS = 15
"""A load takes about as many; with more, nothing interrupts it."""


class InterruptedLoadError(Exception):
    """Error that a test raises instead of a statement."""


@dataclass
class Source:
    """Present state of a partition in the source, and the rules that apply to it."""

    shares: int = 0
    updated: int = 0
    version: int = 1
    rules: int = 1

    @property
    def rows(self) -> list[dict[str, Any]]:
        updated = PUBLISHED + timedelta(days=self.updated)
        return [row("AAA", share_quantity=self.shares, last_update_date=updated)]


@dataclass
class Histories:
    """Makes deliveries of three partitions, each in one of all ways in which one can end."""

    partition_loader: PartitionLoader
    clock: StoppedClock
    sources: dict[str, Source] = field(default_factory=lambda: {tier: Source() for tier in TIERS})

    def play(self, action: str, tier: str, number: int) -> None:
        """Do one of `ACTIONS` with a partition."""
        ACTIONS[action](self, tier, number)

    def restate(self, tier: str, number: int) -> None:
        source = self.sources[tier]
        source.shares, source.version = number, source.version + 1
        self._write_batch(tier)

    def repeat(self, tier: str, _: int) -> None:
        self._write_batch(tier)

    def touch(self, tier: str, number: int) -> None:
        """Change what is metadata, alone."""
        self.sources[tier].updated = number
        self.sources[tier].version += 1
        self._write_batch(tier)

    def apply_new_rules(self, tier: str, _: int) -> None:
        self.sources[tier].rules += 1
        self._write_batch(tier)

    def warn(self, tier: str, _: int) -> None:
        self._write_batch(tier, [PASSED, WARNED])

    def skip_audits(self, tier: str, _: int) -> None:
        self._write_batch(tier, [])

    def quarantine(self, tier: str, _: int) -> None:
        self.sources[tier].version += 1
        with suppress(QuarantinedError):
            self._write_batch(tier, [FAILED])

    def refuse(self, tier: str, _: int) -> None:
        own = self._own(tier)
        own.warehouse.record_refused(own.target(), own.delivery("unreadable", captures=()))

    def come_late(self, tier: str, number: int) -> None:
        own = self._own(tier)
        token = own.target().token
        target = own.target(token - number if 0 < number <= token else token + 1)
        with suppress(SupersededError):
            own.write_batch(*self.sources[tier].rows, target=target)

    def replay(self, tier: str, number: int) -> None:
        source = replace(self.sources[tier], shares=number, version=1)
        self._own(tier).write_batch(
            *source.rows,
            version="v1",
            rule_version=f"{source.rules}",
            replay_of="an earlier one",
            turns_back=True,
        )

    def load_part(self, tier: str, number: int) -> None:
        """Load one market of the partition."""
        self.sources[tier].shares = number
        self._write_batch(tier, scope={"market": ("ATS",)})

    def load_together(self, tier: str, number: int) -> None:
        """Load all in one transaction: one of them is quarantined, and one may come too late."""
        verdicts = {tier: [FAILED]}
        late = TIERS[number % 3]
        batches = [
            self._batch(tier, verdicts.get(tier, [PASSED]), late=tier == late) for tier in TIERS
        ]
        self.partition_loader.warehouse.load_batches(batches)

    def interrupt(self, tier: str, number: int) -> None:
        """Have a load of all of them fail at a statement."""
        self.sources[tier].shares += 1
        batches = [self._batch(tier, [PASSED]) for tier in TIERS]
        with suppress(InterruptedLoadError), failing_at(number % MAX_STATEMENTS + 1):
            self.partition_loader.warehouse.load_batches(batches)

    def _own(self, tier: str) -> PartitionLoader:
        return replace(self.partition_loader, tier=tier)

    def _write_batch(
        self, tier: str, verdicts: Sequence[Audit] = (PASSED,), **delivery: Any
    ) -> None:
        source = self.sources[tier]
        self._own(tier).write_batch(
            *source.rows,
            audits=verdicts,
            version=f"v{source.version}",
            rule_version=f"{source.rules}",
            **delivery,
        )

    def _batch(
        self, tier: str, verdicts: Sequence[Audit], *, late: bool = False
    ) -> ValidatedBatch[Any]:
        own, source = self._own(tier), self.sources[tier]
        target = own.target(rule_version=f"{source.rules}")
        target = replace(target, token=target.token + late)
        delivery = own.delivery(f"v{source.version}")
        place = {"tier": tier, "week_start": own.week_start}
        rows = frame([record | place for record in source.rows])
        validated = Validated(rows, pl.DataFrame(schema=REJECT_SCHEMA), verdicts)
        return prepare(target, delivery, validated)


ACTIONS: Mapping[str, Callable[[Histories, str, int], None]] = {
    each.__name__: each
    for each in (
        *(Histories.restate, Histories.repeat, Histories.touch, Histories.apply_new_rules),
        *(Histories.warn, Histories.skip_audits, Histories.quarantine, Histories.refuse),
        *(Histories.come_late, Histories.replay, Histories.load_part, Histories.load_together),
        Histories.interrupt,
    )
}
NUMBERS = 20

HISTORIES = st.lists(
    st.tuples(
        st.sampled_from(sorted(ACTIONS)), st.sampled_from(TIERS), st.integers(0, NUMBERS - 1)
    ),
    min_size=1,
    max_size=10,
)


def drawn(seed: int, length: int) -> Iterator[tuple[str, str, int]]:
    """Yield as many steps, each action at least once if there are as many, always the same."""
    random = Random(seed)  # noqa: S311 - no secret
    actions = [*sorted(ACTIONS), *random.choices(sorted(ACTIONS), k=length)][:length]
    random.shuffle(actions)
    for action in actions:
        yield action, random.choice(TIERS), random.randrange(NUMBERS)


@contextmanager
def failing_at(number: int) -> Iterator[None]:
    """Raise instead of the statement of a number, of all that any database is given."""
    passed = 0

    def count(*_: object) -> None:
        nonlocal passed
        passed += 1
        if passed == number:
            raise InterruptedLoadError

    event.listen(Engine, "before_cursor_execute", count)
    try:
        yield
    finally:
        event.remove(Engine, "before_cursor_execute", count)


def check_fences(warehouse: Warehouse, table: Table = finra_otc_weekly) -> None:
    """Check that what fences say is what the history says."""
    with warehouse.reading() as connection:
        keys = list(
            connection.scalars(select(fences.c.scope_key).where(fences.c.table_name == table.name))
        )
    first = _first_loads(warehouse, table)
    assert _first_loads_of_fences(warehouse, table) == first
    assert warehouse.first_landed_at(table) == min(first.values(), default=None)
    assert warehouse.changes(table) == _changes(warehouse, table)
    assert warehouse.known_versions(table) == _known_versions(warehouse, table)
    assert warehouse.latest_audits(table).rows() == _latest_audits(warehouse, table).rows()
    assert {key: warehouse.state(table, key) for key in keys} == _states(warehouse, table)


def _changes(warehouse: Warehouse, table: Table) -> dict[str, int]:
    own = landings.c
    found: dict[str, int] = {}
    rules: dict[str, str] = {}
    with warehouse.reading() as connection:
        loaded = connection.execute(
            select(own.partition_key, own.group_id, own.change_cause, own.rule_version)
            .where(own.table_name == table.name)
            .order_by(own.landed_at)
        ).all()
    for key, group, cause, rule in loaded:
        if cause != "none" or rules.get(key) != rule:
            found[key] = int(group.rpartition("#")[2])
        rules[key] = rule
    return found


def _known_versions(warehouse: Warehouse, table: Table) -> dict[str, set[str]]:
    known: dict[str, set[str]] = {}
    with warehouse.reading() as connection:
        audited = connection.execute(
            select(fences.c.scope_key, fences.c.source_version).where(
                fences.c.table_name == table.name, fences.c.source_version.is_not(None)
            )
        )
        for key, version in audited:
            known.setdefault(key, set()).add(version)
    for key, loaded in _latest_loads(warehouse, table).items():
        known.setdefault(key, set()).add(loaded["source_version"])
    return known


def _latest_audits(warehouse: Warehouse, table: Table) -> pl.DataFrame:
    newest = (
        select(audits.c.partition_key, func.max(audits.c.audited_at).label("audited_at"))
        .where(audits.c.table_name == table.name)
        .group_by(audits.c.partition_key)
        .subquery()
    )
    return warehouse.frame(
        select(audits)
        .join(
            newest,
            (audits.c.partition_key == newest.c.partition_key)
            & (audits.c.audited_at == newest.c.audited_at),
        )
        .where(audits.c.table_name == table.name)
        .order_by(audits.c.partition_key, audits.c.name),
        audits,
    )


def _states(warehouse: Warehouse, table: Table) -> dict[str, ScopeState]:
    names = ("landed_at", "source", "source_version", "content_sha256", "rule_version", "scope")
    latest = _latest_loads(warehouse, table)
    with warehouse.reading() as connection:
        tokens = connection.execute(
            select(fences.c.scope_key, fences.c.token).where(fences.c.table_name == table.name)
        ).all()
    return {
        key: ScopeState(token, *(latest[key][name] for name in (*names, "run_id")))
        if key in latest
        else ScopeState(token)
        for key, token in tokens
    }


def _latest_loads(warehouse: Warehouse, table: Table) -> dict[str, RowMapping]:
    with warehouse.reading() as connection:
        found = connection.execute(
            select(landings)
            .where(landings.c.table_name == table.name)
            .order_by(landings.c.landed_at)
        ).mappings()
        return {delivery["partition_key"]: delivery for delivery in found}


def _first_loads(warehouse: Warehouse, table: Table) -> dict[str, datetime]:
    own, first = landings.c, func.min(landings.c.landed_at)
    statement = select(own.partition_key, first).where(own.table_name == table.name)
    return _by_key(warehouse, statement.group_by(own.partition_key))


def _first_loads_of_fences(warehouse: Warehouse, table: Table) -> dict[str, datetime]:
    own = fences.c
    is_loaded = own.first_landed_at.is_not(None)
    statement = select(own.scope_key, own.first_landed_at)
    return _by_key(warehouse, statement.where(own.table_name == table.name, is_loaded))


def _by_key(warehouse: Warehouse, statement: Select[Any, Any]) -> dict[str, datetime]:
    with warehouse.reading() as connection:
        return {row[0]: row[1] for row in connection.execute(statement)}
