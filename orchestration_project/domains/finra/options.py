"""Options of FINRA's loads and backfills that presets may set."""

from pydantic import Field, create_model

from orchestration_project.engine.contracts.job_options import LoadPreset, OptionFields
from orchestration_project.engine.contracts.presets import Default, PresetTarget

LOAD_OP = "finra_otc_weekly_load"
"""The op that loads weeks."""

BACKFILL_JOB = "finra_backfill"
"""The job that launches backfills."""

LOADING = PresetTarget(
    job="finra_otc_weekly",
    op=LOAD_OP,
    model=create_model("WeeklyPreset", __base__=LoadPreset),
    fields={"full": Default(False), "max_reject_ratio": Default(setting="finra_max_reject_ratio")},
)
"""Fields that a preset may set for loads; its limit holds for replays too."""


class FinraBackfill(OptionFields):
    """Weeks to backfill; unset fields default to the applied preset, then to the given defaults."""

    weeks: int | None = Field(
        default=None,
        ge=1,
        examples=[13],
        description="Number of latest published weeks per tier.",
    )
    only_taken: bool | None = Field(
        default=None,
        description="Load only weeks that were loaded before and changed since, no missing ones.",
    )
    full: bool | None = Field(
        default=None,
        description="Fetch also weeks that the source reports as unchanged.",
    )
    clip: bool | None = Field(
        default=None,
        description="Load all known weeks if more are requested; without it, that is refused.",
    )
    dry_run: bool = Field(
        default=True,
        description="Dry run: only list the partitions; false launches a backfill.",
    )


BACKFILLING = PresetTarget(
    job=BACKFILL_JOB,
    op="launch_finra_backfill",
    model=FinraBackfill,
    fields={
        "weeks": Default(setting="finra_lookback_weeks"),
        "only_taken": Default(False),
        "full": Default(False),
        "clip": Default(False),
    },
)
"""Fields that a preset may set for backfills."""

PRESET_TARGETS = (LOADING, BACKFILLING)
