"""Services behind the API: Dagster, our tables and the artifact store."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ParamSpec, TypeVar

import dagster as dg
from starlette.types import Scope

from orchestration_project.engine.connections.artifacts import ArtifactStore
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.roles import Principal
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.gateway.api.dagster import Dagster
from orchestration_project.gateway.api.feeds import (
    CursorT,
    Feed,
    FeedLimits,
    FeedResponse,
    FeedSource,
)
from orchestration_project.gateway.limits import HourlyQuota
from orchestration_project.registry import Registry
from orchestration_project.services.inbox.uploads import Reservations
from orchestration_project.settings import Settings

THREADS = 8
"""Reads of databases and of the artifact store at once; more wait, up to their time limit."""

FILE_THREADS = 4
"""Files of tables that are written at once, beside those reads: they may take long."""

Given = ParamSpec("Given")
Found = TypeVar("Found")


@dataclass(frozen=True)
class Services:
    """Services that operations use.

    Attributes:
        registry: Returns the domains; the first call imports them, which takes a second.
        dagster: Dagster's GraphQL, asked in the caller's name.
        caller: Returns who asks, as the guard in front has found.
        refused: Writes down in the audit that somebody may not do something.
        still_known: Whether who asked may still, which is asked every `recheck_seconds`.
        heartbeat_seconds: After which a stream on which nothing comes says that it is there.
        read_seconds: After which the database ends a read of a table; that is before the request
            is not waited for any more, or reads without a waiting caller would hold all threads.
            Of a file it is the time between two batches of rows.
        upload_quota: Counts what each caller uploads, by inbox.
        upload_reservations: Bytes of uploads in progress, by inbox.
        launch_quota: Counts what each caller launches.
        feeds: Feeds that streams follow, by name.
        feed_limits: Limits of each of them.
        launching: Held while a launch with a key is looked up and made; a lease in the database
            holds up other gateways.
    """

    settings: Settings
    clock: Clock
    instance: dg.DagsterInstance
    warehouse: Warehouse
    store: ArtifactStore
    registry: Callable[[], Registry]
    dagster: Dagster
    caller: Callable[[], Principal]
    refused: Callable[[Scope, str], Awaitable[None]]
    still_known: Callable[[Scope], Awaitable[bool]]
    recheck_seconds: float
    heartbeat_seconds: float = 15.0
    read_seconds: float = 25.0
    upload_quota: HourlyQuota = field(default_factory=HourlyQuota)
    upload_reservations: Reservations = field(default_factory=Reservations)
    launch_quota: HourlyQuota = field(default_factory=HourlyQuota)
    feeds: dict[str, Feed[Any]] = field(default_factory=dict[str, Feed[Any]])
    feed_limits: FeedLimits = field(default_factory=FeedLimits)
    launching: asyncio.Lock = field(default_factory=asyncio.Lock)
    threads: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(THREADS, thread_name_prefix="api")
    )
    file_threads: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(FILE_THREADS, thread_name_prefix="api-file")
    )

    def feed_of(self, name: str, source: FeedSource[CursorT]) -> Feed[CursorT]:
        """Return the feed of a name; the first call makes it, of ``source``."""
        if name not in self.feeds:
            self.feeds[name] = Feed(source, self.in_thread, self.feed_limits)
        return self.feeds[name]

    def follow(
        self,
        feed: Feed[CursorT],
        scope: Scope,
        *,
        after: CursorT | None,
        selects: Callable[[Any], bool],
    ) -> FeedResponse[CursorT]:
        """Return a stream of a feed for who sent the request of ``scope``."""
        return FeedResponse(
            feed,
            after=after,
            selects=selects,
            still_known=partial(self.still_known, scope),
            recheck_seconds=self.recheck_seconds,
            heartbeat_seconds=self.heartbeat_seconds,
        )

    async def in_thread(
        self, work: Callable[Given, Found], *args: Given.args, **kwargs: Given.kwargs
    ) -> Found:
        """Do ``work`` where it does not hold up other requests."""
        loop, context = asyncio.get_running_loop(), copy_context()  # with the request's trace
        return await loop.run_in_executor(self.threads, lambda: context.run(work, *args, **kwargs))
