"""The form of metadata in events: order, decimal places, timestamps, earlier words."""

from datetime import UTC, datetime

import dagster as dg
import pytest

from orchestration_project.engine.announcements import (
    KNOWN_FROM,
    is_known_from,
    normalise_metadata,
)
from orchestration_project.engine.contracts.failures import read_quarantine
from tools.reference_pages.metadata_keys import GROUPS, key_named

NAMES = [name for group in GROUPS for name in group.keys]
AT = datetime(2026, 1, 5, 12, 0, 0, 123456, tzinfo=UTC)


def test_the_change_comes_first_and_numbers_have_the_places_of_their_unit():
    found = normalise_metadata(
        {
            "rows_added": 7,
            "seconds": 1.23456,
            "notional_dollars": 1234.5678,
            "restated_share_ratio": 0.123456,
            "change": "New week.",
        }
    )
    assert list(found.items()) == [
        ("change", "New week."),
        ("rows_added", 7),
        ("seconds", 1.235),
        ("notional_dollars", 1234.57),
        ("restated_share_ratio", 0.1235),
    ]


@pytest.mark.parametrize("earlier", [False, True])
def test_a_time_is_a_timestamp_and_is_read_back_to_the_microsecond(earlier: bool):
    [shown] = normalise_metadata({KNOWN_FROM: AT}).values()
    assert isinstance(shown, dg.TimestampMetadataValue)
    stored = dg.MetadataValue.text(AT.isoformat()) if earlier else shown
    assert is_known_from({KNOWN_FROM: stored}, AT)
    assert not is_known_from({KNOWN_FROM: stored}, AT.replace(microsecond=123457))
    assert not is_known_from({}, AT)


@pytest.mark.parametrize(
    ("outcome", "expected"), [("quarantined", True), ("held back", True), ("no data", False)]
)
def test_quarantined_partitions_are_found_in_events_of_every_version(outcome: str, expected: bool):
    metadata = {"outcome": outcome, "category": "contract", "reason": "rows are missing"}
    found = read_quarantine(metadata)
    assert (found is not None) is expected


def test_each_key_is_declared_once_and_names_of_data_are_found_by_pattern():
    assert sorted(set(NAMES)) == sorted(NAMES)
    [pictured, figure, unknown] = map(key_named, ("EP$C_file", "fx_bytes_24h", "unknown"))
    assert (pictured and pictured.unit, figure and figure.unit, unknown) == ("path", "bytes", None)
