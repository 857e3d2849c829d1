"""The assets of documents: files of their source, loaded by the day of their first sight."""

from orchestration_project.assets.documents.catalogue import (
    DAYS,
    LOAD_JOB,
    LOAD_OP,
    PAGES,
    REPLAY_JOB,
    files,
)
from orchestration_project.assets.documents.freshness import files_are_loaded_in_time, freshness_job
from orchestration_project.assets.documents.loading import load_documents, load_job, replay_job
from orchestration_project.assets.documents.options import DOCUMENTS_LOADING

__all__ = [
    "DAYS",
    "DOCUMENTS_LOADING",
    "LOAD_JOB",
    "LOAD_OP",
    "PAGES",
    "REPLAY_JOB",
    "files",
    "files_are_loaded_in_time",
    "freshness_job",
    "load_documents",
    "load_job",
    "replay_job",
]
