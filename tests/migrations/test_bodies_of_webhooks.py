"""Bodies of webhooks survive both ways; a removed one has no place in the earlier tables."""

import pytest
from alembic import command
from sqlalchemy import select, update

from orchestration_project.engine.warehouse.migrating import build_alembic_config
from orchestration_project.services.inbox.rows import Inbox, NewDelivery
from orchestration_project.tables.spine import inbox

VERSION = "0066"
"""That before the one in which bodies may be NULL."""


@pytest.mark.slow_on_postgresql
def test_bodies_stay_and_a_removed_one_is_empty_before(migrated):
    deliveries = [NewDelivery("git", name, None, name.encode(), {}, 1) for name in ("a", "b")]
    Inbox(migrated, migrated._clock).take(deliveries)
    with migrated.writing() as connection:
        connection.execute(update(inbox).where(inbox.c.delivery_id == "b").values(body=None))
        command.downgrade(build_alembic_config(connection), VERSION)
    assert _bodies(migrated) == {"a": "YQ==", "b": ""}
    with migrated.writing() as connection:
        command.upgrade(build_alembic_config(connection), "head")
    assert _bodies(migrated) == {"a": "YQ==", "b": ""}


def _bodies(migrated) -> dict[str, str | None]:
    with migrated.reading() as connection:
        rows = connection.execute(select(inbox.c.delivery_id, inbox.c.body))
        return {row.delivery_id: row.body for row in rows}
