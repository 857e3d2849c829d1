"""Deliveries become published rows, with their history and their evidence."""

import itertools
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, insert, select, union_all

from orchestration_project.domains.finra.tables.weekly import (
    finra_otc_weekly,
    finra_otc_weekly_history,
    finra_symbol_week,
    finra_venue_week,
)
from orchestration_project.engine.captures import Captures
from orchestration_project.engine.connections.artifacts import FolderStore
from orchestration_project.engine.contracts.chain import hash_content
from orchestration_project.engine.contracts.values import derive_schema
from orchestration_project.engine.packs import Blob
from orchestration_project.engine.warehouse import (
    QuarantinedError,
    SupersededError,
    Transform,
    Warehouse,
)
from orchestration_project.engine.warehouse.frames import (
    insert_absent,
    insert_frame,
    validate_frame,
)
from orchestration_project.errors import ContractError
from orchestration_project.tables.spine import (
    audits,
    blobs,
    captures,
    database_labels,
    fences,
    landings,
    rejects,
)
from tests.resources.weeks import (
    BOTH,
    FAILED,
    MONDAY,
    NOON,
    PASSED,
    PUBLISHED,
    WARNED,
    PartitionLoader,
    StoppedClock,
    rejected,
    row,
)

MICROSECOND = timedelta(microseconds=1)
COUNTS = ("rows_added", "rows_changed", "rows_removed", "rows_unchanged")


def counts(loaded):
    return tuple(getattr(loaded, name) for name in COUNTS)


# What a load writes


@pytest.mark.slow
@pytest.mark.slow_on_postgresql
def test_a_delivery_that_changes_a_few_of_many_rows_gives_what_replacing_all_would(
    partition_loader,
):
    many = [row(f"S{number:02}", "XATS") for number in range(40)]
    partition_loader.write_batch(*many)
    new, changed, dated = (
        row("NEW", "XATS"),
        row("S01", "XATS", share_quantity=7),
        row("S02", "XATS", last_update_date=PUBLISHED + timedelta(days=1)),
    )
    loaded = partition_loader.write_batch(new, changed, dated, *many[4:], version="v2")
    assert counts(loaded) == (1, 2, 2, 36)
    assert partition_loader.rows(finra_otc_weekly, "symbol", "share_quantity", "known_from") == [
        ("NEW", 100, loaded.known_from),
        ("S01", 7, loaded.known_from),
        ("S02", 100, loaded.known_from),
        *((f"S{number:02}", 100, NOON) for number in range(4, 40)),
    ]
    assert partition_loader.rows(
        finra_otc_weekly_history, "symbol", "share_quantity", "change_cause"
    ) == [
        ("S00", 100, "source"),
        ("S01", 100, "source"),
        ("S02", 100, "metadata"),
        ("S03", 100, "source"),
    ]
    assert (
        sum(shares for (shares,) in partition_loader.rows(finra_venue_week, "share_quantity"))
        == 3807
    )


@pytest.mark.slow_after_first
def test_a_first_delivery_is_published_with_its_gold_and_its_evidence(partition_loader):
    loaded = partition_loader.write_batch(
        row("AAA", "XATS"), row("BBB", "XATS"), row("BBB", "YATS")
    )
    assert (loaded.change_cause, counts(loaded)) == ("first", (3, 0, 0, 0))
    assert loaded.known_from == NOON
    assert partition_loader.rows(
        finra_otc_weekly, "symbol", "venue_id", "share_quantity", "known_from"
    ) == [
        ("AAA", "XATS", 100, NOON),
        ("BBB", "XATS", 100, NOON),
        ("BBB", "YATS", 100, NOON),
    ]
    assert partition_loader.rows(
        finra_symbol_week, "symbol", "total_share_quantity", "hhi_lower"
    ) == [
        ("AAA", 100, 1.0),
        ("BBB", 200, 0.5),
    ]
    assert partition_loader.rows(finra_venue_week, "venue_id", "share_quantity", "rank") == [
        ("XATS", 200, 1),
        ("YATS", 100, 2),
    ]
    assert partition_loader.count(finra_otc_weekly_history) == 0
    assert partition_loader.rows(
        landings, "group_id", "scope", "partition_key", "source", "source_version", *COUNTS
    ) == [
        (
            "finra_otc_weekly:T1|2025-11-10#1",
            "tier=T1,week_start=2025-11-10",
            "T1|2025-11-10",
            "api",
            "v1",
            *(3, 0, 0, 0),
        )
    ]
    assert partition_loader.rows(fences, "scope_key", "token", "known_from", "source_version") == [
        ("T1|2025-11-10", 1, NOON, "v1")
    ]


@pytest.mark.slow_on_postgresql
def test_the_same_content_again_is_recorded_and_writes_no_data(partition_loader):
    first = partition_loader.write_batch(row("AAA"), row("BBB"))
    before = partition_loader.warehouse.frame(select(finra_otc_weekly), finra_otc_weekly)
    again = partition_loader.write_batch(row("AAA"), row("BBB"), version="v2")
    assert (again.change_cause, counts(again)) == ("none", (0, 0, 0, 2))
    assert again.derived_seconds == {}
    after = partition_loader.warehouse.frame(select(finra_otc_weekly), finra_otc_weekly)
    assert after.equals(before)  # their capture and known_from too: nothing was written
    assert set(after["known_from"]) == {first.known_from}
    assert partition_loader.count(finra_otc_weekly_history) == 0
    assert partition_loader.rows(landings, "change_cause", "source_version", "rows_unchanged") == [
        ("first", "v1", 0),
        ("none", "v2", 2),
    ]
    assert (
        partition_loader.warehouse.state(
            finra_otc_weekly, partition_loader.partition_key
        ).source_version
        == "v2"
    )


