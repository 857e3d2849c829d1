"""Edits of plugins by admins: add, grant, enable, disable, refuse and remove them."""

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from orchestration_project.domains.plugins.archives import Files, with_wheels
from orchestration_project.domains.plugins.permissions_diff import (
    selected,
)
from orchestration_project.domains.plugins.signatures import read_key
from orchestration_project.domains.plugins.tables import plugins, plugins_grants, plugins_publishers
from orchestration_project.engine.connections.artifacts import ArtifactStore
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.frames import clean_text
from orchestration_project.errors import ConfigurationError
from orchestration_project.resources.plugins.changes import (
    PluginChange,
    add_version,
    change_state,
    lock,
    next_number,
    write_plugin,
)
from orchestration_project.resources.plugins.reviewing import (
    PluginConflictError,
    Review,
    read_publisher,
    reviewed,
    revoked_error,
)
from orchestration_project.resources.plugins.state import (
    StoredPlugin,
    UnknownPluginError,
    read_plugin,
)
from orchestration_project.resources.plugins.store import remove_unpacked, unpack
from orchestration_project.settings import Settings


class PluginEdits:
    """The edits of plugins; each is one transaction with a row in plugins_versions."""

    def __init__(self, settings: Settings, warehouse: Warehouse, artifacts: ArtifactStore) -> None:
        self._settings = settings
        self._warehouse = warehouse
        self._artifacts = artifacts

    def review(self, given: Files, *, allow_unsigned: bool) -> Review:
        """Return the review of a plugin's files; nothing is written.

        Raises:
            ConfigurationError: As `reviewed`.
            ContractError: As `reviewed`.
        """
        with self._warehouse.reading() as connection:
            return reviewed(connection, given, allow_unsigned=allow_unsigned)

    def add(
        self, given: Files, change: PluginChange, *, allow_unsigned: bool
    ) -> tuple[StoredPlugin, Review]:
        """Store and unpack a plugin; one that requests more than was granted waits for a grant.

        Raises:
            ConfigurationError: As `review`.
            ContractError: As `review`.
        """
        review = self.review(given, allow_unsigned=allow_unsigned)
        sha256 = unpack(self._settings, self._artifacts, with_wheels(given, review.manifest))
        with self._warehouse.writing() as connection:
            lock(connection)
            review = reviewed(connection, given, allow_unsigned=allow_unsigned)
            manifest, before = review.manifest, review.before
            if before is None or (before.sha256, before.state) not in _list_kept_states(sha256):
                write_plugin(connection, change, "add", _build_row(review, sha256))
            stored = read_plugin(connection, manifest.id)
        if before is not None and before.sha256 != sha256:
            remove_unpacked(self._settings, before.sha256)
        return stored, review

    def grant(
        self,
        plugin_id: str,
        change: PluginChange,
        *,
        given: Mapping[str, Collection[str] | None],
        folders: Mapping[str, str],
        expected_version: int | None = None,
        reason: str = "",
    ) -> StoredPlugin:
        """Grant the permissions that a plugin requests, or those of them that are given by name.

        Args:
            plugin_id: The plugin.
            change: Who grants, and when.
            given: Names by field of ``permissions``; None or omitted: all that is requested.
            folders: Folder of the host by name in plugin.yaml.
            expected_version: Number of the change that was reviewed; None: the latest.
            reason: Reason in words, for a second person.

        Raises:
            ConfigurationError: The plugin is unknown or was changed meanwhile, or a name or
                folder is invalid, or a second person has not confirmed it.
        """
        with self._warehouse.reading() as connection:
            stored = _expect_version(connection, plugin_id, expected_version)
        permissions = selected(stored.manifest.permissions, given, plugin=plugin_id)
        paths = self._folders(permissions.folders, folders)
        parameters = {
            "plugin": plugin_id,
            "sha256": stored.sha256,
            "permissions": permissions.model_dump(mode="json"),
            "budget": stored.manifest.budget.model_dump(mode="json"),
            "folders": paths,
        }
        from orchestration_project.services.access.approvals import (  # listing needs no Dagster
            ApprovalDemand,
            require_approval,
        )

        demand = ApprovalDemand("grant", parameters, reason, change.person, change.use)
        if require_approval(self._warehouse, demand):
            expected_version = stored.version_number
        with self._warehouse.writing() as connection:
            lock(connection)
            stored = _expect_version(connection, plugin_id, expected_version)
            permissions = selected(stored.manifest.permissions, given, plugin=plugin_id)
            paths = self._folders(permissions.folders, folders)
            number = _find_next_grant(connection, plugin_id)
            condition = plugins_grants.c.plugin == plugin_id
            connection.execute(update(plugins_grants).where(condition).values(is_current=False))
            row = {
                "plugin": plugin_id,
                "number": number,
                "version": stored.version,
                "sha256": stored.sha256,
                "permissions": permissions.model_dump_json(),
                "budget": stored.manifest.budget.model_dump_json(),
                "folders": json.dumps(paths, sort_keys=True),
                "granted_by": clean_text(change.by),
                "granted_at": change.at,
                "is_current": True,
            }
            connection.execute(insert(plugins_grants).values(row))
            state = "enabled" if stored.state == "enabled" else "granted"
            change_state(
                *(connection, plugin_id, change, "grant", state, None),
                only=(stored.state,),
                granted_number=number,
            )
            return read_plugin(connection, plugin_id)

    def enable(
        self,
        plugin_id: str,
        change: PluginChange,
        *,
        share: float | None = None,
        listed_keys: Sequence[str] | None = None,
        expected_version: int | None = None,
    ) -> StoredPlugin:
        """Let a granted plugin run, for a share of its partitions and the listed ones.

        Raises:
            ConfigurationError: It is unknown, was changed meanwhile, has no grant of this version,
                is of a revoked publisher, or the share is invalid.
        """
        with self._warehouse.writing() as connection:
            lock(connection)
            stored = _expect_version(connection, plugin_id, expected_version)
            if stored.grant is None or stored.state not in ("granted", "enabled", "disabled"):
                raise PluginConflictError(
                    f"the plugin {plugin_id} is not granted",
                    expected=f"a grant of version {stored.version}",
                    found=f"state {stored.state}",
                    remedy=f"run `orchestrate plugins show {plugin_id}`, then grant it",
                )
            if read_publisher(connection, stored.publisher).get("state") == "revoked":
                raise revoked_error(stored.publisher)
            shares = _validate_shares(stored, share, listed_keys)
            change_state(
                *(connection, plugin_id, change, "enable", "enabled", None),
                only=(stored.state,),
                **shares,
            )
            return read_plugin(connection, plugin_id)

    def disable(
        self,
        plugin_id: str,
        change: PluginChange,
        reason: str,
        *,
        expected_version: int | None = None,
    ) -> StoredPlugin:
        """Stop a plugin: its running processes end, and no run starts it.

        Raises:
            ConfigurationError: It is unknown, was changed meanwhile, or was never granted.
        """
        return self._stop(
            *(plugin_id, change, "disable", "disabled", reason),
            only=("granted", "enabled", "disabled"),
            expected_version=expected_version,
        )

    def refuse(
        self,
        plugin_id: str,
        change: PluginChange,
        reason: str,
        *,
        expected_version: int | None = None,
    ) -> StoredPlugin:
        """Refuse a plugin; only a new version of it can be granted.

        Raises:
            ConfigurationError: It is unknown, or was changed meanwhile.
        """
        return self._stop(
            *(plugin_id, change, "refuse", "refused", reason),
            only=("added", "granted", "enabled", "disabled", "refused"),
            expected_version=expected_version,
        )

    def remove(self, plugin_id: str, change: PluginChange) -> StoredPlugin:
        """Remove a plugin; its rows, changes and archive stay.

        Raises:
            ConfigurationError: It is unknown.
        """
        with self._warehouse.writing() as connection:
            lock(connection)
            stored = read_plugin(connection, plugin_id)
            condition = plugins_grants.c.plugin == plugin_id
            connection.execute(update(plugins_grants).where(condition).values(is_current=False))
            row_query = select(plugins).where(plugins.c.id == plugin_id)
            row = connection.execute(row_query).mappings().one()
            number = next_number(connection, plugin_id)
            connection.execute(delete(plugins).where(plugins.c.id == plugin_id))
            add_version(connection, change, "remove", {**row, "version_number": number})
        remove_unpacked(self._settings, stored.sha256)
        return stored

    def trust(self, publisher: str, public_key: str, change: PluginChange) -> None:
        """Trust the signatures of a publisher by this key, in place of any earlier one.

        Raises:
            ConfigurationError: The key is invalid.
        """
        read_key(public_key)
        with self._warehouse.writing() as connection:
            lock(connection)
            _write_publisher(connection, publisher, public_key.strip(), "trusted", change)

    def revoke(self, publisher: str, change: PluginChange) -> list[str]:
        """Trust a publisher no more, and disable its plugins; return their IDs.

        Raises:
            ConfigurationError: The publisher is unknown.
        """
        with self._warehouse.writing() as connection:
            lock(connection)
            row = read_publisher(connection, publisher)
            if not row:
                raise UnknownPluginError(
                    f"publisher not found: {publisher[:60]!r}",
                    remedy="list them with `orchestrate plugins publishers`",
                )
            _write_publisher(connection, publisher, row["public_key"], "revoked", change)
            query = select(plugins.c.id).where(plugins.c.publisher == publisher)
            ids = list(connection.execute(query.order_by(plugins.c.id)).scalars())
            reason = f"the key of the publisher {publisher} was revoked"
            return [
                identifier
                for identifier in ids
                if change_state(
                    *(connection, identifier, change, "disable", "disabled", reason),
                    only=("added", "granted", "enabled"),
                )
            ]

    def _stop(
        self,
        plugin_id: str,
        change: PluginChange,
        action: str,
        state: str,
        reason: str,
        *,
        only: Collection[str],
        expected_version: int | None,
    ) -> StoredPlugin:
        with self._warehouse.writing() as connection:
            lock(connection)
            stored = _expect_version(connection, plugin_id, expected_version)
            if not change_state(connection, plugin_id, change, action, state, reason, only=only):
                raise PluginConflictError(
                    f"the plugin {plugin_id} is {stored.state}",
                    expected=f"one of {', '.join(only)}",
                    remedy="refuse or remove it",
                )
            return read_plugin(connection, plugin_id)

    def _folders(self, names: Sequence[str], given: Mapping[str, str]) -> dict[str, str]:
        """Return the folder of each name, resolved.

        Raises:
            ConfigurationError: A name has none, or a folder that a plugin must not see.
        """
        unknown = sorted(given.keys() - set(names))
        missing = sorted(set(names) - given.keys())
        if unknown or missing:
            raise ConfigurationError(
                f"invalid folders: expected a folder for each of {', '.join(names) or 'none'}",
                found=f"unknown: {unknown[0]}" if unknown else f"none for {missing[0]}",
                remedy="name each, e.g. --folder drop=/srv/drop",
            )
        return {name: str(self._folder(name, Path(given[name]))) for name in names}

    def _folder(self, name: str, given: Path) -> Path:
        folder, state = given.resolve(), self._settings.state_path.resolve()
        is_private = folder == state or folder in state.parents or state in folder.parents
        if not given.is_absolute() or not folder.is_dir() or is_private:
            raise ConfigurationError(
                f"invalid folder {name}: expected an absolute path of a folder, e.g. /srv/drop",
                found=f"{given}{', which has or is in STATE_DIR' if is_private else ''}",
                remedy="make the folder, or name another one",
            )
        return folder


