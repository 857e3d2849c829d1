"""Loads rows and exports their changes to another database, until it is killed.

`python -m tests.faults.export_writer URL FOLDER HOUR` prints a line for each round; its clock
begins that many hours after noon.
"""

import sys
from datetime import timedelta
from pathlib import Path
from random import Random

from orchestration_project.engine.warehouse import Warehouse
from tests.resources.exporting import Installation
from tests.resources.weeks import NOON, StoppedClock, row

EXPORTED = """
targets: {mart: {kind: database}}
exports: {weekly: {table: finra_otc_weekly, target: mart, incremental: true,
                   columns: [symbol, share_quantity], target_table: changes}}
"""
SYMBOLS = [f"S{number:02d}" for number in range(40)]


def installed(warehouse: Warehouse, clock: StoppedClock, folder: Path) -> Installation:
    """Return the installation in a folder."""
    found = Installation(warehouse, clock, folder)
    found.declare(EXPORTED)
    return found


def main(url: str, folder: str, hour: str) -> None:
    """Load and export until the end."""
    random = Random(hour)  # noqa: S311 - no secret
    clock = StoppedClock(NOON + timedelta(hours=int(hour)))
    with Warehouse(url, clock=clock) as warehouse:
        place = installed(warehouse, clock, Path(folder))
        while True:
            chosen = random.sample(SYMBOLS, random.randrange(1, len(SYMBOLS)))
            place.write_batch(
                *(row(symbol, share_quantity=random.randrange(3)) for symbol in chosen)
            )
            result = place.export()
            sys.stdout.write(f"{result.outcome}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
