"""Resources that are opened within the step that uses them.

Dagster opens a run's resources before its first step: what fails there ends the run, without
another attempt and without a word of what was to be done. In the step, the runner sees it.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from threading import Lock
from typing import Any


class Lazy:
    """Stands for a resource, which is opened when anything of it is first asked for.

    Where that fails, the next use tries again. What is ``known`` of it, by name, opens nothing.
    """

    def __init__(self, opening: Callable[[], Any], **known: object) -> None:
        vars(self).update(known)
        self._opening = opening
        self._lock = Lock()
        self._opened: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # a look at what kind of thing this is, and no use
            raise AttributeError(name)
        return getattr(self.open_it(), name)

    def open_it(self) -> Any:
        """Return the resource, opened once."""
        with self._lock:
            if not self._opened:
                self._opened.append(self._opening())
            return self._opened[0]


@contextmanager
def at_first_use(
    opening: Callable[[], AbstractContextManager[Any]], **known: object
) -> Iterator[Any]:
    """Give what stands for the resource of ``opening``; close it at the end, if it was opened."""
    with ExitStack() as stack:
        yield Lazy(lambda: stack.enter_context(opening()), **known)


def open_all(*resources: object) -> None:
    """Open those of ``resources`` that wait for their first use, in this order."""
    for each in resources:
        if isinstance(each, Lazy):
            each.open_it()
