"""Answers that are sent while a thread still writes them to a temporary file.

The file lets the database go on at its own pace: a slow reader keeps no transaction open.
"""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import Executor
from typing import IO

import polars as pl
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

CHUNK_BYTES = 64 * 1024

Frames = Iterator[pl.DataFrame]


class AbandonedError(Exception):
    """The reader of the file is gone."""


class GrowingFile:
    """A temporary file that is written in a thread, and read as far as it is written."""

    def __init__(self, executor: Executor, write: Callable[["GrowingFile"], object]) -> None:
        """Have ``write`` write to `sink` in a thread; its error is raised to readers."""
        self.sink: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - `abandon` closes it
        self._loop = asyncio.get_running_loop()
        self._has_grown = asyncio.Event()
        self._size = 0
        self._is_abandoned = False
        self._writing = self._loop.run_in_executor(executor, self._write, write)
        self._writing.add_done_callback(lambda _: self._has_grown.set())

    def _write(self, write: Callable[["GrowingFile"], object]) -> None:
        write(self)
        self._note_size()

    def _note_size(self) -> None:
        self.sink.flush()
        self._size = self.sink.tell()

    def followed(self, frames: Frames) -> Frames:
        """Give ``frames`` to the writer, and what it has written of them to the readers.

        Raises:
            AbandonedError: Its reader is gone.
        """
        for frame in frames:
            self._note_size()
            self._loop.call_soon_threadsafe(self._has_grown.set)
            if self._is_abandoned:
                raise AbandonedError
            yield frame

    async def begun(self, size: int) -> int | None:
        """Wait until more than ``size`` bytes are written; return the whole size if it is whole."""
        while self._size <= size and not self._writing.done():
            self._has_grown.clear()
            await self._has_grown.wait()
        if not self._writing.done():
            return None
        self._writing.result()  # or its error
        return self._size

    async def chunks(self) -> AsyncIterator[bytes]:
        """Give all that is written, as it grows, until it is whole."""
        name = 0
        while await self.begun(name) != name:
            length = min(CHUNK_BYTES, self._size - name)
            chunk = await run_in_threadpool(os.pread, self.sink.fileno(), length, name)
            name += len(chunk)
            yield chunk

    def abandon(self) -> None:
        """Close the file after its writer has ended, which it does at its next batch."""
        self._is_abandoned = True
        if self._writing.done():
            self._close()
        else:
            self._writing.add_done_callback(lambda _: self._close())

    def _close(self) -> None:
        self.sink.close()
        if not self._writing.cancelled():
            self._writing.exception()  # taken: the reader got it, or has gone


class GrowingFileResponse(StreamingResponse):
    """A growing file, which is abandoned however sending ends.

    An error of the writer ends the connection within the body, so that no client takes it for
    whole.
    """

    def __init__(self, file: GrowingFile, headers: Mapping[str, str], media_type: str) -> None:
        super().__init__(file.chunks(), 200, headers, media_type)
        self._file = file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._file.abandon()
