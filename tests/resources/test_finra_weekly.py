"""One week and tier, all the way from a source to the loaded tables."""

import hashlib
import threading
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

from orchestration_project.domains.finra.audits import PLAUSIBILITY
from orchestration_project.domains.finra.contract import FILE_FIELDS
from orchestration_project.domains.finra.tables.weekly import finra_otc_weekly
from orchestration_project.engine.captures import Captures
from orchestration_project.engine.connections.artifacts import FolderStore
from orchestration_project.engine.contracts.partitioning import Partition
from orchestration_project.engine.warehouse import QuarantinedError, Warehouse
from orchestration_project.engine.warehouse.target import BOOKKEEPING
from orchestration_project.errors import ConfigurationError, MovedError
from orchestration_project.resources.finra.api import FinraApi
from orchestration_project.resources.finra.files import FinraFiles
from orchestration_project.resources.finra.query_api import QueryApi
from orchestration_project.settings import child_environment
from orchestration_project.tables.spine import audits, captures, fences, landings, rejects
from tests.bad_input import BYTES, promise
from tests.faulty_server import FaultyServer
from tests.http_clients import make_client
from tests.resources.finra_server import TIER, TOKEN_PATH, WEEK, Finra, is_page, record
from tests.resources.weeks import StoppedClock, from_source, week_load

KEY = f"{TIER}|{WEEK}"


def week(**shares: int) -> list[dict[str, object]]:
    """Return FINRA's records of these symbols: a firm's row and the symbol's total for each."""
    quantities = [(symbol, {"totalWeeklyShareQuantity": n}) for symbol, n in shares.items()]
    total = {"summaryTypeCode": "ATS_W_SMBL", "MPID": None, "firmCRDNumber": None}
    return [
        sold
        for symbol, quantity in quantities
        for sold in (record(symbol, **quantity), record(symbol, **total, **quantity))
    ]


@pytest.fixture
def warehouse(tmp_path, prepared) -> Iterator[Warehouse]:
    with Warehouse(prepared.sqlite(tmp_path / "x.sqlite"), clock=StoppedClock()) as opened:
        opened.prepare(holds="real")
        yield opened


@pytest.fixture
def load_of(tmp_path, warehouse, monkeypatch):
    """Give the load from a FINRA that a test describes, and the requests that FINRA saw."""
    for name in child_environment():
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    opened = []

    def load_of(finra, **how):
        server = FaultyServer(finra).__enter__()
        http = make_client(tmp_path, "finra_test", max_attempts=5, wait_seconds=0.5)
        opened.extend([http, server])
        store = FolderStore(tmp_path / "artifacts")
        api = FinraApi(
            QueryApi(
                http,
                Captures(store),
                StoppedClock(),
                name="api",
                api_url=server.url,
                token_url=server.url + TOKEN_PATH,
                credentials=None,
                concurrent_requests=4,
            )
        )
        return week_load(api, warehouse, store, tmp_path / "scratch", **how), server.requests

    yield load_of
    for connection in opened:
        connection.__exit__(None, None, None)


def loaded(load):
    return load.write_batch(load.take(KEY))


def hash_of(folder, staged_name):
    return hashlib.sha256((folder / "artifacts" / staged_name).read_bytes()).hexdigest()


def test_a_week_is_loaded_staged_and_said_to_be_unchanged_the_next_time(
    load_of, partition_loader, tmp_path
):
    load, requests = load_of(Finra(week(AAA=100, NA=7)))
    first = loaded(load)
    assert str(first) == "2 rows added, 0 changed, 0 removed, 0 unchanged, 0 rejected; source api"
    assert partition_loader.quantities() == {"AAA": 100, "NA": 7}
    assert first.row_counts == {
        "finra_otc_weekly": 2,
        "finra_symbol_week": 2,
        "finra_venue_week": 1,
    }
    staged = pl.read_parquet(tmp_path / "artifacts" / first.staged_name)
    assert staged["symbol"].to_list() == ["AAA", "NA"]
    assert set(staged.columns) == set(finra_otc_weekly.columns.keys()) - set(BOOKKEEPING)
    assert partition_loader.rows(landings, "content_sha256") == [
        (hash_of(tmp_path, first.staged_name),)
    ]
    assert Path(first.staged_name).stem == hash_of(tmp_path, first.staged_name)
    requested = len(requests)
    again = loaded(load)
    assert (str(again), again.row_counts) == ("unchanged; source api", first.row_counts)
    assert len(requests) == requested + 1  # the probe
    assert partition_loader.count(landings) == 1


