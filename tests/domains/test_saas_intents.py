"""Writes where both sides changed, transitions of an issue, and times of polls."""

from datetime import UTC, datetime, timedelta

import pytest

from orchestration_project.domains.saas.adf import adf_of
from orchestration_project.domains.saas.intents import Merge, agrees, completion, merged
from orchestration_project.domains.saas.records import FieldSpec, Transition
from orchestration_project.domains.saas.ticks import Tick, turn
from orchestration_project.domains.saas.transitions import next_step
from orchestration_project.domains.saas.values import (
    UnfitValueError,
    one_line,
    values_of,
    violations,
)


def test_a_value_that_only_the_source_changed_is_written():
    assert merged({"a": 2, "b": 1}, {"a": 1, "b": 1}, {"a": 1, "b": 1}).writes == {"a": 2}


def test_a_value_that_only_people_changed_stays():
    merge = merged({"a": 1}, {"a": 1}, {"a": 7})
    assert (merge.writes, merge.kept, merge.overwritten) == ({}, {"a": 7}, {})


def test_where_both_changed_the_overwritten_value_is_returned():
    merge = merged({"a": 2}, {"a": 1}, {"a": 7})
    assert (merge.writes, merge.kept, merge.overwritten) == ({"a": 2}, {}, {"a": 7})


def test_where_both_say_the_same_nothing_is_written():
    merge = merged({"a": 2}, {"a": 1}, {"a": 2})
    assert (merge.writes, merge.kept, merge.overwritten) == ({}, {}, {})


def test_a_field_that_a_rule_begins_to_fill_is_written_over_what_stood_there():
    merge = merged({"a": 2}, {}, {"a": 7})
    assert (merge.writes, merge.overwritten) == ({"a": 2}, {"a": 7})
    assert merged({"a": 2}, {}, {}).overwritten == {}


def test_a_time_in_the_zone_of_the_target_is_no_edit():
    ours, before = {"at": "2026-03-02T10:00:00.000+0000"}, {"at": "2026-03-02T09:00:00Z"}
    in_zone = {"at": "2026-03-02T11:00:00.000+0200"}
    assert merged(before, before, in_zone) == Merge({}, {}, {})
    assert merged(ours, before, in_zone) == Merge(ours, {}, {})
    by_hand = {"at": "2026-03-02T11:00:00.001+0200"}
    assert merged(ours, before, by_hand) == Merge(ours, {}, by_hand)
    assert merged(before, before, by_hand) == Merge({}, by_hand, {})


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (None, ""),
        ([], None),
        ({"value": "x"}, {"value": "x", "id": "7", "self": "https://…"}),
        (["a", "b"], ["b", "a"]),
        ([{"name": "a"}], [{"name": "a", "id": 1}]),
        (None, {"type": "doc", "version": 1, "content": []}),
    ],
)
def test_a_target_may_say_the_same_in_more_words(ours, theirs):
    assert agrees(ours, theirs)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("a", "b"),
        (["a"], ["a", "a"]),
        ({"value": "x"}, "x"),
        ({"a": 1}, {"b": 1}),
        (0, None),
        (1, "1"),
    ],
)
def test_what_differs_differs(ours, theirs):
    assert not agrees(ours, theirs)


def test_a_document_with_ids_of_the_target_is_the_same_and_one_with_another_word_is_not():
    ours = adf_of("<p>a <b>b</b></p><ul><li>c</li></ul>")
    theirs = adf_of("<p>a <b>b</b></p><ul><li>c</li></ul>")
    assert theirs is not None
    theirs["content"][0]["attrs"] = {"localId": "x"}
    theirs["content"][0]["content"][0:1] = [
        {"type": "text", "text": "a"},
        {"type": "text", "text": " "},
    ]
    assert agrees(ours, theirs)
    for other in ("<p>a b</p><ul><li>c</li></ul>", "<p>a <b>b</b></p><ol><li>c</li></ol>"):
        assert not agrees(ours, adf_of(other))


@pytest.mark.parametrize(
    ("before", "source", "target", "follows"),
    [
        (None, True, True, "agreed"),
        (False, False, False, "agreed"),
        (False, True, False, "to_target"),
        (False, False, True, "to_source"),
        (True, False, True, "to_target"),
        (True, True, False, "kept"),
        (None, True, False, "to_target"),
        (None, False, True, "to_source"),
    ],
)
def test_the_side_that_changed_last_is_followed(before, source, target, follows):
    assert completion(before, source=source, target=target) == follows


