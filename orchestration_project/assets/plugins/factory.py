"""The asset and job of a plugin, made from its manifest alone: its code is never imported here."""

import logging
from collections.abc import Iterator
from typing import Any

import dagster as dg
from pydantic import Field

from orchestration_project.assets.specs import build_asset_spec, build_utc_days
from orchestration_project.domains.plugins.tables import plugins_rows
from orchestration_project.engine.captures import Captures
from orchestration_project.engine.contracts.job_options import describe_job
from orchestration_project.engine.dagster_private.definitions import UnresolvedAssetJobDefinition
from orchestration_project.engine.options import JobOptions
from orchestration_project.engine.runner import read_requested_keys
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.resources.plugins.state import StoredPlugin, read_plugin
from orchestration_project.services.metadata import build_schema, log_metadata

GROUP = "plugins"
RESOURCES = {"artifacts", "clock", "settings", "warehouse"}
"""By key, as Dagster inspects annotated arguments for each plugin."""

LEVELS = {name: getattr(logging, name.upper()) for name in ("debug", "info", "warning", "error")}


class RunPlugin(JobOptions):
    """Options of a run of a plugin."""

    config: dict[str, Any] = Field(
        default={},
        examples=[{"max_items": 10}],
        description="Config of the plugin, which config_schema of plugin.yaml must accept.",
    )


def build_plugin_key(plugin_id: str) -> dg.AssetKey:
    """Return the asset of a plugin."""
    return dg.AssetKey([GROUP, plugin_id])


def name_plugin_op(plugin_id: str) -> str:
    """Return the op of a plugin's run; Dagster refuses one of the name of its job."""
    return f"plugin_{plugin_id}"


def build_plugin_asset(stored: StoredPlugin) -> dg.AssetsDefinition:
    """Return the asset of an enabled plugin, whose runs start it in a process of its own."""
    manifest = stored.manifest
    key = build_plugin_key(stored.id)
    has_rows = bool(manifest.permissions.tables)
    days = manifest.partitions
    spec = build_asset_spec(
        key,
        manifest.description or f"One row per row of the plugin {stored.id} of {stored.publisher}.",
        build_schema(plugins_rows.columns) if has_rows else None,
        "table" if has_rows else "report",
        owners=["team:operations"],
        version=stored.version,
        publisher=stored.publisher,
        is_signed=stored.is_signed,
        share=stored.share,
        **({"dagster/table_name": plugins_rows.name} if has_rows else {}),
    ).replace_attributes(skippable=True)

    @dg.multi_asset(
        name=name_plugin_op(stored.id),
        specs=[spec],
        partitions_def=build_utc_days(days.start) if days else None,
        required_resource_keys=RESOURCES,
    )
    def run(
        context: dg.AssetExecutionContext, config: RunPlugin
    ) -> Iterator[dg.AssetObservation | dg.AssetMaterialization | dg.MaterializeResult[Any]]:
        partitions = read_requested_keys(context) if days else [None]
        for partition in partitions:
            once = _run_once(context, config, stored.id, partition)
            if isinstance(once, dg.AssetObservation) or len(partitions) == 1:
                yield once
            else:  # Dagster takes one result of a run, for all of its partitions
                yield dg.AssetMaterialization(key, partition=partition, metadata=once.metadata)

    return run


def _run_once(
    context: dg.AssetExecutionContext, config: RunPlugin, plugin_id: str, partition: str | None
) -> dg.AssetObservation | dg.MaterializeResult[Any]:
    """Run a plugin for one partition, or return why it is not run."""
    key = build_plugin_key(plugin_id)
    warehouse: Warehouse = context.resources.warehouse
    with warehouse.reading() as connection:
        current = read_plugin(connection, plugin_id)
    values = {
        "plugin_version": current.version,
        "is_signed": current.is_signed,
        "share": current.share,
    }
    if current.state == "enabled" and not current.runs_for(partition):
        outcome = {**values, "outcome": f"not run: outside of the share {current.share}"}
        return dg.AssetObservation(key, partition=partition, metadata=log_metadata(outcome))
    from orchestration_project.resources.plugins.running import run_plugin

    result = run_plugin(
        current,
        settings=context.resources.settings,
        warehouse=warehouse,
        captures=Captures(context.resources.artifacts),
        clock=context.resources.clock,
        run_id=context.run.run_id,
        partition=partition,
        config=config.config,
        log=lambda level, text: context.log.log(
            LEVELS.get(level, logging.INFO), text, extra={"event": "plugin_log_line"}
        ),
    )
    pages = {
        "page" if number == 1 else f"page_{number}": dg.MetadataValue.md(text)
        for number, text in enumerate(result.page_texts, start=1)
    }
    metadata = log_metadata({**values, **result.metadata, **pages})
    return dg.MaterializeResult(asset_key=key, metadata=metadata)


def build_plugin_job(stored: StoredPlugin) -> UnresolvedAssetJobDefinition:
    """Return the job of an enabled plugin."""
    name = stored.manifest.job_name
    return dg.define_asset_job(
        name,
        selection=dg.AssetSelection.assets(build_plugin_key(stored.id)),
        description=describe_job(
            f"Runs version {stored.version} of the plugin {stored.id} of {stored.publisher}.",
            name_plugin_op(stored.id),
            RunPlugin,
        ),
        tags={"domain": GROUP, "plugin": stored.id},
    )
