"""`GET /plugins`: the plugins, and for each what it requests, was granted, called and violated."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from sqlalchemy import Connection, RowMapping, Select, select
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestration_project.domains.plugins.permissions_diff import Change, PermissionChange
from orchestration_project.domains.plugins.tables import (
    plugins,
    plugins_calls,
    plugins_versions,
    plugins_violations,
)
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import ConfigurationError
from orchestration_project.gateway.bar import Installation
from orchestration_project.gateway.pages import table_page, tables_page
from orchestration_project.gateway.request import current_user
from orchestration_project.resources.plugins.state import changes_of, read_plugin
from orchestration_project.services.links import build_asset_url, build_rows_path, build_run_url

PATH = "/plugins"
TITLE = "Plugins"
EXPLANATION = (
    "A plugin runs in a process of its own and can do only what an admin granted. Admins add, "
    "grant, enable and disable plugins by the command orchestrate plugins or the API. "
)
HEADINGS = ("Plugin", "Version", "Kind", "State", "Share", "Publisher", "Changed (UTC)", "Reason")

PERMISSION_HEADINGS = ("Permission", "Name", "Asked for", "Granted", "Difference")
CALL_HEADINGS = ("At (UTC)", "Run", "Call", "Target", "Verdict", "Bytes")
VIOLATION_HEADINGS = ("At (UTC)", "Run", "Permission", "Request")
CHANGE_HEADINGS = ("At (UTC)", "Number", "Change", "By")

MAX_ROWS = 500
"""Plugins that are listed."""

SHOWN_ROWS = 20
"""Calls, violations and changes of a plugin that its page shows, the latest first."""

DIFFERENCES = {
    Change.ADDED: "not granted",
    Change.WIDER: "wider than granted",
    Change.NARROWER: "narrower than granted",
    Change.REMOVED: "not asked for any more",
    Change.SAME: "",
}


@dataclass(frozen=True)
class PluginDetails:
    """A plugin, what it requests, and its latest calls, violations and changes.

    Attributes:
        permissions: Its permissions beside the granted ones; a text: why they cannot be read.
    """

    plugin: RowMapping
    permissions: Sequence[PermissionChange] | str
    calls: Sequence[RowMapping]
    violations: Sequence[RowMapping]
    changes: Sequence[RowMapping]


def read_details(warehouse: Warehouse, plugin: str) -> PluginDetails | None:
    """Return the stored records of a plugin; None: it was never added, or was removed."""

    def latest(table: Any, order: Any, owner: Any) -> Select[Any]:
        return select(table).where(owner == plugin).order_by(order.desc()).limit(SHOWN_ROWS)

    calls, violations, versions = plugins_calls.c, plugins_violations.c, plugins_versions.c
    with warehouse.reading() as connection:

        def rows(statement: Select[Any]) -> Sequence[RowMapping]:
            return connection.execute(statement).mappings().all()

        plugin_rows = rows(select(plugins).where(plugins.c.id == plugin))
        if not plugin_rows:
            return None
        return PluginDetails(
            plugin_rows[0],
            _read_permissions(connection, plugin),
            rows(latest(plugins_calls, calls["at"], calls.plugin)),
            rows(latest(plugins_violations, violations["at"], violations.plugin)),
            rows(latest(plugins_versions, versions.version_number, versions.id)),
        )


def _read_permissions(connection: Connection, plugin: str) -> Sequence[PermissionChange] | str:
    try:
        return changes_of(read_plugin(connection, plugin))
    except ConfigurationError as error:  # of another version of the project
        return error.line


def routes(
    warehouse: Warehouse, installation: Installation, isolation: Callable[[], str]
) -> list[Route]:
    """Return the routes of the pages, for everybody who is known.

    Args:
        warehouse: The database.
        installation: The installation, for the bar.
        isolation: Returns how plugins are isolated here, in words.
    """

    async def listed(_request: Request) -> Response:
        rows, level = await run_in_threadpool(lambda: (_read_rows(warehouse), isolation()))
        explanation = f"{EXPLANATION}Isolation: {level}."
        return table_page(TITLE, explanation, HEADINGS, rows, installation, current_user())

    async def shown(request: Request) -> Response:
        name = request.path_params["plugin"]
        plugin_details = await run_in_threadpool(read_details, warehouse, name)
        if plugin_details is None:
            raise HTTPException(404, "plugin not found")
        explanation = " ".join(
            filter(None, (_render_state(plugin_details.plugin), plugin_details.plugin["reason"]))
        )
        return tables_page(
            f"Plugin {name} {plugin_details.plugin['version']}",
            explanation,
            [
                ("Permissions", PERMISSION_HEADINGS, _render_permissions(plugin_details)),
                (
                    "Latest violations",
                    VIOLATION_HEADINGS,
                    list(map(_render_violation, plugin_details.violations)),
                ),
                ("Latest calls", CALL_HEADINGS, list(map(_call, plugin_details.calls))),
                ("Changes", CHANGE_HEADINGS, list(map(_change, plugin_details.changes))),
                ("Rows and runs", ("Page",), _list_links(name)),
            ],
            installation,
            current_user(),
        )

    return [
        Route(PATH, listed, methods=["GET"]),
        Route(f"{PATH}/{{plugin}}", shown, methods=["GET"]),
    ]


def _read_rows(warehouse: Warehouse) -> list[tuple[str, ...]]:
    with warehouse.reading() as connection:
        rows = connection.execute(select(plugins).order_by(plugins.c.id).limit(MAX_ROWS))
        return [_render_row(row) for row in rows.mappings()]


def _render_row(found: RowMapping) -> tuple[str, ...]:
    signed = "signed" if found["is_signed"] else "not signed"
    return (
        _link(f"{PATH}/{found['id']}", found["id"]),
        escape(found["version"]),
        escape(found["kind"]),
        f"<strong>{escape(found['state'])}</strong>",
        f"{found['share']:.0%}" if found["state"] == "enabled" else "",
        f"{escape(found['publisher'])} ({signed})",
        _format_time(found["changed_at"]),
        escape(found["reason"] or ""),
    )


def _render_state(found: RowMapping) -> str:
    signed = "signed by" if found["is_signed"] else "not signed; it names as publisher"
    return f"State: {found['state']}; {signed} {found['publisher']}; SHA-256 {found['sha256']}."


def _render_permissions(found: PluginDetails) -> list[tuple[str, ...]]:
    """Return the permissions that the plugin requests, beside the granted ones."""
    if isinstance(found.permissions, str):
        return [("", "", escape(found.permissions), "", "")]
    return [
        (
            escape(permission.permission),
            escape(permission.name),
            escape(permission.asked),
            escape(permission.granted),
            f"<strong>{DIFFERENCES[permission.change]}</strong>"
            if DIFFERENCES[permission.change]
            else "",
        )
        for permission in found.permissions
    ]


def _render_violation(row: RowMapping) -> tuple[str, ...]:
    texts = (_run(row["run_id"]), escape(row["permission"]), escape(row["what"]))
    return (_format_time(row["at"]), *texts)


def _call(row: RowMapping) -> tuple[str, ...]:
    texts = (escape(row[name]) for name in ("kind", "target", "verdict"))
    return (_format_time(row["at"]), _run(row["run_id"]), *texts, f"{row['bytes']:,}")


def _change(row: RowMapping) -> tuple[str, ...]:
    number = str(row["version_number"])
    return (_format_time(row["edited_at"]), number, escape(row["action"]), escape(row["edited_by"]))


def _list_links(name: str) -> list[tuple[str, ...]]:
    return [
        (_link(build_asset_url(["plugins", name]), "Asset, with the pages that its runs show"),),
        (_link(build_rows_path("plugins_rows", f"plugin={name}"), "Loaded rows"),),
        (_link(build_rows_path("plugins_calls", f"plugin={name}"), "All calls"),),
    ]


def _run(run_id: str) -> str:
    return _link(build_run_url(run_id), run_id[:8])


def _format_time(moment: Any) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S")


def _link(path: str, text: str) -> str:
    return f'<a href="{escape(path)}">{escape(text)}</a>'
