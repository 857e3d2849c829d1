"""Deriving a partition across weeks or tiers, from what is landed to its table."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
from sqlalchemy import Column, Connection, Table, select

from orchestration_project.domains.finra import across, recomputation
from orchestration_project.domains.finra.recomputation import DerivingRule, Landed, version_of
from orchestration_project.domains.finra.selection import parsed
from orchestration_project.engine.environment import open_all
from orchestration_project.engine.warehouse import Derivation, Warehouse
from orchestration_project.engine.warehouse.difference import changes, read_fences
from orchestration_project.engine.warehouse.frames import Scope, read_frame, within
from orchestration_project.errors import ConfigurationError
from orchestration_project.resources.finra.preview import largest_rows
from orchestration_project.tables.finra import (
    finra_concentration_week,
    finra_otc_weekly,
    finra_symbol_rolling_6w,
    finra_symbol_week,
    finra_tier_week,
    finra_venue_week,
)


@dataclass(frozen=True)
class Recipe:
    """How a derived table is made: by which rule, for which rows, from what.

    ``columns`` of `finra_symbol_week` are read once for all weeks that a change reaches, as their
    windows overlap, and for all recipes. ``make`` takes the partition's key, the weeks that are
    landed of those that the rule names, these rows, and what else the database has.
    """

    table: Table
    rule: DerivingRule
    scope: Callable[[str], Scope]
    columns: Sequence[Column[Any]]
    make: Callable[[str, Collection[str], pl.DataFrame, Connection], pl.DataFrame]


def _of_tier_week(key: str) -> Scope:
    partition = parsed(key)
    return {"week_start": partition.week_start, "tier": partition.tier}


def _of_week(key: str) -> Scope:
    return {"week_start": parsed(f"|{key}").week_start}


def _rows(connection: Connection, scope: Scope, *columns: Column[Any]) -> pl.DataFrame:
    table = columns[0].table
    if not isinstance(table, Table):
        raise TypeError(f"{table} is no table")
    return read_frame(connection, select(*columns).where(within(table, scope)), table)


def _make_rolling(
    key: str, inputs: Collection[str], symbol_weeks: pl.DataFrame, _: Connection
) -> pl.DataFrame:
    return across.symbol_rolling_6w(
        _of_weeks(symbol_weeks, inputs),
        week_start=parsed(key).week_start,
        is_complete=len(inputs) == recomputation.WINDOW_WEEKS,
    )


def _make_concentration(
    key: str, inputs: Collection[str], symbol_weeks: pl.DataFrame, _: Connection
) -> pl.DataFrame:
    rows = _of_weeks(symbol_weeks, inputs)
    return across.concentration_week(rows, week_start=parsed(key).week_start)


def _make_tiers(
    key: str, _: Collection[str], symbols: pl.DataFrame, connection: Connection
) -> pl.DataFrame:
    venue_weeks = _rows(connection, _of_week(key), *finra_venue_week.c)
    return across.tier_week(venue_weeks, symbols.drop("week_start"))


def _of_weeks(rows: pl.DataFrame, keys: Collection[str]) -> pl.DataFrame:
    return rows.filter(pl.col("week_start").is_in([parsed(key).week_start for key in keys]))


_week = finra_symbol_week.c

ROLLING = Recipe(
    finra_symbol_rolling_6w,
    recomputation.ROLLING,
    _of_tier_week,
    (
        *(_week.week_start, _week.tier, _week.symbol),
        *(_week.total_share_quantity, _week.total_trade_count),
    ),
    _make_rolling,
)
CONCENTRATION = Recipe(
    finra_concentration_week,
    recomputation.CONCENTRATION,
    _of_tier_week,
    (
        *(_week.week_start, _week.tier, _week.symbol),
        *(_week.hhi_lower, _week.hhi_upper),
        *(_week.top_venue_share, _week.top_3_venue_share, _week.top_5_venue_share),
        _week.total_share_quantity,
    ),
    _make_concentration,
)
CROSS_TIER = Recipe(
    finra_tier_week,
    recomputation.CROSS_TIER,
    _of_week,
    (_week.week_start, _week.tier, _week.symbol),
    _make_tiers,
)


@dataclass(frozen=True)
class DerivedPartition:
    """What is to be written of a partition, and what is shown of it: its largest rows."""

    derivation: Derivation
    largest: pl.DataFrame


@dataclass(frozen=True)
class TakenGold:
    """What is to be written for a partition that a run was asked for; empty: all is current.

    ``versions`` say by table what the partition is made of.
    """

    partition_key: str
    versions: Mapping[str, str]
    derived: Sequence[DerivedPartition]
    seconds: float


@dataclass(frozen=True)
class DerivedTable:
    """What was derived in one table, by partition: the rows' number, and the largest.

    ``versions`` say what each partition is made of, that which was asked for included.
    """

    versions: Mapping[str, str]
    row_count: int
    recomputed: Mapping[str, int]
    largest: Mapping[str, pl.DataFrame]


@dataclass(frozen=True)
class DerivedGold:
    """What was derived for a partition, itself and its dependents, by table.

    ``seconds`` were spent on reading, deriving and writing all of them.
    """

    partition_key: str
    tables: Mapping[str, DerivedTable]
    seconds: float

    def __str__(self) -> str:
        keys = {key: None for table in self.tables.values() for key in table.recomputed}
        return f"derived {', '.join(keys)}" if keys else "unchanged"


@dataclass(frozen=True)
class _Due:
    """A partition to derive, the token of its fence, and the landed partitions it is made of."""

    recipe: Recipe
    key: str
    token: int
    inputs: Sequence[str]


@dataclass(frozen=True)
class GoldLoad:
    """Derives partitions of tables, each with the dependents that its change reaches.

    The tables of ``recipes`` are partitioned alike. Between two partitions that are ``asked``
    for, a dependent belongs to the earlier one.
    """

    recipes: Sequence[Recipe]
    warehouse: Warehouse
    asked: Collection[str]

    @property
    def where(self) -> Mapping[str, str]:
        """What an error names besides partition and run."""
        return {"tables": ", ".join(each.table.name for each in self.recipes)}

    def ready(self) -> None:
        """Open the database.

        Raises:
            OrchestrationError: It cannot be opened.
        """
        open_all(self.warehouse)

    def take(self, key: str) -> TakenGold:
        """Read, in one state of the database, what is out of date of a partition and dependents.

        Raises:
            ConfigurationError: What the partition is made of is not landed.
        """
        started = time.monotonic()
        with self.warehouse.reading() as connection:
            landed = changes(connection, finra_otc_weekly)
            required = {one: None for each in self.recipes for one in each.rule.required(key)}
            missing = [one for one in required if one not in landed]
            if missing:
                raise _not_landed(key, missing)
            derived = self._derived(connection, self._due(connection, key, landed), landed)
        versions = {each.table.name: version_of(each.rule, key, landed) for each in self.recipes}
        return TakenGold(key, versions, derived, time.monotonic() - started)

    def _due(self, connection: Connection, key: str, landed: Landed) -> list[_Due]:
        """Return what a change reaches and is not made of the present inputs."""
        found = []
        for recipe in self.recipes:
            rule = recipe.rule
            reached = rule.reached(key, asked=self.asked, landed=landed)
            fences = read_fences(connection, recipe.table, reached)
            for each, (token, derived) in fences.items():
                if derived != version_of(rule, each, landed):
                    inputs = [one for one in rule.inputs(each) if one in landed]
                    found.append(_Due(recipe, each, token, inputs))
        return found

    def _derived(
        self, connection: Connection, due: Sequence[_Due], landed: Landed
    ) -> list[DerivedPartition]:
        """Return the new rows of the partitions that are ``due``, each with its fence's token."""
        if not due:
            return []
        rows = _read(connection, due)
        return [
            _made(each, version_of(each.recipe.rule, each.key, landed), rows, connection)
            for each in due
        ]

    def land(self, taken: TakenGold) -> DerivedGold:
        """Write what was taken, in one transaction.

        Raises:
            SupersededError: Another run derived one of them meanwhile.
        """
        started = time.monotonic()
        self.warehouse.derive([each.derivation for each in taken.derived])
        seconds = taken.seconds + time.monotonic() - started
        own = self.recipes[0].scope(taken.partition_key)  # partitioned alike, so all have it
        row_counts = self.warehouse.row_counts([each.table for each in self.recipes], own)
        tables = {name: _table(name, count, taken) for name, count in row_counts.items()}
        return DerivedGold(taken.partition_key, tables, seconds)


