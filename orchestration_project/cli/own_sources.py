"""`check`, `preview` and `test`: judge the sources that the project declares, writing nothing."""

import tempfile
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestration_project.cli.commands import Command
from orchestration_project.cli.console import OUTPUT, echo, emit, show_rows
from orchestration_project.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestration_project.engine.contracts.audits import Validated
    from orchestration_project.engine.contracts.partitioning import Partition
    from orchestration_project.engine.own.contracts import Progress, RowDifference
    from orchestration_project.engine.own_sources import Declaration

SHOWN = 10
PERSONAL = ("mail", "phone", "name", "birth", "address", "ssn", "iban", "passport")
"""Parts of names of fields that often have personal data."""

COLUMNS = {"source": "source", "file": "file", "partitions": "since", "key": "key", "hint": "hint"}


@click.command(cls=Command, has_json=True)
def check() -> int:
    """Check the declarations in defs/; say which fields look personal and have no subject.

    A wrong declaration is refused with its file, line, field, and what was expected and found. A
    query of a derived table is refused if the database refuses it.
    """
    from orchestration_project.cli.own_derived import check_derived
    from orchestration_project.engine.own_sources import load_declarations
    from orchestration_project.settings import require_project_folder

    require_project_folder()
    rows = [
        {
            "source": declaration.dataset.name,
            "file": declaration.file,
            "partitions": declaration.dataset.partitions.since.isoformat(),
            "key": ", ".join(declaration.dataset.key_columns),
            "hint": _build_hint(declaration),
        }
        for declaration in load_declarations()
    ]
    show_rows([*rows, *check_derived()], COLUMNS)
    return 0


def _build_hint(declaration: "Declaration") -> str:
    names = [
        field.name
        for field in declaration.dataset.fields
        if not field.subject and not field.personal and any(part in field.name for part in PERSONAL)
    ]
    remedy = "subject= makes erasure find it, personal=True masks it"
    return f"personal? {', '.join(names)}: {remedy}" if names else ""


@click.command(cls=Command, has_json=True)
@click.argument("source")
@click.argument("partition", required=False)
def preview(source: str, partition: str | None) -> int:
    """Fetch a partition of SOURCE; show rows, rejects, audits and the difference. Nothing is kept.

    Without PARTITION, it is the newest that should be published. A derived table is derived, not
    fetched; without PARTITION, the newest one that is out of date.
    """
    from orchestration_project.catalog.own import open_source
    from orchestration_project.cli.own_derived import preview_derived
    from orchestration_project.engine.captures import Captures, build_parts
    from orchestration_project.engine.connections.artifacts import FolderStore
    from orchestration_project.engine.contracts.partitioning import Partition
    from orchestration_project.engine.dlt_deliveries import find_progress, record_parts
    from orchestration_project.engine.own.contracts import build_partitioning
    from orchestration_project.engine.own_derived import find_derived
    from orchestration_project.registry import Environment
    from orchestration_project.settings import load_settings

    if derived := find_derived(source):
        preview_derived(derived, partition)
        return 0
    settings, declaration = load_settings(), _find_declaration(source)
    environment = Environment(settings=settings, ignores_breaker=True)
    with (
        tempfile.TemporaryDirectory(prefix="preview-") as folder,
        open_source(
            declaration.dataset, environment, Captures(FolderStore(Path(folder)))
        ) as opened,
    ):
        if partition is None:
            listed = opened.partitions().known
            declared = declaration.dataset.partitions
            chosen = listed[-1] if listed else Partition(declared.since, *declared.values[:1])
        else:
            partitioning = build_partitioning(declaration.dataset)
            chosen = partitioning.partition_of(partition, today=date.max)
        parts = build_parts(opened.extract(chosen, []).captures)
    bodies = [part.body for part in record_parts(declaration.dataset, parts, chosen)]
    before = find_progress(declaration.dataset, parts)
    validated = _validate_bodies(declaration, bodies, chosen, before)
    _show(declaration, chosen, validated, _compare_loaded(declaration, chosen, validated))
    return 1 if validated.is_quarantined else 0


@click.command(cls=Command, has_json=True)
@click.argument("source", required=False)
@click.option(
    "--from-capture",
    metavar="ID",
    help="Store the bytes of a capture of SOURCE as a sample, then judge all samples.",
)
def test(source: str | None, from_capture: str | None) -> int:
    """Judge the recorded samples of SOURCE, or of all sources, by their contracts, offline.

    A sample is a file defs/NAME/samples/PARTITION.* with the bytes that the source sent.
    """
    from orchestration_project.engine.own.contracts import build_partitioning
    from orchestration_project.engine.own_sources import load_declarations

    chosen = [_find_declaration(source)] if source else list(load_declarations())
    if from_capture:
        _keep_sample(chosen, from_capture)
    rows: list[dict[str, Any]] = []
    for declaration in chosen:
        for sample in sorted(_find_samples(declaration).glob("*.*")):
            partitioning = build_partitioning(declaration.dataset)
            partition = partitioning.partition_of(sample.stem, today=date.max)
            validated = _validate_bodies(declaration, [sample.read_bytes()], partition)
            rows.append(_judge_rows(declaration, sample, validated))
    show_rows(rows, {name: name for name in ("source", "sample", "rows", "rejects", "failed")})
    if not rows:
        raise ConfigurationError(
            "no sample was found",
            expected="files in defs/NAME/samples/",
            found="none",
            remedy="record one by --from-capture ID; `orchestrate artifacts list` has the ids",
        )
    return 1 if any(row["failed"] or row["rejects"] for row in rows) else 0


