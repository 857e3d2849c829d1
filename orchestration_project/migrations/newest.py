"""The version to which all migrations together lead, and where a database stores its own."""

from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent
VERSIONS = FOLDER / "versions"
VERSION_TABLE = "orchestration_project_version"


@cache
def newest_version() -> str:
    """Return the version that all scripts together lead to, by their files' names: none is run."""
    return max(file.name for file in VERSIONS.glob("v[0-9]*_*.py"))[1:5]
