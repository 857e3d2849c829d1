"""Status of partitions in two dimensions, as the pages read it."""

import dagster as dg

from orchestration_project.engine.contracts.roles import Role
from tests.gateway.door import Door

STATUSES = """{assetNodeOrError(assetKey: {path: ["letter_weeks"]}) {... on AssetNode {
  assetPartitionStatuses {... on MultiPartitionStatuses {primaryDimensionName ranges {
    primaryDimStartKey primaryDimEndKey secondaryDim {... on TimePartitionStatuses {
      ranges {startKey endKey status}}}}}}}}}"""


def test_the_status_is_by_the_first_dimension_and_then_by_ranges_of_time(door: Door):
    for week in ("2026-01-04", "2026-01-11", "2026-01-18"):
        landed(door, f"a|{week}")
    landed(door, "b|2026-01-11")
    landed(door, "b|2026-02-01")
    answer = door.graphql(STATUSES, key=door.keys[Role.VIEWER]).json
    found = answer["data"]["assetNodeOrError"]["assetPartitionStatuses"]
    assert found["primaryDimensionName"] == "letter"
    assert [each(part) for part in found["ranges"] for each in (keys, weeks)] == [
        ("a", "a"),
        [("2026-01-04", "2026-01-18", "MATERIALIZED")],
        ("b", "b"),
        [
            ("2026-01-11", "2026-01-11", "MATERIALIZED"),
            ("2026-02-01", "2026-02-01", "MATERIALIZED"),
        ],
    ]


def landed(door: Door, partition: str) -> None:
    door.instance.report_runless_asset_event(
        dg.AssetMaterialization("letter_weeks", partition=partition)
    )


def keys(part):
    return part["primaryDimStartKey"], part["primaryDimEndKey"]


def weeks(part):
    ranges = part["secondaryDim"]["ranges"]
    return [(each["startKey"], each["endKey"], each["status"]) for each in ranges]