@pytest.mark.slow
@pytest.mark.slow_on_postgresql
def test_what_changed_came_or_went_is_kept_as_history_with_its_time_and_cause(
    partition_loader, clock
):
    partition_loader.write_batch(row("STAYS"), row("CHANGES"), row("GOES"))
    clock.at = NOON + timedelta(days=7)
    loaded = partition_loader.write_batch(
        row("STAYS"), row("CHANGES", share_quantity=150), row("COMES"), version="v2"
    )
    assert (loaded.change_cause, counts(loaded)) == ("source", (1, 1, 1, 1))
    assert partition_loader.rows(finra_otc_weekly, "symbol", "share_quantity", "known_from") == [
        ("CHANGES", 150, clock.at),
        ("COMES", 100, clock.at),
        ("STAYS", 100, NOON),
    ]
    assert partition_loader.rows(
        finra_otc_weekly_history,
        "symbol",
        "share_quantity",
        "known_from",
        "known_to",
        "change_cause",
        "rule_version",
    ) == [
        ("CHANGES", 100, NOON, clock.at, "source", "1"),
        ("GOES", 100, NOON, clock.at, "source", "1"),
    ]
    assert partition_loader.rows(finra_symbol_week, "symbol", "total_share_quantity") == [
        ("CHANGES", 150),
        ("COMES", 100),
        ("STAYS", 100),
    ]


@pytest.mark.slow
@pytest.mark.slow_on_postgresql
def test_a_change_of_the_sources_dates_alone_is_metadata(partition_loader):
    partition_loader.write_batch(row("AAA"), row("BBB"))
    loaded = partition_loader.write_batch(
        row("AAA", last_update_date=date(2026, 2, 2)), row("BBB"), version="v2"
    )
    assert (loaded.change_cause, counts(loaded)) == ("metadata", (0, 1, 0, 1))
    assert partition_loader.rows(
        finra_otc_weekly_history, "symbol", "last_update_date", "change_cause"
    ) == [("AAA", PUBLISHED, "metadata")]


@pytest.mark.slow_on_postgresql
def test_a_row_whose_values_stay_is_metadata_also_beside_one_whose_values_change(partition_loader):
    partition_loader.write_batch(row("AAA"), row("BBB"))
    newer = date(2026, 2, 2)
    loaded = partition_loader.write_batch(
        row("AAA", last_update_date=newer),
        row("BBB", last_update_date=newer, trade_count=2),
        version="v2",
    )
    assert (loaded.change_cause, counts(loaded)) == ("source", (0, 2, 0, 0))
    assert partition_loader.rows(finra_otc_weekly_history, "symbol", "change_cause") == [
        ("AAA", "metadata"),
        ("BBB", "source"),
    ]


@pytest.mark.slow_after_first
def test_a_change_by_our_rules_alone_is_ours(partition_loader):
    partition_loader.write_batch(row("AAA", issue_name="Aaa"))
    loaded = partition_loader.write_batch(row("AAA", issue_name="AAA"), rule_version="2")
    assert loaded.change_cause == "ours"
    assert partition_loader.rows(finra_otc_weekly_history, "change_cause", "rule_version") == [
        ("ours", "2")
    ]


@pytest.mark.slow_on_postgresql
def test_a_change_of_the_source_is_not_ours_although_the_rules_changed_too(partition_loader):
    partition_loader.write_batch(row("AAA"))
    loaded = partition_loader.write_batch(
        row("AAA", share_quantity=1), rule_version="2", version="v2"
    )
    assert loaded.change_cause == "source"


@pytest.mark.slow_after_first
def test_new_rules_that_change_no_row_derive_again_and_keep_rows(partition_loader):
    first = partition_loader.write_batch(row("AAA"))
    loaded = partition_loader.write_batch(row("AAA"), rule_version="2")
    assert (loaded.change_cause, counts(loaded)) == ("none", (0, 0, 0, 1))
    assert set(loaded.derived_seconds) == {"finra_symbol_week", "finra_venue_week"}
    assert partition_loader.rows(finra_otc_weekly, "known_from") == [(first.known_from,)]


@pytest.mark.slow_after_first
@pytest.mark.slow_on_postgresql
@pytest.mark.parametrize(
    ("now", "then"),
    [(None, "x"), ("x", None), ("", "x"), (None, ""), (None, r"\N"), ("a", "A")],
)
def test_a_change_between_any_two_texts_or_none_is_a_change(partition_loader, now, then):
    partition_loader.write_batch(row(participant_name=now))
    assert counts(partition_loader.write_batch(row(participant_name=then), version="v2")) == (
        0,
        1,
        0,
        0,
    )
    assert partition_loader.rows(finra_otc_weekly, "participant_name") == [(then,)]


@pytest.mark.slow_on_postgresql
def test_a_removed_symbol_leaves_the_tables_and_stays_in_history(partition_loader):
    partition_loader.write_batch(row("AAA"), row("GONE"))
    partition_loader.write_batch(row("AAA"), version="v2")
    assert partition_loader.quantities() == {"AAA": 100}
    assert partition_loader.rows(finra_symbol_week, "symbol") == [("AAA",)]
    assert partition_loader.rows(finra_otc_weekly_history, "symbol") == [("GONE",)]


@pytest.mark.slow_on_postgresql
def test_a_delivery_without_any_row_empties_the_partition(partition_loader):
    partition_loader.write_batch(row("AAA"))
    loaded = partition_loader.write_batch(version="v2")
    assert (loaded.change_cause, counts(loaded)) == ("source", (0, 0, 1, 0))
    assert [partition_loader.count(table) for table in (finra_otc_weekly, *BOTH)] == [0, 0, 0]
    assert partition_loader.count(finra_otc_weekly_history) == 1


