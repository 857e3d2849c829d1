"""Rows that a plugin emits: checked one by one by their JSON Schema, and judged as a whole."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from orchestration_project.domains.plugins.protocol import Row
from orchestration_project.domains.plugins.tables import plugins_rows
from orchestration_project.engine.contracts.audits import (
    Audit,
    AuditHelp,
    Validated,
    format_outcome,
)
from orchestration_project.engine.contracts.frame_types import REJECT_SCHEMA
from orchestration_project.engine.contracts.key_ranges import (
    SpilledRanges,
    SpilledRows,
    SpillStore,
    split_keys,
)
from orchestration_project.engine.contracts.rules import escape_bytes
from orchestration_project.engine.contracts.values import derive_schema

RULE_VERSION = "plugins 1"
MAX_KEPT_REJECTS = 1_000
MAX_HELD_ROWS, MAX_HELD_CHARACTERS = 10_000, 8_000_000
"""Rows and their characters that are held in memory; more are spilled."""

MAX_PLACE_CHARACTERS = 60
MAX_REASON_CHARACTERS = 500
_ADDED = ("capture_id", "known_from")
_SPILLED = {
    "row_key": pl.String(),
    "payload": pl.String(),
    "line_number": pl.Int64(),
    "byte_offset": pl.Int64(),
}
_NO_ROWS = pl.DataFrame(schema=_SPILLED)

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
    """The rows of one row set in a run; where they are many, they are spilled by ranges of key.

    Attributes:
        table: Name of the row set.
        validator: Validator of payloads.
        spill: Returns what keeps rows that are too many for memory.
    """

    table: str
    validator: Any
    spill: Callable[[], SpillStore]
    line_count: int = 0
    _held: list[tuple[str, str, int, int]] = field(default_factory=list[tuple[str, str, int, int]])
    _held_characters: int = 0
    _ranges: SpilledRanges | None = None
    _keys: list[pl.DataFrame] = field(default_factory=list[pl.DataFrame])
    _rejects: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    _reject_count: int = 0
    _byte_count: int = 0

    def add(self, row: Row) -> bytes:
        """Take in a row, and return its line as it came; half a character is replaced.

        One that is invalid is a reject.
        """
        payload = _encode(row.payload)
        text = _format_line(row.key, payload)
        line = _encode_text(text)
        self.line_count += 1
        offset = self._byte_count
        self._byte_count += len(line)
        problem = self._problem(row, payload)
        if problem is not None:
            self._reject(text, self.line_count, offset, *problem)
            return line
        self._held.append((row.key, payload, self.line_count, offset))
        self._held_characters += len(text)
        if len(self._held) >= MAX_HELD_ROWS or self._held_characters >= MAX_HELD_CHARACTERS:
            self._put()
        return line

    def validated(self, *, plugin: str, partition_key: str) -> Validated:
        """Return the rows of `plugins_rows`, rejects, and the audit that holds a bad set back.

        Of rows with one key all but the first are rejects. It is called once, after all rows.
        """
        constants = {
            "plugin": pl.lit(plugin),
            "table_name": pl.lit(self.table),
            "partition_key": pl.lit(partition_key),
            "part_number": pl.lit(1, pl.Int64()),
        }
        names = [name for name in derive_schema(plugins_rows) if name not in _ADDED]

        def unique(frame: pl.DataFrame) -> pl.DataFrame:
            return self._unique(frame).with_columns(**constants).select(*names, "part_number")

        if self._ranges is None:
            rows, ranges = unique(self._frame()), None
        else:
            rows, ranges = unique(_NO_ROWS), self._spilled(self._ranges, unique)
        entries = sorted(self._rejects, key=lambda each: each["line_number"])[:MAX_KEPT_REJECTS]
        audit = Audit(
            "plugin_rows_are_valid",
            format_outcome(not self._reject_count),
            "0 rejected rows",
            f"{self._reject_count:,} of {self.line_count:,}",
            [{"line": entry["line_number"], "reason": entry["reason"]} for entry in entries[:20]],
        )
        return Validated(rows, pl.DataFrame(entries, REJECT_SCHEMA), [audit], ranges)

    def _frame(self) -> pl.DataFrame:
        return pl.DataFrame(self._held, _SPILLED, orient="row")

    def _put(self) -> None:
        """Spill the rows that are held; their keys stay, as each may come once."""
        frame = self._frame()
        self._held, self._held_characters = [], 0
        self._ranges = self._ranges or SpilledRanges(self.spill(), "row_key")
        self._ranges.add(frame)
        self._keys.append(frame.select("row_key").rechunk())

    def _spilled(
        self, ranges: SpilledRanges, unique: Callable[[pl.DataFrame], pl.DataFrame]
    ) -> SpilledRows:
        if self._held:
            self._put()
        counts = pl.concat(self._keys).group_by("row_key").agg(pl.len().cast(pl.Int64))
        self._keys.clear()
        places: list[tuple[Mapping[str, object], int]] = []
        row_count = 0
        for span in split_keys(counts, MAX_HELD_ROWS):
            rows = unique(ranges.within(span))
            row_count += len(rows)
            places.append(({"row_key": span}, self.spill().put(rows)))
        return SpilledRows(self.spill(), places, row_count)

    def _unique(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return the first row of each key, by key; the others become rejects."""
        rows = frame.sort("row_key", "line_number")
        first = rows.unique("row_key", keep="first", maintain_order=True)
        if len(first) < len(rows):
            lines = first.select("row_key", first_line="line_number")
            again = rows.join(lines, on="row_key").filter(
                pl.col("line_number") > pl.col("first_line")
            )
            for key, payload, number, offset, line in again.sort("line_number").iter_rows():
                reason = f"key: expected each once, found it in line {line}, too"
                self._reject(_format_line(key, payload), number, offset, "duplicate_key", reason)
        return first

    def _problem(self, row: Row, payload: str) -> tuple[str, str] | None:
        if not payload.isascii():
            try:
                payload.encode()
            except UnicodeEncodeError:
                return "encoding", "payload: expected text without half characters"
        return self._schema_problem(row)

    def _schema_problem(self, row: Row) -> tuple[str, str] | None:
        if self.validator.is_valid(row.payload):
            return None
        error = next(iter(self.validator.iter_errors(row.payload)))
        text = ".".join(str(part) for part in error.instance_path)[:MAX_PLACE_CHARACTERS]
        return "schema", f"{text or 'payload'}: {error.message}"[:MAX_REASON_CHARACTERS]

    def _reject(self, text: str, number: int, offset: int, code: str, reason: str) -> None:
        self._reject_count += 1
        if len(self._rejects) < 2 * MAX_KEPT_REJECTS:
            self._rejects.append(
                {
                    "part_number": 1,
                    "line_number": number,
                    "reason_code": code,
                    "reason": escape_bytes(_encode_text(reason)),
                    "byte_offset": offset,
                    "record": escape_bytes(_encode_text(text.removesuffix("\n"))),
                }
            )


def _format_line(key: str, payload: str) -> str:
    return f'{{"key":{_quote(key)},"payload":{payload}}}\n'


def _encode_text(text: str) -> bytes:
    return text.encode("utf-8", "replace")
