"""Error responses of the API: problem details of RFC 9457."""

from collections.abc import Collection, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from starlette.responses import JSONResponse, Response

from orchestration_project.engine.contracts.api.models import Problem, WrongField
from orchestration_project.engine.tracing.traceparent import find_current_trace
from orchestration_project.errors import OrchestrationError, TransientError, did_you_mean
from orchestration_project.gateway.request import Refusal

MEDIA_TYPE = "application/problem+json"

STATUSES = {"transient": 503, "source": 502}
"""Status by category of our errors; the others are for whoever keeps this installation: 500."""

RETRY_AFTER_SECONDS = 5

CATEGORIES = {
    401: "access",
    403: "access",
    404: "not_found",
    409: "conflict",
    413: "limit",
    416: "limit",
    429: "limit",
    500: "defect",
    503: "transient",
    504: "limit",
}
"""Problem category by status; any other is an invalid ``request``."""


class ProblemError(Exception):
    """Ends a request with a problem; what it says is shown to the caller."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        category: str | None = None,
        **more: Any,
    ) -> None:
        super().__init__(detail)
        self.problem = Problem(
            title=HTTPStatus(status).phrase,
            status=status,
            detail=detail,
            category=category or CATEGORIES.get(status, "request"),
            **more,
        )
        self.headers = dict(headers or {})

    def response(self) -> Response:
        """Return the answer."""
        content = self.problem.model_dump(exclude_none=True, exclude={"errors"})
        if trace := find_current_trace():
            content["trace_id"] = trace.trace_id
        if self.problem.errors:
            content["errors"] = [error.model_dump() for error in self.problem.errors]
        headers = {"cache-control": "no-store"} | self.headers
        return JSONResponse(content, self.problem.status, headers, MEDIA_TYPE)


def not_found(what: str, *, run_id: str | None = None) -> ProblemError:
    """Return the problem of a subject that is not found."""
    return ProblemError(404, what, run_id=run_id)


def require_known(field: str, value: str | None, known: Collection[str]) -> None:
    """Make sure that the value of a filter is a known one; None: it is not given.

    Raises:
        ProblemError: 422, it is not.
    """
    if value is not None and value not in known:
        names = sorted(known)
        expected = f"one of {', '.join(names)}" if names else "none: nothing can be selected yet"
        problem = f"expected {expected[:500]}"
        raise ProblemError(
            422,
            f"invalid {field} {value[:60]!r}",
            expected=expected,
            remedy=did_you_mean(value, names) or None,
            errors=[WrongField(field=field, problem=problem)],
        )


def problem_of(error: OrchestrationError, status: int | None = None) -> ProblemError:
    """Return the problem that one of our errors is; ``status`` where the category does not say."""
    wait = error.retry_in_seconds if isinstance(error, TransientError) else 0
    is_passing = isinstance(error, TransientError)
    later = {"retry-after": str(max(RETRY_AFTER_SECONDS, round(wait)))} if is_passing else {}
    return ProblemError(
        status or STATUSES.get(error.category, 500),
        error.what,
        headers=later,
        category=error.category,
        run_id=error.context.get("run"),
        expected=error.expected or None,
        found=error.found or None,
        remedy=error.remedy or None,
    )


def problem_of_refusal(refusal: Refusal) -> ProblemError:
    """Return the problem for a refusal of the gateway."""
    return ProblemError(refusal.status, refusal.text, headers=refusal.headers)


def wrong_fields(errors: Sequence[Mapping[str, Any]]) -> ProblemError:
    """Return the problem that pydantic's ``errors`` are; it does not quote what was sent."""
    wrong = [
        WrongField(field=".".join(map(str, error["loc"])) or "body", problem=error["msg"])
        for error in errors
    ]
    names = ", ".join(dict.fromkeys(wrong_field.field for wrong_field in wrong))
    return ProblemError(422, f"invalid request: {names}", errors=wrong)
