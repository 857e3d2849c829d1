"""The page that lists quarantined partitions, and the reading behind it."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert
from starlette.applications import Starlette

from orchestration_project.connections.clock import Clock
from orchestration_project.domains.access.roles import Principal, Role
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.gateway.quarantine import PATH, FailedAudit, read_quarantined, routes
from orchestration_project.gateway.request import CURRENT
from orchestration_project.tables.spine import audits, deliveries
from tests.gateway.door import INSTALLATION, asked

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)


@pytest.fixture
def warehouse(tmp_path):
    with Warehouse(f"sqlite:///{tmp_path}/w.sqlite", clock=Clock()) as opened:
        opened.prepare(holds="demo")
        yield opened


def delivered(warehouse, partition, outcome, number=1):
    group = f"finra_otc_weekly:{partition}#{number}"
    row = dict.fromkeys(each.name for each in deliveries.columns if not each.nullable) | {
        "group_id": group,
        "table_name": "finra_otc_weekly",
        "partition_key": partition,
        "outcome": outcome,
        "run_id": f"run-{number}",
        "part_count": 1,
        "recorded_at": NOON + number * timedelta(hours=1),
    }
    texts = {name: "" if value is None else value for name, value in row.items()}
    with warehouse.writing() as connection:
        connection.execute(insert(deliveries), [texts])
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


def shown(warehouse):
    CURRENT.set(Principal("ada", Role.VIEWER, "session"))
    return asked(Starlette(routes=routes(warehouse, INSTALLATION)), "GET", PATH)


def test_the_page_says_why_and_leads_to_partition_run_captures_and_rejects(warehouse):
    group = delivered(warehouse, "T2|2025-01-06", "held_back")
    audited(warehouse, group, "has_few_rejects", found="<script>alert(1)</script>")
    page = shown(warehouse).text
    assert "<strong>has_few_rejects</strong>: expected at most 5, found &lt;script&gt;" in page
    for path in (
        "/assets/finra/otc_weekly?view=partitions&amp;partition=T2%7C2025-01-06",
        "/runs/run-1",
        "/api/v1/artifacts?where=group_id%3Dfinra_otc_weekly%3AT2%7C2025-01-06%231",
        "/api/v1/tables/rejects?where=run_id%3Drun-1",
    ):
        assert f'href="{path}"' in page
    assert "ada (viewer)" in page


def test_the_page_says_that_there_are_none(warehouse):
    delivered(warehouse, "T1|2025-01-06", "landed")
    answer = shown(warehouse)
    assert "There are none." in answer.text
    assert "style-src 'self' 'sha256-" in answer.headers["content-security-policy"]
