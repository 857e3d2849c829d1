"""Erasure of a person or document, on both databases."""

import json
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from orchestration_demo.documents.damage import encrypted_member
from sqlalchemy import Table, select

from orchestration_project.domains.finra.tables.weekly import (
    finra_otc_weekly,
    finra_otc_weekly_history,
    finra_symbol_week,
)
from orchestration_project.domains.saas.subjects import PERSON, TASK
from orchestration_project.domains.saas.tables import saas_audit_log, saas_source_states
from orchestration_project.engine.captures import Captures, build_capture
from orchestration_project.engine.connections.artifacts import (
    ArtifactStore,
    FolderStore,
    open_artifacts,
)
from orchestration_project.engine.connections.log_files import LogFile, list_segment_paths
from orchestration_project.engine.contracts.subjects import (
    CapturedLines,
    IdentifyingColumn,
    SubjectKind,
)
from orchestration_project.engine.contracts.uploads import FILE, FileInbox
from orchestration_project.engine.contracts.webhooks.sources import build_subjects, read_sources
from orchestration_project.engine.packs import Blob
from orchestration_project.engine.replay import iterate_captures
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.capture_log import CaptureGroup, CaptureLog
from orchestration_project.errors import ConfigurationError, TransientError
from orchestration_project.instance.storage import open_instance
from orchestration_project.resources.events.deliveries import DeliveryLoader
from orchestration_project.services.erasure.dagster_tables import (
    erase_in_dagster,
    rewrite_in_dagster,
)
from orchestration_project.services.erasure.erasing import Erased, Places, erase, preview
from orchestration_project.services.erasure.requests import ErasureRequests, hash_identifier
from orchestration_project.services.erasure.rules import Subject
from orchestration_project.services.inbox.rows import Inbox, NewDelivery
from orchestration_project.services.inbox.uploads import (
    NewFile,
    Reservations,
    UploadRefusals,
    Uploads,
)
from orchestration_project.services.inbox.work import InboxQueue
from orchestration_project.services.inventory import take_inventory
from orchestration_project.tables.erasures import operations_erasure_requests, operations_erasures
from orchestration_project.tables.spine import (
    blobs,
    captures,
    deliveries,
    fences,
    inbox,
    landings,
    outbox,
    upload_refusals,
    uploads,
    work_items,
)
from orchestration_project.tables.webhooks import events_webhooks
from tests.expecting import expect_present
from tests.resources.planted import (
    contents,
    flush,
    in_database,
    mentioning,
    places_of,
    plant,
    plant_artifacts,
)
from tests.resources.test_finra_replay import ReplayLoads, text_of
from tests.resources.weeks import NOON, StoppedClock
from tests.webhook_runs import load_due

HOUR = timedelta(hours=1)

ANN, BOB = "ann.planted@example.com", "bob.kept@example.com"

SOURCES = read_sources(
    "sources: {shop: {scheme: standard, job: events_webhooks, subjects: {person: data.email}}}"
)
[BUYER] = build_subjects(SOURCES)


