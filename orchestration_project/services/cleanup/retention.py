"""Retention of domains: captured bytes of datasets, and contents of rows, that go by age."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import NamedTuple, Protocol

from sqlalchemy import Connection

from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.registry import Registry
from orchestration_project.settings import Settings


class ExpiredRows(NamedTuple):
    """Number of rows, and bytes of what they hold."""

    row_count: int
    byte_count: int


class RowRetention(Protocol):
    """Rows that lose contents by age, together with the captured bytes of these."""

    @property
    def kind(self) -> str:
        """Contents that are removed, in words."""
        ...

    def measure(self, connection: Connection, now: datetime) -> ExpiredRows:
        """Return number and bytes of what is old."""
        ...

    def unneeded_blobs(self, connection: Connection, now: datetime) -> set[str]:
        """Return the SHA-256 of captured bytes that only old or removed contents need."""
        ...

    def remove(self, warehouse: Warehouse, now: datetime) -> ExpiredRows:
        """Remove the expired rows from the tables, and return their number and bytes."""
        ...


class DomainRetention(NamedTuple):
    """Data of a domain that goes by age.

    Attributes:
        captured_days: Days after which captured bytes of datasets that no current row needs are
            cleaned up, by source and dataset, in place of ARTIFACTS_CAPTURED_DAYS.
        rows: Rows that are emptied by age, with their captured bytes.
    """

    captured_days: Mapping[tuple[str, str], int] = MappingProxyType({})
    rows: Sequence[RowRetention] = ()


@dataclass(frozen=True)
class RetentionReader:
    """Registers a reader of the data of a domain that goes by age."""

    read: Callable[[Settings], DomainRetention]


def read_retention(registry: Registry, settings: Settings) -> DomainRetention:
    """Return the data of all domains, those that are off included, that goes by age."""
    domain_retentions = [
        reader.read(settings) for reader in registry.whole.registered(RetentionReader)
    ]
    return DomainRetention(
        {
            text: days
            for domain_retention in domain_retentions
            for text, days in domain_retention.captured_days.items()
        },
        [rule for domain_retention in domain_retentions for rule in domain_retention.rows],
    )
