"""Export of spans by OTLP over HTTP, from a bounded queue; what cannot be sent is counted.

This module is imported only where spans or log lines go to a collector.
"""

import encodings.idna  # noqa: F401 - else the first look-up of a host imports it, see `_client`
import gzip
import logging
import socket
import time
from collections import deque
from collections.abc import Mapping, Sequence
from threading import Condition, Thread
from typing import NamedTuple

import httpx

from orchestration_project.engine.tracing.encoding import count_rejected, encode_spans
from orchestration_project.engine.tracing.span import Span
from orchestration_project.errors import ConfigurationError
from orchestration_project.redaction import hide

LOG = logging.getLogger(__name__)

MAX_QUEUED = 2048
"""Spans that wait; more are lost, and counted."""

MAX_BATCH = 256
LINGER_SECONDS = 1.0
"""Time that a batch waits for more spans."""

TIMEOUT_SECONDS = 5.0
"""Time for a request to the collector as a whole."""

FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 1.0, 30.0
MAX_ANSWER_BYTES = 64 * 1024
RETRIED = frozenset({408, 429, 502, 503, 504})
TOO_LARGE = 413


class _RetryLater(Exception):  # noqa: N818 - no failure yet
    """The collector did not take a batch; it is sent again after some seconds."""

    def __init__(self, reason: str, seconds: float | None = None) -> None:
        super().__init__(reason)
        self.seconds = seconds


class CollectorAnswer(NamedTuple):
    """Answer of a collector.

    Attributes:
        status: HTTP status.
        content_type: Its Content-Type; empty: it has none.
        body: Start of its body.
        retry_after: Seconds after which it expects the next request; None: it does not say.
    """

    status: int
    content_type: str
    body: bytes
    retry_after: float | None


def post_batch(
    client: httpx.Client, url: str, content: bytes, *, max_seconds: float
) -> CollectorAnswer:
    """Send a batch; return the answer, of whose body is read what comes within ``max_seconds``.

    Raises:
        httpx.HTTPError: The request failed, or its answer broke off.
        httpx.InvalidURL: The URL cannot be requested.
    """
    ends_at, body = time.monotonic() + max_seconds, b""
    with client.stream("POST", url, content=content) as response:
        for piece in response.iter_raw():
            body += piece
            if len(body) > MAX_ANSWER_BYTES or time.monotonic() > ends_at:
                break
        seconds = response.headers.get("retry-after", "")
        return CollectorAnswer(
            response.status_code,
            response.headers.get("content-type", ""),
            body[:MAX_ANSWER_BYTES],
            float(seconds) if seconds.isascii() and seconds.isdigit() else None,
        )