@pytest.fixture(params=["folder", pytest.param("s3", marks=pytest.mark.slow)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ArtifactStore:
    folder = str(tmp_path / "artifacts")
    return open_artifacts(folder if request.param == "folder" else request.getfixturevalue("s3"))


@pytest.fixture
def places(warehouse: Warehouse, tmp_path: Path, instance) -> Places:
    """Where an erasure looks: a store in a folder, and Dagster's instance in memory."""
    store = FolderStore(tmp_path / "artifacts")
    return Places(warehouse, store, instance, tmp_path, only_database=True, log_keep_days=30)


def erased(places: Places, clock, kind, *identifiers: str) -> Erased:
    """Request an erasure and carry it out."""
    requests = ErasureRequests(places.warehouse, clock)
    request = requests.read(requested(places, clock, *identifiers))
    return expect_present(
        erase(places, request, kind, requests, clock=clock, run_id="run", wait_seconds=0)
    )


def requested(places: Places, clock, *identifiers: str) -> str:
    requests = ErasureRequests(places.warehouse, clock)
    return requests.add("test/kind", identifiers, user_name="ada", reason="asked for")


def rows(warehouse: Warehouse, table: Table, *columns: str) -> list[Any]:
    with warehouse.reading() as connection:
        wanted = select(*(table.c[name] for name in columns))
        return sorted(tuple(row) for row in connection.execute(wanted))


def take_webhooks(warehouse: Warehouse, clock, *bodies: dict[str, Any]) -> None:
    """Take deliveries d1, d2, … of the source shop."""
    Inbox(warehouse, clock).take(
        [
            NewDelivery("shop", f"d{number}", "order", json.dumps(body).encode(), {}, 3)
            for number, body in enumerate(bodies, start=1)
        ]
    )


def order(email: str, **others: Any) -> dict[str, Any]:
    return {"data": {"email": email}, **others}


@pytest.fixture
def orders(places: Places, clock) -> None:
    """Three loaded deliveries, whose bytes lie in one pack: of Ann, of Bob, and of Bob on Ann."""
    bodies = (order(ANN), order(BOB), order(BOB, note=f"cc {ANN}"))
    take_webhooks(places.warehouse, clock, *bodies)
    load_due(places.warehouse, clock, places.artifacts, "shop")


@pytest.mark.slow
@pytest.mark.parametrize(
    "warehouse", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)], indirect=True
)
def test_a_person_that_was_planted_everywhere_is_found_nowhere(
    warehouse, store, clock, kept_instance, tmp_path
):
    take_webhooks(warehouse, clock, order(ANN), order(BOB), order(BOB, note=f"cc {ANN}"))
    load_due(warehouse, clock, store, "shop")
    assert plant(warehouse, ANN) > 50
    plant_artifacts(store, tmp_path, ANN)
    config = {"ops": {"mention": {"config": {"who": ANN}}}}
    mentioning.execute_in_process(run_config=config, instance=kept_instance, tags={"about": ANN})
    places = Places(warehouse, store, kept_instance, tmp_path, only_database=True, log_keep_days=30)
    flush(warehouse)
    assert len(places_of(ANN, tmp_path, store)) > 8
    assert any(warehouse.file or "/" in place for place in in_database(warehouse, ANN))
    found = erased(places, clock, BUYER, ANN)
    assert found.rows.masked.keys() | found.rows.deleted.keys() >= {"outbox", "operations_alerts"}
    flush(warehouse)
    assert places_of(ANN, tmp_path, store) == []
    assert in_database(warehouse, ANN) == []
    assert len(rows(warehouse, events_webhooks, "delivery_id")) == 3  # the planted one is masked
    log = (tmp_path / "logs" / "run.err").read_text()
    assert log == f"before\nfor {'*' * len(ANN)}: failed\nafter\n"


@pytest.mark.slow
def test_deliveries_of_a_person_go_with_all_that_was_made_of_them(places, clock, orders):
    found = erased(places, clock, BUYER, ANN)
    of_events = ("inbox", "work_items", "events_webhooks")
    of_delivery = ("captures", "deliveries", "landings", "fences")
    assert found.rows.deleted == dict.fromkeys((*of_events, *of_delivery), 1) | {"balances": 3}
    warehouse = places.warehouse
    left = [("shop", "d2"), ("shop", "d3")]
    assert rows(warehouse, inbox, "source", "delivery_id") == left
    assert rows(warehouse, events_webhooks, "source", "delivery_id") == left
    assert rows(warehouse, work_items, "item_key") == [("d2",), ("d3",)]
    for table in (captures, deliveries, landings):
        assert rows(warehouse, table, "partition_key") == [("shop|d2",), ("shop|d3",)]
    assert rows(warehouse, fences, "scope_key") == [("shop|d2",), ("shop|d3",)]


