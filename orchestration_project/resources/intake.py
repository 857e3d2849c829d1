"""One partition from its source through its contract, with evidence of whatever is refused."""

from collections.abc import Callable
from dataclasses import replace

from orchestration_project.contracts import Checked
from orchestration_project.errors import MovedError, OrchestrationError
from orchestration_project.resources.captures import Capture
from orchestration_project.resources.warehouse import Delivery, Order, Warehouse

READS_OF_A_MOVING_SOURCE = 3

Read = Callable[[list[Capture]], Delivery]
"""Reads a delivery; appends everything that came to the list, also what cannot be used."""

Check = Callable[[Delivery], Checked]


def take(
    warehouse: Warehouse, order: Order, intended: Delivery, read: Read, check: Check
) -> tuple[Delivery, Checked]:
    """Read a delivery and check it; a source that moves meanwhile is read again.

    What was fetched and cannot be used is recorded in `captures` all the same, as of ``intended``.

    Raises:
        OrchestrationError: As ``read`` and ``check`` do; nothing is landed.
    """
    kept: list[Capture] = []
    try:
        delivery = _settled(read, kept)
        used = {id(capture) for capture in delivery.captures}
        delivery = replace(delivery, discarded=[each for each in kept if id(each) not in used])
        return delivery, check(delivery)
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