@pytest.mark.slow_on_postgresql
def test_going_back_to_the_original_is_one_more_change(partition_loader):
    partition_loader.write_batch(row(share_quantity=1))
    partition_loader.write_batch(row(share_quantity=2), version="v2")
    loaded = partition_loader.write_batch(row(share_quantity=1), version="v1")
    assert (loaded.change_cause, counts(loaded)) == ("source", (0, 1, 0, 0))
    assert partition_loader.rows(
        finra_otc_weekly_history, "share_quantity", "known_from", "known_to"
    ) == [
        (1, NOON, NOON + MICROSECOND),
        (2, NOON + MICROSECOND, NOON + 2 * MICROSECOND),
    ]
    assert partition_loader.quantities() == {"AAA": 1}


@pytest.mark.slow
@pytest.mark.slow_on_postgresql
def test_known_from_increases_although_the_clock_stands_or_goes_back(partition_loader, clock):
    known = [partition_loader.write_batch(row(share_quantity=1)).known_from]
    known += [partition_loader.write_batch(row(share_quantity=2)).known_from]
    clock.at = NOON - timedelta(days=1)
    known += [partition_loader.write_batch(row(share_quantity=n)).known_from for n in (3, 4)]
    assert known == [NOON + n * MICROSECOND for n in range(4)]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_hosts_whose_clocks_are_hours_apart_leave_one_history(kind, prepared, tmp_path):
    url = prepared.sqlite(tmp_path / "hosts.sqlite") if kind == "sqlite" else prepared.postgresql()
    clocks = [StoppedClock(NOON + hours * timedelta(hours=1)) for hours in (0, -2, 1)]
    with ExitStack() as stack:
        hosts = [
            PartitionLoader(stack.enter_context(Warehouse(url, clock=clock)), tmp_path)
            for clock in clocks
        ]
        hosts[0].warehouse.prepare(holds="real")
        known = list[datetime]()
        for number in range(9):  # each host in turn; its clock goes on meanwhile
            clocks[number % 3].at += timedelta(minutes=1)
            known.append(hosts[number % 3].write_batch(row(share_quantity=number)).known_from)
        assert known == sorted(set(known))
        for number, moment in enumerate(known):
            assert [
                shares for shares, _ in expect_distinct_rows_as_of(hosts[0], moment).values()
            ] == [number]


@pytest.mark.slow_on_postgresql
def test_another_partition_has_its_own_time_and_tokens_and_is_left_alone(partition_loader):
    other = PartitionLoader(partition_loader.warehouse, partition_loader.folder, tier="T2")
    partition_loader.write_batch(row("AAA"))
    loaded = other.write_batch(row("BBB"))
    assert (loaded.group_id, loaded.known_from) == ("finra_otc_weekly:T2|2025-11-10#1", NOON)
    other.write_batch(row("CCC"), version="v2")
    assert partition_loader.rows(finra_otc_weekly, "tier", "symbol") == [
        ("T1", "AAA"),
        ("T2", "CCC"),
    ]
    assert partition_loader.rows(finra_symbol_week, "tier", "symbol") == [
        ("T1", "AAA"),
        ("T2", "CCC"),
    ]


# A part of a partition

ATS, NON_ATS = {"market": ("ATS",)}, {"market": ("NON_ATS",)}


@pytest.mark.slow
@pytest.mark.slow_on_postgresql
def test_a_delivery_of_one_market_leaves_the_other_alone_and_gold_covers_both(partition_loader):
    partition_loader.write_batch(row("AAA"), scope=ATS)
    loaded = partition_loader.write_batch(
        row("AAA", "CRD:7", market="NON_ATS", share_quantity=50), scope=NON_ATS
    )
    assert counts(loaded) == (1, 0, 0, 0)
    assert partition_loader.rows(finra_otc_weekly, "market", "symbol") == [
        ("ATS", "AAA"),
        ("NON_ATS", "AAA"),
    ]
    columns = ("ats_share_quantity", "non_ats_share_quantity", "total_share_quantity")
    assert partition_loader.rows(finra_symbol_week, *columns) == [(100, 50, 150)]
    partition_loader.write_batch(scope=ATS, version="v2")
    assert partition_loader.rows(finra_otc_weekly, "market") == [("NON_ATS",)]
    assert partition_loader.rows(finra_symbol_week, *columns) == [(0, 50, 50)]
    assert [scope for (scope,) in partition_loader.rows(landings, "scope")] == [
        "tier=T1,week_start=2025-11-10,market=ATS",
        "tier=T1,week_start=2025-11-10,market=NON_ATS",
        "tier=T1,week_start=2025-11-10,market=ATS",
    ]


@pytest.mark.slow_on_postgresql
def test_the_same_market_again_after_the_other_one_changes_nothing(partition_loader):
    partition_loader.write_batch(row("AAA"), scope=ATS)
    partition_loader.write_batch(row("AAA", "CRD:7", market="NON_ATS"), scope=NON_ATS)
    again = partition_loader.write_batch(row("AAA"), scope=ATS)
    assert (again.change_cause, counts(again)) == ("none", (0, 0, 0, 1))
    assert again.derived_seconds == {}


@pytest.mark.slow_on_postgresql
def test_a_whole_partition_after_one_market_removes_what_it_does_not_have(partition_loader):
    partition_loader.write_batch(row("AAA"), row("BBB", "CRD:7", market="NON_ATS"))
    partition_loader.write_batch(row("AAA"), scope=ATS)
    assert counts(partition_loader.write_batch(row("AAA"))) == (0, 0, 1, 1)


# Evidence