@pytest.mark.slow
@pytest.mark.parametrize("warehouse", ["sqlite"], indirect=True)
def test_bytes_of_others_stay_in_a_new_pack_and_are_what_the_tables_say(places, clock, orders):
    before = dict(rows(places.warehouse, captures, "partition_key", "sha256"))
    erased(places, clock, BUYER, ANN)
    after = {
        key: (sha256, at)
        for key, sha256, at in rows(
            places.warehouse, captures, "partition_key", "sha256", "erased_at"
        )
    }
    assert after["shop|d2"] == (before["shop|d2"], None)
    assert after["shop|d3"][0] != before["shop|d3"]
    assert after["shop|d3"][1] == NOON
    inventory = take_inventory(places.warehouse, places.artifacts, read_all=True)
    assert (inventory.found.missing, inventory.found.unnamed, inventory.changed) == ([], [], [])
    assert inventory.read_count == len(rows(places.warehouse, blobs, "sha256")) == 2


@pytest.mark.slow
@pytest.mark.parametrize("warehouse", ["sqlite"], indirect=True)
def test_a_replay_brings_nothing_back(places, clock, orders):
    erased(places, clock, BUYER, ANN)
    masked = rows(places.warehouse, events_webhooks, "delivery_id", "payload", "known_from")
    clock.at += HOUR
    queue = InboxQueue(places.warehouse, clock)
    for delivery_id in ("d2", "d3"):
        queue.put_back("shop", delivery_id, attempts=3)
    with pytest.raises(ConfigurationError, match="d1"):
        queue.put_back("shop", "d1", attempts=3)
    load_due(places.warehouse, clock, places.artifacts, "shop")
    assert rows(places.warehouse, events_webhooks, "delivery_id", "payload", "known_from") == masked
    assert json.loads(masked[1][1])["note"] == f"cc {'*' * len(ANN)}"


@pytest.mark.slow
@pytest.mark.parametrize("warehouse", ["sqlite"], indirect=True)
def test_program_logs_stay_as_they_are_and_the_proof_names_their_last_day(places, clock, tmp_path):
    logs = tmp_path / "logs"
    line = f'{{"message": "loaded {ANN}"}}\n'.encode()
    assert LogFile(logs, "gateway", 2**20, 30).append(line)
    for written in (logs / "gateway.log", logs / "gateway" / "copy.txt"):  # no segments
        written.write_bytes(line)
    places = replace(places, log_keep_days=30, real_clock=StoppedClock(NOON))
    seen = preview(places, BUYER, Subject((ANN,)), at=clock.now())
    found = erased(places, clock, BUYER, ANN)
    [segment] = list_segment_paths(logs)
    assert segment.read_bytes() == line
    masked = line.replace(ANN.encode(), b"*" * len(ANN))
    assert (logs / "gateway.log").read_bytes() == masked
    assert (logs / "gateway" / "copy.txt").read_bytes() == masked
    [(recorded,)] = rows(places.warehouse, operations_erasures, "not_reached")
    for sentences in (seen.not_reached, found.not_reached, json.loads(recorded)):
        assert sentences[0].startswith("program logs in STATE_DIR/logs of each host")
        assert "2026-02-04" in sentences[0]


@pytest.mark.slow
@pytest.mark.parametrize("warehouse", ["sqlite"], indirect=True)
def test_a_dry_run_counts_the_same_and_changes_nothing(places, clock, orders, tmp_path):
    plant_artifacts(places.artifacts, tmp_path, ANN)
    lain = {path: path.read_bytes() for path in tmp_path.rglob("*.zst") if path.is_file()}
    subject = Subject((ANN,), companions=BUYER.companions)
    seen = preview(places, BUYER, subject, at=clock.now())
    assert len(rows(places.warehouse, inbox, "delivery_id")) == 3
    assert all(path.read_bytes() == content for path, content in lain.items())
    found = erased(places, clock, BUYER, ANN)
    assert (seen.rows, seen.store, sorted(seen.files)) == (
        *(found.rows, found.store),
        sorted(found.files),
    )


