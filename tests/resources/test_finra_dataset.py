"""A dataset that only a test declares, all the way from a source to its loaded table."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Literal

import polars as pl
import pytest
from sqlalchemy import Table, func, select, update

from orchestration_project.domains.finra.datasets import TREASURY_DAILY
from orchestration_project.domains.finra.declaration import FinraDataset
from orchestration_project.engine.captures import BlobError, Capture, Captures
from orchestration_project.engine.connections.artifacts import FolderStore
from orchestration_project.engine.contracts.partitioning import Partition
from orchestration_project.engine.dataset import LoadedPartition
from orchestration_project.engine.deliveries import RecordedDeliveries, SourceDeliveries
from orchestration_project.engine.http import HttpClient
from orchestration_project.engine.loader import DatasetLoader
from orchestration_project.engine.source import (
    Extraction,
    Folder,
    PartitionList,
    Source,
    SourceVersion,
)
from orchestration_project.engine.warehouse import QuarantinedError, SupersededError, Warehouse
from orchestration_project.engine.warehouse.target import WriteDisposition
from orchestration_project.errors import (
    ConfigurationError,
    ContractError,
    MovedError,
    OrchestrationError,
    SourceError,
    TransientError,
)
from orchestration_project.resources.finra.connection import (
    FinraDatasets,
    folder_source,
    query_source,
)
from orchestration_project.resources.finra.datasets import engine_dataset
from orchestration_project.resources.finra.query_api import QueryApi
from orchestration_project.settings import child_environment
from orchestration_project.tables.schema import METADATA
from orchestration_project.tables.spine import (
    audits,
    captures,
    deliveries,
    fences,
    landings,
    pending_announcements,
    rejects,
    source_fields,
)
from tests.domains.datasets import (
    APPLE,
    CISCO,
    DATASET,
    FIELDS,
    GOOGLE,
    WEEK,
    declare,
    own_metadata,
    record,
)
from tests.faulty_server import FaultyServer, Reply, Request
from tests.http_clients import make_client
from tests.resources.finra_server import Finra, is_page
from tests.resources.weeks import NOON, StoppedClock

KEY = f"EAST|{WEEK}"
TODAY = date(2026, 1, 20)
EAST = Partition(date.fromisoformat(WEEK), "EAST")
HTML = b"<!DOCTYPE html><html><body>Access Denied</body></html>"


@dataclass
class Bench:
    """One database, one source that a test describes, and loads of the declared dataset."""

    warehouse: Warehouse
    folder: Path
    http: HttpClient
    clock: StoppedClock
    finra: Finra
    server: FaultyServer
    write_disposition: WriteDisposition = "replace_scope"

    def source(self, dataset: FinraDataset = DATASET) -> Source:
        api = QueryApi(
            self.http,
            Captures(FolderStore(self.folder / "artifacts")),
            self.clock,
            name="api",
            api_url=self.server.url,
            token_url="",
            credentials=None,
            concurrent_requests=4,
        )
        return query_source(api, dataset)

    def loader(
        self,
        source: Source | None = None,
        *,
        max_reject_ratio: float = 0.1,
        force: bool = False,
        full: bool = False,
        done: frozenset[str] = frozenset(),
        replay: bool = False,
        reported: Literal["yes", "no", "not yet"] = "yes",
        **recorded: Any,
    ) -> DatasetLoader[None, pl.DataFrame]:
        chosen = source or self.source()
        datasets = FinraDatasets(lambda _: chosen, lambda _: chosen)
        dataset = replace(engine_dataset(DATASET), write_disposition=self.write_disposition)
        artifacts = FolderStore(self.folder / "artifacts")
        return DatasetLoader(
            dataset,
            RecordedDeliveries(dataset, self.warehouse, artifacts, **recorded)
            if replay
            else SourceDeliveries(dataset, datasets, self.warehouse, self.clock, force, full, done),
            self.warehouse,
            artifacts,
            today=TODAY,
            run_id="run",
            max_reject_ratio=max_reject_ratio,
            scratch=self.folder / "scratch",
            is_reported=lambda *_: reported,
        )

    def load(
        self, source: Source | None = None, **options: Any
    ) -> LoadedPartition[None, pl.DataFrame]:
        """Load the partition as a run does, a day after what came before."""
        self.clock.at += timedelta(days=1)
        load = self.loader(source, **options)
        load.ready()
        return load.write_batch(load.take(KEY))

    def rows(self, table: Table, *names: str) -> list[tuple[Any, ...]]:
        columns = [table.c[name] for name in names]
        order = table.primary_key.columns
        return self.warehouse.frame(select(*columns).order_by(*order), table).rows()

    def trades(self) -> dict[str, int]:
        """Return the published trades by bond."""
        return dict(self.rows(DATASET.table, "cusip", "trade_count"))

    def count(self, table: Table) -> int:
        with self.warehouse.reading() as connection:
            return connection.execute(select(func.count()).select_from(table)).scalar_one()


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a database that has all tables and the dataset's, and no row: made once."""
    file = tmp_path_factory.mktemp("empty") / "x.sqlite"
    with Warehouse(f"sqlite:///{file}", clock=StoppedClock()) as warehouse:
        warehouse.prepare(holds="real")
        with warehouse.writing() as connection:
            own_metadata().create_all(connection)
    return file


