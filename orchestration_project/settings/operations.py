"""Settings of what operators look at: readiness and alerts."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, NoDecode

from orchestration_project.settings.values import MOST_HOURS, MOST_MINUTES, from_root


class ReadinessSettings(BaseSettings):
    """The gate before every run."""

    without_effect: ClassVar[frozenset[str]] = frozenset(
        {
            "preflight_cache_minutes",
            "disk_headroom_mib",
            "clock_skew_seconds",
        }
    )

    preflight_cache_minutes: float = Field(
        15,
        ge=0,
        le=MOST_MINUTES,
        description="Minutes for which work goes by what was found of a dependency that was ready; "
        "then it is looked at again first.",
    )
    disk_headroom_mib: int = Field(
        512,
        ge=0,
        description="MiB that must be free where we write, or no work begins: a week of all tiers "
        "takes some tens of it.",
    )
    clock_skew_seconds: float = Field(
        10,
        gt=0,
        description="Seconds by which this machine's clock may differ from the database's server "
        "and FINRA, whose times have whole seconds.",
    )


class AlertSettings(BaseSettings):
    """Alerts."""

    without_effect: ClassVar[frozenset[str]] = frozenset(
        {
            "public_url",
            "alert_urls",
            "alert_url_name",
            "slack_webhook",
            "alert_repeat_after_hours",
            "alert_rules",
        }
    )

    public_url: str = Field(
        "http://127.0.0.1:3000", description="Where people reach Dagster's UI; alerts link to it."
    )
    alert_urls: SecretStr | None = Field(
        None,
        description="Who is told: Apprise URLs with blanks between, each with the least severity "
        "that it gets before it, as in warning=mailto://... (info, warning, error; default error).",
    )
    alert_url_name: Annotated[Mapping[str, SecretStr] | None, NoDecode] = Field(
        None,
        description="One more of these under a name of your own in place of NAME: ALERT_URL_OPS is "
        "the channel ops of alerts.yaml.",
    )
    slack_webhook: SecretStr | None = Field(
        None,
        description="A webhook of Slack's: one more entry of ALERT_URLS.",
    )
    alert_repeat_after_hours: float = Field(
        24,
        gt=0,
        le=MOST_HOURS,
        description="The same failure is told again after this long: once a day.",
    )
    alert_rules: Path = Field(
        Path("alerts.yaml"), description="The file of rules: who is told of what."
    )

    @property
    def every_alert_url(self) -> str:
        """The entries of ALERT_URLS, and SLACK_WEBHOOK as the last of them."""
        given = (self.alert_urls, self.slack_webhook)
        return " ".join(each.get_secret_value() for each in given if each)

    @property
    def named_alert_urls(self) -> Mapping[str, str]:
        """The entries of ALERT_URL_<NAME>, by name in lower case."""
        given = self.alert_url_name or {}
        return {name: url.get_secret_value() for name, url in given.items()}

    @property
    def has_alert_channels(self) -> bool:
        """Whether anybody is told of alerts."""
        return bool(self.every_alert_url or self.named_alert_urls)

    @property
    def alert_rules_path(self) -> Path | None:
        """ALERT_RULES as an absolute path; None where nobody set it and the file is not there."""
        path = from_root(self.alert_rules)
        is_own = self.alert_rules != type(self).model_fields["alert_rules"].default
        return path if is_own or path.exists() else None