@pytest.mark.slow_on_postgresql
def test_a_quarantined_delivery_is_recorded_and_changes_no_row(partition_loader):
    partition_loader.write_batch(row("AAA"), row("BBB"))
    published = [partition_loader.warehouse.frame(select(t), t) for t in (finra_otc_weekly, *BOTH)]
    with pytest.raises(QuarantinedError) as refusal:
        partition_loader.write_batch(
            row("AAA", share_quantity=7),
            captures=[partition_loader.capture(b"other")],
            audits=[PASSED, FAILED],
            rejects=rejected(2, 3),
            version="v2",
        )
    error = refusal.value
    assert (error.category, error.is_retryable) == ("contract", False)
    assert str(error).splitlines()[:3] == [
        "T1|2025-11-10 is quarantined by has_few_rejects",
        "  expected: at most 1",
        '  found: 2 [{"line_number": 7}]',
    ]
    assert "finra_otc_weekly:T1|2025-11-10#2" in error.remedy
    now = [partition_loader.warehouse.frame(select(t), t) for t in (finra_otc_weekly, *BOTH)]
    assert all(one.equals(other) for one, other in zip(now, published, strict=True))
    assert [partition_loader.count(t) for t in (landings, captures, blobs, rejects)] == [1, 2, 2, 2]
    assert partition_loader.count(finra_otc_weekly_history) == 0
    assert partition_loader.rows(audits, "group_id", "name", "outcome", "found", "offenders") == [
        ("finra_otc_weekly:T1|2025-11-10#1", "has_unique_keys", "passed", "0", "[]"),
        (
            "finra_otc_weekly:T1|2025-11-10#2",
            "has_few_rejects",
            "failed",
            "2",
            '[{"line_number": 7}]',
        ),
        ("finra_otc_weekly:T1|2025-11-10#2", "has_unique_keys", "passed", "0", "[]"),
    ]
    assert partition_loader.rows(fences, "token", "source_version") == [(2, "v2")]
    assert (
        partition_loader.warehouse.state(
            finra_otc_weekly, partition_loader.partition_key
        ).source_version
        == "v1"
    )
    assert partition_loader.warehouse.known_versions(finra_otc_weekly) == {
        partition_loader.partition_key: {"v1", "v2"}
    }


def test_a_failed_audit_of_severity_warning_holds_nothing_back(partition_loader):
    partition_loader.write_batch(row("AAA"), audits=[WARNED])
    assert partition_loader.rows(audits, "severity", "outcome") == [("warning", "failed")]
    assert partition_loader.quantities() == {"AAA": 100}


@pytest.mark.slow_on_postgresql
def test_a_delivery_that_could_not_be_checked_is_recorded_and_may_be_asked_for_again(
    partition_loader,
):
    partition_loader.write_batch(row("AAA"))
    failed = partition_loader.delivery(
        "v2", captures=(), discarded=[partition_loader.capture(b"<html>", row_count=None)]
    )
    partition_loader.warehouse.record_refused(partition_loader.target(), failed)
    assert sorted(partition_loader.rows(captures, "group_id", "row_count")) == [
        ("finra_otc_weekly:T1|2025-11-10#1", 1),
        ("finra_otc_weekly:T1|2025-11-10#2", None),
    ]
    assert partition_loader.rows(fences, "token", "source_version") == [(2, None)]
    assert partition_loader.warehouse.known_versions(finra_otc_weekly) == {
        partition_loader.partition_key: {"v1"}
    }
    assert partition_loader.warehouse.latest_audits(finra_otc_weekly)["group_id"].to_list() == [
        "finra_otc_weekly:T1|2025-11-10#1"
    ]


@pytest.mark.slow_on_postgresql
def test_equal_bytes_are_one_blob_and_as_many_captures_as_fetches(partition_loader):
    same, other = partition_loader.capture(b"same"), partition_loader.capture(b"other")
    partition_loader.write_batch(row(), captures=[same, other, partition_loader.capture(b"same")])
    partition_loader.write_batch(row(), captures=[same])
    assert partition_loader.count(blobs) == 2
    assert Counter(sha for (sha,) in partition_loader.rows(captures, "sha256")) == {
        same.sha256: 3,
        other.sha256: 1,
    }
    [path] = (partition_loader.folder / "blobs" / same.sha256[:2]).iterdir()
    assert path.relative_to(partition_loader.folder).as_posix() == same.storage_uri


def test_capture_ids_come_from_group_and_part_and_each_row_leads_to_its_bytes(partition_loader):
    fetches = [partition_loader.capture(b"page 1"), partition_loader.capture(b"page 2")]
    discarded = [partition_loader.capture(b"<html>", http_status=403, row_count=None)]
    partition_loader.write_batch(
        row("AAA"), row("BBB", part_number=2), captures=fetches, discarded=discarded
    )
    ids = dict(partition_loader.rows(captures, "part_number", "capture_id"))
    assert ids == {  # first 63 bits of sha256("finra_otc_weekly:T1|2025-11-10#1/<part>")
        1: 1253062054457159245,
        2: 4652469617532364682,
        3: 1337106151233587260,
    }
    assert partition_loader.rows(finra_otc_weekly, "symbol", "capture_id") == [
        ("AAA", ids[1]),
        ("BBB", ids[2]),
    ]
    with partition_loader.warehouse.reading() as connection:
        found = connection.execute(
            select(*(blobs.c[name] for name in Blob._fields))
            .join(captures, captures.c.sha256 == blobs.c.sha256)
            .join(finra_otc_weekly, finra_otc_weekly.c.capture_id == captures.c.capture_id)
            .where(finra_otc_weekly.c.symbol == "BBB")
        ).one()
    body = Captures(FolderStore(partition_loader.folder)).read(Blob(*found))
    assert body == b"page 2"


