"""Deliveries by HTTP: what is taken, what is refused and how, and what the log says of it."""

import asyncio
import hashlib
import hmac
import logging
import threading
import time
from itertools import count

import pytest
from prometheus_client import generate_latest
from sqlalchemy import func, select, text
from starlette.applications import Starlette

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.webhooks.sources import WebhookSource
from orchestration_project.errors import TransientError
from orchestration_project.gateway.connection_limits import AUTHENTICATED
from orchestration_project.gateway.counted import GATEWAY
from orchestration_project.gateway.headers import Edge
from orchestration_project.gateway.hooks import Hooks, opened_hooks, routes
from orchestration_project.gateway.request import Place
from orchestration_project.registry import Answer, Probe
from orchestration_project.services.inbox.admission import Admission
from orchestration_project.services.inbox.rows import GroupCommit, Inbox
from orchestration_project.services.inbox.senders import Sender
from orchestration_project.tables.spine import audits, inbox, inbox_states
from tests.gateway.conftest import EARLIER, SECRET, Client, signed
from tests.programs import wait_for

BODY = b'{"action": "opened"}'


@pytest.fixture
def client(settings, warehouse):
    with opened_hooks(settings, warehouse) as hooks:
        yield Client(routes(hooks))


def post(client, body: bytes = BODY, source: str = "git", secret: str = SECRET, **headers: str):
    return client.post(f"/hooks/{source}", content=body, headers=signed(body, secret, **headers))


def rows(warehouse, table=inbox) -> list:
    with warehouse.reading() as connection:
        return list(connection.execute(select(table)).mappings())


def test_a_signed_delivery_is_in_the_inbox_before_it_is_answered(client, warehouse):
    answer = post(client, x_github_delivery="72d3162e", x_github_event="issues", cookie="a=secret")
    assert (answer.status_code, answer.json()) == (202, {"outcome": "stored"})
    [row], [state] = rows(warehouse), rows(warehouse, inbox_states)
    assert (row["source"], row["delivery_id"], row["kind"]) == ("git", "72d3162e", "issues")
    row = {**row, **state}
    assert (row["state"], row["byte_count"], row["allowed_count"]) == ("received", len(BODY), 3)
    assert "secret" not in row["headers"]
    assert "signature" not in row["headers"]


def test_a_delivery_that_is_repeated_is_answered_200_and_stored_once(client, warehouse):
    answers = [post(client, x_github_delivery="1").status_code for _ in range(3)]
    assert answers == [202, 200, 200]
    assert len(rows(warehouse)) == 1


def test_the_same_id_with_another_body_is_answered_409_and_audited(client, warehouse):
    post(client, x_github_delivery="1")
    assert post(client, b"{}", x_github_delivery="1").status_code == 409
    [row], [audit] = rows(warehouse), rows(warehouse, audits)
    assert (row["byte_count"], audit["table_name"]) == (len(BODY), "inbox")


def test_without_an_id_the_same_body_is_the_same_delivery(client, warehouse):
    header = {"x-peopleforce-signature": signed(BODY)["x-hub-signature-256"]}
    kind = {"content-type": "application/json; charset=utf-8"}
    answers = [
        client.post("/hooks/hr", content=BODY, headers=header | kind).status_code for _ in "ab"
    ]
    assert answers == [202, 200]
    [row] = rows(warehouse, inbox_states)
    assert row["delivery_id"] == f"sha256:{rows(warehouse)[0]['sha256']}"
    assert row["state"] == "done"  # no job is declared for it


def test_while_a_secret_is_changed_both_count(client):
    assert post(client, secret=EARLIER, x_github_delivery="1").status_code == 202
    assert post(client, secret=SECRET, x_github_delivery="2").status_code == 202
    assert post(client, secret="neither of the two", x_github_delivery="3").status_code == 403


