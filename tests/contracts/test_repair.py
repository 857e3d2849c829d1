"""Rules of repairs: the ways and their order, how a repair ends, and what is said to be lost."""

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration_project.engine.contracts.repair import (
    WAYS,
    Attempt,
    LostCapture,
    derive_outcome,
    explain_loss,
    is_expired,
)
from tests.properties import bounded

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)


def test_the_reason_of_an_outcome_lists_each_way_and_what_it_found():
    tried = [Attempt("copy", "absent"), Attempt("source", "failed", "HTTP 503")]
    assert derive_outcome(tried).reason == (
        "the copy does not have the bytes; the source failed (HTTP 503)"
    )
    assert derive_outcome([]).reason == (
        "nothing has its bytes: no copy is named, and no source or rows have them"
    )


attempts = st.lists(
    st.builds(Attempt, st.sampled_from(WAYS), st.sampled_from(["absent", "other_bytes", "failed"])),
    max_size=4,
)


@given(failed=attempts, last=st.sampled_from(["repaired", "rederived", None]))
@bounded
def test_an_artifact_is_lost_only_if_no_way_may_still_have_its_bytes(failed, last):
    tried = [*failed, Attempt("source", last)] if last else failed
    ended = derive_outcome(tried)
    if last:
        assert (ended.state, ended.way) == (last, "source")
    else:
        is_open = any(attempt.result == "failed" for attempt in failed)
        assert (ended.state, ended.way) == ("damaged" if is_open else "lost", None)
    assert ended.reason


def lost(**changes):
    usual = {
        "source": "api",
        "dataset": "weeklySummary",
        "partition_key": "T1|2025-11-10",
        "fetched_at": NOON,
        "rows": {},
        "later_at": None,
    }
    return LostCapture(**usual | changes)


def test_a_loss_says_what_the_bytes_were_of_and_what_is_left():
    assert explain_loss([lost(rows={"b": 2, "a": 1}, later_at=NOON)]) == (
        "The bytes of weeklySummary of api, partition T1|2025-11-10, fetched at 2026-01-05 12:00 "
        "UTC, are lost; the database still has 1 rows in a, 2 rows in b; a later capture of "
        "2026-01-05 12:00 UTC is whole."
    )
    alone = explain_loss([lost()])
    assert "are lost; no current row was read from them; no later capture is whole." in alone
    assert (
        explain_loss([lost()] * 5)
        == f"{alone} {alone} {alone} 2 other captures had the same bytes."
    )
    assert explain_loss([lost()] * 3) == f"{alone} {alone} {alone}"
    assert explain_loss([]) == "Bytes that no capture needs are lost."


@pytest.mark.parametrize(
    ("name", "expired"),
    [
        ("damaged/2026-01-01/blobs/a", True),
        ("damaged/2026-01-02/blobs/a", False),
        ("damaged/2026-02-30/a", False),
        ("damaged/2026-01-01", False),
        ("blobs/damaged/2026-01-01/a", False),
        ("damaged/\u0662026-01-01/a", False),
    ],
)
def test_what_was_set_aside_expires_by_the_day_in_its_name(name, expired):
    assert is_expired(name, date(2026, 1, 31), 30) is expired
