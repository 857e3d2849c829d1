"""Uploads of files to inboxes: whole, or in pieces that go on after a cut."""

import asyncio
import logging
from typing import Annotated

from pydantic import AfterValidator, Field
from sqlalchemy.exc import DBAPIError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from orchestration_project.engine.contracts.api.models import Uploaded
from orchestration_project.engine.contracts.uploads import (
    FileInbox,
    Piece,
    find_name_problem,
    read_piece,
)
from orchestration_project.errors import OrchestrationError
from orchestration_project.gateway.api.admission import require_room
from orchestration_project.gateway.api.audit import record
from orchestration_project.gateway.api.operation import Body, Call, Operation, Parameters
from orchestration_project.gateway.api.problems import ProblemError, not_found, problem_of
from orchestration_project.gateway.api.services import Services
from orchestration_project.services.inbox.senders import read_declared_inboxes
from orchestration_project.services.inbox.uploads import (
    BusyUploadError,
    IncomingFile,
    LoadedInboxes,
    NewFile,
    QuotaError,
    UploadRefusals,
    Uploads,
)

SILENCE_SECONDS = 30.0
"""Time without a byte after which an upload is not waited for."""

CHUNK_BYTES = 2**20

OCTETS = "application/octet-stream"

RECORDED_STATUSES = frozenset({413, 415, 429, 503, 507})
"""Answers that refuse a file; after the others, the sender corrects or continues a request."""

logger = logging.getLogger("orchestration_project.uploads")


def _check_file_name(name: str) -> str:
    if problem := find_name_problem(name):
        raise ValueError(problem)
    return name


class InboxFile(Parameters):
    """Inbox and name of a file."""

    inbox: str = Field(description="Name of an inbox of INBOXES_FILE")
    file_name: Annotated[str, AfterValidator(_check_file_name)] = Field(
        description="Name of the file, which is data and never a path"
    )


async def upload_file(call: Call[InboxFile, Body]) -> Response:
    """Upload a file, or a piece of it with Content-Range: bytes first-last/total.

    A file is complete with its last byte: 202. Before, the answer is 308, with the bytes that were
    received as Range: bytes=0-last. An empty body with Content-Range: bytes */total asks for that.
    The same name and bytes again change nothing. Unfinished pieces count for quota_mib; nothing is
    left of a body that is refused. /attention shows a refused file until it is uploaded.
    """
    services, request = call.services, call.request
    declared = (await services.in_thread(read_declared_inboxes, services.settings)).get(
        call.query.inbox
    )
    if declared is None:
        raise not_found("inbox not found")
    new = NewFile(
        call.query.inbox, call.query.file_name, _read_media_type(request), call.caller.name
    )
    piece, uploads = _parse_piece(request), _build_uploads(services)
    length = _read_length(request, piece)
    try:
        _require_media_type(new, declared)
        await _admit(services, new, declared, piece, length)
        if piece is None:
            return await _take_whole(call, uploads, new, declared, length)
        return await _take_piece(call, uploads, new, declared, piece)
    except QuotaError as error:
        refused = problem_of(error, 507)
        await _record_refusal(services, new, refused, length)
        raise refused from error
    except BusyUploadError as error:
        raise problem_of(error, 409) from error
    except ProblemError as refused:
        if refused.problem.status in RECORDED_STATUSES:
            await _record_refusal(services, new, refused, length)
        raise


async def _record_refusal(
    services: Services, new: NewFile, refused: ProblemError, length: int
) -> None:
    """Record a refusal for people; its answer stays the same if that fails."""
    problem, refusals = refused.problem, UploadRefusals(services.warehouse, services.clock)
    text = f", found {problem.found}" if problem.found else ""
    try:
        await services.in_thread(
            *(refusals.record, new, problem.status, f"{problem.detail}{text}"),
            *(problem.expected or "", length or None),
        )
    except (OrchestrationError, DBAPIError) as error:
        logger.warning(
            "the refusal of an upload to %s was not recorded: %s",
            *(new.inbox, type(error).__name__),
            extra={"event": "upload_refusal_not_stored"},
        )


def _list_loaded_inboxes(services: Services) -> frozenset[str]:
    registered = services.registry().registered(LoadedInboxes)
    return frozenset(name for inboxes in registered for name in inboxes.read(services.settings))


def _build_uploads(services: Services) -> Uploads:
    return Uploads(
        services.warehouse,
        services.store,
        services.clock,
        services.settings,
        services.upload_reservations,
    )


def _read_media_type(request: Request) -> str:
    return request.headers.get("content-type", OCTETS).partition(";")[0].strip().lower()[:200]


def _require_media_type(new: NewFile, declared: FileInbox) -> None:
    if declared.content_types and new.content_type not in declared.content_types:
        raise ProblemError(
            415,
            "the inbox does not accept this media type",
            expected=f"one of {', '.join(declared.content_types)}",
            found=new.content_type,
        )


def _parse_piece(request: Request) -> Piece | None:
    content_range = request.headers.get("content-range")
    if content_range is None:
        return None
    try:
        return read_piece(content_range)
    except ValueError as error:
        raise ProblemError(
            400, "invalid Content-Range", expected=str(error), found=content_range[:100]
        ) from error


