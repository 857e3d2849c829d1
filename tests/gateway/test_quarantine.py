"""The page that lists quarantined partitions, and the reading behind it."""

import re
from datetime import UTC, date, datetime, timedelta
from html import unescape
from urllib.parse import parse_qs, unquote_plus, urlsplit

import dagster as dg
import pytest
import yaml
from sqlalchemy import delete, insert, update
from starlette.applications import Starlette

from orchestration_project.assets.finra import DATASET_ASSETS
from orchestration_project.catalog import REGISTRY
from orchestration_project.connections.clock import Clock
from orchestration_project.contracts.roles import Principal, Role
from orchestration_project.contracts.rules import Days
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.delivery import capture_id
from orchestration_project.engine.warehouse.frames import Scope, scope_as_json
from orchestration_project.gateway.quarantine import PATH, routes
from orchestration_project.gateway.request import CURRENT
from orchestration_project.services.status import FailedAudit, read_late_datasets, read_quarantined
from orchestration_project.settings import load_settings
from orchestration_project.tables.spine import audits, balances, deliveries, fences
from tests.gateway.door import INSTALLATION, asked

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)


@pytest.fixture
def warehouse(tmp_path):
    with Warehouse(f"sqlite:///{tmp_path}/w.sqlite", clock=Clock()) as opened:
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
    row = dict.fromkeys(each.name for each in deliveries.columns if not each.nullable) | {
        "group_id": group,
        "table_name": table,
        "partition_key": partition,
        "scope": scope_as_json(scope or {}),
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
    row = dict.fromkeys((each.name for each in audits.columns), "") | {
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
    assert [(each.partition_key, each.is_readable, each.audits) for each in found] == [
        ("T2|2025-01-06", True, [FailedAudit("has_few_rejects", "at most 5", "7")]),
        ("OTCE|2025-01-06", False, []),
    ]


def shown(warehouse, role=Role.VIEWER):
    CURRENT.set(Principal("ada", role, "session"))
    app = Starlette(routes=routes(warehouse, INSTALLATION, lambda: REGISTRY))
    return asked(app, "GET", PATH)


def launches(page):
    """Return the jobs that a page links to, with the partitions that are chosen there."""
    links = [urlsplit(unescape(each)) for each in re.findall(r'href="(/locations/[^"]+)"', page)]
    jobs = [(each.path.split("/"), parse_qs(each.query)) for each in links]
    return [(path[-2], query) for path, query in jobs if path[-1] == "partitions"]


def test_the_page_says_why_and_leads_to_partition_run_captures_and_rejects(warehouse):
    group = delivered(warehouse, "T2|2025-01-06", "held_back")
    audited(warehouse, group, "has_few_rejects", found="<script>alert(1)</script>")
    page = shown(warehouse).text
    assert "has_few_rejects</a>: expected at most 5, found &lt;script&gt;" in page
    for path in (
        "/assets/finra/otc_weekly?view=checks&amp;checkDetail=has_few_rejects",
        "/assets/finra/otc_weekly?view=partitions&amp;partition=T2%7C2025-01-06",
        "/runs/run-1",
        "/api/v1/artifacts?where=group_id%3Dfinra_otc_weekly%3AT2%7C2025-01-06%231",
        "/api/v1/tables/rejects?where=run_id%3Drun-1",
    ):
        assert f'href="{path}"' in page
    assert "ada (viewer)" in page
    assert launches(page) == []


@pytest.mark.parametrize(("part_count", "is_named"), [(0, False), (2, True), (21, False)])
def test_the_rejects_of_a_delivery_are_those_of_its_captures_if_they_are_few(
    warehouse, part_count, is_named
):
    group = delivered(warehouse, "T1|2025-01-06", "held_back", part_count=part_count)
    [link] = re.findall(r'href="/api/v1/tables/rejects\?where=([^"]+)"', shown(warehouse).text)
    ids = ",".join(str(capture_id(group, part)) for part in (1, 2))
    assert unquote_plus(link) == (f"capture_id in ({ids})" if is_named else "run_id=run-1")


def test_an_operator_launches_the_partition_from_the_page(warehouse):
    group = delivered(warehouse, "T2|2025-01-06", "held_back")
    page = shown(warehouse, Role.OPERATOR).text
    assert launches(page) == [("finra_otc_weekly", {"partition": ["T2|2025-01-06"]})]
    [config] = re.findall(r'/jobs/finra_replay/playground/setup\?config=([^"]+)"', page)
    assert yaml.safe_load(unquote_plus(config)) == {
        "ops": {
            "replay_finra": {
                "config": {"table": "finra_otc_weekly", "group_id": group, "dry_run": False}
            }
        }
    }


@pytest.mark.parametrize(
    ("last_day", "chosen"),
    [
        (date(2025, 6, 30), {"partition": ["2025-06-01"]}),
        (date(2025, 8, 1), {"default_range": ["[2025-06-01...2025-08-01]"]}),
    ],
)
def test_a_quarantined_symbol_leads_to_its_months(warehouse, last_day, chosen):
    scope = {"trade_date": Days(date(2025, 6, 2), last_day)}
    delivered(warehouse, "AAA", "held_back", table="prices_daily", scope=scope)
    page = shown(warehouse, Role.ADMIN).text
    month = last_day.replace(day=1)
    assert f"/assets/prices/daily?view=partitions&amp;partition={month}" in page
    assert "prices/daily AAA</a>" in page
    assert launches(page) == [("prices_daily", chosen)]


@pytest.mark.slow
def test_a_table_whose_name_is_not_its_assets_leads_to_its_asset_and_jobs(warehouse):
    delivered(warehouse, "T1|2025-01-10", "held_back", table="fact_bond_trade_activity")
    page = shown(warehouse, Role.ADMIN).text
    assert "finra/bond_trade_activity T1|2025-01-10</a>" in page
    chosen = {"partition": ["T1|2025-01-10"]}
    assert launches(page) == [("finra_bond_trade_activity", chosen)]


@pytest.mark.slow
def test_a_quarantined_webhook_leads_to_its_asset(warehouse):
    delivered(warehouse, "github|7", "held_back", table="events_webhooks")
    page = shown(warehouse, Role.ADMIN).text
    assert '<a href="/assets/events/webhooks">events/webhooks github|7</a>' in page
    assert launches(page) == []


@pytest.mark.slow
def test_the_page_says_that_there_are_none(warehouse):
    delivered(warehouse, "T1|2025-01-06", "landed")
    answer = shown(warehouse)
    assert "No entries." in answer.text
    assert "style-src 'self' 'sha256-" in answer.headers["content-security-policy"]


def test_the_page_shows_the_last_imbalance_or_none(warehouse):
    assert "<td>none</td>" in shown(warehouse).text
    recorded = {
        "table_name": "finra_otc_weekly",
        "subject": "finra_otc_weekly:T2|2025-01-06#1",
        "equation": "records",
        "came_in": 7,
        "went_to": '{"rows": 5, "rejects": 1}',
        "state": "unbalanced",
        "run_id": "run-1",
        "recorded_at": NOON,
    }
    earlier = {"subject": "before", "recorded_at": NOON - timedelta(hours=1)}
    balanced = {"subject": "after", "state": "balanced", "recorded_at": NOON + timedelta(hours=1)}
    with warehouse.writing() as connection:
        rows = [recorded, recorded | earlier, recorded | balanced]
        connection.execute(insert(balances), rows)
    page = shown(warehouse).text
    assert "<td>finra_otc_weekly finra_otc_weekly:T2|2025-01-06#1</td>" in page
    assert "<td>records: 7 != 5 rows + 1 rejects</td>" in page
    assert '<a href="/runs/run-1">run</a>' in page


def test_a_freshness_check_tells_quarantined_partitions_from_missing_ones(warehouse):
    dataset = next(each for each in DATASET_ASSETS if each.dataset.noun == "treasury_monthly")
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