@pytest.fixture
def bench(empty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    shutil.copy(empty, tmp_path)
    for name in child_environment():
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    finra = Finra(
        [record(APPLE), record(CISCO, trades=8)],
        published={"testDataset": [(WEEK, "EAST"), ("2026-01-12", "EAST")]},
        fields={field.name: field.kind for field in FIELDS},
    )
    clock = StoppedClock()
    http = make_client(tmp_path, "finra_test", max_attempts=1)
    url = f"sqlite:///{tmp_path}/x.sqlite"
    with FaultyServer(finra) as server, http, Warehouse(url, clock=clock) as warehouse:
        yield Bench(warehouse, tmp_path, http, clock, finra, server)


def many(count: int) -> list[dict[str, object]]:
    """Return records that differ in a text of the key."""
    return [record(APPLE, note=f"{number:05}") for number in range(count)]


def spoil(bench: Bench, of: Callable[[Request], bool], reply: Callable[[Reply], Reply]) -> None:
    bench.finra.spoil = lambda request, usual: reply(usual) if of(request) else usual


@pytest.mark.slow
def test_declared_rows_are_loaded_with_their_capture_and_once(bench):
    first = bench.load()
    assert str(first) == "2 rows added, 0 changed, 0 removed, 0 unchanged, 0 rejected; source api"
    assert bench.trades() == {APPLE: 7, CISCO: 8}
    [(capture_id,)] = bench.rows(captures, "capture_id")
    assert bench.rows(DATASET.table, "capture_id") == [(capture_id,)] * 2
    before = [bench.count(table) for table in (captures, landings, audits, DATASET.history)]
    again = bench.load()
    assert (str(again), again.earlier.run_id) == ("unchanged; source api", "run")
    after = [bench.count(table) for table in (captures, landings, audits, DATASET.history)]
    assert after == before == [1, 1, 8, 0]


@pytest.mark.slow
def test_pages_too_many_to_be_held_are_read_from_the_store(bench, monkeypatch):
    monkeypatch.setattr("orchestration_project.engine.source.RECORDS_HELD", 1)
    version = bench.load().source_version
    assert bench.trades() == {APPLE: 7, CISCO: 8}
    assert bench.load().source_version == version
    bench.finra.rows = [record(APPLE, trades=9), record(CISCO, trades=8)]
    assert bench.load().source_version != version  # by which the sensor requests it


def test_more_records_than_can_be_paged_to_are_refused_before_any_page(bench):
    spoil(
        bench,
        lambda request: request.method == "POST",
        lambda usual: Reply(200, usual.headers | {"Record-Total": "505001"}, usual.body),
    )
    with pytest.raises(SourceError, match="than one may page to") as refusal:
        bench.load()
    assert (refusal.value.expected, refusal.value.found) == (
        "at most 505000",
        "Record-Total 505001",
    )
    assert not any(is_page(request) for request in bench.server.requests)


def test_a_partition_is_asked_for_by_its_fields_in_an_order_that_makes_pages_certain(bench):
    bench.load()
    listing, probe, page = (
        request for request in bench.server.requests if "metadata" not in request.target
    )
    assert listing.target == "/partitions/group/testGroup/name/testDataset"
    assert probe.target == page.target == "/data/group/testGroup/name/testDataset"
    assert b'"sortFields":["bond","note"]' in page.body.replace(b" ", b"")
    assert b'{"fieldName":"region","fieldValue":"EAST","compareType":"EQUAL"}' in (
        page.body.replace(b" ", b"")
    )


def test_rows_that_a_declaration_chooses_are_asked_for_in_probe_and_pages(bench):
    bench.finra.rows = [record(APPLE, note="sums"), record(CISCO)]
    found = bench.source(declare(only_rows={"note": "sums"})).extract(EAST, [])
    assert found.record_total == 1
    requested = [request for request in bench.server.requests if request.method == "POST"]
    chosen = b'{"fieldName":"note","fieldValue":"sums","compareType":"EQUAL"}'
    assert len(requested) > 1
    assert all(chosen in request.body.replace(b" ", b"") for request in requested)


def test_a_group_that_needs_a_credential_names_it_when_it_refuses(bench):
    bench.finra.published = {"treasuryDailyAggregates": [("2026-01-05",)]}
    bench.finra.spoil = lambda *_: Reply(401, {}, b'{"message":"no"}')
    with pytest.raises(ConfigurationError, match="refuses access with HTTP 401") as refusal:
        bench.source(TREASURY_DAILY).partitions()
    assert refusal.value.expected == (
        "a credential, which FINRA's group fixedIncomeMarket needs and which is free"
    )
    assert "set FINRA_CLIENT_ID and FINRA_CLIENT_SECRET" in str(refusal.value.remedy)
    assert TREASURY_DAILY.access == "a free credential"


def test_what_is_restated_or_removed_leaves_the_table_and_stays_in_its_history(bench):
    bench.load()
    bench.finra.rows = [record(APPLE, trades=9), record(GOOGLE)]
    loaded = bench.load()
    assert str(loaded).startswith("1 rows added, 1 changed, 1 removed, 0 unchanged")
    assert bench.trades() == {APPLE: 9, GOOGLE: 7}
    kept = bench.rows(DATASET.history, "cusip", "trade_count", "change_cause")
    assert kept == [(APPLE, 7, "source"), (CISCO, 8, "source")]


def test_short_pages_are_followed_until_all_records_came(bench):
    bench.finra.rows = many(60)
    bench.finra.page_bytes = 1000
    bench.load()
    assert bench.count(DATASET.table) == 60
    assert bench.count(captures) > 2
    assert bench.load().write_result is None  # however the rows are spread, the state is the same
    bench.finra.page_bytes = 2000
    assert bench.load().write_result is None


def with_total(reply: Reply, total: int) -> Reply:
    return Reply(reply.status, {**reply.headers, "Record-Total": str(total)}, reply.body)


def test_record_counts_that_differ_between_pages_load_nothing(bench):
    spoil(bench, is_page, lambda reply: with_total(reply, 3))
    with pytest.raises(MovedError, match="the source changed while it was read"):
        bench.load()
    assert bench.trades() == {}


def test_rows_that_change_between_two_pages_are_read_again_until_they_hold_still(bench):
    bench.finra.rows, bench.finra.page_bytes = many(60), 1000
    pages: list[Request] = []

    def restate_after_the_first(request: Request, reply: Reply) -> Reply:
        if is_page(request):
            pages.append(request)
            if len(pages) == 1:
                bench.finra.rows = [{**row, "trades": 9} for row in many(60)]
        return reply

    bench.finra.spoil = restate_after_the_first
    bench.load()
    assert {trades for _, trades in bench.rows(DATASET.table, "note", "trade_count")} == {9}


REFUSALS = {
    "an HTML page": (
        Reply(403, {}, HTML),
        SourceError,
        "cannot be used",
    ),
    "no access": (Reply(403, {}, b'{"message":"no"}'), ConfigurationError, "refuses access"),
    "an error in a good answer": (
        Reply(200, {}, b'{"statusCode":500,"message":"x"}'),
        TransientError,
        "cannot be used",
    ),
    "nothing": (Reply(204, {}, b""), SourceError, "testDataset is empty for 2026-01-05 EAST"),
    "an empty body": (Reply(200, {}, b""), SourceError, "testDataset is empty for 2026-01-05 EAST"),
    "an empty list": (Reply(200, {}, b"[]"), SourceError, "testDataset is empty for 2026-01-05"),
}


@pytest.mark.slow_after_first
@pytest.mark.parametrize("answer", REFUSALS)
def test_a_response_without_data_is_refused_and_loaded_rows_stay(bench, answer: str):
    bench.load()
    reply, kind, said = REFUSALS[answer]
    spoil(bench, lambda request: request.method == "POST", lambda _: reply)
    with pytest.raises(OrchestrationError, match=said) as refused:
        bench.load()
    assert type(refused.value) is kind
    assert bench.trades() == {APPLE: 7, CISCO: 8}


def test_a_page_that_is_no_text_is_refused_and_its_bytes_are_kept(bench):
    spoil(bench, is_page, lambda reply: Reply(200, reply.headers, HTML))
    with pytest.raises(SourceError, match="cannot be used"):
        bench.load()
    assert bench.rows(captures, "row_count") == [(None,)]
    assert bench.trades() == {}


@pytest.mark.slow
def test_a_delivery_with_a_failed_audit_keeps_its_evidence(bench):
    bench.load()
    bench.finra.rows = [record(APPLE, trades="7.5"), record("037833101"), record(CISCO)]
    with pytest.raises(QuarantinedError, match="quarantined by has_few_rejects"):
        bench.load()
    assert bench.trades() == {APPLE: 7, CISCO: 8}
    codes = bench.rows(rejects, "reason_code")
    assert codes == [("fractional_quantity",), ("wrong_check_digit",)]


def test_a_quarantined_delivery_loads_by_replay_without_the_source(bench):
    bench.finra.rows = [record(APPLE, trades="7.5"), record(CISCO)]
    with pytest.raises(QuarantinedError):
        bench.load()
    requested = len(bench.server.requests)
    replayed = bench.load(replay=True, max_reject_ratio=0.5)
    assert str(replayed) == (
        "1 rows added, 0 changed, 0 removed, 0 unchanged, 1 rejected; source api"
    )
    assert bench.load(replay=True, max_reject_ratio=0.5).write_result is None
    assert len(bench.server.requests) == requested
    assert bench.trades() == {CISCO: 7}


@pytest.mark.slow
def test_a_change_that_no_event_reports_is_announced_by_the_next_load_in_its_words(bench):
    (first,) = bench.load().changes
    assert first.sentence == (
        f"{DATASET.table.name}, {KEY}: 2 rows added, 0 changed, 0 removed, 0 unchanged."
    )
    late = bench.load(reported="no")
    (change,) = late.changes
    assert change.sentence == (
        f"{first.sentence} (Reported late: run run, which loaded it, had not reported it.)"
    )
    assert (change.cause, change.figures, late.announced_until) == ("first", None, late.known_from)
    bench.finra.rows = [record(APPLE)]
    both = bench.load(reported="no")
    assert [change.cause for change in both.changes] == ["first", "source"]
    assert both.changes[0] == change
    assert both.changes[1].sentence.endswith("0 rows added, 0 changed, 1 removed, 1 unchanged.")
    assert bench.count(pending_announcements) == 2
    seen = bench.load(reported="yes")
    assert (list(seen.changes), seen.known_from) == ([], both.known_from)
    assert bench.count(pending_announcements) == 0


@pytest.mark.slow
def test_a_running_run_is_left_to_announce_its_load_unless_that_is_replaced(bench):
    bench.load()
    left = bench.load(reported="not yet")
    assert (left.changes, left.known_from, left.announced_until) == ((), None, None)
    bench.finra.rows = [record(APPLE)]
    replaced = bench.load(reported="not yet")
    assert [change.cause for change in replaced.changes] == ["first", "source"]


def everything(bench: Bench) -> dict[str, list[tuple[Any, ...]]]:
    kept = [table for table in METADATA.tables.values() if table is not pending_announcements]
    tables = [*kept, DATASET.table, DATASET.history]
    return {table.name: bench.warehouse.frame(select(table), table).rows() for table in tables}


@pytest.mark.slow
def test_a_replay_by_the_same_rules_writes_nothing_and_by_newer_ones_what_is_ours(bench):
    bench.load()
    before = everything(bench)
    assert str(bench.load(replay=True)) == "unchanged; source api"
    assert everything(bench) == before
    trades = bench.trades()
    with bench.warehouse.writing() as connection:
        connection.execute(update(DATASET.table).values(trade_count=1))
        connection.execute(update(landings).values(rule_version="older"))
        connection.execute(update(fences).values(landed_rule_version="older"))
    loaded = bench.load(replay=True).write_result
    assert loaded
    assert (loaded.change_cause, loaded.rows_changed, loaded.rows_added) == ("ours", 2, 0)
    assert bench.trades() == trades
    history = bench.rows(DATASET.history, "trade_count", "change_cause", "rule_version")
    assert history == [(1, "ours", DATASET.declared.rule_version)] * 2


@pytest.mark.slow
def test_an_older_delivery_is_published_again_only_when_asked_and_a_blob_that_is_gone_is_named(
    bench,
):
    bench.load()
    first = bench.trades()
    bench.finra.rows = [record(CISCO)]
    bench.load()
    group = f"{DATASET.table.name}:{KEY}#1"
    with pytest.raises(ConfigurationError, match="#1 is older than what is loaded"):
        bench.load(replay=True, group_id=group)
    older = bench.load(replay=True, group_id=group, allow_older=True).write_result
    assert older
    assert older.change_cause == "ours"
    assert bench.trades() == first
    for file in (bench.folder / "artifacts").rglob("*.zst"):
        file.unlink()
    before = everything(bench)
    with pytest.raises(BlobError, match=r"blobs/.*\.zst"):
        bench.load(replay=True)
    assert everything(bench) == before


def test_fields_that_are_closed_to_anonymous_callers_stop_no_load(bench):
    bench.finra.spoil = lambda request, reply: (
        Reply(401, {}, b'{"message": "no"}') if request.target.startswith("/metadata") else reply
    )
    load = bench.loader()
    load.ready()
    assert (load.fields.differences, load.fields.listed_count) == ((), None)
    assert load.write_batch(load.take(KEY)).row_count == 2
    assert bench.count(source_fields) == 0


def test_a_new_field_is_reported_and_a_missing_one_refused_early(bench):
    bench.finra.fields = {**bench.finra.fields, "spread": "Number"}
    load = bench.loader()
    load.ready()
    [new] = load.fields.differences
    assert (new.field_name, new.what, new.listed) == ("spread", "new", "Number")
    assert bench.count(source_fields) == len(FIELDS) + 1
    del bench.finra.fields["volume"]
    requested = len(bench.server.requests)
    with pytest.raises(ContractError, match="testDataset lacks volume") as refused:
        bench.loader().ready()
    assert "nothing was requested and nothing loaded" in str(refused.value)
    assert [request.method for request in bench.server.requests[requested:]] == ["GET"]


@pytest.mark.slow
def test_an_interrupted_load_leaves_no_row_and_the_next_commits(bench):
    bench.loader().take(KEY)
    assert [bench.count(table) for table in (captures, landings, DATASET.table)] == [0, 0, 0]
    bench.load()
    assert bench.trades() == {APPLE: 7, CISCO: 8}


def test_the_slower_of_two_loads_cannot_overwrite_the_other(bench):
    slower = bench.loader()
    taken = slower.take(KEY)
    bench.finra.rows = [record(APPLE, trades=9)]
    bench.load()
    with pytest.raises(SupersededError):
        slower.write_batch(taken)
    assert bench.trades() == {APPLE: 9}


@dataclass
class VersionedSource(Source):
    """A source that gives versions, and counts how often it is read."""

    source: Source
    text: str = "v1"
    reads: int = 0

    @property
    def name(self) -> str:
        return self.source.name

    def partitions(self, since: date | None = None) -> PartitionList:
        return self.source.partitions()

    def version(self, partition: Partition) -> SourceVersion:
        return SourceVersion(self.text, DATASET.name)

    def extract(self, partition: Partition, captures: list[Capture]) -> Extraction:
        self.reads += 1
        return self.source.extract(partition, captures)


def test_a_source_that_gives_versions_is_read_for_another_version_or_in_full_alone(bench):
    source, done = VersionedSource(bench.source()), frozenset([KEY])
    assert bench.load(source).write_result
    assert (str(bench.load(source)), source.reads) == ("unchanged; source api", 1)
    in_full = bench.load(source, full=True).write_result
    assert in_full
    assert (in_full.change_cause, source.reads) == ("none", 2)
    assert (bench.load(source, full=True, done=done).write_result, source.reads) == (None, 2)
    bench.finra.rows, source.text = [record(APPLE, trades=9)], "v2"
    assert bench.load(source, full=True, done=done).write_result
    assert (bench.trades(), source.reads) == ({APPLE: 9}, 3)
    assert bench.rows(landings, "source_version") == [("v1",), ("v1",), ("v2",)]


@pytest.mark.parametrize(
    ("key", "kind", "said"),
    [
        ("EAST|2025-12-29", SourceError, "testDataset of 2025-12-29 EAST is not published"),
        ("NORTH|2026-01-05", ConfigurationError, "finra_test_dataset has no partition NORTH"),
    ],
)
def test_a_partition_that_there_is_not_is_refused(bench, key, kind, said):
    with pytest.raises(kind, match=said):
        bench.loader().take(key)


def file_of(records: Sequence[dict[str, object]]) -> str:
    names = [field.name for field in FIELDS]
    texts = [["" if row[name] is None else str(row[name]) for name in names] for row in records]
    lines = ["|".join(text) for text in texts]
    return "\n".join(["|".join(names), *lines]) + "\n"


def test_a_file_replaces_another_source_only_if_forced(bench):
    folder = bench.folder / "feed"
    folder.mkdir()
    source = folder_source(
        Folder(folder, "FINRA_BONDS_FILES_DIR"),
        Captures(FolderStore(bench.folder / "artifacts")),
        bench.clock,
        DATASET,
    )
    with pytest.raises(SourceError, match="no file holds finra_test_dataset of 2026-01-05 EAST"):
        bench.load(source)
    (folder / "finra_test_dataset_EAST_20260105.csv").write_text(file_of([record(GOOGLE)]))
    assert source.partitions().known == [Partition(date.fromisoformat(WEEK), "EAST")]
    assert str(bench.load(source)).endswith("source files")
    assert bench.trades() == {GOOGLE: 7}
    with pytest.raises(ConfigurationError, match="was loaded from another source"):
        bench.load()
    bench.load(force=True)
    assert bench.trades() == {APPLE: 7, CISCO: 8}


def test_a_file_that_ends_within_a_line_is_not_taken_for_a_whole_one(bench):
    folder = bench.folder / "feed"
    folder.mkdir()
    whole = file_of([record(APPLE), record(CISCO)])
    (folder / "finra_test_dataset_EAST_20260105.csv").write_text(whole[:-12])
    captures_store = Captures(FolderStore(bench.folder / "artifacts"))
    source = folder_source(
        Folder(folder, "FINRA_BONDS_FILES_DIR"), captures_store, bench.clock, DATASET
    )
    with pytest.raises(TransientError, match="ends within a line"):
        bench.load(source)
    assert bench.trades() == {}
    assert bench.rows(captures, "fetched_at")[0][0] > NOON


# Write dispositions of a declared dataset, and their replay


def give(bench: Bench, disposition: WriteDisposition, *rows: dict[str, object]) -> None:
    """Load these rows, written in this way."""
    bench.write_disposition, bench.finra.rows = disposition, list(rows)
    bench.load()


@pytest.mark.slow
def test_a_dataset_that_merges_keeps_rows_that_a_delivery_lacks_and_so_does_its_replay(bench):
    give(bench, "merge", record(APPLE), record(CISCO, trades=8))
    give(bench, "merge", record(CISCO, trades=9), record(GOOGLE))
    assert bench.trades() == {APPLE: 7, CISCO: 9, GOOGLE: 7}
    assert bench.rows(deliveries, "write_disposition") == [("merge",)] * 2
    known = bench.rows(DATASET.table, "cusip", "known_from", "capture_id")
    assert bench.load(replay=True).write_result is None
    assert bench.rows(DATASET.table, "cusip", "known_from", "capture_id") == known


def test_a_quarantined_merge_is_replayed_after_loaded_ones(bench):
    give(bench, "merge", record(APPLE), record(CISCO, trades=8))
    with pytest.raises(QuarantinedError, match="has_few_rejects"):
        give(bench, "merge", record(CISCO, trades=9), record(GOOGLE, trades="7.5"))
    assert bench.trades() == {APPLE: 7, CISCO: 8}
    loaded = bench.load(replay=True, max_reject_ratio=0.5)
    assert str(loaded).startswith("0 rows added, 1 changed, 0 removed, 1 unchanged, 1 rejected")
    assert bench.trades() == {APPLE: 7, CISCO: 9}
    fetched = dict(bench.rows(captures, "capture_id", "sha256"))
    sources = [fetched[each] for (each,) in bench.rows(DATASET.table, "capture_id")]
    [rejected] = bench.rows(rejects, "capture_id", "line_number")[-1:]
    first, second = dict.fromkeys(
        sha for _, sha in sorted(bench.rows(captures, "fetched_at", "sha256"))
    )
    assert sources == [first, second]  # each row leads to the bytes that it was read from
    assert fetched[rejected[0]] == second


def test_whole_deliveries_and_merges_are_replayed_in_their_order_each_as_it_was_written(bench):
    give(bench, "replace_scope", record(APPLE), record(CISCO, trades=8))
    give(bench, "merge", record(CISCO, trades=9))
    bench.write_disposition = "replace_scope"  # of the dataset, from now on
    assert bench.load(replay=True).write_result is None
    assert bench.trades() == {APPLE: 7, CISCO: 9}
    give(bench, "replace_scope", record(GOOGLE))
    assert bench.load(replay=True).write_result is None
    assert bench.trades() == {GOOGLE: 7}


def test_a_merge_that_is_replayed_alone_leaves_the_rows_of_others(bench):
    give(bench, "merge", record(APPLE), record(CISCO, trades=8))
    give(bench, "merge", record(CISCO, trades=9), record(GOOGLE))
    first = f"{DATASET.table.name}:{KEY}#1"
    with pytest.raises(ConfigurationError, match="is older than what is loaded"):
        bench.load(replay=True, group_id=first)
    bench.write_disposition = "replace_scope"
    bench.load(replay=True, group_id=first, allow_older=True)
    assert bench.trades() == {APPLE: 7, CISCO: 8, GOOGLE: 7}


def test_a_dataset_that_appends_takes_no_other_values_and_replays_all_that_it_has(bench):
    give(bench, "append", record(APPLE))
    give(bench, "append", record(CISCO))
    assert bench.trades() == {APPLE: 7, CISCO: 7}
    with pytest.raises(QuarantinedError, match="keeps_loaded_rows"):
        give(bench, "append", record(APPLE, trades=9), record(GOOGLE))
    assert bench.trades() == {APPLE: 7, CISCO: 7}
    first = f"{DATASET.table.name}:{KEY}#1"
    assert bench.load(replay=True, group_id=first, allow_older=True).write_result is None
