"""Daily prices: 20 years of many symbols at once, and then one more day of each."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.bench import Bench, Report, speeds
from benchmarks.child import call
from benchmarks.report import Line, at_least, at_most, line
from benchmarks.rig import NO_RATE_LIMIT, Place, source
from orchestration_project.settings import PROJECT_ROOT, child_environment

FIRST_MONTH, LAST_MONTH = "2006-03-01", "2026-02-01"
TWENTY_YEARS_ARE_OVER = "2026-02-27T22:00:00+00:00"
A_DAY_LATER = "2026-03-02T22:00:00+00:00"
MONTH_OF_THAT_DAY = "2026-03-01"
TABLE = "prices_daily"


def prices(bench: Bench) -> list[Line]:
    """Against the rate at which weeks load, and a day against 10 s; memory by symbols."""
    symbols = bench.sizes.price_symbols
    weeks: list[Report] = []
    history: list[Report] = []
    fewer: list[Report] = []
    day: list[float] = []
    with source(bench.sizes.rows, bench.sizes.middle) as finra, _vendor() as url:
        for _ in range(bench.repeats):
            weeks.append(bench.load(finra, bench.sizes.middle))
            with bench.rig.place() as place:
                history.append(_twenty_years(bench, place, url, symbols))
                day.append(_one_more_day(place, url, symbols)["seconds"])
            with bench.rig.place() as place:
                fewer.append(_twenty_years(bench, place, url, max(1, symbols // 5)))
    size = f"{symbols} symbols x 20 years"
    peaks, of_fewer = ([each["peak_mebibytes"] for each in reports] for reports in (history, fewer))
    note = f"{history[-1]['firm_rows']:,} rows"
    return [
        line(f"prices, {size}, against FINRA's weeks", "rows/s", speeds(history), speeds(weeks),
             at_least(1 / 1.5), note=note),
        line(f"prices, {size}: peak memory against a fifth of them", "MiB", peaks, of_fewer,
             at_most(1.1)),
        line(f"prices, one more day of {symbols} symbols, against 10 s", "s", day, [10],
             at_most(1)),
    ]  # fmt: skip


def _twenty_years(bench: Bench, place: Place, url: str, symbols: int) -> Report:
    report = _loaded(place, url, symbols, TWENTY_YEARS_ARE_OVER, FIRST_MONTH, LAST_MONTH)
    return {**report, "firm_rows": bench.rig.count(str(place.database_url), TABLE)}


def _one_more_day(place: Place, url: str, symbols: int) -> Report:
    return _loaded(place, url, symbols, A_DAY_LATER, MONTH_OF_THAT_DAY, MONTH_OF_THAT_DAY)


def _loaded(
    place: Place, url: str, symbols: int, now: str, first: str, last: str
) -> dict[str, Any]:
    environment = {
        "STATE_DIR": str(place.state),
        "DAGSTER_HOME": str(place.state / "dagster"),
        "DATABASE_URL": str(place.database_url),
        "FINRA_SOURCE": "api",
        "PRICES_SOURCE": "yahoo",
        "YAHOO_API_URL": url,
        "YAHOO_REQUESTS_PER_SECOND": str(NO_RATE_LIMIT),
        "PRICES_SYMBOLS": ",".join(f"S{number}" for number in range(symbols)),
        "PRICES_FIRST_MONTH": FIRST_MONTH,
        "DEMO_CLOCK_NOW": now,
        "LOG_LEVEL": "ERROR",
    }
    return call("benchmarks.ours:load_prices", environment, first=first, last=last)


@contextmanager
def _vendor() -> Iterator[str]:
    """Run the vendor, as a program of its own; give its address."""
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.price_source"],
        cwd=PROJECT_ROOT,
        env=child_environment(PYTHONPATH=str(PROJECT_ROOT)),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            report = json.loads(process.stdout.readline() if process.stdout else "")
            yield f"http://127.0.0.1:{report['port']}"
        finally:
            process.kill()