def test_a_full_load_reads_what_did_not_change_and_writes_no_row(load_of, partition_loader):
    finra = Finra(week(AAA=100))
    loaded(load_of(finra)[0])
    load, _ = load_of(finra, full=True)
    assert (
        str(loaded(load))
        == "0 rows added, 0 changed, 0 removed, 1 unchanged, 0 rejected; source api"
    )
    assert partition_loader.rows(landings, "change_cause") == [("first",), ("none",)]


@pytest.mark.slow
@pytest.mark.parametrize("rows_at_once", [1_000, 2])
def test_a_remnant_of_a_loaded_week_is_quarantined(load_of, partition_loader, rows_at_once: int):
    whole = dict.fromkeys(("AAA", "BBB", "CCC", "DDD", "EEE", "FFF"), 100)
    loaded(load_of(Finra(week(**whole)), rows_at_once=rows_at_once)[0])
    remnant = load_of(Finra(week(AAA=100, BBB=100, CCC=101)), full=True, rows_at_once=rows_at_once)
    with pytest.raises(QuarantinedError, match="at least 5 of the 6 loaded keys"):
        loaded(remnant[0])
    assert partition_loader.quantities() == whole
    restated = load_of(Finra(week(**{**whole, "GGG": 7, "FFF": 99})), full=True)
    assert str(loaded(restated[0])).startswith("1 rows added, 1 changed, 0 removed, 5 unchanged")


@pytest.mark.slow
def test_a_week_too_large_to_be_held_is_the_same_week(load_of, partition_loader, tmp_path):
    shares = {f"S{number}": number for number in range(9)}
    in_ranges = {"rows_at_once": 4}
    finra = Finra(week(**shares))
    first = loaded(load_of(finra, **in_ranges)[0])
    assert str(first) == (
        "9 rows added, 0 changed, 0 removed, 0 unchanged, 0 rejected; source api; "
        "unusual: has_shares_where_it_has_trades"
    )
    assert partition_loader.quantities() == shares
    tables = ("finra_otc_weekly", "finra_symbol_week", "finra_venue_week")
    assert first.row_counts == dict(zip(tables, (9, 9, 1), strict=True))
    staged = pq.ParquetFile(tmp_path / "artifacts" / first.staged_name)
    assert staged.metadata.num_row_groups == 9
    assert staged.read().column("symbol").to_pylist() == list(shares)
    assert partition_loader.rows(landings, "content_sha256") == [
        (hash_of(tmp_path, first.staged_name),)
    ]
    assert Path(first.staged_name).stem == hash_of(tmp_path, first.staged_name)
    assert list(first.preview.largest["finra_otc_weekly"]["share_quantity"]) == [*range(8, -1, -1)]
    assert list(first.preview.largest["finra_symbol_week"]["symbol"])[:2] == ["S8", "S7"]
    assert [change.sentence for change in first.changes] == [
        f"New week loaded: {TIER}, week {WEEK}: 9 rows of 9 symbols, 36 shares in 9 trades."
    ]
    again = loaded(load_of(finra, full=True, **in_ranges)[0])
    assert (again.write_result.change_cause, again.write_result.rows_unchanged) == ("none", 9)
    assert again.staged_name == first.staged_name
    finra.rows = week(**shares | {"S3": 50})
    restated = loaded(load_of(finra, full=True, **in_ranges)[0])
    assert (restated.write_result.rows_changed, restated.write_result.rows_unchanged) == (1, 8)
    finra.rows = week(**shares | {"S3": 100})
    at_once = loaded(load_of(finra, full=True)[0])  # by a process that has more room
    assert (at_once.write_result.rows_changed, at_once.write_result.rows_unchanged) == (1, 8)
    assert list((tmp_path / "scratch").iterdir()) == []


