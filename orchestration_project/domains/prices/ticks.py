"""Decisions of the ticks that load prices, and derive from them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from typing import NamedTuple

from orchestration_project.domains.prices.calendar import (
    DAY,
    NEW_YORK,
    closes_at,
    is_session,
    month_of,
)
from orchestration_project.engine.contracts.partition_tags import RANGE_END, RANGE_START
from orchestration_project.engine.contracts.ticks import REQUESTED, PlannedRun, TickPlan, hash_keys

MAX_NAMED_SYMBOLS = 10
"""Symbols that a log line names."""

# -- every evening ---------------------------------------------------------------------------------


def find_reason_not_to_load(today: date, now: datetime) -> str:
    """Return why a day has no prices yet: it is a holiday, or its session is not over; or empty."""
    if not is_session(today):
        return f"Nothing to do: the exchange does not trade on {today}."
    if closes_at(today) > now:
        return f"Too early: the session of {today} closes at {closes_at(today)}."
    return ""


def list_months_before(
    now: datetime, oldest: date | None, partitions: Collection[str]
) -> list[date]:
    """Return the month before, where the run of an evening may load it; or nothing.

    Args:
        now: When the tick is.
        oldest: Oldest month for which a symbol was ever requested; None: none was.
        partitions: Months that are partitions.
    """
    today = now.astimezone(NEW_YORK).date()
    before = month_of(month_of(today) - DAY)
    is_known = oldest is not None and oldest <= before and before.isoformat() in partitions
    return [before] if is_known and not find_reason_not_to_load(today, now) else []


def plan_evening(now: datetime, unfinished: Sequence[date]) -> TickPlan:
    """Return the run that loads the present month, once the day has prices.

    Args:
        now: When the tick is.
        unfinished: Those of `list_months_before` that are not whole: the run loads them, too.
    """
    today = now.astimezone(NEW_YORK).date()
    if reason := find_reason_not_to_load(today, now):
        return TickPlan(skip_reason=reason)
    run_key, month = f"prices_daily {today}", month_of(today).isoformat()
    if not unfinished:
        return TickPlan(requests=[PlannedRun(run_key=run_key, partition_key=month)])
    tags = {RANGE_START: min(unfinished).isoformat(), RANGE_END: month}
    return TickPlan(requests=[PlannedRun(run_key=run_key, tags=tags)])


# -- symbols that wait -----------------------------------------------------------------------------


class WaitingSymbol(NamedTuple):
    """A symbol whose months wait for a run.

    Attributes:
        symbol: The symbol.
        first_month: The first of the months.
        last_month: The last of the months.
        since: When they became due; None: it is not known.
    """

    symbol: str
    first_month: date
    last_month: date
    since: datetime | None


def plan_waiting(due: Sequence[WaitingSymbol], wanted: Collection[str]) -> TickPlan:
    """Return one run over the months of all symbols that are due and wanted.

    A symbol that is not wanted any more waits for ever: runs do not ask for it.
    """
    wanted_due = [item for item in due if item.symbol in wanted]
    if not wanted_due:
        reason = "Nothing to do: no symbol waits for a time that has come."
        return TickPlan(skip_reason=reason)
    first = min(item.first_month for item in wanted_due).isoformat()
    last = max(item.last_month for item in wanted_due).isoformat()
    symbol_count = len({item.symbol for item in wanted_due})
    newest = max(item.since for item in wanted_due if item.since)
    run = PlannedRun(
        run_key=f"prices_waiting {newest.isoformat()} {first} {last} {symbol_count}",
        tags={RANGE_START: first, RANGE_END: last},
    )
    return TickPlan(requests=[run])


# -- symbols that are new --------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class WantedSymbols:
    """Symbols whose prices are wanted.

    Attributes:
        wanted: All of them.
        loaded: Symbols that were requested for the oldest month.
        refused_until: Until when no run requests a symbol that was refused.
        oldest: Oldest month for which a symbol was ever requested; None: none was.
        months: Months from then on that are partitions, oldest first.
        today: Day of the tick.
    """

    wanted: Sequence[str]
    loaded: Collection[str]
    refused_until: Mapping[str, datetime]
    oldest: date | None
    months: Sequence[str]
    today: date

    @cached_property
    def missing(self) -> list[str]:
        """Symbols that were never requested for the oldest month."""
        return [symbol for symbol in self.wanted if symbol not in self.loaded]

    @cached_property
    def new(self) -> list[str]:
        """Those of them that may be requested now."""
        return [symbol for symbol in self.missing if symbol not in self.refused_until]

    def build_runs(self) -> list[PlannedRun]:
        """Return the run that loads all months of the new ones, if there are any."""
        if not self.months or not self.new:
            return []
        run_key = f"prices_on_new_symbol {hash_keys(sorted(self.new))} {self.today}"
        tags = {RANGE_START: self.months[0], RANGE_END: self.months[-1]}
        return [PlannedRun(run_key=run_key, tags=tags)]


def plan_new_symbols(symbols: WantedSymbols, known_keys: Collection[str]) -> TickPlan:
    """Return the run that loads new symbols; Dagster starts none for a run key that a run has."""
    if symbols.oldest is None:
        reason = "Nothing to do: no price was ever requested; launch prices_backfill."
        return TickPlan(skip_reason=reason)
    if not symbols.months:  # the project's clock was set back
        reason = f"Nothing to do: {symbols.oldest}, the oldest month of all, is yet to come."
        return TickPlan(skip_reason=reason)
    if not symbols.missing:
        reason = f"Nothing to do: all {len(symbols.wanted)} wanted symbols were requested."
        return TickPlan(skip_reason=reason)
    if not symbols.new:
        soonest = min(symbols.refused_until[symbol] for symbol in symbols.missing)
        reason = f"Nothing to do: a new symbol may be requested from {soonest} on."
        return TickPlan(skip_reason=reason)
    [run] = symbols.build_runs()
    places = {
        "asked_today" if run.run_key in known_keys else REQUESTED: symbols.new,
        "refused": [symbol for symbol in symbols.missing if symbol in symbols.refused_until],
        "loaded": [symbol for symbol in symbols.wanted if symbol in symbols.loaded],
    }
    names = ", ".join(symbols.new[:MAX_NAMED_SYMBOLS])
    more = " and more" if len(symbols.new) > MAX_NAMED_SYMBOLS else ""
    message = f"Requested {len(symbols.new)} new symbols: {names}{more}."
    return TickPlan(requests=[run], places=places, message=message)


# -- what is derived of prices ---------------------------------------------------------------------


def plan_derivation(due: Mapping[str, datetime], running: str, today: date) -> TickPlan:
    """Return the run that derives outdated symbols, unless one is under way.

    Args:
        due: When the latest prices came of each symbol that is out of date.
        running: A sentence about the run that is under way; empty: none is.
        today: Day of the tick.
    """
    if not due:
        return TickPlan(skip_reason="Nothing to do: what is derived of prices is current.")
    if running:
        return TickPlan(skip_reason=running)
    newest = max(due.values()).isoformat()
    run = PlannedRun(run_key=f"prices_gold {newest} {len(due)} ({today})")
    return TickPlan(requests=[run], message=f"Requested {len(due)} symbols.")
