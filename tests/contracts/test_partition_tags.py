"""Partitions that the tags of a run request, whoever set them."""

import pytest

from orchestration_project.engine.contracts.partition_tags import (
    group_consecutive,
    list_partitions,
)
from orchestration_project.errors import ConfigurationError

TIERS = ("T1", "T2", "OTCE")
WEEKS = ("2026-01-12", "2026-01-19", "2026-01-26", "2026-02-02")
TWO = {"tier": TIERS, "week": WEEKS}
ONE = {"": ("2026-01-01", "2026-02-01", "2026-03-01")}


def one(key: str) -> dict[str, str]:
    return {"dagster/partition": key}


def between(first: str, last: str) -> dict[str, str]:
    return {
        "dagster/asset_partition_range_start": first,
        "dagster/asset_partition_range_end": last,
    }


def dimensions(key: str) -> dict[str, str]:
    tier, week = key.split("|")
    return {"dagster/partition/tier": tier, "dagster/partition/week": week}


def of_a_job(key: str) -> dict[str, str]:
    """Tags of the daemon on each run of a backfill: the dimensions of one partition."""
    return {**dimensions(key), "dagster/partition_set": "finra_otc_weekly_partition_set"}


@pytest.mark.parametrize(
    ("tags", "requested"),
    [
        (one("T1|2026-01-12"), ["T1|2026-01-12"]),
        (one("T1|2026-01-12") | dimensions("T1|2026-01-12"), ["T1|2026-01-12"]),
        (one("T1|2026-01-12") | of_a_job("T1|2026-01-12"), ["T1|2026-01-12"]),
        (between("T1|2026-01-12", "T1|2026-01-12"), ["T1|2026-01-12"]),
        (
            between("T1|2026-01-12", "T1|2026-01-26"),
            ["T1|2026-01-12", "T1|2026-01-19", "T1|2026-01-26"],
        ),
        (between("T2|2026-01-19", "OTCE|2026-01-19"), ["T2|2026-01-19", "OTCE|2026-01-19"]),
        (
            between("T2|2026-01-12", "OTCE|2026-01-19"),
            ["T2|2026-01-12", "T2|2026-01-19", "OTCE|2026-01-12", "OTCE|2026-01-19"],
        ),
        (
            between("T2|2026-01-19", "OTCE|2026-01-19") | of_a_job("T2|2026-01-12"),
            ["T2|2026-01-19", "OTCE|2026-01-19"],
        ),
        (
            between("T1|2026-01-12", "T1|2026-01-19") | of_a_job("T1|2026-01-12"),
            ["T1|2026-01-12", "T1|2026-01-19"],
        ),
        (
            between("T1|2026-01-12", "T1|2026-01-12")
            | one("T1|2026-01-12")
            | dimensions("T1|2026-01-12"),
            ["T1|2026-01-12"],
        ),
    ],
)
def test_tags_of_two_dimensions_ask_for_one_partition_or_the_product_of_two_ranges(tags, requested):
    assert list_partitions({"domain": "finra", **tags}, TWO) == requested


@pytest.mark.parametrize(
    ("tags", "requested"),
    [
        (one("2026-02-01"), ["2026-02-01"]),
        (between("2026-01-01", "2026-02-01"), ["2026-01-01", "2026-02-01"]),
        (between("2026-03-01", "2026-03-01"), ["2026-03-01"]),
        (
            between("2026-02-01", "2026-03-01") | {"dagster/partition_set": "prices"},
            ["2026-02-01", "2026-03-01"],
        ),
    ],
)
def test_tags_of_one_dimension_ask_for_one_partition_or_a_range(tags, requested):
    assert list_partitions(tags, ONE) == requested


