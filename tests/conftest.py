"""Fixtures of tests of every layer: settings of a demo source, and a PostgreSQL server."""

import gc
import hashlib
import logging
import os
import re
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any
from uuid import uuid4

import dagster as dg
import hypothesis
import pytest

from orchestration_project import redaction
from orchestration_project.cli.console import OUTPUT
from orchestration_project.engine.tracing import traceparent
from orchestration_project.instance import logs
from orchestration_project.settings import Settings, load_settings
from tests.compiled_once import share_compiled
from tests.demos import Demos
from tests.postgres import binaries_asked_for, new_database, server_of, server_of_pip
from tests.prepared import Prepared
from tests.programs import DEMO

os.environ |= {name: DEMO[name] for name in ("DEMO_CLOCK_NOW", "FINRA_FIRST_WEEK")}
"""Set before any other conftest imports the definitions: their partitions depend on them."""

os.environ |= {"DOMAINS": DEMO["DOMAINS"], "FINRA_DATASETS": DEMO["FINRA_DATASETS"]}
"""All, as tests of each domain import the definitions once; `test_domains.py` chooses some."""

share_compiled()

UMASK = os.umask(0o022)
os.umask(UMASK)
"""The umask of whoever runs the tests."""

LONGEST = {
    "cli",
    "sensors",
    "assets",
    "demo",
    "test_readme",
    "test_evidence",
}
"""Folders and modules whose tests begin, as they start programs or take minutes together."""

hypothesis.settings.register_profile("short", max_examples=40, deadline=None)
hypothesis.settings.register_profile("long", max_examples=400, deadline=None)
hypothesis.settings.load_profile("short")  # of others: ARGS="--hypothesis-profile=long"

BY_DEFAULT = "not slow and not histories and not faults"
"""The marks of `make test`, as in pyproject.toml."""

OTHERS_ONLY = re.compile(r"^pytestmark = \[?pytest\.mark\.(slow|histories|faults)\b", re.MULTILINE)
"""Stands in a module of which `make test` runs no test."""

CASES = set[str]()
"""Tests of which a case was collected."""

LEFT_OUT = pytest.StashKey[int]()
"""How many tests --part has left out."""


def pytest_configure() -> None:
    """Receive interrupts, also where a shell started the tests in the background, ignoring them.

    Programs that tests start would ignore them, too: Dagster ends its readers of logs by one, and
    waits half a minute for each that stays.
    """
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--part", type=int, default=1, help="one in PART, of slow tests and faults")
    parser.addoption("--seed", default="20260302", help="decides which, and when faults strike")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Import no module whose tests are all left out: each worker would do so, for seconds."""
    is_default = config.option.markexpr == BY_DEFAULT and collection_path.suffix == ".py"
    return True if is_default and OTHERS_ONLY.search(collection_path.read_text()) else None


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark what is slow on PostgreSQL alone, and all but the first case of some tests."""
    is_first = item.nodeid.partition("[")[0] not in CASES
    CASES.add(item.nodeid.partition("[")[0])
    is_on_postgresql = "postgresql" in item.name.lower()
    if (item.get_closest_marker("slow_on_postgresql") and is_on_postgresql) or (
        item.get_closest_marker("slow_after_first") and not is_first
    ):
        item.add_marker(pytest.mark.slow)


@pytest.hookimpl(trylast=True)  # of what is to run
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is not drawn, and begin with what takes longest: the workers end together."""
    counts = Counter(item.nodeid for item in items)
    if repeated := [node_id for node_id, count in counts.items() if count > 1]:
        raise pytest.UsageError(  # a worker of xdist would run one of them, and say nothing
            f"invalid test IDs: expected each once, found again: {repeated[:5]}"
        )
    left_out = _left_out(items, config)
    config.stash[LEFT_OUT] = len(left_out)
    config.hook.pytest_deselected(items=left_out)
    gone = set(left_out)
    items[:] = [item for item in items if item not in gone]
    items.sort(key=lambda item: not (LONGEST & {item.path.parent.name, item.path.stem}))


def pytest_collection_finish() -> None:
    """Have the garbage collector pass over what collecting made: it stays until the end.

    A twelfth of a worker's time went to looking through it again and again, and another tenth to
    looking through all else, which mostly stays, too.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(700, 10, 100)


@pytest.fixture(autouse=True)
def no_program_of_another_test() -> Iterator[None]:
    """Forget runs that a test began in this process, and what it set as a program or command.

    An instance in files of an earlier test has those in memory store events in batches.
    """
    os.environ.pop("DAGSTER_EVENT_BATCH_SIZE", None)
    before = {name: os.environ[name] for name in os.environ if not name.startswith("PYTEST")}
    hidden = redaction._OF_THIS_PROCESS
    known = hidden._secrets
    yield
    hidden._secrets = known  # each text is searched for all
    for name in os.environ.keys() - before.keys():
        if not name.startswith("PYTEST"):
            del os.environ[name]
    os.environ.update(before)
    OUTPUT.set()
    traceparent._OF_RUNS = {}
    for each in logs._KEPT:
        logging.getLogger().removeHandler(each)
        each.close()
    logs._KEPT.clear()


