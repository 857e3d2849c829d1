"""Measured programs: real Dagster runs through the product's assets, and parts of them.

Each function is called in a process of its own (`child.py`). A run has persistent storage, every
byte captured and flushed; making tables and Dagster's own storage is before the clock, as the
peers' tables are.
"""

import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import date, timedelta
from functools import partial
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any

import dagster as dg
import polars as pl

from orchestration_project.catalog import REGISTRY
from orchestration_project.definitions import defs
from orchestration_project.domains.finra.contract import (
    API_FIELDS,
    RULES,
    check_week,
    with_quantities,
)
from orchestration_project.domains.finra.settings import FinraSettings
from orchestration_project.engine.captures import Captures
from orchestration_project.engine.connections.artifacts import open_store
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.delimited import add_records, parse_parts
from orchestration_project.engine.contracts.partitioning import Partition
from orchestration_project.engine.contracts.parts import Part
from orchestration_project.engine.contracts.rules import apply_rules
from orchestration_project.engine.dagster_private.daemon_state import read_daemon_state
from orchestration_project.engine.environment import open_clock, open_warehouse
from orchestration_project.resources.finra.api import FinraApi
from orchestration_project.resources.finra.connection import open_http
from orchestration_project.resources.finra.query_api import QueryApi
from orchestration_project.services.gate import Gate, GatedRun, Register
from orchestration_project.services.probes import open_all_probes
from orchestration_project.settings import PROJECT_ROOT, load_settings

STAGES = {
    "finra/otc_weekly_capture": "fetch",
    "finra/otc_weekly_staged": "check",
    "finra/otc_weekly": "load",
    "finra/symbol_week": "derive",
    "finra/venue_week": "derive",
}
IMPORTED_LATE = (
    *("alembic.command", "holidays.financial", "numpy", "pyarrow"),
    *("dagster._core.execution.execute_in_process", "dagster._core.executor.in_process"),
    *("dagster._core.execution.plan.active", "dagster._core.instance.runs.run_domain"),
    *("dagster._core.system_config.composite_descent", "encodings.idna"),
    *("polars._utils.parquet", "zstandard"),
)
"""Modules that a first run would import while it is measured."""

INTO_POSTGRESQL, INTO_SQLITE = ("pgpq", "psycopg"), ("adbc_driver_sqlite.dbapi",)
"""The same, of the way into each database."""

REJECTED_EVERY = 400
"""Lines between two that break the contract: half of what FINRA_MAX_REJECT_RATIO allows."""


def _warm() -> None:
    with open_warehouse(load_settings()) as warehouse:
        is_sqlite = warehouse.shown_url.startswith("sqlite")
    for name in (*IMPORTED_LATE, *(INTO_SQLITE if is_sqlite else INTO_POSTGRESQL)):
        import_module(name)


def load(*, first: str, last: str, full: bool = False) -> dict[str, Any]:
    """Run the partitions from ``first`` to ``last`` in one run; return seconds, also by stage."""
    _warm()
    config = {"ops": {"finra_otc_weekly_load": {"config": {"full": full}}}}
    with dg.DagsterInstance.get() as instance:
        return _run(instance, "finra_otc_weekly", _range(first, last), config)


BALANCE_FILES = {
    str(PROJECT_ROOT / "orchestration_project" / name)
    for name in (
        *("engine/contracts/balance.py", "engine/conservation.py", "engine/equations.py"),
        "engine/warehouse/balancing.py",
    )
}
SAMPLE_SECONDS = 0.002


def load_sampled(*, first: str, last: str) -> dict[str, Any]:
    """Run partitions as `load` does; add CPU seconds of all, and of the balance by function.

    What a thread spent since the last sample is that of the function which it is in now.
    """
    counting: dict[str, float] = defaultdict(float)
    has_ended = threading.Event()
    sampling_seconds = 0.0

    def sample() -> None:
        nonlocal sampling_seconds
        spent: dict[int, float] = {}
        while not has_ended.wait(SAMPLE_SECONDS):
            frames = sys._current_frames()
            alive = {thread.ident or 0 for thread in threading.enumerate()}
            for ident in alive & frames.keys():
                before = spent.get(ident, 0.0)
                spent[ident] = time.clock_gettime(time.pthread_getcpuclockid(ident))
                if name := _find_counting(frames[ident]):
                    counting[name] += spent[ident] - before
            sampling_seconds = time.thread_time()

    sampler = threading.Thread(target=sample)
    _warm()
    with dg.DagsterInstance.get() as instance:
        sampler.start()
        started = time.process_time()
        report = _run(instance, "finra_otc_weekly", _range(first, last))
        spent = time.process_time() - started - sampling_seconds
        has_ended.set()
    sampler.join()
    return {**report, "spent_seconds": spent, "counting": counting}


def _find_counting(frame: FrameType | None) -> str | None:
    """Return the function of the balance that a thread is in; None: it does other work."""
    while frame is not None and frame.f_code.co_filename not in BALANCE_FILES:
        frame = frame.f_back
    return None if frame is None else frame.f_code.co_name


def load_prices(*, first: str, last: str) -> dict[str, Any]:
    """Run the months from ``first`` to ``last`` of daily prices in one run."""
    _warm()
    with dg.DagsterInstance.get() as instance:
        return _run(instance, "prices_daily", _range(first, last))


