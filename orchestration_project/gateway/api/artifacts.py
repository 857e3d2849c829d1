"""Captured bytes: list, download, clean up; and evidence archives."""

import re
from base64 import b64encode
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Self
from urllib.parse import quote

from pydantic import ConfigDict, Field, model_validator
from sqlalchemy import select
from starlette.responses import FileResponse, Response, StreamingResponse

from orchestration_project.engine.captures import STREAM_BYTES, Captures
from orchestration_project.engine.contracts.api.models import (
    Archive,
    Archives,
    Artifacts,
    Capture,
    Export,
)
from orchestration_project.engine.contracts.job_kinds import (
    DELETE_ARTIFACTS,
    EXPORT_EVIDENCE,
    REPAIR_ARTIFACTS,
)
from orchestration_project.engine.contracts.moments import Moment
from orchestration_project.engine.contracts.roles import Role
from orchestration_project.engine.packs import Blob
from orchestration_project.errors import ConfigurationError
from orchestration_project.gateway.api.jobs import Launch, Launched, launch
from orchestration_project.gateway.api.once import IDEMPOTENCY_HEADER
from orchestration_project.gateway.api.operation import Body, Call, Operation, Parameters
from orchestration_project.gateway.api.problems import ProblemError, not_found, problem_of
from orchestration_project.gateway.api.runs import MAX_PAGE_ENTRIES, Name
from orchestration_project.gateway.api.services import Services
from orchestration_project.services.evidence.exporting import (
    SUFFIX,
    measure_archives,
    open_archive,
    record_subject,
)
from orchestration_project.services.evidence.subjects import EvidenceRequest, find_subject, name_of
from orchestration_project.services.inventory import find_blob, read_captures
from orchestration_project.services.ledger import Ledger
from orchestration_project.services.repair.damage import check_named
from orchestration_project.tables.queries.personal import personal_tables
from orchestration_project.tables.spine import captures

RANGE = re.compile(r"bytes=(\d{0,15})-(\d{0,15})")
OCTETS = "application/octet-stream"
BYTES = {"type": "string", "format": "binary"}

FILE_TYPES = {
    "svg": "image/svg+xml",
    "png": "image/png",
    "parquet": "application/vnd.apache.parquet",
}
STORED = re.compile(
    r"(?:plots|staged)(?:/[A-Za-z0-9_-]+)+/(?P<file>[0-9a-f]{64}\.(?P<suffix>svg|png|parquet))"
)
"""Names of files that metadata links to: no part of a path leads elsewhere."""

PICTURE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
"""A picture runs no script, whatever it holds."""

RANGE_HEADERS = {
    "Range": "bytes=first-last, one range; another is as none",
    "If-None-Match": "An ETag: 304 where the bytes are those",
}


class CapturesWanted(Parameters):
    """Filter of captures, the latest first."""

    where: list[Name] = Field(
        [],
        max_length=20,
        description=(
            "Filter on columns of the table captures, as for the rows of a table; all must hold"
        ),
    )
    limit: int = Field(50, ge=1, le=MAX_PAGE_ENTRIES, description="Maximum number of captures")


class ArtifactName(Parameters):
    """Captured bytes to send."""

    artifact: Name = Field(description="capture_id, or SHA-256 of the bytes")


class StoredFile(Parameters):
    """Stored file to send."""

    name: Name = Field(
        description="Name in the artifact store of a picture (plots/…) or a staged file (staged/…)"
    )


class FileName(Parameters):
    """Archive to send."""

    file: Name = Field(description="File name of an archive")


class Cleanup(Body):
    """Whether artifacts go."""

    dry_run: bool = Field(
        True, description="Dry run: only list what would be deleted; false deletes it"
    )
    only_database: bool = Field(
        False,
        description=(
            "Confirms that no other database uses this store; without it, captured bytes are kept"
        ),
    )


class Repair(Body):
    """Damaged artifacts to repair."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"dry_run": True}]})

    sha256: list[Name] = Field(
        [],
        max_length=1_000,
        description="SHA-256 of captured bytes; empty: by dataset, or all that verifications found",
    )
    dataset: Name | None = Field(None, description="Dataset of captures")
    dry_run: bool = Field(
        True, description="Dry run: only show how each would be repaired; false repairs them"
    )


class NewEvidence(Body):
    """Subject of an evidence archive: one of the three."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"run_id": "RUN_ID"}]})

    run_id: Name | None = Field(None, description="Run ID")
    session: Name | None = Field(None, description="Session: all runs that were started together")
    partition: Name | None = Field(None, description="Partition, as it was known `at`")
    at: Moment | None = Field(None, description="Time of the partition's state")
    include_bytes: bool = Field(False, description="Include the captured bytes")
    include_inputs: bool = Field(
        False, description="Include the other partitions that the partition's derived rows read"
    )

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if sum(name is not None for name in (self.run_id, self.session, self.partition)) != 1:
            raise ValueError("name a run_id, a session or a partition")
        if (self.partition is None) != (self.at is None):
            raise ValueError("a partition goes with a time, `at`")
        if self.include_inputs and self.partition is None:
            raise ValueError("include_inputs goes with a partition")
        return self


