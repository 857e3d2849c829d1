"""Commands of `objectives`: list budgets, evaluate and check them, write Prometheus rules."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestration_project.cli.commands import Group
from orchestration_project.cli.console import OUTPUT, echo, emit, emit_or, preview, show_rows

if TYPE_CHECKING:
    from orchestration_project.engine.warehouse import Warehouse

HEADINGS = {
    "name": "objective",
    "state": "state",
    "target_share": "target",
    "budget": "budget left",
    "burn": "burn in 1 h",
    "burn_long": "burn in 6 h",
    "total": "events",
    "at": "evaluated (UTC)",
    "pause": "pause",
}


@click.group(cls=Group)
def objectives() -> None:
    """Service level objectives of slo.yaml: error budgets, burn rates, rules of Prometheus."""


@objectives.command("list", has_json=True)
def list_objectives() -> int:
    """List the budgets of the latest evaluation.

    Exit status 1 if one of a domain that is not paused burns or is exhausted.
    """
    from orchestration_project.engine.environment import open_warehouse
    from orchestration_project.services.objectives.evaluating import read_slo
    from orchestration_project.settings import load_settings

    with open_warehouse(load_settings()) as warehouse:
        return _show(warehouse, [dict(row._mapping) for row in read_slo(warehouse)])


@objectives.command("evaluate", has_json=True)
def evaluate() -> int:
    """Evaluate all objectives now.

    Exit status 1 if one of a domain that is not paused burns or is exhausted.
    """
    from orchestration_project.catalog import REGISTRY
    from orchestration_project.engine.environment import open_clock, open_warehouse
    from orchestration_project.services.objectives.evaluating import evaluate_declared
    from orchestration_project.services.objectives.rules.objectives import build_row
    from orchestration_project.settings import load_settings

    settings = load_settings()
    with open_warehouse(settings) as warehouse:
        declared = evaluate_declared(settings, REGISTRY, warehouse, open_clock(settings))
        return _show(warehouse, [build_row(evaluation) for evaluation in declared])


@objectives.command("check", has_json=True)
def check() -> int:
    """Check slo.yaml."""
    count = len(_read_objectives())
    emit_or({"is_valid": True, "objectives": count}, f"valid: {count} objectives")
    return 0


@objectives.command("rules", has_dry_run=True)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="File to write.  [default: standard output]",
)
def rules(output: Path | None) -> int:
    """Write the Prometheus rules of all objectives."""
    from orchestration_project.services.objectives.rules.prometheus import render_rules

    text = render_rules(_read_objectives())
    if output is None:
        echo(text.rstrip("\n"))
    elif OUTPUT.is_dry_run:
        preview(f"would be written: {output}", file=str(output))
    else:
        output.write_text(text, encoding="utf-8")
        echo(f"written: {output}")
    return 0


def _read_objectives() -> Sequence[Any]:
    from orchestration_project.services.objectives import read_declared_objectives
    from orchestration_project.settings import load_settings

    return read_declared_objectives(load_settings())


def _show(warehouse: "Warehouse", rows: Sequence[dict[str, Any]]) -> int:
    from orchestration_project.services.pauses import Pauses, pause_texts

    pauses = pause_texts(Pauses(warehouse).list_in_effect(), {row["domain"] for row in rows})
    rows = [{**row, "pause": pauses[row["domain"]]} for row in rows]
    if OUTPUT.is_json:
        emit(rows)
    elif not rows:
        echo("no objective was evaluated; the daemon evaluates those of slo.yaml every 5 minutes")
    else:
        show_rows([_render_objective(row) for row in rows], HEADINGS)
    return int(any(row["state"] in ("burning", "exhausted") and not row["pause"] for row in rows))


def _render_objective(row: dict[str, Any]) -> dict[str, Any]:
    rates = {"burn": row["burn_1h"], "burn_long": row["burn_6h"]}
    return {
        **row,
        "target_share": f"{row['target']:.2%}",
        "budget": "no data" if row["budget_left"] is None else f"{row['budget_left']:.0%}",
        **{key: "no data" if rate is None else f"{rate:.1f}" for key, rate in rates.items()},
        "at": row["evaluated_at"],
    }
