"""Ways to read captured bytes again: domains declare them, and repairs of artifacts use them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, BinaryIO, Literal, NamedTuple

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.settings import Settings


@dataclass(frozen=True, kw_only=True)
class RecordedCapture:
    """A row of `captures`, whose bytes are wanted again.

    Attributes:
        capture_id: ID of the row.
        sha256: SHA-256 of the bytes, hex.
        byte_count: Their size.
        source: Source of the delivery.
        dataset: Dataset in the source.
        partition_key: Partition of the delivery.
        group_id: The delivery.
        url: Where the bytes came from, without secrets.
        request: What was requested, without secrets.
        http_status: Status of the answer; None: it did not come over HTTP.
        fetched_at: UTC time of the last byte.
    """

    capture_id: int
    sha256: str
    byte_count: int
    source: str
    dataset: str
    partition_key: str
    group_id: str
    url: str
    request: Mapping[str, Any] = field(default_factory=dict)
    http_status: int | None
    fetched_at: datetime


@dataclass(frozen=True, kw_only=True)
class RecoveryEnvironment:
    """Surroundings of a recovery.

    Attributes:
        settings: The settings.
        warehouse: The database.
        clock: Its time.
        open: Returns an opened connection by the name of its resource, the same for one run.
    """

    settings: Settings
    warehouse: Warehouse
    clock: Clock
    open: Callable[[str], Any]


class RenderedAgain(NamedTuple):
    """An exported file that was rendered again.

    Attributes:
        file: Its bytes.
        name: Name in the artifact store of a file with these bytes.
        sha256: SHA-256 of the bytes, hex.
        byte_count: Their size.
        has_same_rows: Whether it has the rows of the damaged file: as many, of the same loads, out
            of a table with history.
    """

    file: BinaryIO
    name: str
    sha256: str
    byte_count: int
    has_same_rows: bool


@dataclass(frozen=True, kw_only=True)
class Recovery:
    """Way to read the bytes of some captures again.

    Attributes:
        way: From where: the source, with its rates, guard and switches; or rows of the database,
            from which they are derived.
        applies: Whether it can read the bytes of a capture under these settings; requests nothing.
        read: Returns the present bytes, which may differ from the captured ones; None: not found.
            Stores nothing. Raises SourceError for a permanent failure, and another
            OrchestrationError if a later attempt may succeed.
    """

    way: Literal["source", "derived"]
    applies: Callable[[RecordedCapture, Settings], bool]
    read: Callable[[RecordedCapture, RecoveryEnvironment], bytes | None]
