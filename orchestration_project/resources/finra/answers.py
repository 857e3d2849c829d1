"""Answers of FINRA's servers: what they hold, and why one cannot be read."""

import json
from collections.abc import Mapping
from typing import Any

from orchestration_project.connections.http import Response
from orchestration_project.contracts.rules import in_ascii
from orchestration_project.redaction import redacted
from orchestration_project.settings import without_secrets

GZIP = b"\x1f\x8b"

STARTS_WITHIN = 200
"""Bytes, of which some may be blanks, that say of what kind a body is."""


def is_html(response: Response) -> bool:
    """Whether it is a page for people, as proxies and the CDN send."""
    return response.body[:STARTS_WITHIN].lstrip().startswith(b"<")


def is_no_text(response: Response) -> bool:
    """Whether its lines are not data."""
    return is_html(response) or bool(_compression(response))


def json_of(response: Response) -> Any:
    """Return what the body says in JSON.

    Raises:
        ValueError: It is none; neither are NaN, infinities, lists nested without end, and texts
            that no database takes: with NUL, or half a character.
    """
    try:
        found = json.loads(response.body, parse_constant=_no_constant)
        text = json.dumps(found, ensure_ascii=False)
    except RecursionError as error:
        raise ValueError("nested without end") from error
    text.encode()
    if r"\u0000" in text.replace(r"\\", ""):
        raise ValueError("NUL in a text")
    return found


def status_code_in(response: Response) -> int:
    """Return the statusCode that a body of JSON says; 0 where it says none."""
    if not response.body[:STARTS_WITHIN].lstrip().startswith(b"{"):
        return 0
    try:
        code = json_of(response).get("statusCode")
        return int(code) if isinstance(code, int | str) else 0
    except ValueError:
        return 0


def may_pass(response: Response, *, is_anonymous: bool) -> bool:
    """Whether FINRA or its CDN gives such an answer now and then, and another when asked again.

    Such are a redirect, a web page or an error of the server with status 200, and a refusal by the
    CDN, or of a request without credentials.
    """
    status = response.status
    if status == 200:
        return is_html(response) or status_code_in(response) >= 500
    if status in (401, 403):
        return is_html(response) or (status == 401 and is_anonymous)
    return 300 <= status < 400


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def fields_in(response: Response) -> Mapping[str, str]:
    """Return name and type of each field that a /metadata answer lists; nothing where it is none.

    A name that is listed twice makes it none: nobody could say which type is meant.
    """
    try:
        listed = [(each["name"], each["type"]) for each in json_of(response)["fields"]]
    except (ValueError, KeyError, TypeError):
        return {}
    is_text = all(isinstance(text, str) and text for each in listed for text in each)
    return dict(listed) if is_text and len(dict(listed)) == len(listed) else {}


def shown(response: Response) -> str:
    """Return status and start of an answer as ASCII; a source may send our secrets back."""
    target = redacted(response.headers.get("location", ""))
    text = redacted(response.body.decode(errors="surrogateescape"))  # before it is cut
    body = text.encode(errors="surrogateescape")
    said = [f"HTTP {response.status}"]
    if target:
        said.append(f"a redirect to {without_secrets(target)[:200]}, which is not followed")
    if compression := _compression(response):
        said.append(f"compressed ({compression}) although that was not asked for")
    return f"{', '.join(said)}: {in_ascii(body, 200)}"


def _compression(response: Response) -> str:
    """Return how the body is compressed, blank where it is not."""
    if response.body.startswith(GZIP):
        return "gzip"
    said = response.headers.get("content-encoding", "").strip().lower()
    return "" if said == "identity" else said[:60]
