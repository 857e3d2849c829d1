"""Log lines sent to a collector by OTLP over HTTP: one shipper for each STATE_DIR.

The log files are its spool: it remembers a position for each service and reads on from there. So
nothing is written twice, and no program waits for the collector. LOG_KEEP_MIB and LOG_KEEP_DAYS
bound what waits.
What is deleted or refused before it is accepted is counted. A shipper that is killed sends its
latest batch again, with the same IDs.
"""

import fcntl
import json
import logging
import os
import random
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Any, NamedTuple, Self
from urllib.parse import unquote

import httpx

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.connections.files import open_partial_file
from orchestration_project.engine.connections.log_files import (
    StoredLine,
    list_segments,
    list_services,
    read_after,
)
from orchestration_project.engine.contracts.attempts import compute_backoff
from orchestration_project.engine.contracts.log_lines import decode_line
from orchestration_project.engine.tracing.exporting import post_batch
from orchestration_project.redaction import hide
from orchestration_project.services.program_logs.losses import SHIPPED, read_shipped
from orchestration_project.services.program_logs.rules import (
    PROTOBUF,
    NumberedLine,
    count_rejected,
    encode_request,
)
from orchestration_project.settings import Settings, without_secrets

LOCK = "shipper.lock"

MAX_LINES = 500
"""Number of lines of a request."""

TIMEOUT = httpx.Timeout(10.0, connect=5.0)
MAX_ANSWER_SECONDS = 30.0
MAX_BACKOFF_SECONDS = 60.0
MAX_RETRY_AFTER_SECONDS = 300.0
POLL_SECONDS = 1.0
SECONDS_BETWEEN_LOCKS = 5.0

SPLIT_STATUSES = frozenset({400, 413})
"""Statuses after which a batch is halved, down to the one line that is refused."""

MAX_REFUSED_LINES = 3
"""Number of lines in a row that are refused at once; then each waits for the backoff."""

_logger = logging.getLogger(__name__)


class Target(NamedTuple):
    """A collector.

    Attributes:
        url: Address of its logs, ``https://…/v1/logs``.
        headers: Headers of each request, which may be secret.
    """

    url: str
    headers: Mapping[str, str]


def build_target(settings: Settings) -> Target | None:
    """Return the collector that the settings name; None: lines are not sent."""
    url = settings.otlp_logs_url
    if url is None:
        return None
    headers = {name: unquote(value) for name, value in settings.otlp_headers.items()}
    hide(*headers.values())
    return Target(url, headers)


class Position(NamedTuple):
    """Position in a service's log, bytes, and the count of the lines before it."""

    position: int
    line: int


