"""Quarantined and late partitions, as checks and the page of attention read them."""

from datetime import UTC, date, datetime, timedelta

import dagster as dg
import pytest
from sqlalchemy import delete, insert, update

from orchestration_project.assets.finra import DATASET_ASSETS
from orchestration_project.catalog import REGISTRY
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.key_ranges import Days
from orchestration_project.engine.contracts.partition_tags import RANGE_END, RANGE_START
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.delivery import capture_id
from orchestration_project.engine.warehouse.frames import Scope, encode_scope
from orchestration_project.services.attention.reading import AttentionReader
from orchestration_project.services.attention.rules import Entry, Selection
from orchestration_project.services.status import FailedAudit, read_late_datasets, read_quarantined
from orchestration_project.settings import load_settings
from orchestration_project.tables.spine import audits, deliveries, fences

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)


@pytest.fixture
def warehouse(tmp_path, prepared):
    with Warehouse(prepared.sqlite(tmp_path / "w.sqlite"), clock=Clock()) as opened:
        opened.prepare(holds="demo")
        yield opened


def delivered(
    warehouse,
    partition,
    outcome,
    number=1,
    *,
    table="finra_otc_weekly",
    scope: Scope | None = None,
    part_count: int = 0,
):
    group = f"{table}:{partition}#{number}"
    row = dict.fromkeys(column.name for column in deliveries.columns if not column.nullable) | {
        "group_id": group,
        "table_name": table,
        "partition_key": partition,
        "scope": encode_scope(scope or {}),
        "outcome": outcome,
        "run_id": f"run-{number}",
        "part_count": part_count,
        "recorded_at": NOON + number * timedelta(hours=1),
    }
    texts = {name: "" if value is None else value for name, value in row.items()}
    fence = {"table_name": table, "scope_key": partition, "token": number, "known_from": NOON}
    of_partition = (fences.c.table_name == table, fences.c.scope_key == partition)
    with warehouse.writing() as connection:
        connection.execute(insert(deliveries), [texts])
        connection.execute(delete(fences).where(*of_partition))
        connection.execute(insert(fences), [fence])
    return group


def audited(warehouse, group, name, *, severity="error", outcome="failed", found="7"):
    row = dict.fromkeys((column.name for column in audits.columns), "") | {
        "group_id": group,
        "table_name": "finra_otc_weekly",
        "name": name,
        "severity": severity,
        "outcome": outcome,
        "expected": "at most 5",
        "found": found,
        "audited_at": NOON,
    }
    with warehouse.writing() as connection:
        connection.execute(insert(audits), [row])


def test_the_latest_delivery_of_a_partition_decides_whether_it_is_quarantined(warehouse):
    delivered(warehouse, "T1|2025-01-06", "held_back", 1)
    delivered(warehouse, "T1|2025-01-06", "landed", 2)
    delivered(warehouse, "T2|2025-01-06", "landed", 1)
    group = delivered(warehouse, "T2|2025-01-06", "held_back", 3)
    delivered(warehouse, "OTCE|2025-01-06", "refused", 1)
    audited(warehouse, group, "has_few_rejects")
    audited(warehouse, group, "is_of_usual_size", severity="warning")
    audited(warehouse, group, "has_unique_keys", outcome="passed")
    found = read_quarantined(warehouse)
    assert [
        (partition.partition_key, partition.is_readable, partition.audits) for partition in found
    ] == [
        ("T2|2025-01-06", True, [FailedAudit("has_few_rejects", "at most 5", "7")]),
        ("OTCE|2025-01-06", False, []),
    ]


def entry_of(warehouse: Warehouse) -> Entry:
    """Return the entry of the one quarantined partition."""
    [entry] = (
        AttentionReader(REGISTRY, load_settings(), warehouse, Clock(NOON))
        .read()
        .select(Selection("quarantined"))
    )
    return entry


@pytest.mark.slow_after_first
@pytest.mark.parametrize(("part_count", "is_named"), [(0, False), (2, True), (21, False)])
def test_the_captures_of_a_delivery_are_named_if_they_are_few(
    warehouse, part_count: int, is_named: bool
):
    group = delivered(warehouse, "T1|2025-01-06", "held_back", part_count=part_count)
    entry = entry_of(warehouse)
    ids = [capture_id(group, part) for part in (1, 2)]
    assert (entry.capture_ids, entry.run_id) == (ids if is_named else [], "run-1")


@pytest.mark.parametrize(
    ("last_day", "chosen", "partition"),
    [
        (date(2025, 6, 30), {}, "2025-06-01"),
        (
            date(2025, 8, 1),
            {RANGE_START: "2025-06-01", RANGE_END: "2025-08-01"},
            None,
        ),
    ],
)
def test_a_quarantined_symbol_leads_to_its_months(
    warehouse, last_day: date, chosen: dict[str, str], partition: str | None
):
    scope = {"trade_date": Days(date(2025, 6, 2), last_day)}
    delivered(warehouse, "AAA", "held_back", table="prices_daily", scope=scope)
    entry = entry_of(warehouse)
    assert (entry.title, entry.asset) == ("prices/daily AAA", "prices/daily")
    assert entry.partition == f"{last_day.replace(day=1)}"
    retry = entry.launches["retry"]
    assert (retry.job, retry.range_tags, retry.partition) == ("prices_daily", chosen, partition)


def test_a_table_whose_name_is_not_its_assets_leads_to_its_asset_and_job(warehouse):
    delivered(warehouse, "T1|2025-01-10", "held_back", table="fact_bond_trade_activity")
    entry = entry_of(warehouse)
    assert entry.title == "finra/bond_trade_activity T1|2025-01-10"
    retry = entry.launches["retry"]
    assert (retry.job, retry.partition) == ("finra_bond_trade_activity", "T1|2025-01-10")


def test_a_quarantined_webhook_leads_to_its_asset_and_is_not_launched(warehouse):
    delivered(warehouse, "github|7", "held_back", table="events_webhooks")
    entry = entry_of(warehouse)
    assert (entry.title, entry.partition) == ("events/webhooks github|7", "")
    assert "retry" not in entry.launches


def test_a_freshness_check_separates_quarantined_from_missing(warehouse):
    dataset = next(asset for asset in DATASET_ASSETS if asset.dataset.noun == "treasury_monthly")
    delivered(warehouse, "2025-09-01", "landed", table=dataset.dataset.table.name)
    with warehouse.writing() as connection:
        connection.execute(update(fences).values(changed_token=1))
    delivered(warehouse, "2025-11-01", "held_back", table=dataset.dataset.table.name)
    resources = {"clock": Clock(NOON), "settings": load_settings(), "warehouse": warehouse}
    check = dataset.freshness(dg.build_asset_check_context(resources=resources))
    assert isinstance(check, dg.AssetCheckResult)
    [late] = read_late_datasets([dataset.dataset], load_settings(), warehouse, Clock(NOON))
    counts = [check.metadata[f"partitions_{name}"].value for name in ("late", "quarantined")]
    assert counts == [late.missing_count, late.quarantined_count] == [2, 1]
