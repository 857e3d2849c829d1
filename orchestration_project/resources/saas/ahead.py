"""Pages that are asked for before their turn: the answer of one comes while another is read."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, Self, TypeVar

Answer = TypeVar("Answer")


class Ahead(Generic[Answer]):
    """Asks for pages by ``ask``, so many at once, and gives their answers by number.

    At the end it waits for those that are under way.
    """

    def __init__(self, ask: Callable[[int], Answer], in_flight: int) -> None:
        self._ask = ask
        self._in_flight = in_flight
        self._pool = ThreadPoolExecutor(in_flight)
        self._waiting: dict[int, Future[Answer]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def take(self, page: int, last: int) -> Answer:
        """Return the answer of a page, or raise its error; the next are asked for, to ``last``."""
        for number in range(page, min(page + self._in_flight, last + 1)):
            if number not in self._waiting:
                self._waiting[number] = self._pool.submit(self._ask, number)
        return self._waiting.pop(page).result()
