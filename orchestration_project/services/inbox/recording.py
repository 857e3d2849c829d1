"""A webhook delivery of the inbox as what was fetched: its bytes as a capture, with provenance."""

from collections.abc import Mapping

from orchestration_project.engine.captures import Capture, Fetched
from orchestration_project.engine.warehouse import Delivery
from orchestration_project.services.inbox.work import Content


def fetched_of(content: Content) -> Fetched:
    """Return a delivery of the inbox as what was fetched."""
    request: Mapping[str, object] = {"delivery_id": content.delivery_id, "method": "POST"}
    return Fetched(
        body=content.body,
        url=f"/hooks/{content.source}",
        request=request,
        response_headers=content.headers,
        http_status=None,
        row_count=1,
        fetched_at=content.received_at,
    )


def delivery_of(content: Content, *captures: Capture) -> Delivery:
    """Return what names a delivery of the inbox; ``captures`` has its bytes, once they are kept."""
    return Delivery(
        source="webhooks",
        dataset=content.source,
        source_version=captures[0].sha256 if captures else "",
        record_total=1,
        scope={},
        captures=captures,
    )
