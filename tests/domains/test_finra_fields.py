"""The fields that a source lists, against those that we know."""

from datetime import UTC, datetime, timedelta
from functools import partial

import polars as pl

from orchestration_project.domains.finra.contract import API_FIELDS, KNOWN_FIELDS
from orchestration_project.domains.finra.selection import UnknownTier, unknown_tiers
from orchestration_project.engine.contracts.contract import Drift, merge_fields
from orchestration_project.engine.contracts.contract import detect_drift as drift_from
from orchestration_project.engine.contracts.values import derive_schema
from orchestration_project.tables.spine import source_fields

MONDAY = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
TUESDAY, WEDNESDAY = MONDAY + timedelta(days=1), MONDAY + timedelta(days=2)
drift = partial(drift_from, known_fields=KNOWN_FIELDS)
NOTHING = pl.DataFrame(schema=derive_schema(source_fields))
WITHOUT_MPID = {name: kind for name, kind in KNOWN_FIELDS.items() if name != "MPID"}


def looked(*looks: tuple[datetime, dict[str, str]]) -> pl.DataFrame:
    """Return what is remembered after these looks."""
    seen = NOTHING
    for at, listed in looks:
        seen = merge_fields(seen, listed, source="api", dataset="weeklySummary", at=at)
    return seen


def periods(seen: pl.DataFrame, name: str) -> list[tuple[object, ...]]:
    columns = ("field_type", "first_seen_at", "last_seen_at", "gone_at")
    return seen.filter(field_name=name).select(columns).rows()


def test_every_field_that_a_load_asks_for_is_known():
    assert tuple(KNOWN_FIELDS) == API_FIELDS


def test_the_fields_that_we_know_are_no_drift_also_in_other_words_and_another_order():
    words = {name: kind.replace("Number", "Integer") for name, kind in KNOWN_FIELDS.items()}
    assert drift(looked((MONDAY, KNOWN_FIELDS))) == []
    assert drift(looked((MONDAY, dict(reversed(words.items()))))) == []


def test_new_missing_and_retyped_fields_are_reported_with_a_date():
    changed = WITHOUT_MPID | {"firmCRDNumber": "String", "oddLots": "Number"}
    seen = looked((MONDAY, KNOWN_FIELDS), (TUESDAY, changed), (WEDNESDAY, changed))
    assert drift(seen) == [
        Drift("MPID", "missing", "String", "", TUESDAY),
        Drift("firmCRDNumber", "retyped", "Number", "String", TUESDAY),
        Drift("oddLots", "new", "", "Number", TUESDAY),
    ]


def test_a_field_that_was_never_listed_is_missing_since_no_known_time():
    assert drift(looked((MONDAY, WITHOUT_MPID))) == [Drift("MPID", "missing", "String", "", None)]


def test_the_history_of_a_fields_type_stays_answerable():
    seen = looked(
        (MONDAY, {"MPID": "String"}), (TUESDAY, {"MPID": "Number"}), (WEDNESDAY, {"MPID": "Number"})
    )
    assert periods(seen, "MPID") == [
        ("String", MONDAY, MONDAY, TUESDAY),
        ("Number", TUESDAY, WEDNESDAY, None),
    ]


def test_a_field_that_comes_back_begins_a_new_period():
    seen = looked((MONDAY, {"A": "String"}), (TUESDAY, {}), (WEDNESDAY, {"A": "String"}))
    assert periods(seen, "A") == [
        ("String", MONDAY, MONDAY, TUESDAY),
        ("String", WEDNESDAY, WEDNESDAY, None),
    ]


def test_polls_at_the_same_moment_are_distinguished():
    seen = looked((MONDAY, {"A": "String"}), (MONDAY, {"A": "Date"}))
    later = MONDAY + timedelta(microseconds=1)
    assert periods(seen, "A") == [
        ("String", MONDAY, MONDAY, later),
        ("Date", later, later, None),
    ]


def test_tiers_that_we_do_not_load_are_counted_with_their_newest_week():
    listed = [("2026-02-09", "T1"), ("2025-12-08", "NMS"), ("2025-12-15", "NMS"), ("x", "NA")]
    assert unknown_tiers(listed) == [
        UnknownTier("NA", 1, "x"),
        UnknownTier("NMS", 2, "2025-12-15"),
    ]
    assert unknown_tiers([("2026-02-09", "OTCE")]) == []
