"""Yahoo's chart as the faults need it: two months of each symbol, in a state that tests choose.

A state is a letter: A is what comes first, B restates nearly every day, C a few of them, and D
has a day twice, so that it is quarantined.
"""

import json
import re
import time
from datetime import date, datetime
from datetime import time as time_of_day

from orchestration_project.domains.prices.calendar import sessions
from orchestration_project.engine.connections.clock import NEW_YORK
from tests.expecting import expect_present
from tests.faulty_server import Reply, Request

MONTHS = ("2026-01-01", "2026-02-01")
DAYS = sessions(date(2026, 1, 1), date(2026, 2, 28))
ASKED = re.compile(r"/v8/finance/chart/([A-Z0-9]+)\?")
OPENS_AT = time_of_day(9, 30)


def symbol_of(number: int) -> str:
    """Return the symbol of a piece by its number from 0."""
    return f"S{number:03}"


def chart_of(symbol: str, state: str) -> bytes:
    """Return a symbol's chart: a day is missing at its begin, and one has no prices."""
    left_out = 1 if state == "B" else 0
    days = [day for place, day in enumerate(DAYS) if place != left_out]
    if state == "D":
        days.insert(9, days[9])
    changed = {"A": range(0), "B": range(3, 40), "C": range(5, 8), "D": range(9, 10)}[state]
    closes = [1000 + place + (7 if place in changed else 0) for place in range(len(days))]
    prices: list[int | None] = [*closes[:-6], None, *closes[-5:]]
    opens = [datetime.combine(day, OPENS_AT, NEW_YORK) for day in days]
    quote = dict.fromkeys(("open", "high", "low", "close"), prices) | {"volume": [5] * len(days)}
    result = {
        "meta": {"symbol": symbol, "gmtoffset": -18000},
        "timestamp": [int(opening.timestamp()) for opening in opens],
        "indicators": {"quote": [quote], "adjclose": [{"adjclose": prices}]},
    }
    return json.dumps({"chart": {"result": [result], "error": None}}).encode()


class PricePublisher:
    """Answers for every symbol in its present state, ``pause_seconds`` after it was asked."""

    def __init__(self, symbols: int, *, pause_seconds: float = 0.002) -> None:
        self._states = {symbol_of(number): "A" for number in range(symbols)}
        self._pause_seconds = pause_seconds

    def put(self, number: int, state: str) -> None:
        """Have a symbol in this state from now on."""
        self._states[symbol_of(number)] = state

    def __call__(self, request: Request) -> Reply:
        time.sleep(self._pause_seconds)
        found = expect_present(ASKED.search(request.target))
        body = chart_of(found[1], self._states[found[1]])
        return Reply(200, {"Content-Type": "application/json"}, body)