@pytest.mark.slow
@pytest.mark.parametrize("warehouse", ["sqlite"], indirect=True)
def test_an_erasure_is_recorded_with_a_salted_hash_and_without_the_identifier(
    places, clock, orders
):
    request_id = requested(places, clock, ANN, "Ann Planted")
    requests = ErasureRequests(places.warehouse, clock)
    erase(places, requests.read(request_id), BUYER, requests, clock=clock, run_id="run")
    with places.warehouse.reading() as connection:
        row = dict(connection.execute(select(operations_erasures)).mappings().one())
    assert (row["erasure_id"], row["kind"], row["user_name"]) == (request_id, "test/kind", "ada")
    assert (row["rows_deleted"], row["captures_redacted"], row["cleaned_at"]) == (10, 1, NOON)
    assert row["identifier_hash"] == hash_identifier(ANN, row["salt"])
    assert "planted" not in str(row).lower()
    assert any("backups" in load for load in json.loads(row["not_reached"]))
    assert rows(places.warehouse, operations_erasure_requests, "request_id") == []


PAGE = (
    b'{"data": [\n {"id": 41, "title": "one"},\n'
    b' {"id": 42, "assigned_to": {"email": "Ann.Planted@example.com", "full_name": "Ann P"}},\n'
    b' {"id": 43, "size": 1.50, "assigned_to": {"email": "bob.kept@example.com"}} ],'
    b' "metadata": {}}'
)


@pytest.fixture
def page(places: Places, clock) -> str:
    """A captured page of three tasks, and the state of task 42; returns the group."""
    store = Captures(places.artifacts)
    capture = store.store(build_capture(PAGE, url="u", request={}, fetched_at=NOON))
    group = CaptureGroup(
        group_id="saas_source_states:peopleforce#1",
        table_name="saas_source_states",
        partition_key="peopleforce",
        source="api",
        dataset="peopleforce",
        source_version="1 pages",
        part_count=1,
        rule_version="1",
        run_id="run",
    )
    task = ("peopleforce", "task", "42")
    state = {
        "state_hash": "h",
        "rule_version": "1",
        "action": "sync",
        "is_completed": False,
        "record": json.dumps({"assignee_email": ANN, "assignee_name": "Ann P", "title": "x"}),
        "version_number": 1,
        "last_seen_at": NOON,
        "unresolved_email": ANN,
    }
    entry = {
        "entry_id": "e",
        "happened_at": NOON,
        "operation": "created",
        "detail": "{}",
        "run_id": "r",
    }
    intention = {
        "topic": "peopleforce>jira",
        "entity": "task|42",
        "version_number": 1,
        "payload": "{}",
        "cause": "source",
        "state": "waiting",
        "attempt_count": 0,
        "run_id": "r",
        "planned_at": NOON,
        "due_at": NOON,
        "changed_at": NOON,
    }
    named = dict(zip(("system", "entity_type", "entity_id"), task, strict=True))
    with places.warehouse.writing() as connection:
        CaptureLog(NOON).record(connection, [capture], group)
        connection.execute(saas_source_states.insert(), [named | state])
        connection.execute(saas_audit_log.insert(), [named | entry])
        connection.execute(outbox.insert(), [intention, intention | {"entity": "task|421"}])
    return group.group_id


def body_of(places: Places, group: str) -> bytes:
    with places.warehouse.reading() as connection:
        sha256 = connection.scalar(select(captures.c.sha256).where(captures.c.group_id == group))
        row = connection.execute(select(blobs).where(blobs.c.sha256 == sha256)).one()
    return Captures(places.artifacts).read(Blob(*(row._mapping[name] for name in Blob._fields)))


