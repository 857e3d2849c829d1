"""Files that are sent while they are written: whole, or visibly not."""

import asyncio
import http.client
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

import polars as pl
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from orchestration_project.gateway.api.growing_files import (
    GrowingFile,
    GrowingFileResponse,
)
from orchestration_project.services.export import write_csv
from tests.expecting import expect_set
from tests.gateway.login_client import running

ROWS = pl.DataFrame({"text": ["x" * 99] * 1000})


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


def sending(threads: ThreadPoolExecutor, frames: Callable[[], Iterator[pl.DataFrame]]) -> ASGIApp:
    """Return an app that sends what is written of ``frames``."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        file = GrowingFile(threads, lambda it: write_csv(it.followed(frames()), it.sink))
        await GrowingFileResponse(file, {}, "text/csv")(scope, receive, send)

    return app


@contextmanager
def answered(port: int) -> Iterator[http.client.HTTPResponse]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request("GET", "/")
        with connection.getresponse() as answer:
            yield answer


def test_rows_are_sent_before_the_last_ones_are_written(threads):
    has_read = threading.Event()

    def frames():
        yield ROWS
        yield ROWS
        expect_set(has_read)
        yield ROWS

    with running(sending(threads, frames)) as port, answered(port) as answer:
        begun = answer.read(100_000)
        has_read.set()
        assert (begun + answer.read()).count(b"\r\n") == 3001


def test_a_file_whose_writing_fails_is_visibly_not_whole(threads):
    def frames():
        yield ROWS
        yield ROWS
        raise ZeroDivisionError

    with (
        running(sending(threads, frames)) as port,
        answered(port) as answer,
        pytest.raises(http.client.IncompleteRead),
    ):
        answer.read()


def test_a_file_whose_reader_left_is_no_longer_written(threads):
    has_left = threading.Event()

    def frames():
        yield ROWS
        yield ROWS
        expect_set(has_left)
        while True:
            yield ROWS

    with running(sending(threads, frames)) as port:
        with answered(port) as answer:
            assert answer.read(1000)
        has_left.set()
        threads.submit(int).result(10)  # its one thread is free again


def test_who_begins_to_read_gets_the_error_of_a_writer_that_wrote_nothing(threads):
    def fail(_: object) -> None:
        raise ZeroDivisionError

    async def begin() -> None:
        file = GrowingFile(threads, fail)
        try:
            await file.begun(0)
        finally:
            file.abandon()

    with pytest.raises(ZeroDivisionError):
        asyncio.run(begin())
