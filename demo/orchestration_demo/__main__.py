"""`python -m orchestration_demo`: synthetic FINRA Query API and prices on 127.0.0.1."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from orchestration_demo.cboe import MarketVolume
from orchestration_demo.clock import Clock, iso_time, time_in
from orchestration_demo.lifecycle import log_to, only_one, serve
from orchestration_demo.market import Market
from orchestration_demo.memory import Memory
from orchestration_demo.prices.book import PriceBook
from orchestration_demo.prices.vendors import Vendors
from orchestration_demo.publication import new_york_day
from orchestration_demo.reference_rates import ReferenceRates
from orchestration_demo.server import QueryApi

_ROWS_PER_WEEK = range(300, 1_000_001)  # fewer hold no faults, more run out of tickers


def parse_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options in ``arguments``, or on the command line."""
    parser = argparse.ArgumentParser(prog="orchestration_demo", description=__doc__)
    add = parser.add_argument
    add("--state-dir", type=Path, required=True, help="everything it keeps is in DIR/demo")
    add("--seed", type=int, default=20_250_106, help="decides every figure")
    add("--rows-per-week", type=int, default=160_000, help="firm rows over three tiers")
    add("--latency-seconds", type=float, default=0.0, help="delay of each answer")
    add("--requests-per-second", type=int, default=20, help="limit of data requests; 0: none")
    add("--vendor-requests-per-day", type=int, default=25, help="of a free key; 0: no limit")
    add("--idle-seconds", type=float, default=900.0, help="ends after so long without a request")
    add("--clock-now", type=iso_time, help="an ISO time to advance from, instead of real time")
    options = parser.parse_args(arguments)
    if options.rows_per_week not in _ROWS_PER_WEEK:
        parser.error("--rows-per-week must lie between 300 and 1,000,000")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until idle or stopped; return at once if another server already runs."""
    options = parse_options(arguments)
    folder = options.state_dir / "demo"
    folder.mkdir(parents=True, exist_ok=True)
    with only_one(folder) as is_first:
        if is_first:
            (folder / "server.json").unlink(missing_ok=True)
            log_to(folder / "server.log")
            _run(options, folder)


def _run(options: argparse.Namespace, folder: Path) -> None:
    clock = Clock(time_in(options.clock_now) if options.clock_now else None)
    market = Market(options.seed, options.rows_per_week)
    memory = Memory(folder / "state.json", new_york_day(clock.now()))
    vendors = Vendors(
        PriceBook(market, memory.anchor), memory, clock, options.vendor_requests_per_day
    )
    others = [
        *vendors.routes,
        *ReferenceRates(options.seed, clock).routes,
        *MarketVolume(market, clock).routes,
    ]
    api = QueryApi(
        market=market,
        memory=memory,
        clock=clock,
        others=others,
        latency_seconds=options.latency_seconds,
        requests_per_second=options.requests_per_second,
    )
    given = vars(options) | {"state_dir": str(options.state_dir)}
    serve(api, folder / "server.json", idle_seconds=options.idle_seconds, options=given)


if __name__ == "__main__":
    main()
