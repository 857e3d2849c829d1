"""Idempotent requests: a run or backfill has its Idempotency-Key as a tag, and is made once."""

import asyncio
import hashlib
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar
from uuid import uuid4

import dagster as dg

from orchestration_project.engine.leases import Lease, LostLeaseError, give_back, take
from orchestration_project.engine.tracing.traceparent import read_tag
from orchestration_project.gateway.api.operation import Call
from orchestration_project.gateway.api.problems import ProblemError
from orchestration_project.gateway.api.services import Services
from orchestration_project.gateway.request import BODY_TAG, KEY_TAG
from orchestration_project.services.backfills import find_first_backfill

LEASE_SECONDS = 60.0
"""A gateway that was killed while it launched holds others up for so long."""

SECONDS_BETWEEN_ATTEMPTS = 0.1

LEASE_DIGITS = 2
"""Hex digits of a key's hash that name its lease: 256 rows, however many keys there are."""

IDEMPOTENCY_KEY = "idempotency-key"
KEY_FORM = re.compile(r"[!-~]{1,200}")

IDEMPOTENCY_HEADER = {
    "Idempotency-Key": "A name for this request: the same again gives the same run or backfill; "
    "another one 409"
}

Made = TypeVar("Made")


@dataclass(frozen=True)
class Before:
    """Result of a used key: a run, or a backfill; the other one is None.

    Attributes:
        body: The hash of what was asked for.
    """

    body: str | None
    run: dg.DagsterRun | None = None
    backfill_id: str | None = None


def request_key(call: Call[Any, Any]) -> str | None:
    """Return the Idempotency-Key of a request; None: it has none.

    Raises:
        ProblemError: 422, it is invalid.
    """
    key = call.request.headers.get(IDEMPOTENCY_KEY)
    if key is not None and not KEY_FORM.fullmatch(key):
        raise ProblemError(
            422,
            "invalid Idempotency-Key",
            expected="1 to 200 ASCII characters without spaces, e.g. a UUID",
        )
    return key


async def once(
    call: Call[Any, Any],
    said: Any,
    make: Callable[[Mapping[str, str]], Awaitable[Made]],
    again: Callable[[Before], Awaitable[Made]],
) -> Made:
    """Create the requested runs, or return those that the same request created before.

    Args:
        call: The request; without a key of its own it is always made.
        said: All that makes a request the same, as JSON has it.
        make: Makes it, with these tags.
        again: Returns what was made before.

    Raises:
        ProblemError: The key is none, or belongs to another request.
    """
    key = request_key(call)
    if key is None:
        return await make({})
    tags = {KEY_TAG: f"{call.caller.name}:{key}", BODY_TAG: _hash(said)}
    async with call.services.launching, leased(call.services, _name_lease(tags[KEY_TAG])):
        before = await call.services.in_thread(_find_earlier, call.services.instance, tags[KEY_TAG])
        if before is None:
            return await make(tags)
    if before.body != tags[BODY_TAG]:
        raise ProblemError(
            409,
            "this Idempotency-Key belongs to another request",
            run_id=before.run.run_id if before.run else None,
            remedy="take a new key for a new request",
        )
    return await again(before)


def _name_lease(key: str) -> str:
    return f"idempotency/{hashlib.sha256(key.encode()).hexdigest()[:LEASE_DIGITS]}"


@asynccontextmanager
async def leased(services: Services, name: str) -> AsyncIterator[None]:
    """Hold a lease, for which other requests and gateways wait.

    Raises:
        ProblemError: 503, another request has had the lease for long.
    """
    for _ in range(round(LEASE_SECONDS / SECONDS_BETWEEN_ATTEMPTS) + 1):
        lease = await services.in_thread(_take, services, name)
        if lease is not None:
            break
        await asyncio.sleep(SECONDS_BETWEEN_ATTEMPTS)
    else:
        raise ProblemError(
            503,
            "another gateway is processing the same request, or an edit of the same rules",
            remedy="send the same request again in a minute",
        )
    try:
        yield
    finally:
        await services.in_thread(_give_back, services, lease)


def _take(services: Services, name: str) -> Lease | None:
    now = services.clock.now()
    until = now + timedelta(seconds=LEASE_SECONDS)
    with services.warehouse.writing() as connection:
        return take(connection, name, holder=uuid4().hex, now=now, until=until)


def _give_back(services: Services, lease: Lease) -> None:
    with suppress(LostLeaseError), services.warehouse.writing() as connection:
        give_back(connection, lease)


def _hash(said: Any) -> str:
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _find_earlier(instance: dg.DagsterInstance, key: str) -> Before | None:
    """Return the first run or backfill under a key: its automatic retries have its tags, too."""
    backfill = find_first_backfill(instance, {KEY_TAG: key})
    if backfill is not None:  # its runs have its tags
        return Before(read_tag(backfill.tags, BODY_TAG), backfill_id=backfill.backfill_id)
    run_records = instance.get_run_records(
        dg.RunsFilter(tags={KEY_TAG: key}), limit=1, ascending=True
    )
    if not run_records:
        return None
    run = run_records[0].dagster_run
    return Before(read_tag(run.tags, BODY_TAG), run=run)
