"""Settings of the euro reference rates: their source."""

from datetime import date
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from orchestration_project.settings.profile import require_profile
from orchestration_project.settings.settings import Settings
from orchestration_project.settings.values import about

FIRST_DAY_OF_ALL = date(1999, 1, 4)
"""The first day that the ECB has rates of."""


class FxSettings(Settings):
    """Euro reference rates of the ECB."""

    domain: ClassVar[str] = "fx"

    fx_source: Annotated[Literal["demo", "api"] | None, AfterValidator(require_profile)] = Field(
        None,
        description="Source of euro reference rates: the embedded demo, or the ECB.",
        json_schema_extra=about(
            default="(demo; none if DATA_PROFILE=real)",
            required_when="DATA_PROFILE=real, for FX jobs",
        ),
    )
    fx_api_url: str = Field(
        "https://www.ecb.europa.eu/stats/eurofxref",
        description="Base URL of the ECB's reference rate documents.",
    )
    fx_first_day: date | None = Field(
        None,
        ge=FIRST_DAY_OF_ALL,
        description="First daily partition.",
        json_schema_extra=about(default="(365 days ago)"),
    )
    fx_max_reject_ratio: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of rejected rates above which a day is quarantined.",
        json_schema_extra=about(unit="ratio"),
    )
