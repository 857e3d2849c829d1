"""The assets of documents: files of their source, loaded by the day of their first sight."""

from orchestration_project.assets.documents.catalogue import (
    DAYS,
    LOAD_JOB,
    LOAD_OP,
    PAGES,
    REPLAY_JOB,
    VERDICT_OP,
    files,
)
from orchestration_project.assets.documents.derivation import derive_documents, derive_job
from orchestration_project.assets.documents.freshness import files_are_loaded_in_time, freshness_job
from orchestration_project.assets.documents.loading import load_documents, load_job, replay_job
from orchestration_project.assets.documents.options import DOCUMENTS_LOADING
from orchestration_project.assets.documents.verdict import judge_documents

__all__ = [
    "DAYS",
    "DOCUMENTS_LOADING",
    "LOAD_JOB",
    "LOAD_OP",
    "PAGES",
    "REPLAY_JOB",
    "VERDICT_OP",
    "derive_documents",
    "derive_job",
    "files",
    "files_are_loaded_in_time",
    "freshness_job",
    "judge_documents",
    "load_documents",
    "load_job",
    "replay_job",
]
