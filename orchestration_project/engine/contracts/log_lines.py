"""Log lines as JSON: how one is written, read and selected."""

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from orchestration_project.redaction import redacted

MAX_TEXT_CHARACTERS = 16 * 1024
"""Longer texts of a line are cut."""

MAX_LINE_BYTES = 128 * 1024
"""Size limit of a line with its line break."""

LEVELS: Mapping[str, int] = {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40, "CRITICAL": 50}

SERVICE = re.compile(r"[a-z][a-z0-9_]{0,29}")
"""Name of a program, such as ``code_server``."""

PROGRAMS = ("gateway", "daemon", "code_server", "run", "bridge", "worker")
"""Programs that write a log."""

UNPRINTABLE = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
"""Characters that JSON leaves as they are, and that change how a terminal shows a line."""


def encode_line(fields: Mapping[str, Any]) -> bytes:
    r"""Return a line with its line break: JSON, without the fields that are None.

    Secrets are masked, control characters escaped as ``\\u…``, texts above MAX_TEXT_CHARACTERS cut.
    """
    line = _encode_fields(
        {name: _bound_value(value) for name, value in fields.items() if value is not None}
    )
    if len(line) <= MAX_LINE_BYTES:
        return line
    values = {name: fields[name] for name in ("time", "level", "service", "host") if name in fields}
    text = str(fields.get("message", ""))[:MAX_TEXT_CHARACTERS]
    return _encode_fields(
        {**values, "message": f"{_bound_value(text)[:1000]}… (line cut: {len(line)} bytes)"}
    )


def _encode_fields(fields: Mapping[str, Any]) -> bytes:
    text = json.dumps(fields, ensure_ascii=False, default=str)
    if not text.isascii():
        text = UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
    # An unpaired surrogate becomes an escape of JSON.
    return text.replace("\x7f", "\\u007f").encode(errors="backslashreplace") + b"\n"


def _bound_value(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    text = redacted(value)
    if len(text) <= MAX_TEXT_CHARACTERS:
        return text
    cut = len(text) - MAX_TEXT_CHARACTERS
    return f"{text[:MAX_TEXT_CHARACTERS]}… (cut: {cut} more characters)"


def decode_line(line: bytes) -> dict[str, Any] | None:
    """Return the fields of a line; None: damaged, as by the kill of a process."""
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return fields if isinstance(fields, dict) else None


class LogFilter(NamedTuple):
    """Conditions that select lines.

    Attributes:
        service: Name of the program; empty: any.
        level: Minimum severity; empty: any.
        run_id: Run; empty: any.
        trace_id: Trace; empty: any.
        since: ISO timestamp in UTC from which lines are selected; empty: any.
    """

    service: str = ""
    level: str = ""
    run_id: str = ""
    trace_id: str = ""
    since: str = ""

    def may_match(self, line: bytes) -> bool:
        """Whether the bytes of a line have the IDs, which is far cheaper than to decode it."""
        return self.run_id.encode() in line and self.trace_id.encode() in line

    def matches(self, fields: Mapping[str, Any]) -> bool:
        """Whether a line is selected."""
        return (
            (not self.service or fields.get("service") == self.service)
            and (not self.run_id or fields.get("run_id") == self.run_id)
            and (not self.trace_id or fields.get("trace_id") == self.trace_id)
            and LEVELS.get(str(fields.get("level")), 0) >= LEVELS.get(self.level, 0)
            and (not self.since or str(fields.get("time", "")) >= self.since)
        )


class InvalidPositionError(ValueError):
    """A text is not that of positions."""


def write_positions(positions: Mapping[str, int]) -> str:
    """Return positions in the logs of services as text, such as ``daemon:120,gateway:4711``."""
    return ",".join(f"{name}:{positions[name]}" for name in sorted(positions))


def read_positions(text: str) -> dict[str, int]:
    """Return the positions of a text that `write_positions` returned, bytes by service.

    Raises:
        InvalidPositionError: It is not one.
    """
    positions: dict[str, int] = {}
    for entry in filter(None, text.split(",", 64)):
        name, _, number = entry.partition(":")
        is_number = number.isascii() and number.isdigit() and len(number) < 19
        if not (SERVICE.fullmatch(name) and is_number) or name in positions:
            raise InvalidPositionError(
                "invalid position: expected SERVICE:BYTES entries, e.g. daemon:120,gateway:4711"
            )
        positions[name] = int(number)
    return positions
