"""The page of documents: reason codes, media types and limits of extraction."""

from dataclasses import fields

from orchestration_project.domains.documents.extracted import Limits
from orchestration_project.domains.documents.extraction import READERS
from orchestration_project.domains.documents.media_types import OF_EXTENSION
from orchestration_project.domains.documents.reasons import REASONS
from reference_pages.markdown import code, page, section, table


def write() -> str:
    """Return the page."""
    reasons = [
        (code(name), code(reason.state), code(reason.category), reason.meaning, reason.remedy)
        for name, reason in REASONS.items()
    ]
    types = [
        (code(media_type), ", ".join(code(name) for name in _extensions(media_type)))
        for media_type in READERS
    ]
    limits = [(code(each.name), f"{getattr(Limits(), each.name):,}") for each in fields(Limits)]
    return page(
        "documents",
        [
            section(
                "Reason codes",
                table(("`reason_code`", "state", "category", "meaning", "what to do"), reasons),
            ),
            section("Media types", table(("media type", "extensions"), types)),
            section("Limits", table(("limit of one file", "default"), limits)),
        ],
    )


def _extensions(media_type: str) -> list[str]:
    return [name for name, found in OF_EXTENSION.items() if found == media_type]
