"""One server per folder: found by its file, exclusive by its lock, stopped when idle."""

import asyncio
import fcntl
import json
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from logging.handlers import RotatingFileHandler
from pathlib import Path
from types import TracebackType
from typing import Protocol
from urllib.parse import urlsplit

import uvicorn
from starlette.types import Receive, Scope, Send

from orchestration_demo.memory import write_atomically

_START_SECONDS = 60
_POLL_SECONDS = 0.05
_WATCH_SECONDS = 0.5
_UNNEEDED_SECONDS = 2
_GRACE_SECONDS = 1  # for requests in flight when the server is asked to end
_LOG_BYTES = 5_000_000


class ServedApp(Protocol):
    """An ASGI application that records the monotonic time of its latest request."""

    last_request: float

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        ...


def log_to(path: Path) -> None:
    """Write this program's log lines, and the error that ends it, to a file that stays small."""
    handler = RotatingFileHandler(path, maxBytes=_LOG_BYTES, backupCount=1)
    layout = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    logging.basicConfig(handlers=[handler], level=logging.INFO, format=layout)
    sys.excepthook = _log_error


def _log_error(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    logging.critical("ended by an error", exc_info=(kind, error, trace))
    sys.__excepthook__(kind, error, trace)


@contextmanager
def only_one(folder: Path) -> Iterator[bool]:
    """Hold the folder's lock while the body runs, or yield False once another holder is up.

    The lock ends with its process, so that a killed server leaves nothing to clean.
    """
    with (folder / "server.lock").open("w") as lock:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if _is_up(folder / "server.json"):
                    yield False
                    return
                time.sleep(_POLL_SECONDS)
            else:
                yield True
                return
        raise TimeoutError(f"another demo server holds {lock.name} but does not answer")


def serve(
    api: ServedApp, server_file: Path, *, idle_seconds: float, options: Mapping[str, object]
) -> None:
    """Serve ``api`` on a free port of 127.0.0.1 until idle or stopped (SIGTERM, SIGINT).

    After SIGUSR1 its starter no longer needs it: then it is idle after two seconds.
    ``server_file`` has its address while it serves.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        # Or a small answer waits 40 ms for the caller to acknowledge its headers.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        announcement = {"url": url, "pid": os.getpid(), "options": dict(options)}
        asyncio.run(_serve(api, listener, server_file, announcement, idle_seconds))


class _QuietServer(uvicorn.Server):
    """Uvicorn without its signal handling, which ends the process by the signal it caught."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _serve(
    api: ServedApp,
    listener: socket.socket,
    server_file: Path,
    announcement: Mapping[str, object],
    idle_seconds: float,
) -> None:
    server = _QuietServer(_config(api))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    while not (server.started or serving.done()):
        await asyncio.sleep(_POLL_SECONDS)
    if server.started:
        await until_over(api, server_file, announcement, idle_seconds)
    server.should_exit = True
    await serving


class Watched(Protocol):
    """A server that records the monotonic time of its latest request."""

    last_request: float


async def until_over(
    server: Watched, server_file: Path, announcement: Mapping[str, object], idle_seconds: float
) -> None:
    """Announce a server that listens; return when it is idle, stopped, or its folder deleted.

    The file is removed then: no new client may come while the last answers go out.
    """
    release = os.environ.get("DEMO_RELEASE")  # noqa: TID251 - demos import no settings
    announcement = {**announcement, "release": release}
    stop_requested = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop_requested.set)
    idle_limits = [idle_seconds]
    asyncio.get_running_loop().add_signal_handler(
        signal.SIGUSR1, idle_limits.append, min(idle_seconds, _UNNEEDED_SECONDS)
    )
    write_atomically(server_file, announcement)
    while not _is_over(server, server_file, announcement, idle_limits[-1]):
        with suppress(TimeoutError):
            await asyncio.wait_for(stop_requested.wait(), _WATCH_SECONDS)
            break
    if _is_announced(server_file, announcement):
        server_file.unlink()


def _config(api: ServedApp) -> uvicorn.Config:
    """Return uvicorn's config for ``api``: no hooks, our logging, a fast shutdown."""
    return uvicorn.Config(
        api,
        lifespan="off",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )


def _is_over(
    api: Watched, server_file: Path, announcement: Mapping[str, object], idle_seconds: float
) -> bool:
    """Return whether no request came for ``idle_seconds``, or the folder was deleted."""
    is_idle = time.monotonic() - api.last_request > idle_seconds
    return is_idle or not _is_announced(server_file, announcement)


def _is_announced(server_file: Path, announcement: Mapping[str, object]) -> bool:
    """Return whether the file names this server, not one that started after a deletion."""
    try:
        return json.loads(server_file.read_text()) == announcement
    except (OSError, ValueError):
        return False


def _is_up(server_file: Path) -> bool:
    """Return whether the server that the file names takes connections."""
    try:
        address = urlsplit(json.loads(server_file.read_text())["url"])
        with socket.create_connection((address.hostname or "", address.port or 0), timeout=1):
            return True
    except (OSError, ValueError):
        return False
