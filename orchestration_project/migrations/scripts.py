"""Alembic's configuration, and the changes of all versions."""

from collections.abc import Sequence

from alembic.config import Config
from alembic.script import ScriptDirectory

from orchestration_project.migrations import FOLDER
from orchestration_project.migrations.changes import SchemaChange


def alembic_config() -> Config:
    """Return Alembic's configuration, without a file."""
    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    return config


def changes_of(script: ScriptDirectory) -> Sequence[SchemaChange]:
    """Return the changes of all versions, in their order."""
    versions = reversed(list(script.walk_revisions()))
    return [change for version in versions for change in version.module.CHANGES]
