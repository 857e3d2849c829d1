"""From when on a dependency is not ready for a run."""

from pydantic import Field
from pydantic_settings import BaseSettings

from orchestration_project.settings.values import MOST_MINUTES


class ReadinessSettings(BaseSettings):
    """The gate before every run."""

    readiness_max_age_minutes: float = Field(
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
