"""One partition from its source through its contract, with evidence of whatever is refused."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from orchestration_project.contracts import Checked
from orchestration_project.errors import MovedError, OrchestrationError
from orchestration_project.resources.captures import Capture
from orchestration_project.resources.warehouse import Delivery, Order, Warehouse

READS_OF_A_MOVING_SOURCE = 3

Read = Callable[[list[Capture]], Delivery]
"""Reads a delivery; appends everything that came to the list, also what cannot be used."""

Check = Callable[[Delivery], Checked]


@dataclass(frozen=True)
class Intake:
    """A delivery that was read and checked, and how long each took."""

    delivery: Delivery
    checked: Checked
    read_seconds: float
    check_seconds: float


def take(
    warehouse: Warehouse, order: Order, intended: Delivery, read: Read, check: Check
) -> Intake:
    """Read a delivery and check it; a source that moves meanwhile is read again.

    What was fetched and cannot be used is recorded in `captures` all the same, as of ``intended``.

    Raises:
        OrchestrationError: As ``read`` and ``check`` do; nothing is landed.
    """
    kept: list[Capture] = []
    started = time.monotonic()
    try:
        delivery = _settled(read, kept)
        used = {id(capture) for capture in delivery.captures}
        delivery = replace(delivery, discarded=[each for each in kept if id(each) not in used])
        done = time.monotonic()
        checked = check(delivery)
        return Intake(delivery, checked, done - started, time.monotonic() - done)
    except OrchestrationError:
        if kept:
            warehouse.record_refused(order, replace(intended, discarded=kept))
        raise


def _settled(read: Read, kept: list[Capture]) -> Delivery:
    for _ in range(READS_OF_A_MOVING_SOURCE - 1):
        try:
            return read(kept)
        except MovedError:
            continue
    return read(kept)