def load_each(*, keys: list[str]) -> dict[str, Any]:
    """Run each partition in a run of its own, one after the other in one process."""
    _warm()
    stages: Counter[str] = Counter()
    seconds = 0.0
    with dg.DagsterInstance.get() as instance:
        for key in keys:
            report = _run(instance, "finra_otc_weekly", {"dagster/partition": key})
            seconds += report["seconds"]
            stages.update(report["stages"])
    return {"seconds": seconds, "stages": dict(stages)}


def gold(*, key: str) -> dict[str, Any]:
    """Run what looks across weeks for one partition, whose loading changed."""
    _warm()
    with dg.DagsterInstance.get() as instance:
        return _run(instance, "finra_gold", {"dagster/partition": key})


def gate() -> dict[str, float]:
    """Pass the gate as a load does, with nothing known yet and then again; return seconds."""
    _warm()
    settings = load_settings()
    with dg.DagsterInstance.get() as instance, open_warehouse(settings) as warehouse:

        def seconds(config_hash: str) -> float:
            gate = Gate(
                open_all_probes(
                    REGISTRY, settings, partial(read_daemon_state, instance), warehouse
                ),
                Register(warehouse),
                clock=Clock(),
                max_age=timedelta(minutes=15),
                config_hash=config_hash,
                run=GatedRun("bench", False, lambda: False, lambda _: None),
            )
            started = time.perf_counter()
            gate.admit("artifacts")
            gate.admit("finra")
            return time.perf_counter() - started

        unknown = str(time.time())  # what was found under other settings does not count
        return {"looking": seconds(unknown), "knowing": seconds(unknown)}


def fetch(*, keys: list[str], concurrent_requests: int) -> dict[str, Any]:
    """Fetch and keep the pages of partitions, without checking or loading them."""
    settings = FinraSettings.of(load_settings())
    with open_http(settings) as http:
        source = FinraApi(
            QueryApi(
                http,
                Captures(open_store(settings)),
                open_clock(settings),
                name="api",
                api_url=settings.finra_api_url,
                token_url=settings.finra_token_url,
                credentials=None,
                concurrent_requests=concurrent_requests,
            )
        )
        source.published()  # connects
        started = time.perf_counter()
        for tier, week in (key.split("|") for key in keys):
            week_start = date.fromisoformat(week)
            version = source.version(Partition(week_start, tier))
            source.extract_version(Partition(week_start, tier), version, [])
        return {"seconds": time.perf_counter() - started}


def contract(*, pages: str, repeats: int) -> dict[str, Any]:
    """Apply the contract to a partition with rejects, as often as asked: its rules, and in all."""
    parts = [
        Part(number, _spoiled(file.read_bytes()))
        for number, file in enumerate(sorted(Path(pages).iterdir()), start=1)
    ]
    week_start = date(2026, 2, 9)
    found = check_week(parts, week_start=week_start, tier="T1")
    lines = parse_parts(parts, API_FIELDS).rows
    judging: list[float] = []
    checking: list[float] = []
    for _ in range(repeats):
        judging.append(_seconds(_judged, lines, parts))
        checking.append(_seconds(check_week, parts, week_start=week_start, tier="T1"))
    return {
        "judging": judging,
        "checking": checking,
        "lines": found.received_count,
        "rejects": len(found.rejects),
    }


def _judged(lines: pl.DataFrame, parts: list[Part]) -> None:
    """Values from text, every rule, and each reject with its place, record and reason."""
    _, broken = apply_rules(with_quantities(lines), RULES)
    add_records(broken.select("part_number", "line_number", "reason_code", "reason"), parts)


def _seconds(function: Callable[..., object], *arguments: object, **more: object) -> float:
    started = time.perf_counter()
    function(*arguments, **more)
    return time.perf_counter() - started


def _spoiled(page: bytes) -> bytes:
    """Make an impossible date of the last but one field of some lines."""
    lines = page.split(b"\n")
    for place in range(1, len(lines) - 1, REJECTED_EVERY):
        fields = lines[place].split(b"|")
        fields[-2] = b"2026-02-30"
        lines[place] = b"|".join(fields)
    return b"\n".join(lines)


def _range(first: str, last: str) -> dict[str, str]:
    return {
        "dagster/asset_partition_range_start": first,
        "dagster/asset_partition_range_end": last,
    }


def _run(
    instance: dg.DagsterInstance,
    job_name: str,
    tags: dict[str, str],
    config: dict[str, Any] | None = None,
) -> dict[str, Any]:
    job = defs.resolve_job_def(job_name)
    started, busy = time.perf_counter(), time.process_time()
    result = job.execute_in_process(run_config=config, instance=instance, tags=tags)
    seconds, busy = time.perf_counter() - started, time.process_time() - busy
    stages = _stages(instance, result.run_id)
    return {"seconds": seconds, "run_cpu_seconds": busy, "stages": stages}


def _stages(instance: dg.DagsterInstance, run_id: str) -> dict[str, float]:
    """Return the seconds that a run's materializations say of each stage, over all partitions."""
    stages: Counter[str] = Counter()
    records = instance.get_records_for_run(
        run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION
    ).records
    for record in records:
        report = record.asset_materialization
        if report is None or "seconds" not in report.metadata:
            continue
        stage = STAGES.get(report.asset_key.to_user_string(), "other")
        stages[stage] += float(report.metadata["seconds"].value)  # pyright: ignore[reportArgumentType] - a number
    return dict(stages)
