"""Options of `make test-faults`, and what its tests share."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any
from uuid import uuid4

import dagster as dg
import psycopg
import pytest

from tests import databases
from tests.faults.file_loads import A_SYMBOL, A_WEEK, Files, Loads
from tests.faults.matrix import DOMAINS, ITEMS, OF_A_LOAD, STAGES, Database, Fault
from tests.faults.pipelines import Pipeline
from tests.faults.servers import OwnServer, started_server
from tests.faults.undisturbed import Undisturbed, undisturbed
from tests.postgres import new_folder

KILLS = 200


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kills", type=int, default=KILLS, help="kills on each database")


def pytest_report_header(config: pytest.Config) -> str:
    return f"faults: --kills={config.getoption('kills')} --seed={config.getoption('seed')}"


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Show how many kills struck at which stage."""
    kills = Counter(
        value
        for outcome in ("passed", "failed")
        for report in terminalreporter.getreports(outcome)
        for name, value in report.user_properties
        if name == "kill"
    )
    if not kills:
        return
    terminalreporter.section("kills by stage")
    groups = sorted({value.partition("|")[0] for value in kills})
    terminalreporter.write_line("".join([f"{'':16}", *(f"{group:>27}" for group in groups)]))
    for stage in STAGES:
        counts = [kills[f"{group}|{stage}"] for group in groups]
        terminalreporter.write_line("".join([f"{stage:16}", *(f"{n:>27}" for n in counts)]))
    sums = [
        sum(n for value, n in kills.items() if value.startswith(f"{group}|")) for group in groups
    ]
    terminalreporter.write_line("".join([f"{'all':16}", *(f"{n:>27}" for n in sums)]))


@dataclass(frozen=True)
class Campaign:
    """How many kills there shall be on each database, and what decides when they strike.

    Where there are fewer than usual, the domains share them: what is carried out on one of them
    in one campaign is carried out on another one with another seed.
    """

    kills: int
    seed: str

    @property
    def share(self) -> int:
        """How many loads are killed at each stage."""
        return math.ceil(self.kills / len(OF_A_LOAD))

    @property
    def is_whole(self) -> bool:
        """Whether every domain has all of its kills."""
        return self.kills >= KILLS

    def falls_on(
        self, pipeline: Pipeline, fault: Fault, database: Database, *where: object
    ) -> bool:
        """Whether what strikes one domain, where it is not whole, is to strike this one.

        What strikes work items alone strikes one of the databases.
        """
        if self.is_whole:
            return True
        if fault.domains == ITEMS:
            return self.random(fault.name, fault.stage).choice(fault.databases) == database
        drawn = self.random(fault.name, fault.stage, database, *where).choice(fault.domains)
        return drawn == pipeline.name

    def points(self, pipeline: Pipeline, last: int) -> range:
        """Return which of the points of a load are tried."""
        if self.is_whole:
            return range(1, last + 1)
        first = 1 + DOMAINS.index(pipeline.name)
        return range(first * self.every, last + 1, len(DOMAINS) * self.every)

    @property
    def pieces(self) -> int:
        """How many pieces each series has: every other one meets all stages."""
        return max(8, 2 * self.share)

    @property
    def every(self) -> int:
        """Interval of the points that are tried: each, unless there are fewer kills than usual."""
        return 1 if self.is_whole else 2 * KILLS // self.kills

    def some(self, last: int, *what: object) -> range:
        """Return points up to the ``last``, as far apart as leaves the usual number at most."""
        apart = max(self.every, math.ceil(last / KILLS))
        return range(self.random(*what).randint(1, apart), last + 1, apart)

    def random(self, *what: object) -> Random:
        """Return what is drawn from for a case."""
        return Random(f"{self.seed} {what}")  # noqa: S311 - no secret


@pytest.fixture(scope="session")
def campaign(request: pytest.FixtureRequest) -> Campaign:
    """Values of the options."""
    option: Any = request.config.getoption
    return Campaign(option("kills", default=KILLS), option("seed"))


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest) -> Callable[[Database], str]:
    """Give the PostgreSQL server's URL where one is needed."""

    def server(database: Database) -> str:
        return request.getfixturevalue("postgres_server") if database == "postgresql" else ""

    return server


@pytest.fixture(scope="session")
def undisturbed_loads(
    tmp_path_factory: pytest.TempPathFactory,
    server: Callable[[Database], str],
    campaign: Campaign,
) -> Callable[[Pipeline, Database], Undisturbed]:
    """Give what undisturbed loads of a series make, worked out once."""
    made: dict[tuple[str, Database], Undisturbed] = {}

    def loads(pipeline: Pipeline, database: Database) -> Undisturbed:
        if (pipeline.name, database) not in made:
            folder: Path = tmp_path_factory.mktemp("undisturbed")
            made[pipeline.name, database] = undisturbed(
                pipeline, database, folder, server(database), campaign.pieces
            )
        return made[pipeline.name, database]

    return loads


@pytest.fixture
def kill_seen(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Keep a kill for the summary: of which kind, and at which stage it struck."""

    def kill_seen(kind: str, stage: str) -> None:
        request.node.user_properties.append(("kill", f"{kind}|{stage}"))

    return kill_seen


@pytest.fixture(
    scope="module",
    params=[A_WEEK, pytest.param(A_SYMBOL, marks=pytest.mark.slow)],
    ids=lambda files: files.domain,
)
def files(request: pytest.FixtureRequest) -> Files:
    """Loaded pieces: of each domain what strikes its database or disk."""
    return request.param


@pytest.fixture
def loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: Files) -> Iterator[Loads]:
    with dg.instance_for_test() as instance:
        yield Loads(tmp_path / "load", monkeypatch, instance, files)


@pytest.fixture
def new_database(postgres_server: str) -> Callable[[], str]:
    """Makes an empty PostgreSQL database and returns its URL."""

    def make() -> str:
        name = f"test_{uuid4().hex}"
        with psycopg.connect(postgres_server, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"'.encode())
        return postgres_server.replace("/postgres?", f"/{name}?")

    return make


@pytest.fixture
def own_server(postgres_server: str) -> Iterator[OwnServer]:
    """A server that may be restarted; the session's one decides where all have their locks."""
    with new_folder() as folder, started_server(folder) as server:
        yield server


@pytest.fixture(scope="module")
def both_versions(
    tmp_path_factory: pytest.TempPathFactory, files: Files
) -> Mapping[str, databases.Rows]:
    """Rows that both versions of the file leave in every table where nothing strikes."""
    folder = tmp_path_factory.mktemp("both_versions")
    url = f"sqlite:///{folder}/x.sqlite"
    with pytest.MonkeyPatch.context() as environment, dg.instance_for_test() as instance:
        Loads(folder / "load", environment, instance, files).load_both_without_failure(url)
    return databases.contents(url)
