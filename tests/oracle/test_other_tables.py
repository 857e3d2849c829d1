"""Further tables, recomputed from captured bytes: datasets, rates, volume, prices and values."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.oracle import cboe, gold, mqtt, prices, short, site_items
from tests.oracle.archive import Delivery, Row, read_deliveries
from tests.oracle.datasets import DATASETS
from tests.oracle.fold import WEEKLY, Folded, fold, weekly_loads
from tests.oracle.test_finra_weekly import assert_equal, assert_table, derive
from tests.oracle_state import DemoState, demo_state
from tests.prepared import Prepared

KINDS = Path(__file__).parents[2] / "kinds"
SETTINGS = {
    "DEMO_ROWS_PER_WEEK": "300",
    "DEMO_SHOP_PRODUCTS": "20",
    "DEMO_MQTT_EVENTS": "100",
    "FINRA_MAX_REJECT_RATIO": "0.05",
    "PRICES_UNIVERSE_SIZE": "4",
}
FEW = {
    "fx_rates_daily": ("2025-09-01", "2025-09-02"),
    "cboe_market_volume_daily": ("2026-01-05", "2026-01-09"),
    "finra_reg_sho_daily": ("2026-01-05", "2026-01-09"),
    "finra_treasury_daily": ("2026-01-05", "2026-01-06"),
    "finra_otc_monthly": ("NMS|2025-12-01", "NMS|2025-12-01"),
    "prices_daily": ("2026-01-01", "2026-01-01"),
}
MANY = FEW | {
    "fx_rates_daily": ("2026-01-02", "2026-01-30"),
    "finra_reg_sho_daily": ("2026-01-05", "2026-01-16"),
    "finra_threshold_list": ("2026-01-05", "2026-01-09"),
    "finra_short_interest": ("2025-12-16", "2026-01-01"),
    "finra_treasury_monthly": ("2025-12-01", "2026-01-01"),
    "finra_corporate_market_breadth": ("2026-01-05", "2026-01-09"),
    "finra_ats_blocks": ("2025-12-01", "2026-01-01"),
    "finra_otc_blocks": ("2025-12-01", "2026-01-01"),
    "finra_bond_trade_activity": ("T1|2026-01-09", "T1|2026-01-09"),
    "prices_daily": ("2025-11-01", "2026-01-01"),
}
"""Partitions by job, in the order of their loads."""

LOADED = ("fx_rates_daily", "market_volume_daily", "prices_daily", *DATASETS)
WEEK = "2026-01-05"
DERIVING = {
    "prices_gold": (),
    "finra_symbol_week_short": (WEEK,),
    "finra_symbol_week_value": (WEEK,),
    "cboe_off_exchange_share_weekly": (WEEK,),
}


def load(state: DemoState, jobs: Mapping[str, tuple[str, str]], *tiers: str) -> None:
    """Load the week of these tiers, the partitions of other jobs, and what is derived of them."""
    for tier in tiers:
        state.run(WEEKLY, f"{tier}|{WEEK}")
    for job, (first, last) in jobs.items():
        state.run(job, first, last)  # may fail: the demo has faults
    for job, partitions in DERIVING.items():
        assert state.run(job, *partitions), job


def assert_all(state: DemoState) -> int:
    """Compare all tables that are loaded, and those that are derived; return the count."""
    deliveries = read_deliveries([state.archive()])
    folded = {name: fold(deliveries, name) for name in (WEEKLY, *LOADED)}
    count = sum(assert_table(state, table, name) for name, table in folded.items())
    rejects = [row for table in folded.values() for row in table.rejects]
    count += assert_equal("rejects", rejects, state.export("rejects"))
    for table, rows in derive_others(folded).items():
        more = ("settlement_date",) if table == "finra_short_interest" else ()
        count += assert_equal(table, rows, state.export(table), *more)
    return count


def derive_others(folded: Mapping[str, Folded]) -> dict[str, list[Row]]:
    """Derive the tables of prices, volume and short sales."""
    loads, weekly = weekly_loads(folded[WEEKLY]), folded[WEEKLY].rows
    weeks = gold.symbol_weeks(weekly, loads)
    volume, days = folded["market_volume_daily"], folded["prices_daily"].rows
    sales, interest = folded["finra_reg_sho_daily"], folded["finra_short_interest"]
    daily = cboe.daily_shares(volume.rows, volume.loads)
    shares = cboe.weekly_shares(daily, volume.loads, weeks, loads)
    of_short = (sales.rows, sales.loads, interest.rows)
    return {
        "off_exchange_share_daily": daily,
        "off_exchange_share_weekly": of_week(shares),
        "prices_corporate_actions": prices.corporate_actions(days),
        "prices_returns": prices.returns(days),
        "finra_symbol_week_short": of_week(short.short_weeks(weeks, loads, *of_short)),
        "finra_symbol_week_value": of_week(short.value_weeks(weeks, days)),
    }


def of_week(rows: list[Row]) -> list[Row]:
    """Return the rows of the week that is derived."""
    return [row for row in rows if row["week_start"] == WEEK]


@pytest.fixture
def state(tmp_path: Path, prepared: Prepared) -> Iterator[DemoState]:
    """An empty state of a small demo."""
    with demo_state(tmp_path, SETTINGS, prepared) as state:
        yield state


def test_tables_of_other_sources_are_those_of_the_captured_bytes(state):
    state.set_clock("2026-03-02T15:00")
    load(state, FEW, "T1", "T2", "OTCE")
    assert assert_all(state) > 1000


def test_items_of_the_shop_are_those_of_the_captured_pages(state):
    for day in ("2026-11-01", "2026-11-02", "2026-11-03"):
        state.set_clock(f"{day}T09:00")
        state.run("web_shop", day)
    state.run("web_shop_api", "2026-11-03")
    table, quarantined = site_items.items(read_deliveries([state.archive()]))
    assert len(quarantined) == 1  # the shop has another layout on its third day
    exported = [site_items.without_brand(row) for row in state.export("web_items")]
    assert_equal("web_items", list(table.rows.values()), exported, *site_items.KEY)
    past = [site_items.without_brand(row) for row in state.export("web_items_history")]
    assert_equal("history", table.history, past, "known_from", *site_items.KEY)


def test_events_and_entities_are_those_of_the_captured_messages(state):
    state.set_clock("2026-11-03T09:00")
    state.load("mqtt")
    kinds = mqtt.read_kinds(KINDS)
    events, dead = mirror(read_deliveries([state.archive()]), kinds)
    assert_equal("mqtt_mirror", events, state.export("mqtt_mirror"), "idempotency_key")
    exported = state.export("mqtt_dead_letters")
    letters = [{name: row[name] for name in dead[0]} for row in exported]
    assert_equal("mqtt_dead_letters", dead, letters, "arrival_id")
    for table, entity, key in (
        ("mqtt_projects", "project", ("project_id",)),
        ("mqtt_components", "component", ("component_id",)),
        ("mqtt_component_dependencies", "component_dependency", ("component_id", "depends_on_id")),
        ("mqtt_tasks", "task", ("task_id",)),
        ("mqtt_metrics", "metric", ("metric_id",)),
    ):
        assert_equal(table, mqtt.fold(entity, events), state.export(table), *key)


def mirror(deliveries: list[Delivery], kinds: dict[str, Row]) -> tuple[list[Row], list[Row]]:
    """Return the events and dead letters of all hours."""
    events, dead = [], []
    for delivery in deliveries:
        if delivery.table_name == "mqtt_mirror":
            rows, letters = mqtt.mirror(delivery, kinds)
            events, dead = events + rows, dead + letters
    return events, dead


@pytest.mark.slow
@pytest.mark.parametrize("seed", ["1", "7", "20250106"])
def test_restated_and_late_loads_of_other_seeds_are_recomputed(state, seed):
    state.set("DEMO_SEED", seed)
    state.set("DEMO_ROWS_PER_WEEK", "2500")
    state.set("PRICES_UNIVERSE_SIZE", "25")
    for minute in ("2026-02-24T15:00", "2026-03-02T15:00", "2026-03-13T15:00", "2026-05-04T15:00"):
        state.set_clock(minute)
        for tier in ("T1", "T2", "OTCE"):
            state.run(WEEKLY, f"{tier}|2025-11-24", f"{tier}|2026-01-12")
            state.run("finra_gold", f"{tier}|2025-11-24", f"{tier}|2026-01-12")
        state.run("finra_tier_week", "2025-11-24", "2026-01-12")
        load(state, MANY)
    state.run("finra_symbols")
    assert assert_all(state) > 100_000
    folded = fold(read_deliveries([state.archive()]), WEEKLY)
    for table, rows in derive(folded.rows, weekly_loads(folded)).items():
        assert_equal(table, rows, state.export(table))
    for day in ("2026-01-20", "2026-03-01", "2026-03-11"):
        exported = state.export(WEEKLY, "--published-by", day)
        assert_equal(day, folded.table.published_by(day), exported)
