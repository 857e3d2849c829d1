"""Topic filters of MQTT against the vectors of its standard, and against a slow model."""

import random
import re

import pytest

from orchestration_project.domains.mqtt.topics import (
    MAX_TOPIC_BYTES,
    event_topic,
    read_topic_filter,
)

SELECTED = [
    # Non-normative examples of MQTT 5.0, 4.7.1 to 4.7.3
    ("sport/tennis/player1/#", "sport/tennis/player1"),
    ("sport/tennis/player1/#", "sport/tennis/player1/ranking"),
    ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon"),
    ("sport/#", "sport"),
    ("sport/tennis/+", "sport/tennis/player1"),
    ("sport/tennis/+", "sport/tennis/player2"),
    ("sport/+", "sport/"),
    ("+/+", "/finance"),
    ("/+", "/finance"),
    ("$SYS/#", "$SYS/uptime"),
    ("$SYS/monitor/+", "$SYS/monitor/Clients"),
    ("#", "sport"),
    ("+/tennis/#", "sport/tennis/player1"),
    ("+/tennis/#", "sport/tennis"),
    ("ACCOUNTS", "ACCOUNTS"),
    ("Accounts payable", "Accounts payable"),
    ("#", "/"),
    ("+/+", "/"),
    ("a//b", "a//b"),
    ("a/+/b", "a//b"),
    ("a/$b", "a/$b"),
    ("a/#", "a/$b"),
]
NOT_SELECTED = [
    ("sport/tennis/+", "sport/tennis/player1/ranking"),
    ("sport/+", "sport"),
    ("+", "/finance"),
    ("#", "$SYS/uptime"),
    ("+/monitor/Clients", "$SYS/monitor/Clients"),
    ("ACCOUNTS", "Accounts"),
    ("/finance", "finance"),
    ("finance", "/finance"),
    ("a/b", "a/b/"),
    ("a/b/", "a/b"),
    ("sport/#", "sports"),
    ("a/+/#", "a"),
    ("a/b", "a"),
]
INVALID = [
    *("", "sport/tennis#", "sport/tennis/#/ranking", "sport+", "a/+b/c", "#/", "##", "++", "a\0b"),
    "x" * (MAX_TOPIC_BYTES + 1),
]


@pytest.mark.parametrize(("text", "topic"), SELECTED)
def test_a_filter_selects_the_topics_of_the_standard(text, topic):
    found = read_topic_filter(text)
    assert found.matches(topic)
    assert topic.startswith(found.prefix)
    assert found.text == text


@pytest.mark.parametrize(("text", "topic"), NOT_SELECTED)
def test_a_filter_leaves_other_topics_out(text, topic):
    assert not read_topic_filter(text).matches(topic)


@pytest.mark.parametrize("text", INVALID)
def test_an_invalid_filter_says_what_a_filter_is(text):
    with pytest.raises(ValueError, match=r"invalid topic filter.*e\.g\. tracker"):
        read_topic_filter(text)


def test_filters_agree_with_a_regular_expression_for_any_topic():
    """Each wildcard translated one by one, over a small alphabet that makes matches likely."""
    chosen = random.Random(38)  # noqa: S311 - a seed
    parts, wild = ["", "a", "b", "$s"], ["+", "a", "b", "", "$s"]
    agreed = 0
    for _ in range(20_000):
        topic = "/".join(chosen.choices(parts, k=chosen.randint(1, 4)))
        levels = chosen.choices(wild, k=chosen.randint(1, 4))
        if chosen.random() < 0.4:
            levels.append("#")
        text = "/".join(levels)
        if not topic or not text:
            continue
        expression = "/".join("[^/]*" if level == "+" else re.escape(level) for level in levels)
        if levels[-1] == "#":
            expression = expression.removesuffix(re.escape("#")).removesuffix("/")
            expression += "(/.*)?" if len(levels) > 1 else ".*"
        is_hidden = topic.startswith("$") and text[0] in "+#"
        expected = bool(re.fullmatch(expression, topic)) and not is_hidden
        found = read_topic_filter(text)
        assert found.matches(topic) is expected, (text, topic)
        if expected:
            agreed += 1
            assert topic.startswith(found.prefix)
    assert agreed > 1_000


@pytest.mark.parametrize(
    ("entity_id", "level"),
    [("42", "42"), ("a/b+c#d%e", "a%2Fb%2Bc%23d%25e"), ("$x", "$x"), ("Grüße 👋🏽", "Grüße 👋🏽")],
)
def test_the_topic_of_an_event_has_one_level_for_any_id(entity_id, level):
    topic = event_topic("projects", entity_id)
    assert topic == f"tracker/events/projects/{level}"
    assert read_topic_filter(topic).is_exact
    assert read_topic_filter("tracker/events/projects/+").matches(topic)
