"""Status of partitions in two dimensions, in the order in which Dagster's pages count it right.

Dagster 1.13 groups the status by the time dimension. Where that is the second one, as the week
after the tier, its pages reverse an array in place for each asset (`stateForKeyIdx` in
usePartitionHealthData.tsx). Every other asset of a selection is then read by swapped keys: a job's
page counts all partitions as missing, and a dialog selects wrong ones. Grouped by the first
dimension, which the pages support as well, nothing is reversed.
"""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from dagster import MultiPartitionsDefinition
from graphql import GraphQLResolveInfo, GraphQLSchema

TYPES = STATUSES, OF_A_KEY, OF_TIMES, RANGE, OF_KEYS = (
    "MultiPartitionStatuses",
    "MaterializedPartitionRangeStatuses2D",
    "TimePartitionStatuses",
    "TimePartitionRangeStatus",
    "DefaultPartitionStatuses",
)
"""Types of Dagster's GraphQL schema, as queries name them."""

KEYS_BY_STATUS = {
    "MATERIALIZED": "materializedPartitions",
    "FAILED": "failedPartitions",
    "MATERIALIZING": "materializingPartitions",
}

Classes = Mapping[str, Any]
"""The classes of `TYPES`, whose instances resolvers return, by name."""


def group_by_first_dimension(schema: GraphQLSchema) -> None:
    """Make `AssetNode.assetPartitionStatuses` of ``schema`` group by the first dimension."""
    types: dict[str, Any] = dict(schema.type_map)
    classes = {name: types[name].graphene_type for name in TYPES}
    field = types["AssetNode"].fields["assetPartitionStatuses"]
    resolve = field.resolve

    async def resolved(node: Any, info: GraphQLResolveInfo, **arguments: Any) -> Any:
        statuses = await resolve(node, info, **arguments)
        if not isinstance(statuses, classes[STATUSES]):
            return statuses
        definition = node._asset_node_snap.partitions.get_partitions_definition()
        return by_first_dimension(statuses, definition, classes)

    field.resolve = resolved


def by_first_dimension(
    statuses: Any, definition: MultiPartitionsDefinition, classes: Classes
) -> Any:
    """Return the same statuses by the first dimension: of each of its keys, the ranges of time."""
    first = definition.partitions_defs[0]
    if statuses.primaryDimensionName == first.name:
        return statuses
    ranges: defaultdict[str, list[Any]] = defaultdict(list)
    for span in statuses.ranges:
        if not isinstance(span.secondaryDim, classes[OF_KEYS]):
            return statuses
        for status, keys in KEYS_BY_STATUS.items():
            for key in getattr(span.secondaryDim, keys):
                _add(ranges[key], span, status, classes[RANGE])
    return classes[STATUSES](
        primaryDimensionName=first.name,
        ranges=[
            classes[OF_A_KEY](
                primaryDimStartKey=key,
                primaryDimEndKey=key,
                secondaryDim=classes[OF_TIMES](ranges=ranges[key]),
            )
            for key in first.partitions_def.get_partition_keys()
            if key in ranges
        ],
    )


def _add(ranges: list[Any], found: Any, status: str, range_class: Any) -> None:
    """Add a range of time to those of a key; one that follows on the last becomes part of it."""
    last = ranges[-1] if ranges else None
    if last and (last.status, last.endTime) == (status, found.primaryDimStartTime):
        last.endTime, last.endKey = found.primaryDimEndTime, found.primaryDimEndKey
        return
    ranges.append(
        range_class(
            startTime=found.primaryDimStartTime,
            endTime=found.primaryDimEndTime,
            startKey=found.primaryDimStartKey,
            endKey=found.primaryDimEndKey,
            status=status,
        )
    )
