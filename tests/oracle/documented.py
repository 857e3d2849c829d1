"""Reads from docs/ which columns a table has, and which field of FINRA each is read from."""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


@dataclass(frozen=True)
class Column:
    """A column of a table: kind of its values, and the fields of which it is one."""

    name: str
    kind: str
    fields: tuple[str, ...]
    is_key: bool
    is_nullable: bool


@cache
def columns_of(table: str) -> list[Column]:
    """Return the columns of a table by docs/reference/tables.md."""
    section = section_of(table)
    header, *lines = split_table(section[section.index("| column ") :])
    rows = [dict(zip(header, cells, strict=True)) for cells in lines]
    return [
        Column(
            name := row["column"].strip("`"),
            kind_of(row),
            fields_of(name),
            row["key"] == "yes",
            row.get("NULL") == "yes",
        )
        for row in rows
    ]


def is_dated(table: str) -> bool:
    """Return whether the source dates rows: their history has the day on which each ended."""
    return "\n| `ended_on` |" in section_of(table)


def section_of(table: str) -> str:
    """Return the text of docs/reference/tables.md on a table."""
    text = (DOCS / "reference" / "tables.md").read_text()
    return text.split(f"\n### `{table}`\n")[1].split("\n### ")[0]


def key_of(table: str) -> tuple[str, ...]:
    """Return the columns of the key of a table."""
    return tuple(column.name for column in columns_of(table) if column.is_key)


def kind_of(row: dict[str, str]) -> str:
    """Return the kind of a column; units are whole numbers of 10^-6."""
    if row["type"].startswith("integer"):
        return "units" if "x 10^6" in row["meaning and unit"] else "integer"
    return "cusip" if row["column"] == "`cusip`" else row["type"]


def fields_of(column: str) -> tuple[str, ...]:
    """Return FINRA's names of a column: those of docs/, else its own in another spelling."""
    first, *words = column.split("_")
    title = "".join(word.capitalize() for word in words)
    plain = (first + title, *(f"{market}{first.capitalize()}{title}" for market in ("ATS", "OTC")))
    return documented_fields().get(column, plain)


@cache
def documented_fields() -> dict[str, tuple[str, ...]]:
    """Return the table of docs/explanation/recomputation.md."""
    text = (DOCS / "explanation" / "recomputation.md").read_text()
    rows = split_table(text[text.index("| column | field of FINRA |") :])
    return {cells[0].strip("`"): tuple(re.findall("`(.+?)`", cells[1])) for cells in rows[1:]}


def split_table(text: str) -> list[list[str]]:
    """Return the cells of the table that a Markdown text begins with, without its rule."""
    lines = text.split("\n\n")[0].splitlines()
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return [rows[0], *rows[2:]]
