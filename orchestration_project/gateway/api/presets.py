"""Presets: listed, compared with what is in force, and applied by the job that does that."""

from typing import Any

from pydantic import Field

from orchestration_project.engine.contracts.api.models import (
    Change,
    InForce,
    Preset,
    PresetList,
    Preview,
)
from orchestration_project.engine.contracts.job_kinds import APPLY_PRESET
from orchestration_project.engine.contracts.presets import compare_presets
from orchestration_project.errors import ConfigurationError
from orchestration_project.gateway.api.jobs import Launch, Launched, launch
from orchestration_project.gateway.api.once import IDEMPOTENCY_HEADER
from orchestration_project.gateway.api.operation import Body, Call, Operation, Parameters
from orchestration_project.gateway.api.problems import ProblemError, problem_of
from orchestration_project.gateway.api.runs import Name
from orchestration_project.gateway.api.services import Services
from orchestration_project.services.presets import (
    AppliedPreset,
    Presets,
    list_enabled_presets,
    list_preset_names,
    read_raw_preset,
    resolve_preset,
)

SETTINGS_PRESET = "(as the settings say)"


class PresetName(Parameters):
    """Preset to show or apply."""

    name: Name = Field(description="The name of a preset")


class Apply(Body):
    """Why a preset is applied."""

    why: Name = Field(pattern=r"\S", description="The reason, which is kept")


async def list_presets(call: Call[Parameters, Body]) -> PresetList:
    """List the presets, and what is in force."""
    presets = await call.services.in_thread(
        lambda: [_read_preset(call.services, name) for name in list_enabled_presets()]
    )
    return PresetList(presets=presets)


def _read_preset(services: Services, name: str) -> Preset:
    try:
        written, _ = read_raw_preset(name)
    except ConfigurationError as error:
        nothing: dict[str, Any] = {"job": "", "description": "", "values": {}, "in_force": None}
        return Preset(name=name, problem=error.line, **nothing)
    applied = Presets(services.warehouse, services.clock).in_force(written.job)
    return Preset(
        name=name,
        job=written.job,
        description=written.description,
        values=dict(written.values),
        in_force=_render_applied(applied) if applied else None,
        problem=None,
    )


def _render_applied(applied: AppliedPreset) -> InForce:
    return InForce(
        preset=applied.preset.name,
        number=applied.number,
        user=applied.user,
        reason=applied.reason,
        applied_at=applied.applied_at,
    )


async def preview_preset(call: Call[PresetName, Body]) -> Preview:
    """Return the changes of a preset; a run's own config takes precedence over presets."""
    _require(call.query.name)
    return await call.services.in_thread(_preview, call.services, call.query.name)


def _require(name: str) -> None:
    if name not in list_preset_names():
        raise ProblemError(
            404, f"preset not found: {name!r}", expected=f"one of {', '.join(list_preset_names())}"
        )


def _preview(services: Services, name: str) -> Preview:
    try:
        written, _ = read_raw_preset(name)
    except ConfigurationError as error:
        raise problem_of(error, 409) from error
    applied = Presets(services.warehouse, services.clock).in_force(written.job)
    before = applied.preset if applied else None
    values = {**(before.values if before else {}), **written.values}
    rows = compare_presets(before, written, dict.fromkeys(sorted(values), SETTINGS_PRESET))
    changes = [
        Change(field=row["field"], now=row["now"], then=row["then"], is_changed=row["changes"])
        for row in rows
    ]
    return Preview(preset=_read_preset(services, name), changes=changes)


async def apply_preset(call: Call[PresetName, Apply]) -> Launched:
    """Apply a preset to later runs of its job: the run that is launched does it, and is kept."""
    name = call.query.name
    _require(name)
    config = {"preset": name, "dry_run": False, "why": call.body.why, "who": call.caller.name}
    return await launch(
        call,
        Launch(
            APPLY_PRESET.job,
            config=APPLY_PRESET.run_config(config),
            check=lambda: resolve_preset(name, call.services.registry().preset_targets),
        ),
    )


OPERATIONS = (
    Operation("GET", "/presets", "viewer", "List presets", list_presets, answer=PresetList),
    Operation(
        "GET",
        "/presets/{name}",
        "viewer",
        "Show the changes of a preset",
        preview_preset,
        query=PresetName,
        answer=Preview,
        problems=(409,),
    ),
    Operation(
        "POST",
        "/presets/{name}/apply",
        "operator",
        "Apply a preset",
        apply_preset,
        query=PresetName,
        body=Apply,
        answer=Launched,
        headers=IDEMPOTENCY_HEADER,
        status=202,
    ),
)