def test_a_capture_says_what_was_asked_and_what_came(partition_loader):
    capture = partition_loader.capture(
        b"page", request={"b": 1, "a": "é"}, fetched_at=NOON + MICROSECOND
    )
    partition_loader.write_batch(row(), captures=[capture])
    with partition_loader.warehouse.reading() as connection:
        stored = connection.execute(select(captures)).one()._asdict()
    del stored["capture_id"]
    assert stored == {
        "sha256": capture.sha256,
        "source": "api",
        "dataset": "weeklySummary",
        "partition_key": "T1|2025-11-10",
        "part_number": 1,
        "group_id": "finra_otc_weekly:T1|2025-11-10#1",
        "url": "https://api.finra.org/data",
        "request": '{"a": "\\u00e9", "b": 1}',
        "response_headers": '{"record-total": "1"}',
        "http_status": 200,
        "row_count": 1,
        "fetched_at": NOON + MICROSECOND,
        "run_id": "run",
        "trace_id": None,
        "erased_at": None,
    }


def test_rejects_keep_the_record_its_place_and_the_reason(partition_loader):
    fetches = [partition_loader.capture(b"page 1"), partition_loader.capture(b"page 2")]
    rejects_of_both = pl.concat([rejected(9), rejected(2, part_number=2)])
    partition_loader.write_batch(row(), captures=fetches, rejects=rejects_of_both)
    ids = dict(partition_loader.rows(captures, "part_number", "capture_id"))
    columns = [c.name for c in rejects.columns]
    assert sorted(partition_loader.rows(rejects, *columns)) == sorted(
        (
            ids[part], "finra_otc_weekly", line, 100 * line, r"|\xe9|x", "blank_symbol",
            "issueSymbolIdentifier is blank", "run", NOON,
        )
        for part, line in ((1, 9), (2, 2))
    )  # fmt: skip
    assert partition_loader.rows(landings, "rows_rejected") == [(2,)]


@pytest.mark.slow_on_postgresql
def test_latest_audits_are_those_of_each_partitions_latest_audited_delivery(partition_loader):
    partition_loader.write_batch(row(), audits=[PASSED])
    with pytest.raises(QuarantinedError):
        partition_loader.write_batch(row(), audits=[FAILED], version="v2")
    PartitionLoader(partition_loader.warehouse, partition_loader.folder, tier="T2").write_batch(
        row(), audits=[WARNED]
    )
    latest = partition_loader.warehouse.latest_audits(finra_otc_weekly)
    assert latest.select("partition_key", "name", "outcome").rows() == [
        ("T1|2025-11-10", "has_few_rejects", "failed"),
        ("T2|2025-11-10", "is_as_usual", "failed"),
    ]


@pytest.mark.slow_on_postgresql
def test_known_versions_are_those_of_the_latest_audit_and_of_the_latest_load(partition_loader):
    partition_loader.write_batch(row(), version="v1")
    partition_loader.write_batch(row(), version="v2")
    with pytest.raises(QuarantinedError):
        partition_loader.write_batch(row("BBB"), audits=[FAILED], version="v3")
    with pytest.raises(QuarantinedError):
        PartitionLoader(partition_loader.warehouse, partition_loader.folder, tier="T2").write_batch(
            row(), audits=[FAILED], version="v4"
        )
    assert partition_loader.warehouse.known_versions(finra_otc_weekly) == {
        "T1|2025-11-10": {"v2", "v3"},
        "T2|2025-11-10": {"v4"},
    }
    assert partition_loader.warehouse.known_versions(finra_venue_week) == {}


@pytest.mark.slow_on_postgresql
def test_row_counts_are_of_the_scope(partition_loader):
    partition_loader.write_batch(row("AAA"), row("AAA", "YATS"))
    PartitionLoader(partition_loader.warehouse, partition_loader.folder, tier="T2").write_batch(
        row()
    )
    assert partition_loader.warehouse.row_counts(
        (finra_otc_weekly, *BOTH), partition_loader.target().partition
    ) == {
        "finra_otc_weekly": 2,
        "finra_symbol_week": 1,
        "finra_venue_week": 2,
    }


# Others at the same time


@pytest.mark.slow_on_postgresql
def test_of_two_orders_with_the_same_token_the_second_is_superseded_and_records_nothing(
    partition_loader,
):
    first, second = (
        partition_loader.target(run_id="first"),
        partition_loader.target(run_id="second"),
    )
    partition_loader.write_batch(row("AAA"), target=first)
    with pytest.raises(SupersededError) as refusal:
        partition_loader.write_batch(
            row("BBB"), target=second, captures=[partition_loader.capture(b"second")]
        )
    assert refusal.value.is_retryable
    assert refusal.value.context == {"partition": "T1|2025-11-10"}
    with pytest.raises(SupersededError):
        partition_loader.warehouse.record_refused(second, partition_loader.delivery())
    assert partition_loader.quantities() == {"AAA": 100}
    assert partition_loader.rows(captures, "run_id") == [("first",)]
    assert partition_loader.rows(fences, "token") == [(1,)]


def test_a_first_delivery_that_is_superseded_before_it_began_leaves_no_fence(partition_loader):
    with pytest.raises(SupersededError):
        partition_loader.write_batch(row(), target=partition_loader.target(token=5))
    assert partition_loader.count(fences) == 0


def at_once(*actions):
    """Do all at the same time; return what each returned or raised."""
    barrier = threading.Barrier(len(actions))

    def run(action):
        barrier.wait()
        try:
            return action()
        except SupersededError as error:
            return error

    with ThreadPoolExecutor(len(actions)) as pool:
        return list(pool.map(run, actions))


