"""Flags as everything reads them: one that is missing or expired is off."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from orchestration_project.engine.contracts.api.edits import FlagShown
from orchestration_project.engine.contracts.edits import Stored
from orchestration_project.engine.contracts.flags import (
    FLAG_KIND,
    Flag,
    FlagSet,
    FlagUse,
    StoredFlag,
    find_problems,
    group_uses,
    require_unexpired,
)
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.registry import Registry
from orchestration_project.services.edits import EditStore
from orchestration_project.settings import Settings
from orchestration_project.tables.operations_edits import (
    operations_flag_versions,
    operations_flags,
)
from orchestration_project.tables.operations_edits import operations_schedules as schedules


class FlagStore(EditStore[Flag, StoredFlag]):
    """The stored flags."""

    def judged(
        self, connection: Connection, before: StoredFlag | None, after: StoredFlag
    ) -> StoredFlag:
        """Return the flag that an edit makes.

        Raises:
            ConfigurationError: It is new, and has expired already.
        """
        if before is None:
            require_unexpired(after.definition, after.edited_at)
        return after


FLAG_STORE = FlagStore(
    *(FLAG_KIND, Stored, operations_flags, operations_flag_versions),
    json_fields=["listed_keys"],
)


def read_flags(warehouse: Warehouse, now: datetime, *names: str) -> FlagSet:
    """Return the flags of these names, or all, as of a time."""
    with warehouse.reading() as connection:
        return select_flags(connection, now, *names)


def select_flags(connection: Connection, now: datetime, *names: str) -> FlagSet:
    """Return the flags of these names, or all, as of a time."""
    stored = FLAG_STORE.read(connection, *names)
    return FlagSet({each.definition.name: each.definition for each in stored}, now)


@dataclass(frozen=True)
class FlagUses:
    """Registers a reader of the uses of flags by a domain."""

    read: Callable[[Settings], Sequence[FlagUse]]


@dataclass(frozen=True)
class FlagReport:
    """Flags with what uses them, as of a time.

    Attributes:
        stored: Flags by name.
        used: What uses each flag, stored or not.
        now: Time at which flags may have expired.
    """

    stored: Sequence[StoredFlag]
    used: Mapping[str, list[str]]
    now: datetime

    @property
    def problems(self) -> list[str]:
        """Each flag that is expired, unused or missing."""
        return find_problems([stored.definition for stored in self.stored], self.used, self.now)

    @property
    def shown(self) -> list[FlagShown]:
        """The flags, as the API and the metadata show them."""
        return [
            FlagShown(
                **dict(stored.definition),
                version=stored.version_number,
                is_expired=stored.definition.is_expired(self.now),
                used_by=self.used.get(stored.definition.name, []),
                edited_by=stored.edited_by,
                edited_at=stored.edited_at,
            )
            for stored in self.stored
        ]


def report_flags(
    warehouse: Warehouse, registry: Registry, settings: Settings, now: datetime
) -> FlagReport:
    """Return the flags with their uses by stored schedules and in declarations of domains."""
    query = select(schedules.c.flag, schedules.c.name).where(schedules.c.flag.is_not(None))
    with warehouse.reading() as connection:
        stored = FLAG_STORE.read(connection)
        uses = [FlagUse(flag, f"schedule {name}") for flag, name in connection.execute(query)]
    declared = (use for uses in registry.registered(FlagUses) for use in uses.read(settings))
    return FlagReport(stored, group_uses([*uses, *declared]), now)