class SpanExport:
    """Sends spans that ended to a collector.

    Args:
        endpoint: Base URL of the collector.
        headers: Headers of each request; their values are secrets.
        share: Share of traces that are exported, 0 to 1; spans with an error always are.
        service: Name of the program.
        release: Its version; empty: unknown.
        max_queued: Spans that wait at most; more are lost.
        linger_seconds: Time in which a batch fills.
        first_pause_seconds: Pause after a failed attempt; it doubles with each.
    """

    def __init__(
        self,
        endpoint: str,
        headers: Mapping[str, str],
        *,
        share: float = 1.0,
        service: str = "run",
        release: str = "",
        max_queued: int = MAX_QUEUED,
        linger_seconds: float = LINGER_SECONDS,
        first_pause_seconds: float = FIRST_PAUSE_SECONDS,
    ) -> None:
        hide(*headers.values())
        self._url = f"{endpoint}/v1/traces"
        self._client = httpx.Client(  # here, not in the thread: a fork amid an import breaks it
            timeout=TIMEOUT_SECONDS,
            headers={
                **headers,
                "content-type": "application/x-protobuf",
                "content-encoding": "gzip",
            },
        )
        self._resource = {
            "service.name": f"orchestration_project.{service}",
            "host.name": socket.gethostname(),
            **({"service.version": release} if release else {}),
        }
        self._max_queued = max_queued
        self._linger_seconds = linger_seconds
        self._first_pause_seconds = first_pause_seconds
        self._below = round(share * 2**64)
        self._queue = deque[Span]()
        self._changed = Condition()
        self._in_flight = 0
        self._is_flushing = False
        self._has_failed_flush = False
        self._is_stopped = False
        self._lost_count = 0
        self._reported_count = 0
        self._thread: Thread | None = None

    @property
    def lost_count(self) -> int:
        """Spans that were not accepted: the queue was full, or the collector refused them."""
        return self._lost_count

    def is_exported(self, span: Span) -> bool:
        """Whether a span is exported: by its trace, so that all programs decide equally."""
        return span.error is not None or int(span.context.trace_id[16:], 16) < self._below

    def add(self, span: Span) -> None:
        """Queue a span that ended; it waits for nothing."""
        if not self.is_exported(span):
            return
        with self._changed:
            if self._is_stopped:
                return
            if len(self._queue) >= self._max_queued:
                self._lost_count += 1
                return
            self._queue.append(span)
            if self._thread is None:
                self._thread = Thread(target=self._run, name="spans", daemon=True)
                self._thread.start()
            elif len(self._queue) == 1 or len(self._queue) >= MAX_BATCH:
                self._changed.notify_all()

    def flush(self, seconds: float) -> None:
        """Wait until all is sent or an attempt failed, so long at most; log what was lost."""
        ends_at = time.monotonic() + seconds
        with self._changed:
            self._is_flushing, self._has_failed_flush = True, False
            self._changed.notify_all()
            while (self._queue or self._in_flight) and not self._has_failed_flush:
                left = ends_at - time.monotonic()
                if left <= 0 or not self._changed.wait(left):
                    break
            self._is_flushing = False
            left_count = len(self._queue) + self._in_flight
        self._report(left_count)

    def stop(self) -> None:
        """Drop the queued spans, and end the thread after its present request."""
        with self._changed:
            self._is_stopped = True
            self._queue.clear()
            self._changed.notify_all()

    def _report(self, unsent_count: int) -> None:
        lost = self._lost_count + unsent_count
        if lost > self._reported_count:
            LOG.warning(
                "%d spans were not exported: the collector is away, slow or refuses them",
                lost - self._reported_count,
                extra={"event": "spans_lost"},
            )
            self._reported_count = lost

    def _run(self) -> None:
        pause = self._first_pause_seconds
        with self._client:
            while batch := self._take():
                try:
                    self._send(batch)
                    pause = self._first_pause_seconds
                except _RetryLater as later:
                    wait = min(max(pause, later.seconds or 0), MAX_PAUSE_SECONDS)
                    self._put_back(batch, wait)
                    pause = min(2 * pause, MAX_PAUSE_SECONDS)
                except Exception as error:  # noqa: BLE001 - an export must never end the program
                    self._drop(batch, type(error).__name__)
                with self._changed:
                    self._in_flight = 0
                    self._changed.notify_all()

    def _take(self) -> list[Span]:
        """Return the next batch, once it is full or has waited; empty: the export is stopped."""
        with self._changed:
            while not self._queue and not self._is_stopped:
                self._changed.wait()
            if not self._is_flushing and len(self._queue) < MAX_BATCH and not self._is_stopped:
                self._changed.wait(self._linger_seconds)
            batch = [self._queue.popleft() for _ in range(min(MAX_BATCH, len(self._queue)))]
            self._in_flight = len(batch)
            return batch

    def _put_back(self, batch: Sequence[Span], seconds: float) -> None:
        """Queue a batch again, at the front, then wait; a flush allows one attempt at once."""
        with self._changed:
            room = self._max_queued - len(self._queue)
            kept_spans = batch[:room]
            self._lost_count += len(batch) - len(kept_spans)
            self._queue.extendleft(reversed(kept_spans))
            self._in_flight = 0
            self._has_failed_flush |= self._is_flushing
            self._changed.notify_all()
            ends_at = time.monotonic() + seconds
            while (left := ends_at - time.monotonic()) > 0 and not self._is_awaited():
                self._changed.wait(left)

    def _is_awaited(self) -> bool:
        """Whether a pause ends early: the export is stopped, or a flush waits for an attempt."""
        return self._is_stopped or (self._is_flushing and not self._has_failed_flush)

    def _drop(self, batch: Sequence[Span], reason: str) -> None:
        with self._changed:
            self._lost_count += len(batch)
        LOG.debug(
            "%d spans were refused by the collector: %s",
            len(batch),
            reason,
            extra={"event": "spans_refused"},
        )

    def _send(self, batch: Sequence[Span]) -> None:
        """Send a batch; one that is too large is sent in halves.

        Raises:
            _RetryLater: The collector is away, or requests a retry.
        """
        body = gzip.compress(encode_spans(batch, self._resource), 1)
        try:
            answer = post_batch(self._client, self._url, body, max_seconds=TIMEOUT_SECONDS)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise _RetryLater(type(error).__name__) from error
        status = answer.status
        if status == TOO_LARGE and len(batch) > 1:
            half = len(batch) // 2
            self._send(batch[:half])
            self._send(batch[half:])
        elif status in RETRIED:
            raise _RetryLater(f"status {status}", answer.retry_after)
        elif not 200 <= status < 300:
            self._drop(batch, f"status {status}")
        else:
            with self._changed:
                self._lost_count += min(count_rejected(answer.body), len(batch))


def open_export(
    endpoint: str, headers: Mapping[str, str], *, share: float, service: str, release: str
) -> SpanExport:
    """Return the export of this process.

    Raises:
        ConfigurationError: The extra `otel` is not installed.
    """
    export = SpanExport(endpoint, headers, share=share, service=service, release=release)
    try:
        encode_spans([], {})
    except ImportError as error:
        raise ConfigurationError(
            "OTEL_EXPORTER_OTLP_ENDPOINT is set, and spans cannot be exported",
            expected="the extra `otel`, which has opentelemetry-proto",
            found=f"no module {error.name}",
            remedy="install orchestration_project[otel], or unset OTEL_EXPORTER_OTLP_ENDPOINT",
        ) from error
    return export
