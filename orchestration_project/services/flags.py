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
    require_unexpired,
    uses_by_flag,
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
        return flags_in_effect(connection, now, *names)


def flags_in_effect(connection: Connection, now: datetime, *names: str) -> FlagSet:
    """Return the flags of these names, or all, as of a time."""
    stored = FLAG_STORE.read(connection, *names)
    return FlagSet({each.definition.name: each.definition for each in stored}, now)


@dataclass(frozen=True)
class FlagUses:
    """Registers a reader of the uses of flags by a domain."""

    read: Callable[[Settings], Sequence[FlagUse]]


def flag_uses(
    connection: Connection, registry: Registry, settings: Settings
) -> Mapping[str, list[str]]:
    """Return the uses of each flag, by stored schedules and in declarations of domains."""
    wanted = select(schedules.c.flag, schedules.c.name).where(schedules.c.flag.is_not(None))
    found = [FlagUse(flag, f"schedule {name}") for flag, name in connection.execute(wanted)]
    declared = (use for uses in registry.registered(FlagUses) for use in uses.read(settings))
    return uses_by_flag([*found, *declared])


def show_flags(
    stored: Sequence[StoredFlag], used: Mapping[str, list[str]], now: datetime
) -> list[FlagShown]:
    """Return flags with what uses them, as the API and the metadata show them."""
    return [
        FlagShown(
            **dict(each.definition),
            version=each.version_number,
            is_expired=each.definition.is_expired(now),
            used_by=used.get(each.definition.name, []),
            edited_by=each.edited_by,
            edited_at=each.edited_at,
        )
        for each in stored
    ]
