"""Writing of items, with rows of their fields and the changes of each load."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

import polars as pl
from sqlalchemy import Connection, func, select

from orchestration_project.domains.web.changes import item_changes
from orchestration_project.domains.web.item_fields import field_rows
from orchestration_project.domains.web.pages import item_rules_version
from orchestration_project.domains.web.sites import ItemRule
from orchestration_project.domains.web.tables import web_changes, web_item_fields, web_items
from orchestration_project.engine.contracts.values import derive_schema
from orchestration_project.engine.warehouse import TableSpec, Warehouse, WriteResult
from orchestration_project.engine.warehouse.frames import insert_frame
from orchestration_project.engine.warehouse.target import Transform

SHOWN_ROWS = 20
CHANGE_COLUMNS = ("item_key", "field", "kind", "before", "after")


def items_spec(rule: ItemRule, *, has_items: bool, is_complete: bool) -> TableSpec[pl.DataFrame]:
    """Return how items are written: `web_item_fields` follows in the same transaction.

    The summary of a load is its changes; `record_changes` writes them.

    Args:
        rule: Items of the site.
        has_items: Whether items of the site are loaded, so that new ones count as changes.
        is_complete: Whether the crawl has all items of the site, so that others are removed.
    """

    def changes(
        *, replaced: pl.DataFrame, written: pl.DataFrame, kept: pl.DataFrame
    ) -> pl.DataFrame:
        del kept
        return item_changes(replaced, written, with_added=has_items)

    return TableSpec(
        table=web_items,
        rule_version=item_rules_version(rule),
        summarise=changes,
        merge=pl.concat,
        write_disposition="replace_scope" if is_complete else "merge",
        transforms={
            web_item_fields: Transform(of_rows=partial(field_rows, rule=rule), is_by_row=True)
        },
    )


def record_changes(connection: Connection, ended: Sequence[Any]) -> None:
    """Write the changes of loads to `web_changes`, in the transaction that writes their items."""
    for item in ended:
        if isinstance(item, WriteResult) and item.change is not None:
            rows = item.change.with_columns(
                at=pl.lit(item.known_from, pl.Datetime("us", "UTC")),
                change_cause=pl.lit("ours" if item.change_cause == "ours" else "source"),
            )
            insert_frame(connection, web_changes, rows.select(list(derive_schema(web_changes))))


def changes_at(
    warehouse: Warehouse, site: str, at: datetime
) -> tuple[Mapping[str, int], Sequence[Mapping[str, Any]]]:
    """Return how many changes of each kind a load of a site made, and the first of them.

    Args:
        warehouse: The database.
        site: Name of the site.
        at: Time of the load, as `web_changes` has it.
    """
    columns = web_changes.c
    pair = (columns.site == site, columns.at == at)
    counted = select(columns.kind, func.count().label("rows")).where(*pair).group_by(columns.kind)
    first = (
        select(*(columns[name] for name in CHANGE_COLUMNS))
        .where(*pair)
        .order_by(columns.item_key, columns.field)
        .limit(SHOWN_ROWS)
    )
    with warehouse.reading() as connection:
        counts = {row.kind: row.rows for row in connection.execute(counted)}
        rows = connection.execute(first).mappings().all()
    return counts, [dict(row) for row in rows]
