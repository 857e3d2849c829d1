"""How the months of a run ended, from how its symbols did."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

from orchestration_project.domains.prices.states import LOADED, STATES, SymbolMonth
from orchestration_project.engine.announcements import UNCHANGED
from orchestration_project.engine.contracts.failures import NO_DATA
from orchestration_project.engine.dataset import NOT_REQUESTED
from orchestration_project.engine.loads import ItemResult
from orchestration_project.errors import (
    ConfigurationError,
    ContractError,
    OrchestrationError,
    SourceError,
    TransientError,
)
from orchestration_project.resources.prices.writing import LoadedPrices, PriceChange

SYMBOLS_NAMED = 10
"""In an error; the table `prices_symbol_months` has all."""

DELIVERIES_QUOTED = 200
"""Maximum deliveries whose rejects are looked up for the metadata of a month."""


@dataclass(frozen=True)
class ChangedMonth:
    """Changes of a run in a month that is not one of its partitions.

    A new corporate action changes earlier months; so does a change of source. All counts are of the
    symbols that were loaded as a whole.
    """

    month: date
    source: str
    symbol_count: int
    written_count: int
    replaced_count: int


@dataclass(frozen=True)
class MonthSummary:
    """Result of a run for one month.

    ``states``, ``unchanged_count`` and ``not_requested_count`` count symbols. The unchanged ones
    were requested. ``open`` are those that are not loaded.
    ``source`` names where the prices of its symbols come from, or came from where they are
    replayed. The figures of fetches are those of the whole run: a request serves all of its
    months. ``rejecting`` are the deliveries with rejected lines, by group_id. ``other_months``, of
    one of them alone, is what the run changed outside of its months.
    """

    month: date
    source: str
    row_count: int
    states: Mapping[str, int]
    unchanged_count: int
    not_requested_count: int
    written_count: int
    replaced_count: int
    reject_count: int
    open: Sequence[SymbolMonth]
    capture_count: int
    byte_count: int
    rejecting: Sequence[str] = ()
    other_months: Sequence[ChangedMonth] = ()

    @property
    def outcome(self) -> str:
        """Whether the month was loaded, unchanged at the source, or not asked for at all."""
        if not self.row_count:
            return NO_DATA
        if self.written_count or self.replaced_count:
            return "loaded"
        return NOT_REQUESTED if self.not_requested_count == sum(self.states.values()) else UNCHANGED

    def __str__(self) -> str:
        return ", ".join(f"{count} symbols {state}" for state, count in self.states.items())


def summarize_by_month(
    keys: Sequence[str], outcomes: Sequence[ItemResult[LoadedPrices]]
) -> list[ItemResult[MonthSummary]]:
    """Return how each month ended.

    It is loaded if a symbol was, and quarantined if one failed: it can be both. A symbol that waits
    for the quota of the next day has not failed; a source that has none of the symbols has.
    """
    loaded = [outcome.loaded for outcome in outcomes if outcome.loaded is not None]
    error = _build_error(outcomes, loaded)
    months = [date.fromisoformat(key) for key in keys if outcomes]
    summaries = [_summarize_month(month, loaded) for month in months]
    for index, summary in enumerate(summaries):
        if summary is not None:
            summaries[index] = replace(summary, other_months=_sum_other_months(months, loaded))
            break
    return [
        ItemResult(month.isoformat(), summary, error)
        for month, summary in zip(months, summaries, strict=True)
    ]


def _sum_other_months(months: Sequence[date], loaded: Sequence[LoadedPrices]) -> list[ChangedMonth]:
    changes = [
        (loaded_prices, loaded_prices.write_result.change)
        for loaded_prices in loaded
        if loaded_prices.write_result and loaded_prices.write_result.change
    ]
    changed = {month for _, change in changes for month in (*change.written, *change.replaced)}
    return [_sum_changes(month, changes) for month in sorted(changed.difference(months))]


def _sum_changes(month: date, changes: Sequence[tuple[LoadedPrices, PriceChange]]) -> ChangedMonth:
    own = [pair for pair in changes if month in pair[1].written or month in pair[1].replaced]
    return ChangedMonth(
        month,
        _join_sources(loaded_prices for loaded_prices, _ in own),
        len(own),
        sum(change.written.get(month, 0) for _, change in own),
        sum(change.replaced.get(month, 0) for _, change in own),
    )


def _join_sources(loaded: Iterable[LoadedPrices]) -> str:
    return ", ".join(sorted({loaded_prices.source for loaded_prices in loaded}))


def _summarize_month(month: date, loaded: Sequence[LoadedPrices]) -> MonthSummary | None:
    of_month = [prices for prices in loaded if month in prices.row_counts]
    if not of_month:
        return None
    is_open = [prices.open[month] for prices in of_month if month in prices.open]
    states = Counter(row.state for row in is_open)
    states["landed"] = len(of_month) - len(is_open)
    write_results = [prices.write_result for prices in of_month if prices.write_result is not None]
    changes = [result.change for result in write_results if result.change is not None]
    figures = [prices.figures for prices in of_month if prices.figures is not None]
    return MonthSummary(
        month=month,
        source=_join_sources(of_month),
        row_count=sum(prices.row_counts[month] for prices in of_month),
        states={state: states[state] for state in STATES},
        unchanged_count=sum(
            symbol.write_result is None and symbol.standing == LOADED and symbol.is_requested
            for symbol in of_month
        ),
        not_requested_count=sum(not symbol.is_requested for symbol in of_month),
        written_count=sum(change.written.get(month, 0) for change in changes),
        replaced_count=sum(change.replaced.get(month, 0) for change in changes),
        reject_count=sum(figure.rejects for figure in figures),
        open=is_open,
        capture_count=sum(figure.captures for figure in figures),
        byte_count=sum(figure.bytes for figure in figures),
        rejecting=[
            prices.write_result.group_id
            for prices in of_month
            if prices.write_result and prices.figures and prices.figures.rejects
        ][:DELIVERIES_QUOTED],
    )


def _build_error(
    outcomes: Sequence[ItemResult[LoadedPrices]], loaded: Sequence[LoadedPrices]
) -> OrchestrationError | None:
    failed = {
        outcome.partition_key: outcome.error for outcome in outcomes if outcome.error is not None
    }
    if failed:
        error = _combine_errors(failed, len(outcomes))
        group_ids = [identifier for error in failed.values() for identifier in error.group_ids]
        error.group_ids = group_ids[:DELIVERIES_QUOTED]
        return error
    refused = [
        loaded_prices for loaded_prices in loaded if loaded_prices.standing.state == "refused"
    ]
    if refused and len(refused) == len(loaded):
        return SourceError(
            f"the source has none of {len(loaded)} symbols",
            found=str(refused[0].standing.reason),
            remedy="see the table prices_symbol_months for what it says of each",
        )
    return None


def _combine_errors(
    failed: Mapping[str, OrchestrationError], symbol_count: int
) -> OrchestrationError:
    """Return one error for all symbols that failed: one that is retried if any of them is."""
    named = list(failed)[:SYMBOLS_NAMED]
    remaining_text = f" and {len(failed) - len(named)} more" if len(failed) > len(named) else ""
    what = f"{len(failed)} of {symbol_count} symbols failed: {', '.join(named)}{remaining_text}"
    text = "\n".join(str(failed[symbol]) for symbol in named)
    errors = list(failed.values())
    waits = [error.retry_in_seconds for error in errors if isinstance(error, TransientError)]
    if waits:
        return TransientError(what, found=text, retry_in_seconds=max(waits))
    if any(isinstance(error, ContractError) for error in errors):
        return ContractError(what, found=text)
    if any(isinstance(error, SourceError) for error in errors):
        return SourceError(what, found=text)
    return ConfigurationError(what, found=text)