def stripe(seconds_ago: float, body: bytes = BODY) -> dict[str, str]:
    at = str(int(time.time() - seconds_ago))
    mac = hmac.new(SECRET.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return {"stripe-signature": f"t={at},v1={mac}", "content-type": "application/json"}


def test_a_delivery_that_was_signed_long_ago_is_refused(client, warehouse):
    assert client.post("/hooks/pay", content=BODY, headers=stripe(400)).status_code == 403
    assert client.post("/hooks/pay", content=BODY, headers=stripe(-400)).status_code == 403
    assert rows(warehouse) == []


def test_what_is_not_signed_does_not_count_against_the_rate_of_its_source(client):
    wrong = {**stripe(0), "stripe-signature": "t=1,v1=0"}
    found = {client.post("/hooks/pay", content=BODY, headers=wrong).status_code for _ in range(9)}
    assert found == {403}
    assert client.post("/hooks/pay", content=BODY, headers=stripe(0)).status_code == 202


REFUSED = [
    ("/hooks/unknown", {}, 404),
    ("/hooks/..%2Fgit", {}, 404),
    ("/hooks/git", {"x-hub-signature-256": ""}, 401),
    ("/hooks/git", {"x-hub-signature-256": "sha256=" + "0" * 64}, 403),
    ("/hooks/git", {"x-hub-signature-256": b"sha256=\xc3\xa9\xff"}, 403),
    ("/hooks/git", {"x-hub-signature-256": "sha1=" + hmac.new(b"", BODY, "sha1").hexdigest()}, 403),
    ("/hooks/git", {"content-type": "text/plain"}, 415),
    ("/hooks/git", {"content-type": ""}, 415),
    ("/hooks/git", {"content-type": "application/x-www-form-urlencoded"}, 415),
    ("/hooks/git", {"content-encoding": "gzip"}, 415),
    ("/hooks/git", {"x-github-delivery": b"\xc3\xa9"}, 400),
    ("/hooks/git", {"x-github-delivery": "x" * 201}, 400),
    ("/hooks/bare", {}, 503),
]


@pytest.mark.parametrize(("path", "changes", "status"), REFUSED)
def test_what_cannot_be_taken_is_refused_as_senders_expect_and_stored_nowhere(
    client, warehouse, path, changes, status
):
    answer = client.post(path, content=BODY, headers=signed(BODY) | changes)
    assert answer.status_code == status
    assert rows(warehouse) == []
    assert ("retry-after" in answer.headers) == (status == 503)


def test_a_header_that_comes_twice_is_none(client, warehouse):
    headers = signed(BODY)
    signature = headers.pop("x-hub-signature-256")
    twice = [*headers.items(), *[("X-Hub-Signature-256", signature)] * 2]
    assert client.post("/hooks/git", content=BODY, headers=twice).status_code == 401
    assert rows(warehouse) == []


def test_a_delivery_is_posted(client):
    assert client.get("/hooks/git").status_code == 405


def test_a_body_above_the_limit_is_refused_whatever_its_length_is_said_to_be(client, warehouse):
    body = bytes(5 * 1024 * 1024)
    assert post(client, body, x_github_delivery="1").status_code == 202
    assert post(client, body + b"x").status_code == 413

    async def pieces():
        for _ in range(6):
            yield bytes(1024 * 1024)

    answer = client.post("/hooks/git", content=pieces(), headers=signed(b""))
    assert (answer.status_code, answer.text) == (413, "a body has at most 5 MiB")
    assert len(rows(warehouse)) == 1


def test_neither_log_nor_answer_has_a_secret_or_a_signature(client, caplog):
    right = signed(BODY)["x-hub-signature-256"].removeprefix("sha256=")
    with caplog.at_level(logging.DEBUG):
        answers = [
            post(client, secret="a wrong secret indeed"),
            client.post("/hooks/git", content=BODY, headers={"content-type": "application/json"}),
            post(client, x_github_delivery="1"),
        ]
    said = caplog.text + "".join(f"{answer.text}{answer.headers}" for answer in answers)
    assert "a webhook of git from 192.0.2.1 was rejected with 403: the signature is not" in said
    for secret in (SECRET, EARLIER, right, signed(BODY, EARLIER)["x-hub-signature-256"][7:]):
        assert secret not in said


def test_a_source_without_a_secret_is_reported_at_the_start(settings, warehouse, caplog):
    with opened_hooks(settings, warehouse) as hooks:
        problem = "nothing is taken from the webhook source bare: WEBHOOK_SECRET_BARE is not set"
        assert hooks.problems == [problem]
    assert problem in caplog.text


def hooks_over(
    take, *, inbox=None, room=None, requests_per_second=100, job=None, **options
) -> Hooks:
    """Take deliveries of one source by ``take``, on a disk that has room."""
    declared = WebhookSource(scheme="github", requests_per_second=requests_per_second, job=job)
    senders = {"git": Sender("git", declared, (SECRET.encode(),))}

    class Empty:
        def waiting_count(self, most: int) -> int:
            return 0

    disk = Probe("disk", (), lambda: "", lambda: Answer("free"))
    room = room or Admission(inbox or Empty(), disk, most_rows=1)  # pyright: ignore[reportArgumentType] - as far as it is asked
    return Hooks(senders, GroupCommit(take), room, clock=Clock(), max_body_bytes=100, **options)


def test_a_source_that_delivers_too_often_gets_a_retry_after():
    now = [0.0]
    hooks = hooks_over(
        lambda deliveries: ["stored"] * len(deliveries),
        requests_per_second=2,
        monotonic=lambda: now[0],
    )
    client = Client(routes(hooks))
    answers = [post(client, b"{}", x_github_delivery=str(n)) for n in range(3)]
    assert [answer.status_code for answer in answers] == [202, 202, 429]
    assert answers[-1].headers["retry-after"] == "1"
    now[0] = 0.5
    assert [post(client).status_code for _ in range(2)] == [202, 429]


def test_a_delivery_that_the_database_does_not_take_is_not_acknowledged(caplog):
    def take(deliveries):
        raise TransientError("the database is gone")

    answer = post(Client(routes(hooks_over(take))))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")
    assert "the database is gone" not in answer.text
    assert "a webhook of git was not stored: the database is gone" in caplog.text


def test_while_the_inbox_is_full_senders_get_a_retry_after(settings, warehouse):
    store = Inbox(warehouse, Clock())
    hooks = hooks_over(store.take, inbox=store)
    with warehouse.writing() as connection:
        connection.execute(
            text(
                "INSERT INTO work_items (topic, item_key, version, state, attempt_count, "
                "allowed_count, enqueued_at, due_at, lease_token, changed_at) "
                "VALUES ('webhooks/git', 'x', '', 'failed', 1, 3, :at, :at, 0, :at)"
            ),
            {"at": "2026-01-01 00:00:00.000000"},
        )
    answer = post(Client(routes(hooks)))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")
    assert answer.text == "too many unfinished bodies at present"


@pytest.mark.parametrize("body_kind", ["with a length", "chunked"])
def test_parallel_deliveries_do_not_exceed_the_rows_of_the_inbox(settings, warehouse, body_kind):
    store = Inbox(warehouse, Clock())
    disk = Probe("disk", (), lambda: "", lambda: Answer("free"))
    room = Admission(store, disk, most_rows=3, monotonic=lambda: 0.0)
    hooks = hooks_over(store.take, room=room, job="any")

    async def deliver(number: int) -> int:
        parts = [BODY] if body_kind == "with a length" else [bytes([byte]) for byte in BODY]
        pieces = [
            {"type": "http.request", "body": part, "more_body": place < len(parts) - 1}
            for place, part in enumerate(parts)
        ]
        headers = signed(BODY) | {"x-github-delivery": f"parallel-{number}"}
        return (await _asked(hooks, pieces, headers))[0]["status"]

    async def deliver_all() -> list[int]:
        return [*await asyncio.gather(*map(deliver, range(10))), await deliver(10)]

    assert sorted(asyncio.run(deliver_all())) == [202] * 3 + [503] * 8
    assert store.waiting_count(100) == 3


def test_no_delivery_waits_for_a_look_while_the_last_one_is_recent(settings, warehouse):
    now, goes_on, looks = [0.0], threading.Event(), count()

    def disk() -> Answer:
        if next(looks):
            goes_on.wait(10)
        return Answer("free")

    room = Admission(
        Inbox(warehouse, Clock()),
        Probe("disk", (), lambda: "", disk),
        most_rows=9,
        monotonic=lambda: now[0],
    )
    hooks = hooks_over(lambda deliveries: ["stored"] * len(deliveries), room=room)

    async def deliver() -> int:
        whole = [{"type": "http.request", "body": BODY, "more_body": False}]
        return (await _asked(hooks, whole, signed(BODY)))[0]["status"]

    async def send_all_and_expect_wait() -> list[int]:
        answers = [await deliver()]
        now[0] = 2.0  # a look begins that does not come to its end
        answers += [await deliver(), await deliver()]
        now[0] = 9.0
        waiting = asyncio.create_task(deliver())
        done, _ = await asyncio.wait({waiting}, timeout=0.05)
        assert not done
        goes_on.set()
        return [*answers, await waiting]

    assert asyncio.run(send_all_and_expect_wait()) == [202] * 4
    assert next(looks) == 2


async def _asked(hooks: Hooks, pieces: list[dict], headers: dict[str, str]) -> list[dict]:
    """Speak ASGI to the route: each message that it requests is one of ``pieces``, then none."""
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/hooks/git",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "query_string": b"",
        "client": None,
    }
    sent: list[dict] = []
    waiting = iter(pieces)

    async def receive() -> dict:
        for piece in waiting:
            return piece
        await asyncio.Event().wait()
        raise AssertionError("the event was set")

    async def send(message) -> None:
        sent.append(message)

    await Starlette(routes=routes(hooks))(scope, receive, send)
    return sent


