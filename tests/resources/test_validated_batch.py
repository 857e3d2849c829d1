"""A partition on its way from the source through the contract."""

from collections.abc import Iterator
from hashlib import sha256

import polars as pl
import pytest
from sqlalchemy import select

from orchestration_project.domains.finra.tables.weekly import finra_otc_weekly
from orchestration_project.engine.contracts.audits import Validated
from orchestration_project.engine.contracts.frame_types import REJECT_SCHEMA
from orchestration_project.engine.loader import READS_OF_A_MOVING_SOURCE, take
from orchestration_project.engine.warehouse import SupersededError, Warehouse
from orchestration_project.errors import ContractError, MovedError, SourceError, TransientError
from orchestration_project.tables.spine import blobs, captures, landings
from tests.resources.weeks import PartitionLoader, StoppedClock, frame, row


@pytest.fixture
def partition_loader(tmp_path, prepared) -> Iterator[PartitionLoader]:
    with Warehouse(prepared.sqlite(tmp_path / "x.sqlite"), clock=StoppedClock()) as warehouse:
        warehouse.prepare(holds="real")
        yield PartitionLoader(warehouse, tmp_path / "artifacts")


def check(delivery) -> Validated:
    assert delivery.captures
    return Validated(frame([row()]), pl.DataFrame(schema=REJECT_SCHEMA))


def reader(partition_loader, *outcomes):
    """Return a `Read` that fetches a page and then raises, or gives the delivery, one by one."""
    left = list(outcomes)

    def read(kept):
        number = len(outcomes) - len(left) + 1
        page = partition_loader.capture(f"page {number}".encode())
        kept.append(page)
        outcome = left.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return partition_loader.delivery(outcome, captures=[page])

    return read


def taken(partition_loader, *outcomes, target=None, check=check):
    return take(
        partition_loader.warehouse,
        target or partition_loader.target(),
        partition_loader.delivery("intended", captures=()),
        reader(partition_loader, *outcomes),
        check,
    )


def hashes(captures):
    return [capture.sha256 for capture in captures]


def recorded(partition_loader):
    return (
        partition_loader.rows(captures, "group_id"),
        partition_loader.count(blobs),
        partition_loader.count(landings),
    )


def test_a_delivery_is_read_and_checked_and_nothing_is_recorded_yet(partition_loader):
    batch = taken(partition_loader, "v1")
    assert (batch.delivery.source_version, list(batch.delivery.discarded)) == ("v1", [])
    assert len(batch.validated.rows) == 1
    assert batch.read_seconds >= 0
    assert batch.check_seconds >= 0
    assert recorded(partition_loader) == ([], 0, 0)


def test_a_source_that_settles_is_read_again_and_what_came_before_is_discarded_evidence(
    partition_loader,
):
    target = partition_loader.target()
    batch = taken(partition_loader, MovedError("moved"), MovedError("moved"), "v3", target=target)
    assert hashes(batch.delivery.captures) == [sha256(b"page 3").hexdigest()]
    assert hashes(batch.delivery.discarded) == [
        sha256(page).hexdigest() for page in (b"page 1", b"page 2")
    ]
    assert {capture.body for capture in batch.delivery.all_captures} == {b""}
    partition_loader.warehouse.write_batch(batch)
    assert partition_loader.count(captures) == 3
    ids = dict(partition_loader.rows(captures, "part_number", "capture_id"))
    assert partition_loader.rows(finra_otc_weekly, "capture_id") == [(ids[1],)]


def test_a_source_that_never_settles_is_transient_and_all_that_came_is_recorded(partition_loader):
    moves = [MovedError("moved")] * READS_OF_A_MOVING_SOURCE
    with pytest.raises(TransientError, match="moved"):
        taken(partition_loader, *moves, "one too many")
    group = f"finra_otc_weekly:{partition_loader.partition_key}#1"
    assert recorded(partition_loader) == ([(group,)] * 3, 3, 0)


def test_what_came_before_a_refusal_is_recorded_as_intended(partition_loader):
    with pytest.raises(SourceError, match="no data"):
        taken(partition_loader, SourceError("no data"))
    with partition_loader.warehouse.reading() as connection:
        [stored] = connection.execute(select(captures))
    assert (stored.source, stored.dataset, stored.run_id) == ("api", "weeklySummary", "run")
    assert partition_loader.warehouse.known_versions(finra_otc_weekly) == {}


def test_what_cannot_be_checked_is_recorded(partition_loader):
    def refuse(delivery):
        raise ContractError("lacks MPID")

    with pytest.raises(ContractError, match="lacks MPID"):
        taken(partition_loader, "v1", check=refuse)
    assert recorded(partition_loader)[1:] == (1, 0)


def test_a_defect_in_a_check_is_a_defect_and_records_nothing(partition_loader):
    with pytest.raises(ZeroDivisionError):
        taken(partition_loader, "v1", check=lambda delivery: 1 / 0)
    assert recorded(partition_loader) == ([], 0, 0)


def test_a_source_that_gave_nothing_leaves_nothing(partition_loader):
    def read(kept):
        raise SourceError("unreachable")

    with pytest.raises(SourceError, match="unreachable"):
        take(
            partition_loader.warehouse,
            partition_loader.target(),
            partition_loader.delivery(captures=()),
            read,
            check,
        )
    assert recorded(partition_loader) == ([], 0, 0)
    assert (
        partition_loader.warehouse.state(finra_otc_weekly, partition_loader.partition_key).token
        == 0
    )


def test_a_refusal_after_another_run_has_delivered_is_superseded(partition_loader):
    target = partition_loader.target()
    partition_loader.write_batch(row())
    with pytest.raises(SupersededError) as superseded:
        taken(partition_loader, SourceError("no data"), target=target)
    assert isinstance(superseded.value.__context__, SourceError)
