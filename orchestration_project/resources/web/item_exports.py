"""Exports of a site's items: as its file declares them, delivered after a complete crawl."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from orchestration_project.domains.web.item_exports import ItemExport
from orchestration_project.domains.web.sites import Site
from orchestration_project.domains.web.tables import web_item_fields, web_items
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.exports import (
    DatabaseTarget,
    DeclaredExport,
    Export,
    Target,
    export_problems,
)
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import ConfigurationError, OrchestrationError
from orchestration_project.services.exports import read_declared_targets
from orchestration_project.services.exports.targets import Surroundings
from orchestration_project.services.exports.work import ExportResult, Exports
from orchestration_project.settings import Settings
from orchestration_project.settings.yaml import located

TABLES = {"items": web_items.name, "fields": web_item_fields.name}
MAX_DELIVERIES = 3
"""Deliveries of one export by a run: that of an earlier load that failed, and the present one."""


def export_targets(settings: Settings) -> Mapping[str, Target] | None:
    """Return the targets of EXPORTS_FILE; None: it is invalid, which its own check reports."""
    try:
        return read_declared_targets(settings)
    except ConfigurationError:
        return None


def item_exports(site: Site, targets: Mapping[str, Target] | None) -> Mapping[str, DeclaredExport]:
    """Return the exports of a site by name, ``web/<site>/<name>``: EXPORTS_FILE has no such name.

    Args:
        site: The site.
        targets: Targets of EXPORTS_FILE; None: it is invalid, and only exports to the artifact
            store are returned.
    """
    names = {f"web/{site.site}/{name}": (name, export) for name, export in site.exports.items()}
    values = targets or {}
    return {
        full_name: DeclaredExport(
            full_name, _export(site.site, name, value, values), values.get(value.target)
        )
        for full_name, (name, value) in names.items()
        if targets is not None or value.target == "artifacts"
    }


def problems_of_exports(site: Site, text: str, targets: Mapping[str, Target]) -> Iterator[str]:
    """Yield the problems of the exports of a site file, each with its line.

    Args:
        site: The site that the file declares.
        text: Content of the file.
        targets: Targets of EXPORTS_FILE by name.
    """
    places = {"table": "rows", "where": "columns"}
    for name, export in site.exports.items():
        for key, reason in export_problems(_export(site.site, name, export, targets), targets):
            place = places.get(key, key)
            where = ("exports", name, place)
            yield located(text, where, ".".join(where), reason)


def deliver_items(
    site: Site,
    given: Surroundings,
    *,
    warehouse: Warehouse,
    clock: Clock,
    run_id: str,
    is_under_way: Callable[[str], bool],
) -> Sequence[ExportResult]:
    """Deliver the items of a complete crawl; one that fails is retried like every export.

    An export is delivered twice where an earlier load is still waiting for its target.
    """
    work = Exports(warehouse, given, clock)
    declared = item_exports(site, export_targets(given.settings))
    results = [
        _deliver_export(work, declared_export, run_id=run_id, is_under_way=is_under_way)
        for declared_export in declared.values()
    ]
    left_out = [name for name in site.exports if f"web/{site.site}/{name}" not in declared]
    reason = "EXPORTS_FILE is invalid; the next complete crawl delivers it"
    return [
        *results,
        *(ExportResult(f"web/{site.site}/{name}", "failed", reason) for name in left_out),
    ]


def _deliver_export(
    work: Exports, declared: DeclaredExport, *, run_id: str, is_under_way: Callable[[str], bool]
) -> ExportResult:
    export_result: ExportResult | None = None
    for _ in range(MAX_DELIVERIES):
        try:
            result = work.run(declared, run_id=run_id, is_under_way=is_under_way)
        except OrchestrationError as error:
            return ExportResult(declared.name, "failed", str(error))
        if result.outcome != "delivered":
            return (
                export_result
                if export_result is not None and result.outcome == "unchanged"
                else result
            )
        export_result = result
    return export_result or ExportResult(declared.name, "unchanged")


def _export(site: str, name: str, declared: ItemExport, targets: Mapping[str, Target]) -> Export:
    is_database = isinstance(targets.get(declared.target), DatabaseTarget)
    own_table = f"{site}_{name}" if is_database else None
    return Export(
        table=TABLES[declared.rows],
        columns=declared.columns,
        where=[f"site={site}"],
        format=declared.format,
        escape_formulas=declared.escape_formulas,
        target=declared.target,
        target_table=declared.target_table or own_table,
        alert_after_hours=declared.alert_after_hours,
    )
