"""The verdict of a run: weights of configured stages, thresholds, critical reasons, its effect."""

import pytest

from orchestration_project.domains.documents.verdict import is_failure, judge

ALL = dict.fromkeys(["extracted", "normalized", "chunked", "similarity", "exported"], 10)


@pytest.mark.parametrize(
    ("missing", "score", "level"),
    [
        ({}, 100, "good"),
        ({"exported": 0}, 85, "good"),
        ({"exported": 0, "chunked": 9}, 83, "watch"),
        ({"extracted": 0}, 75, "watch"),
        ({"extracted": 0, "similarity": 7}, 69, "bad"),
    ],
)
def test_a_score_is_the_weighted_share_of_each_stage(missing, score, level):
    verdict = judge(10, {**ALL, **missing}, {})
    assert (verdict.score, verdict.level) == (pytest.approx(score), level)
    assert bool(verdict.reasons) == (level != "good")


def test_weights_of_stages_that_are_not_configured_are_spread_over_the_others():
    reached = {"extracted": 10, "normalized": 5, "chunked": 5, "similarity": 5}
    verdict = judge(10, reached, {})
    assert verdict.score == pytest.approx(100 * (25 + 30) / 85)
    assert verdict.reasons == (
        "5 of 10 not normalized",
        "5 of 10 not chunked",
        "5 of 10 not compared",
    )
    assert judge(10, {"extracted": 9}, {}).score == pytest.approx(90)


def test_a_critical_reason_is_bad_and_an_overdue_export_is_named():
    verdict = judge(10, ALL, {"archive_ratio": 1, "corrupt": 3})
    assert (verdict.level, verdict.score) == ("bad", 100)
    assert verdict.reasons == ("1 with the critical reason archive_ratio",)
    late = judge(10, {**ALL, "exported": 0}, {}, ["chunks"])
    assert (late.level, late.reasons) == ("good", ("the export chunks is overdue",))


@pytest.mark.parametrize(
    ("fail_on", "failed"), [("never", []), ("bad", ["bad"]), ("watch", ["watch", "bad"])]
)
def test_a_setting_decides_which_verdicts_fail_a_run(fail_on, failed):
    verdicts = [judge(10, {"extracted": count}, {}) for count in (10, 8, 5)]
    assert [verdict.level for verdict in verdicts] == ["good", "watch", "bad"]
    assert [verdict.level for verdict in verdicts if is_failure(verdict.level, fail_on)] == failed
