"""Which files wait after a poll, and the verdict on a run's documents."""

from datetime import UTC, datetime, timedelta

import pytest

from orchestration_project.domains.documents.arrivals import FileRow, Listed, after_poll
from orchestration_project.domains.documents.verdict import is_failure, judge

START = datetime(2026, 3, 2, 23, 59, 55, tzinfo=UTC)
STABLE = timedelta(seconds=10)
OLD = datetime(2020, 1, 1, tzinfo=UTC)


class Polls:
    """Polls of one file, each so many seconds after the start."""

    def __init__(self) -> None:
        self.rows: dict[str, FileRow] = {}

    def at(
        self,
        seconds: int,
        byte_count: int | None,
        stable: timedelta = STABLE,
        version: str | None = None,
    ) -> str:
        """Return the state after a poll; None: the file is not there."""
        found = {} if byte_count is None else {"a": Listed(byte_count, OLD, version)}
        now = START + timedelta(seconds=seconds)
        changed = after_poll(list(self.rows.values()), found, now=now, stable=stable)
        self.rows |= {row.path: row for row in changed}
        return self.rows["a"].state

    def load(self) -> None:
        """Have the file loaded."""
        row = self.rows["a"]
        self.rows["a"] = FileRow(**{**vars(row), "state": "loaded", "document_id": "id"})


def test_a_file_waits_once_it_was_the_same_for_ten_seconds():
    polls = Polls()
    assert [polls.at(0, 1), polls.at(9, 1), polls.at(10, 1)] == ["seen", "seen", "stable"]
    assert polls.rows["a"].day.isoformat() == "2026-03-02"  # of the first sight


def test_a_file_that_grows_waits_from_its_last_change_on():
    polls = Polls()
    assert [polls.at(0, 1), polls.at(8, 2), polls.at(12, 2), polls.at(18, 2)] == [
        "seen",
        "seen",
        "seen",
        "stable",
    ]


def test_one_look_is_enough_where_no_time_is_asked_for():
    assert Polls().at(0, 1, timedelta(0)) == "stable"


def test_another_version_of_the_same_size_and_time_is_loaded_again():
    polls = Polls()
    assert polls.at(0, 1, timedelta(0)) == "stable"
    polls.load()
    assert polls.at(20, 1, version="1") == "loaded"  # it was not known before
    assert polls.rows["a"].file_version == "1"
    before = polls.rows["a"].version
    assert polls.at(40, 1, version="2") == "changed"
    assert polls.at(50, 1, version="2") == "stable"
    assert polls.rows["a"].version != before


def test_a_loaded_file_changes_goes_and_comes_back_as_another_version():
    polls = Polls()
    polls.at(0, 1, timedelta(0))
    first = polls.rows["a"].version
    polls.load()
    assert polls.at(20, 1) == "loaded"
    assert polls.at(30, 2) == "changed"
    assert polls.at(40, 2) == "stable"
    assert polls.at(50, None) == "gone"
    assert polls.at(60, 1) == "changed"
    assert polls.at(70, 1) == "stable"
    assert polls.rows["a"].version != first
    assert polls.rows["a"].first_seen_at == START


@pytest.mark.parametrize(
    ("reached", "reasons", "expected"),
    [
        ((10, 10, 10), {}, ("good", 100)),
        ((9, 9, 9), {"corrupt": 1}, ("good", 90)),
        (
            (10, 8, 7),
            {"no_text": 2},
            ("watch", 10 * 1000 / 65 * 0.25 + 8 * 200 / 65 + 7 * 200 / 65),
        ),
        ((6, 6, 6), {"corrupt": 4}, ("bad", 60)),
        ((10, 10, 10), {"archive_ratio": 1}, ("bad", 100)),
    ],
)
def test_the_weights_of_missing_stages_are_spread_over_the_others(reached, reasons, expected):
    stages: dict[str, int] = dict(zip(("extracted", "normalized", "chunked"), reached, strict=True))
    verdict = judge(10, stages, reasons)
    assert (verdict.level, verdict.score) == (expected[0], pytest.approx(expected[1]))
    assert bool(verdict.reasons) == (verdict.level != "good")


@pytest.mark.parametrize(
    ("fail_on", "failing"),
    [("never", []), ("bad", ["bad"]), ("watch", ["watch", "bad"])],
)
def test_a_run_fails_from_the_verdict_on_that_is_configured(fail_on, failing):
    assert [name for name in ("good", "watch", "bad") if is_failure(name, fail_on)] == failing
