"""Captured bodies of webhook deliveries, derived again from the inbox."""

import base64

from sqlalchemy import select

from orchestration_project.engine.recovery import RecordedCapture, Recovery, RecoveryEnvironment
from orchestration_project.settings import Settings
from orchestration_project.tables.spine import inbox

SOURCE = "webhooks"


def _is_delivery(capture: RecordedCapture, _: Settings) -> bool:
    return capture.source == SOURCE and isinstance(capture.request.get("delivery_id"), str)


def _read(capture: RecordedCapture, given: RecoveryEnvironment) -> bytes | None:
    """Return the body that the inbox has of the delivery; None: its row is gone."""
    own = (
        inbox.c.source == capture.dataset,
        inbox.c.delivery_id == capture.request["delivery_id"],
    )
    with given.warehouse.reading() as connection:
        found = connection.execute(select(inbox.c.body).where(*own)).scalar()
    return None if found is None else base64.b64decode(found)


RECOVERIES = [Recovery(way="derived", applies=_is_delivery, read=_read)]
"""Bodies of deliveries, which the inbox has as they were received."""
