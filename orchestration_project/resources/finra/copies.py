"""Whether a delivered file has the bytes or the rows of another week, tier or market."""

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import polars as pl
from sqlalchemy import Connection, func, select

from orchestration_project.domains.finra.calendar import TIERS
from orchestration_project.domains.finra.copies import (
    FILE_COLUMNS,
    Copy,
    Largest,
    MarketWeek,
    have_same_rows,
    largest_of,
)
from orchestration_project.domains.finra.selection import TierWeek, parsed
from orchestration_project.domains.finra.tables.weekly import finra_otc_weekly, finra_symbol_week
from orchestration_project.engine.contracts.audits import Validated
from orchestration_project.engine.contracts.key_ranges import KeyRange
from orchestration_project.engine.warehouse import ValidatedBatch
from orchestration_project.engine.warehouse.frames import Scope, match_scope, read_frame
from orchestration_project.tables.spine import captures, deliveries, fences

_weekly, _symbol = finra_otc_weekly.c, finra_symbol_week.c

FIGURES_OF_MARKET = {
    "ATS": (_symbol.ats_share_quantity, _symbol.ats_trade_count),
    "NON_ATS": (_symbol.non_ats_share_quantity, _symbol.non_ats_trade_count),
}


@dataclass(frozen=True)
class _File:
    """A file of a delivery: all rows of one market."""

    scope: MarketWeek
    url: str
    sha256: str
    validated: Validated

    def pieces(self) -> Iterator[tuple[Scope, pl.DataFrame]]:
        """Yield its rows by ranges of symbols, as they are held."""
        ranges = self.validated.ranges or [({"symbol": KeyRange()}, self.validated.rows)]
        for condition, rows in ranges:
            yield {"symbol": condition["symbol"]}, rows.filter(market=self.scope.market)

    def has_rows_of(self, other: "_File") -> bool:
        pairs = zip(self.pieces(), other.pieces(), strict=True)
        return all(have_same_rows(mine, other_rows) for (_, mine), (_, other_rows) in pairs)


def find_copies(connection: Connection, partition: TierWeek, batch: ValidatedBatch) -> list[Copy]:
    """Return the files of a delivery that are equal to another loaded one, or to one another.

    A file is not a copy if its own week and market once loaded the same bytes, or holds the same
    rows: one that was forced can be loaded and replayed again. ``connection`` is in the
    transaction that loads the delivery.
    """
    files = [
        _File(
            MarketWeek(partition, str(capture.market)),
            capture.url,
            capture.sha256,
            batch.validated,
        )
        for capture in batch.delivery.captures
    ]
    largest = [largest_of(rows for _, rows in each.pieces()) for each in files]
    _lock(connection, largest)
    replaced = {each.scope for each in files}
    copies: list[Copy] = []
    for number, (file, figures) in enumerate(zip(files, largest, strict=True)):
        loaded = _find_loaded_bytes(connection, file.sha256)
        if file.scope in loaded:
            continue
        copy = (
            _copy_of_bytes(file, loaded, replaced)
            or _copy_of_twin(file, files[:number])
            or _copy_of_rows(connection, file, figures, replaced)
        )
        if copy is not None and not _has_loaded_rows(connection, file.scope, file):
            copies.append(copy)
    return copies


def _lock(connection: Connection, largest: Sequence[Largest | None]) -> None:
    """Have two transactions that load equal files follow each other; SQLite's always do.

    PostgreSQL's lock ends with the transaction. All lock in one order, so that no two deadlock.
    """
    if connection.dialect.name != "postgresql":
        return
    digests = {hashlib.sha256(repr(each).encode()).digest() for each in largest}
    for key in sorted(int.from_bytes(digest[:8], signed=True) for digest in digests):
        connection.execute(select(func.pg_advisory_xact_lock(key)))


