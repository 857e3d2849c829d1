"""Options of loads and replays of documents, which presets may set."""

from enum import StrEnum

from pydantic import Field

from orchestration_project.engine.contracts.job_options import OptionFields
from orchestration_project.engine.contracts.presets import Default, PresetTarget

LOAD_OP, LOAD_JOB = "documents_load_day", "documents_load"


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


class DocumentOptions(OptionFields):
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

PRESET_TARGETS = (DOCUMENTS_LOADING,)
