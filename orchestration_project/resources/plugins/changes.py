"""Changes of the table of plugins: each adds a row to plugins_versions, in its transaction."""

import json
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, delete, func, insert, select

from orchestration_project.domains.plugins.tables import plugins, plugins_versions
from orchestration_project.engine.leases import lock_row
from orchestration_project.engine.warehouse.frames import clean_text
from orchestration_project.redaction import redacted


class PluginChange(NamedTuple):
    """Author and time of a change.

    Attributes:
        by: User, or the part of the project.
        at: UTC time.
        run_id: Dagster run of the change, if a run makes it.
        person: User who logged in at the gateway to make it; None: unknown.
        use: Run or backfill that makes it; None: none does.
    """

    by: str
    at: datetime
    run_id: str | None = None
    person: str | None = None
    use: str | None = None


def lock(connection: Connection) -> None:
    """Have other changes of plugins wait until this transaction ends."""
    lock_row(connection, plugins.name)


def write_plugin(
    connection: Connection, change: PluginChange, action: str, row: Mapping[str, Any]
) -> None:
    """Replace the row of a plugin, and add the change to its versions."""
    number = next_number(connection, row["id"])
    values = {
        **row,
        "version_number": number,
        "changed_by": clean_text(change.by),
        "changed_at": change.at,
    }
    connection.execute(delete(plugins).where(plugins.c.id == row["id"]))
    connection.execute(insert(plugins).values(values))
    add_version(connection, change, action, values)


def add_version(
    connection: Connection, change: PluginChange, action: str, row: Mapping[str, Any]
) -> None:
    """Add a change to the versions of a plugin."""
    definition = {
        name: value
        for name, value in row.items()
        if name not in ("version_number", "changed_by", "changed_at")
    }
    values = {
        "id": row["id"],
        "version_number": row["version_number"],
        "action": action,
        "definition": json.dumps(definition, sort_keys=True),
        "edited_by": clean_text(change.by),
        "edited_at": change.at,
        "run_id": change.run_id,
    }
    connection.execute(insert(plugins_versions).values(values))


def next_number(connection: Connection, plugin_id: str) -> int:
    """Return the number of a plugin's next change; a removed one goes on counting."""
    columns = plugins_versions.c
    latest = select(func.max(columns.version_number)).where(columns.id == plugin_id)
    return (connection.execute(latest).scalar() or 0) + 1


def change_state(
    connection: Connection,
    plugin_id: str,
    change: PluginChange,
    action: str,
    state: str,
    reason: str | None,
    *,
    only: Collection[str],
    **others: Any,
) -> bool:
    """Give a plugin another state, if it has one of ``only``; return whether it had."""
    lock(connection)
    query = select(plugins).where(plugins.c.id == plugin_id)
    row = connection.execute(query).mappings().first()
    if row is None or row["state"] not in only:
        return False
    text = None if reason is None else clean_text(redacted(reason))[:1_000]
    write_plugin(connection, change, action, {**row, "state": state, "reason": text, **others})
    return True
