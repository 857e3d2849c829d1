"""A source that sends without end: what a load takes of it is bounded, in memory and on disk.

Real runs, with the limits that a user has. With small limits, each such answer is also in
`tests/resources/test_bad_answers.py`, where `docs/bad-input.md` has what is said of it.
"""

import gzip
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

from orchestration_project.resources.finra.connection import LIMITS
from tests import databases, programs
from tests.bad_input import promise
from tests.faults.matrix import strikes
from tests.faults.stack import count_loads
from tests.faulty_server import FaultyServer, Reply, Request
from tests.resources import test_bad_answers
from tests.resources.finra_server import TIER, WEEK, Finra, Spoil, is_page, record

pytestmark = pytest.mark.faults

KEY = f"{TIER}|{WEEK}"
LOAD = (
    *("dagster", "job", "execute", "-m", "orchestration_project.definitions"),
    *("-j", "finra_otc_weekly", "--tags", f'{{"dagster/partition": "{KEY}"}}'),
)
MIB = 1024 * 1024
TEN_GB = 10 * 1000**3
PAGES = 8
"""As many as are in flight together."""

MAX_MEMORY_BYTES = 300 * MIB + PAGES * 2 * LIMITS.max_body_bytes
"""Memory of a run before its first row, and each page twice, whose buffer grows by being copied."""

ROWS = [record(f"S{n:03}", **kind) for n in range(300) for kind in ({}, test_bad_answers.TOTAL)]


@dataclass(frozen=True)
class Ended:
    """Output of a run, its peak memory, and the disk space of its bytes."""

    status: int
    said: str
    peak_bytes: int
    stored_bytes: int


def load(state_dir: Path, source: FaultyServer) -> Ended:
    """Run the job over the partition in a process of its own."""
    process = programs.start(
        state_dir, *LOAD, FINRA_SOURCE="api", FINRA_API_URL=source.url, NO_PROXY="127.0.0.1"
    )
    peaks = [0]
    watch = threading.Thread(target=lambda: peaks.extend(_peaks(process.pid)))
    watch.start()
    _, said = process.communicate(timeout=240)
    watch.join()
    stored = sum(
        path.stat().st_size for path in (state_dir / "artifacts").rglob("*") if path.is_file()
    )
    return Ended(process.returncode, said, max(peaks), stored)


def _peaks(pid: int) -> Iterator[int]:
    """Give the largest resident size that a process has had, now and then until it ends."""
    pause = threading.Event()
    while not pause.wait(0.02):
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            return
        found = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
        if not found:  # a zombie has no memory
            return
        yield int(found[0]) * 1024


class Spoiler:
    """Answers to pages what a test makes of them; notes how many bytes were taken of that."""

    def __init__(self, body: Callable[[], Iterable[bytes]], **headers: str) -> None:
        self._body = body
        self._headers = headers
        self.sent_bytes = 0

    def __call__(self, requested: Request, reply: Reply) -> Reply | Iterable[bytes]:
        if not is_page(requested):
            return Reply(200, reply.headers | {"Record-Total": str(5000 * PAGES)}, reply.body)
        return self._sent(reply)

    def _sent(self, reply: Reply) -> Iterator[bytes]:
        """Count a piece when the next is requested: then it is on its way."""
        yield Reply(200, reply.headers | self._headers).raw()
        for piece in self._body():
            yield piece
            self.sent_bytes += len(piece)


def ten_gb() -> Iterator[bytes]:
    line = b"|".join([b"x" * 60] * 17)
    piece = b"\n".join([line] * 64)
    for _ in range(TEN_GB // len(piece)):
        yield piece


def bomb() -> bytes:
    """Return 10 MB that are 10 GB when they are unpacked: gzip's members may follow each other."""
    member = gzip.compress(bytes(100_000_000), 9)
    return member * (TEN_GB // 100_000_000)


@pytest.fixture
def load_from(tmp_path: Path) -> Callable[..., Ended]:
    """Loads from a FINRA that is spoiled, after a load from one that is well."""

    def load_and_expect_recovery(spoil: Spoil) -> Ended:
        finra = Finra(ROWS)
        finra.spoil = spoil
        with FaultyServer(finra) as server:
            ended = load(tmp_path / "state", server)
        url = databases.sqlite_url(tmp_path / "state", "api")
        assert count_loads(url) == 0
        with FaultyServer(Finra(ROWS)) as server:
            assert load(tmp_path / "state", server).status == 0
        assert count_loads(url) == 1
        return ended

    return load_and_expect_recovery


def assert_it_failed(ended: Ended, *said: str) -> None:
    """The error names the input and what to do; none of its bytes fill memory or disk."""
    wanted = ("1 of 1 partitions did not load", "what to do: ", f"partition={KEY}", *said)
    assert [text for text in wanted if text not in ended.said] == [], ended.said
    assert ended.status == 1
    assert ended.peak_bytes < MAX_MEMORY_BYTES
    assert ended.stored_bytes < MIB


def test_of_a_body_of_10_gb_no_more_is_taken_than_the_limit_of_a_page(load_from):
    assert strikes("a body of 10 GB")
    spoiler = Spoiler(ten_gb, **{"Content-Length": str(TEN_GB)})
    ended = load_from(spoiler)
    assert_it_failed(ended, "without end", f"a body of at most {LIMITS.max_body_bytes} bytes")
    assert spoiler.sent_bytes < PAGES * 2 * LIMITS.max_body_bytes


@pytest.mark.slow
def test_a_bomb_is_kept_as_it_came_and_never_unpacked(load_from):
    assert strikes("a gzip bomb")
    packed = bomb()
    headers = {"Content-Encoding": "gzip", "Content-Length": str(len(packed))}
    ended = load_from(Spoiler(lambda: [packed], **headers))
    assert_it_failed(ended, "compressed (gzip) although that was not requested")


@pytest.mark.slow
def test_pages_without_end_are_given_up_after_two_attempts_of_three_readings(load_from):
    """Each attempt of the step requests the state of the week once and reads it three times."""
    assert strikes("pages without end")
    total = count(5000)
    requested = []

    def grow(request: Request, reply: Reply) -> Reply:
        if request.method != "POST":
            return reply
        requested.append(request)
        return Reply(200, reply.headers | {"Record-Total": str(next(total))}, reply.body)

    assert_it_failed(load_from(grow), "the source changed while it was read")
    assert len([each for each in requested if is_page(each)]) <= 2 * 3 * 2


@pytest.mark.parametrize(
    ("name", "case"),
    [("a body without end", "body_without_end"), ("a byte at a time", "slow_drip")],
)
def test_a_source_that_never_ends_has_its_row_among_bad_inputs(name: str, case: str):
    assert strikes(name)
    assert case in test_bad_answers.CASES
    assert promise(case).kept
