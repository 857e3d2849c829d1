"""Failed partitions that are retried, and runs that are launched together."""

from datetime import UTC, datetime
from typing import get_args

import pytest

from orchestration_project.engine.contracts.failures import (
    PERMANENT_REASONS,
    TRANSIENT_CATEGORIES,
    Category,
)
from orchestration_project.errors import ConfigurationError
from orchestration_project.services.retries.rules import (
    FailedPartition,
    ItemFilter,
    TopicCount,
    build_batches,
    check_kinds,
    check_topics,
    count_topics,
    explain_skip,
)

THEN = datetime(2026, 3, 2, 15, tzinfo=UTC)


def failed(partition: str, category="transient", asset="a/x", config=None, obstacle=""):
    return FailedPartition(
        (asset,), partition, "run", THEN, category, "because", config or {}, obstacle
    )


def test_every_kind_of_failure_passes_by_itself_or_has_a_reason_to_stay():
    assert set(TRANSIENT_CATEGORIES) | set(PERMANENT_REASONS) == set(get_args(Category))
    assert set(TRANSIENT_CATEGORIES).isdisjoint(PERMANENT_REASONS)


def test_what_stays_is_left_out_unless_it_is_asked_for():
    assert explain_skip(failed("1", "transient"), TRANSIENT_CATEGORIES) == ""
    assert explain_skip(failed("1", "configuration"), TRANSIENT_CATEGORIES).startswith(
        "a setting or run config"
    )
    assert explain_skip(failed("1", "configuration"), ["configuration"]) == ""
    assert explain_skip(failed("1", "crash"), ["transient"]) == "its kind was not requested"
    assert (
        explain_skip(failed("1", "crash", obstacle="under way"), TRANSIENT_CATEGORIES)
        == "under way"
    )


def test_partitions_of_the_same_assets_and_config_are_launched_together():
    full = {"ops": {"load": {"config": {"full": True}}}}
    due = [failed("2"), failed("3", config=full), failed("1"), failed("1", asset="a/y")]
    assert [
        (batch.assets, [partition.partition for partition in batch.partitions], batch.config)
        for batch in build_batches(due)
    ] == [(("a/x",), ["3"], full), (("a/x",), ["1", "2"], {}), (("a/y",), ["1"], {})]


def test_a_kind_that_there_is_not_is_refused():
    check_kinds(["crash"])
    with pytest.raises(ConfigurationError, match="unknown failure category: bad luck"):
        check_kinds(["crash", "bad luck"])


def test_a_permanent_failure_of_an_item_is_left_out_unless_it_is_asked_for():
    for code in ("source", "contract", "configuration"):
        assert ItemFilter().why_left_out(code)
        assert ItemFilter(topics=["a"]).why_left_out(code)
        for wanted in (
            ItemFilter(item_keys=["1"]),
            ItemFilter(reason_codes=[code]),
            ItemFilter(include_permanent=True),
        ):
            assert wanted.why_left_out(code) == ""
    for code in ("transient", "run_ended", "lease_expired", None):
        assert ItemFilter().why_left_out(code) == ""


def test_items_are_counted_by_topic():
    found = {("b", "transient"): 2, ("a", "contract"): 3, ("a", ""): 1}
    assert count_topics(found, ItemFilter()) == [TopicCount("a", 1, 3), TopicCount("b", 2, 0)]
    of_b = count_topics(found, ItemFilter(), {"b": {"transient": "wait"}})
    assert of_b == [TopicCount("a", 1, 3), TopicCount("b", 0, 2)]
    every = count_topics(found, ItemFilter(include_permanent=True))
    assert every == [TopicCount("a", 4, 0), TopicCount("b", 2, 0)]


def test_a_topic_that_is_not_known_is_refused():
    check_topics(["a"], ["a", "b"])
    with pytest.raises(ConfigurationError, match=r"invalid topic 'c'[^$]*one of a, b"):
        check_topics(["a", "c"], ["b", "a"])
    with pytest.raises(ConfigurationError, match="no topic has items"):
        check_topics(["a"], [])