@pytest.mark.slow_on_postgresql
def test_a_task_is_cut_out_of_its_page_and_all_its_rows_go(places, clock, page):
    erased(places, clock, TASK, "42")
    assert body_of(places, page) == (
        b'{"data": [\n {"id": 41, "title": "one"},\n {"id": 43, "size": 1.50, '
        b'"assigned_to": {"email": "bob.kept@example.com"}} ], "metadata": {}}'
    )
    assert rows(places.warehouse, saas_source_states, "entity_id") == []
    assert rows(places.warehouse, saas_audit_log, "entity_id") == []
    assert rows(places.warehouse, outbox, "entity") == [("task|421",)]


@pytest.mark.slow
def test_a_person_is_masked_in_tasks_with_the_name_beside_and_the_tasks_stay(places, clock, page):
    erased(places, clock, PERSON, ANN)
    mask = "*" * len(ANN)
    expected = PAGE.replace(b"Ann.Planted@example.com", mask.encode())
    assert body_of(places, page) == expected.replace(b'"Ann P"', b'"*****"')
    [(record, unresolved)] = rows(
        places.warehouse, saas_source_states, "record", "unresolved_email"
    )
    masked = {"assignee_email": mask, "assignee_name": "*****", "title": "x"}
    assert (json.loads(record), unresolved) == (masked, mask)


@pytest.mark.parametrize("warehouse", ["sqlite"], indirect=True)
def test_a_short_identifier_is_matched_in_declared_columns_only(places, clock, page):
    """The text 42 stands for other things, too."""
    found = erased(places, clock, TASK, "42")
    assert not found.rows.masked


@pytest.mark.parametrize("warehouse", ["sqlite"], indirect=True)
def test_the_replay_of_a_capture_that_was_emptied_says_that_it_was_erased(places, clock, page):
    with places.warehouse.writing() as connection:
        empty = Captures(places.artifacts).store(
            build_capture(b"", url="", request={}, fetched_at=NOON)
        )
        connection.execute(blobs.insert(), [{**empty.blob_row, "stored_at": NOON}])
        connection.execute(captures.update().values(sha256=empty.sha256, erased_at=NOON))
    [recorded] = places.warehouse.recorded(saas_source_states, "peopleforce")[1]
    with pytest.raises(ConfigurationError, match="bytes of a capture were erased"):
        list(iterate_captures(places.warehouse, places.artifacts, recorded))


@pytest.mark.slow
@pytest.mark.parametrize("warehouse", ["sqlite"], indirect=True)
def test_an_archive_that_needs_a_password_is_named_as_not_searched(places, clock, tmp_path):
    places.artifacts.put("evidence/locked.zip", encrypted_member())
    (tmp_path / "locked.zip").write_bytes(encrypted_member())
    found = erased(places, clock, BUYER, ANN)
    assert sum("locked.zip" in place for place in found.not_reached) == 2


@pytest.mark.slow
@pytest.mark.parametrize("warehouse", ["sqlite"], indirect=True)
def test_captured_bytes_of_a_store_that_may_be_shared_are_not_erased(places, clock, orders):
    with pytest.raises(ConfigurationError, match="another database may need them"):
        erased(replace(places, only_database=False), clock, BUYER, ANN)
    subject = Subject((ANN,))
    places.artifacts.put("blobs/aa/of-another.zst", b"\x28\xb5\x2f\xfd damaged")
    seen = preview(replace(places, only_database=False), BUYER, subject, at=clock.now())
    assert any("blobs/aa/of-another.zst" in place for place in seen.not_reached)


class DyingStore(FolderStore):
    """A store whose process ends at the n-th change."""

    left = 0

    def put(self, name, content):
        self._count()
        super().put(name, content)

    def delete(self, name):
        self._count()
        super().delete(name)

    def _count(self):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt


