"""Options of loads and replays of documents, which presets may set."""

from enum import StrEnum
from typing import cast

import dagster as dg
from pydantic import Field

from orchestration_project.assets.documents.catalogue import LOAD_JOB, LOAD_OP
from orchestration_project.contracts.presets import Default, PresetTarget
from orchestration_project.engine.options import JobOptions, describe_defaults
from orchestration_project.settings import load_shared_settings
from orchestration_project.settings.domains.documents import FailOn as FailOnName


class Ocr(StrEnum):
    """Whether images are recognised."""

    auto = "auto"
    always = "always"
    never = "never"


class FailOn(StrEnum):
    """The verdict from which a run fails."""

    never = "never"
    bad = "bad"
    watch = "watch"


FAIL_ON_TAG = "documents_fail_on"
"""Tag of a run that a verdict may fail, with the verdict from which it does."""


class DocumentOptions(JobOptions):
    """Options of reading and cutting documents; the applied preset has those that are left out."""

    chunk_words: int | None = Field(
        default=None, ge=20, le=10_000, examples=[256], description="Maximum words of a chunk."
    )
    chunk_overlap: int | None = Field(
        default=None,
        ge=0,
        le=5_000,
        examples=[32],
        description="Words at the end of a chunk with which the next one begins, at most half of "
        "chunk_words.",
    )
    ocr: Ocr | None = Field(
        default=None,
        description="Recognition of images by Tesseract; auto: where it is installed.",
    )
    fail_on: FailOn | None = Field(
        default=None,
        description="Verdict from which the run fails; watch: any that is not good.",
    )


class DocumentsLoad(DocumentOptions):
    """Options of a run that loads documents, or replays captured ones."""

    replay: bool = Field(
        default=False,
        description="Extract captured documents again that other rules made; no file is read.",
    )


DOCUMENTS_LOADING = PresetTarget(
    job=LOAD_JOB,
    op=LOAD_OP,
    model=DocumentsLoad,
    fields={
        name: Default(setting=f"documents_{name}")
        for name in ("chunk_words", "chunk_overlap", "ocr", "fail_on")
    },
)
"""Fields that a preset may set for loads, and for replays too."""

describe_defaults(DocumentsLoad, DOCUMENTS_LOADING.default_texts(load_shared_settings()))


def record_fail_on(instance: dg.DagsterInstance, run_id: str, fail_on: str) -> None:
    """Record from which verdict a run fails, for the step that judges its documents."""
    if fail_on != FailOn.never:
        instance.add_run_tags(run_id, {FAIL_ON_TAG: str(fail_on)})


def fail_on_of(instance: dg.DagsterInstance, run_id: str) -> FailOnName:
    """Return from which verdict a run fails, as its load recorded it."""
    run = instance.get_run_by_id(run_id)
    return cast(FailOnName, run.tags.get(FAIL_ON_TAG, "never") if run else "never")
