"""The plugins that are stored, with their current grants; nothing here runs their code."""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from pydantic import ValidationError
from sqlalchemy import Connection, RowMapping, select

from orchestration_project.domains.plugins.manifest import (
    Budget,
    Manifest,
    Permissions,
    stored_manifest,
)
from orchestration_project.domains.plugins.permissions_diff import PermissionChange, compare
from orchestration_project.domains.plugins.tables import (
    plugins,
    plugins_grants,
    plugins_versions,
)
from orchestration_project.engine.contracts.flags import POSITIONS, compute_position
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import ConfigurationError, did_you_mean
from orchestration_project.resources.plugins.changes import PluginChange, change_state

_log = logging.getLogger(__name__)

BY_VIOLATIONS = "violations"
"""Author of a disabling that no user asked for."""


class Grant(NamedTuple):
    """A grant that is in effect.

    Attributes:
        number: Its number, from 1 per plugin.
        version: Version of the plugin that it was granted to.
        sha256: Canonical archive that it was granted to.
        permissions: Granted permissions.
        budget: Granted limits of a run.
        folders: Folder of the host by name in plugin.yaml.
        granted_by: User.
        granted_at: UTC time.
    """

    number: int
    version: str
    sha256: str
    permissions: Permissions
    budget: Budget
    folders: dict[str, str]
    granted_by: str
    granted_at: datetime


@dataclass(frozen=True, kw_only=True)
class StoredPlugin:
    """A plugin that was added.

    Attributes:
        state: added, granted, enabled, disabled or refused.
        grant: Its current grant; None: none. Only an enabled plugin may use it.
        reason: Why it is disabled or refused.
        version_number: Number of its latest change.
    """

    id: str
    version: str
    sha256: str
    publisher: str
    kind: str
    state: str
    share: float
    listed_keys: tuple[str, ...]
    manifest: Manifest
    grant: Grant | None
    is_signed: bool
    reason: str | None
    version_number: int
    changed_by: str
    changed_at: datetime

    @property
    def next_step(self) -> str:
        """Step after which Dagster shows an enabled plugin; empty: it is not enabled."""
        if self.state != "enabled":
            return ""
        return (
            "reload the code location (in Dagster's UI: Deployment, Code locations, Reload), or "
            f"restart orchestrate: then Dagster shows the asset plugins/{self.id}"
        )

    @property
    def permissions(self) -> Permissions:
        """Permissions that it requests and was granted."""
        if self.grant is None:
            return Permissions()
        requested_permissions, granted = self.manifest.permissions, self.grant.permissions
        return Permissions(
            **{
                name: [
                    each
                    for each in getattr(requested_permissions, name)
                    if _is_in(each, getattr(granted, name))
                ]
                for name in Permissions.model_fields
            }
        )

    def runs_for(self, partition: str | None) -> bool:
        """Whether its share or list has a partition; of one without partitions, itself."""
        key = partition or self.id
        if key in self.listed_keys:
            return True
        return compute_position(self.manifest.asset_name, key) < int(self.share * POSITIONS)


def _is_in(asked: Any, granted: Sequence[Any]) -> bool:
    return any(_name(asked) == _name(item) for item in granted)


def _name(entry: Any) -> str:
    return getattr(entry, "name", None) or getattr(entry, "host", None) or entry


def read_plugins(connection: Connection, *ids: str) -> list[StoredPlugin]:
    """Return the plugins of these IDs, or all, by ID.

    One whose manifest this version of the project cannot read is left out, and logged.
    """
    query = select(plugins).order_by(plugins.c.id)
    grants = select(plugins_grants).where(plugins_grants.c.is_current)
    if ids:
        query = query.where(plugins.c.id.in_(ids))
        grants = grants.where(plugins_grants.c.plugin.in_(ids))
    by_plugin = {row["plugin"]: row for row in connection.execute(grants).mappings()}
    stored_plugins: list[StoredPlugin] = []
    for row in connection.execute(query).mappings():
        try:
            stored_plugins.append(_read_stored(row, by_plugin.get(row["id"])))
        except ConfigurationError as error:
            _log.warning(
                "The plugin %s cannot be read: %s",
                row["id"],
                error,
                extra={"event": "plugin_not_readable"},
            )
    return stored_plugins