def test_a_body_that_does_not_come_in_time_is_not_waited_for():
    hooks = hooks_over(len, body_seconds=0.01)
    slow = [{"type": "http.request", "body": b"{", "more_body": True}]
    sent = asyncio.run(_asked(hooks, slow, signed(BODY)))
    assert sent[0]["status"] == 408


def test_bodies_that_began_while_there_was_room_do_not_take_more_than_there_is(monkeypatch):
    monkeypatch.setattr("orchestration_project.gateway.hooks.MAX_UNFINISHED_BYTES", 100)
    hooks = hooks_over(len, body_seconds=0.05)
    unfinished = {"type": "http.request", "body": b"{" * 60, "more_body": True}

    async def send_all() -> list[int]:
        both = (_asked(hooks, [unfinished], signed(BODY)) for _ in range(2))
        return [sent[0]["status"] for sent in await asyncio.gather(*both)]

    assert asyncio.run(send_all()) == [408, 503]


MIB = 1024 * 1024


def over(source: str, address: str, **headers: str) -> dict:
    """Return the ASGI scope of a delivery of ``source`` from ``address``."""
    return {
        "type": "http",
        "method": "POST",
        "path": f"/hooks/{source}",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "query_string": b"",
        "client": (address, 5000),
    }


async def beside_unfinished(settings, warehouse, senders: list[tuple[str, str]]) -> dict:
    """Return how each of ``senders``, pairs of source and address, is answered.

    Each holds an unfinished body of 5 MiB (announced as a byte) while the next one begins, and the
    last one delivers a small body, signed.
    """
    with opened_hooks(settings, warehouse) as hooks:
        app, ending = Starlette(routes=routes(hooks)), asyncio.Event()
        waiting: list[str] = []

        async def unfinished(source: str, address: str) -> int:
            pieces = iter([{"type": "http.request", "body": bytes(5 * MIB), "more_body": True}])

            async def receive() -> dict:
                for piece in pieces:
                    return piece
                waiting.append(address)
                await ending.wait()
                return {"type": "http.disconnect"}

            announced = over(source, address, **signed(b""), **{"content-length": "1"})
            return await _status(app, announced, receive)

        tasks = [asyncio.create_task(unfinished(*sender)) for sender in senders[:-1]]
        await asyncio.to_thread(
            wait_for, lambda: len(waiting) + sum(task.done() for task in tasks) == len(tasks)
        )

        async def receive() -> dict:
            return {"type": "http.request", "body": BODY, "more_body": False}

        last = await _status(app, over(*senders[-1], **signed(BODY)), receive)
        ending.set()
        return {"last": last, "refused": (await asyncio.gather(*tasks)).count(503)}


