"""The mirror of the examples, killed at random moments while loads and erasures run."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import duckdb
import psutil
import pytest
from sqlalchemy import delete, select

from orchestration_project.domains.finra.tables.weekly import (
    finra_otc_weekly,
    finra_otc_weekly_history,
)
from orchestration_project.engine.environment import open_clock, open_warehouse
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.chain_amending import record_amendments
from orchestration_project.settings import PROJECT_ROOT, load_settings
from tests import programs
from tests.expecting import expect_present
from tests.resources.weeks import MONDAY, PartitionLoader, row

pytestmark = pytest.mark.slow

MIRROR = PROJECT_ROOT / "examples" / "mirror" / "mirror.py"
NAME = finra_otc_weekly.name
SEED, KILL_COUNT, MAX_LIFE_SECONDS = "20261201", 50, 3.0
SYMBOLS = [f"S{number:03}" for number in range(300)]
WEEKS = 3


class Gateway:
    """A gateway over an empty database, and the key of a viewer."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "state"
        port, output = programs.free_port(), folder / "ui.log"
        command = ("orchestration_project", "ui", "--port", str(port))
        self.process = programs.start_into(output, self.state, *command)
        programs.wait_for(lambda: "op_" in output.read_text(), seconds=240)
        created = programs.run_without_failure(
            self.state,
            *("orchestration_project", "keys", "create", "--role", "viewer", "--owner", "a mirror"),
        )
        self.url, self.key = f"http://127.0.0.1:{port}", programs.key_in(created)

    def update(self, file: Path) -> str:
        """Run the example with a DuckDB file to its end; return what it printed."""
        command = [sys.executable, str(MIRROR), NAME, str(file)]
        return subprocess.run(  # noqa: S603 - the example
            command, env=self._environment, check=True, capture_output=True, text=True
        ).stdout

    @contextmanager
    def mirrors(self, file: Path) -> Iterator[Callable[[], int]]:
        """Give a function that starts the example with a DuckDB file, and returns its process."""
        with subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-m", "tests.slow.forked_mirrors", NAME, str(file)],
            cwd=PROJECT_ROOT,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as forking:
            given, answers = expect_present(forking.stdin), expect_present(forking.stderr)

            def start() -> int:
                given.write("\n")
                given.flush()
                return int(answers.readline())

            yield start
            given.close()

    @property
    def _environment(self) -> dict[str, str]:
        return {"GATEWAY_URL": self.url, "GATEWAY_KEY": self.key, "PYTHONPATH": str(PROJECT_ROOT)}


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    gateway = Gateway(tmp_path)
    yield gateway
    gateway.process.terminate()
    gateway.process.wait(timeout=programs.PATIENCE_SECONDS)


@pytest.fixture
def warehouse(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> Iterator[Warehouse]:
    """The database of the gateway."""
    for name, value in {**programs.DEMO, "STATE_DIR": str(gateway.state)}.items():
        monkeypatch.setenv(name, value)
    with open_warehouse(load_settings()) as warehouse:
        yield warehouse


class Loads:
    """Loads of random rows, and erasures, one after the other."""

    def __init__(self, warehouse: Warehouse, folder: Path) -> None:
        self._warehouse = warehouse
        self._random = Random(SEED)  # noqa: S311 - of a test
        weeks = (MONDAY + timedelta(days=7 * number) for number in range(WEEKS))
        self._loaders = [PartitionLoader(warehouse, folder, week_start=monday) for monday in weeks]
        self._stop = threading.Event()
        self.errors: list[Exception] = []
        self.count = self.erased_count = 0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Load until the block ends."""
        thread = threading.Thread(target=self._run)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()

    def _run(self) -> None:
        try:
            while not self._stop.wait(self._random.uniform(0, 0.1)):
                self.count += 1
                loader = self._random.choice(self._loaders)
                if self.count % 9:
                    self._load(loader)
                else:
                    self._erase(loader)
        except Exception as error:  # noqa: BLE001 - the test raises it
            self.errors.append(error)

    def _load(self, loader: PartitionLoader) -> None:
        symbols = self._random.sample(SYMBOLS, self._random.randrange(1, len(SYMBOLS)))
        rows = [row(symbol, share_quantity=self._random.randrange(1, 4)) for symbol in symbols]
        loader.write_batch(*rows, version=f"v{self.count}")

    def _erase(self, loader: PartitionLoader) -> None:
        clock, symbol = open_clock(load_settings()), self._random.choice(SYMBOLS)
        reached = {finra_otc_weekly: [loader.partition_key]}
        with (
            self._warehouse.writing() as connection,
            record_amendments(connection, "erasure", "request", clock.now(), reached),
        ):
            for table in (finra_otc_weekly, finra_otc_weekly_history):
                is_erased = (table.c.symbol == symbol, table.c.week_start == loader.week_start)
                self.erased_count += connection.execute(delete(table).where(*is_erased)).rowcount


def read_mirror(file: Path) -> list[tuple[Any, ...]]:
    columns = ", ".join(column.key for column in finra_otc_weekly.columns)
    with duckdb.connect(str(file)) as database:
        return database.execute(f"SELECT {columns} FROM {NAME} ORDER BY {columns}").fetchall()  # noqa: S608


def read_cursor(file: Path) -> str:
    """Return the stored cursor; blank: there is none."""
    if not file.exists():
        return ""
    with duckdb.connect(str(file)) as database:
        database.execute("CREATE TABLE IF NOT EXISTS cursors (name TEXT PRIMARY KEY, cursor TEXT)")
        [found] = database.execute("SELECT coalesce(max(cursor), '') FROM cursors").fetchone() or [
            ""
        ]
        return found


def read_table(warehouse: Warehouse) -> list[tuple[Any, ...]]:
    columns = [column.label(column.key) for column in finra_otc_weekly.columns]
    with warehouse.reading() as connection:
        rows = connection.execute(select(*columns).order_by(*columns)).all()
    return [tuple(row) for row in rows]


def test_a_mirror_that_is_killed_at_random_moments_equals_the_table(gateway, warehouse, tmp_path):
    file, random = tmp_path / "mirror.duckdb", Random(SEED)  # noqa: S311 - of a test
    loads, cursors = Loads(warehouse, tmp_path / "artifacts"), {""}
    with loads.running(), gateway.mirrors(file) as start:
        for _ in range(KILL_COUNT):
            process_id = start()
            assert programs.kill_after(process_id, random.uniform(0, MAX_LIFE_SECONDS))
            programs.wait_for(lambda number=process_id: not psutil.pid_exists(number))
            cursors.add(read_cursor(file))
    assert loads.errors == []
    assert loads.erased_count > 0
    assert len(cursors) > KILL_COUNT // 5
    assert "changes" in gateway.update(file)
    expected = read_table(warehouse)
    assert len(expected) > 0
    assert read_mirror(file) == expected
    assert gateway.update(file) == f"{NAME}: 0 changes\n"
    assert read_mirror(file) == expected
