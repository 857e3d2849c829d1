"""`python -m orchestration_demo.shop`: a synthetic shop on 127.0.0.1."""

import argparse
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from orchestration_demo.clock import Clock, iso_time, time_in
from orchestration_demo.lifecycle import log_to, only_one, serve
from orchestration_demo.shop.pages import Shop

FOLDER = "demo_shop"


def parse_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options in ``arguments``, or on the command line."""
    parser = argparse.ArgumentParser(prog="orchestration_demo.shop", description=__doc__)
    add = parser.add_argument
    add("--state-dir", type=Path, required=True, help=f"what it keeps is in DIR/{FOLDER}")
    add("--products", type=int, default=400, help="number of products")
    add(
        "--new-layout-from", default="2026-11-03", help="day of the clock; another layout from then"
    )
    add("--requests-per-second", type=int, default=100, help="more count as impolite")
    add("--idle-seconds", type=float, default=900.0, help="ends after so long without a request")
    add("--clock-now", type=iso_time, help="an ISO time to advance from, instead of real time")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until idle or stopped; return at once if another server already runs."""
    options = parse_options(arguments)
    folder = options.state_dir / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    with only_one(folder) as is_first:
        if is_first:
            (folder / "server.json").unlink(missing_ok=True)
            log_to(folder / "server.log")
            shop = Shop(
                product_count=options.products,
                new_layout_from=date.fromisoformat(options.new_layout_from),
                requests_per_second=options.requests_per_second,
                clock=Clock(time_in(options.clock_now) if options.clock_now else None),
            )
            shown = {
                "state_dir": str(options.state_dir),
                "products": options.products,
                "new_layout_from": options.new_layout_from,
                "idle_seconds": options.idle_seconds,
                "clock_now": options.clock_now,
            }
            serve(shop, folder / "server.json", idle_seconds=options.idle_seconds, options=shown)


if __name__ == "__main__":
    main()
