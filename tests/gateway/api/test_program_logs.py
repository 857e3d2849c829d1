"""Log lines of programs: searched by page, and followed as they come."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from shutil import rmtree
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from orchestration_project.client import ApiError, Client
from orchestration_project.engine.connections.log_files import FOLDER, LogFile, list_segments
from orchestration_project.engine.contracts.log_lines import LogFilter, encode_line
from orchestration_project.engine.contracts.roles import Principal, Role
from orchestration_project.gateway.api.app import routes
from orchestration_project.gateway.api.feeds import Feed, FeedLimits
from orchestration_project.gateway.api.log_feed import LogSource
from orchestration_project.services.program_logs.reading import search_lines
from tests.expecting import expect_status
from tests.gateway.api.conftest import HOME, HOURS

OPERATOR = Principal("ada", Role.OPERATOR, "open")
TRACE = "0af7651916cd43dd8448eb211c80319c"


class Programs:
    """Programs that write lines, one a second, below a STATE_DIR."""

    def __init__(self, state: Path) -> None:
        self.folder = state / FOLDER
        self.count = 0

    def write_without_failure(self, service: str, count: int = 1, **fields: Any) -> None:
        file = LogFile(self.folder, service, 4 * 2**20, 30)
        for _ in range(count):
            minute, second = divmod(self.count, 60)
            at = f"2026-03-02T{minute // 60:02}:{minute % 60:02}:{second:02}.000000+00:00"
            line = {"time": at, "level": "INFO", "service": service, "message": str(self.count)}
            assert file.append(encode_line(line | fields))
            self.count += 1


@pytest.fixture
def programs(tmp_path: Path) -> Programs:
    return Programs(tmp_path)


def app_of(api: Any, programs: Programs, **other: Any) -> tuple[Any, Any]:
    settings = api.services.settings.model_copy(update={"state_dir": programs.folder.parent})
    services = replace(api.services, settings=settings, feeds={}, caller=lambda: OPERATOR)
    services = replace(services, **{"recheck_seconds": 3600.0, **other})
    return Starlette(routes=routes(services)), services


@pytest.fixture
def listed(api: Any, programs: Programs) -> Callable[[str], dict[str, Any]]:
    """Asks for a page."""
    app, _ = app_of(api, programs)

    async def ask(query: str) -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url=HOME) as client:
            return await client.get(f"/api/v1/logs?{query}")

    def listed(query: str) -> dict[str, Any]:
        answer = api.runner.run(ask(query))
        expect_status(answer)
        return answer.json()

    return listed


def messages(page: dict[str, Any]) -> list[int]:
    return [int(line["message"]) for line in page["lines"]]


def test_lines_of_all_programs_come_by_page_the_newest_first(listed, programs):
    for service in ("gateway", "run", "daemon") * 10:
        programs.write_without_failure(service, 3)
    found, cursor, pages = list[int](), "", 0
    while cursor is not None:
        page = listed(f"limit=7&cursor={cursor}" if cursor else "limit=7")
        programs.write_without_failure("run")  # later lines are on no later page
        found, cursor, pages = [*found, *messages(page)], page["next_cursor"], pages + 1
    assert found == list(range(89, -1, -1))
    assert pages == 13


def test_lines_are_selected_by_service_level_run_trace_and_time(listed, programs):
    programs.write_without_failure("gateway", 2, level="ERROR")
    programs.write_without_failure("run", 2, run_id="r1", trace_id=TRACE)
    programs.write_without_failure("run", 2, run_id="r2", level="WARNING", status="x", user=[1])
    for query, expected in [
        ("service=gateway", [1, 0]),
        ("level=WARNING", [5, 4, 1, 0]),
        ("run=r1", [3, 2]),
        (f"trace={TRACE}", [3, 2]),
        ("since=2026-03-02T00:00:05Z", [5]),
        ("since=2026-03-02T02:00:05%2B02:00&service=gateway", []),
        ("service=bridge", []),
    ]:
        page = listed(query)
        assert (messages(page), page["next_cursor"]) == (expected, None), query
    line = listed("run=r2&limit=1")["lines"][0]
    assert (line["status"], line["user"], line["trace_id"]) == (None, "[1]", None)


def test_damaged_lines_are_passed_over(listed, programs):
    programs.write_without_failure("run", 2)
    with list_segments(programs.folder / "run")[0].path.open("ab") as file:
        file.write(b'not json\n[]\n\xff\xfe\n{"torn')
    programs.write_without_failure("run", 1)
    assert messages(listed("")) == [2, 1, 0]


@pytest.mark.slow
def test_a_search_ends_after_so_many_bytes_and_the_next_page_goes_on(programs):
    programs.write_without_failure("run", 3000, run_id="r1")
    programs.write_without_failure("run", 3000, run_id="r2")
    found, before, pages = list[str](), None, 0
    while pages == 0 or before is not None:
        page = search_lines(
            programs.folder, LogFilter(run_id="r1"), limit=1000, before=before, max_bytes=100_000
        )
        found += [line.fields["message"] for line in page.lines]
        before, pages = page.before, pages + 1
    assert found == [str(number) for number in range(2999, -1, -1)]
    assert pages > 5


def test_only_an_operator_may_read_and_nonsense_is_refused(api):
    for path in ("/logs", "/logs/stream"):
        assert api.expect_problem("GET", path, "")["status"] == 401
        assert api.expect_problem("GET", path, "viewer")["status"] == 403
        for query in ("service=../x", "level=LOUD", "trace=1", "run="):
            assert api.expect_problem("GET", f"{path}?{query}")["status"] == 422, query
    for cursor in ("x", "gateway:-1", "a:1,a:1", "gateway:" + "9" * 19):
        assert api.expect_problem("GET", f"/logs?cursor={cursor}")["status"] == 422
        headers = {"Last-Event-ID": cursor}
        assert api.expect_problem("GET", "/logs/stream", headers=headers)["status"] == 422


class Stream:
    """A reader of a stream that takes each message by itself."""

    def __init__(self) -> None:
        self.status = 0
        self.parts: asyncio.Queue[bytes] = asyncio.Queue(1)
        self.text = ""
        self.last = ""

    async def read_and_check_lines(self, count: int) -> list[int]:
        """Return the numbers of the next lines."""
        found: list[int] = []
        while len(found) < count:
            while "\n\n" not in self.text:
                self.text += (await self.parts.get()).decode()
            one, _, self.text = self.text.partition("\n\n")
            fields = dict(line.split(": ", 1) for line in one.split("\n"))
            self.last = fields["id"]
            if "data" in fields:
                assert fields["event"] == "line"
                found.append(int(json.loads(fields["data"])["message"]))
        return found


@asynccontextmanager
async def followed(
    app: Any, query: str = "", *, key: object = "", last: str | None = None
) -> AsyncIterator[Stream]:
    """Follow the stream until the block ends, as a client that then goes away."""
    stream, gone, requested = Stream(), asyncio.Event(), [{"type": "http.request"}]

    async def receive() -> Any:
        if requested:
            return requested.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(sent: Any) -> None:
        if sent["type"] == "http.response.start":
            stream.status = sent["status"]
        elif sent.get("body"):
            await stream.parts.put(sent["body"])
        if sent["type"] == "http.response.body" and not sent.get("more_body"):
            await stream.parts.put(b"")

    path, key_header = "/api/v1/logs/stream", (b"x-api-key", str(key).encode())
    resumed = [] if last is None else [(b"last-event-id", last.encode())]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "scheme": "http",
        "headers": [(b"host", b"127.0.0.1"), key_header, *resumed],
    }
    task = asyncio.create_task(app(scope, receive, send))
    try:
        async with asyncio.timeout(30):
            await stream.parts.get()  # it is open, or refused
            yield stream
    finally:
        gone.set()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.slow
def test_new_lines_come_in_order_to_each_stream_by_its_filter(api, programs):
    app, services = app_of(api, programs)
    programs.write_without_failure("gateway", 3)  # before: they are not sent

    async def follow_and_check():
        async with (
            followed(app) as all_,
            followed(app, "service=daemon&level=ERROR") as errors,
            followed(app, "run=r1") as run,
        ):
            programs.write_without_failure("gateway", 1)
            programs.write_without_failure("daemon", 2, level="ERROR")
            programs.write_without_failure("run", 1, run_id="r1")  # a service that was not there
            assert await all_.read_and_check_lines(4) == [3, 4, 5, 6]
            assert await errors.read_and_check_lines(2) == [4, 5]
            assert await run.read_and_check_lines(1) == [6]
            assert services.feeds["logs"].stream_count == 3

    api.runner.run(follow_and_check())
    assert services.feeds["logs"].stream_count == 0


@pytest.mark.slow
def test_a_stream_goes_on_after_the_last_event_however_far_behind(api, programs):
    limits = FeedLimits(kept_bytes=5_000, sent_bytes=2_000)
    app, _ = app_of(api, programs, feed_limits=limits)

    async def follow_and_check():
        async with followed(app) as first:
            for service in ("gateway", "run") * 20:
                programs.write_without_failure(service, 2)
            assert await first.read_and_check_lines(30) == list(range(30))
            last = first.last
        async with (
            followed(app, last=last) as behind,
            followed(app, last="") as whole,
            followed(app) as ahead,
        ):
            for service in ("gateway", "run", "daemon") * 20:
                programs.write_without_failure(service, 2)
            found = [
                await stream.read_and_check_lines(count)
                for stream, count in ((ahead, 120), (behind, 170), (whole, 200))
            ]
        async with followed(app, "service=gateway", last="gateway:999999,none:5") as beyond:
            programs.write_without_failure("gateway", 1)
            return found, await beyond.read_and_check_lines(1)

    (ahead, behind, whole), beyond = api.runner.run(follow_and_check())
    assert ahead == list(range(80, 200))
    assert sorted(behind) == list(range(30, 200))
    assert sorted(whole) == list(range(200))
    assert beyond == [200]


@pytest.mark.slow
def test_a_reader_that_takes_nothing_holds_up_no_other_and_keeps_little(api, programs):
    app, services = app_of(api, programs, feed_limits=FeedLimits(kept_bytes=20_000))

    async def follow_and_check():
        async with followed(app) as slow, followed(app) as fast:
            for start in range(0, 500, 100):
                programs.write_without_failure("run", 100)
                assert await fast.read_and_check_lines(100) == list(range(start, start + 100))
            feed = services.feeds["logs"]
            assert (
                sum(len(kept_event.event) for kept_event in feed._kept)
                == feed._kept_bytes
                <= 20_000
            )
            assert await slow.read_and_check_lines(500) == list(range(500))

    api.runner.run(follow_and_check())


@pytest.mark.slow
def test_a_silent_stream_says_that_it_is_there_and_where_to_go_on(api, programs):
    app, _ = app_of(api, programs, heartbeat_seconds=0.05)

    async def follow_and_check():
        async with followed(app, "service=daemon") as stream:
            programs.write_without_failure("gateway", 1)
            end = programs.folder / "gateway"
            size = list_segments(end)[0].path.stat().st_size
            while True:
                part = await stream.parts.get()
                assert part.endswith(b"\n: still here\n\n")
                if part.startswith(f"id: gateway:{size}\n".encode()):
                    return

    api.runner.run(follow_and_check())


def test_a_stream_ends_when_its_reader_may_read_no_more(api):
    key = api.ring.create(owner="who leaves", role=Role.OPERATOR, lasts=HOURS)

    async def follow():
        async with followed(api.app, key=key) as stream:
            await asyncio.to_thread(api.ring.revoke, key.key_id)
            while await stream.parts.get():
                pass  # until the end
            return stream.status

    assert api.runner.run(follow()) == 200


@pytest.mark.slow
def test_streams_are_bounded_and_the_next_is_refused(api, programs):
    app, _ = app_of(api, programs, feed_limits=FeedLimits(streams=1))

    async def follow_and_check():
        async with followed(app) as first, followed(app) as second:
            assert (first.status, second.status) == (200, 503)

    api.runner.run(follow_and_check())


def test_a_user_takes_not_all_streams_of_others(api):
    services, limits = api.services, FeedLimits(user_streams=1)
    folder = services.settings.state_path / FOLDER
    services.feeds["logs"] = Feed(LogSource(folder), services.in_thread, limits)
    operator, admin = api.keys["operator"], api.keys["admin"]

    async def follow_and_check():
        async with (
            followed(api.app, key=operator) as first,
            followed(api.app, key=operator) as second,
            followed(api.app, key=admin) as other,
        ):
            assert [first.status, second.status, other.status] == [200, 503, 200]

    api.runner.run(follow_and_check())
    services.feeds.clear()


def test_a_stream_that_is_behind_a_deleted_log_reads_once_and_waits(api, programs):
    own = list[int]()

    class CountingSource(LogSource):
        def read(self, after: Any) -> Any:
            page = super().read(after)
            own.extend([] if after else [len(page.entries)])
            return page

    app, services = app_of(api, programs, heartbeat_seconds=0.05)
    services.feeds["logs"] = Feed(CountingSource(programs.folder), services.in_thread)

    async def follow_and_check():
        programs.write_without_failure("run", 3)
        async with followed(app):
            rmtree(programs.folder / "run")
            async with followed(app, last="") as behind:
                for _ in range(3):
                    assert b": still here" in await behind.parts.get()
                programs.write_without_failure("gateway", 2)
                return await behind.read_and_check_lines(2)

    assert api.runner.run(follow_and_check()) == [3, 4]
    assert own == [0]


@pytest.mark.slow
def test_one_read_serves_all_streams(api, programs):
    reads = list[int]()

    class CountingSource(LogSource):
        def read(self, after: Any) -> Any:
            page = super().read(after)
            reads.append(len(page.entries))
            return page

    app, services = app_of(api, programs)
    services.feeds["logs"] = Feed(CountingSource(programs.folder), services.in_thread)

    async def follow_and_check(count: int):
        if count == 20:
            programs.write_without_failure("run", 5)
            return
        async with followed(app) as stream:
            await follow_and_check(count + 1)
            assert await stream.read_and_check_lines(5) == [0, 1, 2, 3, 4]

    api.runner.run(follow_and_check(0))
    assert sum(reads) == 5


def test_the_client_searches_and_resumes_a_stream_that_breaks_off(api):
    lines = [{"position": n, "message": str(n), "level": "INFO"} for n in range(5)]

    def sent(number: int) -> str:
        return f"id: run:{number}\nevent: line\ndata: {json.dumps(lines[number])}\n\n"

    problem = {"title": "Unauthorized", "status": 401, "detail": "no", "category": "access"}
    answers = [
        httpx.Response(200, json={"lines": lines[3:], "next_cursor": "run:3"}),
        httpx.Response(200, json={"lines": lines[:2], "next_cursor": None}),
        httpx.Response(200, text="id: run:0\n: open\n\n" + sent(1) + sent(2)[:40]),
        httpx.Response(503, json=problem | {"status": 503}),
        httpx.Response(200, text=sent(2) + "id: run:9\n: still here\n\n"),
        httpx.Response(401, json=problem),
    ]
    requested: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requested.append(request)
        return answers[len(requested) - 1]

    client = Client(HOME, "key", transport=httpx.MockTransport(answer), sleep=lambda _: None)
    frame = client.log_lines(level="INFO", max_rows=3)
    assert list(frame["message"]) == ["3", "4", "0"]
    found: list[tuple[str, str | None]] = []
    with pytest.raises(ApiError, match="401"):
        found.extend((last, line.message) for last, line in client.log_stream(run="r1"))
    assert [each.headers.get("last-event-id") for each in requested[2:]] == [
        *(None, "run:1", "run:1", "run:9")
    ]
    assert {each.url.params["run"] for each in requested[2:]} == {"r1"}
