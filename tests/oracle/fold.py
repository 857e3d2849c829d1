"""Folds the deliveries of any table that is loaded by partitions."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tests.oracle import cboe, finra_weekly, fx, prices
from tests.oracle.archive import Delivery, Row
from tests.oracle.datasets import DATASETS
from tests.oracle.history import Table

WEEKLY = "finra_otc_weekly"


@dataclass
class Folded:
    """A table, its rejects, the latest load of each partition, and counts and dates by delivery."""

    table: Table
    rejects: list[Row] = field(default_factory=list)
    loads: dict[str, str] = field(default_factory=dict)
    counts: dict[str, tuple] = field(default_factory=dict)

    @property
    def rows(self) -> list[Row]:
        """The current rows."""
        return list(self.table.rows.values())


def read(delivery: Delivery) -> tuple[dict[tuple, Row], list[Row]]:
    """Return the rows and rejects of a delivery."""
    if delivery.table_name == WEEKLY:
        parsed = finra_weekly.parse_delivery(delivery)
        return parsed.rows, parsed.rejects
    if delivery.table_name in DATASETS:
        return DATASETS[delivery.table_name].parse(delivery)
    modules = {"fx_rates_daily": fx, "market_volume_daily": cboe, "prices_daily": prices}
    return modules[delivery.table_name].parse_delivery(delivery), []


def new_table(name: str) -> Table:
    """Return an empty table with its key and columns of metadata."""
    if name == WEEKLY:
        return Table(finra_weekly.KEY, finra_weekly.METADATA, is_dated=True)
    if name in DATASETS:
        return Table(DATASETS[name].key, DATASETS[name].metadata)
    keys = {"fx_rates_daily": fx.KEY, "market_volume_daily": cboe.KEY, "prices_daily": prices.KEY}
    return Table(keys[name])


def scope_of(delivery: Delivery) -> Callable[[Row], bool]:
    """Return which rows a delivery is complete for."""
    name, key = delivery.table_name, delivery.partition_key
    if name == WEEKLY:
        return lambda row: f"{row['tier']}|{row['week_start']}" == key
    if name in DATASETS:
        return lambda row: DATASETS[name].partition(row) == key
    if name == "prices_daily":
        days = json.loads(delivery.scope)["trade_date"]
        return lambda row: (
            row["symbol"] == key and days["first"] <= row["trade_date"] <= days["last"]
        )
    return lambda row: key in (row.get("rate_date"), row.get("trade_date"))


def fold(deliveries: Iterable[Delivery], name: str) -> Folded:
    """Fold the deliveries of a table in the order of their loads."""
    folded = Folded(new_table(name))
    for delivery in deliveries:
        if delivery.table_name != name:
            continue
        rows, rejects = read(delivery)
        folded.rejects += rejects
        if delivery.landed_at:
            landed_at, rules = delivery.landed_at, delivery.rule_version
            group, scope = delivery.group_id, scope_of(delivery)
            folded.counts[group] = folded.table.load(rows, landed_at, rules, scope, group)
            folded.loads[delivery.partition_key] = landed_at
    return folded


def weekly_loads(folded: Folded) -> dict[tuple[str, str], str]:
    """Return the latest load of each tier and week."""
    return {(key.split("|")[0], key.split("|")[1]): at for key, at in folded.loads.items()}
