"""Where rows, raw bytes, runs and logs lie, and for how long."""

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings

from orchestration_project.settings.values import MOST_DAYS, Zoned, also_read_as, from_root


class StorageSettings(BaseSettings):
    """Databases, artifacts, state, logs and the clock."""

    without_effect: ClassVar[frozenset[str]] = frozenset(
        {
            "database_url",
            "database_schema",
            "dagster_database_url",
            "artifacts_url",
            "state_dir",
            "log_level",
            "log_format",
        }
    )

    database_url: SecretStr | None = Field(
        None,
        validation_alias=also_read_as("database_url", "spine_db_url"),
        description="SQLAlchemy URL; default: a SQLite file for each source in STATE_DIR.",
    )
    database_schema: str | None = Field(None, description="PostgreSQL schema of our tables.")
    dagster_database_url: SecretStr | None = Field(
        None, description="postgresql:// URL of Dagster's own storage; default: SQLite."
    )
    dagster_run_log_days: int = Field(
        90,
        ge=1,
        le=MOST_DAYS,
        description="Days after which operations_prune frees what a finished run left in Dagster's "
        "logs: a quarter, as ticks are kept.",
    )
    artifacts_url: str | None = Field(
        None, description="Folder or s3:// URL that keeps raw bytes; default: STATE_DIR/artifacts."
    )
    artifacts_captured_days: int | None = Field(
        None,
        ge=2,
        le=MOST_DAYS,
        description="Days after which operations_cleanup may delete captured bytes that no current "
        "row was read from; default: never.",
    )
    artifacts_staged_days: int | None = Field(
        30, ge=2, le=MOST_DAYS, description="The same of staged rows, which nothing reads again."
    )
    artifacts_picture_days: int | None = Field(
        365, ge=2, le=MOST_DAYS, description="The same of pictures."
    )
    artifacts_keep_newest: int = Field(
        3,
        ge=1,
        description="How many deliveries of a partition, or pictures of a kind, stay however old "
        "they are.",
    )
    state_dir: Path = Field(Path("var"), description="The folder of all state.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO",
        validation_alias=also_read_as("log_level", "spine_log_level"),
        description="Least severe log line that is written.",
    )
    log_format: Literal["text", "json"] = Field(
        "text", description="Log lines as text, or each as a JSON object for a log store."
    )
    clock_now: Zoned | None = Field(
        None, description="An ISO time with zone from which the clock advances; for tests, demos."
    )

    @field_validator("state_dir")
    @classmethod
    def _as_it_is_in_a_url(cls, value: Path) -> Path:
        if {"?", "%"} & set(str(value)):  # Dagster puts it into one unescaped: it lay elsewhere
            raise ValueError("a path with ? or % cannot be used")
        return value

    @property
    def state_path(self) -> Path:
        """STATE_DIR as an absolute path; a relative one is below the project's root."""
        return from_root(self.state_dir)
