"""`GET /pauses`: which pauses are in effect; operators pause and resume there."""

import json
from collections.abc import Callable, Iterable, Mapping
from html import escape

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from orchestration_project.engine.contracts.pauses import (
    ALL,
    MAX_REASON_CHARACTERS,
    Pause,
    read_end,
)
from orchestration_project.engine.contracts.roles import Role
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import ConfigurationError
from orchestration_project.gateway.guard import AuthServices
from orchestration_project.gateway.limits import read_form
from orchestration_project.gateway.pages import tables_page
from orchestration_project.gateway.request import Refusal, current_user
from orchestration_project.registry import Registry
from orchestration_project.services.pauses import Pauses, list_known_subjects

PATH = "/pauses"
TITLE = "Pauses"
EXPLANATION = (
    "Nothing of a paused subject starts by schedule, sensor, backfill, API, page or retry. Runs in "
    "the queue wait, running ones finish, and lateness raises no alert."
)
HEADINGS = ("Subject", "Until (UTC)", "Reason", "By", "Since (UTC)")

RESUME = """<form method="post" action="/pauses">
<input type="hidden" name="action" value="resume">
<input type="hidden" name="subject" value="{subject}">
<button type="submit">Resume {subject}</button></form>"""

PAUSE = """{alert}<h2>Pause</h2>
<form method="post" action="/pauses">
<input type="hidden" name="action" value="pause">
<label>Subject <input name="subject" list="subjects" value="{subject}" required></label>
<datalist id="subjects">{subjects}</datalist>
<label>Reason <input name="reason" value="{reason}" maxlength="{max_characters}" required></label>
<label>Until, with its zone, e.g. 2026-03-02T18:00Z; empty: until it is resumed
<input name="until" value="{until}"></label>
<button type="submit">Pause</button></form>"""


def routes(
    warehouse: Warehouse, doors: AuthServices, registry: Callable[[], Registry]
) -> list[Route]:
    """Return the routes of the page: everybody who is known reads it, operators change it."""
    pauses = Pauses(warehouse)

    async def show(problem: str = "", fields: Mapping[str, str] | None = None) -> Response:
        user = current_user()
        is_operator = user.role.covers(Role.OPERATOR)
        in_effect = await run_in_threadpool(pauses.list_in_effect)
        rows = [
            (*_render_cells(pause), *([_resume(pause)] if is_operator else []))
            for pause in in_effect
        ]
        headings = (*HEADINGS, "Resume") if is_operator else HEADINGS
        form = ""
        if is_operator:
            subjects = await run_in_threadpool(lambda: list_known_subjects(registry()))
            form = _pause_form(subjects, problem, fields or {})
        tables = [("", headings, rows)]
        status = 422 if problem else 200
        return tables_page(
            *(TITLE, EXPLANATION, tables, doors.installation, user), form=form, status=status
        )

    async def page(_request: Request) -> Response:
        return await show()

    async def change(request: Request) -> Response:
        user = current_user()
        if not user.role.covers(Role.OPERATOR):
            raise Refusal(403, "Pausing and resuming need the role operator.")
        fields = await read_form(request)
        action, subject = fields.get("action", ""), fields.get("subject", "")
        target = json.dumps({"pause": subject[:100], "action": action[:10]})

        async def record(outcome: str, step: int) -> None:
            operation = f"POST {PATH}"
            await doors.record(
                request.scope, operation, outcome, user=user, target=target, step=step
            )

        await record("asked", 1)
        try:
            await run_in_threadpool(_apply, pauses, registry, fields, user.name)
        except ConfigurationError as error:
            await record("failed", 2)
            return await show(str(error), fields)
        await record("done", 2)
        return RedirectResponse(PATH, 303)

    return [Route(PATH, page, methods=["GET"]), Route(PATH, change, methods=["POST"])]


def _apply(
    pauses: Pauses, registry: Callable[[], Registry], fields: Mapping[str, str], by: str
) -> None:
    """Pause or resume, as the fields of the form request.

    Raises:
        ConfigurationError: A field is invalid, or the subject is not paused.
    """
    subject, until = fields.get("subject", ""), fields.get("until", "").strip()
    if fields.get("action") == "resume":
        pauses.resume(subject, by=by)
    else:
        end = read_end(until) if until else None
        pauses.pause(registry(), subject, fields.get("reason", ""), by=by, until=end)


def _render_cells(pause: Pause) -> tuple[str, ...]:
    until = f"{pause.until:%Y-%m-%d %H:%M}" if pause.until else "it is resumed"
    since = f"{pause.paused_at:%Y-%m-%d %H:%M}"
    return tuple(map(escape, (pause.subject, until, pause.reason, pause.paused_by, since)))


def _resume(pause: Pause) -> str:
    return RESUME.format(subject=escape(pause.subject))


def _pause_form(subjects: Iterable[str], problem: str, fields: Mapping[str, str]) -> str:
    return PAUSE.format(
        alert=f'<p role="alert">{escape(problem)}</p>' if problem else "",
        subjects="".join(f'<option value="{escape(subject)}">' for subject in subjects),
        subject=escape(fields.get("subject", ALL)),
        reason=escape(fields.get("reason", "")),
        until=escape(fields.get("until", "")),
        max_characters=MAX_REASON_CHARACTERS,
    )