@pytest.mark.slow
@pytest.mark.parametrize("left", range(3))
@pytest.mark.parametrize("warehouse", ["sqlite"], indirect=True)
def test_an_erasure_that_was_interrupted_goes_on(places, clock, orders, tmp_path, left):
    dying = DyingStore(tmp_path / "artifacts")
    dying.left = left
    requests = ErasureRequests(places.warehouse, clock)
    request = requests.read(requested(places, clock, ANN))
    with pytest.raises(KeyboardInterrupt):
        erase(replace(places, artifacts=dying), request, BUYER, requests, clock=clock, run_id="one")
    again = requests.read(request.request_id)
    erase(places, again, BUYER, requests, clock=clock, run_id="two")
    assert places_of(ANN, tmp_path, places.artifacts) == []
    inventory = take_inventory(places.warehouse, places.artifacts, read_all=True)
    assert (inventory.found.missing, inventory.changed) == ([], [])
    assert len(rows(places.warehouse, operations_erasures, "erasure_id")) == 1


@pytest.mark.parametrize("warehouse", ["sqlite"], indirect=True)
def test_an_erasure_that_ended_before_pages_were_overwritten_only_overwrites_them(places, clock):
    requests = ErasureRequests(places.warehouse, clock)
    request = requests.read(requested(places, clock, ANN))
    figures = ("rows_deleted", "rows_masked", "captures_deleted", "captures_redacted")
    row = dict.fromkeys((*figures, "artifacts_deleted", "files_changed"), 0)
    requests.record(request, row | {"tables": "{}", "not_reached": "[]", "run_id": "one"})
    again = requests.read(request.request_id)
    assert again.identifiers is None
    assert erase(places, again, BUYER, requests, clock=clock, run_id="two") is None
    assert rows(places.warehouse, operations_erasures, "cleaned_at") == [(NOON,)]
    with pytest.raises(ConfigurationError, match="no erasure is requested"):
        requests.read(request.request_id)


@pytest.mark.slow
@pytest.mark.parametrize("warehouse", ["sqlite"], indirect=True)
def test_an_uploaded_file_goes_with_its_work_item_and_its_bytes(
    places, clock, tmp_path, demo_settings
):
    receiving = Uploads(places.warehouse, places.artifacts, clock, demo_settings, Reservations())
    for name, content in (("letter of ann.pdf", b"%PDF of Ann"), ("other.pdf", b"%PDF")):
        new = NewFile("documents", name, "application/pdf", "ada")
        with receiving.whole(new, FileInbox()) as incoming:
            incoming.write(content)
            receiving.store(incoming)
        UploadRefusals(places.warehouse, clock).record(new, 413, "too large", "1 MiB", None)
    erased(places, clock, FILE, "letter of ann.pdf")
    for table in (uploads, upload_refusals):
        assert rows(places.warehouse, table, "file_name") == [("other.pdf",)]
    assert len(rows(places.warehouse, work_items, "item_key")) == 1
    assert len(rows(places.warehouse, captures, "sha256")) == 1
    assert places_of("%PDF of Ann", tmp_path, places.artifacts) == []
    assert places_of("letter of ann", tmp_path, places.artifacts) == []


class _UndoneError(Exception):
    """Rolls a transaction back."""


@pytest.mark.slow
def test_a_delivery_that_a_run_holds_is_lost_to_the_erasure(places, clock, tmp_path):
    """The run has claimed it and stored its bytes; it loads the other one alone."""
    take_webhooks(places.warehouse, clock, order(ANN), order(BOB))
    queue = InboxQueue(places.warehouse, clock)
    claimed = queue.claim("webhooks/shop", limit=9, run_id="r", until=NOON + HOUR, in_order=False)
    loader = DeliveryLoader(places.warehouse, Captures(places.artifacts), clock, "r")
    extracted = list(loader.extract(claimed))
    erased(places, clock, BUYER, ANN)
    lost = []
    with suppress(_UndoneError), places.warehouse.writing() as connection:
        lost = queue.settle(connection, loader.load(connection, extracted))
        raise _UndoneError  # as run_items does where one is lost
    assert [loss.item.key for loss in lost] == ["d1"]
    assert places_of(ANN, tmp_path, places.artifacts) == []


