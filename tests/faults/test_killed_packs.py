"""A process killed while it writes packs or cleans them up loses no bytes that a row needs."""

import subprocess
import sys

import pytest
from sqlalchemy import func, select

from orchestration_project.engine.captures import Captures
from orchestration_project.engine.connections.artifacts import FolderStore
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.packs import Blob
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.capture_log import read_blobs
from orchestration_project.services.inventory import take_inventory
from orchestration_project.settings import PROJECT_ROOT
from orchestration_project.tables.spine import captures, deliveries
from tests.faults.matrix import case_name, strikes
from tests.programs import kill_after

pytestmark = pytest.mark.faults

MAX_SECONDS = 0.4


def newest_blobs(warehouse: Warehouse) -> list[Blob]:
    """Return the blobs of the newest delivery of each document, which no clean-up removes."""
    newest = select(deliveries.c.partition_key, func.max(deliveries.c.recorded_at).label("at"))
    newest = newest.group_by(deliveries.c.partition_key).subquery()
    of_newest = (
        select(captures.c.sha256)
        .join(deliveries, deliveries.c.group_id == captures.c.group_id)
        .join(
            newest,
            (newest.c.partition_key == deliveries.c.partition_key)
            & (newest.c.at == deliveries.c.recorded_at),
        )
    )
    with warehouse.reading() as connection:
        wanted = connection.scalars(of_newest).all()
        return list(read_blobs(connection, wanted).values())


@pytest.mark.parametrize(
    ("fault", "database"), strikes("killed while packs are written"), ids=case_name
)
def test_every_row_has_its_bytes_whenever_a_writer_or_a_clean_up_of_packs_is_killed(
    fault, database, campaign, prepared, tmp_path
):
    random = campaign.random(fault.name, database)
    url = prepared.sqlite(tmp_path / "tables.sqlite")
    folder = tmp_path / "store"
    folder.mkdir()
    packs = 0
    with Warehouse(url, clock=Clock()) as warehouse:
        warehouse.prepare(holds="real")
        for number in range(campaign.kills):
            command = [sys.executable, "-m", "tests.faults.pack_writer", url, str(folder)]
            writer = subprocess.Popen(  # noqa: S603 - this project's
                [*command, f"{campaign.seed} {number}"], stdout=subprocess.PIPE, cwd=PROJECT_ROOT
            )
            assert writer.stdout is not None
            assert writer.stdout.readline(), writer.wait()
            kill_after(writer.pid, random.uniform(0, MAX_SECONDS))
            writer.communicate()
            found = take_inventory(warehouse, FolderStore(folder), read_all=True)
            assert (found.found.missing, found.found.resized, found.changed) == ([], [], [])
            needed = newest_blobs(warehouse)
            for blob in needed:
                Captures(FolderStore(folder)).read(blob)
            packs += len({blob.storage_uri for blob in needed if blob.byte_offset is not None})
    assert packs
