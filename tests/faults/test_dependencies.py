"""Each dependency is broken and mended, as operators meet it: verify, a load, alerts, recovery."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg
import pytest
from sqlalchemy import select

from orchestration_project.__main__ import main
from orchestration_project.assets.operations.catalogue import READINESS
from orchestration_project.engine.contracts.job_kinds import CHECKS_JOB
from orchestration_project.engine.warehouse.connecting import answer_during_outages
from orchestration_project.instance.storage import open_instance
from orchestration_project.tables.operations_alerts import operations_alerts
from tests import databases
from tests.faults.disks import Disk, tiny_disk
from tests.faults.publisher import Publisher, key_of, week_of
from tests.faults.servers import OwnServer
from tests.faulty_server import FaultyServer, Reply, Request, dropped
from tests.programs import free_port, from_then_on
from tests.receivers import Hook, http_receiver
from tests.resources.finra_server import TOKEN_PATH, as_json, is_page
from tests.runs import executed, expect_failure
from tests.sensors.test_operations import Watch

pytestmark = pytest.mark.faults

LOAD = "finra_otc_weekly_load"
FAILED = f"finra_otc_weekly failed: {key_of(1)}"
LOAD_NOTICE = f"Landed: {key_of(1)}"
DRIFT = "has_not_drifted"
DRIFTED = f"Check failed: operations/readiness {DRIFT}"
"""Reported, too, where a test moves the clock, which is a setting."""

LOST = "The database cannot be used: nothing loads, and alerts wait"


def unready(*names: str) -> str:
    checks = ", ".join(f"operations/readiness finds_{name}_ready" for name in names)
    return f"Check failed: {checks}"


def recovered(*titles: str) -> set[str]:
    return {f"Recovered: {title}" for title in titles}


class Source:
    """FINRA, which may be stopped, and may refuse our client."""

    def __init__(self) -> None:
        self.is_stopped = self.is_revoked = False
        self.page_count = 0
        self._publisher = Publisher(2)

    def __call__(self, request: Request) -> Reply | Iterator[bytes]:
        if self.is_stopped:
            return dropped()
        if self.is_revoked:
            return Reply(401, {"Content-Type": "application/json"}, b'{"error":"invalid_client"}')
        if request.target.startswith(TOKEN_PATH):
            return as_json({"access_token": "a-token-of-ours"})
        self.page_count += is_page(request)
        return self._publisher(request)


@dataclass
class Place:
    """Place of loads, and all their dependencies."""

    source: Source
    disk: Disk
    server: OwnServer
    instance: dg.DagsterInstance
    watch: Watch
    environment: pytest.MonkeyPatch
    hook_port: int
    hooks: ExitStack = field(default_factory=ExitStack)
    titles: list[str] = field(default_factory=list)

    def receive(self) -> None:
        """Have somebody take alerts."""
        self._hook: Hook = self.hooks.enter_context(http_receiver(self.hook_port))

    def stop_receiving(self) -> None:
        self.hooks.close()

    def receive_later(self) -> None:
        """Have somebody take alerts again, when the next attempt to send them is due."""
        self.receive()
        self.environment.setenv("DEMO_CLOCK_NOW", from_then_on("2026-03-02T15:10"))

    def load(self, number: int) -> str:
        """Load a week as the UI does; return what its failure says, empty where it succeeds."""
        tags = {"dagster/partition": key_of(number)}
        result = executed(self.instance, "finra_otc_weekly", tags=tags)
        return "" if result.success else expect_failure(result, LOAD)

    def verify(self) -> bool:
        """Verify as the schedule does, by the job; return whether nothing failed."""
        result = executed(self.instance, CHECKS_JOB, assets=[READINESS])
        checks = result.get_asset_check_evaluations()
        return result.success and all(check.passed for check in checks if check.check_name != DRIFT)

    def alerted(self, *, is_lost: bool = False) -> set[str]:
        """Let both sensors tick; return the titles of what was received meanwhile."""
        before = len(self._hook.titles)
        self.watch.tick_and_expect_skip()
        if not is_lost:
            self.watch.deliver()
        return set(self._hook.titles[before:])

    def open_alerts(self) -> list[str]:
        wanted = select(operations_alerts.c.title).where(operations_alerts.c.state == "open")
        return [title for (title,) in databases.rows(self.watch.url, wanted)]


@pytest.fixture
def place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_server: OwnServer
) -> Iterator[Place]:
    source, port = Source(), free_port()
    with (
        FaultyServer(source) as serving,
        tiny_disk(tmp_path / "disk", mebibytes=16) as disk,
        ExitStack() as hooks,
    ):
        settings = {
            "STATE_DIR": str(tmp_path / "state"),
            "DATABASE_URL": own_server.url,
            "ARTIFACTS_URL": str(disk.folder / "artifacts"),
            "ALERT_URLS": f"info=json://127.0.0.1:{port}/alerts",
            "DEMO_CLOCK_NOW": from_then_on("2026-03-02T15:00"),
            "FINRA_SOURCE": "api",
            "FINRA_API_URL": serving.url,
            "FINRA_TOKEN_URL": serving.url + TOKEN_PATH,
            "FINRA_CLIENT_ID": "pipelines",
            "FINRA_CLIENT_SECRET": "a-secret-of-ours",
            "FINRA_FIRST_WEEK": week_of(0),
            "FINRA_MAX_REJECT_RATIO": "0.1",
            "FINRA_REQUESTS_PER_SECOND": "500",
            "DISK_HEADROOM_MIB": "8",
            "NO_PROXY": "127.0.0.1",
        }
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        answer_during_outages()
        with open_instance() as instance:
            watch = Watch(instance, own_server.url)
            made = Place(source, disk, own_server, instance, watch, monkeypatch, port, hooks)
            made.receive()
            yield made


@dataclass(frozen=True)
class Case:
    """A dependency that breaks, and what is said of it.

    Attributes:
        verified: What the line of `verify` says, and what to do.
        refused: What a load's failure says; empty where it goes on.
        alerts: The titles that are received while it is broken.
        recoveries: Those when it is mended.
    """

    dependency: str
    breaks: Callable[[Place], object]
    mends: Callable[[Place], object]
    verified: tuple[str, ...]
    refused: tuple[str, ...]
    alerts: frozenset[str]
    recoveries: frozenset[str]


def case(dependency: str, breaks, mends, verified, refused=(), *, also: tuple[str, ...] = ()):
    """Return a case that a failed check and a failed run report, and their recoveries."""
    raised = (unready(dependency, *also), FAILED)
    return Case(
        dependency,
        breaks,
        mends,
        verified,
        (
            *refused,
            "refused_by=the preflight check, before any request for data",
            f"={dependency}, ",
        ),
        frozenset(raised),
        frozenset({*recovered(*raised), LOAD_NOTICE}),
    )


def stop(place: Place) -> None:
    place.source.is_stopped = True


def start(place: Place) -> None:
    place.source.is_stopped = False


def revoke(place: Place) -> None:
    place.source.is_revoked = True


def grant(place: Place) -> None:
    place.source.is_revoked = False


SILENT = "finra_api did not answer POST "
UNREACHABLE = "the database did not do what was asked"
RUNS = "check that it runs, that DATABASE_URL is right, and that its disk has space"
CLIENT = "FINRA refuses the client pipelines with HTTP 401"

CASES: Mapping[str, Case] = {
    "the source is stopped": case(
        "finra",
        stop,
        start,
        (SILENT, "see whether the source is up and can be reached from here; ask again later"),
        (SILENT,),
    ),
    "the client is revoked": case(
        "finra", revoke, grant, (CLIENT, "check FINRA_CLIENT_ID and FINRA_CLIENT_SECRET"), (CLIENT,)
    ),
    "the artifacts' folder is read-only": case(
        "artifacts",
        lambda place: place.disk.refuse_writes(),
        lambda place: place.disk.take_writes(),
        (
            "cannot write the artifact trials/",
            "found Read-only file system",
            "fix the folder's permissions, free some disk, or set ARTIFACTS_URL",
        ),
        ("cannot write the artifact ", "found: Read-only file system"),
    ),
    "the disk is full": case(
        "disk",
        lambda place: place.disk.fill(),
        lambda place: place.disk.free(),
        (
            "a disk is nearly full; expected at least 8 MiB free (DISK_HEADROOM_MIB); found /",
            "/disk/artifacts: 0 MiB free\n",
            "free some space, move what lies there",
        ),
        ("a disk is nearly full", "/disk/artifacts: 0 MiB free\n", "also_not_ready=artifacts"),
        also=("artifacts",),
    ),
    "the database is stopped": Case(
        "database",
        lambda place: place.server.stop(),
        lambda place: place.server.start(),
        (UNREACHABLE, RUNS, f"what was found could not be stored: {UNREACHABLE}"),
        (UNREACHABLE, RUNS, f"partitions={key_of(1)}"),
        frozenset({LOST}),
        frozenset(
            {
                *("operations_checks failed", FAILED, LOAD_NOTICE),
                *recovered("the database can be used again", "operations_checks failed", FAILED),
            }
        ),
    ),
    "no receiver takes alerts": Case(
        "alerts",
        lambda place: place.stop_receiving(),
        lambda place: place.receive_later(),
        (
            "alerts would not reach every channel; found json-1 accepts no connection: ",
            "check these settings, their services, and the rules",
        ),
        (),
        frozenset(),
        frozenset({unready("alerts"), LOAD_NOTICE, *recovered(unready("alerts"))}),
    ),
}


def assert_is_reported(found: Case, place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """The broken dependency is probed, its work refused, and an alert raised."""
    requested = place.source.page_count
    for _ in range(2):  # the first time does not count
        assert not place.verify()
    assert main(["verify"]) == 1
    said = capsys.readouterr().out
    assert re.search(rf"^{found.dependency} +FAIL ", said, re.MULTILINE)
    assert [words for words in found.verified if words not in said] == []
    assert "Stack Trace" not in said
    failure = place.load(1)
    assert [words for words in found.refused if words not in failure] == []
    assert bool(failure) == bool(found.refused)
    assert (place.source.page_count == requested) == bool(failure)
    assert place.alerted(is_lost=LOST in found.alerts) == found.alerts


@pytest.mark.parametrize("what", CASES)
def test_a_broken_dependency_is_refused_reported_and_recovers(what: str, place: Place, capsys):
    found = CASES[what]
    assert place.load(0) == ""
    assert main(["verify"]) == 0
    assert place.verify()
    assert place.alerted() == {f"Landed: {key_of(0)}"}
    capsys.readouterr()
    found.breaks(place)
    try:
        assert_is_reported(found, place, capsys)
    finally:
        found.mends(place)
    assert main(["verify"]) == 0
    assert place.verify()
    assert place.load(1) == ""
    received = place.alerted()
    assert received >= found.recoveries
    assert set(place.open_alerts()) <= {DRIFTED}
