"""Euro reference rates as the ECB publishes them, synthetic: daily and 90-day XML, zipped CSV."""

import io
import random
import zipfile
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import holidays
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestration_demo.clock import Clock

FRANKFURT = ZoneInfo("Europe/Berlin")
PUBLISHED_AT_HOUR = 16
FIRST_DAY = date(2015, 1, 2)
LEVELS = {"USD": 1.1, "JPY": 160.0, "CZK": 25.1, "GBP": 0.86, "CHF": 0.96, "IDR": 17000.0}
LAST_QUOTED = {"HRK": date(2022, 12, 30), "RUB": date(2022, 3, 1)}
"""Currencies that vanished, and the last day on which each was quoted."""

RESTATED_AFTER = timedelta(days=4)
"""The USD rates of the first three days of a month are published again so long after, corrected."""


class ReferenceRates:
    """The ECB's documents below /eurofxref, as of the demo's clock."""

    def __init__(self, seed: int, clock: Clock) -> None:
        self._seed = seed
        self._clock = clock
        self.routes = [
            Route("/eurofxref/eurofxref-daily.xml", self._daily),
            Route("/eurofxref/eurofxref-hist-90d.xml", self._last_90_days),
            Route("/eurofxref/eurofxref-hist.zip", self._history),
        ]

    def _daily(self, request: Request) -> Response:
        return _xml(self._rates(self._days(timedelta(days=10))[-1:]))

    def _last_90_days(self, request: Request) -> Response:
        return _xml(self._rates(self._days(timedelta(days=90))[::-1]))

    def _history(self, request: Request) -> Response:
        names = [*LEVELS, *LAST_QUOTED]
        lines = [",".join(["Date", *names, ""])]
        for day, rates in self._rates(self._days(None)[::-1]):
            lines.append(",".join([f"{day}", *(rates.get(name, "N/A") for name in names), ""]))
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
            entry = zipfile.ZipInfo("eurofxref-hist.csv", (2015, 1, 2, 0, 0, 0))
            archive.writestr(entry, "\n".join(lines) + "\n")
        return Response(content.getvalue(), media_type="application/zip")

    def _days(self, back: timedelta | None) -> list[date]:
        """Return the days of which rates are published by now, oldest first."""
        now = self._clock.now().astimezone(FRANKFURT)
        last = now.date() - timedelta(days=now.hour < PUBLISHED_AT_HOUR)
        first = max(FIRST_DAY, last - back) if back else FIRST_DAY
        closed = holidays.financial_holidays("XECB", years=range(first.year, last.year + 1))
        every = (first + timedelta(days=place) for place in range((last - first).days + 1))
        return [day for day in every if day.weekday() < 5 and day not in closed]

    def _rates(self, days: list[date]) -> list[tuple[date, dict[str, str]]]:
        return [(day, self._of(day)) for day in days]

    def _of(self, day: date) -> dict[str, str]:
        figures = random.Random(f"{self._seed} {day}")  # noqa: S311 - synthetic rates, no secret
        rates = {name: level * figures.uniform(0.95, 1.05) for name, level in LEVELS.items()}
        today: datetime = self._clock.now().astimezone(FRANKFURT)
        if day.day <= 3 and today.date() - day >= RESTATED_AFTER:
            rates["USD"] += 0.0001
        for name, last in LAST_QUOTED.items():
            if day <= last:
                rates[name] = 7.5 * figures.uniform(0.9, 1.1)
        return {name: f"{rate:.6g}" for name, rate in rates.items()}


def _xml(days: list[tuple[date, dict[str, str]]]) -> Response:
    cubes = "".join(
        f'<Cube time="{day}">'
        + "".join(f'<Cube currency="{name}" rate="{rate}"/>' for name, rate in rates.items())
        + "</Cube>\n"
        for day, rates in days
    )
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>\n<gesmes:Envelope '
        'xmlns:gesmes="http://www.gesmes.org/xml/2002-08-01" '
        'xmlns="http://www.ecb.int/vocabulary/2002-08-01/eurofxref">\n'
        f"<gesmes:subject>Reference rates</gesmes:subject>\n<Cube>\n{cubes}</Cube>\n"
        "</gesmes:Envelope>\n"
    )
    return Response(body, media_type="text/xml")
