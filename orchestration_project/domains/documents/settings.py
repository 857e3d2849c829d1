"""Settings of documents: where files are, and how they are read."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, SecretStr, ValidationInfo, field_validator

from orchestration_project.settings.profile import require_profile
from orchestration_project.settings.settings import Settings
from orchestration_project.settings.values import about, project_path, without_secrets

OcrMode = Literal["auto", "always", "never"]
FailOn = Literal["never", "bad", "watch"]

MAX_PASSWORDS = 100
"""Each is tried on each encrypted file, and each may take a tenth of a second."""


class DocumentsSettings(Settings):
    """Documents of a folder, a bucket or uploads."""

    domain: ClassVar[str] = "documents"
    indicators: ClassVar[frozenset[str]] = frozenset({"freshness"})
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

    documents_chunk_overlap: int = Field(
        0,
        ge=0,
        le=5_000,
        description="Words at the end of a chunk with which the next one of the page begins, at "
        "most half of DOCUMENTS_CHUNK_WORDS.",
        json_schema_extra=about(unit="words"),
    )
    documents_ocr: OcrMode = Field(
        "auto",
        description="Recognition of images by the program Tesseract; auto: where it is installed; "
        "always: runs fail where it is not.",
    )
    documents_ocr_languages: str = Field(
        "eng",
        pattern=r"^[A-Za-z0-9_]{2,30}(\+[A-Za-z0-9_]{2,30}){0,9}$",
        description="Codes of Tesseract's language data, separated by +, e.g. eng+deu.",
        json_schema_extra=about(allowed="codes separated by +"),
    )
    documents_ocr_seconds: float = Field(
        120,
        ge=1,
        le=3_600,
        description="Time for the recognition of the images of one file.",
        json_schema_extra=about(unit="seconds"),
    )
    documents_passwords: SecretStr | None = Field(
        None,
        description="Passwords that are tried on encrypted documents, one per line.",
        json_schema_extra=about(group="security", allowed="up to 100 lines"),
    )
    documents_fail_on: FailOn = Field(
        "never",
        description="Verdict from which a run fails; watch: any that is not good.",
    )

    @property
    def passwords(self) -> tuple[str, ...]:
        """The lines of DOCUMENTS_PASSWORDS that are not empty."""
        text = self.documents_passwords.get_secret_value() if self.documents_passwords else ""
        lines = text.replace("\r\n", "\n").split("\n")
        return tuple(dict.fromkeys(filter(None, lines)))

    @field_validator("documents_passwords")
    @classmethod
    def _few_passwords(cls, value: SecretStr | None) -> SecretStr | None:
        count = len(value.get_secret_value().splitlines()) if value else 0
        if count > MAX_PASSWORDS:
            raise ValueError(f"expected at most {MAX_PASSWORDS} lines, got {count}")
        return value

    @field_validator("documents_chunk_overlap")
    @classmethod
    def _at_most_half(cls, value: int, info: ValidationInfo) -> int:
        words = info.data.get("documents_chunk_words")
        if words is not None and value > words // 2:
            raise ValueError(f"expected at most {words // 2}, half of DOCUMENTS_CHUNK_WORDS")
        return value

    @field_validator("documents_dir")
    @classmethod
    def _required_folder(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value is None and info.data.get("documents_source") == "folder":
            raise ValueError("expected the path of a folder, as DOCUMENTS_SOURCE is folder")
        return None if value is None else project_path(value)

    @field_validator("documents_url")
    @classmethod
    def _required_bucket(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None and info.data.get("documents_source") == "s3":
            raise ValueError("expected s3://bucket/prefix, as DOCUMENTS_SOURCE is s3")
        if value is not None and (not value.startswith("s3://") or without_secrets(value) != value):
            raise ValueError("expected s3://bucket/prefix, e.g. s3://company-files/documents")
        return value
