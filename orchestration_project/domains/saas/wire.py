"""JSON as it came from outside: what may be read of it, and one typed failure for what may not."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from orchestration_project.errors import ContractError

MAX_NESTING = 64
"""Maximum nesting: no record has more, and parsers of readers fail on it."""

MAX_ID_LENGTH = 64
SHOWN_CHARACTERS = 80

UNSTORABLE = re.compile("[\0\ud800-\udfff]")
INVALID_CHARACTER = re.compile(r"\\u0000|[\ud800-\udfff]")
"""The same in a text of JSON, or a text that only looks like it."""

ENCODER = json.JSONEncoder(ensure_ascii=False)


def json_of(body: bytes) -> Any:
    """Return the JSON value of ``body``.

    Raises:
        ContractError: It is not JSON in UTF-8, or nested without end.
    """
    try:
        return json.loads(body.decode(), parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise unreadable(
            "a body", "JSON in UTF-8", f"invalid UTF-8 from byte {error.start}"
        ) from error
    except RecursionError as error:
        raise unreadable("a body", f"at most {MAX_NESTING} levels", "nested without end") from error
    except ValueError as error:
        raise unreadable("a body", "JSON", str(error)) from error


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


def unreadable(what: str, expected: str, found: object) -> ContractError:
    """Return the error of a record that is not as its system has them; quotes a start of it."""
    text = found if isinstance(found, str) else f"{type(found).__name__} {found!r:.60}"
    return ContractError(
        f"{what} cannot be read",
        expected=expected,
        found=ascii(text[:SHOWN_CHARACTERS])[1:-1],
        remedy="correct it in its system; its bytes are kept as they came",
    )


def storable(record: Any, what: str) -> Mapping[str, Any]:
    """Return ``record`` as the object that it has to be, one that databases take.

    Raises:
        ContractError: It is another thing, deeper than `MAX_NESTING`, or has text with NUL or half
            a character.
    """
    if not isinstance(record, dict):
        raise unreadable(what, "a JSON object", record)
    if _is_harmless(record):
        return record
    level: list[Any] = [record]
    for _ in range(MAX_NESTING):
        for item in level:
            if isinstance(item, str) and not _is_storable(item):
                raise unreadable(what, "text without NUL and half characters", item)
        level = [inner for outer in level for inner in _list_inside(outer)]
        if not level:
            return record
    raise unreadable(what, f"at most {MAX_NESTING} levels", "more of them")


def _is_harmless(record: Any) -> bool:
    """Whether a glance at a record's text is enough: no letter that matters, few brackets."""
    try:
        text = ENCODER.encode(record)
    except RecursionError:
        return False
    return text.count("{") + text.count("[") < MAX_NESTING and not INVALID_CHARACTER.search(text)


def _list_inside(outer: Any) -> list[Any]:
    if isinstance(outer, dict):
        return [*outer, *outer.values()]
    return outer if isinstance(outer, list) else []


def _is_storable(text: str) -> bool:
    return not UNSTORABLE.search(text)


def identity(record: Mapping[str, Any], name: str, what: str) -> str:
    """Return the id in field ``name``, a number or text, as text.

    Raises:
        ContractError: There is none, or it is too long for one.
    """
    value = record.get(name)
    is_number = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63
    text = str(value) if is_number else value
    if not isinstance(text, str) or not text.strip() or len(text) > MAX_ID_LENGTH:
        raise unreadable(what, f"an id in {name!r}", value)
    return text


def text(record: Mapping[str, Any], name: str, what: str) -> str | None:
    """Return the text in field ``name``; None: there is none.

    Raises:
        ContractError: It is another thing.
    """
    value = record.get(name)
    if value is not None and not isinstance(value, str):
        raise unreadable(what, f"text or null in {name!r}", value)
    return value


def needed(record: Mapping[str, Any], name: str, what: str) -> str:
    """Return the text in field ``name``.

    Raises:
        ContractError: There is none, or another thing.
    """
    value = text(record, name, what)
    if not value:
        raise unreadable(what, f"text in {name!r}", value)
    return value


def part(record: Mapping[str, Any], name: str, what: str) -> Mapping[str, Any]:
    """Return the object in field ``name``; an empty one where it is null or missing.

    Raises:
        ContractError: It is another thing.
    """
    value = record.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise unreadable(what, f"an object or null in {name!r}", value)
    return value


def moment(record: Mapping[str, Any], name: str, what: str) -> datetime | None:
    """Return the time in field ``name`` in UTC; None: there is none.

    Raises:
        ContractError: It is another thing, or says no zone.
    """
    value = text(record, name, what)
    if value is None:
        return None
    try:
        time = datetime.fromisoformat(value)
        if time.tzinfo is None:
            raise ValueError("no zone")
        return time.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise unreadable(what, f"a time with its zone in {name!r}", value) from error