@dataclass
class LogShipper:
    """Sends the lines below a folder to a collector.

    Attributes:
        folder: Folder of all services.
        host: Name of the machine, part of the ID of a line.
        target: The collector.
        clock: The real time.
    """

    folder: Path
    host: str
    target: Target
    clock: Clock = field(default_factory=Clock)
    failure_count: int = 0
    _is_failing: bool = False
    _refused_count: int = 0
    _max_lines: int = MAX_LINES
    _retry_after: float = 0.0
    _state: dict[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        headers = {"content-type": PROTOBUF, "accept-encoding": "identity"}
        self._client = httpx.Client(headers={**self.target.headers, **headers}, timeout=TIMEOUT)

    def __enter__(self) -> Self:
        self._state = read_shipped(self.folder)
        if not self._state:  # the first shipper begins with the oldest lines
            services = {
                name: [segment.start, segment.first_line]
                for name in list_services(self.folder)
                for segment in list_segments(self.folder / name)[:1]
            }
            self._state = {"services": services, "lost": {}, "lost_at": None}
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def ship(self) -> bool:
        """Send the waiting lines, a batch of each service; return whether more may be there.

        After a failure nothing is marked as sent, and `wait_seconds` is above 0.
        """
        is_more = self._is_failing = False
        for name in list_services(self.folder):
            is_more = self._ship_service(name) or is_more
            if self._is_failing:
                return False
        return is_more

    @property
    def wait_seconds(self) -> float:
        """Time to wait before the next attempt: exponential backoff with jitter."""
        if not self.failure_count:
            return 0.0
        backoff = compute_backoff(self.failure_count, 1.0, MAX_BACKOFF_SECONDS)
        jitter = random.uniform(0.5, 1.0)  # noqa: S311 - hosts do not come back all at once
        return max(backoff * jitter, self._retry_after)

    def _position(self, name: str) -> Position:
        found: Any = self._state["services"].get(name)
        is_one = isinstance(found, list) and [type(item) for item in found] == [int, int]
        return Position(*found) if is_one else Position(0, 0)

    def _ship_service(self, name: str) -> bool:
        at = self._position(name)
        page = read_after(self.folder / name, at.position, at.line)
        line = at.line + page.lost_count
        if page.lost_count:
            self._lose(name, page.lost_count)
        if page.lost_count or (not page.lines and page.end != at.position):
            self._save(name, Position(page.lines[0].position if page.lines else page.end, line))
        lines = page.lines
        while lines and not self._is_failing:
            count = self._send(name, lines[: self._max_lines])
            if count:
                line += count
                self._save(name, Position(lines[count - 1].end, line))
                lines = lines[count:]
        return page.end != at.position

    def _send(self, name: str, batch: list[StoredLine]) -> int:
        """Send a batch; return how many lines of it are done: accepted, or refused for good."""
        decoded = [
            NumberedLine(f"{self.host}/{name}/{line.position}", fields)
            for line in batch
            if (fields := decode_line(line.text)) is not None
        ]
        if not decoded:
            return len(batch)
        try:
            content = encode_request(decoded, self.clock.now())
            answer = post_batch(
                self._client, self.target.url, content, max_seconds=MAX_ANSWER_SECONDS
            )
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            self._fail(f"{type(error).__name__}: {error}")
            return 0
        self._retry_after = min(answer.retry_after or 0.0, MAX_RETRY_AFTER_SECONDS)
        if not 200 <= answer.status < 300:
            return self._split(name, len(batch), answer.status)
        rejected = count_rejected(answer.content_type, answer.body, len(decoded))
        if rejected is None:
            self._fail(f"status {answer.status}, not an answer of OTLP")
            return 0
        self._accept()
        self._lose(name, rejected)
        return len(batch)

    def _split(self, name: str, line_count: int, status: int) -> int:
        """Halve a batch that is refused, or count its only line as lost; return lines done."""
        text = f"status {status}, an error"
        if status not in SPLIT_STATUSES:
            self._fail(text)
            return 0
        if line_count > 1:
            self._max_lines = line_count // 2
            return 0
        self._lose(name, 1)
        self._refused_count += 1
        if self._refused_count > MAX_REFUSED_LINES:
            self._fail(f"{text}: it refuses each line")
        return 1

    def _accept(self) -> None:
        if self.failure_count:
            _logger.info(
                "log lines are sent again to %s",
                without_secrets(self.target.url),
                extra={"event": "log_shipping_resumed"},
            )
        self.failure_count = self._refused_count = 0
        self._max_lines = min(self._max_lines * 2, MAX_LINES)

    def _fail(self, found: str) -> None:
        self._is_failing = True
        self.failure_count += 1
        if self.failure_count == 1:
            _logger.warning(
                "log lines cannot be sent to %s, and wait in their files: %s",
                without_secrets(self.target.url),
                found,
                extra={"event": "log_shipping_failed"},
            )

    def _lose(self, name: str, count: int) -> None:
        if not count:
            return
        lost = self._state["lost"]
        lost[name] = lost.get(name, 0) + count
        self._state["lost_at"] = self.clock.now().isoformat()
        _logger.warning(
            "%d log lines of %s were lost before a collector accepted them",
            count,
            name,
            extra={"event": "log_lines_lost"},
        )

    def _save(self, name: str, at: Position) -> None:
        """Store where to go on, whole or not at all."""
        self._state["services"][name] = [at.position, at.line]
        with open_partial_file(self.folder, prefix=".", suffix=".shipped") as (file, partial):
            file.write(json.dumps(self._state).encode())
            file.flush()
            os.fsync(file.fileno())
            partial.replace(self.folder / SHIPPED)


def ship_until(
    end: Event, folder: Path, host: str, target: Target, *, wait_seconds: float = 0.0
) -> None:
    """Send lines until an event is set, once no other process of this STATE_DIR does.

    Args:
        end: The event.
        folder: Folder of all services.
        host: Name of the machine.
        target: The collector.
        wait_seconds: Time to wait first.
    """
    wait = wait_seconds
    while not end.wait(wait):
        wait = SECONDS_BETWEEN_LOCKS
        with suppress(OSError), (folder / LOCK).open("ab") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # ends with the process
            except BlockingIOError:
                continue
            with LogShipper(folder, host, target) as shipper:
                _ship(shipper, end)


def _ship(shipper: LogShipper, end: Event) -> None:
    while not end.is_set():
        is_more = False
        try:
            is_more = shipper.ship()
        except OSError:  # the disk is full: the shipper remembers what it sent
            end.wait(SECONDS_BETWEEN_LOCKS)
        except Exception:  # the program goes on
            _logger.exception(
                "log lines are not sent for a minute", extra={"event": "log_shipping_ended"}
            )
            end.wait(MAX_BACKOFF_SECONDS)
        end.wait(0.0 if is_more else shipper.wait_seconds or POLL_SECONDS)


def start_shipper(settings: Settings, folder: Path, host: str, *, wait_seconds: float) -> None:
    """Send lines to the collector of the settings, in a thread, until this process ends."""
    target = build_target(settings)
    if target is not None:
        Thread(
            target=ship_until,
            args=(Event(), folder, host, target),
            kwargs={"wait_seconds": wait_seconds},
            name="log shipper",
            daemon=True,
        ).start()
