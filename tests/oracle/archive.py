"""Reads evidence archives: deliveries in the order of their loads, with captures and bytes.

A delivery is a row of `deliveries` with its captures and `landed_at`, NULL where it is not loaded;
a capture is a row of `captures` with its `content`.
"""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from zipfile import ZipFile

Row = dict[str, Any]


def read_deliveries(archives: Iterable[Path]) -> list[Row]:
    """Return the deliveries of all archives, each once, in the order in which they were recorded.

    A replay has the captures of the delivery that it replays.
    """
    deliveries: dict[tuple[str, str], Row] = {}
    landings: dict[tuple[str, str], str] = {}
    captures: dict[str, dict[int, Row]] = {}
    for path in archives:
        with ZipFile(path) as archive:
            for row in read_lines(archive, "deliveries.jsonl"):
                deliveries[row["group_id"], row["table_name"]] = row
            for row in read_lines(archive, "landings.jsonl"):
                landings[row["group_id"], row["table_name"]] = row["landed_at"]
            for row in read_lines(archive, "captures.jsonl"):
                capture = row | read_content(archive, row)
                captures.setdefault(row["group_id"], {})[int(row["part_number"])] = capture
    ordered = []
    for key, row in sorted(deliveries.items(), key=lambda pair: (pair[1]["recorded_at"], pair[0])):
        parts = captures.get(row["replay_of"] or row["group_id"], {})
        count = int(row["part_count"])  # what was fetched beside it was not used
        used = [parts[number] for number in sorted(parts) if number <= count]
        ordered.append(row | {"landed_at": landings.get(key), "captures": used})
    return ordered


def place_of(row: Row, key: Iterable[str]) -> tuple:
    """Return the values of the key of a row."""
    return tuple(row[name] for name in key)


def index_rows(rows: Iterable[Row], key: Iterable[str]) -> dict[tuple, Row]:
    """Return rows by key, of equal keys the last."""
    return {place_of(row, key): row for row in rows}


def read_lines(archive: ZipFile, member: str) -> list[Row]:
    """Return the JSON objects of a member, one a line."""
    return [json.loads(line) for line in archive.read(member).decode().split("\n") if line]


def read_content(archive: ZipFile, capture: Row) -> Row:
    """Return request and bytes of a capture, whose SHA-256 must be the recorded one."""
    content = archive.read(f"bytes/{capture['sha256']}")
    if hashlib.sha256(content).hexdigest() != capture["sha256"]:
        raise ValueError(f"changed bytes: {capture['sha256']}")
    request, number = json.loads(capture["request"]), int(capture["capture_id"])
    return {"content": content, "request": request, "capture_id": number}
