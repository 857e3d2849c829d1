"""The stream of MQTT's messages: what arrives, in order, to whoever may still read it."""

import asyncio
import json
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from starlette.applications import Starlette

from orchestration_project.client import ApiError, Client
from orchestration_project.engine.contracts.roles import Role
from orchestration_project.errors import TransientError
from orchestration_project.gateway.api.app import routes
from orchestration_project.gateway.api.feeds import Feed, FeedLimits, FeedPage
from orchestration_project.gateway.api.mqtt_stream import ArrivalSource
from tests.gateway.api.conftest import HOME, HOURS, SOMEBODY
from tests.gateway.api.mqtt_rows import clear, message, receive
from tests.gateway.api.streams import followed
from tests.programs import wait_for

PROJECTS, TASKS = "tracker/events/projects/1", "tracker/events/tasks/1"


@pytest.fixture
def inbox(api):
    """An empty inbox, and what adds messages to it from the loop of the test."""
    clear(api.services.warehouse)

    async def add(*messages: tuple[str, bytes]) -> int:
        return await asyncio.to_thread(receive, api.services.warehouse, *messages)

    yield add
    clear(api.services.warehouse)


def _app(api, **other: Any):
    services = replace(api.services, feeds={}, caller=lambda: SOMEBODY, recheck_seconds=3600.0)
    services = replace(services, **other)
    return Starlette(routes=routes(services)), services


@pytest.mark.slow
def test_valid_events_come_in_order_as_they_arrive(api, inbox):
    app, _ = _app(api)

    async def follow_and_check():
        await inbox((PROJECTS, message(0)))  # before: it is not sent
        topic = quote("tracker/events/projects/#")
        async with followed(app, f"topic={topic}") as stream:
            began = asyncio.get_running_loop().time()
            await inbox(
                (PROJECTS, message(1)),
                (PROJECTS, b"\xff"),
                (TASKS, message(2)),
                (PROJECTS, message(3, payload={"project_id": "3", "name": "a\nb\u2028\0"})),
            )
            found = await stream.read_and_check_events(2)
            assert asyncio.get_running_loop().time() - began < 10
            return found

    first, second = api.runner.run(follow_and_check())
    assert first == {
        "arrival_id": 2,
        "state": "received",
        "topic": PROJECTS,
        "received_at": "2026-11-02T10:02:00+00:00",
        "is_retained": False,
        "trace_id": "0b1e8f5e-6a53-4a0e-9b7e-0a1d3c5e7f90",
        "ts": "2026-11-02T10:01:00+00:00",
        "kind": "project.updated",
        "idempotency_key": "key-1",
        "payload": {"project_id": "1", "name": "Project 1"},
    }
    assert (second["arrival_id"], second["payload"]["name"]) == (5, "a\nb\u2028\0")


@pytest.mark.slow
def test_a_stream_goes_on_after_the_last_event_however_far_behind(api, inbox):
    limits = FeedLimits(kept_bytes=5_000, sent_bytes=1_000)
    app, services = _app(api, feed_limits=limits)

    async def follow_and_check():
        await inbox(*[(PROJECTS, message(n)) for n in range(1, 51)])
        async with (
            followed(app) as ahead,
            followed(app, last="10") as behind,
            followed(app, last="0") as first,
        ):
            await inbox(*[(PROJECTS, message(n)) for n in range(51, 151)])
            found = [
                [event["arrival_id"] for event in await stream.read_and_check_events(count)]
                for stream, count in ((ahead, 100), (behind, 140), (first, 150))
            ]
            assert services.feeds["mqtt"].stream_count == 3
        return found

    found = api.runner.run(follow_and_check())
    assert found == [list(range(start, 151)) for start in (51, 11, 1)]
    assert services.feeds["mqtt"].stream_count == 0


@pytest.mark.slow
def test_a_reader_that_takes_nothing_holds_up_no_other_and_keeps_little(api, inbox):
    limits = FeedLimits(kept_bytes=20_000)
    app, services = _app(api, feed_limits=limits)

    async def follow_and_check():
        async with followed(app) as slow, followed(app) as fast:
            for start in range(0, 500, 100):
                await inbox(*[(PROJECTS, message(n)) for n in range(start, start + 100)])
                assert len(await fast.read_and_check_events(100)) == 100
            feed = services.feeds["mqtt"]
            assert sum(len(kept_event.event) for kept_event in feed._kept) <= 20_000
            assert [event["arrival_id"] for event in await slow.read_and_check_events(500)] == list(
                range(1, 501)
            )

    api.runner.run(follow_and_check())


