"""Events of a partition, from the tables that hold them, on both databases."""

from collections import Counter

import pytest
from sqlalchemy import insert, select

from orchestration_project.tables.operations_alerts import operations_alerts
from orchestration_project.tables.operations_artifacts import operations_removals
from orchestration_project.tables.operations_events import EVENTS, operations_events
from tests.resources.weeks import FAILED, NOON, row

SHOWN = operations_events.table.c
ALERT = {
    "alert_id": "a",
    "kind": "failed",
    "severity": "error",
    "title": "a run failed",
    "body": "why",
    "assets": '["finra/otc_weekly"]',
    "partitions": "[]",
    "state": "recovered",
    "open_problems": "[]",
    "repeated_count": 0,
    "raised_at": NOON,
    "ended_at": NOON,
}
REMOVAL = {
    "name": "blobs/x",
    "removed_at": NOON,
    "kind": "captured bytes",
    "byte_count": 1,
    "put_at": NOON,
    "run_id": "r",
}


def events(partition_loader) -> list[tuple]:
    wanted = select(SHOWN.event, SHOWN.asset, SHOWN.partition_key, SHOWN.detail)
    with partition_loader.warehouse.reading() as connection:
        return [tuple(record) for record in connection.execute(wanted.order_by(*SHOWN[:2]))]


@pytest.mark.slow_on_postgresql
def test_each_event_is_listed_once_with_its_subject(partition_loader):
    partition_loader.write_batch(row("A"), version="v1")
    partition_loader.write_batch(row("A", share_quantity=7), version="v2")
    with pytest.raises(Exception, match="is quarantined"):
        partition_loader.write_batch(row("B"), version="v3", audits=[FAILED])
    with partition_loader.warehouse.writing() as connection:
        connection.execute(insert(operations_alerts), ALERT)
        connection.execute(insert(operations_removals), REMOVAL)
    assert Counter(event[0] for event in events(partition_loader)) == {
        "captured": 3,
        "checked": 3,
        "held_back": 1,
        "landed": 2,
        "restated": 1,
        "alerted": 1,
        "recovered": 1,
        "cleaned_up": 1,
    }
    week = ("finra_otc_weekly", partition_loader.partition_key)
    assert {
        ("captured", *week, "https://api.finra.org/data"),
        ("checked", *week, "held_back"),
        ("held_back", *week, "v3"),
        ("landed", *week, "first"),
        ("restated", *week, "source"),
        ("alerted", '["finra/otc_weekly"]', "[]", "a run failed"),
        ("cleaned_up", "", "", "captured bytes"),
    } <= set(events(partition_loader))


@pytest.mark.slow_after_first
def test_a_replay_captures_nothing(partition_loader):
    partition_loader.write_batch(row("A"), version="v1")
    first = f"finra_otc_weekly:{partition_loader.partition_key}#1"
    partition_loader.write_batch(row("A"), version="v1", replay_of=first, rule_version="2")
    assert Counter(event[0] for event in events(partition_loader))["captured"] == 1


def test_every_event_is_described(partition_loader):
    literals = {"captured", "checked", "landed", "restated", "alerted", "recovered", "cleaned_up"}
    assert set(EVENTS) == literals | {"held_back", "refused"}
    sql = str(operations_events.select.compile(compile_kwargs={"literal_binds": True}))
    assert all(f"'{event}'" in sql for event in EVENTS)
