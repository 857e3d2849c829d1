"""Ledger updates: incremental since the last poll, and full."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import dagster as dg

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.services.ledger.comparing import compare
from orchestration_project.services.ledger.reading import read_facts
from orchestration_project.services.ledger.recording import Ledger, Written

CHANGE_OVERLAP = timedelta(minutes=5)
"""A run's change bears the time of its event, and may be stored after a later one: look again."""

RUNS_PER_TICK = 100
"""Dagster ends a tick that takes longer than 60 s; what it wrote until then stays."""

SECONDS_PER_TICK = 20
"""Time after which no further page is read: where the ledger has nearly all of many runs, a tick
that looked at every one would be ended each time, and begin again."""

RUNS_PER_BATCH = 20
"""Runs read and written together."""

RUNS_PER_PAGE = 500
"""Runs of which Dagster is asked at once whether they changed."""

EVERY_STATUS = list(dg.DagsterRunStatus)
"""Dagster's index of changes begins with the status; without one, all runs are read."""

Each = TypeVar("Each")

NEVER = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class LedgerUpdate:
    """Result of an incremental update: written rows, whether more wait, and its cursor."""

    written: Written
    is_all: bool
    seen: datetime


@dataclass(frozen=True)
class LedgerRepair:
    """Result of a full update: written rows, and runs marked as deleted."""

    written: Written
    gone: int


def follow(
    instance: dg.DagsterInstance,
    ledger: Ledger,
    since: datetime | None,
    *,
    limit: int = RUNS_PER_TICK,
    page_size: int = RUNS_PER_PAGE,
    seconds: float = SECONDS_PER_TICK,
) -> LedgerUpdate:
    """Record the runs that changed after ``since``, the first of them first; None: from the start.

    A run that is in the ledger as Dagster last changed it is passed over. Where that takes longer
    than ``seconds``, the next look goes on.
    """
    due: dict[str, dg.RunRecord] = {}
    seen_moment, is_all = since or NEVER, True
    start = seen_moment - CHANGE_OVERLAP if since else NEVER
    until = time.monotonic() + seconds
    for page, is_last in _read_changed(instance, ledger, start, page_size):
        for record, is_known in page:
            if not is_known:
                if len(due) == limit and record.dagster_run.run_id not in due:
                    is_all = False
                    break
                due[record.dagster_run.run_id] = record
            seen_moment = max(seen_moment, record.update_timestamp)
        is_all = is_all and (is_last or time.monotonic() < until)
        if not is_all:
            break
    written = _record(instance, ledger, list(due.values()))
    # What changed later than now did so before the clock was set back: the next look is not then.
    return LedgerUpdate(written, is_all, min(seen_moment, Clock().now()))


def reconcile(
    instance: dg.DagsterInstance,
    ledger: Ledger,
    since: datetime | None,
    *,
    only_changed: bool = False,
) -> LedgerRepair:
    """Compare all runs that were created after ``since`` (None: all), and repair their rows.

    With ``only_changed``, runs that have a row of the same status and last change are not read.
    """
    written = Written()
    if only_changed:
        run_count, due = compare(instance, ledger, since)
        written += Written(same=run_count - len(due))
        pages = (
            instance.get_run_records(dg.RunsFilter(run_ids=list(some)))
            for some in _split_items(due, RUNS_PER_PAGE)
        )
    else:
        pages = _read_pages(instance, since)
    for page in pages:
        written += _record(instance, ledger, page)
    run_ids = [
        run_id
        for some in _split_items(ledger.under_way(), RUNS_PER_PAGE)
        for run_id in _find_absent(instance, some)
    ]
    for some in (
        *_split_items(run_ids, RUNS_PER_PAGE),
        (),
    ):  # none: the steps of those marked before
        ledger.mark_gone(some)
    return LedgerRepair(written, len(run_ids))


def record_runs(instance: dg.DagsterInstance, ledger: Ledger, filters: dg.RunsFilter) -> Written:
    """Record the runs of a filter that have changed since they were recorded."""
    written, cursor = Written(), None
    while page := instance.get_run_records(filters, limit=RUNS_PER_PAGE, cursor=cursor):
        cursor = page[-1].dagster_run.run_id
        known_moments = ledger.known([record.dagster_run.run_id for record in page])
        changed = [
            record
            for record in page
            if known_moments.get(record.dagster_run.run_id) != record.update_timestamp
        ]
        written += _record(instance, ledger, changed)
    return written


def _split_items(items: Sequence[Each], size: int) -> Iterator[Sequence[Each]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _record(
    instance: dg.DagsterInstance, ledger: Ledger, records: Sequence[dg.RunRecord]
) -> Written:
    written = Written()
    for some in _split_items(records, RUNS_PER_BATCH):
        written += ledger.record([read_facts(instance, record) for record in some])
    return written


def _read_changed(
    instance: dg.DagsterInstance, ledger: Ledger, since: datetime, page_size: int
) -> Iterator[tuple[list[tuple[dg.RunRecord, bool]], bool]]:
    """Yield pages of the runs that changed after ``since``, by time, and which of them is the last.

    Of each run it says whether the ledger knows it so. At the end of a page a run may come twice:
    others may have changed at the very same time.
    """
    while page := instance.get_run_records(
        dg.RunsFilter(updated_after=since, statuses=EVERY_STATUS),
        limit=page_size,
        order_by="update_timestamp",
        ascending=True,
    ):
        known_moments = ledger.known([record.dagster_run.run_id for record in page])
        is_last = len(page) < page_size
        stamped = [(run_record, run_record.update_timestamp) for run_record in page]
        yield (
            [
                (run_record, known_moments.get(run_record.dagster_run.run_id) == at)
                for run_record, at in stamped
            ],
            is_last,
        )
        if is_last:
            return
        just_before = page[-1].update_timestamp - timedelta(microseconds=1)
        if just_before == since:  # all of the page changed at the same time: look further
            page_size *= 2
        since = just_before


def _read_pages(
    instance: dg.DagsterInstance, since: datetime | None
) -> Iterator[Sequence[dg.RunRecord]]:
    """Yield the runs that were created after ``since``, the latest first."""
    filters, cursor = dg.RunsFilter(created_after=since), None
    while page := instance.get_run_records(filters, limit=RUNS_PER_PAGE, cursor=cursor):
        yield page
        cursor = page[-1].dagster_run.run_id


def _find_absent(instance: dg.DagsterInstance, run_ids: Sequence[str]) -> list[str]:
    present = set(instance.get_run_ids(dg.RunsFilter(run_ids=list(run_ids))))
    return [run_id for run_id in run_ids if run_id not in present]
