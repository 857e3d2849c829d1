"""`python -m benchmarks [--smoke] [--only NAME …] [--repeat N]`: measure, print, write."""

import argparse
import os
import platform
import sys
import tempfile
import time
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from benchmarks.bench import Bench
from benchmarks.measures.backups import restores
from benchmarks.measures.captures import captures
from benchmarks.measures.changes import again, history
from benchmarks.measures.documents import documents
from benchmarks.measures.documents_listing import documents_listing
from benchmarks.measures.exports import exports, frames
from benchmarks.measures.gate import gate
from benchmarks.measures.gateway import gateway, gateway_memory, metrics, webhook_runs, webhooks
from benchmarks.measures.http_state import http_state
from benchmarks.measures.idle import idle
from benchmarks.measures.items import items
from benchmarks.measures.mqtt import mqtt, mqtt_stream
from benchmarks.measures.mqtt_mirror import mqtt_mirror
from benchmarks.measures.operations import control_tower
from benchmarks.measures.plugins import plugins
from benchmarks.measures.prices import prices
from benchmarks.measures.queries import queries
from benchmarks.measures.retention import cleanup, pruning
from benchmarks.measures.routing import routing
from benchmarks.measures.saas import saas
from benchmarks.measures.schedules import schedules
from benchmarks.measures.speed import (
    balance,
    contract,
    copies,
    one_partition,
    pages,
    peers,
    sqlite,
)
from benchmarks.measures.starts import starts
from benchmarks.measures.traces import traces
from benchmarks.measures.web import web
from benchmarks.measures.workers import workers
from benchmarks.report import Line, table, write_json, write_plot
from benchmarks.rig import Rig
from benchmarks.sizes import REQUIRED, SMOKE
from orchestration_project.settings import PROJECT_ROOT

MEASURES = {
    measure.__name__: measure
    for measure in (
        *(copies, one_partition, peers, sqlite, contract, balance, pages),
        *(again, history, starts, gate, control_tower, schedules),
        *(gateway, webhooks, webhook_runs, metrics, gateway_memory),
        *(captures, items, pruning, cleanup, restores, prices, saas, http_state, exports, frames),
        *(documents, documents_listing, web, mqtt, mqtt_mirror, mqtt_stream, routing, workers),
        *(traces, plugins, queries, idle),
    )
}
BY_DEFAULT = [name for name in MEASURES if name != "gateway_memory"]  # which takes an hour
NAMED = ("dagster", "polars", "psycopg", "dlt", "pandas", "adbc-driver-postgresql")
RESULT = PROJECT_ROOT / "var" / "bench.json"
PLOT = PROJECT_ROOT / "docs" / "images" / "performance.svg"


def main() -> None:
    """Measure what was asked; a missed target is printed and is not an error."""
    requested = _arguments()
    with tempfile.TemporaryDirectory(prefix="bench_", dir=requested.folder) as folder:
        rig = Rig(Path(folder))
        try:
            print(surroundings(rig), flush=True)
            sizes = SMOKE if requested.smoke else REQUIRED
            chosen = {
                "old_runs": requested.old_runs,
                "gateway_memory_minutes": requested.gateway_memory_minutes,
                "documents": requested.documents,
                "web_pages": requested.web_pages,
                "web_frontier": requested.web_pages and requested.web_pages * 100,
            }
            given = {name: value for name, value in chosen.items() if value is not None}
            bench = Bench(rig, replace(sizes, **given), requested.repeat)
            lines = [each for name in requested.only for each in _measured(name, bench)]
        finally:
            rig.close()
    merged = write_json(requested.output, lines)
    if requested.plot:
        write_plot(PLOT, merged)
    print(table(lines))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="tiny sizes: does it work at all?")
    parser.add_argument("--only", nargs="+", choices=MEASURES, default=BY_DEFAULT)
    parser.add_argument("--repeat", type=int, default=3, help="how often; medians are printed")
    parser.add_argument("--old-runs", type=int, metavar="N", help="runs that are pruned; 10,000")
    parser.add_argument("--documents", type=int, metavar="N", help="files of documents; 2,000")
    parser.add_argument("--web-pages", type=int, metavar="N", help="pages of a site; 10,000")
    parser.add_argument(
        "--gateway-memory-minutes", type=float, metavar="N", help="length of gateway_memory; 60"
    )
    parser.add_argument("--output", type=Path, default=RESULT, help="the lines, as JSON")
    parser.add_argument("--folder", type=Path, help="a disk that keeps what is flushed")
    parser.add_argument(
        "--plot", action="store_true", help=f"draw {PLOT.relative_to(PROJECT_ROOT)}"
    )
    return parser.parse_args()


def _measured(name: str, bench: Bench) -> list[Line]:
    started = time.perf_counter()
    lines = MEASURES[name](bench)
    spent, load = time.perf_counter() - started, os.getloadavg()[0]
    print(f"{name}: {spent:.0f} s, load {load:.1f}", file=sys.stderr, flush=True)
    return lines


def surroundings(rig: Rig) -> str:
    """Say on what is measured: ratios stay, the figures themselves are this machine's."""
    memory = psutil.virtual_memory().total / 2**30
    versions = ", ".join(f"{name} {_version(name)}" for name in NAMED)
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    return (
        f"{os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()} {platform.machine()}; "
        f"Python {platform.python_version()}, PostgreSQL {rig.server_version}, {versions}; "
        f"load {load}"
    )


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


if __name__ == "__main__":
    main()
