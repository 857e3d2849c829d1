"""Starts no test after a deadline: a plugin of pytest for the workers of pytest-xdist.

The controller sends `deadline`, by the monotonic clock, and `order`, paths of test modules. A
worker returns the tests that it left out as `late`.
"""

import time
from collections.abc import Generator
from typing import Any

import pytest

LATE = pytest.StashKey[list[str]]()
"""Tests that a worker left out."""


def limits_of(config: pytest.Config) -> dict[str, Any]:
    """Return what the controller has sent to a worker; nothing in the controller itself."""
    return getattr(config, "workerinput", {}).get("limits", {})


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> Generator[None, None, None]:
    """Sort the tests by the order of their modules, after each conftest.py has sorted them."""
    yield
    place = {path: number for number, path in enumerate(limits_of(config).get("order", ()))}
    items.sort(key=lambda item: place.get(item.nodeid.partition("::")[0], len(place)))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> bool | None:
    """Leave out a test that would begin after the deadline."""
    if time.monotonic() < limits_of(item.config).get("deadline", float("inf")):
        return None
    item.config.stash.setdefault(LATE, []).append(item.nodeid)
    return True


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Return the tests that were left out to the controller."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["late"] = session.config.stash.get(LATE, [])
