"""Which failed partitions are tried again, and what is launched together."""

from datetime import UTC, datetime
from typing import get_args

import pytest

from orchestration_project.domains.operations.failures import Category
from orchestration_project.domains.operations.retries import (
    PASSING,
    STAYS,
    FailedPartition,
    batches,
    check_kinds,
    why_left_out,
)
from orchestration_project.errors import ConfigurationError

THEN = datetime(2026, 3, 2, 15, tzinfo=UTC)


def failed(partition: str, category="transient", asset="a/x", config=None, obstacle=""):
    return FailedPartition(
        (asset,), partition, "run", THEN, category, "because", config or {}, obstacle
    )


def test_every_kind_of_failure_passes_by_itself_or_has_a_reason_to_stay():
    assert set(PASSING) | set(STAYS) == set(get_args(Category))
    assert set(PASSING).isdisjoint(STAYS)


def test_what_stays_is_left_out_unless_it_is_asked_for():
    assert why_left_out(failed("1", "transient"), PASSING) == ""
    assert why_left_out(failed("1", "configuration"), PASSING).startswith("a setting or run config")
    assert why_left_out(failed("1", "configuration"), ["configuration"]) == ""
    assert why_left_out(failed("1", "crash"), ["transient"]) == "its kind was not asked for"
    assert why_left_out(failed("1", "crash", obstacle="under way"), PASSING) == "under way"


def test_partitions_of_the_same_assets_and_config_are_launched_together():
    full = {"ops": {"load": {"config": {"full": True}}}}
    due = [failed("2"), failed("3", config=full), failed("1"), failed("1", asset="a/y")]
    assert [
        (batch.assets, [each.partition for each in batch.partitions], batch.config)
        for batch in batches(due)
    ] == [(("a/x",), ["3"], full), (("a/x",), ["1", "2"], {}), (("a/y",), ["1"], {})]


def test_a_kind_that_there_is_not_is_refused():
    check_kinds(["crash"])
    with pytest.raises(ConfigurationError, match="no such kind of failure: bad luck"):
        check_kinds(["crash", "bad luck"])
