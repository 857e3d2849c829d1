"""Error budgets of objectives, as metadata of the control tower."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

import polars as pl
from sqlalchemy import Row

from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.plots.objectives import BudgetLine, error_budgets
from orchestration_project.plots.sparkline import svg_uri
from orchestration_project.services.metadata import build_table, embed_image
from orchestration_project.services.objectives.evaluating import read_days, read_slo
from orchestration_project.services.objectives.rules.objectives import WINDOW_DAYS, Events
from orchestration_project.services.pauses import Pauses, pause_texts

SHOWN = 20
"""Budgets in the picture, those with the least left: an event should stay below 100 KB."""

COLUMNS: dict[str, Any] = {
    "name": pl.String,
    "state": pl.String,
    "target": pl.Float64,
    "budget_left": pl.Float64,
    "burn_1h": pl.Float64,
    "burn_6h": pl.Float64,
    "good": pl.Int64,
    "total": pl.Int64,
    "pause": pl.String,
}
"""Columns of the table of objectives."""


def describe_objectives(
    warehouse: Warehouse, now: datetime, *, is_synthetic: bool
) -> dict[str, Any]:
    """Return a picture and a table of the error budgets; nothing if none was evaluated.

    Args:
        warehouse: The database with the evaluations.
        now: The machine's time.
        is_synthetic: Whether the data of the installation is synthetic.
    """
    rows = sorted(read_slo(warehouse), key=_order_by_urgency)
    if not rows:
        return {}
    days = read_days(warehouse, now)
    lines = [_build_line(row, days.get(row.name, {}), now.date()) for row in rows[:SHOWN]]
    pauses = pause_texts(Pauses(warehouse).list_in_effect(), {row.domain for row in rows})
    table = [{**row._mapping, "pause": pauses[row.domain]} for row in rows[:SHOWN]]
    uri = svg_uri(error_budgets(lines, is_synthetic=is_synthetic))
    return {
        "error_budgets": embed_image("Error budgets of objectives, and what each day spent", uri),
        "objectives": build_table(pl.DataFrame(table, COLUMNS)),
    }


def _order_by_urgency(row: Row) -> tuple[float, str]:
    """Return the order of a row: the least left first, those without data last."""
    return (float("inf") if row.budget_left is None else row.budget_left, row.name)


def _build_line(row: Row, days: Mapping[date, Events], today: date) -> BudgetLine:
    allowed = (1 - row.target) * row.total
    return BudgetLine(row.name, row.state, row.budget_left, _list_spent(days, today, allowed))


def _list_spent(days: Mapping[date, Events], today: date, allowed: float) -> Sequence[float | None]:
    spent: list[float | None] = []
    for ago in range(WINDOW_DAYS - 1, 0, -1):
        events = days.get(today - timedelta(days=ago), Events())
        bad = events.total - events.good
        spent.append(None if not events.total else bad / allowed if allowed else 0.0)
    return spent
