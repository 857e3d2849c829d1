"""Stored fields of a source's list, on both databases."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from orchestration_project.engine.deliveries import remember_fields
from orchestration_project.tables.spine import fences, source_fields
from tests.resources.weeks import PartitionLoader, StoppedClock

LOOKS = 4


@pytest.mark.slow_after_first
def test_looks_at_the_same_time_are_all_remembered(
    partition_loader: PartitionLoader, clock: StoppedClock
):
    begun = Barrier(LOOKS)

    def look(_: int) -> list[tuple[str, str]]:
        begun.wait()
        seen = remember_fields(
            partition_loader.warehouse, clock, {"a": "String"}, source="api", dataset="d"
        )
        return seen.select("field_name", "field_type").rows()

    with ThreadPoolExecutor(LOOKS) as pool:
        assert list(pool.map(look, range(LOOKS))) == [[("a", "String")]] * LOOKS
    assert partition_loader.rows(source_fields, "source", "dataset", "field_name") == [
        ("api", "d", "a")
    ]
    assert partition_loader.rows(fences, "scope_key", "token") == [("api|d", LOOKS)]
