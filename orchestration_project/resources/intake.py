"""One partition from its source through its contract, with evidence of whatever is refused."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from orchestration_project.contracts import Checked
from orchestration_project.errors import MovedError, OrchestrationError
from orchestration_project.resources.captures import Capture
from orchestration_project.resources.warehouse import Delivery, Order, Prepared, Warehouse, prepare

READS_OF_A_MOVING_SOURCE = 3

Read = Callable[[list[Capture]], Delivery]
"""Reads a delivery; appends everything that came to the list, also what cannot be used."""

Check = Callable[[Delivery], Checked]


@dataclass(frozen=True)
class IntakeFigures:
    """What there is to tell of an intake once its bytes and rows are let go."""

    captures: int
    lines: int
    bytes: int
    stored_bytes: int
    rows: int
    rejects: int
    audit_outcomes: Mapping[str, int]
    read_seconds: float
    check_seconds: float


@dataclass(frozen=True)
class Intake:
    """A delivery that was read, checked and made ready to land, and how long that took.

    Its captures are without their bytes: two partitions are in memory at a time.
    """

    delivery: Delivery
    prepared: Prepared
    read_seconds: float
    check_seconds: float

    @property
    def checked(self) -> Checked:
        """The delivery after its contract."""
        return self.prepared.checked

    @property
    def figures(self) -> IntakeFigures:
        """Its figures, which hold nothing of its data."""
        captures = self.delivery.all_captures
        return IntakeFigures(
            captures=len(captures),
            lines=sum(each.fetched.row_count or 0 for each in captures),
            bytes=sum(each.byte_count for each in captures),
            stored_bytes=sum(each.stored_byte_count for each in captures),
            rows=len(self.checked.rows),
            rejects=len(self.checked.rejects),
            audit_outcomes=Counter(audit.outcome for audit in self.checked.audits),
            read_seconds=self.read_seconds,
            check_seconds=self.check_seconds,
        )


def take(
    warehouse: Warehouse, order: Order, intended: Delivery, read: Read, check: Check
) -> Intake:
    """Read a delivery, check and prepare it; a source that moves meanwhile is read again.

    What was fetched and cannot be used is recorded in `captures` all the same: where it was not
    read whole, as of ``intended``.

    Raises:
        OrchestrationError: As ``read`` and ``check`` do; nothing is landed.
    """
    kept: list[Capture] = []
    started = time.monotonic()
    delivery = None
    try:
        delivery = _settled(read, kept)
        used = {id(capture) for capture in delivery.captures}
        delivery = replace(delivery, discarded=[each for each in kept if id(each) not in used])
        done = time.monotonic()
        prepared = prepare(order, delivery, check(delivery))
        delivery = _without_bodies(delivery)
        return Intake(delivery, prepared, done - started, time.monotonic() - done)
    except OrchestrationError:
        if kept:
            warehouse.record_refused(order, delivery or replace(intended, discarded=kept))
        raise


def _without_bodies(delivery: Delivery) -> Delivery:
    return replace(
        delivery,
        captures=[each.without_body() for each in delivery.captures],
        discarded=[each.without_body() for each in delivery.discarded],
    )


def _settled(read: Read, kept: list[Capture]) -> Delivery:
    for _ in range(READS_OF_A_MOVING_SOURCE - 1):
        try:
            return read(kept)
        except MovedError:
            continue
    return read(kept)
