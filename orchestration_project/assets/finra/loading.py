"""How a run loads its weeks: from the source, or, in the replay job, from recorded deliveries."""

from orchestration_project.contracts.presets import Default, PresetTarget
from orchestration_project.domains.finra.anomaly_bands import BandLimits
from orchestration_project.engine.loads import ReplayOptions, refuse_unused_options
from orchestration_project.engine.options import describe_defaults
from orchestration_project.settings import load_shared_settings
from orchestration_project.settings.checks import WeeklyLimits

LOAD_OP = "finra_otc_weekly_load"

REPLAY_JOB = "finra_replay"
"""The job whose runs load recorded deliveries, and do not ask the source."""


class WeeklyLoad(ReplayOptions):
    """Options of a load or a replay of weeks."""


LOADING = PresetTarget(
    job="finra_otc_weekly",
    op=LOAD_OP,
    model=WeeklyLoad,
    fields={"full": Default(False), "max_reject_ratio": Default(setting="finra_max_reject_ratio")},
)
"""Fields that a preset may set for loads; its limit holds for replays too."""

describe_defaults(WeeklyLoad, LOADING.default_texts(load_shared_settings()))


def is_replay(job: str, config: ReplayOptions) -> bool:
    """Whether the runs of ``job`` load recorded deliveries, and do not ask the source.

    Raises:
        ConfigurationError: The config has an option of the other job.
    """
    found = job == REPLAY_JOB
    refuse_unused_options(config, f"the job {job}", is_replay=found, replays=REPLAY_JOB)
    return found


def limits_of(limits: WeeklyLimits) -> BandLimits:
    """Return when to warn, as `checks.yaml` says."""
    return BandLimits(
        weeks=limits.outliers.weeks,
        min_weeks=limits.outliers.min_weeks,
        width=limits.outliers.sigma,
        floor=limits.outliers.min_factor,
        cap=limits.outliers.max_factor,
        large_venue_share=limits.large_venues.min_ratio,
        large_venue_weeks=limits.large_venues.weeks,
        max_row_shares=limits.max_row_shares,
    )
