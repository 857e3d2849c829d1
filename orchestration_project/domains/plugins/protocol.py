"""Lines that a plugin's process and its host exchange: UTF-8, one JSON object a line, bounded.

The host trusts nothing of a line: size, depth, fields and types are checked before it acts.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

PROTOCOL_VERSION = 1
MAX_LINE_BYTES = 2**20
MAX_DEPTH = 32
MAX_KEY_CHARACTERS = 500
MAX_NAME_CHARACTERS = 200
MAX_URL_CHARACTERS = 8_000
MAX_HEADERS = 50
MAX_SHOWN = 200

CallName = Literal["run", "endpoint"]
"""Reason to start a process."""


class ProtocolError(ValueError):
    """A line that is not one of the protocol; its text has expected and found."""


class Row(NamedTuple):
    """A row of a row set: its key and values."""

    key: str
    payload: dict[str, Any]


@dataclass(frozen=True)
class Fetch:
    """A request of HTTP that the host is to make."""

    id: int
    url: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: str | None = None


@dataclass(frozen=True)
class Read:
    """A named query that the host is to run."""

    id: int
    query: str
    parameters: Mapping[str, str | int | float | bool | None] = field(
        default_factory=dict[str, str | int | float | bool | None]
    )


@dataclass(frozen=True)
class Emit:
    """Rows of a row set."""

    table: str
    rows: Sequence[Row]


@dataclass(frozen=True)
class Publish:
    """An event for the outbox."""

    topic: str
    key: str
    payload: dict[str, Any]


@dataclass(frozen=True)
class Act:
    """An action outside, for the outbox."""

    action: str
    key: str
    fields: dict[str, Any]


@dataclass(frozen=True)
class Page:
    """A page that is shown as metadata of the asset."""

    format: str
    content: str


@dataclass(frozen=True)
class Answer:
    """The answer of an endpoint."""

    content_type: str
    body: Any


@dataclass(frozen=True)
class Log:
    """A line for the run's log."""

    level: str
    message: str


def marked_lines(plugin: str, text: str) -> str:
    """Return the lines of a plugin's text, each with its name, and control characters escaped."""
    return "\n".join(f"plugin {plugin}: {escaped(line)}" for line in text.split("\n"))


def escaped(text: str) -> str:
    """Return a text on one line, in which a terminal shows all characters and obeys none."""
    return "".join(
        character if character.isprintable() else ascii(character)[1:-1] for character in text
    )


@dataclass(frozen=True)
class End:
    """The plugin has finished; nothing may follow."""


Message = Fetch | Read | Emit | Publish | Act | Page | Answer | Log | End


def read_line(line: bytes) -> Message:
    """Return the message of a line, with or without its line break.

    Raises:
        ProtocolError: It is too long or deep, no JSON object, or a field is missing or invalid.
    """
    if len(line) > MAX_LINE_BYTES:
        raise ProtocolError(f"expected a line of at most {MAX_LINE_BYTES:,} bytes")
    try:
        document = json.loads(line.decode(), parse_constant=_refuse_constant)
    except RecursionError:
        raise _build_depth_error() from None
    except ValueError as error:
        reason = "not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
        raise ProtocolError(f"expected a JSON object, found {reason[:MAX_SHOWN]}") from None
    if not isinstance(document, dict):
        raise ProtocolError('expected a JSON object, e.g. {"type": "end"}')
    _refuse_depth(document, MAX_DEPTH)
    kind = document.pop("type", None)
    reader = READERS.get(kind) if isinstance(kind, str) else None
    if reader is None:
        raise ProtocolError(
            f"invalid type {_render_value(kind)}: expected one of {', '.join(READERS)}"
        )
    fields = _Fields(str(kind), document)
    message = reader(fields)
    fields.refuse_others()
    return message


def write_line(message: Mapping[str, Any]) -> bytes:
    """Return a message of the host as a line."""
    return json.dumps(message, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace") + (
        b"\n"
    )


def start_line(
    call: CallName,
    *,
    config: Mapping[str, Any],
    partition: str | None,
    run_id: str,
    endpoint: Mapping[str, Any] | None = None,
    folders: Mapping[str, str] | None = None,
) -> bytes:
    """Return the first line of the host.

    Args:
        call: What the process is started for.
        config: Run config.
        partition: Partition of the run; None: it has none.
        run_id: Dagster's run, or the ID of a request.
        endpoint: Name and parameters of the endpoint.
        folders: Where granted folders are mounted, by name.
    """
    return write_line(
        {
            "type": "start",
            "protocol": PROTOCOL_VERSION,
            "call": call,
            "config": dict(config),
            "partition": partition,
            "run_id": run_id,
            "endpoint": endpoint,
            "folders": dict(folders or {}),
        }
    )


