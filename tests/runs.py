"""What a test wants to know of a run in its own process."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import dagster as dg


def failure_of(result: dg.ExecuteInProcessResult, op: str) -> str:
    """Return what a failed op says."""
    failure = result.failure_data_for_node(op)
    assert failure
    assert failure.user_failure_data
    return str(failure.user_failure_data.description)


def told_by(result: dg.ExecuteInProcessResult) -> Mapping[str, Mapping[str | None, dict[str, Any]]]:
    """Return the metadata of each materialization, by asset and partition."""
    told: dict[str, dict[str | None, dict[str, Any]]] = defaultdict(dict)
    for event in result.get_asset_materialization_events():
        assert event.asset_key
        metadata = event.step_materialization_data.materialization.metadata
        told[event.asset_key.path[-1]][event.partition] = {
            label: value.value for label, value in metadata.items()
        }
    return told
