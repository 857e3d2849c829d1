"""Pages that are asked for before their turn: the answer of one comes while another is read."""

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import takewhile
from types import TracebackType
from typing import Generic, Self, TypeVar

Answer = TypeVar("Answer")

PAGES_PER_BATCH = 8
"""Pages that a thread requests before it hands them over: to wake another thread takes a fifth of
the time of a request to a source near by."""


class PagePrefetcher(Generic[Answer]):
    """Asks for pages by ``fetch``, so many at once, and gives their answers by number.

    At the end it waits for those that are under way.
    """

    def __init__(self, fetch: Callable[[int], Answer], in_flight: int) -> None:
        self._fetch = fetch
        self._window = in_flight * PAGES_PER_BATCH
        self._pool = ThreadPoolExecutor(in_flight)
        self._is_over = threading.Event()
        self._waiting: dict[int, Future[Mapping[int, Answer | Exception]]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_over.set()
        self._pool.shutdown(cancel_futures=True)

    def take(self, page: int, last: int) -> Answer:
        """Return the answer of a page, or raise its error; the next are requested, to ``last``."""
        for number in range(page, min(page + self._window, last + 1)):
            if number not in self._waiting:
                following = range(number, min(number + PAGES_PER_BATCH, last + 1))
                row = list(takewhile(lambda each: each not in self._waiting, following))
                self._waiting |= dict.fromkeys(row, self._pool.submit(self._answers, row))
        answer = self._waiting.pop(page).result()[page]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _answers(self, pages: Sequence[int]) -> Mapping[int, Answer | Exception]:
        """Request pages until one fails: what came before it counts all the same."""
        answers: dict[int, Answer | Exception] = {}
        for page in pages:
            if self._is_over.is_set():
                break
            try:
                answers[page] = self._fetch(page)
            except Exception as error:  # noqa: BLE001 - raised where the page is taken
                answers[page] = error
                break
        return answers