async def _status(app: Starlette, scope: dict, receive) -> int:
    sent: list = []

    async def send(message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent[0]["status"]


ROOM = [
    ("one address, another source", [("pay", "192.0.2.1")] * 26 + [("git", "192.0.2.2")], 202, 23),
    (
        "one address, the same address",
        [("git", "192.0.2.1")] * 26 + [("git", "192.0.2.1")],
        202,
        23,
    ),
    (
        "a network of IPv6",
        [("pay", f"2001:db8::{n:x}") for n in range(26)] + [("git", "::1")],
        202,
        23,
    ),
    (
        "many addresses",
        [("pay", f"192.0.2.{n}") for n in range(26)] + [("git", "192.0.2.1")],
        202,
        20,
    ),
]


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("senders", "last", "refused"), [case[1:] for case in ROOM], ids=[case[0] for case in ROOM]
)
def test_unfinished_bodies_of_one_address_or_source_leave_room_for_others(
    settings, warehouse, senders, last, refused
):
    found = asyncio.run(beside_unfinished(settings, warehouse, senders))
    assert found == {"last": last, "refused": refused}


def test_a_signed_delivery_alone_ends_the_deadline_of_its_connection(settings, warehouse):
    async def deliver(secret: str) -> list[str]:
        ended: list[str] = []
        with opened_hooks(settings, warehouse) as hooks:
            app = Starlette(routes=routes(hooks))
            state = {AUTHENTICATED: lambda: ended.append(secret)}

            async def receive() -> dict:
                return {"type": "http.request", "body": BODY, "more_body": False}

            scope = over("git", "192.0.2.1", **signed(BODY, secret)) | {"state": state}
            await _status(app, scope, receive)
        return ended

    assert asyncio.run(deliver(SECRET)) == [SECRET]
    assert asyncio.run(deliver("a wrong secret indeed")) == []


