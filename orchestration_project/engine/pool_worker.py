"""The program of a worker of `ProcessPool`: reads items from a socket, replies with results.

It imports what the pool's function needs, and nothing of Dagster. Results go through the socket
and not through stdout, so that what a function prints cannot break them.
"""

import ctypes
import os
import pickle
import resource
import signal
import socket
import struct
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

from orchestration_project.errors import (
    ConfigurationError,
    ContractError,
    OrchestrationError,
    SourceError,
    TransientError,
)

HEADER = struct.Struct("!cQ")
"""Header of a frame: its kind and the length of its pickled payload."""

FUNCTION, ITEM = b"F", b"I"
"""Messages from the pool."""

READY, RESULT, ERROR, RAISED = b"R", b"V", b"E", b"X"
"""Replies: the function is loaded, its result, an error of errors.py, another exception."""

CATEGORIES = (TransientError, SourceError, ConfigurationError, ContractError)

PR_SET_PDEATHSIG = 1
"""Option of prctl(2): the signal for a process when the thread that started it ends."""

DISCARDED_BYTES = 65_536
"""Read at a time of an item that is larger than the memory."""

FRAMES_SHOWN = 8
"""Maximum frames of a traceback, the innermost ones."""


class ExceptionText(NamedTuple):
    """An exception that is not an `OrchestrationError`, as text.

    Attributes:
        reason_code: ``memory``, ``result`` (it cannot be sent) or ``exception``.
        summary: Its type and message.
        trace: Where it was raised; empty where memory ran out.
    """

    reason_code: str
    summary: str
    trace: str = ""


def describe(error: BaseException) -> ExceptionText:
    """Return an exception as text; the frames of a `MemoryError` are cleared before."""
    if isinstance(error, MemoryError):
        traceback.clear_frames(error.__traceback__)
        return ExceptionText("memory", "MemoryError")
    summary = "".join(traceback.format_exception_only(error)).strip()
    return ExceptionText(
        "exception", summary, "".join(traceback.format_exception(error, limit=-FRAMES_SHOWN))
    )


def send(channel: socket.socket, kind: bytes, payload: bytes) -> None:
    """Write a frame."""
    channel.sendall(HEADER.pack(kind, len(payload)))
    channel.sendall(payload)


class Worker:
    """Applies a function to the items that come through a socket."""

    def __init__(self, channel: socket.socket, max_result_bytes: int) -> None:
        self._channel = channel
        self._max_result_bytes = max_result_bytes
        self._function: Callable[[Any], Any]  # the pool sends it before items

    def serve(self) -> None:
        """Reply to one frame; nothing of it is kept, as the memory of the next one is limited.

        Raises:
            EOFError: The pool has closed the socket.
        """
        kind, size = HEADER.unpack(self._read(HEADER.size))
        send(self._channel, *(self._load(size) if kind == FUNCTION else self._apply(size)))

    def _load(self, size: int) -> tuple[bytes, bytes]:
        try:
            self._function = pickle.loads(self._read(size))  # noqa: S301 - of the pool
        except BaseException as error:  # noqa: BLE001 - any, as it is imported
            return RAISED, pickle.dumps(describe(error))
        return READY, b""

    def _apply(self, size: int) -> tuple[bytes, bytes]:
        try:
            result = self._function(pickle.loads(self._read(size)))  # noqa: S301 - of the pool
        except OrchestrationError as error:
            return ERROR, _serialize_error(error)
        except BaseException as error:  # noqa: BLE001 - also SystemExit fails this item alone
            return RAISED, pickle.dumps(describe(error))
        return self._pickled(result)

    def _pickled(self, result: object) -> tuple[bytes, bytes]:
        try:
            payload = pickle.dumps(result, pickle.HIGHEST_PROTOCOL)
        except MemoryError as error:
            return RAISED, pickle.dumps(describe(error))
        except Exception as error:  # noqa: BLE001 - any, of a method of the result
            return RAISED, pickle.dumps(describe(error)._replace(reason_code="result"))
        if len(payload) > self._max_result_bytes:
            return RAISED, pickle.dumps(
                ExceptionText("result", f"a result of {len(payload):,} bytes")
            )
        return RESULT, payload

    def _read(self, size: int) -> bytearray:
        try:
            data = bytearray(size)
        except MemoryError:  # the pool waits until all of it is read
            self._discard(size)
            raise
        view = memoryview(data)
        while view:
            count = self._channel.recv_into(view)
            if not count:
                raise EOFError
            view = view[count:]
        return data

    def _discard(self, size: int) -> None:
        while size:
            block = self._channel.recv(min(size, DISCARDED_BYTES))
            if not block:
                raise EOFError
            size -= len(block)


def _serialize_error(error: OrchestrationError) -> bytes:
    """Return an error pickled; one whose class cannot be unpickled, as the class of its category.

    Such is a class whose constructor requires more than a text.
    """
    with suppress(Exception):
        pickled = pickle.dumps(error)
        pickle.loads(pickled)  # noqa: S301 - our own
        return pickled
    kind = next((kind for kind in CATEGORIES if isinstance(error, kind)), ContractError)
    plain = kind(error.what, expected=error.expected, found=error.found, remedy=error.remedy)
    if isinstance(plain, TransientError) and isinstance(error, TransientError):
        plain.retry_in_seconds = error.retry_in_seconds
    return pickle.dumps(plain.within(**error.context))


def kill_with_parent(parent: int) -> None:
    """Have the kernel kill this process when the pool's has ended, whatever this one does then."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it had ended before
        os._exit(1)


def limit_memory(limit_bytes: int) -> None:
    """Limit the memory of this process; a crash leaves no core file, which may be as large.

    RLIMIT_DATA counts private writable memory, and no mapped files and reserved addresses as
    RLIMIT_AS does, of which a library may have much more than it uses.
    """
    resource.setrlimit(resource.RLIMIT_DATA, (limit_bytes, limit_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main(descriptor: int, parent: int, memory_bytes: int, max_result_bytes: int) -> None:
    """Serve until the pool closes the socket, or is gone."""
    kill_with_parent(parent)
    limit_memory(memory_bytes)
    os.set_inheritable(descriptor, False)  # no program that a function starts is to hold it open
    with suppress(EOFError, ConnectionError), socket.socket(fileno=descriptor) as channel:
        worker = Worker(channel, max_result_bytes)
        while True:
            worker.serve()
