"""FINRA as the faults need it: each week small, on several pages, and in a state that tests choose.

A state is a letter: A is what comes first, B restates nearly every row, C a few of them, and D does
not add up, so that it is quarantined.
"""

import threading
import time
from collections.abc import Mapping
from datetime import date, timedelta

from tests.faulty_server import Reply, Request
from tests.resources.finra_server import TIER, Finra, as_json, body_of, record

FIRST_MONDAY = date(2025, 3, 17)
PAGE_BYTES = 12_000
SYMBOLS = 60
UPDATED = {"A": "2026-01-05", "B": "2026-01-12", "C": "2026-01-19", "D": "2026-01-26"}


def week_of(number: int) -> str:
    """Return the Monday of a week by its number from 0."""
    return (FIRST_MONDAY + timedelta(days=7 * number)).isoformat()


def key_of(number: int) -> str:
    """Return Dagster's key of a week."""
    return f"{TIER}|{week_of(number)}"


def records_of(week: str, state: str) -> list[dict[str, object]]:
    """Return a week's records: two venues and the total of each symbol, and a bad line."""
    changed = {"A": range(0), "B": range(3, SYMBOLS), "C": range(5, 8), "D": range(9, 10)}[state]
    here = range(SYMBOLS) if state != "B" else range(2, SYMBOLS + 1)
    dates = {"weekStartDate": week, "summaryStartDate": week}
    total = {"summaryTypeCode": "ATS_W_SMBL", "MPID": None, "firmCRDNumber": None}
    rows: list[dict[str, object]] = []
    for number in here:
        symbol, is_changed = f"S{number:03}", number in changed
        shares = 1000 + number + (7 if is_changed else 0)
        dates["lastUpdateDate"] = UPDATED[state if is_changed else "A"]
        sums = {"totalWeeklyShareQuantity": 2 * shares, "totalWeeklyTradeCount": 2}
        rows += [
            record(symbol, **dates, totalWeeklyShareQuantity=shares),
            record(symbol, **dates, totalWeeklyShareQuantity=shares, MPID="YATS", firmCRDNumber=9),
            record(symbol, **dates, **total, **sums),
        ]
    if state == "D":
        rows[-1]["totalWeeklyShareQuantity"] = 1
    blank = {"totalWeeklyShareQuantity": 1}
    return [record("  ", **dates, **blank), record("  ", **dates, **total, **blank), *rows]


class Publisher:
    """Answers for every week in its present state, ``pause_seconds`` after it was asked."""

    def __init__(self, weeks: int, *, pause_seconds: float = 0.002) -> None:
        self.states = {week_of(number): "A" for number in range(weeks)}
        self._pause_seconds = pause_seconds
        self._made: dict[tuple[str, str], Finra] = {}
        self._lock = threading.Lock()

    def put(self, number: int, state: str) -> None:
        """Have a week in this state from now on."""
        self.states[week_of(number)] = state

    def __call__(self, request: Request) -> Reply:
        time.sleep(self._pause_seconds)
        if request.method == "GET":
            current = "Historic" not in request.target
            listed = [{"partitions": [week, TIER]} for week in self.states if current]
            return as_json({"availablePartitions": listed})
        return self._of(_asked(request)).answer(request)

    def _of(self, week: str) -> Finra:
        place = (week, self.states[week])
        with self._lock:
            if place not in self._made:
                self._made[place] = Finra(records_of(*place), page_bytes=PAGE_BYTES)
            return self._made[place]


def _asked(request: Request) -> str:
    filters: list[Mapping[str, str]] = body_of(request)["compareFilters"]
    return next(
        condition["fieldValue"]
        for condition in filters
        if condition["fieldName"] == "weekStartDate"
    )
