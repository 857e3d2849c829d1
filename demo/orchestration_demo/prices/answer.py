"""Vendor responses with a symbol's days: perhaps an unfinished newest day, adjusted prices."""

from dataclasses import dataclass, replace

import numpy as np

from orchestration_demo.prices.book import History


@dataclass(frozen=True, eq=False)
class PriceAnswer:
    """Days from ``first`` to ``last`` (positions in `sessions`, the latter not in it).

    ``later_splits`` is, for each day, how many shares of the last day one of that day has become;
    ``adjustment`` what a price is multiplied by for the dividends paid after it.
    """

    first: int
    last: int
    history: History
    later_splits: np.ndarray
    adjustment: np.ndarray

    @property
    def days(self) -> slice:
        """Range of these days."""
        return slice(self.first, self.last)


def price_answer(history: History, first: int, last: int, *, is_under_way: bool) -> PriceAnswer:
    """Return the days of ``history`` as vendors answer when ``last`` sessions have begun."""
    if is_under_way:
        history = _with_part_of(history, last - 1)
    splits = np.cumprod(history.split[:last])
    before = np.concatenate([history.close[:1], history.close[: last - 1]]) / history.split[:last]
    kept = 1 - history.dividend[:last] / np.maximum(before, 1)
    after = np.concatenate([np.cumprod(kept[::-1])[::-1][1:], [1.0]])
    return PriceAnswer(first, last, history, splits[-1] / splits, after)


def _with_part_of(history: History, day: int) -> History:
    """Return ``history`` with a ``day`` of which only the morning is known."""
    close, volume, high, low = (
        each.copy() for each in (history.close, history.volume, history.high, history.low)
    )
    close[day] = history.open[day]
    volume[day] = max(1, volume[day] * 2 // 5)
    high[day] = low[day] = history.open[day]
    return replace(history, close=close, volume=volume, high=high, low=low)
