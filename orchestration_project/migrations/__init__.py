"""Alembic migrations of our own tables, run by the warehouse."""

from pathlib import Path

FOLDER = Path(__file__).parent
VERSIONS = FOLDER / "versions"
VERSION_TABLE = "orchestration_project_version"

NEWEST_VERSION = max(file.name for file in VERSIONS.glob("v[0-9]*_*.py"))[1:5]
"""Version that all scripts together lead to, by their files' names: none is run."""

BASELINE_VERSION = "0086"
"""Version that makes all tables of a new database; no script migrates an earlier one."""

FORMER_COMMIT = "b33ee1e9"
"""Commit with the scripts of the versions before the baseline, which lead to it."""

COMPARED_DATABASES = ("postgresql", "sqlite")
"""Databases that return types, keys and indexes as they were declared."""

SCHEMA_HASH = FOLDER / "schema.sha256"
"""File with a version and the hash of the tables and views that the package declares for it."""


def read_schema_hash(file: Path = SCHEMA_HASH) -> str | None:
    """Return the recorded hash of the declarations; None: it is that of another version."""
    version, sha256 = file.read_text().split()
    return sha256 if version == NEWEST_VERSION else None
