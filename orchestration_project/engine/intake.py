"""One partition from its source through its contract, with evidence of whatever is refused."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from orchestration_project.contracts.rules import Validated
from orchestration_project.engine.captures import Capture
from orchestration_project.engine.warehouse import (
    AsFile,
    Delivery,
    StagedBatch,
    Warehouse,
    WriteTarget,
    prepare,
)
from orchestration_project.errors import MovedError, OrchestrationError

READS_OF_A_MOVING_SOURCE = 3

Read = Callable[[list[Capture]], Delivery]
"""Reads a delivery; appends everything that came to the list, also what cannot be used."""

Check = Callable[[Delivery], Validated]


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
    prepared: StagedBatch
    read_seconds: float
    check_seconds: float

    @property
    def checked(self) -> Validated:
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
            rows=self.checked.row_count,
            rejects=len(self.checked.rejects),
            audit_outcomes=Counter(audit.outcome for audit in self.checked.audits),
            read_seconds=self.read_seconds,
            check_seconds=self.check_seconds,
        )


def take(
    warehouse: Warehouse,
    order: WriteTarget,
    intended: Delivery,
    read: Read,
    check: Check,
    as_file: AsFile | None = None,
) -> Intake:
    """Read a delivery, check and prepare it; a source that moves meanwhile is read again.

    What was fetched and cannot be used is recorded in `captures` all the same: where it was not
    read whole, as of ``intended``. ``as_file`` makes what is staged of the rows, if anything is.

    Raises:
        OrchestrationError: As ``read`` and ``check`` do; nothing is landed.
    """
    kept: list[Capture] = []
    started = time.monotonic()
    delivery = None
    with evidence_kept(
        warehouse, order, kept, lambda: delivery or replace(intended, discarded=kept)
    ):
        delivery = with_discarded(_settled(read, kept), kept)
        done = time.monotonic()
        prepared = prepare(order, delivery, check(delivery), as_file)
    return Intake(without_bodies(delivery), prepared, done - started, time.monotonic() - done)


@contextmanager
def evidence_kept(
    warehouse: Warehouse, order: WriteTarget, kept: Sequence[Capture], found: Callable[[], Delivery]
) -> Iterator[None]:
    """Record the delivery ``found`` so far where it turns out to be unusable, if any was ``kept``.

    Raises:
        SupersededError: Another delivery of the partition came first; nothing is recorded.
    """
    try:
        yield
    except OrchestrationError:
        if kept:
            warehouse.record_refused(order, found())
        raise


def with_discarded(delivery: Delivery, kept: Sequence[Capture]) -> Delivery:
    """Return a delivery with those of the ``kept`` captures that do not make it up."""
    used = {id(capture) for capture in delivery.captures}
    return replace(delivery, discarded=[each for each in kept if id(each) not in used])


def without_bodies(delivery: Delivery) -> Delivery:
    """Return a delivery whose captures are without their bytes, which the artifact store has."""
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
