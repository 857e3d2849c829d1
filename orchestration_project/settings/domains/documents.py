"""Settings of documents: where files are, and how they are read."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from orchestration_project.settings.about import about
from orchestration_project.settings.profile import require_profile
from orchestration_project.settings.settings import Settings
from orchestration_project.settings.values import from_root, without_secrets


class DocumentsSettings(Settings):
    """Documents of a folder, a bucket or uploads."""

    domain: ClassVar[str] = "documents"
    without_effect: ClassVar[frozenset[str]] = frozenset(
        {
            "documents_dir",
            "documents_url",
            "documents_inbox",
            "documents_stable_seconds",
            "documents_workers",
        }
    )

    documents_source: Annotated[
        Literal["demo", "folder", "s3", "inbox"] | None, AfterValidator(require_profile)
    ] = Field(
        None,
        description="Source of documents: generated files of the embedded demo, a folder, objects "
        "of an S3 bucket, or uploads alone.",
        json_schema_extra=about(
            default="(demo; none if DATA_PROFILE=real)",
            required_when="DATA_PROFILE=real, for document jobs",
        ),
    )
    documents_dir: Path | None = Field(
        None,
        description="Folder of documents, with its subfolders.",
        json_schema_extra=about(required_when="DOCUMENTS_SOURCE=folder"),
    )
    documents_url: str | None = Field(
        None,
        description="Bucket and prefix of documents; endpoint and credentials are in the AWS_… "
        "variables.",
        json_schema_extra=about(required_when="DOCUMENTS_SOURCE=s3"),
    )
    documents_inbox: str = Field(
        "documents",
        pattern=r"^[a-z][a-z0-9_]{0,39}$",
        description="Inbox of INBOXES_FILE whose uploads are loaded beside the files of any "
        "source.",
    )
    documents_stable_seconds: float = Field(
        10,
        ge=0,
        le=86_400,
        description="Time during which a file keeps its size and change time before it is loaded.",
        json_schema_extra=about(unit="seconds"),
    )
    documents_memory_mib: int = Field(
        512,
        ge=256,
        le=65_536,
        description="Memory of a process that reads documents; larger ones are refused.",
        json_schema_extra=about(unit="MiB"),
    )
    documents_workers: int = Field(
        2,
        ge=1,
        le=64,
        description="Number of processes that read documents at the same time.",
        json_schema_extra=about(unit="processes"),
    )
    documents_chunk_words: int = Field(
        500,
        ge=20,
        le=10_000,
        description="Maximum number of words of a chunk.",
        json_schema_extra=about(unit="words"),
    )

    @field_validator("documents_dir")
    @classmethod
    def _required_folder(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value is None and info.data.get("documents_source") == "folder":
            raise ValueError("expected the path of a folder, as DOCUMENTS_SOURCE is folder")
        return None if value is None else from_root(value)

    @field_validator("documents_url")
    @classmethod
    def _required_bucket(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None and info.data.get("documents_source") == "s3":
            raise ValueError("expected s3://bucket/prefix, as DOCUMENTS_SOURCE is s3")
        if value is not None and (not value.startswith("s3://") or without_secrets(value) != value):
            raise ValueError("expected s3://bucket/prefix, e.g. s3://company-files/documents")
        return value
