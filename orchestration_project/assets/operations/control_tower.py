"""Health of every domain: its verdict as text, numbers over time, pictures and tables."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import dagster as dg
import polars as pl

from orchestration_project.assets.operations.catalogue import (
    CONTROL_TOWER,
    RUNS,
    build_asset_spec,
)
from orchestration_project.assets.operations.deployment import (
    RELEASES_CHECK,
    check_releases,
    describe_deployment,
)
from orchestration_project.assets.operations.objectives import describe_objectives
from orchestration_project.assets.operations.plugins import describe_plugins
from orchestration_project.assets.specs import describe_asset
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.pauses import Pause
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.frames import build_frame
from orchestration_project.plots import operations as plots
from orchestration_project.plots.sparkline import sparkline, svg_uri
from orchestration_project.registry import Registry
from orchestration_project.services.ledger.control_tower import (
    read_observation,
    write_tower,
)
from orchestration_project.services.ledger.rules.standings import (
    WEEK,
    Observation,
    Subject,
    SubjectHealth,
    build_rows,
    evaluate_health,
    render_state,
    sum_by_day,
    summarize_states,
)
from orchestration_project.services.links import (
    QUARANTINED_PAGE,
    build_asset_url,
    build_job_url,
    build_retry_url,
    render_link,
)
from orchestration_project.services.metadata import build_table, embed_image, log_metadata
from orchestration_project.services.pauses import (
    Pauses,
    find_paused_runs,
    pause_of_asset,
    pause_of_domain,
)
from orchestration_project.services.status import ItemTopics, read_deadlines
from orchestration_project.settings import Settings
from orchestration_project.tables.operations_runs import operations_control_tower

ASSETS_SHOWN = 60
"""An event should stay below 100 KB; the table in the database has all."""

SUMMARY_COLUMNS = (
    *("domain", "asset", "state", "run_count", "failure_count", "success_share"),
    *("rows_landed", "hours_since_landing", "oldest_unlanded_partition"),
)


VERDICTS = f"[Verdicts and reasons]({build_asset_url(CONTROL_TOWER.path)}?view=events)"
"""The overview of an asset shows its columns above them; its description comes before these."""


@dg.multi_asset(
    name="look_at_operations",
    specs=[
        build_asset_spec(
            CONTROL_TOWER, operations_control_tower, "ledger", RUNS
        ).replace_attributes(
            description=describe_asset(
                f"{operations_control_tower.comment}\n\n{VERDICTS}", "operations"
            )
        )
    ],
    check_specs=[RELEASES_CHECK],
)
def control_tower(
    context: dg.AssetExecutionContext,
    clock: dg.ResourceParam[Clock],
    registry: dg.ResourceParam[Registry],
    settings: dg.ResourceParam[Settings],
    warehouse: dg.ResourceParam[Warehouse],
) -> Iterator[dg.MaterializeResult[Any]]:
    """Look at all domains, keep what was found, and show it."""
    now, machine_now = clock.now(), Clock().now()
    pauses = Pauses(warehouse).list_in_effect()
    paused_runs = find_paused_runs(pauses, context.instance)
    observation = read_observation(warehouse, machine_now, paused_runs)
    overdue = read_deadlines(registry, settings, warehouse, clock)
    subject_healths = evaluate_health(
        observation,
        overdue,
        now=now,
        machine_now=machine_now,
        pause_of=partial(_find_pause, pauses),
    )
    rows = build_rows(subject_healths, now)
    write_tower(warehouse, rows)
    domains = [health for health in subject_healths if not health.subject.asset]
    yield dg.MaterializeResult(
        asset_key=CONTROL_TOWER,
        check_results=[check_releases(warehouse, machine_now)],
        metadata=log_metadata(
            {
                "verdict": summarize_states(domains),
                **_render_verdicts(domains, registry),
                **_draw_pictures(observation, domains, is_synthetic=settings.is_demo),
                **_summarize_day(domains),
                **_build_tables(build_frame(rows, operations_control_tower)),
                **describe_deployment(warehouse, context.instance, machine_now),
                **describe_objectives(warehouse, machine_now, is_synthetic=settings.is_demo),
                **describe_plugins(settings, warehouse, now),
            }
        ),
    )


def _find_pause(pauses: Sequence[Pause], subject: Subject) -> Pause | None:
    """Return the pause of an asset, or of a domain."""
    if subject.asset:
        return pause_of_asset(pauses, subject.asset)
    return pause_of_domain(pauses, subject.domain)


def _render_verdicts(domains: Sequence[SubjectHealth], registry: Registry) -> dict[str, Any]:
    """Return the Markdown of each domain: state, reasons, and links to what an operator does.

    The link to load names the oldest missing partition, that to quarantined ones their number.
    The link to retry leads to the failures of a domain, where a retry can help.
    """
    retried = {
        domain.name
        for domain in registry.domains
        if domain.definitions.replays or domain.registered(ItemTopics)
    }
    verdicts: dict[str, Any] = {}
    for domain in domains:
        name, oldest, links = domain.subject.domain, domain.overdue, list[str]()
        if oldest is not None and oldest.loading_job:
            page = build_job_url(oldest.loading_job, oldest.partition, oldest.partition)
            links.append(render_link(f"Load {oldest.partition}", page))
        if domain.quarantined_count:
            links.append(render_link(f"Quarantined: {domain.quarantined_count}", QUARANTINED_PAGE))
        if name in retried and domain.is_retry_useful:
            page = build_retry_url(domain=name, dry_run=False)
            links.append(render_link("Retry failures", page))
        text = "\n\n".join([render_state(domain), *links])
        verdicts[f"{name}_verdict"] = dg.MetadataValue.md(text)
    return verdicts


def _draw_pictures(
    observation: Observation, domains: Sequence[SubjectHealth], *, is_synthetic: bool
) -> dict[str, Any]:
    shares = {
        subject_health.subject.domain: [figures.success_share for figures in subject_health.figures]
        for subject_health in domains
    }
    drawn = plots.control_tower(sum_by_day(observation.ended), shares, is_synthetic=is_synthetic)
    loaded = {key: sum_by_day(observation.ended, key)["rows_landed"].to_list() for key in shares}
    lines = {name: sparkline(group, is_synthetic=is_synthetic) for name, group in loaded.items()}
    return {
        "picture": embed_image("Runs by day, and the health of each domain", svg_uri(drawn)),
        **{
            f"{domain}_rows_by_day": embed_image(f"Rows loaded by day: {domain}", line)
            for domain, line in lines.items()
        },
    }


def _summarize_day(domains: Sequence[SubjectHealth]) -> dict[str, Any]:
    """Return figures of each domain's last 24 hours as metadata, which Dagster plots over time."""
    numbers: dict[str, Any] = {
        "queue_depth": sum(domain.under_way.queue_depth for domain in domains),
        "runs_under_way": sum(domain.under_way.running_count for domain in domains),
    }
    for domain in domains:
        day, name = domain.figures[0], domain.subject.domain
        numbers |= {
            f"{name}_runs_24h": day.run_count,
            f"{name}_failures_24h": day.failure_count,
            f"{name}_rows_landed_24h": day.rows_landed,
            f"{name}_bytes_24h": day.byte_count,
        }
        if day.success_share is not None:
            numbers[f"{name}_success_share_24h"] = day.success_share
    return numbers


def _build_tables(rows: pl.DataFrame) -> dict[str, Any]:
    is_asset = pl.col("asset") != ""
    assets = rows.filter(is_asset, window_hours=WEEK).select(SUMMARY_COLUMNS)
    domains = rows.filter(~is_asset).drop("asset", "looked_at")
    return {
        "domains": build_table(domains.drop("reasons")),
        "assets_7d": build_table(assets.head(ASSETS_SHOWN)),
    }
