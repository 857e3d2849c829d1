"""Metadata of assets and results of checks for Dagster's UI."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any

import dagster as dg
import polars as pl
from sqlalchemy import Column

from orchestration_project.connections.artifacts import ArtifactStore, put_content
from orchestration_project.contracts.rules import OFFENDERS_KEPT, AuditSummary
from orchestration_project.engine.announcements import event_metadata, time_of
from orchestration_project.plots.figures import SYNTHETIC
from orchestration_project.services.links import file_path, link, partition_page

DIGITS_SHOWN = 6
ROWS_LOGGED, CELL_CHARACTERS = 20, 60


def column_schema(columns: Iterable[Column[Any]]) -> dg.TableSchema:
    """Return what the catalogue shows of a table's columns."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                column.name,
                type=str(column.type),
                description=column.comment,
                constraints=dg.TableColumnConstraints(nullable=bool(column.nullable)),
            )
            for column in columns
        ]
    )


def report_schema(columns: Mapping[str, str]) -> dg.TableSchema:
    """Return the same for columns without a table, which have only descriptions."""
    return dg.TableSchema(
        columns=[dg.TableColumn(name, description=said) for name, said in columns.items()]
    )


def image(alternative: str, uri: str) -> dg.MarkdownMetadataValue:
    """Return an image; the UI shows it in its place if all of this is below 1000 characters."""
    return dg.MetadataValue.md(f"![{alternative}]({uri})")


def data_label(*, is_synthetic: bool) -> Mapping[str, str]:
    """Return the metadata that marks shown rows as synthetic; none for real ones."""
    return {"data": SYNTHETIC} if is_synthetic else {}


def kept_file(
    artifacts: ArtifactStore, folder: str, content: bytes, *, suffix: str
) -> dg.UrlMetadataValue:
    """Store a file that is shown, under the SHA-256 of its ``content``; return a link to it."""
    return link(file_path(put_content(artifacts, folder, content, suffix=suffix)))


def partition_path(key: dg.AssetKey, partition: str) -> str:
    """Return the address of a partition's page, on the server that shows it."""
    return partition_page(key.path, partition)


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