def _list_kept_states(sha256: str) -> list[tuple[str, str]]:
    """Return the hash with each state that adding the same archive again keeps."""
    return [(sha256, state) for state in ("added", "granted", "enabled", "disabled")]


def _build_row(review: Review, sha256: str) -> dict[str, Any]:
    manifest, before = review.manifest, review.before
    is_kept = before is not None and not review.needs_grant and before.state != "refused"
    return {
        "id": manifest.id,
        "version": manifest.version,
        "sha256": sha256,
        "publisher": manifest.publisher,
        "kind": manifest.kind.value,
        "state": before.state if before and is_kept else "added",
        "share": before.share if before else 1.0,
        "listed_keys": json.dumps(before.listed_keys if before else []),
        "manifest": json.dumps(manifest.as_json, sort_keys=True),
        "is_signed": review.is_signed,
        "granted_number": before.grant.number if before and before.grant else None,
        "reason": before.reason if before and is_kept else None,
    }


def _expect_version(connection: Connection, plugin_id: str, version: int | None) -> StoredPlugin:
    stored = read_plugin(connection, plugin_id)
    if version is not None and version != stored.version_number:
        raise PluginConflictError(
            f"the plugin {plugin_id} was changed meanwhile",
            expected=f"change {stored.version_number}, by {stored.changed_by}",
            found=str(version),
            remedy="look at it again, and repeat the edit",
        )
    return stored