@pytest.mark.slow_after_first
@pytest.mark.slow_on_postgresql
@pytest.mark.parametrize("has_earlier_load", [False, True])
def test_one_of_two_concurrent_loads_wins_and_nothing_is_lost(partition_loader, has_earlier_load):
    if has_earlier_load:
        partition_loader.write_batch(row("OLD"))
    before = int(has_earlier_load)
    targets = [partition_loader.target(run_id=name) for name in ("one", "two")]
    contents = {"one": row("ONE"), "two": row("TWO")}
    outcomes = at_once(
        *(
            lambda own=own: partition_loader.write_batch(contents[own.run_id], target=own)
            for own in targets
        )
    )
    kinds = sorted(type(outcome).__name__ for outcome in outcomes)
    assert kinds == ["SupersededError", "WriteResult"]
    winner = targets[0] if not isinstance(outcomes[0], SupersededError) else targets[1]
    loser = targets[0] if winner is targets[1] else targets[1]
    assert list(partition_loader.quantities()) == [contents[winner.run_id]["symbol"]]
    partition_loader.write_batch(
        contents[loser.run_id], target=partition_loader.target(run_id=loser.run_id), version="v2"
    )
    assert list(partition_loader.quantities()) == [contents[loser.run_id]["symbol"]]
    assert partition_loader.count(finra_otc_weekly_history) == before + 1
    assert partition_loader.rows(fences, "token") == [(before + 2,)]


@pytest.mark.slow
@pytest.mark.slow_on_postgresql
def test_concurrent_loads_of_partitions_share_blobs(partition_loader):
    weeks = [
        PartitionLoader(
            partition_loader.warehouse,
            partition_loader.folder,
            "T1",
            MONDAY - n * timedelta(days=7),
        )
        for n in range(6)
    ]
    bodies = [b"a", b"b", b"c"]

    def write_batch(number, each):
        fetches = [
            partition_loader.capture(body) for body in bodies[number % 3 :] + bodies[: number % 3]
        ]
        return each.write_batch(row(), captures=fetches)

    outcomes = at_once(
        *(lambda n=n, week=week: write_batch(n, week) for n, week in enumerate(weeks))
    )
    assert [type(outcome).__name__ for outcome in outcomes] == ["WriteResult"] * 6
    assert (
        partition_loader.count(blobs),
        partition_loader.count(captures),
        partition_loader.count(landings),
    ) == (3, 18, 6)


@pytest.mark.slow
def test_a_reader_during_loads_sees_complete_weeks_only(partition_loader):
    symbols = [f"S{n:04}" for n in range(400)]
    shares = (1, 2, 3, 4, 5, 6)
    partition_loader.write_batch(*(row(symbol, share_quantity=shares[0]) for symbol in symbols))
    is_over = threading.Event()
    quantity = func.sum(finra_otc_weekly.c.share_quantity)
    gold = func.sum(finra_symbol_week.c.total_share_quantity)

    def read():
        seen = []
        while not is_over.is_set():
            with partition_loader.warehouse.reading() as connection:
                rows = connection.execute(select(func.count(), quantity)).one()
                seen.append((*map(int, rows), int(connection.execute(select(gold)).scalar_one())))
        return seen

    with ThreadPoolExecutor(2) as pool:
        readers = [pool.submit(read) for _ in range(2)]
        for n in shares[1:]:
            partition_loader.write_batch(
                *(row(s, share_quantity=n) for s in symbols), version=f"v{n}"
            )
        is_over.set()
        seen = {state for reader in readers for state in reader.result()}
    assert seen <= {(400, 400 * n, 400 * n) for n in shares}


def test_a_reader_does_not_wait_for_a_writer_and_sees_what_was_there_before(partition_loader):
    partition_loader.write_batch(row("AAA"))
    with partition_loader.warehouse.writing() as connection:
        connection.execute(finra_otc_weekly.delete())
        assert partition_loader.quantities() == {"AAA": 100}
        partition_loader.warehouse.prepare(holds="real")
    assert partition_loader.quantities() == {}


def test_a_write_that_fails_on_the_way_leaves_nothing(partition_loader):
    partition_loader.write_batch(row("AAA"))

    def fail_on_the_way():
        with partition_loader.warehouse.writing() as connection:
            connection.execute(finra_otc_weekly.delete())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_on_the_way()
    assert partition_loader.quantities() == {"AAA": 100}


@pytest.mark.slow_on_postgresql
def test_a_derivation_that_crashes_leaves_the_partition_as_it_was(partition_loader):
    def fail(_):
        raise ZeroDivisionError

    partition_loader.write_batch(row("AAA"))
    target = partition_loader.target()
    target = replace(
        target, spec=replace(target.spec, transforms={finra_symbol_week: Transform(fail)})
    )
    with pytest.raises(ZeroDivisionError):
        partition_loader.write_batch(row("BBB"), target=target)
    assert partition_loader.quantities() == {"AAA": 100}
    assert (partition_loader.count(landings), partition_loader.rows(fences, "token")) == (1, [(1,)])


def test_rows_that_are_there_stay_when_they_are_inserted_again_by_many(warehouse):
    def label(value):
        rows = [{"name": name, "value": value} for name in ("a", "b", "b")]
        with warehouse.writing() as connection:
            insert_absent(connection, database_labels, rows)

    at_once(*(lambda value=value: label(value) for value in ("1", "2", "3", "4")))
    with warehouse.reading() as connection:
        found = {row.name: row.value for row in connection.execute(select(database_labels))}
    assert set(found) == {"a", "b", "data", "schema"}
    assert found["a"] == found["b"]


def test_many_rows_inserted_from_both_ends_at_once_do_not_block_each_other_for_ever(warehouse):
    rows = [{"name": f"{n:04}", "value": "x"} for n in range(2000)]

    def label(ordered):
        with warehouse.writing() as connection:
            insert_absent(connection, database_labels, ordered)

    at_once(lambda: label(rows), lambda: label(rows[::-1]))
    statement = select(database_labels.c.name).where(database_labels.c.name != "schema")
    assert len(warehouse.frame(statement, database_labels)) == 2001


# As of any moment


