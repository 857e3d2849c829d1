"""What the programs captured, for the oracle: read from database and files without the programs."""

import json
from collections import defaultdict
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import zstandard

from tests.oracle.inputs import Row
from tests.soak.stack import Stack

MICROS = 10**6
TIMES = ("recorded_at", "landed_at", "known_from", "known_to")
DELIVERIES = """SELECT deliveries.*, landings.landed_at FROM deliveries
LEFT JOIN landings ON landings.group_id = deliveries.group_id
  AND landings.table_name = deliveries.table_name"""


def read_deliveries(stack: Stack) -> list[Row]:
    """Return all deliveries in the order in which they were recorded, as the oracle reads them."""
    blobs = {row["sha256"]: row for row in stack.rows("SELECT * FROM blobs")}
    captures: dict[str, list[Row]] = defaultdict(list)
    for row in stack.rows("SELECT * FROM captures ORDER BY group_id, part_number"):
        captures[row["group_id"]].append(row)
    deliveries = [plain(row) for row in stack.rows(DELIVERIES)]
    deliveries.sort(key=lambda row: (row["recorded_at"], row["group_id"], row["table_name"]))
    for row in deliveries:
        parts = captures[row["replay_of"] or row["group_id"]][: row["part_count"]]
        row["captures"] = [
            part | {"content": _content(stack, blobs[part["sha256"]])} for part in parts
        ]
        for part in row["captures"]:
            if isinstance(part["request"], str):
                part["request"] = json.loads(part["request"])
    return deliveries


def _content(stack: Stack, blob: Row) -> bytes:
    stored = (stack.state / "artifacts" / blob["storage_uri"]).read_bytes()
    begin = blob["byte_offset"] or 0
    frame = stored[begin : begin + blob["stored_byte_count"]]
    size = max(blob["byte_count"], 1)
    return zstandard.ZstdDecompressor().decompress(frame, max_output_size=size)


def plain(row: dict[str, Any]) -> Row:
    """Return a stored row as the oracle writes it: days and times are text, quantities numbers."""
    found: Row = {}
    for stored_name, stored in row.items():
        name = stored_name.removesuffix("_micros")
        if name != stored_name:
            found[name] = Decimal(stored) / MICROS
        elif name in TIMES and stored is not None:
            at = stored if isinstance(stored, datetime) else datetime.fromisoformat(stored)
            found[name] = (at if at.tzinfo else at.replace(tzinfo=UTC)).isoformat()
        else:
            found[name] = stored.isoformat() if isinstance(stored, date) else stored
    return found
