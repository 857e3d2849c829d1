"""Settings of webhooks and the API: senders, keys and limits."""

from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings

from orchestration_project.settings.values import MAX_DAYS, Words, about, default_path


class WebhookSettings(BaseSettings, defer_build=True):
    """Settings of requests from other programs."""

    domain: ClassVar[str] = "events"
    file_readers: ClassVar[tuple[str, ...]] = (
        "orchestration_project.services.inbox.senders.read_declared_sources",
        "orchestration_project.services.inbox.senders.read_declared_inboxes",
    )
    without_effect: ClassVar[frozenset[str]] = frozenset(
        {"webhook_max_body_mib", "webhook_inbox_rows", "api_allowed_origins"}
    )

    webhooks_file: Path = Field(
        Path("config/webhooks.yaml"),
        description="YAML file of webhook sources; their secrets are in WEBHOOK_SECRET_<SOURCE> "
        "and, during rotation, WEBHOOK_SECRET_<SOURCE>_OLD.",
    )
    inboxes_file: Path = Field(
        Path("config/inboxes.yaml"),
        description="YAML file of inboxes for uploaded files: sizes, quotas and media types.",
    )
    webhook_max_body_mib: int = Field(
        5,
        ge=1,
        description="Maximum body size of a webhook delivery.",
        json_schema_extra=about(unit="MiB"),
    )
    webhook_inbox_rows: int = Field(
        100_000,
        ge=1,
        description="Number of waiting deliveries above which senders receive status 503.",
        json_schema_extra=about(unit="deliveries"),
    )
    webhook_body_days: int | None = Field(
        None,
        ge=2,
        le=MAX_DAYS,
        description="Age from which operations_clean_up removes all copies of the body of a "
        "delivery that is done, with its routed actions, since their latest change; its ID and "
        "digest stay, so a repeated one is a duplicate. Kept: rows of the action row, exports.",
        json_schema_extra=about(unit="days", default="(never)"),
    )
    webhook_dead_body_days: int | None = Field(
        None,
        ge=2,
        le=MAX_DAYS,
        description="The same age of a delivery that is dead, or has a dead routed action; then "
        "no replay is possible.",
        json_schema_extra=about(unit="days", default="(never)"),
    )

    api_allowed_origins: Words = Field(
        (),
        description="Origins of web pages that may call the API with an access key, e.g. "
        "https://reports.example.org.",
        json_schema_extra=about(default="(none)", group="security"),
    )

    @field_validator("api_allowed_origins")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            parts = urlsplit(name)
            if parts.scheme not in ("http", "https") or name != f"{parts.scheme}://{parts.netloc}":
                raise ValueError("expected scheme and host, e.g. https://example.org")
        return value

    @property
    def inboxes_path(self) -> Path:
        """INBOXES_FILE as an absolute path; a relative one is below the project folder."""
        return default_path(self.inboxes_file)

    @property
    def webhooks_path(self) -> Path:
        """WEBHOOKS_FILE as an absolute path; a relative one is below the project folder."""
        return default_path(self.webhooks_file)
