"""Metadata of assets, and specs and results of their checks, for Dagster's UI."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, NamedTuple

import dagster as dg
import polars as pl
from sqlalchemy import Column

from orchestration_project.engine.announcements import normalise_metadata, read_time
from orchestration_project.engine.connections.artifacts import ArtifactStore, put_content
from orchestration_project.engine.contracts.audits import MAX_OFFENDERS, AuditSummary
from orchestration_project.engine.contracts.problems import EVALUATED_BY_LOAD
from orchestration_project.engine.dagster_private.definitions import UnenforcedCheckResult
from orchestration_project.errors import ConfigurationError
from orchestration_project.plots.figures import SYNTHETIC
from orchestration_project.redaction import redacted
from orchestration_project.services.ledger.rules.entries import NOT_APPLICABLE
from orchestration_project.services.links import build_file_path, build_partition_url, link
from orchestration_project.settings import Settings, load_shared_settings, shown_values
from orchestration_project.tables.schema import as_number

CELL_BYTES, TABLE_BYTES = 300, 24_000
"""Limits of a table of quoted rows: an event with two of them stays below 64 KB."""

DIGITS_SHOWN = 6
ROWS_LOGGED, CELL_CHARACTERS = 20, 60


def build_schema(columns: Iterable[Column[Any]]) -> dg.TableSchema:
    """Return the schema of a table's columns that the catalogue shows."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                column.key,
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
        columns=[
            dg.TableColumn(name, description=description) for name, description in columns.items()
        ]
    )


def embed_image(alternative: str, uri: str) -> dg.MarkdownMetadataValue:
    """Return an image; the UI shows it in its place if all of this is below 1000 characters."""
    return dg.MetadataValue.md(f"![{alternative}]({uri})")


def label_data(*, is_synthetic: bool) -> Mapping[str, str]:
    """Return the metadata that marks shown rows as synthetic; none for real ones."""
    return {"data": SYNTHETIC} if is_synthetic else {}


def store_file(
    artifacts: ArtifactStore, folder: str, content: bytes, *, suffix: str
) -> dg.UrlMetadataValue:
    """Store a file that is shown, under the SHA-256 of its ``content``; return a link to it."""
    return link(build_file_path(put_content(artifacts, folder, content, suffix=suffix)))


def locate_partition(key: dg.AssetKey, partition: str) -> str:
    """Return the address of a partition's page, on the server that shows it."""
    return build_partition_url(key.path, partition)


def link_partition(key: dg.AssetKey, partition: str) -> str:
    """Return the Markdown of a link to a partition's page."""
    return f"[{partition}]({locate_partition(key, partition)})"


def build_table(rows: pl.DataFrame) -> dg.TableMetadataValue:
    """Return a small frame as a table."""
    columns = [
        dg.TableColumn(name, type="string" if kind in (pl.String, pl.Date) else str(kind).lower())
        for name, kind in rows.schema.items()
    ]
    records = [
        dg.TableRecord({name: _convert_value(value) for name, value in row.items()})
        for row in rows.iter_rows(named=True)
    ]
    return dg.MetadataValue.table(records, dg.TableSchema(columns=columns))


