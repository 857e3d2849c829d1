"""Deriving a partition across weeks or tiers, from what is landed to its table."""

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl
from sqlalchemy import Column, ColumnElement, Connection, Table, cast, func, select

from orchestration_project.domains.finra import across, recomputation
from orchestration_project.domains.finra.contract import DE_MINIMIS
from orchestration_project.domains.finra.recomputation import Landed, Rule, parsed, version_of
from orchestration_project.errors import ConfigurationError
from orchestration_project.resources.finra.glimpse import largest_rows
from orchestration_project.resources.opening import open_now
from orchestration_project.resources.warehouse import Derivation, Warehouse
from orchestration_project.resources.warehouse.deriving import changes, read_fence
from orchestration_project.resources.warehouse.frames import Scope, read_frame, within
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

    ``read`` takes the partitions that are landed of those that the rule names.
    """

    table: Table
    rule: Rule
    scope: Callable[[str], Scope]
    read: Callable[[Connection, str, Collection[str]], pl.DataFrame]


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


def _read_rolling(connection: Connection, key: str, inputs: Collection[str]) -> pl.DataFrame:
    week, own = finra_symbol_week.c, parsed(key)
    return across.symbol_rolling_6w(
        _rows(
            connection,
            {"week_start": _weeks_of(inputs), "tier": own.tier},
            *(week.week_start, week.tier, week.symbol),
            *(week.total_share_quantity, week.total_trade_count),
        ),
        week_start=own.week_start,
        is_complete=len(inputs) == recomputation.WINDOW_WEEKS,
    )


def _read_concentration(connection: Connection, key: str, inputs: Collection[str]) -> pl.DataFrame:
    week, own = finra_symbol_week.c, parsed(key)
    return across.concentration_week(
        _largest_venues(connection, _of_tier_week(key)),
        _rows(
            connection,
            {"week_start": _weeks_of(inputs), "tier": own.tier},
            *(week.week_start, week.tier, week.symbol, week.total_share_quantity),
            *(week.hhi_lower, week.hhi_upper),
        ),
        week_start=own.week_start,
    )


def _largest_venues(connection: Connection, scope: Scope) -> pl.DataFrame:
    """Return symbol, venue_id and share_quantity of each symbol's largest named venues.

    The database picks them: a week has some forty rows for a symbol.
    """
    row = finra_otc_weekly.c
    shares = func.sum(row.share_quantity)
    place = func.row_number().over(partition_by=row.symbol, order_by=shares.desc())
    sums = (
        select(
            row.symbol,
            row.venue_id,
            cast(shares, row.share_quantity.type).label("share_quantity"),
            place.label("place"),
        )
        .where(within(finra_otc_weekly, scope), row.venue_id != DE_MINIMIS)
        .group_by(row.symbol, row.venue_id)
        .subquery()
    )
    columns: list[ColumnElement[Any]] = [sums.c.symbol, sums.c.venue_id, sums.c.share_quantity]
    largest = select(*columns).where(sums.c.place <= max(across.TOP.values()))
    return read_frame(connection, largest, finra_otc_weekly)


def _read_tiers(connection: Connection, key: str, _: Collection[str]) -> pl.DataFrame:
    week = finra_symbol_week.c
    return across.tier_week(
        _rows(connection, _of_week(key), *finra_venue_week.c),
        _rows(connection, _of_week(key), week.tier, week.symbol),
    )


def _weeks_of(keys: Collection[str]) -> tuple[object, ...]:
    return tuple(parsed(key).week_start for key in keys)


ROLLING = Recipe(finra_symbol_rolling_6w, recomputation.ROLLING, _of_tier_week, _read_rolling)
CONCENTRATION = Recipe(
    finra_concentration_week, recomputation.CONCENTRATION, _of_tier_week, _read_concentration
)
CROSS_TIER = Recipe(finra_tier_week, recomputation.CROSS_TIER, _of_week, _read_tiers)


@dataclass(frozen=True)
class TakenGold:
    """What is to be written for a partition that a run was asked for; empty: all is current."""

    partition_key: str
    version: str
    derivations: Mapping[str, Derivation]
    seconds: float


@dataclass(frozen=True)
class DerivedGold:
    """What was derived for a partition, itself and its dependents: their rows, and the largest.

    ``seconds`` were spent on reading, deriving and writing all of them.
    """

    partition_key: str
    version: str
    row_count: int
    recomputed: Mapping[str, int]
    largest: Mapping[str, pl.DataFrame]
    seconds: float

    @property
    def own_largest(self) -> pl.DataFrame | None:
        """The largest rows of the partition itself, if it was derived."""
        return self.largest.get(self.partition_key)

    def __str__(self) -> str:
        return f"derived {', '.join(self.recomputed)}" if self.recomputed else "unchanged"


@dataclass(frozen=True)
class GoldLoad:
    """Derives partitions of a table, each with the dependents that its change reaches.

    Between two partitions that are ``asked`` for, a dependent belongs to the earlier one.
    """

    recipe: Recipe
    warehouse: Warehouse
    asked: Collection[str]

    @property
    def where(self) -> Mapping[str, str]:
        """What an error names besides partition and run."""
        return {"table": self.recipe.table.name}

    def ready(self) -> None:
        """Open the database.

        Raises:
            OrchestrationError: It cannot be opened.
        """
        open_now(self.warehouse)

    def take(self, key: str) -> TakenGold:
        """Read, in one state of the database, what is out of date of a partition and dependents.

        Raises:
            ConfigurationError: What the partition is made of is not landed.
        """
        rule, started = self.recipe.rule, time.monotonic()
        with self.warehouse.reading() as connection:
            landed = changes(connection, finra_otc_weekly)
            missing = [each for each in rule.required(key) if each not in landed]
            if missing:
                raise _not_landed(key, missing)
            reached = rule.reached(key, asked=self.asked, landed=landed)
            found = {each: self._derivation(connection, each, landed) for each in reached}
        current = {each: one for each, one in found.items() if one is not None}
        seconds = time.monotonic() - started
        return TakenGold(key, version_of(rule, key, landed), current, seconds)

    def _derivation(self, connection: Connection, key: str, landed: Landed) -> Derivation | None:
        """Return the new rows of a partition, or None where it is made of the same already."""
        recipe = self.recipe
        token, derived = read_fence(connection, recipe.table, key)
        version = version_of(recipe.rule, key, landed)
        if derived == version:
            return None
        inputs = [each for each in recipe.rule.inputs(key) if each in landed]
        rows = recipe.read(connection, key, inputs)
        return Derivation(recipe.table, key, recipe.scope(key), token, version, rows)

    def land(self, taken: TakenGold) -> DerivedGold:
        """Write what was taken, each partition in a transaction of its own.

        Raises:
            SupersededError: Another run derived one of them meanwhile.
        """
        started = time.monotonic()
        for derivation in taken.derivations.values():
            self.warehouse.derive(derivation)
        seconds = taken.seconds + time.monotonic() - started
        table, own = self.recipe.table, self.recipe.scope(taken.partition_key)
        with self.warehouse.reading() as connection:
            largest = {
                key: largest_rows(connection, table, derivation.partition)
                for key, derivation in taken.derivations.items()
            }
        return DerivedGold(
            taken.partition_key,
            taken.version,
            self.warehouse.row_counts([table], own)[table.name],
            {key: len(derivation.rows) for key, derivation in taken.derivations.items()},
            largest,
            seconds,
        )


def outdated_windows(warehouse: Warehouse) -> list[str]:
    """Return the weeks of a tier whose six-week window or concentration is out of date."""
    landed = warehouse.changes(finra_otc_weekly)
    due = (
        recomputation.out_of_date(each.rule, landed, warehouse.derived_versions(each.table))
        for each in (ROLLING, CONCENTRATION)
    )
    return sorted(set().union(*due))


def outdated_tier_weeks(warehouse: Warehouse) -> list[str]:
    """Return the weeks of which all tiers are landed, and whose comparison is out of date."""
    landed = warehouse.changes(finra_otc_weekly)
    derived = warehouse.derived_versions(CROSS_TIER.table)
    return recomputation.out_of_date(CROSS_TIER.rule, landed, derived)


def _not_landed(key: str, missing: Collection[str]) -> ConfigurationError:
    return ConfigurationError(
        f"{key} cannot be derived",
        expected="what it is made of is landed",
        found=f"not landed: {', '.join(missing)}",
        remedy="load that first, by the job finra_otc_weekly",
    )
