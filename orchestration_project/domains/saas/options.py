"""Options of a reconciliation, which presets may set."""

from pydantic import Field

from orchestration_project.engine.contracts.job_options import OptionFields
from orchestration_project.engine.contracts.presets import Default, PresetTarget

JOB, OP = "saas_reconcile", "reconcile_saas"
"""The job that reconciles a pair of systems, and its op."""

MAX_WAIT_MINUTES = 60
"""Maximum wait of an intention; the systems are polled at least as often."""

MANY_REFUSED_SHARE = 0.01
"""Maximum share of dead letters."""

MANY_UNMATCHED_SHARE = 0.5
"""Maximum share of tasks without a rule."""


class Reconcile(OptionFields):
    """From when on a run's checks fail; what is left out is as the applied preset says."""

    max_unmatched_share: float | None = Field(
        default=None,
        ge=0,
        le=1,
        examples=[0.1],
        description="Maximum share of tasks without a rule.",
    )
    max_refused_share: float | None = Field(
        default=None,
        ge=0,
        le=1,
        examples=[0.01],
        description="Maximum share of dead letters among tasks that need an issue.",
    )
    longest_wait_minutes: int | None = Field(
        default=None,
        ge=1,
        examples=[30],
        description="Maximum wait of an intention, minutes.",
    )
    dry_run: bool = Field(
        default=True,
        description="Dry run: read the source and plan, but write no issue and no task; false "
        "applies the plan, also what earlier dry runs planned.",
    )


RECONCILING = PresetTarget(
    job=JOB,
    op=OP,
    model=Reconcile,
    fields={
        "max_unmatched_share": Default(MANY_UNMATCHED_SHARE),
        "max_refused_share": Default(MANY_REFUSED_SHARE),
        "longest_wait_minutes": Default(MAX_WAIT_MINUTES),
    },
)

PRESET_TARGETS = (RECONCILING,)