def _validate_shares(
    stored: StoredPlugin, share: float | None, listed_keys: Sequence[str] | None
) -> dict[str, Any]:
    chosen = stored.share if share is None else share
    if not 0 <= chosen <= 1:
        raise ConfigurationError(f"invalid share {chosen}: expected a number from 0 to 1, e.g. 0.1")
    keys = list(stored.listed_keys if listed_keys is None else listed_keys)
    if len(keys) > 500 or any(not key or len(key) > 200 for key in keys):
        raise ConfigurationError("invalid partitions: expected at most 500 keys, e.g. 2026-11-26")
    return {"share": float(chosen), "listed_keys": json.dumps(keys)}


def _find_next_grant(connection: Connection, plugin_id: str) -> int:
    columns = plugins_grants.c
    latest = select(func.max(columns.number)).where(columns.plugin == plugin_id)
    return (connection.execute(latest).scalar() or 0) + 1


def _write_publisher(
    connection: Connection, publisher: str, public_key: str, state: str, change: PluginChange
) -> None:
    condition = plugins_publishers.c.publisher == publisher
    connection.execute(delete(plugins_publishers).where(condition))
    row = {
        "publisher": clean_text(publisher),
        "public_key": public_key,
        "state": state,
        "changed_by": clean_text(change.by),
        "changed_at": change.at,
    }
    connection.execute(insert(plugins_publishers).values(row))
