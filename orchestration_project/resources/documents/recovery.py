"""Captured documents, read again from their folder or bucket."""

from orchestration_project.engine.recovery import RecordedCapture, Recovery, RecoveryEnvironment
from orchestration_project.settings import Settings
from orchestration_project.settings.domains.documents import DocumentsSettings

SOURCES = frozenset({"demo", "folder", "s3"})


def _is_file(capture: RecordedCapture, settings: Settings) -> bool:
    """Whether it is a file of the source that the settings name; uploads have no other place."""
    chosen = DocumentsSettings.of(settings).documents_source
    is_document = capture.dataset == "files" and isinstance(capture.request.get("file"), str)
    return is_document and capture.source == chosen and chosen in SOURCES


def _read(capture: RecordedCapture, given: RecoveryEnvironment) -> bytes | None:
    source = given.open("documents")
    return source.read(capture.request["file"], max_bytes=max(capture.byte_count, 1))


RECOVERIES = [Recovery(way="source", applies=_is_file, read=_read)]
"""Files of a folder or bucket, in their present state."""
