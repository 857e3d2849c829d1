"""A load in a process of its own, which a test may kill, stop or disturb.

The processes are forked from one that has imported everything and used nothing: a start takes
milliseconds.
"""

import logging
import multiprocessing
import os
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, BinaryIO, cast
from uuid import uuid4

import psutil

from orchestration_project.domains.finra.tables.weekly import finra_otc_weekly
from orchestration_project.engine.captures import Capture, Captures
from orchestration_project.engine.connections.artifacts import FolderStore
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.audits import Validated
from orchestration_project.engine.contracts.partitioning import Partition
from orchestration_project.engine.deliveries import Deliveries, RecordedDeliveries, SourceDeliveries
from orchestration_project.engine.http import HttpClient
from orchestration_project.engine.loader import DatasetLoader
from orchestration_project.engine.loads import SingleItemLoad
from orchestration_project.engine.pools import MIB, ProcessPool
from orchestration_project.engine.source import SourceVersion
from orchestration_project.engine.warehouse import Warehouse, bulk
from orchestration_project.errors import OrchestrationError
from orchestration_project.resources.finra.api import FinraApi
from orchestration_project.resources.finra.query_api import QueryApi
from orchestration_project.resources.finra.source import FinraSource
from orchestration_project.resources.finra.weekly import WeeklyDataset
from orchestration_project.resources.prices.load import PriceLoad
from orchestration_project.resources.prices.source import PriceRange, PriceSource
from orchestration_project.resources.prices.yahoo import YahooChart
from tests.engine.inline_pool import INLINE
from tests.expecting import expect_present
from tests.faults.documents import number_of
from tests.faults.items import ItemRun, SharedClock, WatchedItems, WatchedPool
from tests.faults.matrix import Domain
from tests.faults.pipelines import is_large
from tests.faults.points import Board, Plan, Points, Seen, watch_database, watch_files
from tests.faults.price_publisher import MONTHS
from tests.faults.publisher import FIRST_MONDAY
from tests.http_clients import make_client
from tests.programs import wait_for
from tests.resources.finra_server import TOKEN_PATH
from tests.resources.price_loading import LIMITS as PRICE_LIMITS
from tests.resources.weeks import LIMITS, WeekLoader, known

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    [
        "pytest",
        "adbc_driver_sqlite.dbapi",
        "numpy",
        "pgpq",
        "tests.faults.loads",
        "tests.faults.gold",
        "tests.faults.dagster_runs",
        "tests.faults.document_runs",
    ]
)

NOW = datetime(2026, 3, 2, 15, tzinfo=UTC)
MAX_REJECT_RATIO = 0.1
PATIENCE_SECONDS = 120

LARGE = 100
"""A week has more rows, and loads in ranges of a fourth of it."""


WORKERS, WORKER_BYTES = 2, 512 * MIB


@dataclass(frozen=True)
class ItemOptions:
    """How a run of items goes.

    Attributes:
        seconds: How long an item may take in a worker.
        batch_size: Items that are loaded together.
        is_inline: Whether none is extracted in a worker process, whose start takes half a second.
    """

    seconds: float = 30
    batch_size: int = 50
    is_inline: bool = False


INLINE_ITEMS = ItemOptions(is_inline=True)


@dataclass(frozen=True)
class Job:
    """Load of a process: its source, its place, and its pieces, one after the other."""

    database_url: str
    folder: Path
    source_url: str
    keys: Sequence[str]
    plan: Plan | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    domain: Domain = "weeks"
    http: Mapping[str, Any] = field(default_factory=dict)
    items: ItemOptions = ItemOptions()

    @property
    def artifacts(self) -> Path:
        return self.folder / "artifacts"


def load_keys(job: Job, points: Points) -> Iterator[str]:
    """Load pieces through the product's own surface; say of each what came of it."""
    with OPENED[job.domain](job, points) as load:
        for taken in load.batches(job.keys):
            for ended in load.write_batch(taken).values():
                is_error = isinstance(ended, OrchestrationError)
                yield f"{type(ended).__name__}: {ended}" if is_error else str(ended)


def replay_keys(job: Job, points: Points) -> Iterator[str]:
    """Put the first delivery of weeks in the place of later ones, from the bytes that were kept."""
    points.passed("the bytes are there", "captured", failure=None)
    with Warehouse(job.database_url, clock=Clock(NOW)) as warehouse:
        store = WatchedStore(job.artifacts, points)
        for key in job.keys:
            first = f"{finra_otc_weekly.name}:{key}#1"
            recorded = RecordedDeliveries(WEEKS, warehouse, store, first, allow_older=True)
            replay = _loader(job, recorded, warehouse, store)
            yield str(replay.write_batch(replay.take(key)))


