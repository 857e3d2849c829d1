"""Alembic migrations of our own tables, run by the warehouse."""

from pathlib import Path

FOLDER = Path(__file__).parent
VERSIONS = FOLDER / "versions"
VERSION_TABLE = "orchestration_project_version"

NEWEST_VERSION = max(file.name for file in VERSIONS.glob("v[0-9]*_*.py"))[1:5]
"""Version that all scripts together lead to, by their files' names: none is run."""
