"""Counts of the days in answers of vendors of prices, apart from the parsers that read them."""

from io import BytesIO

from orchestration_project.domains.prices.answers import CHART, SERIES
from orchestration_project.domains.prices.tabular import PARQUET
from orchestration_project.engine.contracts.balance import RecordCount, count_quoted_lines


def count_days(source: str, body: bytes) -> RecordCount:
    """Count the days of an answer; of a chart its timestamps and its events.

    Of what is none of these nothing is counted: the parser refuses it.
    """
    if source == "files":
        return _count_parquet_rows(body) if body.startswith(PARQUET) else count_quoted_lines(body)
    is_chart = CHART in body[:200]
    return _count_bars(body) if is_chart else _count_series(body), _find_json_end(body)


def _count_series(body: bytes) -> int:
    """Count the objects within the series: one for each day."""
    start = body.find(f'"{SERIES}"'.encode())
    return max(body.count(b"{", start) - 1, 0) if start >= 0 else 0


def _count_bars(body: bytes) -> int:
    """Count the elements of the array of timestamps, and the dates of events."""
    _, _, after = body.partition(b'"timestamp"')
    times = after.partition(b"[")[2].partition(b"]")[0]
    time_count = times.count(b",") + 1 if times.strip() else 0
    return time_count + body.partition(b'"events"')[2].count(b'"date"')


def _find_json_end(body: bytes) -> int:
    """Return the end of the outermost object, including whitespace after it."""
    end = body.rfind(b"}") + 1
    return end if body[end:].strip() else len(body)


def _count_parquet_rows(body: bytes) -> RecordCount:
    """Return the number of rows that the footer of a Parquet file states."""
    import pyarrow as pa
    from pyarrow.parquet import read_metadata

    try:
        return read_metadata(BytesIO(body)).num_rows, len(body)
    except (pa.ArrowException, OSError, ValueError):
        return 0, 0
