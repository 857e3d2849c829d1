"""Similarity stays when topics of documents go; the version before derives it again."""

import pytest
from alembic import command
from sqlalchemy import text

from orchestration_project.engine.warehouse.migrating import build_alembic_config

VERSION = "0083"
"""That before the one without topics."""

WRITTEN = (
    "INSERT INTO documents_fingerprints (document_id, extracted_at, signature, terms, group_id, "
    "is_compared, has_topics) VALUES ('a', '2026-03-01 12:00:00+00:00', 's', '{}', 'a', "
    "true, true)",
    "INSERT INTO documents_similarity VALUES ('a', 'b', 0.75, 'a')",
    "INSERT INTO documents_topics VALUES ('a', 1, 'pump', 0.5)",
    "INSERT INTO documents_frequencies VALUES ('pump', 1)",
)


@pytest.mark.slow_on_postgresql
def test_fingerprints_and_pairs_stay_and_going_back_empties_them(migrated):
    with migrated.writing() as connection:
        command.downgrade(build_alembic_config(connection), VERSION)
        for statement in WRITTEN:
            connection.execute(text(statement))
        command.upgrade(build_alembic_config(connection), "head")
    fingerprint = "SELECT document_id, signature, group_id FROM documents_fingerprints"
    pair = "SELECT document_id, similar_id, score FROM documents_similarity"
    assert _rows(migrated, fingerprint) == [("a", "s", "a")]
    assert _rows(migrated, pair) == [("a", "b", 0.75)]
    with migrated.writing() as connection:
        command.downgrade(build_alembic_config(connection), VERSION)
    assert _rows(migrated, fingerprint) == _rows(migrated, pair) == []
    with migrated.writing() as connection:
        command.upgrade(build_alembic_config(connection), "head")


def _rows(migrated, query: str) -> list[tuple[object, ...]]:
    with migrated.reading() as connection:
        return [tuple(row) for row in connection.execute(text(query))]
