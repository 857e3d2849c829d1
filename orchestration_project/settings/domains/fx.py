"""Where euro reference rates come from."""

from datetime import date
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from orchestration_project.settings.profile import require_profile
from orchestration_project.settings.settings import Settings

FIRST_DAY_OF_ALL = date(1999, 1, 4)
"""The first day that the ECB has rates of."""


class FxSettings(Settings):
    """Euro reference rates of the ECB."""

    domain: ClassVar[str] = "fx"

    fx_source: Annotated[Literal["demo", "api"] | None, AfterValidator(require_profile)] = Field(
        None,
        description="Source of euro reference rates: demo or api (the ECB); default: the demo, or "
        "with DATA_PROFILE=real nothing.",
    )
    fx_api_url: str = Field(
        "https://www.ecb.europa.eu/stats/eurofxref",
        description="Base URL of the ECB's reference rate documents.",
    )
    fx_first_day: date | None = Field(
        None,
        ge=FIRST_DAY_OF_ALL,
        description="First daily partition, not before 1999-01-04; default: 365 days back.",
    )
    fx_max_reject_ratio: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Rejected share of rates (0-1) above which a day is quarantined.",
    )