async def list_artifacts(call: Call[CapturesWanted, Body]) -> Artifacts:
    """List captures, the latest first."""
    services, captures_wanted = call.services, call.query
    try:
        frame = await services.in_thread(
            read_captures,
            services.warehouse,
            captures_wanted.where,
            captures_wanted.limit,
        )
    except ConfigurationError as error:
        raise problem_of(error, 422) from error
    same = ("dataset", "part_number", "fetched_at", "sha256", "run_id", "url")
    return Artifacts(
        captures=[
            Capture(
                capture_id=str(row["capture_id"]),
                partition=row["partition_key"],
                rows=row["row_count"],
                bytes=row["byte_count"],
                **{name: row[name] for name in same},
            )
            for row in frame.iter_rows(named=True)
        ]
    )


async def download_artifact(call: Call[ArtifactName, Body]) -> Response:
    """Send captured bytes as they were received, once their SHA-256 is verified."""
    blob = await call.services.in_thread(_require_blob, call.services, call.query.artifact)
    if not call.caller.role.covers(Role.ADMIN):
        await call.services.in_thread(_refuse_personal, call.services, blob)
    headers = {
        "etag": f'"{blob.sha256}"',
        "repr-digest": f"sha-256=:{b64encode(bytes.fromhex(blob.sha256)).decode()}:",
        "accept-ranges": "bytes",
        "cache-control": "private, no-cache",
        "content-disposition": f'attachment; filename="{blob.sha256}"',
    }
    if headers["etag"] in call.request.headers.get("if-none-match", ""):
        return Response(None, 304, headers)
    if_range = call.request.headers.get("if-range", headers["etag"])
    chosen = RANGE.fullmatch(call.request.headers.get("range", ""))
    status, first, last = 200, 0, blob.byte_count - 1
    if chosen is not None and any(chosen.groups()) and if_range == headers["etag"]:
        status = 206
        first, last = _resolve_range(chosen[1], chosen[2], blob.byte_count)
        headers["content-range"] = f"bytes {first}-{last}/{blob.byte_count}"
    store = Captures(call.services.store)
    await call.services.in_thread(store.verify, blob)
    headers["content-length"] = str(last - first + 1)
    chunks = _iterate_chunks(store.open(blob), first, last)
    return StreamingResponse(chunks, status, headers, OCTETS)


def _iterate_chunks(blob: BinaryIO, first: int, last: int) -> Iterator[bytes]:
    """Yield the bytes of a blob from ``first`` to ``last``, and close it.

    One that has fewer ends early, and so does the response: the client sees that it is cut.
    """
    with blob:
        left = first
        while left and (chunk := blob.read(min(STREAM_BYTES, left))):
            left -= len(chunk)
        left = last - first + 1
        while left and (chunk := blob.read(min(STREAM_BYTES, left))):
            left -= len(chunk)
            yield chunk


def _resolve_range(first: str, last: str, size: int) -> tuple[int, int]:
    """Return the first and last byte of a range; ``-n`` means the last n bytes."""
    begin = int(first) if first else max(0, size - int(last))
    end = min(size - 1, int(last)) if first and last else size - 1
    if begin > end:
        raise ProblemError(
            416, "the range lies outside of the bytes", headers={"content-range": f"bytes */{size}"}
        )
    return begin, end


def _require_blob(services: Services, wanted: str) -> Blob:
    try:
        return find_blob(services.warehouse, wanted)
    except ConfigurationError as error:
        raise not_found(f"nothing was captured under {wanted!r}") from error


def _refuse_personal(services: Services, blob: Blob) -> None:
    """Refuse captured bytes that rows of a table with personal columns are read from.

    Raises:
        ProblemError: They are.
    """
    is_personal = captures.c.dataset.in_(personal_tables())
    row_query = select(captures.c.dataset).where(captures.c.sha256 == blob.sha256, is_personal)
    with services.warehouse.reading() as connection:
        subject = connection.scalar(row_query.limit(1))
    if subject is not None:
        raise _build_refusal(f"the bytes are of {subject}")


def _build_refusal(what: str) -> ProblemError:
    return ProblemError(403, f"{what}, which has personal columns", remedy="ask an admin for them")


async def download_file(call: Call[StoredFile, Body]) -> Response:
    """Send a picture or a staged file; captured bytes have a path of their own."""
    name, store = call.query.name, call.services.store
    named = STORED.fullmatch(name)
    stored_object = await call.services.in_thread(store.found, name) if named else None
    if named is None or stored_object is None:
        raise not_found(f"file not found: {name!r}")
    file, suffix = named["file"], named["suffix"]
    is_admin = call.caller.role.covers(Role.ADMIN)
    if suffix == "parquet" and not is_admin and (tables := personal_tables()):
        raise _build_refusal(f"staged rows may be of {tables[0]}")
    shown_name = "attachment" if suffix == "parquet" else "inline"
    headers = {
        "cache-control": "private, max-age=86400, immutable",
        "content-disposition": f'{shown_name}; filename="{file}"',
        "content-length": str(stored_object.byte_count),
        "content-security-policy": PICTURE_POLICY,
    }
    file_body = await call.services.in_thread(store.open, name)
    chunks = _iterate_chunks(file_body, 0, stored_object.byte_count - 1)
    return StreamingResponse(chunks, 200, headers, FILE_TYPES[suffix])


