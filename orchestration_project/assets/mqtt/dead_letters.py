"""Replays dead letters: by arrival, reason or time, with the current kinds."""

from datetime import datetime
from enum import StrEnum
from typing import Any

import dagster as dg
from pydantic import Field

from orchestration_project.assets.mqtt.catalogue import (
    DEAD_LETTERS,
    GROUP,
    build_dead_letters_spec,
)
from orchestration_project.assets.mqtt.mirror import describe_dead_letters
from orchestration_project.domains.mqtt.envelope import parse_time
from orchestration_project.domains.mqtt.settings import MqttSettings
from orchestration_project.engine.captures import Captures
from orchestration_project.engine.connections.artifacts import ArtifactStore
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.job_options import describe_job
from orchestration_project.engine.options import JobOptions, report_dry_run
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import ConfigurationError
from orchestration_project.resources.mqtt.dead_letters import REPLAY_JOB, REPLAY_OP
from orchestration_project.resources.mqtt.opening import open_mirror
from orchestration_project.resources.mqtt.replaying import (
    LetterFilter,
    ReplayCounts,
    close_requested,
    letter_count,
    replay,
    requested_ids,
)
from orchestration_project.services.metadata import log_metadata


class LetterReason(StrEnum):
    """Kind of a refusal."""

    not_utf8 = "not_utf8"
    not_json = "not_json"
    not_an_object = "not_an_object"
    missing_field = "missing_field"
    wrong_type = "wrong_type"
    too_deep = "too_deep"
    not_finite = "not_finite"
    number_too_large = "number_too_large"
    schema = "schema"
    key_reused = "key_reused"
    too_large = "too_large"


class ReplayLetters(JobOptions):
    """Dead letters to judge again; without an option, those whose items were made ready."""

    arrival_ids: list[int] = Field(
        default=[], examples=[[17, 18]], description="Numbers of their arrivals; none: any."
    )
    reason_code: LetterReason | None = Field(
        default=None, examples=["schema"], description="Kind of their refusal."
    )
    since: str | None = Field(
        default=None,
        examples=["2026-11-01T00:00:00Z"],
        description="Earliest time of arrival, with its zone.",
    )
    until: str | None = Field(
        default=None,
        examples=["2026-11-02T00:00:00Z"],
        description="Time of arrival, with its zone, before which they came.",
    )
    all_letters: bool = Field(default=False, description="All dead letters that are open.")
    dry_run: bool = Field(
        default=True, description="Dry run: only count the letters; false judges them."
    )


@dg.multi_asset(name=REPLAY_OP, specs=[build_dead_letters_spec()])
def replay_dead_letters(
    context: dg.AssetExecutionContext,
    config: ReplayLetters,
    artifacts: dg.ResourceParam[ArtifactStore],
    clock: dg.ResourceParam[Clock],
    settings: dg.ResourceParam[MqttSettings],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.MaterializeResult[Any]:
    """Judge dead letters by the current kinds, and mirror those that are events now."""
    reported = report_dry_run(context.log, "no letter is judged", is_dry_run=config.dry_run)
    counts, selected = ReplayCounts(), 0
    requested = [] if _has_filter(config) else requested_ids(warehouse)
    if requested or _has_filter(config):
        expected_letter_filter = _filter(config, requested)
        selected = letter_count(warehouse, expected_letter_filter)
        if not config.dry_run:
            mirror = open_mirror(
                settings, warehouse, Captures(artifacts), clock, context.run.run_id
            )
            counts = replay(mirror, expected_letter_filter)
            close_requested(warehouse, requested, clock.now())
    return dg.MaterializeResult(
        asset_key=DEAD_LETTERS,
        metadata=log_metadata(
            {
                **reported,
                "selected_count": selected,
                "mirrored_count": counts.mirrored_count,
                "duplicate_count": counts.duplicate_count,
                "refused_count": counts.refused_count,
                **describe_dead_letters(warehouse),
            }
        ),
    )


def _has_filter(config: ReplayLetters) -> bool:
    given = (config.arrival_ids, config.reason_code, config.since, config.until)
    return any(given) or config.all_letters


def _filter(config: ReplayLetters, requested: list[int]) -> LetterFilter:
    """Return the letters that a run replays.

    Raises:
        ConfigurationError: A time is invalid.
    """
    return LetterFilter(
        arrival_ids=[*config.arrival_ids, *requested],
        reason_code=None if config.reason_code is None else config.reason_code.value,
        since=_read_time("since", config.since),
        until=_read_time("until", config.until),
    )


def _read_time(name: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    time = parse_time(text)
    if time is None:
        raise ConfigurationError(
            f"invalid {name}: expected a time with its zone, e.g. 2026-11-01T00:00:00Z",
            found=repr(text[:60]),
        )
    return time


replay_job = dg.define_asset_job(
    REPLAY_JOB,
    selection=dg.AssetSelection.assets(replay_dead_letters).without_checks(),
    description=describe_job(
        "Judges dead letters again by the current kinds and limits, and mirrors those that are "
        "events now.",
        REPLAY_OP,
        ReplayLetters,
    ),
    tags={"domain": GROUP},
)
