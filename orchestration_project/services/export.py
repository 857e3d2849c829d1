"""Frames into a CSV or Parquet file, batch by batch, the file whole or not at all.

CSV is that of RFC 4180: CRLF, a header, quotes where they are needed. NULL is nothing between two
commas, an empty text is `""`. Dates are ISO, timestamps ISO in UTC with microseconds. A text that a
spreadsheet would calculate can be escaped.
"""

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import polars as pl

from orchestration_project.connections.files import partial_file, usual_mode
from orchestration_project.errors import ConfigurationError

CSV_TIMESTAMP = "%Y-%m-%dT%H:%M:%S%.6fZ"
PARTIAL_PREFIX, PARTIAL_SUFFIX = ".orchestration_project-export-", ".partial"
"""How a file is named until it is whole: unlike anything else that a user's folder may have."""

FORMULA = r"^[=+\-@\t\r]"
"""How a text begins that a spreadsheet may take for a formula."""

PLAIN_ARROW = pl.CompatLevel.oldest()
"""Arrow's types that every reader of Parquet knows."""


@dataclass(frozen=True)
class ExportSummary:
    """What an export came to."""

    row_count: int
    byte_count: int


Batches = Iterable[pl.DataFrame]
"""Frames with the same columns; the first may have no row, and one there must be."""


def with_escaped_formulas(batch: pl.DataFrame, names: Collection[str]) -> pl.DataFrame:
    """Return ``batch`` with `'` before each text of the columns ``names`` that may be a formula."""
    texts = [name for name, kind in batch.schema.items() if name in names and kind == pl.String()]
    return batch.with_columns(
        pl.when(pl.col(name).str.contains(FORMULA))
        .then(pl.concat_str(pl.lit("'"), name))
        .otherwise(name)
        .alias(name)
        for name in texts
    )


def write_csv(batches: Batches, sink: IO[bytes]) -> ExportSummary:
    """Write ``batches`` as CSV, none of them kept."""
    row_count = byte_count = 0
    for place, batch in enumerate(batches):
        lines = batch.write_csv(
            include_header=place == 0, line_terminator="\r\n", datetime_format=CSV_TIMESTAMP
        ).encode()
        sink.write(lines)
        row_count += batch.height
        byte_count += len(lines)
    sink.flush()
    return ExportSummary(row_count, byte_count)


def write_parquet(batches: Batches, sink: IO[bytes]) -> ExportSummary:
    """Write ``batches`` as Parquet, a row group for each, none of them kept."""
    from pyarrow.parquet import ParquetWriter

    frames = iter(batches)
    first = next(frames).to_arrow(compat_level=PLAIN_ARROW)
    row_count = first.num_rows
    with ParquetWriter(sink, first.schema, compression="zstd") as writer:
        if row_count:
            writer.write_table(first)
        for frame in frames:
            writer.write_table(frame.to_arrow(compat_level=PLAIN_ARROW))
            row_count += frame.height
    return ExportSummary(row_count, sink.tell())


WRITERS: Mapping[str, Callable[[Batches, IO[bytes]], ExportSummary]] = {
    "csv": write_csv,
    "parquet": write_parquet,
}


@contextmanager
def whole_file(path: Path, *, replace: bool) -> Iterator[IO[bytes]]:
    """Give a file that takes its place at ``path`` once everything is written, or never.

    What a killed export left in the folder is removed.

    Raises:
        ConfigurationError: There is a file already and ``replace`` is not asked for, there is
            something else than a file, or it cannot be written.
    """
    try:
        place = path.resolve()  # of a link, the file that it points to
        _refuse_taken(place, path, replace=replace)
        beside = partial_file(place.parent, prefix=PARTIAL_PREFIX, suffix=PARTIAL_SUFFIX)
        with beside as (file, partial):
            yield file
            file.flush()
            os.fchmod(file.fileno(), usual_mode())
            os.fsync(file.fileno())
            _refuse_taken(place, path, replace=replace)  # somebody else may have come
            partial.replace(place)
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be written",
            expected="a folder that is there and ours to write, with free space",
            found=str(error.strerror),
            remedy="name another file",
        ) from error


def _refuse_taken(place: Path, shown: Path, *, replace: bool) -> None:
    if place.exists() and not (replace and place.is_file()):
        raise ConfigurationError(
            f"{shown} is there already" if place.is_file() else f"{shown} is not a file",
            remedy="name another file"
            + (", or of a command say --force" if place.is_file() else ""),
        )