def expect_distinct_rows_as_of(partition_loader, moment):
    """Return the rows of the partition that held at ``moment``, from table and history."""
    names = ("symbol", "venue_id", "share_quantity", "last_update_date")
    current, history = finra_otc_weekly.c, finra_otc_weekly_history.c
    at = {"tier": partition_loader.tier, "week_start": partition_loader.week_start}
    both = union_all(
        select(*(current[name] for name in names)).where(
            *(current[name] == value for name, value in at.items()), current.known_from <= moment
        ),
        select(*(history[name] for name in names)).where(
            *(history[name] == value for name, value in at.items()),
            history.known_from <= moment,
            history.known_to > moment,
        ),
    )
    with partition_loader.warehouse.reading() as connection:
        rows = connection.execute(both).all()
    found = {(symbol, venue): values for symbol, venue, *values in rows}
    assert len(found) == len(rows), "a row holds twice at one moment"
    return found


KEYS = list(itertools.product(("AAA", "AAAp", "NA"), ("XATS", "YATS")))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.sampled_from(KEYS), st.integers(0, 3)),
        st.tuples(st.just("touch"), st.sampled_from(KEYS), st.integers(1, 3)),
        st.tuples(st.just("remove"), st.sampled_from(KEYS), st.just(0)),
        st.tuples(st.just("back"), st.just(KEYS[0]), st.integers(0, 4)),
    ),
    min_size=1,
    max_size=6,
)
HISTORIES = st.lists(STEPS, min_size=1, max_size=5)
PARTITIONS = itertools.count(1)


def states_of(history):
    """Play a history on plain dictionaries; return the state after each load."""
    states = [{}]
    for steps in history:
        state = dict(states[-1])
        for action, key, number in steps:
            if action == "set":
                state[key] = [number, state.get(key, [0, PUBLISHED])[1]]
            elif action == "touch" and key in state:
                state[key] = [state[key][0], PUBLISHED + timedelta(days=number)]
            elif action == "remove":
                state.pop(key, None)
            elif action == "back":
                state = dict(states[number % len(states)])
        states.append(state)
    return states[1:]


def expected_counts(before, after):
    both = before.keys() & after.keys()
    changed = sum(before[key] != after[key] for key in both)
    return len(after) - len(both), changed, len(before) - len(both), len(both) - changed


def check_history(partition_loader, history):
    states, times, before = states_of(history), [], {}
    for number, state in enumerate(states):
        rows = [
            row(symbol, venue, share_quantity=shares, last_update_date=updated)
            for (symbol, venue), (shares, updated) in sorted(state.items())
        ]
        loaded = partition_loader.write_batch(*rows, version=f"v{number}")
        assert counts(loaded) == expected_counts(before, state)
        times.append(loaded.known_from)
        before = state
    assert times == sorted(set(times))
    assert expect_distinct_rows_as_of(partition_loader, times[0] - MICROSECOND) == {}
    for moment, state in zip(times, states, strict=True):
        assert expect_distinct_rows_as_of(partition_loader, moment) == state
    for moment, state in zip(times[1:], states, strict=False):
        assert expect_distinct_rows_as_of(partition_loader, moment - MICROSECOND) == state
    total = select(func.sum(finra_symbol_week.c.total_share_quantity)).where(
        finra_symbol_week.c.week_start == partition_loader.week_start
    )
    with partition_loader.warehouse.reading() as connection:
        assert (connection.execute(total).scalar() or 0) == sum(n for n, _ in states[-1].values())


def bounded(examples):
    return settings(
        max_examples=examples,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("warehouse", "examples"),
    [
        ("sqlite", 10),
        ("postgresql", 4),
        pytest.param("sqlite", 50, marks=pytest.mark.slow),
        pytest.param("postgresql", 20, marks=pytest.mark.slow),
    ],
    indirect=["warehouse"],
)
def test_table_and_history_give_for_each_moment_its_rows(partition_loader, examples):
    @bounded(examples)
    @given(HISTORIES)
    def each(history):
        week = MONDAY + timedelta(days=7 * next(PARTITIONS))
        check_history(
            PartitionLoader(partition_loader.warehouse, partition_loader.folder, week_start=week),
            history,
        )

    each()


# Values to and fro


@pytest.mark.slow_on_postgresql
def test_symbols_compare_and_sort_byte_by_byte(partition_loader):
    symbols = [
        "ABCP",
        "ABCp",
        "NA",
        "NULL",
        "NAN",
        "TRUE",
        "1E5",
        "EP$C",
        "a b",
        " a",
        "É",
        "é",
        "Z",
        "a",
    ]
    partition_loader.write_batch(*(row(symbol) for symbol in symbols))
    ordered = sorted(symbols, key=str.encode)
    assert [symbol for (symbol,) in partition_loader.rows(finra_otc_weekly, "symbol")] == ordered
    assert len(partition_loader.rows(finra_symbol_week, "symbol")) == len(symbols)
    loaded = partition_loader.write_batch(
        *(row(symbol) for symbol in symbols if symbol != "ABCp"), version="v2"
    )
    assert counts(loaded) == (0, 0, 1, len(symbols) - 1)
    statement = select(finra_otc_weekly.c.symbol).where(
        finra_otc_weekly.c.symbol.in_(["abcp", "ABCP"])
    )
    assert partition_loader.warehouse.frame(statement, finra_otc_weekly).rows() == [("ABCP",)]