def step(number: str, name: str, category, to_name: str = "") -> Transition:
    return Transition(number, name, category, to_name)


CANCEL = step("1", "Cancel", "done", "Cancelled")
CLOSE = step("2", "Close", "done", "Won't Do")
SIGN = step("30", "Sign off", "done", "Approved")
FINISH = step("4", "Finish it", "done", "Done")
START = step("5", "Start", "indeterminate", "In Progress")
CANCEL_IT = step("7", "Cancel it", "done", "Closed")
BACK = step("6", "Back", "new", "To Do")


@pytest.mark.parametrize(
    ("now", "to_done", "offered", "taken"),
    [
        ("new", True, [CANCEL, CLOSE, SIGN, FINISH], FINISH),
        ("new", True, [CANCEL, SIGN, START], SIGN),
        ("new", True, [CANCEL, CLOSE, START], START),
        ("indeterminate", True, [CANCEL, START, BACK], None),
        ("indeterminate", True, [CANCEL_IT], None),
        ("done", False, [START, BACK], BACK),
        ("done", False, [START], START),
        ("new", True, [], None),
    ],
)
def test_a_completed_task_never_takes_its_issue_to_a_status_like_cancelled(
    now, to_done, offered, taken
):
    assert next_step(now, to_done=to_done, offered=offered) == taken


@pytest.mark.parametrize(
    ("now", "offered", "taken"),
    [
        ("new", [FINISH, CANCEL, START], CANCEL),
        ("new", [FINISH, START], START),
        ("indeterminate", [FINISH, BACK], None),
    ],
)
def test_a_rule_may_end_issues_of_completed_tasks_in_a_cancelled_status(now, offered, taken):
    assert next_step(now, to_done=True, to_cancelled=True, offered=offered) == taken


SPECS = {
    spec.field_id: spec
    for spec in [
        FieldSpec("summary", "Summary", True, "string"),
        FieldSpec("description", "Description", False, "string"),
        FieldSpec("assignee", "Assignee", False, "user"),
        FieldSpec("labels", "Labels", False, "array"),
        FieldSpec("t", "Text", False, "string"),
        FieldSpec("n", "Number", False, "number"),
        FieldSpec("d", "Day", False, "date"),
        FieldSpec("at", "Time", False, "datetime"),
        FieldSpec("o", "Office", False, "option", ("Rome", "Oslo")),
        FieldSpec("p", "Priority", False, "priority", ("High",)),
        FieldSpec("os", "Offices", False, "array", ("New York", "Oslo"), items="option"),
        FieldSpec("cs", "Components", False, "array", items="component"),
        FieldSpec("us", "Watchers", False, "array", items="user"),
        FieldSpec("e", "Environment", False, "string", is_document=True),
    ]
}


def values(**fields):
    return values_of(fields, SPECS, {"ana@example.org": "a-1"}.get)


def test_values_take_the_types_of_the_target():
    given = {
        "labels": ["a b", "", "c"],
        "n": "12",
        "d": "2026-03-02T09:00:00",
        "o": "Rome",
        "p": "High",
    }
    assert values(**given).fields == {
        "labels": ["a_b", "c"],
        "n": 12,
        "d": "2026-03-02",
        "o": {"value": "Rome"},
        "p": {"name": "High"},
    }
    assert values(n="1e3", o=None, labels="a, b", d="").fields == {
        "n": 1000.0,
        "o": None,
        "labels": ["a", "b"],
        "d": None,
    }


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("2011-10-19T10:29:29.908123+11:00", "2011-10-19T10:29:29.908+1100"),
        ("2026-03-02T09:00:00Z", "2026-03-02T09:00:00.000+0000"),
        (datetime(2026, 3, 2, 9, tzinfo=UTC), "2026-03-02T09:00:00.000+0000"),
        ("2026-03-02T09:00:00.000-0530", "2026-03-02T09:00:00.000-0530"),
        ("2026-03-02T09:00:00", "2026-03-02T09:00:00"),  # of no zone, and so of no time
        ("tomorrow", "tomorrow"),
        ("", None),
    ],
)
def test_a_time_is_given_as_the_target_documents_it(given, said):
    assert values(at=given).fields == {"at": said}


