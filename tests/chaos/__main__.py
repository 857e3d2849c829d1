"""Kills and cuts two hosts and their services during a backfill, and counts what is left.

Each of two hosts has its own network and mount namespace. PostgreSQL, RabbitMQ, S3 and the source
are in those of this program. Host alpha has `ui` with gateway, daemon and code server, and a
worker; host beta has another worker. Programs run as they are installed, with times of production.
S3 is moto behind a process that is killed, as moto keeps objects in memory.

Exit statuses: 0 nothing is lost or there twice, 1 something is, 2 it cannot run here.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from random import Random

import psycopg

from tests.chaos.counts import Line, count_all, wrong
from tests.chaos.site import Site, choose_weeks, running_site
from tests.chaos.strikes import Campaign, plan_strikes
from tests.programs import wait_for
from tests.rabbitmq import RABBITMQ_SERVER
from tests.slow.namespaces import can_make_namespaces

MAX_SETTLE_SECONDS = 180
"""Time in which slots of killed runs become free."""


def report(line: str) -> None:
    """Write a line with the time of day."""
    print(time.strftime("%H:%M:%S"), line, flush=True)  # noqa: T201 - a program


def settled_counts(site: Site, campaign: Campaign) -> list[Line]:
    """Count until all is right, or time is over."""
    with suppress(AssertionError):
        wait_for(lambda: not wrong(counts_of(site, campaign)), MAX_SETTLE_SECONDS, poll_seconds=5)
    return counts_of(site, campaign)


def counts_of(site: Site, campaign: Campaign) -> list[Line]:
    """Count what is in the databases and the store of a site."""
    with (
        psycopg.connect(site.warehouse_url) as warehouse,
        psycopg.connect(site.dagster_url) as dagster,
    ):
        return count_all(warehouse, dagster, site.partitions, campaign.backfills, site.objects())


def table_of(lines: Sequence[Line]) -> list[str]:
    """Return the counts as lines of text."""
    verdicts = ["" if line.expected == line.found else "  WRONG" for line in lines]
    return [
        f"{'count':44} {'expected':>10} {'found':>10}",
        *(
            f"{line.name:44} {line.expected:10} {line.found:10}{verdict}"
            for line, verdict in zip(lines, verdicts, strict=True)
        ),
    ]


def main() -> int:
    """Run the program; return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=20, help="kills of each program")
    parser.add_argument("--cuts", type=int, default=5, help="cuts of each network")
    parser.add_argument("--partitions", type=int, default=200, help="partitions of the backfill")
    parser.add_argument("--seed", default="20261130", help="decides order and moments of faults")
    parser.add_argument("--keep", action="store_true", help="keep the folder with all logs")
    options = parser.parse_args()
    if not can_make_namespaces() or not RABBITMQ_SERVER.exists():
        print("needs root, network namespaces and rabbitmq-server", file=sys.stderr)  # noqa: T201
        return 2
    random = Random(options.seed)  # noqa: S311 - of a test
    folder = Path(tempfile.mkdtemp(prefix="chaos-", dir="/var/tmp"))
    report(f"seed {options.seed}, logs in {folder}; the programs start")
    with running_site(folder, choose_weeks(options.partitions, random)) as site:
        strikes = plan_strikes(site, options.kills, options.cuts, random)
        campaign = Campaign(site, strikes, random, report)
        campaign.run()
        lines = settled_counts(site, campaign)
    for name, count in sorted(campaign.strike_count.items()):
        report(f"{name}: {count} times")
    report(f"faults while the backfill was in progress: {campaign.in_progress_count}")
    report(f"backfills of partitions that failed for good: {len(campaign.backfills) - 1}")
    report(f"workers that ended by themselves and were restarted: {len(site.ends_of_workers)}")
    for line in [*table_of(lines), *campaign.problems]:
        print(line, flush=True)  # noqa: T201 - the result
    is_right = not wrong(lines) and not campaign.problems
    if is_right and not options.keep:
        shutil.rmtree(folder)
    return 0 if is_right else 1


if __name__ == "__main__":
    sys.exit(main())