@pytest.mark.parametrize(
    "tags",
    [
        one("T1|2026-01-12") | dimensions("T2|2026-01-12"),
        one("T1|2026-01-12") | of_a_job("T1|2026-01-19"),
        one("T1|2026-01-12") | {"dagster/partition/tier": "T1"},
        between("T1|2026-01-12", "T1|2026-01-19") | dimensions("T1|2026-01-12"),
        between("T1|2026-01-12", "T1|2026-01-12") | dimensions("T2|2026-01-12"),
        between("T1|2026-01-12", "T1|2026-01-19") | one("T1|2026-01-12"),
        between("T1|2026-01-12", "T1|2026-01-19")
        | one("T2|2026-01-12")
        | of_a_job("T2|2026-01-12"),
    ],
)
def test_tags_that_name_different_partitions_are_refused_and_quoted(tags):
    with pytest.raises(ConfigurationError) as refused:
        list_partitions(tags, TWO)
    message = str(refused.value)
    assert message.startswith("invalid partition tags: they name different partitions\n")
    quoted = {name: value for name, value in tags.items() if name != "dagster/partition_set"}
    assert all(f"{name}={value}" in message for name, value in quoted.items())


@pytest.mark.parametrize("end", ["start", "end"])
def test_a_range_with_one_end_is_refused(end):
    tag = f"dagster/asset_partition_range_{end}"
    with pytest.raises(ConfigurationError, match="the range has one end"):
        list_partitions({tag: "T1|2026-01-12"}, TWO)


@pytest.mark.parametrize("tags", [{}, dimensions("T1|2026-01-12"), of_a_job("T1|2026-01-12")])
def test_without_a_partition_or_a_range_the_error_has_an_example(tags):
    with pytest.raises(ConfigurationError) as refused:
        list_partitions(tags, TWO)
    assert str(refused.value).startswith("the run names no partition\n")
    assert """{"dagster/partition": "T2|2026-02-02"}""" in str(refused.value)
    assert refused.value.remedy == ("name one; in the UI, Materialize lists all of them")


@pytest.mark.parametrize(
    "ends",
    [
        ("T1|2026-01-19", "T1|2026-01-12"),
        ("OTCE|2026-01-12", "T2|2026-01-12"),
        ("T1|2026-01-19", "T2|2026-01-12"),
    ],
)
def test_a_range_that_runs_backwards_in_a_dimension_is_refused(ends):
    with pytest.raises(ConfigurationError) as refused:
        list_partitions(between(*ends), TWO)
    assert refused.value.what == f"the run's range holds no partition: {ends[0]} to {ends[1]}"
    assert refused.value.expected == "a first and a last partition, the earlier week first"


@pytest.mark.parametrize(
    ("tags", "requested"),
    [
        (one("T1|2026-01-13"), ["T1|2026-01-13"]),
        (one("T9"), ["T9"]),
        (one("T1|2026-01-12|x"), ["T1|2026-01-12|x"]),
        (between("T1|2026-01-12", "T1|2026-01-20"), ["T1|2026-01-20"]),
        (between("T4|2026-01-12", "T5|2026-01-20"), ["T4|2026-01-12", "T5|2026-01-20"]),
        (between("T4|2026-01-12", "T4|2026-01-12"), ["T4|2026-01-12"]),
    ],
)
def test_an_end_that_is_no_partition_is_asked_for_alone_for_the_load_to_refuse(tags, requested):
    assert list_partitions(tags, TWO) == requested


def test_a_key_of_one_dimension_may_have_the_separator_of_several():
    assert list_partitions(between("a|b", "b"), {"": ("a", "a|b", "b")}) == ["a|b", "b"]


@pytest.mark.parametrize(
    ("keys", "ranges"),
    [
        ([], []),
        (["a|3", "a|1", "a|2", "a|2"], [("a|1", "a|3")]),
        (["a|1", "a|3"], [("a|1", "a|1"), ("a|3", "a|3")]),
        (["a|3", "b|1", "b|2"], [("a|3", "a|3"), ("b|1", "b|2")]),
    ],
)
def test_a_range_has_keys_without_a_gap_of_one_first_dimension(keys, ranges):
    ordered = [f"{part}|{number}" for part in "ab" for number in (1, 2, 3)]
    assert group_consecutive(keys, ordered) == ranges