def _judge_rows(declaration: "Declaration", sample: Path, validated: "Validated") -> dict[str, Any]:
    failed = [audit.name for audit in validated.audits if audit.outcome == "failed"]
    return {
        "source": declaration.dataset.name,
        "sample": sample.name,
        "rows": len(validated.rows),
        "rejects": len(validated.rejects),
        "failed": ", ".join(failed),
    }


def _find_samples(declaration: "Declaration") -> Path:
    from orchestration_project.settings import project_folder

    return (project_folder() / declaration.file).parent / "samples"


def _keep_sample(chosen: "Sequence[Declaration]", capture_id: str) -> None:
    """Store the bytes of a capture among the samples of its source."""
    from sqlalchemy import select

    from orchestration_project.engine.captures import Captures
    from orchestration_project.engine.connections.artifacts import open_store
    from orchestration_project.engine.environment import open_warehouse
    from orchestration_project.engine.own.dlt_source import DltSource
    from orchestration_project.engine.warehouse.capture_log import read_blobs
    from orchestration_project.settings import load_settings
    from orchestration_project.tables.spine import captures

    settings = load_settings()
    number = int(capture_id) if capture_id.isdigit() else -1
    with open_warehouse(settings) as warehouse, warehouse.reading() as connection:
        columns = (captures.c.dataset, captures.c.partition_key, captures.c.sha256)
        row = connection.execute(
            select(*columns).where(captures.c.capture_id == number)
        ).one_or_none()
        by_name = {each.dataset.name: each for each in chosen}
        if row is None or row.dataset not in by_name:
            raise ConfigurationError(
                f"the capture {capture_id} is not one of {', '.join(by_name)}",
                expected="an id that `orchestrate artifacts list` shows",
                found="none" if row is None else f"a capture of {row.dataset}",
                remedy="choose another id, or another source",
            )
        blob = read_blobs(connection, [row.sha256])[row.sha256]
    body = Captures(open_store(settings)).read(blob)
    declaration = by_name[row.dataset]
    source = declaration.dataset.source
    if isinstance(source, DltSource) and source.captures_answers:
        raise ConfigurationError(
            f"a capture of {row.dataset} cannot be a sample",
            expected="bytes of which each has records, as those of capture='rows'",
            found="an answer that a resource of dlt makes rows of, with the others of its delivery",
            remedy=f"`orchestrate replay --table {row.dataset}` makes rows of them again",
        )
    folder = _find_samples(declaration)
    folder.mkdir(exist_ok=True)
    suffix = declaration.dataset.source.reading.format or "bin"
    (folder / f"{row.partition_key}.{suffix}").write_bytes(body)


def _find_declaration(name: str) -> "Declaration":
    from orchestration_project.engine.own_sources import find_declaration

    return find_declaration(name)


def _validate_bodies(
    declaration: "Declaration",
    bodies: "Sequence[bytes]",
    partition: "Partition",
    before: "Progress | None" = None,
) -> "Validated":
    from orchestration_project.engine.own.contracts import build_contract, validate_documents

    contract = build_contract(
        declaration.dataset, declaration.table, declaration.fields, declaration.code
    )
    return validate_documents(declaration.dataset, contract, bodies, partition, before)


def _compare_loaded(
    declaration: "Declaration", partition: "Partition", validated: "Validated"
) -> "RowDifference | None":
    """Return the difference from the loaded rows; None: the table is not made yet."""
    from sqlalchemy import inspect

    from orchestration_project.engine.environment import open_unprepared_warehouse
    from orchestration_project.engine.own.contracts import build_partitioning, compare_rows
    from orchestration_project.engine.warehouse.frames import read_scope
    from orchestration_project.settings import load_settings
    from orchestration_project.tables.schema import key_names

    table = declaration.table
    scope = build_partitioning(declaration.dataset).scope_of(partition)
    with open_unprepared_warehouse(load_settings()) as warehouse, warehouse.reading() as connection:
        if not inspect(connection).has_table(table.name):
            return None
        loaded = read_scope(connection, table, scope)
    return compare_rows(validated, loaded, key_names(table))


def _show(
    declaration: "Declaration",
    partition: "Partition",
    validated: "Validated",
    difference: "RowDifference | None",
) -> None:
    rows = validated.rows.drop("part_number").head(SHOWN).to_dicts()
    rejects = (
        validated.rejects.select("line_number", "reason_code", "reason").head(SHOWN).to_dicts()
    )
    failed = [
        {"audit": audit.name, "expected": audit.expected, "found": audit.found}
        for audit in validated.audits
        if audit.outcome == "failed"
    ]
    if OUTPUT.is_json:
        emit(
            {
                "source": declaration.dataset.name,
                "partition": partition.label,
                "row_count": len(validated.rows),
                "rows": rows,
                "reject_count": len(validated.rejects),
                "rejects": rejects,
                "filtered": dict(validated.filtered),
                "failed": failed,
                "difference": None if difference is None else vars(difference),
            }
        )
        return
    filtered = "".join(f", {count} {name}" for name, count in validated.filtered.items() if count)
    counts = f"{len(validated.rows)} rows, {len(validated.rejects)} rejects{filtered}"
    echo(f"{declaration.dataset.name}, {partition.label}: {counts}\n")
    for group in filter(None, (rows, rejects, failed)):
        show_rows(group, {name: name for name in group[0]})
        echo("")
    if failed:
        echo("a load would quarantine it, and change nothing")
    else:
        echo(f"a load would have: {difference}" if difference else "the table is not made yet")
