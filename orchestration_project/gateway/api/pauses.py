"""Pauses: listed, made and ended; the runs of what is paused do not start."""

from collections.abc import Callable
from typing import Any

from pydantic import Field

from orchestration_project.engine.contracts.api.edits import PauseList, PauseShown
from orchestration_project.engine.contracts.moments import Moment
from orchestration_project.engine.contracts.pauses import MAX_REASON_CHARACTERS, Pause
from orchestration_project.errors import ConfigurationError
from orchestration_project.gateway.api.audit import record
from orchestration_project.gateway.api.operation import Body, Call, Operation, Parameters
from orchestration_project.gateway.api.problems import problem_of
from orchestration_project.gateway.api.runs import Name
from orchestration_project.services.pauses import Pauses

PATH = "/operations/pauses"


class NewPause(Body):
    """Pause to make."""

    subject: Name = Field(description="all, a domain, an asset or source:<name>")
    reason: str = Field(
        min_length=1, max_length=MAX_REASON_CHARACTERS, description="Reason in words"
    )
    until: Moment | None = Field(None, description="End; null: until it is resumed")


class EndedPause(Body):
    """Pause to end."""

    subject: Name = Field(description="Subject of a pause in effect")


async def list_pauses(call: Call[Parameters, Body]) -> PauseList:
    """List the pauses in effect."""
    pauses = await call.services.in_thread(_build_pauses(call).list_in_effect)
    return PauseList(pauses=[_render_pause(pause) for pause in pauses])


async def pause_runs(call: Call[Parameters, NewPause]) -> PauseShown:
    """Start no new run of a domain, asset or source; running ones finish."""
    body = call.body

    def make_pause() -> Pause:
        registry = call.services.registry()
        return _build_pauses(call).pause(
            *(registry, body.subject, body.reason), by=call.caller.name, until=body.until
        )

    return await _edit(call, "pause", body.subject, make_pause)


async def resume_runs(call: Call[Parameters, EndedPause]) -> PauseShown:
    """End a pause: queued runs start, and sensors request what is missing."""
    subject = call.body.subject
    return await _edit(
        *(call, "resume", subject), lambda: _build_pauses(call).resume(subject, by=call.caller.name)
    )


async def _edit(
    call: Call[Any, Any], action: str, subject: str, edit: Callable[[], Pause]
) -> PauseShown:
    audited = (call, PATH, {"pause": subject, "action": action})
    await record(*audited, "asked", step=1)
    try:
        pause = await call.services.in_thread(edit)
    except ConfigurationError as error:
        await record(*audited, "failed", step=2, reason=error.category)
        raise problem_of(error, 422) from error
    await record(*audited, "done", step=2)
    return _render_pause(pause)


def _build_pauses(call: Call[Any, Any]) -> Pauses:
    return Pauses(call.services.warehouse)


def _render_pause(pause: Pause) -> PauseShown:
    return PauseShown(
        subject=pause.subject,
        reason=pause.reason,
        paused_by=pause.paused_by,
        paused_at=pause.paused_at,
        until=pause.until,
    )


OPERATIONS = (
    Operation("GET", PATH, "viewer", "List pauses", list_pauses, answer=PauseList),
    Operation(
        *("POST", PATH, "operator", "Pause runs", pause_runs), body=NewPause, answer=PauseShown
    ),
    Operation(
        *("POST", f"{PATH}/resume", "operator", "Resume runs", resume_runs),
        body=EndedPause,
        answer=PauseShown,
    ),
)