@pytest.mark.slow
def test_a_load_that_began_before_an_erasure_is_superseded_by_the_fence(places, clock, orders):
    state = places.warehouse.state(events_webhooks, "shop|d3")
    assert state.token == 1
    erased(places, clock, BUYER, BOB)
    assert places.warehouse.state(events_webhooks, "shop|d3").token != state.token


@pytest.mark.slow
@pytest.mark.parametrize("warehouse", ["sqlite"], indirect=True)
def test_bytes_that_no_row_names_any_more_go_with_their_pack(places, clock, tmp_path):
    """Ann's delivery was captured again, alone: the latest place counts, and the pack stays."""
    take_webhooks(places.warehouse, clock, order(ANN), order(BOB))
    load_due(places.warehouse, clock, places.artifacts, "shop")
    alone = Captures(places.artifacts).keep(
        json.dumps(order(ANN)).encode(), url="u", request={}, fetched_at=NOON
    )
    with places.warehouse.writing() as connection:
        place = {"storage_uri": alone.storage_uri, "byte_offset": None}
        connection.execute(blobs.update().where(blobs.c.sha256 == alone.sha256).values(**place))
    erased(places, clock, BUYER, ANN)
    assert places_of(ANN, tmp_path, places.artifacts) == []


class RacingStore(FolderStore):
    """A store in which a run records a blob in a pack just when it has been deleted."""

    warehouse: Warehouse
    sha256: str

    def delete(self, name):
        super().delete(name)
        if name.startswith("blobs/packs/") and self.sha256:
            own = blobs.c.sha256 == self.sha256
            with self.warehouse.writing() as connection:
                values = {"storage_uri": name, "byte_offset": 0}
                connection.execute(blobs.update().where(own).values(**values))
            self.sha256 = ""


@pytest.mark.slow
@pytest.mark.parametrize("warehouse", ["sqlite"], indirect=True)
def test_a_blob_that_a_run_records_in_a_deleted_pack_is_found_in_its_new_one(
    places, clock, orders, tmp_path
):
    racing = RacingStore(tmp_path / "artifacts")
    racing.warehouse = places.warehouse
    racing.sha256 = dict(rows(places.warehouse, captures, "partition_key", "sha256"))["shop|d2"]
    erased(replace(places, artifacts=racing), clock, BUYER, ANN)
    inventory = take_inventory(places.warehouse, places.artifacts, read_all=True)
    assert (inventory.found.missing, inventory.changed) == ([], [])


@dg.job
def idle() -> None:
    """Does nothing."""


@pytest.mark.slow
@pytest.mark.parametrize("warehouse", ["sqlite"], indirect=True)
def test_bytes_go_only_when_runs_in_progress_have_ended(places, clock, orders):
    run = places.instance.create_run_for_job(idle, status=dg.DagsterRunStatus.STARTED)
    with pytest.raises(TransientError, match="runs in progress may hold data") as refusal:
        erased(places, clock, BUYER, ANN)
    assert run.run_id in str(refusal.value)
    assert rows(places.warehouse, inbox, "delivery_id") == [("d2",), ("d3",)]
    assert len(rows(places.warehouse, blobs, "sha256")) == 3
    places.instance.report_run_failed(run)
    erased(places, clock, BUYER, ANN)
    assert len(rows(places.warehouse, blobs, "sha256")) == 2