def prepare_database(job: Job, _: Points) -> Iterator[str]:
    """Make the tables."""
    try:
        with Warehouse(job.database_url, clock=Clock(NOW)) as warehouse:
            warehouse.prepare(holds="real")
            yield "prepared"
    except OrchestrationError as error:
        yield f"{type(error).__name__}: {error}"


@contextmanager
def opened(job: Job, points: Points) -> Iterator[SingleItemLoad[Any, Any]]:
    """Give a load of weeks that reports its points."""
    with _client(job) as http, Warehouse(job.database_url, clock=Clock(NOW)) as warehouse:
        api = FinraApi(
            QueryApi(
                http,
                Captures(FolderStore(job.artifacts)),
                Clock(NOW),
                name="api",
                api_url=job.source_url,
                token_url=job.source_url + TOKEN_PATH,
                credentials=None,
                concurrent_requests=1,  # so that the points come in one order
            )
        )
        source = cast("FinraSource", WatchedSource(api, points))
        deliveries = SourceDeliveries(WEEKS, source, warehouse, Clock(NOW))
        store = WatchedStore(job.artifacts, points)
        yield SingleItemLoad(_loader(job, deliveries, warehouse, store), "run")


@contextmanager
def opened_prices(job: Job, points: Points) -> Iterator[PriceLoad]:
    """Give a load of symbols that reports its points; it asks also for what is loaded."""
    store = Captures(FolderStore(job.artifacts))
    with _client(job) as http, Warehouse(job.database_url, clock=Clock(NOW)) as warehouse:
        chart = YahooChart(
            http, store, Clock(NOW), name="yahoo", api_url=job.source_url, overrides={}
        )
        source = cast("PriceSource", WatchedPrices(chart, points))
        load = PriceLoad(
            source, warehouse, Clock(NOW), lambda: job.keys, uuid4().hex, PRICE_LIMITS, full=True
        )
        if job.keys:
            load.pieces(MONTHS)
        yield load


@contextmanager
def opened_items(job: Job, points: Points) -> Iterator[ItemRun]:
    """Give a run of items that reports its points; a large one is extracted in a worker."""
    clock = SharedClock(NOW, job.folder)
    is_large_there = any(is_large(number_of(key)) for key in job.keys)
    is_inline = job.items.is_inline or not is_large_there
    opened_pool = nullcontext(INLINE) if is_inline else ProcessPool(WORKERS, WORKER_BYTES)
    with Warehouse(job.database_url, clock=clock) as warehouse, opened_pool as pool:
        yield ItemRun(
            job.source_url,
            job.artifacts,
            clock,
            WatchedItems(warehouse, clock, points),
            warehouse,
            WatchedPool(pool, points),
            timedelta(seconds=job.items.seconds),
            job.items.batch_size,
        )


OPENED: Mapping[Domain, Callable[[Job, Points], AbstractContextManager[Any]]] = {
    "weeks": opened,
    "prices": opened_prices,
    "items": opened_items,
}


def _client(job: Job) -> HttpClient:
    return make_client(
        job.folder,
        "source_test",
        use_environment=False,
        **{"max_attempts": 5, "wait_seconds": 0.5, **job.http},
    )


def _loader(
    job: Job, deliveries: Deliveries, warehouse: Warehouse, store: FolderStore
) -> WeekLoader:
    return DatasetLoader(
        WEEKS,
        deliveries,
        warehouse,
        store,
        today=NOW.date(),
        run_id=uuid4().hex,
        max_reject_ratio=MAX_REJECT_RATIO,
        scratch=job.folder / "scratch",
        is_reported=known,
    )


class SomeInRanges(WeeklyDataset):
    """Takes some weeks for too large for memory."""

    def validate(self, partition: Partition, *delivery: Any, **how: Any) -> Validated:
        number = (partition.day - FIRST_MONDAY).days // 7
        most = LARGE if is_large(number) else self.rows_at_once
        return WeeklyDataset.validate(replace(self, rows_at_once=most), partition, *delivery, **how)


WEEKS = SomeInRanges(limits=LIMITS)


