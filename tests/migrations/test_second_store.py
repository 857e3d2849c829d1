"""Recorded repairs from a second store are those from a copy once it is gone, and back."""

import pytest
from alembic import command
from sqlalchemy import text

from orchestration_project.engine.warehouse.migrating import build_alembic_config

VERSION = "0084"
"""That before the one without the second store."""

COLUMNS = "name, sha256, problem, state, repaired_from, attempt_count, found_at, changed_at, run_id"
AT = "'2026-03-01 12:00:00+00:00'"
WRITTEN = (
    *(
        f"INSERT INTO operations_damaged_artifacts ({COLUMNS}) VALUES "  # noqa: S608 - ours
        f"('blobs/{way}', '{way}', 'missing', 'repaired', '{way}', 1, {AT}, {AT}, 'run')"
        for way in ("second_store", "source")
    ),
    "INSERT INTO operations_artifact_copies VALUES ('s3://b', 'blobs', "
    "'2026-03-01 12:00:00+00:00', 1, 2, '2026-03-01 12:00:00+00:00', 'run')",
)


@pytest.mark.slow_on_postgresql
def test_repairs_from_the_second_store_are_those_from_a_copy(migrated):
    with migrated.writing() as connection:
        command.downgrade(build_alembic_config(connection), VERSION)
        for statement in WRITTEN:
            connection.execute(text(statement))
        command.upgrade(build_alembic_config(connection), "head")
    assert _ways(migrated) == [("blobs/second_store", "copy"), ("blobs/source", "source")]
    with migrated.writing() as connection:
        command.downgrade(build_alembic_config(connection), VERSION)
    assert _ways(migrated) == [("blobs/second_store", "second_store"), ("blobs/source", "source")]
    with migrated.writing() as connection:
        command.upgrade(build_alembic_config(connection), "head")


def _ways(migrated) -> list[tuple[object, ...]]:
    query = "SELECT name, repaired_from FROM operations_damaged_artifacts ORDER BY name"
    with migrated.reading() as connection:
        return [tuple(row) for row in connection.execute(text(query))]