def _left_out(items: list[pytest.Item], config: pytest.Config) -> list[pytest.Item]:
    option: Any = config.getoption
    seed, part = option("seed"), option("part")
    drawn = {
        hashlib.sha256(f"{seed} {number} {item.nodeid}".encode()).digest(): item
        for number, item in enumerate(items)
        if item.get_closest_marker("slow") or item.get_closest_marker("faults")
    }
    kept = -(-len(drawn) // part)  # of some there is one at least
    return [drawn[key] for key in sorted(drawn)[kept:]]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Have a worker of xdist report to its controller, which collects nothing itself."""
    if worker_output := getattr(session.config, "workeroutput", None):
        worker_output["left_out"] = session.config.stash.get(LEFT_OUT, 0)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Note what a worker of xdist has left out: each the same; print how a crashed one ended."""
    if error:  # -9: something killed it, as the system does without memory
        status = node.gateway._io.popen.wait(timeout=60)
        node.config.get_terminal_writer().line(f"[{node.gateway.id}] ended with status {status}")
    node.config.stash[LEFT_OUT] = getattr(node, "workeroutput", {}).get("left_out", 0)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say that these were not all tests."""
    if left_out := config.stash.get(LEFT_OUT, 0):
        part, seed = config.getoption("part"), config.getoption("seed")
        said = f"only a part of the tests: --part={part} --seed={seed} left out {left_out}"
        terminalreporter.section(said, yellow=True)


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    """The umask of whoever runs the tests: what opens STATE_DIR in this process sets another."""
    os.umask(UMASK)
    yield
    os.umask(UMASK)


@pytest.fixture(scope="session")
def demos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demos]:
    """The servers of the demo source that tests share."""
    anchor = date.fromisoformat(DEMO["DEMO_CLOCK_NOW"][:10])
    demos = Demos(tmp_path_factory.mktemp("demos"), anchor)
    yield demos
    demos.stop()


@pytest.fixture
def set_clock(demos: Demos, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Sets DEMO_CLOCK_NOW, and lends the settings a demo source of that time."""

    def set_clock(now: str) -> None:
        monkeypatch.setenv("DEMO_CLOCK_NOW", now)
        demos.lend(load_settings())

    return set_clock


@pytest.fixture
def demo_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, demos: Demos, prepared: Prepared
) -> Iterator[Settings]:
    """Settings of a small demo source and an empty database in a folder of their own."""
    for name, value in DEMO.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    settings = load_settings()
    prepared.sqlite(settings.state_path / "demo.sqlite")
    demos.lend(settings)
    yield settings
    demos.take_back(load_settings())


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server that runs for the session."""
    binaries = binaries_asked_for()
    locks = tmp_path_factory.mktemp("postgres")
    started = server_of(binaries) if binaries else server_of_pip(locks)
    with started as url:
        yield url


@pytest.fixture(scope="module")
def postgres_url(postgres_server: str) -> str:
    """The URL of an empty database that the tests of one module share."""
    return new_database(postgres_server, f"test_{uuid4().hex}")


@pytest.fixture(scope="session")
def prepared(request: pytest.FixtureRequest) -> Prepared:
    """Databases with our tables; the server is started for the first that is PostgreSQL's."""
    return Prepared(lambda: request.getfixturevalue("postgres_server"))


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """Dagster's instance, in memory: a run takes a third of the time that it takes with files."""
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture(scope="session")
def new_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of an instance that has done nothing: to make them takes longer than a run."""
    folder = tmp_path_factory.mktemp("dagster")
    with instance_in(folder) as instance:
        instance.get_ref()
        assert instance.get_runs() == []
    return folder


@pytest.fixture
def kept_instance(new_files: Path, tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """Dagster's instance in files: schedules know no other, and ticks are reported to it alone."""
    folder = shutil.copytree(new_files, tmp_path / "dagster")
    with instance_in(folder) as instance:
        yield instance


@contextmanager
def instance_in(folder: Path) -> Iterator[dg.DagsterInstance]:
    """Open Dagster's instance in files below ``folder``, which the project's storage writes."""
    if (folder / "dagster.yaml").is_symlink():
        raise FileExistsError("it would overwrite the project's own dagster.yaml")
    storage = {
        "module": "orchestration_project.instance.sqlite",
        "class": "SqliteStorage",
        "config": {"base_dir": str(folder)},
    }
    with dg.instance_for_test(
        overrides={"storage": {"custom": storage}}, temp_dir=str(folder)
    ) as instance:
        yield instance
