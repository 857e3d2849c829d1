"""The artifact store beside the tables that name what lies in it."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import polars as pl

CAPTURED, STAGED, PICTURE, OTHER = "captured bytes", "staged rows", "picture", "other"

KINDS = {"blobs": CAPTURED, "staged": STAGED, "plots": PICTURE}
"""The first folder of an artifact's name → what it is."""


class Compared(NamedTuple):
    """What the tables name and the store lacks; has in another size; has and no table names."""

    missing: list[str]
    resized: list[str]
    unnamed: list[str]


def kind_of(name: str) -> str:
    """Return what kind of artifact has this name."""
    return KINDS.get(name.partition("/")[0], OTHER)


def compared(named: Mapping[str, int], stored: Mapping[str, int]) -> Compared:
    """Compare both ways; names → sizes as stored, bytes."""
    return Compared(
        missing=sorted(set(named) - set(stored)),
        resized=sorted(name for name in named if stored.get(name, named[name]) != named[name]),
        unnamed=sorted(set(stored) - set(named)),
    )


def by_kind(stored: Iterable[tuple[str, int]]) -> pl.DataFrame:
    """Return how many artifacts of each kind there are, and what they take as stored."""
    frame = pl.DataFrame(
        [(kind_of(name), size) for name, size in stored],
        {"kind": pl.String, "byte_count": pl.Int64},
        orient="row",
    )
    totals = frame.group_by("kind").agg(
        pl.len().cast(pl.Int64).alias("artifact_count"), pl.col("byte_count").sum()
    )
    return totals.select("kind", "artifact_count", "byte_count").sort("kind")
