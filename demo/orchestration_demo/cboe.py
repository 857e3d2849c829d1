"""Cboe's yearly files of daily market volume, synthetic: they grow with the demo's clock."""

import random
from datetime import date, timedelta
from functools import cached_property

import holidays
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from orchestration_demo.clock import Clock
from orchestration_demo.market import Market
from orchestration_demo.publication import new_york_day

FIRST_YEAR = 2015
EXCHANGES = {
    "NASDAQ (Q)": 0.28,
    "NYSE (N)": 0.16,
    "NYSE Arca (P)": 0.15,
    "EDGX Equities (K)": 0.11,
    "BZX Equities (Z)": 0.09,
    "MEMX (U)": 0.05,
    "IEX (V)": 0.05,
    "EDGA Equities (J)": 0.03,
    "BYX Equities (Y)": 0.02,
    "MIAX Pearl (H)": 0.02,
    "NASDAQ BX (B)": 0.01,
    "NASDAQ PSX (X)": 0.01,
    "NYSE National (C)": 0.01,
    "NYSE Chicago (M)": 0.005,
    "NYSE American (A)": 0.005,
}
"""Share of each exchange in the volume of all exchanges."""

FACILITIES = {
    "FINRA / Nasdaq TRF Carteret (DQ)": 0.84,
    "FINRA / NYSE TRF (DN)": 0.14,
    "FINRA / Nasdaq TRF Chicago (DB)": 0.02,
}
"""Share of each facility in the volume off exchange."""

OFF_EXCHANGE = 0.45
TAPES = (0.42, 0.2, 0.38)
PRICE_CENTS = (4800, 8100, 3900)
SHARES_PER_TRADE = (140, 190, 120)
ORDINARY_WEEK = date(2025, 9, 15)
SESSIONS = 5

CORRECTED_AFTER = timedelta(days=5)
"""The first session of each month is published again so long after, with 100 more shares."""

HEADER = ",".join(
    [
        "Day",
        "Market Participant",
        *(
            f"{scope} {amount}"
            for amount in ("Shares", "Notional", "Trade Count")
            for scope in ("Tape A", "Tape B", "Tape C", "Total")
        ),
    ]
)


class MarketVolume:
    """Cboe's files below /cboe, as of the demo's clock.

    Off exchange trades as much as FINRA's tiers T1 and T2 of the demo in an ordinary week.
    """

    def __init__(self, market: Market, clock: Clock) -> None:
        self._market = market
        self._clock = clock
        self.routes = [Route("/cboe/market_history_{year:int}.csv", self._file)]

    def _file(self, request: Request) -> Response:
        days = self._days(request.path_params["year"])
        if not days:
            return PlainTextResponse("no such file", status_code=404)
        lines = [HEADER]
        for place, day in enumerate(days):
            is_first = not place or days[place - 1].month != day.month
            is_corrected = is_first and self._today() - day >= CORRECTED_AFTER
            lines.extend(self._lines(day, extra=100 if is_corrected else 0))
        return PlainTextResponse("\n".join(lines) + "\n", media_type="text/csv")

    def _lines(self, day: date, *, extra: int) -> list[str]:
        figures = random.Random(f"{self._market.seed} {day}")  # noqa: S311 - synthetic volume
        off_exchange = self._daily_shares * figures.uniform(0.9, 1.1)
        on_exchange = off_exchange * (1 - OFF_EXCHANGE) / OFF_EXCHANGE * figures.uniform(0.9, 1.1)
        volumes = {name: on_exchange * share for name, share in EXCHANGES.items()}
        volumes |= {name: off_exchange * share for name, share in FACILITIES.items()}
        return [
            f"{day},{name},{_amounts(shares, figures, extra if name.endswith('(DQ)') else 0)}"
            for name, shares in volumes.items()
        ]

    @cached_property
    def _daily_shares(self) -> float:
        tiers = ("T1", "T2")
        week = (self._market.firm_rows(tier, ORDINARY_WEEK)["shares"].sum() for tier in tiers)
        return float(sum(week)) / SESSIONS

    def _today(self) -> date:
        return new_york_day(self._clock.now())

    def _days(self, year: int) -> list[date]:
        """Return the sessions of a year that are out: a day's volume comes out the day after."""
        if year < FIRST_YEAR:
            return []
        closed = holidays.financial_holidays("NYSE", years=year)
        last = min(date(year, 12, 31), self._today() - timedelta(days=1))
        count = (last - date(year, 1, 1)).days + 1
        every = (date(year, 1, 1) + timedelta(days=place) for place in range(count))
        return [day for day in every if day.weekday() < 5 and day not in closed]


def _amounts(volume: float, figures: random.Random, extra: int) -> str:
    """Return shares, notional and trades by tape, each with its total."""
    shares = [round(volume * each * figures.uniform(0.9, 1.1)) for each in TAPES]
    cents = [
        each * round(price * figures.uniform(0.95, 1.05))
        for each, price in zip(shares, PRICE_CENTS, strict=True)
    ]
    trades = [each // size for each, size in zip(shares, SHARES_PER_TRADE, strict=True)]
    shares[0] += extra
    notional = [f"{each // 100}.{each % 100:02}" for each in (*cents, sum(cents))]
    return ",".join(map(str, [*shares, sum(shares), *notional, *trades, sum(trades)]))
