"""Settings of Cboe's market volume: its source."""

from datetime import date, timedelta
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from orchestration_project.settings.profile import require_profile
from orchestration_project.settings.settings import Settings
from orchestration_project.settings.values import about

FIRST_DAY_OF_ALL = date(2007, 1, 1)
"""The files begin with this year."""

A_YEAR = timedelta(days=365)


class CboeSettings(Settings):
    """Daily market volume of all US exchanges, by Cboe."""

    domain: ClassVar[str] = "cboe"

    cboe_source: Annotated[Literal["demo", "api"] | None, AfterValidator(require_profile)] = Field(
        None,
        description="Source of daily market volume: the embedded demo, or Cboe.",
        json_schema_extra=about(
            default="(demo; none if DATA_PROFILE=real)",
            required_when="DATA_PROFILE=real, for Cboe jobs",
        ),
    )
    cboe_api_url: str = Field(
        "https://cdn.cboe.com/resources/us/equities/market-statistics/historical-market-volume",
        description="Base URL of Cboe's yearly files of market volume.",
    )
    cboe_first_day: date | None = Field(
        None,
        ge=FIRST_DAY_OF_ALL,
        description="First daily partition.",
        json_schema_extra=about(default="(365 days ago)"),
    )
    cboe_max_reject_ratio: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of rejected lines above which a day is quarantined.",
        json_schema_extra=about(unit="ratio"),
    )

    def first_day(self, today: date) -> date:
        """Return the first day that is a partition."""
        return self.cboe_first_day or today - A_YEAR