def test_pages_too_many_to_be_held_are_read_from_the_store(load_of, partition_loader, monkeypatch):
    monkeypatch.setattr("orchestration_project.engine.source.RECORDS_HELD", 3)
    load, _ = load_of(Finra(week(AAA=100, BBB=5)))
    finra = load.deliveries.resource
    version = finra.version(Partition(date.fromisoformat(WEEK), TIER))
    kept = finra.extract_version(Partition(date.fromisoformat(WEEK), TIER), version, [])
    assert [capture.body for capture in kept] == [b""] * len(kept)
    loaded(load)
    assert partition_loader.quantities() == {"AAA": 100, "BBB": 5}


def test_a_week_too_large_to_be_held_or_put_on_disk_leaves_its_bytes(
    load_of, partition_loader, tmp_path
):
    (tmp_path / "scratch").touch()
    promised = promise("test_a_week_too_large_to_be_held_or_put_on_disk_leaves_its_bytes")
    with pytest.raises(ConfigurationError) as refusal:
        load_of(Finra(week(AAA=100, BBB=5)), rows_at_once=1)[0].take(KEY)
    assert promised.is_seen_in(str(refusal.value))
    assert promised.kept == BYTES
    assert (partition_loader.count(captures), partition_loader.count(landings)) == (1, 0)


def test_a_week_in_ranges_that_does_not_add_up_is_quarantined(load_of, partition_loader):
    rows = week(AAA=100, BBB=5, CCC=7)
    rows[3] = record("BBB", summaryTypeCode="ATS_W_SMBL", totalWeeklyShareQuantity=6)
    with pytest.raises(QuarantinedError, match=r"1 of 3 .*BBB"):
        loaded(load_of(Finra(rows), rows_at_once=2)[0])
    assert partition_loader.count(finra_otc_weekly) == 0
    assert partition_loader.count(audits) == 16


def moving(moves):
    """Give a FINRA that restates the week while each of its first ``moves`` pages is read."""
    finra = Finra(week(AAA=100))

    def move(request, reply):
        nonlocal moves
        if is_page(request) and moves:
            moves -= 1
            finra.rows = week(**{f"S{n}": 1 for n in range(moves + 1)})
        return reply

    finra.spoil = move
    return finra


def test_a_source_that_moves_and_settles_is_read_again(load_of, partition_loader):
    load, _ = load_of(moving(2))
    assert loaded(load).source_version == "weeklySummary: 2 records, updated 2025-12-01"
    assert partition_loader.quantities() == {"S0": 1}
    assert partition_loader.rows(landings, "source_version") == [
        ("weeklySummary: 2 records, updated 2025-12-01",)
    ]
    assert partition_loader.count(captures) == 3


def test_a_source_that_never_settles_is_transient_and_publishes_nothing(load_of, partition_loader):
    load, _ = load_of(moving(100))
    with pytest.raises(MovedError) as moved:
        load.take(KEY)
    assert moved.value.is_retryable
    assert partition_loader.count(finra_otc_weekly) == 0
    assert partition_loader.count(captures) == 3
    assert partition_loader.rows(fences, "token", "source_version") == [(1, None)]


