"""`make soak DAYS=14 SEED=7`: days of the real programs under a stepped calendar, judged."""

import argparse
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from tests.postgres import new_database, new_folder, server_of_pip
from tests.soak.canaries import CANARIES
from tests.soak.driver import Driver
from tests.soak.scenario import plan

MAX_CHARACTERS = 400
"""Of the state that a finding shows; the folder has the rest."""


def main() -> int:
    """Run the days; return 1 if something is wrong."""
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument("--days", type=int, default=14)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--until", type=int, help="ends after so many of the days")
    parser.add_argument("--canary", choices=sorted(CANARIES), help="plants a fault in the programs")
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--keep", action="store_true", help="leaves the folder of the run")
    options = parser.parse_args()
    scenario = plan(options.seed, options.days)
    until = min(options.until or options.days, options.days)
    begun, folder = time.monotonic(), Path(tempfile.mkdtemp(prefix="soak-"))

    def report(text: str) -> None:
        minutes = (time.monotonic() - begun) / 60
        say(f"{minutes:6.1f} min  {text}")

    report(f"seed {scenario.seed}: {until} days from {scenario.first_day}, in {folder}")
    with ExitStack() as stack:
        urls = _databases(stack) if options.database == "postgresql" else {}
        driver = Driver(folder, scenario, urls, options.canary or "", report)
        stack.callback(driver.stack.stop)
        for number, findings in enumerate(driver.run(until), start=1):
            if findings:
                _report(options, driver, number, findings)
                return 1
            left = (time.monotonic() - begun) / number * (until - number) / 60
            if number <= until:  # the last findings are of answers that are asked again
                report(f"{number} of {until} days, {left:.0f} min remain")
    report(f"nothing is wrong: {driver.judge.compared:,} rows and answers were compared")
    if not options.keep:
        shutil.rmtree(folder)
    return 0


def _databases(stack: ExitStack) -> dict[str, str]:
    server = stack.enter_context(server_of_pip(stack.enter_context(new_folder())))
    names = {"DATABASE_URL": "pipelines", "DAGSTER_DATABASE_URL": "dagster"}
    return {setting: new_database(server, name) for setting, name in names.items()}


def _report(options: argparse.Namespace, driver: Driver, number: int, findings: list) -> None:
    """Print seed, last events, and the smallest state of each finding."""
    say(f"\nSEED={options.seed} DAYS={options.days}: {len(findings)} findings on day {number}")
    say("last events:", *(f"  {event}" for event in driver.events[-8:]))
    for finding in findings:
        say(f"- {finding.check}: {finding.text}", f"    {str(finding.state)[:MAX_CHARACTERS]}")
    canary = f" CANARY={options.canary}" if options.canary else ""
    given = f"SEED={options.seed} DAYS={options.days} UNTIL={min(number, options.days)}"
    say(f"folder: {driver.stack.folder}")
    say(f"repeat it: make soak {given} DATABASE={options.database}{canary}")


def say(*lines: str) -> None:
    """Write lines to standard output at once."""
    print(*lines, sep="\n", flush=True)  # noqa: T201 - what the program is for


if __name__ == "__main__":
    sys.exit(main())