def test_what_is_in_a_list_and_long_texts_take_the_types_of_the_target_too():
    assert values(os="New York, Oslo", cs=["The desk"], e="<p>a</p>").fields == {
        "os": [{"value": "New York"}, {"value": "Oslo"}],
        "cs": [{"name": "The desk"}],
        "e": adf_of("<p>a</p>"),
    }


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("os", "Paris", "os: 'Paris' is none of New York, Oslo"),
        ("us", "ana@example.org", "us: several people cannot be given"),
        ("n", "many", "n: 'many' is not a number"),
        ("n", "nan", "n: 'nan' is not a number"),
        ("d", "tomorrow", "d: 'tomorrow' is not a date"),
        ("o", "Paris", "o: 'Paris' is none of Rome, Oslo"),
        ("none", "x", "none: the issue type has no such field"),
    ],
)
def test_a_value_that_cannot_be_one_of_its_field_says_why(name, value, said):
    with pytest.raises(UnfitValueError) as error:
        values(**{name: value})
    assert str(error.value) == said


def test_an_unknown_assignee_is_left_out_and_not_replaced():
    assert values(assignee="ana@example.org").fields == {"assignee": {"accountId": "a-1"}}
    assert values(assignee=None).fields == {"assignee": None}
    unknown = values(assignee="ana@example.or")
    assert (unknown.fields, unknown.unresolved_email) == ({}, "ana@example.or")


def test_a_summary_is_one_line_of_what_a_target_takes():
    assert one_line("a\nb\t\0c\ud800 🙂 שלום") == "a b c 🙂 שלום"
    long = one_line("x" * 65_536)
    assert (len(long), long[-1]) == (255, "…")


def test_a_text_or_label_is_as_long_as_the_target_takes():
    long = values(t="x" * 65_536, labels="y" * 65_536).fields
    assert (long["t"], long["labels"]) == ("x" * 32_767, ["y" * 255])


def test_a_rule_is_proven_wrong_by_what_the_target_requires_and_by_fields_that_it_lacks():
    required = [
        *SPECS.values(),
        FieldSpec("project", "Project", True, "project"),
        FieldSpec("r", "Region", True, "option", ("EU",)),
        FieldSpec("s", "Severity", True, "option", ("1",), has_default=True),
    ]
    filled = {"summary": None, "description": None, "assignee": None}
    assert violations(filled, required) == ["r (Region) is required, and nothing fills it"]
    assert violations({**filled, "r": "EU", "x": None, "o": "Paris"}, required) == [
        "x is not a field of these issues",
        "o: 'Paris' is none of Rome, Oslo",
    ]


NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
MINUTES = timedelta(minutes=1)


def tick(**changes) -> Tick:
    return Tick("a>b", 5 * MINUTES, **changes)


def test_a_look_begins_once_the_interval_is_over():
    assert turn(tick(started_at=NOW - 4 * MINUTES), NOW) is None
    due = turn(tick(started_at=NOW - 5 * MINUTES), NOW)
    assert due == "a>b#2026-03-02T11:55:00+00:00#1"
    assert turn(tick(started_at=NOW - 5 * MINUTES), NOW + MINUTES) == due
    assert turn(tick(), NOW) is not None


def test_a_paused_pair_is_looked_through_only_when_somebody_asks():
    paused = {"is_paused": True, "started_at": NOW - 60 * MINUTES}
    assert turn(tick(**paused), NOW) is None
    requested = tick(**paused, triggered_at=NOW - MINUTES)
    assert turn(requested, NOW) == "a>b#2026-03-02T11:59:00+00:00#0"
    assert turn(tick(is_paused=True, triggered_at=NOW, started_at=NOW), NOW) is None


def test_a_look_is_due_though_the_clock_was_set_back_since_the_latest():
    assert turn(tick(started_at=NOW + 4 * MINUTES), NOW) is None
    later = NOW + 180 * MINUTES
    assert turn(tick(started_at=later), NOW) == "a>b#2026-03-02T15:00:00+00:00#-36"
    assert turn(tick(started_at=later), NOW) != turn(tick(started_at=later), NOW + 5 * MINUTES)


def test_a_look_that_was_asked_for_and_never_began_is_asked_for_again_by_another_name():
    requested = tick(triggered_at=NOW)
    assert turn(requested, NOW) != turn(requested, NOW + 5 * MINUTES)