MOMENTS = [
    datetime(2025, 11, 2, 5, 30, 0, 1, tzinfo=UTC),  # twice 1:30 in New York
    datetime(2025, 11, 2, 6, 30, 0, 999999, tzinfo=UTC),
    datetime(2026, 3, 8, 7, 30, tzinfo=UTC),
    datetime(1999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
]


@pytest.mark.slow_after_first
@pytest.mark.slow_on_postgresql
@pytest.mark.parametrize("moment", MOMENTS)
def test_moments_keep_their_microseconds_however_they_are_written_and_read(
    partition_loader, clock, moment
):
    clock.at = moment
    fetched = moment.astimezone(tz=None)
    partition_loader.write_batch(row(), captures=[partition_loader.capture(fetched_at=fetched)])
    with partition_loader.warehouse.reading() as connection:
        read = [
            connection.execute(select(column)).scalar_one()
            for column in (finra_otc_weekly.c.known_from, fences.c.known_from)
        ]
    assert read == [moment, moment]
    assert [each.utcoffset() for each in read] == [timedelta(0)] * 2
    assert partition_loader.rows(captures, "fetched_at") == [(moment,)]


def test_a_moment_without_a_zone_is_refused(partition_loader):
    with (
        pytest.raises(Exception, match="a timestamp needs a time zone"),
        partition_loader.warehouse.writing() as connection,
    ):
        connection.execute(
            insert(blobs).values(
                sha256="x",
                byte_count=0,
                stored_byte_count=0,
                storage_uri="",
                stored_at=datetime(2026, 1, 1),  # noqa: DTZ001
            )
        )
    assert partition_loader.count(blobs) == 0


@pytest.mark.parametrize("number", [0, -(2**63), 2**63 - 1, 2**53 + 1])
def test_numbers_are_exact_to_64_bits(warehouse, number):
    table = blobs
    values = {"sha256": "x", "byte_count": number, "stored_byte_count": number, "storage_uri": "u"}
    rows = pl.DataFrame([{**values, "stored_at": NOON}], derive_schema(table))
    with warehouse.writing() as connection:
        insert_frame(connection, table, rows)
    assert warehouse.frame(select(table), table).equals(rows)


def test_ratios_are_exact_to_the_last_bit(warehouse):
    ratios = [0.1, 1 / 3, 5e-324, 1.7976931348623157e308, 0.9299147466, None]
    keys = [(MONDAY, "T1", "ATS", f"V{number}", 1, 1, 1) for number in range(len(ratios))]
    rows = pl.DataFrame(
        [(*key, ratio, *[None] * 10) for key, ratio in zip(keys, ratios, strict=True)],
        derive_schema(finra_venue_week),
        orient="row",
    )
    with warehouse.writing() as connection:
        insert_frame(connection, finra_venue_week, rows)
    statement = select(finra_venue_week).order_by(finra_venue_week.c.venue_id)
    assert warehouse.frame(statement, finra_venue_week)["tier_share"].to_list() == ratios


@pytest.mark.slow
@pytest.mark.slow_on_postgresql
def test_more_rows_than_one_batch_arrive_whole(warehouse):
    count = 50_001
    rows = pl.DataFrame({"sha256": [f"{n:05}" for n in range(count)]}).with_columns(
        byte_count=pl.int_range(count, dtype=pl.Int64),
        stored_byte_count=pl.lit(1, pl.Int64),
        storage_uri=pl.lit("u"),
        stored_at=pl.lit(NOON, pl.Datetime("us", "UTC")),
        byte_offset=pl.lit(None, pl.Int64),
    )
    with warehouse.writing() as connection:
        insert_frame(connection, blobs, rows)
    assert warehouse.frame(select(blobs).order_by(blobs.c.sha256), blobs).equals(rows)


def test_a_frame_of_no_rows_has_the_types_of_the_table(warehouse):
    found = warehouse.frame(select(finra_otc_weekly), finra_otc_weekly)
    assert found.is_empty()
    assert dict(found.schema) == derive_schema(finra_otc_weekly)


# The last check before the tables

LABELS = derive_schema(database_labels)


@pytest.mark.parametrize(
    ("batch", "found"),
    [
        (pl.DataFrame({"name": ["a"]}), "differing: [('value', String)]"),
        (
            pl.DataFrame({"name": ["a"], "value": [1]}),
            "differing: [('value', Int64), ('value', String)]",
        ),
        (pl.DataFrame({"name": ["a"], "value": ["b"], "x": ["c"]}), "differing: [('x', String)]"),
        (pl.DataFrame({"name": ["a"], "value": [None]}, LABELS), "nulls in value"),
        (pl.DataFrame({"name": [None], "value": [None]}, LABELS), "nulls in name, value"),
    ],
)
def test_a_batch_that_is_not_what_the_table_declares_is_refused(batch, found):
    with pytest.raises(ContractError, match="database_labels") as refusal:
        validate_frame(batch, database_labels)
    assert refusal.value.found == found


def test_a_batch_whose_columns_stand_in_another_order_is_what_the_table_declares(warehouse):
    batch = pl.DataFrame({"value": ["v"], "name": ["n"]})
    with warehouse.writing() as connection:
        insert_frame(connection, database_labels, batch)
    statement = select(database_labels).where(database_labels.c.name == "n")
    assert warehouse.frame(statement, database_labels).rows() == [("n", "v")]


def test_a_delivery_with_a_key_twice_is_refused_by_the_database_and_leaves_nothing(
    partition_loader,
):
    with pytest.raises(Exception, match=r"(?i)unique"):
        partition_loader.write_batch(row("AAA"), row("AAA", share_quantity=2))
    assert (partition_loader.count(finra_otc_weekly), partition_loader.count(fences)) == (0, 0)


def test_the_hash_of_a_content_differs_by_null_text_and_order():
    contents = [
        [None, "a"], [r"\N", "a"], ["", "a"], ["a", None], ["a,", "b"], ["a", ",b"], ["a\n", "b"],
    ]  # fmt: skip
    hashes = [
        hash_content(pl.DataFrame({"x": content}, {"x": pl.String()})) for content in contents
    ]
    assert len(set(hashes)) == len(contents)
    assert hashes[0] == hash_content(pl.DataFrame({"x": [None, "a"]}))
