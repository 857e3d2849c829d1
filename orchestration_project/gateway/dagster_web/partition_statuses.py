"""Status of partitions in two dimensions, in the order in which Dagster's pages count it right.

Dagster 1.13 groups the status by the time dimension. Where that is the second one, as the week
after the tier, its pages reverse an array in place for each asset (`stateForKeyIdx` in
usePartitionHealthData.tsx). Every other asset of a selection is then read by swapped keys: a job's
page counts all partitions as missing, and a dialog selects wrong ones. Grouped by the first
dimension, which the pages support as well, nothing is reversed.
"""

from collections import defaultdict
from collections.abc import Callable
from typing import Any, cast

from dagster import MultiPartitionsDefinition
from dagster._core.definitions.partitions.utils import PartitionRangeStatus
from dagster_graphql.schema.pipelines.pipeline import (
    GrapheneDefaultPartitionStatuses,
    GrapheneMultiPartitionRangeStatuses,
    GrapheneMultiPartitionStatuses,
    GrapheneTimePartitionRangeStatus,
    GrapheneTimePartitionStatuses,
)
from graphql import GraphQLResolveInfo, GraphQLSchema

STATUSES, OF_A_KEY, OF_TIMES, RANGE = (
    cast("Callable[..., Any]", kind)  # graphene declares fields, not parameters
    for kind in (
        GrapheneMultiPartitionStatuses,
        GrapheneMultiPartitionRangeStatuses,
        GrapheneTimePartitionStatuses,
        GrapheneTimePartitionRangeStatus,
    )
)

KEYS_BY_STATUS = {
    PartitionRangeStatus.MATERIALIZED: "materializedPartitions",
    PartitionRangeStatus.FAILED: "failedPartitions",
    PartitionRangeStatus.MATERIALIZING: "materializingPartitions",
}


def group_by_first_dimension(schema: GraphQLSchema) -> None:
    """Make `AssetNode.assetPartitionStatuses` of ``schema`` group by the first dimension."""
    types: dict[str, Any] = dict(schema.type_map)
    field = types["AssetNode"].fields["assetPartitionStatuses"]
    resolve = field.resolve

    async def resolved(node: Any, info: GraphQLResolveInfo, **arguments: Any) -> Any:
        found = await resolve(node, info, **arguments)
        if not isinstance(found, GrapheneMultiPartitionStatuses):
            return found
        definition = node._asset_node_snap.partitions.get_partitions_definition()
        return by_first_dimension(found, definition)

    field.resolve = resolved


def by_first_dimension(
    statuses: GrapheneMultiPartitionStatuses, definition: MultiPartitionsDefinition
) -> GrapheneMultiPartitionStatuses:
    """Return the same statuses by the first dimension: of each of its keys, the ranges of time."""
    first = definition.partitions_defs[0]
    found: Any = statuses
    if found.primaryDimensionName == first.name:
        return statuses
    ranges: defaultdict[str, list[Any]] = defaultdict(list)
    for each in found.ranges:
        if not isinstance(each.secondaryDim, GrapheneDefaultPartitionStatuses):
            return statuses
        for status, keys in KEYS_BY_STATUS.items():
            for key in getattr(each.secondaryDim, keys):
                _add(ranges[key], each, status)
    return STATUSES(
        primaryDimensionName=first.name,
        ranges=[
            OF_A_KEY(
                primaryDimStartKey=key,
                primaryDimEndKey=key,
                secondaryDim=OF_TIMES(ranges=ranges[key]),
            )
            for key in first.partitions_def.get_partition_keys()
            if key in ranges
        ],
    )


def _add(ranges: list[Any], found: Any, status: PartitionRangeStatus) -> None:
    """Add a range of time to those of a key; one that follows on the last becomes part of it."""
    last = ranges[-1] if ranges else None
    if last and (last.status, last.endTime) == (status, found.primaryDimStartTime):
        last.endTime, last.endKey = found.primaryDimEndTime, found.primaryDimEndKey
        return
    ranges.append(
        RANGE(
            startTime=found.primaryDimStartTime,
            endTime=found.primaryDimEndTime,
            startKey=found.primaryDimStartKey,
            endKey=found.primaryDimEndKey,
            status=status,
        )
    )
