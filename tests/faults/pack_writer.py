"""Writes packs of captures into a place, records and cleans them up, until it is killed.

`python -m tests.faults.pack_writer URL FOLDER SEED` prints a line for each round.
"""

import hashlib
import os
import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from random import Random

from orchestration_project.engine.captures import Captures, build_capture
from orchestration_project.engine.connections.artifacts import FolderStore
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.retention import CAPTURED
from orchestration_project.engine.packs import Blob
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.capture_log import (
    CaptureGroup,
    CaptureLog,
    read_blobs,
)
from orchestration_project.services.cleanup.removing import Retention, clean_up, plan_cleanup

BODIES, PER_DELIVERY, DOCUMENTS = 400, 12, 3
DAY = timedelta(days=1)
KEEP_ONE = Retention({CAPTURED: 10}, keep_newest=1)


def body(number: int) -> bytes:
    """Return one of the bodies, a page of a few KB."""
    return hashlib.sha256(b"%d" % number).digest() * (20 + number % 60)


class Writer:
    """Delivers documents, of which some pages were delivered before, and cleans up."""

    def __init__(self, warehouse: Warehouse, folder: Path, random: Random) -> None:
        self._warehouse = warehouse
        self._store = FolderStore(folder)
        self._random = random

    def deliver(self, number: int) -> None:
        """Capture and record the pages of a document."""
        now = Clock().now()
        key = f"document{number % DOCUMENTS}"
        bodies = [body(self._random.randrange(BODIES)) for _ in range(PER_DELIVERY)]
        fetched = [
            build_capture(content, url="u", request={}, fetched_at=now) for content in bodies
        ]
        kept = Captures(self._store).keep_all(fetched, self._known)
        group = CaptureGroup(
            group_id=f"documents:{key}#{number}",
            table_name="documents",
            partition_key=key,
            source="webhooks",
            dataset="documents",
            source_version=str(number),
            part_count=len(kept),
            rule_version="1",
            run_id="r",
        )
        with self._warehouse.writing() as connection:
            CaptureLog(now).record(connection, kept, group)

    def clean_up(self) -> None:
        """Let all that is stored be old, and remove what nothing needs."""
        at = (Clock().now() - 14 * DAY).timestamp()
        for path in Path(self._store.folder).rglob("*.*"):
            if path.is_file():
                os.utime(path, (at, at))
        later = Clock().now() + 20 * DAY
        plan = plan_cleanup(self._warehouse, self._store, KEEP_ONE, now=later)
        clean_up(self._warehouse, self._store, plan, now=Clock().now(), run_id=str(os.getpid()))

    def _known(self, wanted: Sequence[str]) -> dict[str, Blob]:
        with self._warehouse.reading() as connection:
            return read_blobs(connection, wanted)


def main(url: str, folder: str, seed: str) -> None:
    """Write until the end."""
    random = Random(seed)  # noqa: S311 - no secret
    number = time.time_ns() // 10**6  # later deliveries have higher ones
    with Warehouse(url, clock=Clock()) as warehouse:
        writer = Writer(warehouse, Path(folder), random)
        while True:
            number += 1
            writer.deliver(number)
            if number % 4 == 0:
                writer.clean_up()
            sys.stdout.write(f"{number}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