def read_plugin(connection: Connection, plugin_id: str) -> StoredPlugin:
    """Return a plugin.

    Raises:
        ConfigurationError: No plugin has the ID, or its manifest cannot be read.
    """
    row = connection.execute(select(plugins).where(plugins.c.id == plugin_id)).mappings().first()
    if row is None:
        entries = list(connection.execute(select(plugins.c.id).order_by(plugins.c.id)).scalars())
        raise UnknownPluginError(
            f"plugin not found: {plugin_id[:60]!r}",
            expected=", ".join(entries) or "a plugin: none is added",
            remedy=did_you_mean(plugin_id, entries) or "list them with `orchestrate plugins list`",
        )
    grant = select(plugins_grants).where(
        plugins_grants.c.plugin == plugin_id, plugins_grants.c.is_current
    )
    return _read_stored(row, connection.execute(grant).mappings().first())


class UnknownPluginError(ConfigurationError):
    """No plugin has the ID."""

    is_unknown_name = True


def disable(
    warehouse: Warehouse,
    plugin_id: str,
    by: str,
    reason: str,
    now: datetime,
    *,
    run_id: str | None = None,
) -> bool:
    """Disable an enabled or granted plugin; its running processes end.

    Returns:
        Whether it was enabled or granted.
    """
    change = PluginChange(by, now, run_id)
    with warehouse.writing() as connection:
        return change_state(
            connection,
            plugin_id,
            change,
            "disable",
            "disabled",
            reason,
            only=("enabled", "granted"),
        )


def _read_stored(row: RowMapping, grant: RowMapping | None) -> StoredPlugin:
    return StoredPlugin(
        **{name: row[name] for name in _PLAIN},
        listed_keys=tuple(json.loads(row["listed_keys"])),
        manifest=stored_manifest(json.loads(row["manifest"])),
        grant=None if grant is None else _grant(grant),
    )


_PLAIN = (
    *("id", "version", "sha256", "publisher", "kind", "state", "share", "is_signed", "reason"),
    *("version_number", "changed_by", "changed_at"),
)


def _grant(row: RowMapping) -> Grant | None:
    """Return a grant; None: this version of the project cannot read it, so it grants nothing."""
    try:
        permissions = Permissions.model_validate_json(row["permissions"])
        budget = Budget.model_validate_json(row["budget"])
    except ValidationError as error:
        _log.warning(
            "The grant of the plugin %s cannot be read, grant it again: %s",
            row["plugin"],
            "; ".join(f"{problem['loc']}: {problem['msg']}" for problem in error.errors())[:500],
            extra={"event": "plugin_grant_not_readable"},
        )
        return None
    return Grant(
        row["number"],
        row["version"],
        row["sha256"],
        permissions,
        budget,
        json.loads(row["folders"]),
        row["granted_by"],
        row["granted_at"],
    )


def changes_of(stored: StoredPlugin) -> list[PermissionChange]:
    """Return the permissions that a plugin requests, compared with its grant."""
    grant, manifest = stored.grant, stored.manifest
    return compare(
        *(grant and grant.permissions, manifest.permissions),
        *(grant and grant.budget, manifest.budget),
    )


def read_versions(
    connection: Connection, plugin_id: str, *, limit: int = 100
) -> list[dict[str, Any]]:
    """Return the latest changes of a plugin, the newest first."""
    columns = plugins_versions.c
    query = select(plugins_versions).where(columns.id == plugin_id)
    rows = connection.execute(query.order_by(columns.version_number.desc()).limit(limit))
    versions: list[dict[str, Any]] = []
    for row in rows.mappings():
        definition = json.loads(row["definition"])
        versions.append(
            {
                **{name: row[name] for name in ("version_number", "action", "edited_by", "run_id")},
                **{name: definition[name] for name in ("version", "state", "sha256")},
                "at": row["edited_at"].isoformat(timespec="seconds"),
            }
        )
    return versions
