"""Responses of a poll are recorded, once for the same bytes, with what is unreadable on it."""

import json
from datetime import timedelta

import pytest
from sqlalchemy import select

from orchestration_project.domains.saas.rules import SyncRule
from orchestration_project.domains.saas.tables import saas_source_states, saas_ticks
from orchestration_project.engine.captures import Captures
from orchestration_project.engine.connections.artifacts import FolderStore
from orchestration_project.engine.packs import Blob
from orchestration_project.engine.warehouse.delivery import capture_id
from orchestration_project.resources.saas.reconciling import Reconciler
from orchestration_project.resources.saas.rules import put_in_effect
from orchestration_project.resources.saas.runs import poll_all
from orchestration_project.tables.spine import blobs, captures, deliveries, fences, rejects
from tests.saas_demo import jira, peopleforce

DROP = SyncRule.model_validate({"rule_id": "nothing", "priority": 1, "action": "drop"})


@pytest.fixture
def reconciler(warehouse, clock, saas_demo, saas_http, tmp_path):
    saas_demo.start_over(task_count=60)  # two pages
    source, target = peopleforce(saas_demo.url, saas_http, tmp_path), jira(saas_demo.url, saas_http)
    with warehouse.writing() as connection:
        put_in_effect(connection, [DROP], by="test", at=clock.now(), run_id="test")
    return lambda run_id: Reconciler(warehouse, clock, source, target, run_id=run_id)


@pytest.fixture
def poll(clock, reconciler):
    def look_without_failure(run_id):
        clock.at += timedelta(minutes=5)
        poll_result = reconciler(run_id).poll()
        assert poll_result.problem is None
        return poll_result

    return look_without_failure


def rows(warehouse, *columns):
    with warehouse.reading() as connection:
        wanted = select(*columns).order_by(*columns)
        return [tuple(row) for row in connection.execute(wanted)]


def test_pages_are_recorded_when_their_bytes_come_first(warehouse, saas_demo, poll, tmp_path):
    poll("first")
    poll("second")
    saas_demo.do("tasks", id=1000, title="other")  # on the second page
    poll("third")
    recorded = rows(warehouse, captures.c.run_id, captures.c.part_number, captures.c.request)
    assert recorded == [
        ("first", 1, '{"page": "1"}'),
        ("first", 2, '{"page": "2"}'),
        ("third", 1, '{"page": "2"}'),
    ]
    store = Captures(FolderStore(tmp_path / "artifacts"))
    for blob in rows(warehouse, *(blobs.c[name] for name in Blob._fields)):
        body = store.read(Blob(*blob))
        assert json.loads(body)["metadata"]["pagination"]["count"] == 60
    stored = rows(
        warehouse, deliveries.c.run_id, deliveries.c.partition_key, deliveries.c.part_count
    )
    assert stored == [("first", "peopleforce", 2), ("third", "peopleforce", 1)]


def test_a_poll_is_recorded_as_a_delivery_without_a_fence(warehouse, clock, saas_demo, poll):
    saas_demo.do("tasks", id=1059, title=5)  # on the first page
    poll("first")
    number = round(clock.at.timestamp() * 1_000_000) + 1
    group = f"saas_source_states:peopleforce#{number}"
    ids = {part: capture_id(group, part) for part in (1, 2)}
    recorded = rows(warehouse, captures.c.part_number, captures.c.capture_id, captures.c.group_id)
    assert recorded == [(part, ids[part], group) for part in (1, 2)]
    [delivered] = rows(warehouse, *deliveries.c)
    assert dict(zip(deliveries.c.keys(), delivered, strict=True)) == {
        "group_id": group,
        "table_name": "saas_source_states",
        "published_on": None,
        "is_load_day": None,
        "partition_key": "peopleforce",
        "source": "demo",
        "dataset": "peopleforce",
        "source_version": "2 pages",
        "record_total": None,
        "scope": "{}",
        "part_count": 2,
        "outcome": "landed",
        "replay_of": None,
        "rule_version": "1",
        "run_id": "first",
        "recorded_at": clock.at,
        "write_disposition": "replace_scope",
    }
    refused = rows(warehouse, rejects.c.capture_id, rejects.c.table_name, rejects.c.rejected_at)
    assert refused == [(ids[1], "saas_source_states", clock.at)]
    assert rows(warehouse, fences.c.scope_key, fences.c.table_name) == []


def test_a_record_that_is_no_task_is_a_reject_and_the_others_go_on(warehouse, saas_demo, poll):
    saas_demo.do("tasks", id=1059, title=5)
    poll("first")
    poll("second")
    [(run_id, line, reason, record)] = rows(
        warehouse, rejects.c.run_id, rejects.c.line_number, rejects.c.reason, rejects.c.record
    )
    assert (run_id, line) == ("first", 1)
    assert reason == "PeopleForce's task 1059 cannot be read: int 5"
    assert json.loads(record)["title"] == 5
    assert len(rows(warehouse, saas_source_states.c.entity_id)) == 59


def test_where_many_records_are_no_tasks_the_look_fails_and_the_tick_has_not_ended(
    warehouse, saas_demo, clock, reconciler
):
    for number in range(13):
        saas_demo.do("tasks", id=1000 + number, title=5)
    done = poll_all(reconciler("run"), warehouse, clock)
    assert done.counts["unreadable"] == 13
    assert done.counts["seen"] == 47
    assert str(done.problem).startswith(
        "13 of 60 tasks that are listed cannot be read\n  expected: at most 20%\n"
        "  found: PeopleForce's task 1012 cannot be read: int 5"
    )
    assert len(rows(warehouse, saas_source_states.c.entity_id)) == 47
    assert rows(warehouse, saas_ticks.c.synced_at) == [(None,)]