def log_metadata(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    """Normalise metadata and log it: a terminal shows the log, not metadata."""
    metadata = normalise_metadata(metadata)
    dg.get_dagster_logger().info(
        f"Found:\n{format_metadata(metadata)}", extra={"event": "metadata_reported"}
    )
    return metadata


def format_metadata(metadata: Mapping[str, Any]) -> str:
    """Return numbers and texts in a line each, and the first rows of tables; no pictures."""
    lines: list[str] = []
    for name, value in metadata.items():
        if isinstance(value, dg.TableMetadataValue):
            lines += _render_table(name, value.records)
        elif isinstance(value, str | int | float | dg.PathMetadataValue | dg.UrlMetadataValue):
            lines.append(f"{name}: {getattr(value, 'value', value)}")
        elif isinstance(value, dg.MarkdownMetadataValue) and not str(value.value).startswith("!["):
            lines.append(f"{name}: {value.value}")
        elif isinstance(value, dg.TimestampMetadataValue):
            lines.append(f"{name}: {read_time(value).isoformat()}")
    return "\n".join(lines)


def _render_table(name: str, records: Sequence[dg.TableRecord]) -> list[str]:
    data_items = [record.data for record in records[:ROWS_LOGGED]]
    number = len(records) - len(data_items)
    cells = [list(data_items[0])] if data_items else []
    cells += [[_render_cell(value) for value in row.values()] for row in data_items]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    rows = ["  " + "  ".join(map(str.ljust, row, widths)).rstrip() for row in cells]
    return [f"{name}: {len(records)} rows", *rows, *([f"  and {number} more"] if number else [])]


def _render_cell(value: object) -> str:
    line = "" if value is None else " ".join(str(value).split())
    return line if len(line) <= CELL_CHARACTERS else f"{line[: CELL_CHARACTERS - 1]}…"


def _convert_value(value: object) -> str | int | float | bool | None:
    if isinstance(value, date | datetime):
        return value.isoformat()
    if isinstance(value, float):
        return round(value, DIGITS_SHOWN)
    if isinstance(value, Decimal):
        return as_number(value)
    return value  # pyright: ignore[reportReturnType] - a column of text, numbers or flags


def build_table_if_any(label: str, rows: list[dict[str, object]]) -> Mapping[str, Any]:
    """Return rows as a table of the UI, nothing where there is none."""
    table_records = [
        dg.TableRecord({name: "" if value is None else str(value) for name, value in row.items()})
        for row in rows
    ]
    return {label: dg.MetadataValue.table(table_records)} if table_records else {}


def redact_table(rows: Iterable[Mapping[str, object]]) -> dg.TableMetadataValue:
    """Return rows of a source as a table, without secrets, and cut to `TABLE_BYTES`."""
    records: list[dg.TableRecord] = []
    left = TABLE_BYTES
    for row in rows:
        cells = {name: _redact_cell(value) for name, value in row.items()}
        left -= len(json.dumps(cells))
        if left < 0:
            break
        records.append(dg.TableRecord(cells))
    return dg.MetadataValue.table(records, None if records else dg.TableSchema([]))


def _redact_cell(value: object) -> str:
    text = "" if value is None else redacted(str(value))
    return text if len(text) <= CELL_BYTES else f"{text[: CELL_BYTES - 1]}…"


SHOWN_OF_A_FAILURE = ("partition_key", "expected", "found", "offenders", "group_id", "run_id")
KEYS_NAMED = 5
"""Maximum partitions with a failed check in the line that alerts quote."""


class Described(NamedTuple):
    """Description and metadata of a check, as `dg.asset_check` takes them."""

    description: str
    metadata: Mapping[str, str]


def describe_check(
    claim: str,
    *,
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR,
    remedy: str = "",
    settings: Sequence[str] = (),
    limit: str = "",
    quarantines: str = "",
) -> Described:
    """Return the UI's text about a check: its claim, the effect of a failure, limits, remedy.

    Args:
        claim: What holds where it passes, a sentence.
        severity: ERROR, or WARN where a failure only warns.
        remedy: What to do if it fails.
        settings: The settings and limits of `checks.yaml` that it depends on.
        limit: The limit in words, where no setting has it.
        quarantines: What a failure keeps from being published, such as partition; blank: nothing.
    """
    effect = _name_effect(severity, quarantines)
    limits = limit or _format_limits(settings)
    lines = [
        claim,
        EFFECTS[effect].format(quarantines),
        f"Limit: {limits}." if limits else "",
        f"What to do: {remedy}." if remedy else "",
    ]
    notes = {
        "effect": effect,
        "severity": severity.value,
        "settings": " ".join(settings),
        "limit": limit,
        "remedy": remedy,
    }
    return Described(
        "\n\n".join(line for line in lines if line),
        {label: note for label, note in notes.items() if note},
    )


EFFECTS = {
    "quarantines": "A failure quarantines the {}: nothing of it is published.",
    "warns": "A failure only warns: it quarantines nothing.",
    "fails": "A failure is an error. It quarantines nothing.",
}
"""Effect of a failed check, by kind."""


def _name_effect(severity: dg.AssetCheckSeverity, quarantines: str) -> str:
    if severity == dg.AssetCheckSeverity.WARN:
        return "warns"
    return "quarantines" if quarantines else "fails"


def _format_limits(names: Sequence[str]) -> str:
    """Return the settings with their present values, which a run's config may override."""
    if not names:
        return ""
    present = _read_values(load_shared_settings())
    return ", ".join(f"`{name}` = {present[name]}" if name in present else name for name in names)


def _read_values(settings: Settings) -> Mapping[str, object]:
    values = {name.upper(): value for name, value in shown_values(settings).items()}
    try:
        return {**values, **settings.checks.flat()}
    except ConfigurationError:  # the check of the configuration reports it
        return values


def check_spec(
    name: str,
    *,
    asset: dg.AssetKey,
    description: str,
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR,
    remedy: str = "",
    settings: Sequence[str] = (),
    limit: str = "",
    quarantines: str = "",
    after: Sequence[dg.AssetKey] = (),
) -> dg.AssetCheckSpec:
    """Return the spec of a check that a step evaluates; ``description`` is its claim.

    A check with a step of its own is evaluated after the assets ``after``, too. The others are
    those of `describe_check`. A check that quarantines is shown as blocking; it yields the results
    of `check_result`, which Dagster does not enforce.
    """
    check = describe_check(
        description,
        severity=severity,
        remedy=remedy,
        settings=settings,
        limit=limit,
        quarantines=quarantines,
    )
    return dg.AssetCheckSpec(
        name,
        asset=asset,
        additional_deps=after,
        blocking=check.metadata["effect"] == "quarantines",
        **check._asdict(),
    )


def mark_not_applicable(why: str) -> Mapping[str, str]:
    """Return the first metadata of a check that had nothing to judge: Dagster shows it passed."""
    return {"outcome": f"{NOT_APPLICABLE}: {why}"}


def summarize_result(metadata: Mapping[str, Any]) -> str | None:
    """Return the description of a result: the UI shows it above all metadata, which it sorts."""
    lines = [metadata[name] for name in ("outcome", "failed") if name in metadata]
    pair = [f"{name} {metadata[name]}" for name in ("expected", "found") if name in metadata]
    return ". ".join([": ".join(lines), *([", ".join(pair)] if pair else [])]) or None


def build_result(
    asset: dg.AssetKey,
    name: str,
    metadata: Mapping[str, Any],
    severity: dg.AssetCheckSeverity,
    *,
    passed: bool,
) -> dg.AssetCheckResult:
    """Return a result of a check, which its metadata describe."""
    return dg.AssetCheckResult(
        asset_key=asset,
        check_name=name,
        passed=passed,
        severity=severity,
        description=summarize_result(metadata),
        metadata=metadata,
    )


def check_result(
    asset: dg.AssetKey,
    summary: AuditSummary,
    severity: dg.AssetCheckSeverity,
    *,
    of: str = "partitions",
    problem: Mapping[str, Any] | None = None,
) -> dg.AssetCheckResult:
    """Return the result of an audit by the latest delivery of each partition.

    ``of`` is what the metadata calls the keys of deliveries, which are a run's partitions or, of
    prices, symbols. ``problem`` fails the check too, whatever the deliveries did.
    """
    failed = sorted(summary.failed, key=lambda row: str(row["audited_at"]), reverse=True)
    metadata: dict[str, Any] = {
        **_describe_outcome(summary, of, has_problem=bool(problem)),
        **(problem or {}),
        **(_describe_failures(asset, failed, has_pages=of == "partitions") if failed else {}),
        f"{of}_passed": summary.passed_count,
        f"{of}_not_applicable": summary.not_applicable_count,
        f"{of}_failed": len(failed),
    }
    if len(summary.limits) == 1:  # Record-Total differs from partition to partition
        metadata["limit"] = summary.limits[0]
    if failed:
        metadata["failures"] = redact_table(
            {name: row[name] for name in SHOWN_OF_A_FAILURE} for row in failed[:MAX_OFFENDERS]
        )
    return UnenforcedCheckResult(
        asset_key=asset,
        check_name=summary.audit,
        passed=not (failed or problem),
        severity=severity,
        description=summarize_result(metadata),
        metadata=normalise_metadata(metadata),
    )


def _describe_outcome(summary: AuditSummary, of: str, *, has_problem: bool) -> Mapping[str, str]:
    """Return how it ended, in the first line: what gave no ground to judge did not pass."""
    judged = summary.passed_count + len(summary.failed)
    without = "; ".join(summary.grounds[:KEYS_NAMED]) or "no delivery was checked yet"
    if not judged and not has_problem:
        return mark_not_applicable(without)
    if summary.failed:
        outcome = f"failed in {len(summary.failed)} of {judged} {of}"
    else:
        outcome = "failed" if has_problem else f"passed in {judged} {of}"
    if summary.not_applicable_count:
        outcome += f"; {NOT_APPLICABLE} in {summary.not_applicable_count}: {without}"
    return {"outcome": outcome}


def _describe_failures(
    asset: dg.AssetKey, failed: Sequence[Mapping[str, object]], *, has_pages: bool
) -> Mapping[str, Any]:
    """Return the partitions that failed, and of the latest one its run and offenders."""
    latest = failed[0]
    keys = sorted({str(failure["partition_key"]) for failure in failed})
    remaining_count = len(keys) - KEYS_NAMED
    remaining_text = f" and {remaining_count} more" if remaining_count > 0 else ""
    named = keys[:KEYS_NAMED]
    links = ", ".join(link_partition(asset, key) for key in named)
    offenders = json.loads(str(latest["offenders"]))
    return {
        "failed": ", ".join(named) + remaining_text,
        **({"pages": dg.MetadataValue.md(links + remaining_text)} if has_pages else {}),
        "run": dg.MetadataValue.dagster_run(str(latest["run_id"])),
        "expected": str(latest["expected"]),
        "found": str(latest["found"]),
        **({"offenders": redact_table(offenders)} if offenders else {}),
    }


def build_load_evaluation(result: dg.AssetCheckResult) -> dg.AssetCheckEvaluation:
    """Return a result as a step may yield it that does not define the check.

    A check with a job of its own has a step of its own. A load evaluates it within its own step,
    because Dagster skips what follows a step that fails, also where that materialized partitions.
    Alerts take the passed ones only: what is late after a load was late before it.
    """
    return build_evaluation(result, **{EVALUATED_BY_LOAD: True})


def build_evaluation(result: dg.AssetCheckResult, **more: Any) -> dg.AssetCheckEvaluation:
    """Return a result as an op yields it that does not define the check, with more metadata."""
    if result.asset_key is None or result.check_name is None:
        raise AssertionError("the result names its asset and its check")
    return dg.AssetCheckEvaluation(
        asset_key=result.asset_key,
        check_name=result.check_name,
        passed=bool(result.passed),
        severity=result.severity,
        description=result.description,
        metadata={**result.metadata, **more},
    )