def _read_length(request: Request, piece: Piece | None) -> int:
    """Return the size of the file as far as it is known before its bytes are."""
    if piece is not None:
        return piece.total
    content_length = request.headers.get("content-length", "")
    return int(content_length) if content_length.isascii() and content_length.isdecimal() else 0


async def _admit(
    services: Services, new: NewFile, declared: FileInbox, piece: Piece | None, length: int
) -> None:
    if length > declared.max_bytes:
        raise _build_size_error(declared)
    await services.in_thread(require_room, services)
    if piece is not None and piece.total and (piece.start or not piece.size):
        return  # the first piece was counted
    who = f"{new.user_name}|{new.inbox}"
    wait = services.upload_quota.take(who, declared.files_per_hour, services.clock.now())
    if wait:
        raise ProblemError(
            429,
            "too many uploads by this key in the last hour",
            headers={"retry-after": str(wait)},
            expected=f"at most {declared.files_per_hour} files an hour (files_per_hour)",
            remedy="wait",
        )


def _build_size_error(declared: FileInbox) -> ProblemError:
    return ProblemError(
        413, "the file is too large", expected=f"at most {declared.max_mib} MiB (max_mib)"
    )


async def _take_whole(
    call: Call[InboxFile, Body], uploads: Uploads, new: NewFile, declared: FileInbox, length: int
) -> Response:
    with uploads.whole(new, declared) as incoming:
        await call.services.in_thread(incoming.reserve, length)
        await _receive(call, incoming, declared.max_bytes, _build_size_error(declared))
        return await _store_upload(call, uploads, incoming)


async def _take_piece(
    call: Call[InboxFile, Body], uploads: Uploads, new: NewFile, declared: FileInbox, piece: Piece
) -> Response:
    with uploads.partial(new, declared, piece.total) as incoming:
        received = incoming.byte_count
        if not piece.size and received < piece.total:
            return _answer_incomplete(received)
        if piece.size and piece.start != received:
            raise ProblemError(
                416,
                "the piece does not begin where the last one ended",
                headers=_render_range(received),
                expected=f"a piece that begins at byte {received}",
                found=f"one that begins at byte {piece.start}",
            )
        await call.services.in_thread(incoming.reserve, piece.total)
        longer = ProblemError(400, "the body is longer than its Content-Range")
        await _receive(call, incoming, piece.size, longer)
        if incoming.byte_count < piece.total:
            return _answer_incomplete(incoming.byte_count)
        return await _store_upload(call, uploads, incoming)


def _render_range(received: int) -> dict[str, str]:
    return {"range": f"bytes=0-{received - 1}"} if received else {}


def _answer_incomplete(received: int) -> Response:
    return Response(
        status_code=308, headers={"cache-control": "no-store", **_render_range(received)}
    )


async def _receive(
    call: Call[InboxFile, Body], incoming: IncomingFile, most: int, longer: ProblemError
) -> None:
    """Write the body to a file, at most so many bytes; what came before a cut stays in it.

    Nothing is left in it of a body that is refused.

    Raises:
        ProblemError: The body is longer, 408: nothing came for a while.
        QuotaError: It does not fit into the quota of the inbox.
    """
    pieces, buffer, count = aiter(call.request.stream()), bytearray(), 0
    received = incoming.byte_count
    try:
        while True:
            async with asyncio.timeout(SILENCE_SECONDS):
                chunk = await anext(pieces, None)
            if chunk is None:
                break
            count += len(chunk)
            if count > most:
                raise longer
            buffer += chunk
            if len(buffer) >= CHUNK_BYTES:
                content = bytes(buffer)
                buffer.clear()
                await call.services.in_thread(incoming.write, content)
        await call.services.in_thread(incoming.write, bytes(buffer))
    except TimeoutError:
        await call.services.in_thread(incoming.write, bytes(buffer))
        raise ProblemError(408, "the body did not come in time") from None
    except ClientDisconnect:
        await call.services.in_thread(incoming.write, bytes(buffer))
        raise HTTPException(400, "the connection ended within the body") from None
    except (ProblemError, QuotaError):
        incoming.file.truncate(received)
        raise


async def _store_upload(
    call: Call[InboxFile, Body], uploads: Uploads, incoming: IncomingFile
) -> Response:
    services, new = call.services, incoming.new
    loaded = await services.in_thread(_list_loaded_inboxes, services)
    stored = await services.in_thread(uploads.store, incoming)
    target = {"inbox": new.inbox, "upload_id": stored.upload_id, "sha256": stored.sha256}
    await record(call, "/inbox/files", target, "done")
    answer = Uploaded(
        inbox=new.inbox,
        file_name=new.file_name,
        document_id=stored.sha256 if new.inbox in loaded else None,
        **vars(stored),
    )
    return JSONResponse(answer.model_dump(), 202, {"cache-control": "no-store"})


OPERATIONS = [
    Operation(
        "PUT",
        "/inbox/{inbox}/files/{file_name}",
        "operator",
        "Upload a file",
        upload_file,
        query=InboxFile,
        answer=Uploaded,
        headers={"Content-Range": "bytes first-last/total of a piece, or bytes */total"},
        status=202,
        problems=(408, 413, 415, 416, 507),
        takes_file=True,
    ),
]
