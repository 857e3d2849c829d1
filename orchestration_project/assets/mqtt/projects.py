"""Derives the rows of entities again, and draws the graph of components with its cycles."""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg

from orchestration_project.assets.mqtt.catalogue import (
    ENTITY_KEYS,
    FOLD_JOB,
    GRAPH,
    GROUP,
    build_entity_specs,
    build_graph_spec,
)
from orchestration_project.domains.mqtt.charts import project_graph
from orchestration_project.domains.mqtt.entities import ENTITIES
from orchestration_project.domains.mqtt.graph import cycles, mermaid, shown_graph
from orchestration_project.domains.mqtt.settings import MqttSettings
from orchestration_project.engine.connections.artifacts import ArtifactStore
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.plots.sparkline import svg_uri
from orchestration_project.resources.mqtt.folding import fold_again, lock_fold
from orchestration_project.resources.mqtt.health import read_edges, read_nodes
from orchestration_project.services.links import build_rows_path, link
from orchestration_project.services.metadata import (
    build_result,
    check_spec,
    embed_image,
    log_metadata,
    store_file,
)

NO_CYCLES = "dependencies_have_no_cycle"
REMEDY = "remove one dependency of each cycle; until then, all are kept"
FOLDER = "plots/mqtt/graph"
MAX_CYCLES_NAMED, MAX_MEMBERS_NAMED = 10, 10


@dg.multi_asset(
    name="draw_mqtt_graph",
    specs=[build_graph_spec()],
    check_specs=[
        check_spec(
            NO_CYCLES,
            asset=GRAPH,
            description="No component needs itself first, directly or by others.",
            severity=dg.AssetCheckSeverity.WARN,
            limit="0 cycles",
            remedy=REMEDY,
        )
    ],
)
def draw_graph(
    artifacts: dg.ResourceParam[ArtifactStore],
    settings: dg.ResourceParam[MqttSettings],
    warehouse: dg.ResourceParam[Warehouse],
) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
    """Draw the components with the most dependencies, keep the file, and name cycles."""
    edges = read_edges(warehouse)
    graph = shown_graph(read_nodes(warehouse), edges)
    metadata: Mapping[str, Any] = {"outcome": "no component is known"}
    if graph.nodes:
        svg = project_graph(graph, is_synthetic=settings.is_demo)
        metadata = {
            "picture": embed_image("Components and what they need first", svg_uri(svg)),
            "component_count": len(graph.nodes) + graph.left_out_count,
            "dependency_count": len(edges),
            "left_out_count": graph.left_out_count,
            "mermaid": dg.MetadataValue.md(f"```mermaid\n{mermaid(graph)}```"),
            "svg_file": store_file(artifacts, FOLDER, svg, suffix="svg"),
        }
    yield dg.MaterializeResult(asset_key=GRAPH, metadata=log_metadata(metadata))
    yield _check_cycles(edges)


def _check_cycles(edges: list[tuple[str, str]]) -> dg.AssetCheckResult:
    entries = cycles(edges)
    metadata: Mapping[str, Any] = {"outcome": "no cycle"}
    if entries:
        named = [", ".join(entry[:MAX_MEMBERS_NAMED]) for entry in entries[:MAX_CYCLES_NAMED]]
        metadata = {
            "outcome": f"{len(entries)} cycles",
            "expected": "dependencies without a cycle",
            "found": "; ".join(named),
            "what_to_do": REMEDY,
        }
    severity = dg.AssetCheckSeverity.WARN
    return build_result(GRAPH, NO_CYCLES, metadata, severity, passed=not entries)


@dg.multi_asset(name="fold_mqtt", specs=build_entity_specs(), can_subset=True)
def fold_mqtt(
    context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]
) -> Iterator[dg.MaterializeResult[Any]]:
    """Replace the rows of entities by those that the mirror has events of."""
    for name, key in ENTITY_KEYS.items():
        if key not in context.selected_asset_keys:
            continue
        with warehouse.writing() as connection:
            lock_fold(connection)
            count = fold_again(connection, name)
        table = ENTITIES[name].table.name
        metadata = {"dagster/row_count": count, "table_rows": link(build_rows_path(table))}
        yield dg.MaterializeResult(asset_key=key, metadata=log_metadata(metadata))


fold_job = dg.define_asset_job(
    FOLD_JOB,
    selection=dg.AssetSelection.assets(fold_mqtt, draw_graph),
    description="Derives projects, components, dependencies, tasks and metrics from the mirror "
    "again. Runs of the mirror keep them up to date, so this is for repairs.",
    tags={"domain": GROUP},
)
