"""What a run's config says of replays, in every domain, and when it means nothing."""

from collections.abc import Sequence

import dagster as dg
from pydantic import Field

from orchestration_project.errors import ConfigurationError


class ReplayConfig(dg.Config):
    """Which deliveries a replay takes."""

    group_id: str | None = Field(
        default=None,
        description="Of a replay: this delivery, such as finra_otc_weekly:T1|2025-11-10#2; "
        "without it, each partition's latest, and of a symbol all that make it up.",
    )
    allow_older: bool = Field(
        default=False,
        description="Of a replay: also where what is landed was fetched later.",
    )


OF_REPLAYS = tuple(ReplayConfig.model_fields)


def refuse_strange(
    config: ReplayConfig,
    run: str,
    *,
    is_replay: bool,
    replays: str,
    of_loads: Sequence[str],
    of_replays: Sequence[str] = OF_REPLAYS,
) -> None:
    """Make sure that a config says nothing that means nothing to its run.

    Args:
        config: The run's.
        run: What it means nothing to, such as ``the job prices_daily``.
        is_replay: Whether the run is a replay.
        replays: What replays, such as a job's name.
        of_loads: Options of loads alone.
        of_replays: Options of replays alone.

    Raises:
        ConfigurationError: It does.
    """
    strange = of_loads if is_replay else of_replays
    if given := [name for name in strange if getattr(config, name)]:
        raise ConfigurationError(
            f"{', '.join(given)} means nothing to {run}",
            expected=f"{' and '.join(of_replays)} for {replays}; {' and '.join(of_loads)} for a "
            "load",
            remedy="correct the run's config, or launch the other job",
        )
