"""Shows whether tables fit their chains, and exports the heads of the chains."""

from orchestration_project.cli.console import OUTPUT, echo, emit, show_rows
from orchestration_project.engine.contracts.chain import read_heads
from orchestration_project.engine.environment import (
    open_clock,
    open_warehouse,
    read_trusted_keys,
)
from orchestration_project.services.chain import (
    ChainVerdict,
    export_heads,
    read_exported,
    verify_chains,
)
from orchestration_project.settings import Settings, load_settings

HEADINGS = {
    "table": "table",
    "records": "records",
    "rows": "rows",
    "unchained": "unchained loads",
    "problems": "problems",
}
MAX_SHOWN = 20
NOT_PROVEN = (
    "CHAIN_KEY is not set, so its key lies in STATE_DIR: a person who can read it and "
    "owns the database can sign other records."
)
NOT_EXPORTED = (
    "Without --heads, deleted newest records are not found. Export heads regularly by "
    "--export-heads to a place that the owner of the database cannot change."
)


def verify_chain(heads_file: str | None, export_to: str | None) -> int:
    """Compare tables with their chains; export their heads if all fit. Return 1 if some do not.

    Args:
        heads_file: Earlier export of heads; None: nothing to compare with.
        export_to: Where heads are written to; None: nowhere.
    """
    settings = load_settings()
    with open_warehouse(settings) as warehouse:
        exported = {}
        if heads_file is not None:
            trusted = read_trusted_keys(settings)
            exported = read_heads(read_exported(heads_file), heads_file, trusted)
        verdict = verify_chains(warehouse, settings, exported)
        written = None
        if export_to is not None and not verdict.problems:
            written = export_heads(warehouse, settings, export_to, open_clock(settings).now())
    _show(settings, verdict, heads_file, written)
    return int(bool(verdict.problems))


def _show(
    settings: Settings, verdict: ChainVerdict, heads_file: str | None, written: str | None
) -> None:
    rows = [
        {
            "table": report.table_name,
            "records": report.record_count,
            "rows": report.row_count,
            "unchained": report.unchained_count,
            "problems": len(report.problems),
        }
        for report in verdict.reports
    ]
    not_proven = [NOT_PROVEN] if settings.chain_key is None else []
    not_proven += [NOT_EXPORTED] if heads_file is None else []
    if OUTPUT.is_json:
        emit(
            {
                "is_whole": not verdict.problems,
                "tables": rows,
                "problems": [problem._asdict() for problem in verdict.problems],
                "heads": {name: head._asdict() for name, head in verdict.heads.items()},
                "heads_sha256": verdict.heads_sha256,
                "not_proven": not_proven,
                "exported_to": written,
            }
        )
        return
    show_rows(rows, HEADINGS)
    for problem in verdict.problems[:MAX_SHOWN]:
        echo(str(problem))
    if len(verdict.problems) > MAX_SHOWN:
        echo(f"and {len(verdict.problems) - MAX_SHOWN} more; --json lists all")
    echo(f"SHA-256 of the heads of all tables: {verdict.heads_sha256}")
    for sentence in not_proven:
        echo(sentence)
    if written is not None:
        echo(f"heads exported to {written}")
