"""Parquet: values as texts, as exactly as their types."""

import io
from collections.abc import Iterator, Sequence
from typing import Any

from orchestration_project.engine.contracts.balance import RecordCount
from orchestration_project.engine.own.formats.shared import (
    MAX_CELLS,
    Record,
    build_read_error,
    expand_exponent,
    format_value,
)
from orchestration_project.engine.own.reading import Reading

BATCH_ROWS = 50_000


def read(body: bytes, reading: Reading, names: Sequence[str]) -> Iterator[Record]:
    """Yield a record for each row.

    Raises:
        SourceError: It is damaged, too large or encrypted, or lacks a column.
    """
    import pyarrow as pa  # a quarter of a second, of which other formats need nothing
    from pyarrow import parquet

    number = 0
    try:
        file = parquet.ParquetFile(io.BytesIO(body))
        _require_columns(file.schema_arrow.names, names)
        names = file.schema_arrow.names if reading.reads_all else names
        _require_size(file.metadata, len(names), reading.max_bytes)
        for batch in file.iter_batches(BATCH_ROWS, columns=list(names)):
            columns = [_format_values(batch.column(name)) for name in names]
            for texts in zip(*columns, strict=True):
                number += 1
                yield Record(number, dict(zip(names, texts, strict=True)))
        if number != file.metadata.num_rows:
            raise build_read_error(
                f"{file.metadata.num_rows} rows, as the end of the file states", number
            )
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise build_read_error("a whole Parquet file", str(error)[:200]) from error


def _require_size(metadata: Any, column_count: int, max_bytes: int) -> None:
    groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
    size = sum(group.total_byte_size for group in groups)
    if size > max_bytes or metadata.num_rows * column_count > MAX_CELLS:
        expected = f"at most {MAX_CELLS} values and {max_bytes} bytes when inflated"
        raise build_read_error(expected, f"{metadata.num_rows} rows, {size} bytes")


def _require_columns(found: Sequence[str], names: Sequence[str]) -> None:
    missing = [name for name in names if found.count(name) != 1]
    if missing:
        raise build_read_error(f"columns with {', '.join(missing)} once", ", ".join(found[:20]))


def _format_values(column: Any) -> Sequence[str]:
    """Return the values of a column as texts; blank where there is none."""
    import pyarrow as pa
    from pyarrow import compute

    kind = column.type
    if pa.types.is_nested(kind):
        return [format_value(value) for value in column.to_pylist()]
    texts = ["" if text is None else text for text in compute.cast(column, pa.string()).to_pylist()]
    if pa.types.is_timestamp(kind):
        return [text.replace(" ", "T") for text in texts]
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return [expand_exponent(text) for text in texts]
    return [text.strip() for text in texts]


def count(body: bytes, _: Reading) -> RecordCount:
    """Return the number of rows that the end of the file states."""
    from pyarrow import parquet

    return parquet.read_metadata(io.BytesIO(body)).num_rows, len(body)
