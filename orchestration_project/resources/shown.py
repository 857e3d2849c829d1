"""How values become metadata that Dagster's UI shows: images, tables, links."""

from datetime import date, datetime
from urllib.parse import quote

import dagster as dg
import polars as pl

DIGITS_SHOWN = 6


def image(alternative: str, uri: str) -> dg.MarkdownMetadataValue:
    """Return an image; the UI shows it in its place if all of this is below 1000 characters."""
    return dg.MetadataValue.md(f"![{alternative}]({uri})")


def partition_path(key: dg.AssetKey, partition: str) -> str:
    """Return the address of a partition's page, on the server that shows it."""
    return f"/assets/{'/'.join(key.path)}?view=partitions&partition={quote(partition)}"


def partition_link(key: dg.AssetKey, partition: str) -> str:
    """Return the Markdown of a link to a partition's page."""
    return f"[{partition}]({partition_path(key, partition)})"


def table_of(rows: pl.DataFrame) -> dg.TableMetadataValue:
    """Return a small frame as a table."""
    columns = [
        dg.TableColumn(name, type="string" if kind in (pl.String, pl.Date) else str(kind).lower())
        for name, kind in rows.schema.items()
    ]
    records = [
        dg.TableRecord({name: _plain(value) for name, value in row.items()})
        for row in rows.iter_rows(named=True)
    ]
    return dg.MetadataValue.table(records, dg.TableSchema(columns=columns))


def _plain(value: object) -> str | int | float | bool | None:
    if isinstance(value, date | datetime):
        return value.isoformat()
    if isinstance(value, float):
        return round(value, DIGITS_SHOWN)
    return value  # pyright: ignore[reportReturnType] - a column of text, numbers or flags
