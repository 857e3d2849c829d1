"""Settings of traces and their export by OpenTelemetry; the names are OpenTelemetry's own."""

import re
from typing import ClassVar
from urllib.parse import unquote, urlsplit

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings

from orchestration_project.settings.values import about

HEADER = re.compile(r"[A-Za-z0-9_-]+=[!-+\--~]+")
VALUE = re.compile("[ -~]+")


class TracingSettings(BaseSettings):
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
        given = value.get_secret_value().split(",") if value is not None else []
        if not all(HEADER.fullmatch(each) and VALUE.fullmatch(_header(each)[1]) for each in given):
            raise ValueError("expected NAME=VALUE,NAME=VALUE, e.g. x-api-key=secret")
        return value

    @property
    def otlp_headers(self) -> dict[str, str]:
        """OTEL_EXPORTER_OTLP_HEADERS by name; empty if unset."""
        given = self.otel_exporter_otlp_headers
        pairs = given.get_secret_value().split(",") if given else []
        return dict(map(_header, pairs))

    @property
    def otlp_logs_url(self) -> str | None:
        """URL that log lines are sent to; None: they are not sent."""
        base = self.otel_exporter_otlp_endpoint
        return self.otel_exporter_otlp_logs_endpoint or (f"{base}/v1/logs" if base else None)


def _header(text: str) -> tuple[str, str]:
    """Return name and value of NAME=VALUE, the value percent-decoded."""
    name, _, value = text.partition("=")
    return name, unquote(value)