def test_a_stream_ends_when_its_reader_may_read_no_more(api, inbox):
    api.services.feeds.clear()
    key = api.ring.create(owner="who leaves", role=Role.VIEWER, lasts=HOURS)

    async def follow_and_check():
        async with followed(api.app, key=key) as stream:
            await inbox((PROJECTS, message(1)))
            assert len(await stream.read_and_check_events(1)) == 1
            await asyncio.to_thread(api.ring.revoke, key.key_id)
            while await stream.parts.get():
                pass  # until the end
            return stream.status

    assert api.runner.run(follow_and_check()) == 200
    assert api.services.feeds["mqtt"].stream_count == 0


@pytest.mark.slow
def test_a_silent_stream_says_that_it_is_there_and_where_to_go_on(api, inbox):
    app, _ = _app(api, heartbeat_seconds=0.05)

    async def follow_and_check():
        await inbox((PROJECTS, message(1)))
        async with followed(app, "topic=other") as stream:
            await inbox((PROJECTS, message(2)))
            while True:
                part = await stream.parts.get()
                assert part.endswith(b"\n: still here\n\n")
                if part.startswith(b"id: 2\n"):
                    return

    api.runner.run(follow_and_check())


@pytest.mark.slow
def test_streams_are_bounded_and_the_next_is_refused(api, inbox):
    limits = FeedLimits(streams=1)
    app, _ = _app(api, feed_limits=limits)

    async def follow_and_check():
        async with followed(app) as first, followed(app) as second:
            assert (first.status, second.status) == (200, 503)
        async with followed(app) as third:
            assert third.status == 200

    api.runner.run(follow_and_check())


def test_a_database_that_is_away_for_a_moment_loses_no_event(api, inbox):
    limits = FeedLimits(failure_seconds=0.01)
    failures = [TransientError("away"), TimeoutError("slow")]

    class FailingSource(ArrivalSource):
        def read(self, after: int) -> FeedPage[int]:
            if failures:
                raise failures.pop()
            return super().read(after)

    app, services = _app(api)
    source = FailingSource(services.warehouse, max_message_bytes=10_000, read_seconds=25)
    services.feeds["mqtt"] = Feed(source, services.in_thread, limits)

    async def follow():
        async with followed(app) as stream:
            # a read that began before would find the messages
            await asyncio.to_thread(wait_for, lambda: len(failures) < 2, poll_seconds=0.01)
            await inbox((PROJECTS, message(1)), (PROJECTS, message(2)))
            return [event["arrival_id"] for event in await stream.read_and_check_events(2)]

    assert api.runner.run(follow()) == [1, 2]
    assert not failures


def test_who_is_not_known_or_asks_for_nonsense_gets_no_stream(api):
    assert api.expect_problem("GET", "/mqtt/stream", "")["status"] == 401
    problem = api.expect_problem("GET", f"/mqtt/stream?topic={quote('#/a')}", "viewer")
    assert problem["errors"][0]["field"] == "topic"
    for last in ("x", "", "-1", "9" * 19):
        headers = {"Last-Event-ID": last}
        assert api.expect_problem("GET", "/mqtt/stream", "viewer", headers=headers)["status"] == 422


def test_the_client_resumes_a_stream_that_breaks_off_and_loses_nothing():
    """The connection breaks within an event, then after a comment; then the key is revoked."""

    def sent(number: int) -> str:
        data = {"arrival_id": number, "state": "received", "topic": PROJECTS, "is_retained": False}
        data |= json.loads(message(number)) | {"received_at": "2026-11-02T10:00:00Z"}
        return f"id: {number}\nevent: event\ndata: {json.dumps(data)}\n\n"

    problem = {"title": "Unauthorized", "status": 401, "detail": "no", "category": "access"}
    answers = [
        httpx.Response(200, text="id: 7\n: open\n\n" + sent(8) + sent(9)[:40]),
        httpx.Response(503, json=problem | {"status": 503}),
        httpx.Response(200, text="id: 8\n: open\n\n" + sent(9) + "id: 12\n: still here\n\n"),
        httpx.Response(200, text=sent(13)),
        httpx.Response(401, json=problem),
    ]
    requested = []

    def answer(request: httpx.Request) -> httpx.Response:
        requested.append((request.headers.get("last-event-id"), request.url.params.get("topic")))
        return answers[len(requested) - 1]

    transport = httpx.MockTransport(answer)
    found = []

    def follow() -> None:
        with Client(HOME, "key", transport=transport, sleep=lambda _: None) as client:
            found.extend(event.arrival_id for event in client.mqtt_stream("tracker/#"))

    with pytest.raises(ApiError, match="401"):
        follow()
    assert [last for last, _ in requested] == [None, "8", "8", "12", "13"]
    assert {topic for _, topic in requested} == {"tracker/#"}
    assert found == [8, 9, 13]