def _made(due: _Due, version: str, rows: pl.DataFrame, connection: Connection) -> DerivedPartition:
    recipe = due.recipe
    new = recipe.make(due.key, due.inputs, rows, connection)
    derivation = Derivation(recipe.table, due.key, recipe.scope(due.key), due.token, version, new)
    return DerivedPartition(derivation, _largest(derivation, rows))


def _table(name: str, row_count: int, taken: TakenGold) -> DerivedTable:
    derived = {
        each.derivation.partition_key: each
        for each in taken.derived
        if each.derivation.table.name == name
    }
    return DerivedTable(
        {
            taken.partition_key: taken.versions[name],
            **{key: each.derivation.version for key, each in derived.items()},
        },
        row_count,
        {key: len(each.derivation.rows) for key, each in derived.items()},
        {key: each.largest for key, each in derived.items()},
    )


def _read(connection: Connection, due: Sequence[_Due]) -> pl.DataFrame:
    """Return what all of ``due`` is made of, once."""
    at = [parsed(key) for key in {one for each in due for one in each.inputs}]
    scope = {
        "week_start": tuple(sorted({each.week_start for each in at})),
        "tier": tuple(sorted({each.tier for each in at})),
    }
    columns = {column.name: column for each in due for column in each.recipe.columns}
    return _rows(connection, scope, *columns.values())


def _largest(derivation: Derivation, read: pl.DataFrame) -> pl.DataFrame:
    """Return the largest rows: where they are of symbols, by the symbol's shares in the week."""
    rows, shares = derivation.rows, "share_quantity"
    if "symbol" in rows.columns:
        shares, of_symbol = "total_share_quantity", ("week_start", "tier", "symbol")
        rows = rows.join(read.select(*of_symbol, shares), on=of_symbol)
    shown = [name for name in derivation.rows.columns if name not in derivation.partition]
    return largest_rows(rows, derivation.table, shares).select(shown)


def outdated_windows(warehouse: Warehouse, landed: Landed) -> list[str]:
    """Return the weeks of a tier whose six-week window or concentration is out of date."""
    due = (
        recomputation.out_of_date(each.rule, landed, warehouse.derived_versions(each.table))
        for each in (ROLLING, CONCENTRATION)
    )
    return sorted(set().union(*due))


def outdated_tier_weeks(warehouse: Warehouse, landed: Landed) -> list[str]:
    """Return the weeks of which all tiers are landed, and whose comparison is out of date."""
    derived = warehouse.derived_versions(CROSS_TIER.table)
    return recomputation.out_of_date(CROSS_TIER.rule, landed, derived)


def _not_landed(key: str, missing: Collection[str]) -> ConfigurationError:
    return ConfigurationError(
        f"{key} cannot be derived",
        expected="what it is made of is landed",
        found=f"not landed: {', '.join(missing)}",
        remedy="load that first, by the job finra_otc_weekly",
    )
