"""Settings of operations: readiness, checks, exports, objectives, backups, alerts and traces."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import unquote, urlsplit

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings

from orchestration_project.settings.values import (
    MAX_HOURS,
    MAX_MINUTES,
    about,
    default_path,
    project_path,
    require_one_each,
    split_entries,
)

if TYPE_CHECKING:
    from orchestration_project.settings.checks import CheckLimits


class ReadinessSettings(BaseSettings, defer_build=True):
    """The gate before every run."""

    without_effect: ClassVar[frozenset[str]] = frozenset(
        {
            "preflight_cache_minutes",
            "disk_headroom_mib",
            "clock_skew_seconds",
            "queue_max_runs",
            "queue_max_launches_per_key",
        }
    )

    preflight_cache_minutes: float = Field(
        15,
        ge=0,
        le=MAX_MINUTES,
        description="Time for which the result of a passed pre-flight check is reused.",
        json_schema_extra=about(unit="minutes"),
    )
    disk_headroom_mib: int = Field(
        512,
        ge=0,
        description="Minimum free disk space; below it no run starts.",
        json_schema_extra=about(unit="MiB"),
    )
    clock_skew_seconds: float = Field(
        10,
        gt=0,
        description="Maximum difference between this machine's clock and those of the database "
        "server and FINRA.",
        json_schema_extra=about(unit="seconds"),
    )
    queue_max_runs: int = Field(
        1000,
        ge=1,
        description="Maximum number of queued runs; the REST API launches nothing beyond it.",
        json_schema_extra=about(unit="runs"),
    )
    queue_max_launches_per_key: int = Field(
        600,
        ge=1,
        description="Maximum number of runs and backfills that one key launches by the REST API.",
        json_schema_extra=about(unit="launches per hour"),
    )


class CheckSettings(BaseSettings, defer_build=True):
    """The limits of asset checks."""

    without_effect: ClassVar[frozenset[str]] = frozenset({"checks_file"})

    checks_file: Path = Field(
        Path("config/checks.yaml"),
        description="YAML file of the limits of asset checks, by dataset; without the default "
        "file, each limit has its default.",
    )

    @property
    def checks(self) -> "CheckLimits":
        """The limits that CHECKS_FILE sets.

        Raises:
            ConfigurationError: The file cannot be read or is invalid.
        """
        from orchestration_project.settings.checks import read_checks

        return read_checks(self.checks_path)

    def checks_of(self, domain: str) -> "CheckLimits":
        """Return the same for a domain: invalid limits of other domains have their defaults.

        Raises:
            ConfigurationError: The file cannot be read, or limits of the domain are invalid.
        """
        from orchestration_project.settings.checks import read_checks

        return read_checks(self.checks_path, domain)

    @property
    def checks_path(self) -> Path | None:
        """CHECKS_FILE as an absolute path; None if it has its default and does not exist."""
        path = default_path(self.checks_file)
        is_own = self.checks_file != type(self).model_fields["checks_file"].default
        return path if is_own or path.exists() else None


class ExportSettings(BaseSettings, defer_build=True):
    """Scheduled exports."""

    without_effect: ClassVar[frozenset[str]] = frozenset({"exports_file"})

    exports_file: Path = Field(
        Path("config/exports.yaml"),
        description="YAML file of scheduled exports and their targets; secrets of the target "
        "<TARGET> are in EXPORT_URL_<TARGET> and EXPORT_SECRET_<TARGET>.",
    )

    @property
    def exports_path(self) -> Path | None:
        """EXPORTS_FILE as an absolute path; None if it has its default and does not exist."""
        path = default_path(self.exports_file)
        is_own = self.exports_file != type(self).model_fields["exports_file"].default
        return path if is_own or path.exists() else None


class ObjectiveSettings(BaseSettings, defer_build=True):
    """Service level objectives."""

    without_effect: ClassVar[frozenset[str]] = frozenset({"slo_file"})

    slo_file: Path = Field(
        Path("config/slo.yaml"),
        description="YAML file of service level objectives; without the default file there are "
        "none.",
    )

    @property
    def slo_path(self) -> Path | None:
        """SLO_FILE as an absolute path; None if it has its default and does not exist."""
        path = default_path(self.slo_file)
        is_own = self.slo_file != type(self).model_fields["slo_file"].default
        return path if is_own or path.exists() else None


class BackupSettings(BaseSettings, defer_build=True):
    """Backups."""

    without_effect: ClassVar[frozenset[str]] = frozenset({"backup_max_age_hours"})

    backup_max_age_hours: float | None = Field(
        None,
        gt=0,
        le=MAX_HOURS,
        description="Maximum age of the latest backup; beyond it an alert is raised.",
        json_schema_extra=about(
            unit="hours", default="(24 after the first backup, none before)", group="tuning"
        ),
    )


class AlertSettings(BaseSettings, defer_build=True):
    """Alerts."""

    without_effect: ClassVar[frozenset[str]] = frozenset(
        {
            "public_url",
            "public_certificate_file",
            "installation_name",
            "alert_urls",
            "alert_url_name",
            "slack_webhook",
            "alert_repeat_after_hours",
            "alert_rules",
            "docs_url",
        }
    )

    public_url: str = Field(
        "http://127.0.0.1:3000",
        description="Public base URL of the UI, used in alerts and for login.",
        json_schema_extra=about(
            required_when="the UI is served on a non-loopback address (https://)"
        ),
    )
    public_certificate_file: Path | None = Field(
        None,
        description="Certificate of PUBLIC_URL, PEM, whose expiry is an alert.",
        json_schema_extra=about(default="(as the host of PUBLIC_URL serves it)", group="tuning"),
    )
    installation_name: str = Field(
        "",
        max_length=60,
        description="Name of the installation, shown on the login page and above the UI's pages.",
        json_schema_extra=about(default="(the host of PUBLIC_URL)", group="tuning"),
    )
    alert_urls: SecretStr | None = Field(
        None,
        description="Apprise URLs of the alert channels, each with an optional minimum severity, "
        "e.g. warning=mailto://ops@example.org.",
        json_schema_extra=about(allowed="[severity=]URL entries; severity: info, warning, error"),
    )
    alert_url_name: Mapping[str, SecretStr] | None = Field(
        None,
        description="Apprise URL of the alert channel <CHANNEL> of alerts.yaml, with an optional "
        "minimum severity: ALERT_URL_OPS is the channel ops.",
        json_schema_extra=about(
            group="tuning",
            name="ALERT_URL_<CHANNEL>",
            allowed="[severity=]URL; severity: info, warning, error",
        ),
    )
    slack_webhook: SecretStr | None = Field(
        None,
        description="Slack webhook URL, added to ALERT_URLS.",
        json_schema_extra=about(group="tuning"),
    )
    alert_repeat_after_hours: float = Field(
        24,
        gt=0,
        le=MAX_HOURS,
        description="Time after which an alert of the same failure is repeated.",
        json_schema_extra=about(unit="hours"),
    )
    alert_rules: Path = Field(
        Path("config/alerts.yaml"), description="YAML file of the alert routing rules."
    )
    docs_url: str | None = Field(
        None,
        max_length=300,
        pattern=r"^https?://\S+$",
        description="Base URL of the built documentation site, whose runbooks alerts link.",
        json_schema_extra=about(default="(alerts name the page in the checkout)", group="tuning"),
    )

    @field_validator("alert_urls")
    @classmethod
    def _is_list(cls, value: SecretStr | None) -> SecretStr | None:
        entries = split_entries(value.get_secret_value() if value else "")
        require_one_each(entries, r"([A-Za-z]+=)?[A-Za-z0-9]+://")
        return value

    @property
    def public_certificate_path(self) -> Path | None:
        """PUBLIC_CERTIFICATE_FILE as an absolute path."""
        return self.public_certificate_file and project_path(self.public_certificate_file)

    @property
    def every_alert_url(self) -> Sequence[str]:
        """The entries of ALERT_URLS, and SLACK_WEBHOOK as the last of them."""
        entries = split_entries(self.alert_urls.get_secret_value()) if self.alert_urls else ()
        return (*entries, self.slack_webhook.get_secret_value()) if self.slack_webhook else entries

    @property
    def named_alert_urls(self) -> Mapping[str, str]:
        """The entries of ALERT_URL_<NAME>, by name in lower case."""
        alert_url_name = self.alert_url_name or {}
        return {name: url.get_secret_value() for name, url in alert_url_name.items()}

    @property
    def has_alert_channels(self) -> bool:
        """Whether alerts are sent to any channel."""
        return bool(self.every_alert_url or self.named_alert_urls)

    @property
    def alert_rules_path(self) -> Path | None:
        """ALERT_RULES as an absolute path; None: not set, and no such file."""
        path = default_path(self.alert_rules)
        is_own = self.alert_rules != type(self).model_fields["alert_rules"].default
        return path if is_own or path.exists() else None


HEADER = re.compile(r"[A-Za-z0-9_-]+=[!-+\--~]+")
VALUE = re.compile("[ -~]+")


class TracingSettings(BaseSettings, defer_build=True):
    """Export of spans; without an endpoint nothing is exported or imported for it."""

    without_effect: ClassVar[frozenset[str]] = frozenset(
        {
            "otel_exporter_otlp_endpoint",
            "otel_exporter_otlp_headers",
            "otel_exporter_otlp_logs_endpoint",
            "otel_traces_sampler_arg",
        }
    )

    otel_exporter_otlp_endpoint: str | None = Field(
        None,
        description="Base URL of a collector of OpenTelemetry that takes OTLP over HTTP, e.g. "
        "http://127.0.0.1:4318; spans go to its path /v1/traces, log lines to /v1/logs. It needs "
        "the extra `otel`.",
        json_schema_extra=about(group="tuning"),
    )
    otel_exporter_otlp_logs_endpoint: str | None = Field(
        None,
        description="URL of a collector that log lines alone go to by OTLP over HTTP.",
        json_schema_extra=about(
            group="tuning", default="(/v1/logs below OTEL_EXPORTER_OTLP_ENDPOINT)"
        ),
    )
    otel_exporter_otlp_headers: SecretStr | None = Field(
        None,
        description="Comma-separated headers of requests to the collector, NAME=VALUE with values "
        "percent-encoded, e.g. x-api-key=secret.",
        json_schema_extra=about(group="security"),
    )
    otel_traces_sampler_arg: float = Field(
        1.0,
        ge=0,
        le=1,
        description="Share of traces whose spans are exported; spans with an error always are.",
        json_schema_extra=about(unit="share"),
    )

    @field_validator("otel_exporter_otlp_endpoint", "otel_exporter_otlp_logs_endpoint")
    @classmethod
    def _is_base_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            parts = urlsplit(value)
            is_valid = parts.scheme in ("http", "https") and bool(parts.hostname)
            is_valid &= parts.port is None or parts.port > 0
            is_plain = not (parts.username or parts.password or parts.query or parts.fragment)
        except ValueError:
            is_valid = is_plain = False
        if not (is_valid and is_plain):
            raise ValueError(
                "expected http:// or https:// without credentials or query, e.g. "
                "http://127.0.0.1:4318; credentials belong in OTEL_EXPORTER_OTLP_HEADERS"
            )
        return value.rstrip("/")

    @field_validator("otel_exporter_otlp_headers")
    @classmethod
    def _are_headers(cls, value: SecretStr | None) -> SecretStr | None:
        given_names = value.get_secret_value().split(",") if value is not None else []
        if not all(
            HEADER.fullmatch(name) and VALUE.fullmatch(_parse_header(name)[1])
            for name in given_names
        ):
            raise ValueError("expected NAME=VALUE,NAME=VALUE, e.g. x-api-key=secret")
        return value

    @property
    def otlp_headers(self) -> dict[str, str]:
        """OTEL_EXPORTER_OTLP_HEADERS by name; empty if unset."""
        otel_exporter_otlp_headers = self.otel_exporter_otlp_headers
        pairs = (
            otel_exporter_otlp_headers.get_secret_value().split(",")
            if otel_exporter_otlp_headers
            else []
        )
        return dict(map(_parse_header, pairs))

    @property
    def otlp_logs_url(self) -> str | None:
        """URL that log lines are sent to; None: they are not sent."""
        base = self.otel_exporter_otlp_endpoint
        return self.otel_exporter_otlp_logs_endpoint or (f"{base}/v1/logs" if base else None)


def _parse_header(text: str) -> tuple[str, str]:
    """Return name and value of NAME=VALUE, the value percent-decoded."""
    name, _, value = text.partition("=")
    return name, unquote(value)