class _Fields:
    """Fields of a message, each taken once and checked."""

    def __init__(self, kind: str, values: dict[str, Any]) -> None:
        self._kind = kind
        self._values = values

    def text(self, name: str, limit: int = MAX_NAME_CHARACTERS, default: str | None = None) -> str:
        value = self._take(name, default)
        if not isinstance(value, str) or not 0 < len(value) <= limit:
            raise self._invalid(name, f"a text of 1 to {limit:,} characters", value)
        return _make_storable(value)

    def content(self, name: str) -> str:
        value = self._take(name, None)
        if not isinstance(value, str):
            raise self._invalid(name, "a text", value)
        return _make_storable(value)

    def optional_text(self, name: str) -> str | None:
        value = self._values.pop(name, None)
        if value is not None and not isinstance(value, str):
            raise self._invalid(name, "a text or null", value)
        return value

    def number(self, name: str) -> int:
        value = self._take(name, None)
        if type(value) is not int or not 0 < value < 2**53:
            raise self._invalid(name, "a whole number from 1", value)
        return value

    def mapping(self, name: str, *, is_optional: bool = False) -> dict[str, Any]:
        value = self._take(name, {} if is_optional else None)
        if not isinstance(value, dict):
            raise self._invalid(name, "a JSON object", value)
        return value

    def any(self, name: str) -> Any:
        if name not in self._values:
            raise self._invalid(name, "a value", None)
        return self._values.pop(name)

    def rows(self, name: str) -> list[Row]:
        value = self._take(name, None)
        if not isinstance(value, list):
            raise self._invalid(name, "a JSON list", value)
        rows: list[Row] = []
        for item in value:
            if not isinstance(item, dict) or item.keys() != {"key", "payload"}:
                raise self._invalid(name, "objects with key and payload alone", item)
            key, payload = item["key"], item["payload"]
            if not isinstance(key, str) or not _is_key(key):
                expected = f"keys of 1 to {MAX_KEY_CHARACTERS} characters, without NUL"
                raise self._invalid(name, expected, key)
            if not isinstance(payload, dict):
                raise self._invalid(name, "payloads that are JSON objects", payload)
            rows.append(Row(key, payload))
        return rows

    def refuse_others(self) -> None:
        if self._values:
            other = next(iter(self._values))
            raise ProtocolError(
                f"invalid field {_render_value(other)} of {self._kind}: expected no other"
            )

    def _take(self, name: str, default: Any) -> Any:
        return self._values.pop(name, default)

    def _invalid(self, name: str, expected: str, found: Any) -> ProtocolError:
        return ProtocolError(
            f"invalid {name} of {self._kind}: expected {expected}, found {_render_value(found)}"
        )


def _fetch(fields: _Fields) -> Fetch:
    headers = fields.mapping("headers", is_optional=True)
    if len(headers) > MAX_HEADERS or not all(
        isinstance(header, str) for header in headers.values()
    ):
        raise ProtocolError(f"invalid headers of fetch: expected up to {MAX_HEADERS} texts by name")
    return Fetch(
        fields.number("id"),
        fields.text("url", MAX_URL_CHARACTERS),
        fields.text("method", 10, "GET"),
        headers,
        fields.optional_text("body"),
    )


def _read(fields: _Fields) -> Read:
    parameters = fields.mapping("parameters", is_optional=True)
    if any(isinstance(parameter, dict | list) for parameter in parameters.values()):
        raise ProtocolError("invalid parameters of read: expected texts, numbers or null by column")
    return Read(fields.number("id"), fields.text("query"), parameters)


READERS: Mapping[str, Callable[[_Fields], Message]] = {
    "fetch": _fetch,
    "read": _read,
    "emit": lambda fields: Emit(fields.text("table"), fields.rows("rows")),
    "publish": lambda fields: Publish(
        fields.text("topic"), fields.text("key", MAX_KEY_CHARACTERS), fields.mapping("payload")
    ),
    "act": lambda fields: Act(
        fields.text("action"), fields.text("key", MAX_KEY_CHARACTERS), fields.mapping("fields")
    ),
    "page": lambda fields: Page(fields.text("format"), fields.content("content")),
    "answer": lambda fields: Answer(
        fields.text("content_type", MAX_NAME_CHARACTERS, "application/json"), fields.any("body")
    ),
    "log": lambda fields: Log(fields.text("level", 10, "info"), fields.content("message")),
    "end": lambda _: End(),
}
"""Class of a message, by its type."""


def _refuse_depth(value: Any, left: int) -> None:
    """Refuse containers that nest deeper than ``left``."""
    if left <= 0:
        raise _build_depth_error()
    for item in value.values() if type(value) is dict else value:
        kind = type(item)
        if kind is dict or kind is list:
            _refuse_depth(item, left - 1)
        elif kind is float and not math.isfinite(item):  # such as 1e999
            raise ProtocolError("expected finite numbers")


def _build_depth_error() -> ProtocolError:
    return ProtocolError(f"expected at most {MAX_DEPTH} levels of nesting")


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"the constant {name}")


def _is_key(text: str) -> bool:
    if not 0 < len(text) <= MAX_KEY_CHARACTERS or "\0" in text:
        return False
    return text.isascii() or text == _make_storable(text)


def _make_storable(text: str) -> str:
    """Return a text as databases take it: neither NUL nor half a character."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()


def _render_value(value: Any) -> str:
    text = repr(value)
    return ascii(text[:MAX_SHOWN])[1:-1]
