"""An upload that waited for a poll of documents gets the work item that a new one has."""

from datetime import timedelta

import pytest
from alembic import command
from sqlalchemy import text

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.work_items import NewItem
from orchestration_project.engine.warehouse.migrating import build_alembic_config
from orchestration_project.engine.work_items import WorkItems

VERSION = "0071"
"""That before the one with work items."""

UPLOAD = text(
    "INSERT INTO uploads (inbox, upload_id, file_name, content_type, user_name, sha256, "
    "byte_count, received_at, capture_id) "
    "VALUES (:inbox, :id, 'a.pdf', 'x', 'ada', 'ab', 5, '2026-01-05 12:00:00.000000', 1)"
)
FILE = text(
    "INSERT INTO documents_files (path, byte_count, modified_at, state, first_seen_at, "
    "unchanged_since) VALUES ('/inbox/papers/known/a.pdf', 5, '2026-01-05 12:00:00.000000', "
    "'loaded', '2026-01-05 12:00:00.000000', '2026-01-05 12:00:00.000000')"
)


@pytest.mark.slow_on_postgresql
def test_uploads_without_an_item_and_a_file_are_enqueued(migrated):
    clock = Clock()
    items = WorkItems(migrated, clock)
    with migrated.writing() as connection:
        config = build_alembic_config(connection)
        command.downgrade(config, VERSION)
        for inbox, upload_id in (("papers", "new"), ("papers", "known"), ("other", "own")):
            connection.execute(UPLOAD, {"inbox": inbox, "id": upload_id})
        connection.execute(FILE)
        items.enqueue("uploads/other", [NewItem("own", "ab")], connection=connection)
        command.upgrade(config, "head")
        items.enqueue("uploads/papers", [NewItem("later", "cd")], connection=connection)
    found = {item.item_key: item for item in items.list_items()}
    assert found.keys() == {"new", "own", "later"}
    new, later = found["new"], found["later"]
    assert (new.topic, new.version, new.state) == ("uploads/papers", "ab", "ready")
    assert new.allowed_count == later.allowed_count
    until = clock.now() + timedelta(hours=1)
    claimed = items.claim("uploads/papers", limit=9, run_id="a run", until=until)
    assert [each.key for each in claimed] == ["new", "later"]
