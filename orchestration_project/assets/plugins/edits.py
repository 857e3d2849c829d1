"""The edits of plugins by a run: granted, enabled, stopped and removed by an admin."""

from enum import Enum
from typing import Any

import dagster as dg
import polars as pl
from pydantic import Field

from orchestration_project.assets.specs import build_system_spec
from orchestration_project.domains.plugins.tables import plugins
from orchestration_project.engine.connections.artifacts import ArtifactStore
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.job_options import describe_job
from orchestration_project.engine.contracts.roles import REQUIRES_ADMIN
from orchestration_project.engine.options import JobOptions, report_dry_run
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.resources.plugins.changes import PluginChange
from orchestration_project.resources.plugins.edits import PluginEdits
from orchestration_project.resources.plugins.state import StoredPlugin, read_plugin, read_plugins
from orchestration_project.services.access.approvals import read_person, use_of
from orchestration_project.services.ledger.rules.entries import find_editor
from orchestration_project.services.metadata import build_schema, build_table, log_metadata
from orchestration_project.settings import Settings

LIST = dg.AssetKey(["plugins", "list"])
EDIT_JOB = "plugins_edit"
ACTIONS = ("grant", "enable", "disable", "refuse", "remove")
PluginAction = Enum("PluginAction", {name: name for name in ACTIONS})
COLUMNS: dict[str, Any] = dict.fromkeys(
    ("plugin", "version", "state", "share", "publisher", "reason"), pl.String()
)
MAX_SHOWN = 100
"""Plugins that the metadata lists."""


class EditPlugin(JobOptions):
    """Edit of one plugin."""

    action: PluginAction = Field(  # pyright: ignore[reportInvalidTypeForm] - names of an enumeration
        examples=["grant"], description="Edit of the plugin."
    )
    plugin: str = Field(examples=["rss"], description="ID of the plugin.")
    permissions: dict[str, list[str]] = Field(
        default={},
        examples=[{"hosts": ["example.org"], "tables": ["items"]}],
        description="Names to grant by kind of permission; an omitted kind is granted as a whole.",
    )
    folders: dict[str, str] = Field(
        default={},
        examples=[{"drop": "/srv/drop"}],
        description="Folder of the host by name in plugin.yaml, for a grant.",
    )
    share: float | None = Field(
        default=None,
        ge=0,
        le=1,
        examples=[0.1],
        description="Share of partitions; without it, as before.",
    )
    partitions: list[str] | None = Field(
        default=None,
        examples=[["2026-11-26"]],
        description="Partitions that it always runs for; without it, as before.",
    )
    reason: str = Field(
        default="",
        examples=["it is too slow"],
        description="Why it is granted, disabled or refused.",
    )
    expected_version: int | None = Field(
        default=None, ge=1, examples=[1], description="Number of the change that was reviewed."
    )
    dry_run: bool = Field(
        default=True, description="Dry run: only show the plugin; false makes the edit."
    )
    who: str | None = Field(
        default=None,
        examples=["ada"],
        description="Name of the user; the run's tag user takes precedence.",
    )


@dg.multi_asset(
    name="edit_plugins",
    specs=[
        build_system_spec(
            LIST,
            str(plugins.comment),
            build_schema(plugins.columns),
            "state",
            owners=["team:operations"],
            **{"dagster/table_name": plugins.name},
        )
        .merge_attributes(tags=REQUIRES_ADMIN)
        .replace_attributes(skippable=True)
    ],
)
def edit_plugins(
    context: dg.AssetExecutionContext,
    config: EditPlugin,
    artifacts: dg.ResourceParam[ArtifactStore],
    clock: dg.ResourceParam[Clock],
    settings: dg.ResourceParam[Settings],
    warehouse: dg.ResourceParam[Warehouse],
) -> Any:
    """Edit a plugin, unless this is a dry run."""
    reported = report_dry_run(context.log, "no plugin is edited", is_dry_run=config.dry_run)
    with warehouse.reading() as connection:
        edited = read_plugin(connection, config.plugin)
    if config.dry_run:
        yield dg.AssetObservation(LIST, metadata=log_metadata({**reported, **_list_rows([edited])}))
        return
    by = find_editor(context.run.tags, config.who) or "unknown"
    run = context.run
    change = PluginChange(by, clock.now(), run.run_id, read_person(run.tags), use_of(run))
    edited = edit(PluginEdits(settings, warehouse, artifacts), config, change)
    with warehouse.reading() as connection:
        listed = read_plugins(connection)
    values = {**reported, "plugin": edited.id, "state": edited.state, **_list_rows(listed)}
    if config.action.value == "enable":
        values["what_to_do"] = edited.next_step
    yield dg.MaterializeResult(asset_key=LIST, metadata=log_metadata(values))


def edit(edits: PluginEdits, config: EditPlugin, change: PluginChange) -> StoredPlugin:
    """Make the edit of a run's config, and return the plugin after it.

    Raises:
        ConfigurationError: As the methods of `PluginEdits`.
    """
    expected, reason = config.expected_version, config.reason or f"by {change.by}"
    match str(config.action.value):
        case "grant":
            return edits.grant(
                *(config.plugin, change),
                given=config.permissions,
                folders=config.folders,
                expected_version=expected,
                reason=config.reason,
            )
        case "enable":
            return edits.enable(
                *(config.plugin, change),
                share=config.share,
                listed_keys=config.partitions,
                expected_version=expected,
            )
        case "disable":
            return edits.disable(config.plugin, change, reason, expected_version=expected)
        case "refuse":
            return edits.refuse(config.plugin, change, reason, expected_version=expected)
        case _:
            return edits.remove(config.plugin, change)


def _list_rows(stored: list[StoredPlugin]) -> dict[str, Any]:
    rows = [
        (
            stored_plugin.id,
            stored_plugin.version,
            stored_plugin.state,
            f"{stored_plugin.share:g}",
            stored_plugin.publisher,
            stored_plugin.reason or "",
        )
        for stored_plugin in stored[:MAX_SHOWN]
    ]
    return {
        "plugin_count": len(stored),
        "plugins": build_table(pl.DataFrame(rows, COLUMNS, orient="row")),
    }


edit_job = dg.define_asset_job(
    EDIT_JOB,
    selection=dg.AssetSelection.assets(edit_plugins),
    description=describe_job(
        "Grants, enables, disables, refuses or removes a plugin; a dry run by default.",
        "edit_plugins",
        EditPlugin,
    ),
    tags={"domain": "plugins"},
)
