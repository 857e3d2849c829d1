"""Exports as a service: declared in a file, planned by loads, delivered by work items.

Here is what the file declares, and the secrets of targets; `services/export.py` writes rows. A
derived table as of a time is exported when it is requested.
"""

import hashlib
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, TypeVar

from orchestration_project.engine.connections.artifacts import ArtifactStore
from orchestration_project.engine.contracts.exports import (
    DeclaredExport,
    Target,
    read_exports,
    read_targets,
)
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import ConfigurationError, did_you_mean
from orchestration_project.redaction import hide
from orchestration_project.settings import Settings, read_secrets
from orchestration_project.settings.loading import read_declared
from orchestration_project.settings.values import passwords_in, tokens_in

if TYPE_CHECKING:
    from orchestration_project.engine.warehouse.as_of import AsOf, DerivedAsOf
    from orchestration_project.registry import Registry

T = TypeVar("T")


def read_declared_exports(settings: Settings) -> Mapping[str, DeclaredExport]:
    """Return the declared exports by name; without the default file, none.

    Raises:
        ConfigurationError: The file cannot be read or is invalid.
    """
    return _read(settings, lambda content: read_exports(content, is_valid_cron))


def is_valid_cron(text: str) -> bool:
    """Return whether a schedule takes a text as cron expression."""
    # Not at the top: most files have no schedule, and Dagster takes a second to import.
    from orchestration_project.engine.dagster_private.automation import is_valid_cron_string

    return is_valid_cron_string(text)


@dataclass(frozen=True)
class FileExports:
    """Registers a reader of the exports of a domain's files, by names EXPORTS_FILE cannot have."""

    read: Callable[[Settings], Mapping[str, DeclaredExport]]


def read_domain_exports(registry: "Registry", settings: Settings) -> Mapping[str, DeclaredExport]:
    """Return the exports that files of domains declare, beside those of EXPORTS_FILE."""
    registered = registry.registered(FileExports)
    return {
        name: export
        for file_exports in registered
        for name, export in file_exports.read(settings).items()
    }


def read_all_exports(registry: "Registry", settings: Settings) -> Mapping[str, DeclaredExport]:
    """Return the exports that EXPORTS_FILE and files of domains declare.

    Raises:
        ConfigurationError: EXPORTS_FILE cannot be read or is invalid.
    """
    return {**read_domain_exports(registry, settings), **read_declared_exports(settings)}


def read_declared_targets(settings: Settings) -> Mapping[str, Target]:
    """Return the declared targets by name; without the default file, none.

    Raises:
        ConfigurationError: The file cannot be read or is invalid.
    """
    return _read(settings, read_targets)


def _read(settings: Settings, read: Callable[[str], Mapping[str, T]]) -> Mapping[str, T]:
    path = settings.exports_path
    if path is None:
        return {}
    return read_declared(
        path,
        read,
        noun="exports",
        remedy="correct EXPORTS_FILE, or put the file there; `exports: {}` declares none",
    )


def select_exports(
    settings: Settings, names: Sequence[str], of_domains: Mapping[str, DeclaredExport]
) -> list[DeclaredExport]:
    """Return the declared exports of these names, all of the file if there is none.

    Args:
        settings: Their file.
        names: Of the file, or of ``of_domains``.
        of_domains: Exports that files of domains declare, by name.

    Raises:
        ConfigurationError: The file is invalid, or declares no export of a name.
    """
    of_file = read_declared_exports(settings)
    declared = {**of_domains, **of_file}
    for name in names:
        if name not in declared:
            raise ConfigurationError(
                f"invalid export {name[:60]!r}: expected one that EXPORTS_FILE declares",
                expected=f"one of {', '.join(declared) or '(none)'}",
                remedy=did_you_mean(name, declared) or "correct the run's config or the file",
            )
    return [declared[name] for name in dict.fromkeys(names or of_file)]


def find_scheduled(
    declared: Mapping[str, DeclaredExport], since: datetime, now: datetime
) -> Mapping[str, datetime]:
    """Return the exports that became due after ``since``, and when each was due last."""
    from orchestration_project.engine.dagster_private.automation import find_previous_cron_time

    latest = {
        name: find_previous_cron_time(value.export.schedule, value.export.timezone, now)
        for name, value in declared.items()
        if value.export.schedule is not None
    }
    return {name: at for name, at in latest.items() if at > since}


def read_target_secret(variable: str) -> str:
    """Return a secret of a target, from its variable or the file that <variable>_FILE names.

    Raises:
        ConfigurationError: It is not set, or its file cannot be read.
    """
    text = read_secrets(variable).get(variable)
    if text is None:
        raise ConfigurationError(
            f"{variable} is not set",
            expected=f"{variable} or {variable}_FILE",
            remedy="set it, or give the export another target in EXPORTS_FILE",
        )
    hide(*passwords_in(text), *tokens_in(text))
    return text


GOLD_FOLDER = "staged/gold"
"""Folder in the artifact store, beside staged rows: a clean-up removes old files."""


@dataclass(frozen=True)
class GoldRequest:
    """A partition of a derived table, and the time of which it is.

    Attributes:
        table: The table.
        partition: Its key.
        at: Only what was loaded by then counts.
        day: Only what the source had published by that day counts; None: all.
    """

    table: str
    partition: str
    at: datetime
    day: date | None

    @property
    def artifact(self) -> str:
        """Name of its file in the artifact store; the same request always has the same rows."""
        at = self.at.astimezone(UTC).isoformat()
        dumps = json.dumps([self.table, self.partition, at, str(self.day)])
        return f"{GOLD_FOLDER}/{self.table}/{hashlib.sha256(dumps.encode()).hexdigest()}.parquet"


def export_gold(
    wanted: GoldRequest, warehouse: Warehouse, tables: "AsOf", store: ArtifactStore
) -> "DerivedAsOf":
    """Derive the requested rows, and store them as a Parquet file.

    Raises:
        ConfigurationError: The table or partition is none, or was not loaded by then.
    """
    from orchestration_project.engine.warehouse.as_of import derive_as_of
    from orchestration_project.services.export import write_parquet

    gold = derive_as_of(
        warehouse, tables, wanted.table, wanted.partition, at=wanted.at, day=wanted.day
    )
    content = io.BytesIO()
    write_parquet([gold.rows], content)
    store.put(wanted.artifact, content.getvalue())
    return gold
