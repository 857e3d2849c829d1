"""Reads what rows are recomputed from: evidence archives, and docs/ with columns and their fields.

A delivery is a row of `deliveries` with its captures and `landed_at`, NULL where it is not loaded;
a capture is a row of `captures` with its `content`.
"""

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any
from zipfile import ZipFile

Row = dict[str, Any]
DOCS = Path(__file__).parents[2] / "docs"
TABLES, RECOMPUTATION = (
    DOCS / name for name in ("reference/tables.md", "explanation/recomputation.md")
)


def read_deliveries(path: Path) -> list[Row]:
    """Return the deliveries of an archive in the order in which they were recorded.

    A replay has the captures of the delivery that it replays; what was fetched beside the parts
    that a delivery counts was not used.
    """
    captures: dict[str, dict[int, Row]] = defaultdict(dict)
    with ZipFile(path) as archive:
        for row in read_lines(archive, "captures.jsonl"):
            row["content"] = archive.read(f"bytes/{row['sha256']}")
            if hashlib.sha256(row["content"]).hexdigest() != row["sha256"]:
                raise ValueError(f"changed bytes: {row['sha256']}")
            row |= {"request": json.loads(row["request"]), "capture_id": int(row["capture_id"])}
            captures[row["group_id"]][int(row["part_number"])] = row
        landings = index_rows(read_lines(archive, "landings.jsonl"), ("group_id", "table_name"))
        deliveries = read_lines(archive, "deliveries.jsonl")
    deliveries.sort(key=lambda row: (row["recorded_at"], row["group_id"], row["table_name"]))
    for row in deliveries:
        parts = captures[row["replay_of"] or row["group_id"]]
        row["captures"] = [parts[n] for n in sorted(parts) if n <= int(row["part_count"])]
        load = landings.get((row["group_id"], row["table_name"]), {})
        row["landed_at"] = load.get("landed_at")
    return deliveries


def read_lines(archive: ZipFile, member: str) -> list[Row]:
    return [json.loads(line) for line in archive.read(member).decode().split("\n") if line]


def place_of(row: Row, key: Iterable[str]) -> tuple:
    return tuple(row[name] for name in key)


def index_rows(rows: Iterable[Row], key: Iterable[str]) -> dict[tuple, Row]:
    """Return rows by key, of equal keys the last."""
    return {place_of(row, key): row for row in rows}


@cache
def columns_of(table: str) -> dict[str, Row]:
    """Return the columns of a table by name: the cells of tables.md, each with the column's kind.

    Units are whole numbers of 10^-6.
    """
    columns = read_table(section_of(table), "| column |")
    for row in columns:
        is_units = "x 10^6" in row["meaning and unit"]
        kind = ("units" if is_units else "integer") if "integer" in row["type"] else row["type"]
        row["kind"] = "cusip" if row["column"] == "cusip" else kind
    return {row["column"]: row for row in columns}


def is_dated(table: str) -> bool:
    """Return whether the source dates rows: their history has the day on which each ended."""
    return "\n| `ended_on` |" in section_of(table)


def section_of(table: str) -> str:
    """Return the text of tables.md on a table."""
    return TABLES.read_text().split(f"\n### `{table}`\n")[1].split("\n### ")[0]


def key_of(table: str) -> tuple[str, ...]:
    return tuple(name for name, row in columns_of(table).items() if "key" in row)


@cache
def fields_of(column: str) -> tuple[str, ...]:
    """Return FINRA's names of a column: those of docs/, else its own in another spelling."""
    for row in read_table(RECOMPUTATION.read_text(), "| column | field of FINRA |"):
        if row["column"] == column:
            return tuple(re.findall(r"\w+(?=`)", f"`{row['field of FINRA']}`"))
    first, *words = column.split("_")
    title = "".join(word.capitalize() for word in words)
    return (first + title, *(f"{market}{first.capitalize()}{title}" for market in ("ATS", "OTC")))


def read_table(text: str, beginning: str) -> list[dict[str, str]]:
    """Return the cells that are not blank by header, of the table of a Markdown text."""
    lines = text[text.index(beginning) :].split("\n\n")[0].splitlines()
    rows = [[cell.strip(" `") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    cells = (zip(rows[0], row, strict=True) for row in rows[2:])
    return [{name: cell for name, cell in row if cell} for row in cells]
