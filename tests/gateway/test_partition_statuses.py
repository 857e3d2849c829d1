"""Status of partitions in two dimensions, as the pages read it."""

import dagster as dg

from orchestration_project.engine.contracts.roles import Role
from tests.gateway.login_client import LoginClient

STATUSES = """{assetNodeOrError(assetKey: {path: ["letter_weeks"]}) {... on AssetNode {
  assetPartitionStatuses {... on MultiPartitionStatuses {primaryDimensionName ranges {
    primaryDimStartKey primaryDimEndKey secondaryDim {... on TimePartitionStatuses {
      ranges {startKey endKey status}}}}}}}}}"""


def test_the_status_is_by_the_first_dimension_and_then_by_ranges_of_time(login_client: LoginClient):
    for week in ("2026-01-04", "2026-01-11", "2026-01-18"):
        loaded(login_client, f"a|{week}")
    loaded(login_client, "b|2026-01-11")
    loaded(login_client, "b|2026-02-01")
    answer = login_client.graphql(STATUSES, key=login_client.keys[Role.VIEWER]).json
    found = answer["data"]["assetNodeOrError"]["assetPartitionStatuses"]
    assert found["primaryDimensionName"] == "letter"
    assert [read(part) for part in found["ranges"] for read in (keys, weeks)] == [
        ("a", "a"),
        [("2026-01-04", "2026-01-18", "MATERIALIZED")],
        ("b", "b"),
        [
            ("2026-01-11", "2026-01-11", "MATERIALIZED"),
            ("2026-02-01", "2026-02-01", "MATERIALIZED"),
        ],
    ]


def loaded(login_client: LoginClient, partition: str) -> None:
    login_client.instance.report_runless_asset_event(
        dg.AssetMaterialization("letter_weeks", partition=partition)
    )


def keys(part):
    return part["primaryDimStartKey"], part["primaryDimEndKey"]


def weeks(part):
    ranges = part["secondaryDim"]["ranges"]
    return [
        (status_range["startKey"], status_range["endKey"], status_range["status"])
        for status_range in ranges
    ]
