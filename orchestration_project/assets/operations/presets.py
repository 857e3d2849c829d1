"""Presets, listed, previewed and applied: what later runs of a job go by."""

from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any

import dagster as dg
import polars as pl
from pydantic import Field

from orchestration_project.assets.operations.catalogue import DEFINITIONS
from orchestration_project.assets.operations.kinds import AssetEvent, Kind
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.presets import Preset, compare_presets
from orchestration_project.engine.options import JobOptions, report_dry_run
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import ConfigurationError
from orchestration_project.registry import Registry
from orchestration_project.services.ledger.rules.entries import find_editor
from orchestration_project.services.metadata import build_table, log_metadata
from orchestration_project.services.presets import (
    AppliedPreset,
    Presets,
    list_preset_names,
    list_presets,
    resolve_preset,
)
from orchestration_project.settings import Settings

PresetName = Enum("PresetName", {name: name for name in list_preset_names()})
"""The files in `config/presets/` when the code was loaded: they belong to it as its modules do."""


class PresetChoice(JobOptions):
    """Preset to show or apply."""

    preset: PresetName | None = Field(  # pyright: ignore[reportInvalidTypeForm] - names of files
        default=None, description="Name of the preset; without it, all presets are listed."
    )
    dry_run: bool = Field(
        default=True,
        description="Dry run: only show the changes; false applies the preset to later runs.",
    )
    who: str | None = Field(
        default=None,
        examples=["ada"],
        description="Name of the user; the run's tag user takes precedence.",
    )
    why: str | None = Field(
        default=None, examples=["FINRA restated the quarter"], description="Reason."
    )


def apply_preset(
    context: dg.OpExecutionContext,
    config: PresetChoice,
    clock: Clock,
    registry: Registry,
    settings: Settings,
    warehouse: Warehouse,
) -> Iterator[AssetEvent]:
    """Show the presets that there are, what the chosen one changes, and apply it if asked."""
    kept_presets, targets = Presets(warehouse, clock), registry.preset_targets
    if config.preset is None:
        yield _observe_run(
            {"presets": build_table(pl.DataFrame(list_presets(kept_presets, targets)))}
        )
        return
    preset, target = resolve_preset(str(config.preset.value), targets)
    before = kept_presets.in_force(preset.job)
    changes = _compare_preset(preset, before, target.base(settings))
    reported = report_dry_run(context.log, "nothing is applied", is_dry_run=config.dry_run)
    if config.dry_run:
        yield _observe_run({**reported, "outcome": "dry run: nothing was applied", **changes})
        return
    user, reason = _read_who_and_why(config, context.run.tags)
    applied = kept_presets.apply(preset, user=user, reason=reason, run_id=context.run.run_id)
    if applied is None:
        yield _observe_run({"outcome": "nothing to do: it is already applied", **changes})
        return
    changes["outcome"] = f"applied as {applied} by {user}: {reason}"
    yield dg.MaterializeResult(asset_key=DEFINITIONS, metadata=log_metadata(changes))


def _observe_run(metadata: Mapping[str, Any]) -> dg.AssetObservation:
    """Return the observation of a run that changed nothing."""
    return dg.AssetObservation(DEFINITIONS, metadata=log_metadata(metadata))


def _compare_preset(
    preset: Preset, before: AppliedPreset | None, base: Mapping[str, Any]
) -> dict[str, Any]:
    rows = compare_presets(before.preset if before else None, preset, base)
    return {
        "preset": preset.name,
        "description": preset.description,
        "job": preset.job,
        "in_force_before": f"{before} by {before.user}: {before.reason}" if before else "none",
        "difference": build_table(pl.DataFrame(rows)),
        "fields_changed": sum(row["changes"] for row in rows),
    }


def _read_who_and_why(config: PresetChoice, tags: Mapping[str, str]) -> tuple[str, str]:
    """Return who applies a preset, and why.

    Raises:
        ConfigurationError: The run does not say it.
    """
    user, reason = find_editor(tags, config.who), (config.why or "").strip()
    missing = [name for name, text in (("who", user), ("why", reason)) if not text]
    if missing:
        raise ConfigurationError(
            f"nothing was applied: the run's config lacks {' and '.join(missing)}",
            expected="who (or the run's tag user) and why",
            remedy="add them to the run's config",
        )
    return user, reason


WITHOUT_DRY_RUN = {"dry_run": False, "why": "applied from the page of the job"}

APPLY_PRESET = Kind(
    "apply_preset",
    "Lists presets, shows the changes of one, or applies it to later runs.",
    PresetChoice,
    apply_preset,
    launches={
        f"{title} {name}": {"preset": name, **options}
        for name in list_preset_names()
        for title, options in (("Preview preset", {}), ("Apply preset", WITHOUT_DRY_RUN))
    },
)