def _find_loaded_bytes(connection: Connection, sha256: str) -> Mapping[MarketWeek, str]:
    """Return each week and market that ever loaded these bytes, with the file's URL."""
    rows = connection.execute(
        select(captures.c.partition_key, captures.c.request, captures.c.url)
        .join(deliveries, deliveries.c.group_id == captures.c.group_id)
        .where(
            captures.c.sha256 == sha256,
            captures.c.part_number <= deliveries.c.part_count,
            deliveries.c.table_name == finra_otc_weekly.name,
            deliveries.c.outcome == "landed",
        )
    )
    return {
        MarketWeek(parsed(row.partition_key), market): row.url
        for row in rows
        if (market := json.loads(row.request).get("market"))
    }


def _copy_of_bytes(
    file: _File, loaded: Mapping[MarketWeek, str], replaced: Collection[MarketWeek]
) -> Copy | None:
    other_market_weeks = sorted(scope for scope in loaded if scope not in replaced)
    return (
        Copy(file.scope, file.url, "bytes", other_market_weeks[0], loaded[other_market_weeks[0]])
        if other_market_weeks
        else None
    )


def _copy_of_twin(file: _File, others: Sequence[_File]) -> Copy | None:
    """Look among the files of the same delivery."""
    for other in others:
        if file.has_rows_of(other):
            what = "bytes" if file.sha256 == other.sha256 else "rows"
            return Copy(file.scope, file.url, what, other.scope, other.url)
    return None


def _copy_of_rows(
    connection: Connection,
    file: _File,
    largest: Largest | None,
    replaced: Collection[MarketWeek],
) -> Copy | None:
    for scope in _find_candidates(connection, largest):
        if scope not in replaced and _has_loaded_rows(connection, scope, file):
            return Copy(file.scope, file.url, "rows", scope, _find_url(connection, scope))
    return None


def _find_candidates(connection: Connection, largest: Largest | None) -> list[MarketWeek]:
    """Return the loaded weeks and markets in which the symbol has the same figures.

    Each week and tier is one look-up by key in `finra_symbol_week`.
    """
    if largest is None:
        return []
    values = connection.execute(
        select(fences.c.scope_key).where(fences.c.table_name == finra_otc_weekly.name)
    ).scalars()
    weeks = tuple({parsed(key).week_start for key in values})
    entries = {"week_start": weeks, "tier": TIERS, "symbol": largest.symbol}
    figures = chain.from_iterable(FIGURES_OF_MARKET.values())
    traded = select(_symbol.tier, _symbol.week_start, *figures).where(
        match_scope(finra_symbol_week, entries)
    )
    largest_values = [largest.share_quantity, largest.trade_count]
    return sorted(
        MarketWeek(TierWeek(row[_symbol.tier], row[_symbol.week_start]), market)
        for row in connection.execute(traded).mappings()
        for market, columns in FIGURES_OF_MARKET.items()
        if [row[column] for column in columns] == largest_values
    )


def _has_loaded_rows(connection: Connection, scope: MarketWeek, file: _File) -> bool:
    """Whether the rows of ``file`` are loaded in ``scope``."""
    columns = [_weekly[name] for name in FILE_COLUMNS]
    return all(
        have_same_rows(
            rows,
            read_frame(
                connection,
                select(*columns).where(
                    match_scope(finra_otc_weekly, {**_locate_scope(scope), **condition})
                ),
                finra_otc_weekly,
            ),
        )
        for condition, rows in file.pieces()
    )


def _locate_scope(scope: MarketWeek) -> Scope:
    week = scope.partition
    return {"week_start": week.week_start, "tier": week.tier, "market": scope.market}


def _find_url(connection: Connection, scope: MarketWeek) -> str:
    """Return where the loaded rows of a week and market came from."""
    url = (
        select(captures.c.url)
        .join(finra_otc_weekly, _weekly.capture_id == captures.c.capture_id)
        .where(match_scope(finra_otc_weekly, _locate_scope(scope)))
        .limit(1)
    )
    return connection.execute(url).scalar_one()
