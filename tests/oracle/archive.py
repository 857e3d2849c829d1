"""Reads evidence archives: deliveries in the order of their loads, with captures and bytes."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from zipfile import ZipFile

Row = dict[str, Any]


@dataclass(frozen=True)
class Capture:
    """Bytes of one response or file, and how they were requested."""

    capture_id: int
    part_number: int
    request: dict[str, Any]
    url: str
    fetched_at: str
    content: bytes


@dataclass(frozen=True)
class Delivery:
    """One state of a partition: its captures, and when it was loaded; NULL: quarantined."""

    group_id: str
    table_name: str
    partition_key: str
    source: str
    outcome: str
    run_id: str
    recorded_at: str
    rule_version: str
    scope: str
    replay_of: str | None
    landed_at: str | None
    captures: tuple[Capture, ...]


COLUMNS = [column.name for column in fields(Delivery)][:-2]
"""Columns of `deliveries` that are read."""


def read_deliveries(archives: Iterable[Path]) -> list[Delivery]:
    """Return the deliveries of all archives, each once, in the order in which they were recorded.

    A replay has the captures of the delivery that it replays.
    """
    deliveries: dict[tuple[str, str], Row] = {}
    landings: dict[tuple[str, str], str] = {}
    captures: dict[str, dict[int, Capture]] = {}
    for path in archives:
        with ZipFile(path) as archive:
            for row in read_lines(archive, "deliveries.jsonl"):
                deliveries[row["group_id"], row["table_name"]] = row
            for row in read_lines(archive, "landings.jsonl"):
                landings[row["group_id"], row["table_name"]] = row["landed_at"]
            for row in read_lines(archive, "captures.jsonl"):
                capture = read_capture(archive, row)
                captures.setdefault(row["group_id"], {})[capture.part_number] = capture
    ordered = []
    for key, row in sorted(deliveries.items(), key=lambda pair: (pair[1]["recorded_at"], pair[0])):
        parts = captures.get(row["replay_of"] or row["group_id"], {})
        count = int(row["part_count"])  # what was fetched beside it was not used
        used = tuple(parts[number] for number in sorted(parts) if number <= count)
        columns = {name: row[name] for name in COLUMNS}
        ordered.append(Delivery(**columns, landed_at=landings.get(key), captures=used))
    return ordered


def read_lines(archive: ZipFile, member: str) -> list[Row]:
    """Return the JSON objects of a member, one a line."""
    return [json.loads(line) for line in archive.read(member).decode().split("\n") if line]


def read_capture(archive: ZipFile, row: Row) -> Capture:
    """Return a capture with its bytes, whose SHA-256 must be the recorded one."""
    content = archive.read(f"bytes/{row['sha256']}")
    if hashlib.sha256(content).hexdigest() != row["sha256"]:
        raise ValueError(f"changed bytes: {row['sha256']}")
    request = json.loads(row["request"])
    numbers = int(row["capture_id"]), int(row["part_number"])
    return Capture(*numbers, request, row["url"], row["fetched_at"], content)
