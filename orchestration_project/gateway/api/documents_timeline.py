"""The API's route of a document's timeline."""

from dataclasses import asdict

from orchestration_project.engine.contracts.api.models import DocumentEvent, DocumentTimeline
from orchestration_project.gateway.api.documents import DocumentName
from orchestration_project.gateway.api.operation import Body, Call, Operation
from orchestration_project.gateway.api.problems import not_found
from orchestration_project.gateway.api.services import Services
from orchestration_project.resources.documents.timeline import read_timeline
from orchestration_project.services.links import base_of, build_run_url


async def document_timeline(call: Call[DocumentName, Body]) -> DocumentTimeline:
    """Read the events of a document in order, and the remedies."""
    return await call.services.in_thread(_build_timeline, call.services, call.query.document_id)


def _build_timeline(services: Services, document_id: str) -> DocumentTimeline:
    timeline = read_timeline(services.warehouse, document_id)
    if timeline is None:
        raise not_found("document not found")
    base = base_of(services.settings.public_url)
    return DocumentTimeline(
        document_id=timeline.document_id,
        paths=list(timeline.paths),
        state=timeline.state,
        events=[
            DocumentEvent(
                **asdict(event),
                run_url=f"{base}{build_run_url(event.run_id)}" if event.run_id else None,
            )
            for event in timeline.events
        ],
    )


OPERATIONS = (
    Operation(
        "GET",
        "/documents/{document_id}/timeline",
        "viewer",
        "Read the timeline of a document",
        document_timeline,
        query=DocumentName,
        answer=DocumentTimeline,
        problems=(404,),
    ),
)
