"""Hashes of the merged versions: `python -m tests.migrations.hashes --write` adds new ones."""

import sys
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path

from orchestration_project.migrations import VERSIONS, baseline

HASHES = Path(__file__).with_suffix(".txt")


def files() -> Iterator[Path]:
    """Yield the modules that databases were migrated by."""
    for folder in (Path(baseline.__path__[0]), VERSIONS):
        yield from sorted(path for path in folder.glob("*.py") if path.name != "__init__.py")


def hashes() -> Mapping[str, str]:
    """Return the SHA-256 of each of these modules by its name."""
    return {path.stem: sha256(path.read_bytes()).hexdigest() for path in files()}


def read_hashes(text: str) -> Mapping[str, str]:
    """Return the hashes that a text of this list has, by name."""
    return dict(line.split() for line in text.splitlines())


def write() -> None:
    """Add the modules that the list does not name; lines that are there stay as they are."""
    merged = {**hashes(), **read_hashes(HASHES.read_text())}
    HASHES.write_text("".join(f"{name} {value}\n" for name, value in merged.items()))


if __name__ == "__main__" and sys.argv[1:] == ["--write"]:
    write()
