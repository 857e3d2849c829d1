"""Recomputes all equations of what came in and went out, and shows those that do not balance."""

from datetime import UTC, datetime, time, timedelta

from orchestration_project.catalog import REGISTRY
from orchestration_project.cli.console import OUTPUT, echo, emit, show_rows
from orchestration_project.engine.environment import open_warehouse
from orchestration_project.engine.equations import BalanceFilter
from orchestration_project.errors import ConfigurationError
from orchestration_project.services.balance.verifying import (
    BalanceVerdict,
    list_equations,
    verify_balances,
)
from orchestration_project.settings import load_settings
from orchestration_project.tables.catalogue import tables

HEADINGS = {
    "table": "table",
    "equation": "equation",
    "balanced": "balanced",
    "unbalanced": "unbalanced",
    "not_counted": "not counted",
    "not_recorded": "not recorded",
}
MAX_SHOWN = 20


def verify_balance(
    table_name: str | None, first_day: datetime | None, last_day: datetime | None
) -> int:
    """Compute the equations of a table and of UTC days, or of all. Return 1 if one is unbalanced.

    Args:
        table_name: Table of the subjects; None: all.
        first_day: Day from which subjects count; None: all.
        last_day: Last day, included; None: all.

    Raises:
        ConfigurationError: No table has that name.
    """
    if table_name is not None and table_name not in {table.name for table in tables()}:
        raise ConfigurationError(
            "invalid --table", expected="a table of `orchestrate tables`", found=table_name
        )
    settings = load_settings()
    chosen = BalanceFilter(
        table_name,
        None if first_day is None else _start_of(first_day),
        None if last_day is None else _start_of(last_day + timedelta(days=1)),
    )
    with open_warehouse(settings) as warehouse:
        verdict = verify_balances(warehouse, list_equations(REGISTRY), chosen)
    _show(verdict)
    return int(bool(verdict.imbalance_count))


def _start_of(day: datetime) -> datetime:
    return datetime.combine(day.date(), time(), UTC)


def _show(verdict: BalanceVerdict) -> None:
    rows = [
        {"table": table_name, "equation": name, **vars(counts)}
        for (table_name, name), counts in sorted(verdict.counts.items())
    ]
    imbalances = verdict.imbalances
    if OUTPUT.is_json:
        emit(
            {
                "is_balanced": not verdict.imbalance_count,
                "imbalance_count": verdict.imbalance_count,
                "equations": rows,
                "imbalances": [
                    {
                        "table": imbalance.table_name,
                        "subject": imbalance.subject,
                        "equation": imbalance.balance.equation,
                        "came_in": imbalance.balance.came_in,
                        "went_to": dict(imbalance.balance.went_to),
                        "difference": imbalance.balance.difference,
                    }
                    for imbalance in imbalances
                ],
            }
        )
        return
    show_rows(rows, HEADINGS)
    if not rows:
        echo("nothing was counted: no stage of this range or table has an equation")
    for imbalance in imbalances[:MAX_SHOWN]:
        echo(f"{imbalance.table_name} {imbalance.subject}: {imbalance.balance}".strip())
    if verdict.imbalance_count > MAX_SHOWN:
        echo(f"and {verdict.imbalance_count - MAX_SHOWN} more; --json lists the first 1,000")
