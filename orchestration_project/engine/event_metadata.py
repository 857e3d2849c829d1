"""The form of metadata in every event: order, decimal places, timestamps, outcomes."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from orchestration_project.domains.operations.metadata_keys import rounded

CHANGE = "change"

QUARANTINED = "quarantined"
"""Outcome of a partition that an error kept from being loaded."""

EARLIER_QUARANTINED = "held back"
"""The same outcome in events of earlier versions."""


def event_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return metadata with `change` first, floats rounded by unit, and times as timestamps."""
    shown = {name: _shown(name, value) for name, value in metadata.items()}
    return {CHANGE: shown.pop(CHANGE), **shown} if CHANGE in shown else shown


def _shown(name: str, value: Any) -> Any:
    if isinstance(value, float):
        return rounded(name, value)
    if isinstance(value, datetime):
        return dg.MetadataValue.timestamp(value)
    return value


def is_quarantined(metadata: Mapping[str, Any]) -> bool:
    """Return whether an observation, given by its values, is of a quarantined partition."""
    return metadata.get("outcome") in (QUARANTINED, EARLIER_QUARANTINED)


def time_of(value: dg.MetadataValue[Any]) -> datetime:
    """Return the time of a timestamp; events of earlier versions have it as text."""
    found = value.value
    is_text = isinstance(found, str)
    return datetime.fromisoformat(found) if is_text else datetime.fromtimestamp(found, UTC)