@pytest.mark.parametrize("warehouse", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("identifiers", "found"),
    [
        ((), "0"),
        (("a\0b@example.com",), "control character"),
        (("\ud800nn@example.com",), "lone surrogate"),
        (("a" * 10_000,), "10000 bytes"),
        ((" ",), "0 bytes"),
        ((ANN, "Ann"), "3 characters"),
        (tuple(f"identifier {number}" for number in range(21)), "21"),
    ],
)
def test_invalid_identifiers_are_refused_with_the_limit_and_not_quoted(
    places, clock, identifiers, found
):
    with pytest.raises(ConfigurationError, match="invalid identifiers") as refusal:
        requested(places, clock, *identifiers)
    assert found in str(refusal.value)
    assert "nn@example" not in str(refusal.value)


@pytest.mark.parametrize("warehouse", ["sqlite"], indirect=True)
@pytest.mark.parametrize("reason", ["", f"for {ANN}", "x" * 501])
def test_a_reason_is_needed_and_has_no_identifier(places, clock, reason):
    requests = ErasureRequests(places.warehouse, clock)
    with pytest.raises(ConfigurationError, match="invalid reason of an erasure"):
        requests.add("test/kind", [ANN], user_name="ada", reason=reason)


@pytest.mark.slow
def test_runs_and_events_in_postgresql_are_masked_and_their_tables_rewritten(
    postgres_url, tmp_path, monkeypatch
):
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("DAGSTER_DATABASE_URL", postgres_url)
    config = {"ops": {"mention": {"config": {"who": ANN}}}}
    with open_instance() as instance:
        run_id = mentioning.execute_in_process(
            run_config=config, instance=instance, tags={"about": ANN}
        ).run_id
        subject = Subject((ANN,))
        assert erase_in_dagster(instance, subject, is_dry_run=True).keys() >= {"runs", "event_logs"}
        found = erase_in_dagster(instance, subject, is_dry_run=False)
        rewrite_in_dagster(instance, list(found))
        run = instance.get_run_by_id(run_id)
        assert run
        assert run.tags["about"] == "*" * len(ANN)
        assert f"'who': '{'*' * len(ANN)}'" in str(run.run_config)
        assert ANN not in str(instance.all_logs(run_id))
        assert erase_in_dagster(instance, subject, is_dry_run=False) == {}


@pytest.mark.parametrize("warehouse", ["sqlite"], indirect=True)
def test_rows_of_a_dataset_go_with_history_and_lines_and_a_replay_has_none_of_them(
    places, partition_loader, clock, tmp_path
):
    """A domain declares columns of a table and of those derived from it, and lines of captures."""
    replay_loads = ReplayLoads(partition_loader, clock, tmp_path)
    replay_loads.load(text_of(AAA=100, BBB=5))
    clock.at += HOUR
    replay_loads.load(text_of(AAA=101, BBB=6))
    [(source, dataset)] = set(rows(places.warehouse, captures, "source", "dataset"))
    lines = CapturedLines(
        source=source, dataset=dataset, delimiter="|", field="issueSymbolIdentifier"
    )
    kind = SubjectKind(
        name="issuer",
        description="symbol",
        columns=[
            IdentifyingColumn(column=table.c.symbol)
            for table in (finra_otc_weekly, finra_symbol_week)
        ],
        records=[lines],
    )
    state = places.warehouse.state(finra_otc_weekly, partition_loader.partition_key)
    erased(places, clock, kind, "BBB")
    assert partition_loader.quantities() == {"AAA": 101}
    assert partition_loader.rows(finra_otc_weekly_history, "symbol", "share_quantity") == [
        ("AAA", 100)
    ]
    assert b"BBB" not in b"".join(
        part
        for stored_object in places.artifacts.listed()
        for part in contents(places.artifacts.get(stored_object.name))
    )
    assert (
        places.warehouse.state(finra_otc_weekly, partition_loader.partition_key).token
        == state.token + 1
    )
    assert partition_loader.rows(finra_symbol_week, "symbol") == [("AAA",)]
    assert replay_loads.replay().row_counts["finra_otc_weekly"] == 1
    assert partition_loader.quantities() == {"AAA": 101}
