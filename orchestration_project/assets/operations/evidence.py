"""Evidence of a run, a session, or a partition at a time, in one file for an auditor."""

from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
from pydantic import Field

from orchestration_project.assets.operations.catalogue import (
    EVIDENCE,
    parse_moment,
    report_spec,
)
from orchestration_project.assets.operations.kinds import AssetEvent, Kind
from orchestration_project.engine.captures import Captures
from orchestration_project.engine.connections.artifacts import ArtifactStore
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.job_options import Moment
from orchestration_project.engine.options import JobOptions
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.registry import Registry
from orchestration_project.services.evidence.exporting import (
    FOLDER,
    ExportedArchive,
    Sources,
    export_evidence,
    share_archive,
)
from orchestration_project.services.evidence.subjects import EvidenceRequest
from orchestration_project.services.links import build_evidence_path, link
from orchestration_project.services.metadata import build_table, log_metadata
from orchestration_project.services.presets import Presets, read_applied, resolve_config
from orchestration_project.settings import Settings

COLUMNS = {
    "member": "A file of the archive",
    "row_count": "Number of its rows, empty where it has none",
    "byte_count": "Its size, bytes",
    "sha256": "Its SHA-256, hex",
}
FIGURES = ("row_count", "byte_count", "sha256")
MEMBERS_SHOWN = 60


class Evidence(JobOptions):
    """Subject of the archive: a run, a session, or a partition and a time."""

    run_id: str | None = Field(
        default=None, examples=["0d3f1a52-7c1e-4f0a-9d57-6f1f5f7a2b11"], description="Run ID."
    )
    session: str | None = Field(
        default=None,
        examples=["backfill:abcdefgh"],
        description="Session: all runs that were started together.",
    )
    partition: str | None = Field(
        default=None,
        examples=["T1|2026-10-05"],
        description=(
            "Partition, such as T1|2026-10-05, a symbol, or source|delivery_id of a webhook, as it "
            "was known `at`."
        ),
    )
    at: Moment = Field(
        default=None,
        examples=["2026-11-01T00:00:00Z"],
        description="Time of the partition's state, such as 2026-11-01T00:00:00Z.",
    )
    include_bytes: bool = Field(
        default=False, description="Include the captured bytes, not only their hashes."
    )
    include_inputs: bool = Field(
        default=False,
        description="Include the other partitions that the partition's derived rows read.",
    )
    file: str | None = Field(
        default=None,
        examples=["week.zip"],
        description=(
            "Path of a new file, ending in .zip; a relative path is below STATE_DIR/evidence. "
            "Default: a name there that describes the subject."
        ),
    )


evidence = report_spec(EVIDENCE, "One row per file of the archive that was written.", COLUMNS)


def write_evidence(
    context: dg.OpExecutionContext,
    config: Evidence,
    artifacts: ArtifactStore,
    clock: Clock,
    registry: Registry,
    settings: Settings,
    warehouse: Warehouse,
) -> AssetEvent:
    """Write the archive, and report its path and contents."""
    evidence_request = EvidenceRequest(
        config.run_id,
        config.session,
        config.partition,
        parse_moment(config.at, "at"),
        include_inputs=config.include_inputs,
    )
    sources = Sources(
        warehouse,
        context.instance,
        resolve_config(settings),
        read_applied(Presets(warehouse, clock)),
        registry.whole.tables,
        Captures(artifacts) if config.include_bytes else None,
        registry.whole.rules,
        registry.whole.tables_as_of,
        artifacts,
    )
    exported = export_evidence(sources, evidence_request, settings, config.file, now=clock.now())
    share_archive(exported, settings)
    return _report_archive(exported, settings)


def _link_archive(path: Path, settings: Settings) -> dg.MetadataValue[Any]:
    """Return a link to an archive that the gateway serves; of another file its path."""
    is_served = path.parent == settings.state_path / FOLDER
    return link(build_evidence_path(path.name)) if is_served else dg.MetadataValue.path(path)


def _report_archive(exported: ExportedArchive, settings: Settings) -> dg.MaterializeResult[Any]:
    members = exported.manifest.members
    rows = [
        {"member": member.name, **{name: getattr(member, name) for name in FIGURES}}
        for member in members[:MEMBERS_SHOWN]
    ]
    return dg.MaterializeResult(
        asset_key=EVIDENCE,
        metadata=log_metadata(
            {
                "file": _link_archive(exported.path, settings),
                "bytes": exported.byte_count,
                "sha256": exported.sha256,
                "manifest_sha256": exported.manifest.sha256,
                "about": dg.MetadataValue.json(dict(exported.manifest.about)),
                "members": len(members),
                "rows": sum(member.row_count or 0 for member in members),
                "contents": build_table(pl.DataFrame(rows, infer_schema_length=None)),
            }
        ),
    )


EXPORT_EVIDENCE = Kind(
    "export_evidence",
    "Exports the evidence of a run, a session, or a partition at a time, as one archive.",
    Evidence,
    write_evidence,
)