async def clean_up_artifacts(call: Call[Parameters, Cleanup]) -> Launched:
    """Find the artifacts that may go, and delete them unless it is a dry run; a run does it."""
    config = call.body.model_dump()
    return await launch(
        call, Launch(DELETE_ARTIFACTS.job, config=DELETE_ARTIFACTS.run_config(config))
    )


async def repair_artifacts(call: Call[Parameters, Repair]) -> Launched:
    """Repair damaged artifacts from their sources or rows; a run does it."""
    body, warehouse = call.body, call.services.warehouse
    config = REPAIR_ARTIFACTS.run_config(body.model_dump(exclude_none=True))
    check = partial(check_named, warehouse, body.sha256, body.dataset)
    return await launch(call, Launch(REPAIR_ARTIFACTS.job, config=config, check=check))


async def export_evidence(call: Call[Parameters, NewEvidence]) -> Export:
    """Write an archive of evidence that others can verify offline; a run does it."""
    body = call.body
    evidence_request = EvidenceRequest(body.run_id, body.session, body.partition, body.at)
    config: dict[str, Any] = body.model_dump(mode="json", exclude_none=True)
    launched = await launch(
        call,
        Launch(
            EXPORT_EVIDENCE.job,
            config=EXPORT_EVIDENCE.run_config(config),
            check=partial(_check_subject, call.services, evidence_request),
        ),
    )
    return Export(file=f"{name_of(evidence_request)}{SUFFIX}", **launched.model_dump())


def _check_subject(services: Services, wanted: EvidenceRequest) -> None:
    record_subject(services.instance, Ledger(services.warehouse, services.clock), wanted)
    with services.warehouse.reading() as connection:
        find_subject(connection, wanted, services.clock.now())


async def list_evidence(call: Call[Parameters, Body]) -> Archives:
    """List the archives below STATE_DIR, and in an artifact store that all hosts share."""
    counts = await call.services.in_thread(measure_archives, call.services.settings)
    return Archives(archives=[Archive(file=name, bytes=size) for name, size in counts.items()])


async def download_evidence(call: Call[FileName, Body]) -> Response:
    """Send an archive; `evidence verify` looks whether it is whole."""
    settings, name = call.services.settings, call.query.file
    counts = await call.services.in_thread(measure_archives, settings)
    if name not in counts:  # no path is made of a name that is not one of them
        raise not_found(f"archive not found: {name!r}")
    if not call.caller.role.covers(Role.ADMIN) and (tables := personal_tables()):
        raise _build_refusal(f"an archive may have rows of {tables[0]}")
    archive = await call.services.in_thread(open_archive, settings, name)
    if isinstance(archive, Path):
        return FileResponse(archive, media_type="application/zip", filename=name)
    headers = {
        "content-disposition": f"attachment; filename*=utf-8''{quote(name)}",
        "content-length": str(counts[name]),
    }
    return StreamingResponse(
        _iterate_chunks(archive, 0, counts[name] - 1), 200, headers, "application/zip"
    )


OPERATIONS = (
    Operation(
        "GET",
        "/artifacts",
        "viewer",
        "List captures",
        list_artifacts,
        query=CapturesWanted,
        answer=Artifacts,
    ),
    Operation(
        "POST",
        "/artifacts/cleanup",
        "admin",
        "Clean up artifacts",
        clean_up_artifacts,
        body=Cleanup,
        answer=Launched,
        headers=IDEMPOTENCY_HEADER,
        status=202,
    ),
    Operation(
        "POST",
        "/artifacts/repair",
        "admin",
        "Repair damaged artifacts",
        repair_artifacts,
        body=Repair,
        answer=Launched,
        headers=IDEMPOTENCY_HEADER,
        status=202,
    ),
    Operation(
        "GET",
        "/artifacts/{artifact}",
        "viewer",
        "Download captured bytes",
        download_artifact,
        query=ArtifactName,
        media={OCTETS: BYTES},
        headers=RANGE_HEADERS,
        problems=(416,),
    ),
    Operation(
        "GET",
        "/files",
        "viewer",
        "Show a picture, or download a staged file",
        download_file,
        query=StoredFile,
        media=dict.fromkeys(FILE_TYPES.values(), BYTES),
        problems=(404,),
    ),
    Operation(
        "POST",
        "/evidence",
        "operator",
        "Export evidence",
        export_evidence,
        body=NewEvidence,
        answer=Export,
        headers=IDEMPOTENCY_HEADER,
        status=202,
    ),
    Operation("GET", "/evidence", "viewer", "List archives", list_evidence, answer=Archives),
    Operation(
        "GET",
        "/evidence/{file}",
        "viewer",
        "Download an archive",
        download_evidence,
        query=FileName,
        media={"application/zip": BYTES},
    ),
)
