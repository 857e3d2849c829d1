"""State of a symbol by month: loaded, or waiting, with reason and time."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal, NamedTuple

import polars as pl

from orchestration_project.domains.prices.calendar import (
    last_of_month,
    last_session_of,
    month_of,
    months,
    sessions,
    sessions_from,
)
from orchestration_project.engine.contracts.key_ranges import Days

State = Literal["landed", "waiting", "refused", "unmapped"]
STATES: tuple[State, ...] = ("landed", "waiting", "refused", "unmapped")


@dataclass(frozen=True)
class SymbolStatus:
    """How a symbol stands: ``reason`` says why it is not loaded.

    ``resumes_at`` is the moment before which asking is in vain, if that is known.
    """

    state: State
    reason: str | None = None
    resumes_at: datetime | None = None


LOADED = SymbolStatus("landed")


class SymbolMonth(NamedTuple):
    """One row of `prices_symbol_months`, as its columns."""

    symbol: str
    month_start: date
    state: State
    reason: str | None
    landed_through_date: date | None
    row_count: int
    source: str
    changed_at: datetime
    resumes_at: datetime | None
    run_id: str


Known = Mapping[date, SymbolMonth]
"""The rows of one symbol, by month."""


def days_of(requested: Sequence[date], newest_session: date) -> Days | None:
    """Return the completed days of the ``requested`` months, to the last session; None: none."""
    over = sessions(requested[0], min(last_of_month(requested[-1]), newest_session))
    return Days(requested[0], over[-1]) if over else None


def is_loaded(known: Known, days: Days, source: str) -> bool:
    """Say whether all of ``days`` is loaded from ``source``."""
    return all(
        (row := known.get(month)) is not None
        and row.source == source
        and _is_through(row, _find_last_requested(month, days))
        for month in months(days.first, days.last)
    )


def missing_months(
    rows: Iterable[SymbolMonth], symbols: Sequence[str], requested: Sequence[date], newest: date
) -> list[date]:
    """Return the ``requested`` months that lack a symbol up to ``newest``, a session.

    A month that begins after ``newest`` is none of them: it has no session yet.
    """
    loaded = {
        (row.symbol, row.month_start)
        for row in rows
        if _is_through(row, _find_last_due(row.month_start, newest))
    }
    return [
        month
        for month in requested
        if month <= newest and any((symbol, month) not in loaded for symbol in symbols)
    ]


class MissingMonth(NamedTuple):
    """A month of which symbols lack prices, and the oldest session that one of them lacks."""

    month: date
    session: date
    symbols: Sequence[str]


def missing_sessions(
    rows: Iterable[SymbolMonth], symbols: Sequence[str], first_month: date, newest: date
) -> list[MissingMonth]:
    """Return each month, up to ``newest``, of which a symbol has no prices of a session.

    The months are in order; one of which all symbols have all prices is left out. A symbol is
    expected from ``first_month`` on, but not before the first month that was requested of it. One
    that its source does not have, or that no vendor can spell, is not expected in a month of which
    another symbol is loaded.
    """
    entries: dict[str, dict[date, SymbolMonth]] = {symbol: {} for symbol in symbols}
    for row in rows:
        if row.symbol in entries:
            entries[row.symbol][row.month_start] = row
    begun = {
        symbol: min(symbol_months) for symbol, symbol_months in entries.items() if symbol_months
    }
    missing: list[MissingMonth] = []
    for month in months(first_month, newest):
        symbol_months = {
            symbol: entries[symbol].get(month) for symbol, first in begun.items() if first <= month
        }
        last = _find_last_due(month, newest)
        behind = {
            symbol: row
            for symbol, row in symbol_months.items()
            if row is None or not _is_through(row, last)
        }
        expected = {
            symbol: row for symbol, row in behind.items() if row is None or not _is_unavailable(row)
        }
        if not expected and len(behind) == len(symbol_months):
            expected = behind
        if expected:
            session = min(_find_first_missing(row, month) for row in expected.values())
            missing.append(MissingMonth(month, session, list(expected)))
    return missing


def _is_unavailable(row: SymbolMonth) -> bool:
    """Whether the source does not have the symbol; a broken contract is refused for no time."""
    return row.state == "unmapped" or (row.state == "refused" and row.resumes_at is not None)


def _is_through(row: SymbolMonth, last: date) -> bool:
    return row.landed_through_date is not None and row.landed_through_date >= last


def _find_first_missing(row: SymbolMonth | None, month: date) -> date:
    if row is None or row.landed_through_date is None:
        return sessions(month, last_of_month(month))[0]
    return sessions_from(row.landed_through_date, 1)


def _find_last_due(month: date, newest: date) -> date:
    return min(last_session_of(month), newest)


def _find_last_requested(month: date, days: Days) -> date:
    """Return up to which day a month of ``days`` was requested."""
    return _find_last_due(month, days.last)


def standing_of(known: Known, days: Days, source: str, now: datetime) -> SymbolStatus | None:
    """Return why asking ``source`` for ``days`` is in vain at ``now``; None: it may not be."""
    for month in months(days.first, days.last):
        row = known.get(month)
        if row is None or row.source != source or row.resumes_at is None:
            continue
        if row.resumes_at > now:
            return SymbolStatus(row.state, row.reason, row.resumes_at)
    return None


def after(
    known: Known,
    days: Days,
    standing: SymbolStatus,
    through: date | None,
    counts: Mapping[date, int],
    *,
    symbol: str,
    source: str,
    now: datetime,
    run_id: str,
) -> list[SymbolMonth]:
    """Return the rows of the months of ``days`` after a look at a symbol.

    A month that is loaded as far as it was asked for stands as loaded, whatever the look brought:
    it may be another month that lags, or another run that came first.

    Args:
        known: The rows before.
        days: What was requested.
        standing: How the symbol stands now.
        through: The last day that is loaded now; None: nothing loaded by this look.
        counts: The rows of prices_daily by month.
        symbol: The symbol.
        source: The source that was asked.
        now: When.
        run_id: By which run.
    """
    rows: list[SymbolMonth] = []
    for month in months(days.first, days.last):
        before = known.get(month)
        earlier = before.landed_through_date if before and before.source == source else None
        loaded = _find_latest(earlier, through, month)
        symbol_status = (
            LOADED if loaded and loaded >= _find_last_requested(month, days) else standing
        )
        row = SymbolMonth(
            symbol=symbol,
            month_start=month,
            state=symbol_status.state,
            reason=symbol_status.reason,
            landed_through_date=loaded,
            row_count=counts.get(month, 0),
            source=source,
            changed_at=now,
            resumes_at=symbol_status.resumes_at,
            run_id=run_id,
        )
        is_same = before and (before.state, before.reason) == (row.state, row.reason)
        rows.append(row._replace(changed_at=before.changed_at) if before and is_same else row)
    return rows


def _find_latest(before: date | None, through: date | None, month: date) -> date | None:
    now = None if through is None or through < month else min(through, last_of_month(month))
    return max((day for day in (before, now) if day is not None), default=None)


def rows_by_month(days: pl.Series) -> dict[date, int]:
    """Return how many of ``days`` are in each month, by its first day."""
    counts = days.dt.truncate("1mo").value_counts()
    return {month_of(month): count for month, count in counts.rows()}
