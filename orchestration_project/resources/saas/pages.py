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

from orchestration_project.domains.saas.tables import saas_source_states
from orchestration_project.engine.captures import Capture
from orchestration_project.engine.connections.files import open_partial_file
from orchestration_project.engine.contracts.frame_types import REJECT_SCHEMA
from orchestration_project.engine.contracts.rules import escape_bytes
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.capture_log import CaptureGroup, CaptureLog
from orchestration_project.engine.warehouse.delivery import group_of
from orchestration_project.errors import ConfigurationError
from orchestration_project.resources.saas.systems import UnreadableRecord
from orchestration_project.tables.spine import blobs

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CachedPage:
    """Cached page.

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
        """Return the cached pages, by SHA-256."""
        try:
            document = json.loads(self._file.read_bytes())
            if document["name"] != name:
                return {}
            return {sha256: CachedPage(**fields) for sha256, fields in document["pages"].items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            log.warning(
                "%s cannot be read, so all pages are fetched: %s",
                self._file,
                error,
                extra={"event": "page_cache_unavailable"},
            )
            return {}

    def keep(self, name: str, pages: Mapping[str, CachedPage]) -> None:
        """Keep just these.

        Raises:
            ConfigurationError: The file cannot be written.
        """
        content = {"name": name, "pages": {sha256: asdict(page) for sha256, page in pages.items()}}
        folder = self._file.parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with open_partial_file(folder, prefix=self._file.stem, suffix=".partial") as (
                file,
                partial,
            ):
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
    unreadable: Sequence[UnreadableRecord],
    *,
    system: str,
    source: str,
    run_id: str,
    at: datetime,
) -> None:
    """Record the pages whose bytes were never recorded, and what is unreadable on them."""
    first = {capture.sha256: capture for capture in kept}
    with warehouse.reading() as connection:
        known_names = _find_known(connection, list(first))
    new = [capture for sha256, capture in first.items() if sha256 not in known_names]
    if not new:
        return
    polled_at = round(at.timestamp() * 1_000_000)  # polls load nothing as a whole, nor count
    group = CaptureGroup(
        group_id=group_of(saas_source_states, system, polled_at + 1),
        table_name=saas_source_states.name,
        partition_key=system,
        source=source,
        dataset=system,
        source_version=f"{len(kept)} pages",
        part_count=len(new),
        rule_version=RULE_VERSION,
        run_id=run_id,
    )
    with warehouse.writing() as connection:
        CaptureLog(at).record(connection, new, group, _build_rejects(new, unreadable))


def _find_known(connection: Connection, hashes: Sequence[str]) -> set[str]:
    names: set[str] = set()
    for start in range(0, len(hashes), IN_ONE_STATEMENT):
        batch = hashes[start : start + IN_ONE_STATEMENT]
        query = select(blobs.c.sha256).where(blobs.c.sha256.in_(batch))
        names |= set(connection.execute(query).scalars())
    return names


def _build_rejects(new: Sequence[Capture], unreadable: Sequence[UnreadableRecord]) -> pl.DataFrame:
    parts = {capture.sha256: number for number, capture in enumerate(new, start=1)}
    rows = {
        (parts[unreadable_record.sha256], unreadable_record.line_number): unreadable_record
        for unreadable_record in unreadable
        if unreadable_record.sha256 in parts
    }
    return pl.DataFrame(
        [
            (
                part,
                line,
                "unreadable",
                unreadable_record.reason,
                0,
                escape_bytes(unreadable_record.record.encode()),
            )
            for (part, line), unreadable_record in sorted(rows.items())
        ],
        REJECT_SCHEMA,
        orient="row",
    )
