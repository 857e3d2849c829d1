"""Webhook deliveries as events: what a body must be to load."""

import json
from collections.abc import Sequence
from datetime import datetime
from itertools import count
from typing import Any, NamedTuple

import polars as pl

from orchestration_project.engine.contracts.audits import Validated
from orchestration_project.engine.contracts.frame_types import REJECT_SCHEMA
from orchestration_project.engine.contracts.rules import escape_bytes

RULE_VERSION = "1"

MAX_BODY_BYTES = 5 * 1024 * 1024
"""As large as the gateway takes bodies by default; more than any sender of ours delivers."""

MAX_NESTING = 64
"""Maximum nesting: no event has more, and parsers of readers fail on it."""

ROW_SCHEMA = {
    "source": pl.String(),
    "delivery_id": pl.String(),
    "received_at": pl.Datetime("us", "UTC"),
    "kind": pl.String(),
    "payload": pl.String(),
    "part_number": pl.Int64(),
}


class WebhookEvent(NamedTuple):
    """A delivery as it came."""

    source: str
    delivery_id: str
    received_at: datetime
    kind: str | None
    body: bytes


def checked_events(events: Sequence[WebhookEvent]) -> list[Validated]:
    """Return the one row of each delivery, or its one reject with the reason.

    All share a frame: one for each would take as long as loading it.
    """
    problems = [_find_problem(event.body) for event in events]
    rows = pl.DataFrame(
        [
            (*event[:-1], event.body.decode(), 1)
            for event, problem in zip(events, problems, strict=True)
            if problem is None
        ],
        ROW_SCHEMA,
        orient="row",
    )
    no_rows, no_rejects, places = rows.clear(), pl.DataFrame(schema=REJECT_SCHEMA), count()
    return [
        Validated(rows.slice(next(places), 1), no_rejects)
        if problem is None
        else Validated(no_rows, _reject(event.body, *problem))
        for event, problem in zip(events, problems, strict=True)
    ]


def _reject(body: bytes, code: str, reason: str) -> pl.DataFrame:
    reject = (1, 1, code, reason, 0, escape_bytes(body))
    return pl.DataFrame([reject], REJECT_SCHEMA, orient="row")


def _find_problem(body: bytes) -> tuple[str, str] | None:
    """Return the rule that a body breaks, as a word and as a sentence."""
    if len(body) > MAX_BODY_BYTES:
        return "size", f"the body has {len(body)} bytes, more than {MAX_BODY_BYTES}"
    try:
        document = json.loads(body.decode(), parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        return "encoding", f"the body is not UTF-8, from byte {error.start} on"
    except RecursionError:
        return "depth", f"the body is more than {MAX_NESTING} objects and lists deep"
    except ValueError as error:
        return "json", f"the body is not JSON: {error}"
    if not isinstance(document, dict):
        return "object", f"the body is a JSON {type(document).__name__}, not an object"
    if _is_deeper(document, MAX_NESTING):
        return "depth", f"the body is more than {MAX_NESTING} objects and lists deep"
    return None


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


def _is_deeper(found: Any, most: int) -> bool:
    level = [found]
    for _ in range(most):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
    return bool(level)
