"""The assets of documents: files of their source, loaded by the day of their first sight."""

from orchestration_project.assets.documents.catalogue import (
    DAYS,
    PAGES,
    VERDICT_OP,
    files,
)
from orchestration_project.assets.documents.checks import (
    documents_freshness_job,
    files_are_loaded_in_time,
    judge_documents,
)
from orchestration_project.assets.documents.derivation import derive_documents, derive_job
from orchestration_project.assets.documents.loading import REPLAY, load_documents, load_job
from orchestration_project.domains.documents.options import DOCUMENTS_LOADING, LOAD_JOB, LOAD_OP

__all__ = [
    "DAYS",
    "DOCUMENTS_LOADING",
    "LOAD_JOB",
    "LOAD_OP",
    "PAGES",
    "REPLAY",
    "VERDICT_OP",
    "derive_documents",
    "derive_job",
    "documents_freshness_job",
    "files",
    "files_are_loaded_in_time",
    "judge_documents",
    "load_documents",
    "load_job",
]
