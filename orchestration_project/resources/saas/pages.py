"""Pages of tasks: read, captured, and remembered by their hash."""

import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import polars as pl
from sqlalchemy import Connection, select

from orchestration_project.connections.files import partial_file
from orchestration_project.contracts.rules import REJECT_SCHEMA, Validated, in_ascii
from orchestration_project.engine.captures import Capture
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.delivery import (
    Delivery,
    StagedBatch,
    WriteRequest,
    WriteTarget,
)
from orchestration_project.engine.warehouse.fencing import record_evidence
from orchestration_project.errors import ConfigurationError
from orchestration_project.resources.saas.systems import Unreadable
from orchestration_project.tables.saas import saas_source_states
from orchestration_project.tables.spine import blobs

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CachedPage:
    """What a page said.

    Attributes:
        page: Its number, from 1.
        pages: How many there are.
        count: How many tasks there are on all of them.
        digests: Of its tasks, by their id.
    """

    page: int
    pages: int
    count: int
    digests: Mapping[str, str]


class PageMemory:
    """The pages of the latest look, by the SHA-256 of their bytes, in a file.

    They follow from the bytes and ``name``, which says how digests are made. So a file that is
    lost, damaged or of another name costs a look its time, and nothing else.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    def recalled(self, name: str) -> dict[str, CachedPage]:
        """Return what is known of pages."""
        try:
            kept = json.loads(self._file.read_bytes())
            if kept["name"] != name:
                return {}
            return {sha256: CachedPage(**fields) for sha256, fields in kept["pages"].items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            log.warning("%s cannot be used, so all pages are read: %s", self._file, error)
            return {}

    def keep(self, name: str, pages: Mapping[str, CachedPage]) -> None:
        """Keep just these.

        Raises:
            ConfigurationError: The file cannot be written.
        """
        content = {"name": name, "pages": {sha256: asdict(each) for sha256, each in pages.items()}}
        folder = self._file.parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with partial_file(folder, prefix=self._file.stem, suffix=".partial") as (file, partial):
                file.write(json.dumps(content, separators=(",", ":")).encode())
                partial.replace(self._file)
        except OSError as error:
            raise ConfigurationError(
                f"cannot write {self._file}",
                expected="a folder with free space, ours to write",
                found=os.strerror(error.errno or 0),
                remedy="mend the permissions of STATE_DIR, or free some disk",
            ) from error


IN_ONE_STATEMENT = 500
RULE_VERSION = "1"


def record_new_pages(
    warehouse: Warehouse,
    kept: Sequence[Capture],
    unreadable: Sequence[Unreadable],
    *,
    system: str,
    source: str,
    run_id: str,
    at: datetime,
) -> None:
    """Record the pages whose bytes were never recorded, and what is unreadable on them."""
    first = {each.sha256: each for each in kept}
    with warehouse.reading() as connection:
        known = _known(connection, list(first))
    new = [each for sha256, each in first.items() if sha256 not in known]
    if not new:
        return
    delivery = Delivery(source, system, f"{len(kept)} pages", None, {}, new)
    checked = Validated(pl.DataFrame(), _rejects(new, unreadable))
    ready = WriteRequest(_order(system, run_id, at), delivery, StagedBatch(checked, "", None))
    with warehouse.writing() as connection:
        record_evidence(connection, [ready], at, "landed")


def _known(connection: Connection, hashes: Sequence[str]) -> set[str]:
    found: set[str] = set()
    for start in range(0, len(hashes), IN_ONE_STATEMENT):
        batch = hashes[start : start + IN_ONE_STATEMENT]
        wanted = select(blobs.c.sha256).where(blobs.c.sha256.in_(batch))
        found |= set(connection.execute(wanted).scalars())
    return found


def _rejects(new: Sequence[Capture], unreadable: Sequence[Unreadable]) -> pl.DataFrame:
    parts = {each.sha256: number for number, each in enumerate(new, start=1)}
    rows = {
        (parts[each.sha256], each.line_number): each for each in unreadable if each.sha256 in parts
    }
    return pl.DataFrame(
        [
            (part, line, "unreadable", each.reason, 0, in_ascii(each.record.encode()))
            for (part, line), each in sorted(rows.items())
        ],
        REJECT_SCHEMA,
        orient="row",
    )


def _order(system: str, run_id: str, at: datetime) -> WriteTarget[None]:
    """Return what names the delivery: looks land nothing as a whole, so time is their number."""
    return WriteTarget(
        table=saas_source_states,
        history=saas_source_states,
        partition_key=system,
        partition={},
        token=round(at.timestamp() * 1_000_000),
        metadata_columns=(),
        rule_version=RULE_VERSION,
        run_id=run_id,
        derive={},
        summarise=_nothing,
    )


def _nothing(**_: pl.DataFrame) -> None:
    """Report nothing: the audit log has what follows from a page."""
