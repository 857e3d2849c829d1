"""How a run loads its weeks: from the source, or, in the replay job, from recorded deliveries."""

from pydantic import Field

from orchestration_project.domains.finra.anomaly_bands import Limits
from orchestration_project.domains.operations.presets import PresetTarget
from orchestration_project.engine.loader import ReplayOptions
from orchestration_project.engine.loads import refuse_strange
from orchestration_project.settings.domains.finra import FinraSettings

LOAD_OP = "finra_otc_weekly_load"

REPLAY_JOB = "finra_replay"
"""The job whose runs load recorded deliveries, and do not ask the source."""

OF_LOADS = ("full", "force")


class FinraLoad(ReplayOptions):
    """How a run loads its weeks; an applied preset fills in what is None."""

    full: bool | None = Field(
        default=None,
        description="Read a partition again although the source says that it did not change; "
        "without it, as the applied preset says, else false.",
    )
    force: bool = Field(
        default=False,
        description="Replace a partition that was landed from another source; land a file that "
        "has the bytes or the rows of another week, tier or market.",
    )
    max_reject_ratio: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Rejected share of rows (0-1) above which a partition is held back; "
        "without it, as the applied preset says, else FINRA_MAX_REJECT_RATIO.",
    )


LOADING = PresetTarget(
    job="finra_otc_weekly",
    op=LOAD_OP,
    model=FinraLoad,
    fields={
        "full": lambda _: False,
        "max_reject_ratio": lambda settings: settings.finra_max_reject_ratio,
    },
)
"""What a preset may say of loads; its limit is that of replays too: they fill the same tables."""


def is_replay(job: str, config: FinraLoad) -> bool:
    """Whether the runs of ``job`` load recorded deliveries, and do not ask the source.

    Raises:
        ConfigurationError: The config has an option of the other job.
    """
    found = job == REPLAY_JOB
    refuse_strange(config, f"the job {job}", is_replay=found, replays=REPLAY_JOB, of_loads=OF_LOADS)
    return found


def limits_of(settings: FinraSettings) -> Limits:
    """Return when to warn."""
    return Limits(
        weeks=settings.finra_band_weeks,
        min_weeks=settings.finra_band_min_weeks,
        width=settings.finra_band_width,
        floor=settings.finra_band_floor,
        cap=settings.finra_band_cap,
        large_venue_share=settings.finra_large_venue_share,
        large_venue_weeks=settings.finra_large_venue_weeks,
        max_row_shares=settings.finra_max_row_shares,
    )
