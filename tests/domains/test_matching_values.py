"""Values that rules map to types, and attempts at actions, at the edges of their limits."""

import time
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from orchestration_project.engine.contracts.attempts import may_pass, wait_after
from orchestration_project.engine.contracts.matching import (
    FieldType,
    TargetFields,
    TemplatePart,
    convert_json,
    find_member,
    format_value,
    parse_template,
)

MAX_INT64 = 2**63 - 1


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("integer", str(MAX_INT64), MAX_INT64),
        ("integer", -MAX_INT64, -MAX_INT64),
        ("integer", "-7", -7),
        ("integer", "0" * 19 + "5", 5),
        ("integer", 4.0, 4),
        ("number", "4.5", 4.5),
        ("number", 7, 7),
        ("number", "1" * 300, float("1" * 300)),
        ("number", "0" * 399 + "3", 3.0),
        ("boolean", "true", True),
        ("boolean", "false", False),
        ("boolean", False, False),
        ("timestamp", 0, "1970-01-01T00:00:00+00:00"),
        ("timestamp", 253_402_300_799, "9999-12-31T23:59:59+00:00"),
        ("timestamp", "2026-11-02T13:00:00+01:00", "2026-11-02T12:00:00+00:00"),
        ("text", True, "true"),
        ("json", [1], [1]),
        ("integer", None, None),
    ],
)
def test_a_value_is_read_as_the_type_of_its_field(kind: FieldType, value: Any, expected: object):
    found = convert_json(value, kind)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        ("integer", MAX_INT64 + 1, "expected an integer, e.g. 42, found a number"),
        ("integer", "0" * 20 + "5", "expected an integer, e.g. 42, found another text"),
        ("integer", "4.5", "expected an integer, e.g. 42, found another text"),
        ("integer", "٣", "expected an integer, e.g. 42, found another text"),
        ("integer", 4.5, "expected an integer, e.g. 42, found a number"),
        ("integer", True, "expected an integer, e.g. 42, found a boolean"),
        ("number", "1_0", "expected a number, e.g. 4.2, found another text"),
        ("number", "0" * 401, "expected a number, e.g. 4.2, found another text"),
        ("number", "nan", "expected a number, e.g. 4.2, found another text"),
        ("number", True, "expected a number, e.g. 4.2, found a boolean"),
        ("number", {"a": 1}, "expected a number, e.g. 4.2, found an object"),
        ("boolean", "True", "expected true or false, found another text"),
        ("boolean", 1, "expected true or false, found a number"),
        ("boolean", [True], "expected true or false, found a list"),
        ("timestamp", "2026-11-02", "2026-11-02T12:00:00Z, found another text"),
        ("timestamp", "2026-11-02T12:00:00", "2026-11-02T12:00:00Z, found another text"),
        ("timestamp", -1, "2026-11-02T12:00:00Z, found a number"),
        ("timestamp", 253_402_300_800, "2026-11-02T12:00:00Z, found a number"),
        ("timestamp", False, "2026-11-02T12:00:00Z, found a boolean"),
    ],
)
def test_a_value_of_another_type_is_refused_without_quoting_it(
    kind: FieldType, value: Any, message: str
):
    with pytest.raises(ValueError, match="expected") as refused:
        convert_json(value, kind)
    assert str(refused.value).endswith(message)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (True, "true"),
        (False, "false"),
        (0, "0"),
        (4.5, "4.5"),
        ("as it is", "as it is"),
        (date(2026, 11, 2), "2026-11-02"),
        (datetime(2026, 11, 2, 12, tzinfo=UTC), "2026-11-02T12:00:00+00:00"),
        ({"b": "é", "a": [1, None]}, '{"a": [1, null], "b": "é"}'),
        ([], "[]"),
    ],
)
def test_a_value_is_written_as_people_would(value: Any, text: str):
    assert format_value(value) == text


DOCUMENT = {"issue": {"labels": ["a", {"name": "b"}], "parent": None}, "0": "zero"}


@pytest.mark.parametrize(
    ("path", "member"),
    [
        ([], DOCUMENT),
        (["0"], "zero"),
        (["issue", "parent"], None),
        (["issue", "labels", "0"], "a"),
        (["issue", "labels", "1", "name"], "b"),
    ],
)
def test_a_path_leads_to_a_member(path: list[str], member: Any):
    assert find_member(DOCUMENT, path) == member


@pytest.mark.parametrize(
    ("path", "missing"),
    [
        (["1"], "1"),
        (["issue", "0"], "0"),
        (["issue", "labels", "2"], "2"),
        (["issue", "labels", "-1"], "-1"),
        (["issue", "labels", "0", "0"], "0"),
        (["issue", "parent", "name"], "name"),
    ],
)
def test_a_path_that_leads_nowhere_is_named_by_its_step(path: list[str], missing: str):
    with pytest.raises(LookupError) as refused:
        find_member(DOCUMENT, path)
    assert refused.value.args == (missing,)


def test_a_template_is_read_as_texts_and_the_paths_that_follow():
    assert parse_template("") == []
    assert parse_template("all {{of}} it") == [("all {", None), ("of}", None), (" it", None)]
    assert parse_template("{id}: {done|yes,no}!") == [
        ("", TemplatePart("id", None)),
        (": ", TemplatePart("done", ("yes", "no"))),
        ("!", None),
    ]


@pytest.mark.parametrize("template", ["{id:>9}", "{id!r}", "{id!r:>9}"])
def test_a_template_has_no_formats(template: str):
    with pytest.raises(ValueError, match=r"^\{id\} has more than a path$"):
        parse_template(template)


def test_a_field_has_its_own_type_or_that_of_others():
    named = TargetFields({"count": "integer"})
    assert (named.type_of("count"), named.type_of("note")) == ("integer", None)
    assert TargetFields({"count": "integer"}, others="text").type_of("note") == "text"
    assert TargetFields({"count": "integer"}, others="text").type_of("count") == "integer"


def test_words_of_a_template_stand_for_true_and_false_alone():
    part = TemplatePart.read("done|yes,no")
    assert [part.text_of(value) for value in (True, False, None)] == ["yes", "no", ""]
    with pytest.raises(ValueError, match=r"^invalid done: expected true or false$"):
        part.text_of("yes")
    with pytest.raises(ValueError, match="expected a path and two texts"):
        TemplatePart.read("done|yes")


@pytest.mark.parametrize(
    ("status", "expected"),
    [(400, False), (401, True), (404, True), (422, False), (429, True), (499, False), (500, True)],
)
def test_an_answer_that_may_say_nothing_of_the_request_is_retried(status: int, expected: bool):
    assert may_pass(status) is expected


def test_waits_double_from_half_a_minute_to_an_hour():
    seconds = [wait_after(count) / timedelta(seconds=1) for count in (1, 2, 3, 7, 8, 900)]
    assert seconds == [30, 60, 120, 1920, 3600, 3600]


def test_a_timestamp_is_in_utc_also_where_the_machine_is_not(monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as patched:
        patched.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        value = convert_json("2026-11-02T13:00:00+01:00", "timestamp")
    time.tzset()
    assert value == "2026-11-02T12:00:00+00:00"
