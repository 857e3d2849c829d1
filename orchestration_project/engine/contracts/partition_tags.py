"""Partitions of a run, by its tags."""

from collections.abc import Mapping, Sequence
from itertools import product

from orchestration_project.errors import ConfigurationError

PARTITION = "dagster/partition"
RANGE_START = "dagster/asset_partition_range_start"
RANGE_END = "dagster/asset_partition_range_end"
PARTITION_TAGS = (PARTITION, RANGE_START, RANGE_END)

DIMENSION = "dagster/partition/"
"""How the tags begin that name one partition by its dimensions."""

PARTITION_SET = "dagster/partition_set"
"""Tag of runs whose partition tags Dagster wrote: those of a job's backfill are among them."""

Dimensions = Mapping[str, Sequence[str]]
"""The keys of each dimension in their order; the dimensions stand in the order of a key's parts."""


def select_own_tags(tags: Mapping[str, str]) -> Mapping[str, str]:
    """Return a run's tags without the dimensions that are those of another run's partition.

    The daemon writes the dimensions of one partition into all runs of a job's backfill over ranges.
    """
    if RANGE_START not in tags or PARTITION_SET not in tags:
        return tags
    return {name: value for name, value in tags.items() if not name.startswith(DIMENSION)}


def parse_range(tags: Mapping[str, str]) -> tuple[str, str] | None:
    """Return the first and the last partition that tags name, or None.

    Dimensions alone name no partition: Dagster would materialize none.

    Raises:
        ConfigurationError: The tags disagree, or a range has one end.
    """
    if (RANGE_START in tags) != (RANGE_END in tags):
        raise _build_tags_error(tags, "the range has one end")
    of_dimensions = _join_dimensions(select_own_tags(tags))
    spans = [(tags[RANGE_START], tags[RANGE_END])] if RANGE_START in tags else []
    spans += [(tags[PARTITION], tags[PARTITION])] if PARTITION in tags else []
    if not spans:
        return None
    if len({*spans, *([(of_dimensions, of_dimensions)] if of_dimensions else [])}) > 1:
        raise _build_tags_error(tags, "they name different partitions")
    return spans[0]


def list_partitions(tags: Mapping[str, str], dimensions: Dimensions) -> list[str]:
    """Return the partitions that a run was asked for: the product of the ranges of its dimensions.

    Where an end of the range is not a partition, just that: the load refuses it.

    Raises:
        ConfigurationError: The tags disagree or name no partition.
    """
    keys = list(dimensions.values())
    ends = parse_range(tags)
    if ends is None:
        raise _build_unnamed_error(keys)
    if unknown := [end for end in ends if not _is_known(end, keys)]:
        return list(dict.fromkeys(unknown))
    first, last = (_split_key(end, keys) for end in ends)
    ranges = (
        of_dimension[of_dimension.index(start) : of_dimension.index(end) + 1]
        for of_dimension, start, end in zip(keys, first, last, strict=True)
    )
    requested_names = ["|".join(parts) for parts in product(*ranges)]
    if not requested_names:
        raise _build_empty_error(ends)
    return requested_names


def group_consecutive(keys: Sequence[str], ordered: Sequence[str]) -> list[tuple[str, str]]:
    """Return the ranges of ``keys`` that are consecutive in ``ordered``, as (first, last).

    Keys of one range differ in their last dimension only.
    """
    numbers = {key: number for number, key in enumerate(ordered)}
    key_ranges: list[tuple[str, str]] = []
    for key in sorted(set(keys), key=numbers.__getitem__):
        last = key_ranges[-1][1] if key_ranges else ""
        is_next = bool(key_ranges) and numbers[key] == numbers[last] + 1
        if is_next and key.rpartition("|")[0] == last.rpartition("|")[0]:
            key_ranges[-1] = (key_ranges[-1][0], key)
        else:
            key_ranges.append((key, key))
    return key_ranges


def _join_dimensions(tags: Mapping[str, str]) -> str:
    return "|".join(tags[name] for name in sorted(tags) if name.startswith(DIMENSION))


def _split_key(key: str, dimensions: Sequence[Sequence[str]]) -> list[str]:
    return key.split("|") if len(dimensions) > 1 else [key]


def _is_known(key: str, dimensions: Sequence[Sequence[str]]) -> bool:
    parts = _split_key(key, dimensions)
    return len(parts) == len(dimensions) and all(
        part in keys for part, keys in zip(parts, dimensions, strict=True)
    )


def _build_tags_error(tags: Mapping[str, str], why: str) -> ConfigurationError:
    dimensions = [name for name in sorted(tags) if name.startswith(DIMENSION)]
    return ConfigurationError(
        f"invalid partition tags: {why}",
        expected=f"{PARTITION}, or {RANGE_START} and {RANGE_END}",
        found=", ".join(
            f"{name}={tags[name]}" for name in (*PARTITION_TAGS, *dimensions) if name in tags
        ),
        remedy="launch the run with the tags of the wanted partitions alone",
    )


def _build_unnamed_error(dimensions: Sequence[Sequence[str]]) -> ConfigurationError:
    example = "|".join(max(keys) for keys in dimensions if keys)
    return ConfigurationError(
        "the run names no partition",
        expected=f"""--tags '{{"{PARTITION}": "{example}"}}', or of a range the tags """
        f"{RANGE_START} and {RANGE_END}",
        remedy="name one; in the UI, Materialize lists all of them",
    )


def _build_empty_error(ends: tuple[str, str]) -> ConfigurationError:
    """Return the error for a range that Dagster takes for a run with nothing to do."""
    return ConfigurationError(
        f"the run's range holds no partition: {ends[0]} to {ends[1]}",
        expected="a first and a last partition, the earlier week first",
        remedy="turn the range round",
    )
