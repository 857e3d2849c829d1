"""The partitions that a run was asked for, by its tags and Dagster's definition of partitions."""

from collections.abc import Mapping

import dagster as dg

from orchestration_project.domains.operations.partition_tags import Dimensions, asked_partitions


def partition_keys(
    tags: Mapping[str, str], definition: dg.PartitionsDefinition | None
) -> list[str]:
    """Return the partitions that a run with these tags was asked for, of assets that have some.

    Raises:
        ConfigurationError: The tags disagree or name no partition.
    """
    if definition is None:
        raise AssertionError("partitions are asked for only of what has partitions")
    return asked_partitions(tags, _dimensions(definition))


def _dimensions(definition: dg.PartitionsDefinition) -> Dimensions:
    if isinstance(definition, dg.MultiPartitionsDefinition):
        return {
            each.name: each.partitions_def.get_partition_keys()
            for each in definition.partitions_defs
        }
    return {"": definition.get_partition_keys()}
