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

PEOPLEFORCE_URL = "https://app.peopleforce.io/api/public/v3"


class SaasSettings(Settings):
    """PeopleForce and Jira."""

    domain: ClassVar[str] = "saas"
    without_effect: ClassVar[frozenset[str]] = frozenset(
        {"peopleforce_requests_per_second", "jira_requests_per_second"}
    )

    saas_source: Annotated[Literal["demo", "api"] | None, AfterValidator(require_profile)] = Field(
        None,
        description="Which two systems are kept equal: the embedded demos, or yours (api); "
        "default: the demos, or with DATA_PROFILE=real none.",
    )
    peopleforce_url: str = Field(PEOPLEFORCE_URL, description="Base URL of PeopleForce's API.")
    peopleforce_api_key: SecretStr | None = Field(
        None, description="A key of PeopleForce's API that may read and complete tasks."
    )
    peopleforce_requests_per_second: int = Field(
        5, ge=0, description="PeopleForce allows about 300 requests a minute; 0: no limit."
    )
    jira_url: str | None = Field(
        None, description="Where your Jira Cloud is, such as https://example.atlassian.net."
    )
    jira_email: str | None = Field(None, description="The account that an API token belongs to.")
    jira_token: SecretStr | None = Field(
        None, description="That account's API token; it may create, edit and transition issues."
    )
    jira_requests_per_second: int = Field(
        10,
        ge=0,
        description="Most requests a second that we ask of Jira, which names none; 0: no limit.",
    )

    @field_validator("peopleforce_api_key", "jira_url", "jira_email", "jira_token")
    @classmethod
    def _needed_for_the_real_ones(
        cls, value: SecretStr | str | None, info: ValidationInfo
    ) -> SecretStr | str | None:
        if value is None and info.data.get("saas_source") == "api":
            raise ValueError("needed when SAAS_SOURCE=api")
        return value