def as_metadata(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return `event_metadata` of it, having logged it: a terminal shows the log, not metadata."""
    metadata = event_metadata(metadata)
    dg.get_dagster_logger().info(
        f"Found:\n{in_words(metadata)}", extra={"event": "metadata_reported"}
    )
    return metadata


def in_words(metadata: Mapping[str, Any]) -> str:
    """Return numbers and texts in a line each, and the first rows of tables; no pictures."""
    lines: list[str] = []
    for name, value in metadata.items():
        if isinstance(value, dg.TableMetadataValue):
            lines += _table_in_words(name, value.records)
        elif isinstance(value, str | int | float | dg.PathMetadataValue | dg.UrlMetadataValue):
            lines.append(f"{name}: {getattr(value, 'value', value)}")
        elif isinstance(value, dg.MarkdownMetadataValue) and not str(value.value).startswith("!["):
            lines.append(f"{name}: {value.value}")
        elif isinstance(value, dg.TimestampMetadataValue):
            lines.append(f"{name}: {time_of(value).isoformat()}")
    return "\n".join(lines)


def _table_in_words(name: str, records: Sequence[dg.TableRecord]) -> list[str]:
    shown = [each.data for each in records[:ROWS_LOGGED]]
    more = len(records) - len(shown)
    cells = [list(shown[0])] if shown else []
    cells += [[_cell(value) for value in row.values()] for row in shown]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    rows = ["  " + "  ".join(map(str.ljust, row, widths)).rstrip() for row in cells]
    return [f"{name}: {len(records)} rows", *rows, *([f"  and {more} more"] if more else [])]


def _cell(value: object) -> str:
    line = "" if value is None else " ".join(str(value).split())
    return line if len(line) <= CELL_CHARACTERS else f"{line[: CELL_CHARACTERS - 1]}…"


def _plain(value: object) -> str | int | float | bool | None:
    if isinstance(value, date | datetime):
        return value.isoformat()
    if isinstance(value, float):
        return round(value, DIGITS_SHOWN)
    return value  # pyright: ignore[reportReturnType] - a column of text, numbers or flags


def table_if_any(label: str, rows: list[dict[str, object]]) -> Mapping[str, Any]:
    """Return rows as a table of the UI, nothing where there is none."""
    shown = [
        dg.TableRecord({name: "" if value is None else str(value) for name, value in row.items()})
        for row in rows
    ]
    return {label: dg.MetadataValue.table(shown)} if shown else {}


SHOWN_OF_A_FAILURE = ("partition_key", "expected", "found", "offenders", "group_id", "run_id")
KEYS_NAMED = 5
"""Maximum partitions with a failed check in the line that alerts quote."""


def check_result(
    asset: dg.AssetKey,
    summary: AuditSummary,
    severity: dg.AssetCheckSeverity,
    *,
    of: str = "partitions",
    problem: Mapping[str, str] | None = None,
) -> dg.AssetCheckResult:
    """Return what the latest delivery of each partition did in an audit.

    ``of`` is what the metadata calls the keys of deliveries, which are a run's partitions or, of
    prices, symbols. ``problem`` fails the check too, whatever the deliveries did.
    """
    metadata: dict[str, Any] = {
        f"{of}_passed": summary.passed_count,
        f"{of}_not_applicable": summary.not_applicable_count,
        f"{of}_failed": len(summary.failed),
    }
    if len(summary.limits) == 1:  # Record-Total differs from partition to partition
        metadata["limit"] = summary.limits[0]
    return dg.AssetCheckResult(
        asset_key=asset,
        check_name=summary.audit,
        passed=not (summary.failed or problem),
        severity=severity,
        metadata=metadata | _failures(summary) | dict(problem or {}),
    )


def evaluated(result: dg.AssetCheckResult) -> dg.AssetCheckEvaluation:
    """Return a result as a step may yield it that does not define the check.

    A check with a job of its own has a step of its own. A load evaluates it within its own step,
    because Dagster skips what follows a step that fails, also where that materialized partitions.
    """
    if result.asset_key is None or result.check_name is None:
        raise AssertionError("the result names its asset and its check")
    return dg.AssetCheckEvaluation(
        asset_key=result.asset_key,
        check_name=result.check_name,
        passed=bool(result.passed),
        severity=result.severity,
        metadata=dict(result.metadata),
    )


def _failures(summary: AuditSummary) -> dict[str, Any]:
    if not summary.failed:
        return {}
    keys = sorted({str(failure["partition_key"]) for failure in summary.failed})
    more = len(keys) - KEYS_NAMED
    offenders = [
        dg.TableRecord({name: str(failure[name]) for name in SHOWN_OF_A_FAILURE})
        for failure in summary.failed[:OFFENDERS_KEPT]
    ]
    return {
        "failed": ", ".join(keys[:KEYS_NAMED]) + (f" and {more} more" * (more > 0)),
        "failures": dg.MetadataValue.table(offenders),
    }


FRESHNESS_REMEDY = "find why its runs failed, or whether the source publishes later than expected"
"""What to do where a table is older than its calendar."""


def check_notes(
    severity: dg.AssetCheckSeverity, remedy: str, settings: Sequence[str] = ()
) -> dict[str, str]:
    """Return the metadata of a check's spec: its severity, settings, and what to do if it fails."""
    notes = {"severity": severity.value, "settings": " ".join(settings), "remedy": remedy}
    return {label: note for label, note in notes.items() if note}


def check_spec(
    name: str,
    *,
    asset: dg.AssetKey,
    description: str,
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR,
    remedy: str = "",
    settings: Sequence[str] = (),
) -> dg.AssetCheckSpec:
    """Return the spec of a check that a step evaluates; ``description`` is its claim."""
    notes = check_notes(severity, remedy, settings)
    return dg.AssetCheckSpec(name, asset=asset, description=description, metadata=notes)
