"""How items of a site are written: with rows of their fields, and with the changes of each load."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import polars as pl
from sqlalchemy import Connection

from orchestration_project.domains.web.changes import item_changes
from orchestration_project.domains.web.item_fields import field_rows
from orchestration_project.domains.web.pages import item_rules_version
from orchestration_project.domains.web.sites import ItemRule
from orchestration_project.engine.warehouse import TableSpec, WriteResult
from orchestration_project.engine.warehouse.frames import insert_frame
from orchestration_project.engine.warehouse.target import Transform
from orchestration_project.tables.schema import schema_of
from orchestration_project.tables.web import web_changes, web_item_fields, web_items


def items_spec(rule: ItemRule, *, has_items: bool) -> TableSpec[pl.DataFrame]:
    """Return how items are written: `web_item_fields` follows in the same transaction.

    The summary of a load is its changes; `record_changes` writes them.

    Args:
        rule: Items of the site.
        has_items: Whether items of the site are loaded, so that new ones count as changes.
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
        transforms={web_item_fields: Transform(of_rows=partial(field_rows, rule=rule))},
    )


def record_changes(connection: Connection, ended: Sequence[Any]) -> None:
    """Write the changes of loads to `web_changes`, in the transaction that writes their items."""
    for each in ended:
        if isinstance(each, WriteResult) and each.change is not None:
            rows = each.change.with_columns(
                at=pl.lit(each.known_from, pl.Datetime("us", "UTC")),
                change_cause=pl.lit("ours" if each.change_cause == "ours" else "source"),
            )
            insert_frame(connection, web_changes, rows.select(list(schema_of(web_changes))))
