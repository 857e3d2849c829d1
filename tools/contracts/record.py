"""The file of recorded names: a heading for each section, a line for each owner and member."""

from collections.abc import Mapping
from pathlib import Path

FILE = Path(__file__).with_name("record.txt")
INDENT = "  "
SECTION = "# "

Members = Mapping[str, str]
"""Forms of each member, such as ``required | integer | text``, by its name."""

Record = Mapping[str, Mapping[str, Members]]
"""Members by section, such as ``commands``, and owner, such as ``orchestrate run``."""


def format_record(record: Record) -> str:
    """Return the text of the file."""
    lines: list[str] = []
    for section, owners in record.items():
        lines += [f"{SECTION}{section}"]
        for owner, members in sorted(owners.items()):
            lines += [owner]
            lines += [f"{INDENT}{name}: {forms}" for name, forms in sorted(members.items())]
    return "".join(f"{line}\n" for line in lines)


def read_record(text: str) -> Record:
    """Return the record that a text of the file has."""
    record: dict[str, dict[str, dict[str, str]]] = {}
    owners: dict[str, dict[str, str]] = {}
    members: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith(SECTION):
            owners = record.setdefault(line.removeprefix(SECTION), {})
        elif line.startswith(INDENT):
            name, _, forms = line.removeprefix(INDENT).partition(": ")
            members[name] = forms
        else:
            members = owners.setdefault(line, {})
    return record
