"""Selection of artifacts to clean up: old ones without a current reference."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import NamedTuple

import polars as pl

SERIES, DELIVERY_NUMBER = r"^(.*)#\d+$", r"#(\d+)$"
"""In a delivery's group_id: its table and partition, and its place among their deliveries."""


class File(NamedTuple):
    """An artifact by name, with its size in bytes, and when it was last put."""

    name: str
    byte_count: int
    put_at: datetime


def find_removable_blobs(
    captures: pl.DataFrame,
    *,
    whole: Collection[str],
    layers: Collection[str],
    current: Collection[int],
    before: datetime | None,
    keep_newest: int,
    of_datasets: Mapping[tuple[str, str], datetime] | None = None,
) -> set[str]:
    """Return the SHA-256 of the blobs whose bytes are no longer needed.

    Kept are all captures of a delivery that a current row was read from, or that a replay takes
    with others, of the newest deliveries of each partition, and of the newest that were read whole;
    and what was fetched lately.

    Of a dataset with a time of its own, what is kept is each capture that a current row was read
    from, and what was fetched at that time or later.

    Args:
        captures: capture_id, sha256, group_id and fetched_at of every capture; with
            ``of_datasets``, source and dataset, too.
        whole: The group_id of the deliveries that were read whole, so that they can be replayed.
        layers: The group_id of the deliveries that a replay of several takes.
        current: The capture_id of all rows of all published tables.
        before: Blobs that were fetched at this time or later stay; None: all do, but those of
            ``of_datasets``.
        keep_newest: How many deliveries of each partition stay, at least.
        of_datasets: Times of datasets, by source and dataset, which count for these alone.
    """
    if of_datasets:
        frame, rows = _split_by_dataset(captures, of_datasets)
        sha256 = set(
            frame.filter(pl.col("stays") | pl.col("capture_id").is_in(list(current)))["sha256"]
        )
        going = set(frame["sha256"]) - sha256 - set(rows["sha256"])
        remaining_frame = captures.filter(~pl.col("sha256").is_in(list(going)))
        return going | find_removable_blobs(
            remaining_frame.drop("source", "dataset"),
            whole=whole,
            layers=layers,
            current=current,
            before=before,
            keep_newest=keep_newest,
        )
    if before is None:
        return set()
    marked = captures.with_columns(
        pl.col("group_id").str.extract(SERIES).alias("series"),
        pl.col("group_id").str.extract(DELIVERY_NUMBER).cast(pl.Int64).alias("place"),
        pl.col("group_id").is_in(list(whole)).alias("is_whole"),
        pl.col("capture_id").is_in(list(current)).alias("is_current"),
    )
    kept_groups = pl.concat(
        [
            marked.filter("is_current").select("group_id"),
            marked.filter(pl.col("group_id").is_in(list(layers))).select("group_id"),
            _select_newest(marked, keep_newest),
            _select_newest(marked.filter("is_whole"), keep_newest),
            marked.filter(pl.col("series").is_null()).select("group_id"),  # not a name of ours
        ]
    ).unique()
    is_kept = pl.col("group_id").is_in(kept_groups["group_id"].to_list())
    is_lately = pl.col("fetched_at") >= before
    blobs = marked.group_by("sha256").agg((is_kept | is_lately).any().alias("stays"))
    return set(blobs.filter(~pl.col("stays"))["sha256"])


def _split_by_dataset(
    captures: pl.DataFrame, of_datasets: Mapping[tuple[str, str], datetime]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the captures of datasets with a time of their own, marked by ``stays``; and others."""
    times = pl.DataFrame(
        [(*text, at) for text, at in of_datasets.items()],
        {
            "source": pl.String,
            "dataset": pl.String,
            "own_before": pl.Datetime("us", "UTC"),
        },
        orient="row",
    )
    marked = captures.join(times, on=["source", "dataset"], how="left").with_columns(
        stays=pl.col("fetched_at") >= pl.col("own_before")
    )
    has_own = pl.col("own_before").is_not_null()
    return marked.filter(has_own), marked.filter(~has_own)


def _select_newest(marked: pl.DataFrame, number: int) -> pl.DataFrame:
    """Return the last deliveries of each series."""
    deliveries = marked.select("series", "group_id", "place").unique()
    rank = pl.col("place").rank("dense", descending=True).over("series")
    return deliveries.filter(rank <= number).select("group_id")


def find_removable_files(
    files: Iterable[File], *, before: datetime, keep_newest: int
) -> list[File]:
    """Return the files that were put before that time, but the newest of each folder and ending.

    Files that no table names (staged rows, pictures) differ by that alone.
    """
    series: dict[tuple[str, str], list[File]] = {}
    for file in files:
        folder, _, name = file.name.rpartition("/")
        series.setdefault((folder, name.rpartition(".")[2]), []).append(file)
    old = [
        file
        for some in series.values()
        for file in sorted(some, key=lambda each: (each.put_at, each.name), reverse=True)[
            keep_newest:
        ]
        if file.put_at < before
    ]
    return sorted(old)
