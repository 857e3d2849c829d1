"""`POST /hooks/{source}`: a webhook is verified, stored and committed before it is answered.

Neither the answer to a sender nor the log contains the expected signature.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.webhooks.admission import BodyBudget, TokenBucket
from orchestration_project.engine.contracts.webhooks.schemes import Headers, decode_headers, verify
from orchestration_project.engine.contracts.webhooks.sources import (
    find_delivery_id,
    find_kind,
    select_headers,
)
from orchestration_project.engine.tracing.traceparent import find_current_trace
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import OrchestrationError
from orchestration_project.gateway.connection_limits import mark_authenticated
from orchestration_project.gateway.counted import DELIVERIES
from orchestration_project.gateway.request import address_of
from orchestration_project.services.access.rules.credentials import derive_network
from orchestration_project.services.inbox.admission import Admission
from orchestration_project.services.inbox.rows import GroupCommit, Inbox, NewDelivery, Stored
from orchestration_project.services.inbox.senders import Sender, read_senders
from orchestration_project.services.probes import open_disk_probe
from orchestration_project.settings import Settings

LOG = logging.getLogger(__name__)

MIB = 1024 * 1024

BODY_SECONDS = 10.0
"""Time limit for a body: a slow sender would hold a connection."""

MAX_UNFINISHED_BYTES = 128 * MIB
"""Limit of all unfinished bodies together, as they are in memory."""

RETRY_AFTER_SECONDS = 30
"""When a sender may come again that could not be served."""

STATUSES: Mapping[Stored, int] = {"stored": 202, "duplicate": 200, "changed": 409}

REFUSALS = {
    "unsigned": (401, "the delivery has no signature"),
    "invalid": (403, "the signature is not that of this body"),
    "stale": (403, "the signature was made at another time than now"),
}


class Hooks:
    """Takes deliveries for ``senders`` into an inbox.

    Args:
        senders: Who may deliver.
        commit: Stores, and is asked to store many at once.
        room: Says whether there is room.
        clock: The real time, by which senders date what they sign.
        max_body_bytes: A larger body is refused.
        monotonic: Seconds for the rate limits.
        body_seconds: After which a body that is not there yet is not waited for.
    """

    def __init__(
        self,
        senders: Mapping[str, Sender],
        commit: GroupCommit,
        room: Admission,
        *,
        clock: Clock,
        max_body_bytes: int,
        monotonic: Callable[[], float] = time.monotonic,
        body_seconds: float = BODY_SECONDS,
    ) -> None:
        self._senders = senders
        self._commit = commit
        self._room = room
        self._clock = clock
        self._max_body_bytes = max_body_bytes
        self._monotonic = monotonic
        self._body_seconds = body_seconds
        self._budget = BodyBudget(MAX_UNFINISHED_BYTES, max_body_bytes)
        self._poll: asyncio.Task[None] | None = None
        self._buckets = {
            name: TokenBucket(sender.declared.requests_per_second)
            for name, sender in senders.items()
        }

    @property
    def problems(self) -> list[str]:
        """Defects of unusable sources, a sentence each."""
        return [
            f"nothing is taken from the webhook source {sender.name}: {sender.problem}"
            for sender in self._senders.values()
            if sender.problem
        ]

    async def receive(self, request: Request) -> Response:
        """Answer one delivery."""
        sender = self._senders.get(request.path_params["source"])
        if sender is None:
            raise HTTPException(404, "source not found")
        try:
            answer = await self._received(sender, request)
        except HTTPException as refused:
            DELIVERIES.labels(sender.name, str(refused.status_code)).inc()
            where = request.client.host if request.client else "?"
            refusal = (sender.name, where, refused.status_code, refused.detail)
            LOG.warning(
                "a webhook of %s from %s was rejected with %s: %s",
                *refusal,
                extra={"event": "webhook_rejected"},
            )
            raise
        DELIVERIES.labels(sender.name, str(answer.status_code)).inc()
        return answer

    async def _received(self, sender: Sender, request: Request) -> Response:
        self._refuse_other_types(request)
        await self._refuse_when_full(sender)
        headers = decode_headers(request.headers.raw)
        body = await self._body(sender, request)
        self._verify(sender, headers, body)
        mark_authenticated(request.scope)
        self._slow_down(sender)
        outcome = await self._store(_build_delivery(sender, headers, body))
        return JSONResponse({"outcome": outcome}, STATUSES[outcome])

    def _refuse_other_types(self, request: Request) -> None:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        is_json = kind == "application/json" or (
            kind.startswith("application/") and kind.endswith("+json")
        )
        if not is_json or request.headers.get("content-encoding", "identity") != "identity":
            raise HTTPException(415, "a delivery is application/json, not compressed")

    async def _refuse_when_full(self, sender: Sender) -> None:
        if not sender.keys:
            raise _build_unavailable("the signature of this source cannot be verified at present")
        problem = await self._problem()
        if problem:
            raise _report_pause(problem)

    async def _problem(self) -> str:
        """Return why nothing can be taken, by a look of some seconds ago at most.

        One delivery in a second begins the next look, and neither it nor any other waits for that.
        """
        if not self._room.is_new and (self._poll is None or self._poll.done()):
            self._poll = asyncio.create_task(run_in_threadpool(self._room.poll))
        if not self._room.is_recent and self._poll:
            await asyncio.shield(self._poll)
        return self._room.problem

    async def _body(self, sender: Sender, request: Request) -> bytes:
        """Return the body as it came, held to its limits of size and time."""
        content_length = request.headers.get("content-length", "")
        if (
            content_length.isascii()
            and content_length.isdigit()
            and int(content_length) > self._max_body_bytes
        ):
            raise self._too_large()
        body, address = bytearray(), derive_network(address_of(request.scope))
        try:
            with self._budget.body(sender.name, address) as opened:
                async with asyncio.timeout(self._body_seconds):
                    async for piece in request.stream():
                        body += piece
                        has_room = opened.add(len(piece))
                        if len(body) > self._max_body_bytes:
                            raise self._too_large()
                        if not has_room:
                            raise _build_overload()
        except TimeoutError:
            raise HTTPException(408, "the body did not come in time") from None
        except ClientDisconnect:
            raise HTTPException(400, "the connection ended within the body") from None
        return bytes(body)

    def _too_large(self) -> HTTPException:
        return HTTPException(413, f"a body has at most {self._max_body_bytes // MIB} MiB")

    def _verify(self, sender: Sender, headers: Headers, body: bytes) -> None:
        verdict = verify(
            sender.declared.signing,
            headers,
            body,
            sender.keys,
            now=self._clock.now(),
        )
        if verdict != "valid":
            raise HTTPException(*REFUSALS[verdict])

    def _slow_down(self, sender: Sender) -> None:
        """Hold a source to its rate; only what it signed counts, or anybody could use that up."""
        wait = self._buckets[sender.name].wait_seconds(self._monotonic())
        if wait:
            later = {"Retry-After": str(math.ceil(wait))}
            raise HTTPException(429, "this source delivers too often", headers=later)

    async def _store(self, delivery: NewDelivery) -> Stored:
        """Return the outcome of a delivery, once that is committed."""
        waits = delivery.allowed_attempts > 0
        if waits and not self._room.reserve_row():
            raise _report_pause("the inbox is full (WEBHOOK_INBOX_ROWS)")
        is_stored = True  # unknown while the sender is gone: the next count has it
        try:
            future, number = self._commit.store(delivery)
            # All of a batch wait for one future, so one of them that is gone must not cancel it.
            stored = (await asyncio.shield(asyncio.wrap_future(future)))[number]
            is_stored = stored == "stored"
            return stored
        except OrchestrationError as error:
            LOG.error(
                "a webhook of %s was not stored: %s",
                delivery.source,
                error,
                extra={"event": "webhook_not_stored"},
            )
            is_stored = False
            raise _build_unavailable("the delivery could not be stored at present") from error
        finally:
            if waits:
                self._room.settle_row(is_stored=is_stored)


def _build_delivery(sender: Sender, headers: Headers, body: bytes) -> NewDelivery:
    declared = sender.declared
    delivery_id = find_delivery_id(declared, headers, body)
    if delivery_id is None:
        raise HTTPException(400, "invalid delivery id: expected at most 200 plain characters")
    return NewDelivery(
        sender.name,
        delivery_id,
        find_kind(declared, headers, body),
        body,
        select_headers(declared, headers),
        declared.max_attempts if declared.job else 0,
        find_current_trace(),
    )


def _report_pause(problem: str) -> HTTPException:
    """Log why nothing is accepted; return the answer, which does not say that."""
    LOG.error("webhooks are not accepted: %s", problem, extra={"event": "webhooks_paused"})
    return _build_overload()


def _build_overload() -> HTTPException:
    return _build_unavailable("too many unfinished bodies at present")


def _build_unavailable(why: str) -> HTTPException:
    return HTTPException(503, why, headers={"Retry-After": str(RETRY_AFTER_SECONDS)})


@contextmanager
def opened_hooks(settings: Settings, warehouse: Warehouse) -> Iterator[Hooks]:
    """Yield the hooks that take deliveries into ``warehouse``; at the end, all of them are written.

    Sources from which nothing can be taken are logged.

    Raises:
        ConfigurationError: The declaration of the sources cannot be used.
    """
    senders = read_senders(settings)
    inbox = Inbox(warehouse, Clock())
    room = Admission(inbox, open_disk_probe(settings), most_rows=settings.webhook_inbox_rows)
    commit = GroupCommit(inbox.take)
    limit = settings.webhook_max_body_mib * MIB
    hooks = Hooks(senders, commit, room, clock=Clock(), max_body_bytes=limit)
    for problem in hooks.problems:
        LOG.error("%s", problem, extra={"event": "webhook_source_disabled"})
    try:
        yield hooks
    finally:
        commit.close()


def routes(hooks: Hooks) -> list[Route]:
    """Return the route of deliveries."""
    return [Route("/hooks/{source}", hooks.receive, methods=["POST"])]