def test_rows_that_do_not_add_up_are_quarantined_with_their_evidence(load_of, partition_loader):
    rows = week(AAA=100, BBB=5)
    rows[3] = record("BBB", summaryTypeCode="ATS_W_SMBL", totalWeeklyShareQuantity=6)
    load, _ = load_of(Finra(rows))
    with pytest.raises(QuarantinedError, match="quarantined by reconciles_with_symbol_totals"):
        loaded(load)
    assert partition_loader.count(finra_otc_weekly) == 0
    verdicts = dict(partition_loader.rows(audits, "name", "outcome"))
    assert verdicts == {
        "has_all_rows_of_record_total": "passed",
        "holds_only_its_week_and_tier": "passed",
        "has_unique_keys": "passed",
        "reconciles_with_symbol_totals": "failed",
        "has_few_rejects": "passed",
        "has_firm_rows": "passed",
        "is_complete": "not_applicable",
        "is_of_usual_size": "not_applicable",
        "has_all_large_venues": "not_applicable",
        **dict.fromkeys(PLAUSIBILITY, "passed"),
        "is_not_a_copy": "not_applicable",
    }


def test_a_bad_row_is_rejected_with_its_place_others_are_loaded(load_of, partition_loader):
    bad = record("  ", MPID="YATS", totalWeeklyShareQuantity=1)
    total = record("  ", summaryTypeCode="ATS_W_SMBL", totalWeeklyShareQuantity=1)
    load, _ = load_of(Finra([bad, total, *week(AAA=100)]), max_reject_ratio=0.5)
    loaded(load)
    assert partition_loader.quantities() == {"AAA": 100}
    assert partition_loader.rows(rejects, "line_number", "reason_code") == [
        (2, "blank_symbol"),
        (3, "blank_symbol"),
    ]


@pytest.mark.slow
def test_a_partition_from_another_source_is_replaced_by_force_alone(
    load_of, partition_loader, tmp_path
):
    loaded(load_of(Finra(week(AAA=100)))[0])
    name = "finra_otc_weekly_tier1_20251201.csv"
    (tmp_path / "files").mkdir()
    lines = ["|".join(FILE_FIELDS), "NMS Tier 1|BBB|Bbb|Xats|XATS|7|1|2025-12-01"]
    (tmp_path / "files" / name).write_text("\n".join(lines))
    captures = Captures(FolderStore(tmp_path / "artifacts"))
    files = FinraFiles(tmp_path / "files", captures, StoppedClock())
    load, _ = load_of(Finra(week()))
    with pytest.raises(ConfigurationError, match="was loaded from another source") as refusal:
        from_source(load, files).take(KEY)
    assert (refusal.value.expected, refusal.value.found) == ("more from api", "FINRA_SOURCE=files")
    loaded(from_source(load, files, force=True))
    assert partition_loader.quantities() == {"BBB": 7}
    assert partition_loader.rows(landings, "source", "scope") == [
        ("api", "tier=T1,week_start=2025-11-10"),
        ("files", "tier=T1,week_start=2025-11-10,market=ATS"),
    ]


@pytest.mark.parametrize("key", ["T1|2025-11-11", "T9|2025-11-10", "T1", "T1|2026-01-05"])
def test_a_partition_that_there_is_not_is_refused_before_anything_is_asked(load_of, key):
    load, requests = load_of(Finra(week(AAA=1)))
    with pytest.raises(ConfigurationError, match="invalid partition"):
        load.take(key)
    assert requests == []


@pytest.mark.slow
def test_the_next_week_may_be_fetched_while_one_is_loaded(load_of, partition_loader):
    weeks = ["2025-11-10", "2025-11-03", "2025-10-27"]
    finra = Finra(
        [{**sold, "weekStartDate": monday} for monday in weeks for sold in week(AAA=100, BBB=1)],
        published={"weeklySummary": [(monday, TIER) for monday in weeks],
                   "weeklySummaryHistoric": []},
    )  # fmt: skip
    load, _ = load_of(finra)
    taken = load.take(f"{TIER}|{weeks[0]}")
    ahead = []
    for monday in [*weeks[1:], None]:
        thread = threading.Thread(
            target=lambda monday=monday: ahead.append(load.take(f"{TIER}|{monday}"))
        )
        if monday:
            thread.start()
        load.write_batch(taken)
        if monday:
            thread.join()
            taken = ahead.pop()
    assert partition_loader.count(finra_otc_weekly) == 6
    assert partition_loader.count(landings) == 3
