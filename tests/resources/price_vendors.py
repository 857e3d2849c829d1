"""The demo of the price vendors, served by a thread of the tests, at a time that a test sets."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import uvicorn
from orchestration_demo.clock import Clock as VendorsClock
from orchestration_demo.market import Market
from orchestration_demo.memory import Memory
from orchestration_demo.prices.book import PriceBook
from orchestration_demo.prices.faults import FAULTS, Fault
from orchestration_demo.prices.vendors import Vendors
from starlette.applications import Starlette

from orchestration_project.engine.connections.clock import Clock

ANCHOR = datetime.fromisoformat("2026-03-02T22:00:00+00:00")
"""A Monday, an hour after its session is over."""

SEED, ROWS = 20_250_106, 600


class SetClock(Clock, VendorsClock):
    """Stands at the time that was set, for the vendors and for who asks them."""

    def __init__(self) -> None:
        self.time = ANCHOR

    def now(self) -> datetime:
        return self.time


class PriceVendors:
    """The vendors at ``url``, their clock, and FINRA's spelling of the symbols that have faults."""

    def __init__(self, url: str, clock: SetClock, book: PriceBook) -> None:
        self.url = url
        self.clock = clock
        self.book = book

    def symbol_with(self, fault: Fault) -> str:
        return next(value.symbol for value in self.book.listed.values() if value.fault == fault)


@contextmanager
def price_vendors(folder: Path, *, requests_per_day: int = 0) -> Iterator[PriceVendors]:
    """Serve them; what they remember is in ``folder``."""
    clock = SetClock()
    book = PriceBook(Market(SEED, ROWS), ANCHOR.date())
    vendors = Vendors(book, Memory(folder / "state.json", ANCHOR.date()), clock, requests_per_day)
    faults = {value.fault for value in book.listed.values() if value.fault}
    if faults != set(FAULTS.values()):
        raise ValueError(f"invalid market: expected all faults, found {faults}")
    app = Starlette(routes=vendors.routes)
    config = uvicorn.Config(app, lifespan="off", log_config=None, access_log=False, ws="none")
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            yield PriceVendors(f"http://127.0.0.1:{listener.getsockname()[1]}", clock, book)
        finally:
            server.should_exit = server.force_exit = True  # idle connections need no farewell
            thread.join()