class WatchedStore(FolderStore):
    """Says when the checked rows are staged."""

    def __init__(self, folder: Path, points: Points) -> None:
        super().__init__(folder)
        self._points = points

    def put(self, name: str, content: bytes | BinaryIO) -> None:
        super().put(name, content)
        self._points.passed(f"{name} is put", "staged", failure=None)


class WatchedSource:
    """Says when the source is first asked, and when all of a week is captured."""

    def __init__(self, source: FinraSource, points: Points) -> None:
        self._source = source
        self._points = points

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def version(self, partition: Partition) -> SourceVersion:
        version = self._source.version(partition)
        what = f"{partition.value} {partition.day} is {version.text}"
        self._points.passed(what, "capture begun", failure=None)
        return version

    def extract_version(
        self, partition: Partition, version: SourceVersion, captures: list[Capture]
    ) -> Sequence[Capture]:
        pages = self._source.extract_version(partition, version, captures)
        self._points.passed(f"{len(pages)} pages are kept", "captured", failure=None)
        return pages


class WatchedPrices:
    """Says when a source of prices is asked, and when its answer is captured."""

    def __init__(self, source: PriceSource, points: Points) -> None:
        self._source = source
        self._points = points

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def fetch(self, requested: PriceRange, kept: list[Capture]) -> Sequence[Capture]:
        self._points.passed(f"{requested.symbol} is asked for", "capture begun", failure=None)
        captures = self._source.fetch(requested, kept)
        self._points.passed("its answer is kept", "captured", failure=None)
        return captures


def run(what: Any, job: Job, board: Path, answers: Connection) -> None:
    """Do ``what`` in this process, and send what came of it."""
    logging.disable()
    bulk.MANY_ROWS = LARGE // 10  # so that a week's rows come by way of a file
    os.environ.update(job.environment)  # noqa: TID251 - what a shell would have set
    points = Points(Board(board), job.plan)
    watch_files(points, job.artifacts)
    watch_database(points, job.database_url)
    try:
        answers.send(list(what(job, points)))
    except Exception:  # noqa: BLE001 - the test shows it
        answers.send([f"DEFECT {traceback.format_exc()}"])


class Process:
    """A process that does ``what``; its last point stays readable when it is dead."""

    def __init__(self, what: Any, job: Job) -> None:
        board = job.folder / "boards" / uuid4().hex
        board.parent.mkdir(parents=True, exist_ok=True)
        self._board = Board(board)
        self._answers, theirs = FORKS.Pipe(duplex=False)
        self._process = FORKS.Process(target=run, args=(what, job, board, theirs), daemon=True)
        self.started = time.monotonic()
        self._process.start()
        theirs.close()

    @property
    def pid(self) -> int:
        return expect_present(self._process.pid)

    @property
    def seen(self) -> Seen:
        return self._board.read()

    def wait_until(self, is_there: Callable[[Seen], bool]) -> bool:
        """Wait until it is seen somewhere; False: it ended before."""

        def progress() -> str:
            if is_there(self.seen):
                return "there"
            return "" if self._process.is_alive() else "ended"

        return wait_for(progress, PATIENCE_SECONDS, poll_seconds=0.0005) == "there"

    def go_on_for(self, seconds: float) -> None:
        """Let it go on for some seconds, or to its end."""
        self._process.join(seconds)

    def wait_until_stopped(self) -> None:
        """Wait until it has stopped itself."""
        try:
            process = psutil.Process(self.pid)
            wait_for(lambda: process.status() == psutil.STATUS_STOPPED, PATIENCE_SECONDS)
        except psutil.NoSuchProcess as error:
            ended = f"it ended instead, last seen at {self.seen}: {self.wait_and_check_answer()}"
            raise AssertionError(ended) from error

    def go_on(self) -> None:
        """Let it go on where it stopped."""
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """Kill it as nothing can be prepared for, and see it dead."""
        self._process.kill()
        self._process.join()

    def wait_and_check_answer(self) -> list[str]:
        """Wait for its end and return what came of it; empty: it was killed."""
        answer: list[str] = []
        if self._answers.poll(PATIENCE_SECONDS):
            with suppress(EOFError):
                answer = self._answers.recv()
        else:
            self.kill()
            raise AssertionError(f"it hangs at {self.seen}")
        self._process.join()
        assert not any(line.startswith("DEFECT") for line in answer), answer
        return answer


def loaded(job: Job) -> list[str]:
    """Load without any fault, in a process of its own."""
    return Process(load_keys, job).wait_and_check_answer()
