"""The two systems that are kept equal."""

from typing import Annotated, ClassVar, Literal

from pydantic import (
    AfterValidator,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
)

from orchestration_project.settings.profile import require_profile
from orchestration_project.settings.settings import Settings
from orchestration_project.settings.values import about

PEOPLEFORCE_URL = "https://app.peopleforce.io/api/public/v3"


class SaasSettings(Settings):
    """PeopleForce and Jira."""

    domain: ClassVar[str] = "saas"
    without_effect: ClassVar[frozenset[str]] = frozenset(
        {"peopleforce_requests_per_second", "jira_requests_per_second"}
    )

    saas_source: Annotated[Literal["demo", "api"] | None, AfterValidator(require_profile)] = Field(
        None,
        description="Systems that are synced: the embedded demos, or PeopleForce and Jira.",
        json_schema_extra=about(
            default="(demo; none if DATA_PROFILE=real)",
            required_when="DATA_PROFILE=real, for SaaS jobs",
        ),
    )
    peopleforce_url: str = Field(PEOPLEFORCE_URL, description="Base URL of PeopleForce's API.")
    peopleforce_api_key: SecretStr | None = Field(
        None,
        description="API key of PeopleForce with permission to read and complete tasks.",
        json_schema_extra=about(group="security", required_when="SAAS_SOURCE=api"),
    )
    peopleforce_requests_per_second: int = Field(
        5,
        ge=0,
        description="Rate limit of requests to PeopleForce; 0 for no limit.",
        json_schema_extra=about(unit="requests per second"),
    )
    jira_url: str | None = Field(
        None,
        description="Base URL of the Jira Cloud site, e.g. https://example.atlassian.net.",
        json_schema_extra=about(required_when="SAAS_SOURCE=api"),
    )
    jira_email: str | None = Field(
        None,
        description="Email address of the Jira account that owns JIRA_TOKEN.",
        json_schema_extra=about(group="security", required_when="SAAS_SOURCE=api"),
    )
    jira_token: SecretStr | None = Field(
        None,
        description="API token of the Jira account JIRA_EMAIL with permission to create, edit and "
        "transition issues.",
        json_schema_extra=about(group="security", required_when="SAAS_SOURCE=api"),
    )
    jira_requests_per_second: int = Field(
        10,
        ge=0,
        description="Rate limit of requests to Jira; 0 for no limit.",
        json_schema_extra=about(unit="requests per second"),
    )

    @field_validator("peopleforce_api_key", "jira_url", "jira_email", "jira_token")
    @classmethod
    def _needed_for_the_real_ones(
        cls, value: SecretStr | str | None, info: ValidationInfo
    ) -> SecretStr | str | None:
        if value is None and info.data.get("saas_source") == "api":
            raise ValueError("required when SAAS_SOURCE=api")
        return value