def test_a_connection_that_ends_within_the_body_delivers_nothing():
    hooks = hooks_over(len)
    broken = [
        {"type": "http.request", "body": b"{", "more_body": True},
        {"type": "http.disconnect"},
    ]
    assert asyncio.run(_asked(hooks, broken, signed(BODY)))[0]["status"] == 400


def test_a_length_that_is_too_large_is_refused_before_the_body_is_read():
    headers = signed(BODY, content_length="101")
    assert asyncio.run(_asked(hooks_over(len), [], headers))[0]["status"] == 413


def test_concurrent_deliveries_are_stored_each_with_its_outcome(settings, warehouse):
    async def many(hooks: Hooks) -> list[int]:
        async def one(n: int) -> int:
            body = b'{"n": %d}' % (n % 40)
            whole = [{"type": "http.request", "body": body, "more_body": False}]
            sent = await _asked(hooks, whole, signed(body, x_github_delivery=str(n % 50)))
            return sent[0]["status"]

        return await asyncio.gather(*(one(n) for n in range(100)))

    with opened_hooks(settings, warehouse) as hooks:
        found = asyncio.run(many(hooks))
    # Of 50 ids two deliveries each, n and n + 50, which have the same body for no n.
    assert (found.count(202), found.count(409)) == (50, 50)
    with warehouse.reading() as connection:
        assert connection.execute(select(func.count()).select_from(inbox)).scalar_one() == 50


def test_answers_are_counted_by_source_and_status(client):
    def counted() -> float:
        labels = {"source": "git", "status": "403"}
        return GATEWAY.get_sample_value("orchestration_webhook_answers_total", labels) or 0.0

    before = counted()
    post(client, secret="a wrong secret indeed")
    assert counted() == before + 1
    client.post("/hooks/no-such-source", content=b"")
    assert b"no-such-source" not in generate_latest(GATEWAY)


def test_blanks_behind_the_signature_are_not_part_of_it(settings, warehouse):
    headers = {name: f"{value} \t" for name, value in signed(BODY).items()}
    place = Place(frozenset({"127.0.0.1"}))
    with opened_hooks(settings, warehouse) as hooks:
        client = Client(routes(hooks), lambda app: Edge(app, place, Clock()))
        assert client.post("/hooks/git", content=BODY, headers=headers).status_code == 202
