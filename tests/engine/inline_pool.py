"""What tests use of a pool, and one in the caller's thread for functions that soon return."""

from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from typing import Protocol

from orchestration_project.engine.pool_worker import describe
from orchestration_project.engine.pools import ItemT, Results, ResultT, build_item_error
from orchestration_project.errors import OrchestrationError


class Pool(Protocol):
    """Applies a function to items, as `ProcessPool` does."""

    def run(
        self, function: Callable[[ItemT], ResultT], items: Iterable[ItemT], *, timeout: timedelta
    ) -> Iterator[tuple[ItemT, ResultT | OrchestrationError]]: ...


class _Inline:
    """Limits neither time nor memory."""

    def run(
        self, function: Callable[[ItemT], ResultT], items: Iterable[ItemT], *, timeout: timedelta
    ) -> Results[ItemT, ResultT]:
        for item in items:
            try:
                yield item, function(item)
            except OrchestrationError as error:
                yield item, error
            except Exception as error:  # noqa: BLE001 - any exception fails its item alone
                yield item, build_item_error(describe(error))


INLINE: Pool = _Inline()
