"""Rows that a plugin emits: checked one by one by their JSON Schema, and judged as a whole."""

import json
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from orchestration_project.contracts.rules import (
    REJECT_SCHEMA,
    Audit,
    AuditHelp,
    Validated,
    in_ascii,
    verdict,
)
from orchestration_project.domains.plugins.protocol import Row
from orchestration_project.tables.plugins import plugins_rows
from orchestration_project.tables.schema import schema_of

RULE_VERSION = "plugins 1"
MAX_REJECTS_KEPT = 1_000
MAX_PLACE_CHARACTERS = 60
MAX_REASON_CHARACTERS = 500
_ADDED = ("capture_id", "known_from")

AUDITS = {
    "plugin_rows_are_valid": AuditHelp(
        "compare the rejects with row_schemas of plugin.yaml, and correct the plugin"
    )
}
"""Remedies of the audits of emitted rows."""

_encode = json.JSONEncoder(
    sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":")
).encode
_quote = json.encoder.encode_basestring


@dataclass
class RowSet:
    """The rows of one row set in a run.

    Attributes:
        table: Name of the row set.
        validator: Validator of payloads.
    """

    table: str
    validator: Any
    _keys: dict[str, int] = field(default_factory=dict[str, int])
    _payloads: list[str] = field(default_factory=list[str])
    _lines: list[str] = field(default_factory=list[str])
    _rejects: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    _reject_count: int = 0
    _byte_count: int = 0

    @property
    def line_count(self) -> int:
        """Number of emitted rows, with rejects."""
        return len(self._lines)

    def add(self, row: Row) -> None:
        """Add a row; one that is invalid, or has the key of another one, is a reject."""
        payload = _encode(row.payload)
        line = f'{{"key":{_quote(row.key)},"payload":{payload}}}'
        problem = self._problem(row, payload)
        self._lines.append(line)
        offset = self._byte_count
        self._byte_count += 1 + (len(line) if line.isascii() else len(_as_bytes(line)))
        if problem is not None:
            self._reject(line, offset, *problem)
        else:
            self._keys[row.key] = len(self._lines)
            self._payloads.append(payload)

    def ndjson(self) -> bytes:
        """Return all rows as they came, a line each; half a character is replaced."""
        return _as_bytes("".join(f"{line}\n" for line in self._lines))

    def validated(self, *, plugin: str, partition_key: str) -> Validated:
        """Return the rows of `plugins_rows`, rejects, and the audit that holds a bad set back."""
        schema = schema_of(plugins_rows)
        rows = pl.DataFrame(
            {"row_key": list(self._keys), "payload": self._payloads},
            {"row_key": pl.String(), "payload": pl.String()},
        ).with_columns(
            plugin=pl.lit(plugin),
            table_name=pl.lit(self.table),
            partition_key=pl.lit(partition_key),
            part_number=pl.lit(1, pl.Int64()),
        )
        names = [name for name in schema if name not in _ADDED]
        audit = Audit(
            "plugin_rows_are_valid",
            verdict(not self._reject_count),
            "0 rejected rows",
            f"{self._reject_count:,} of {len(self._lines):,}",
            [
                {"line": each["line_number"], "reason": each["reason"]}
                for each in self._rejects[:20]
            ],
        )
        return Validated(
            rows.select(*names, "part_number"), pl.DataFrame(self._rejects, REJECT_SCHEMA), [audit]
        )

    def _problem(self, row: Row, payload: str) -> tuple[str, str] | None:
        if not payload.isascii():
            try:
                payload.encode()
            except UnicodeEncodeError:
                return "encoding", "payload: expected text without half characters"
        if row.key in self._keys:
            first = self._keys[row.key]
            return "duplicate_key", f"key: expected each once, found it in line {first}, too"
        return self._schema_problem(row)

    def _schema_problem(self, row: Row) -> tuple[str, str] | None:
        if self.validator.is_valid(row.payload):
            return None
        error = next(iter(self.validator.iter_errors(row.payload)))
        place = ".".join(str(part) for part in error.instance_path)[:MAX_PLACE_CHARACTERS]
        return "schema", f"{place or 'payload'}: {error.message}"[:MAX_REASON_CHARACTERS]

    def _reject(self, line: str, offset: int, code: str, reason: str) -> None:
        self._reject_count += 1
        if len(self._rejects) < MAX_REJECTS_KEPT:
            self._rejects.append(
                {
                    "part_number": 1,
                    "line_number": len(self._lines),
                    "reason_code": code,
                    "reason": in_ascii(_as_bytes(reason)),
                    "byte_offset": offset,
                    "record": in_ascii(_as_bytes(line)),
                }
            )


def _as_bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")
