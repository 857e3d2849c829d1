"""Effect of a delivery on loaded rows: replaces its scope, merges into it, or only adds rows."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import polars as pl
import pytest
from sqlalchemy import Engine, event

from orchestration_project.domains.finra.tables.weekly import (
    finra_otc_weekly,
    finra_otc_weekly_history,
    finra_symbol_week,
)
from orchestration_project.engine.contracts.audits import Validated
from orchestration_project.engine.contracts.frame_types import REJECT_SCHEMA
from orchestration_project.engine.contracts.key_ranges import Days
from orchestration_project.engine.contracts.values import combine_batches
from orchestration_project.engine.replay import fold_rows, replay_of_all, select_deliveries
from orchestration_project.engine.warehouse import (
    QuarantinedError,
    SupersededError,
    ValidatedBatch,
    WriteResult,
    WriteTarget,
    prepare,
)
from orchestration_project.engine.warehouse.frames import read_keys
from orchestration_project.engine.warehouse.loading import is_loaded
from orchestration_project.engine.warehouse.recorded import find_effective_groups
from orchestration_project.errors import ConfigurationError
from orchestration_project.tables.spine import audits, deliveries, landings
from tests.resources.weeks import FAILED, MONDAY, NOON, PUBLISHED, PartitionLoader, frame, row

A_WEEK = timedelta(days=7)
ATS = {"market": ("ATS",)}
COUNTS = ("rows_added", "rows_changed", "rows_removed", "rows_unchanged")


def counts(loaded: WriteResult[Any]) -> tuple[int, ...]:
    return tuple(getattr(loaded, name) for name in COUNTS)


def target_of(
    partition_loader: PartitionLoader, disposition: Any, **options: Any
) -> WriteTarget[Any]:
    return replace(partition_loader.target(**options), write_disposition=disposition)


def respecified(target: WriteTarget[Any], **changes: Any) -> WriteTarget[Any]:
    return replace(target, spec=replace(target.spec, **changes))


def merge(partition_loader: PartitionLoader, *rows: Any, **options: Any) -> WriteResult[Any]:
    return partition_loader.write_batch(
        *rows, target=target_of(partition_loader, "merge"), **options
    )


def append(partition_loader: PartitionLoader, *rows: Any, **options: Any) -> WriteResult[Any]:
    return partition_loader.write_batch(
        *rows, target=target_of(partition_loader, "append"), **options
    )


def batch_of(
    partition_loader: PartitionLoader, target: WriteTarget[Any], *rows: Any, **options: Any
) -> ValidatedBatch[Any]:
    delivery = partition_loader.delivery(**options)
    own = [{**each, "week_start": partition_loader.week_start} for each in rows]
    validated = Validated(frame(own), pl.DataFrame(schema=REJECT_SCHEMA))
    return prepare(target, delivery, validated)


def history(partition_loader: PartitionLoader) -> list[tuple[Any, ...]]:
    names = ("symbol", "share_quantity", "known_from", "known_to", "change_cause")
    return partition_loader.rows(finra_otc_weekly_history, *names)


# merge


@pytest.mark.slow_on_postgresql
def test_a_merge_inserts_and_updates_by_key_and_removes_nothing(partition_loader, clock):
    first = merge(partition_loader, row("STAYS"), row("CHANGES"), row("SAME"))
    clock.at = NOON + A_WEEK
    loaded = merge(
        partition_loader, row("CHANGES", share_quantity=7), row("SAME"), row("NEW"), version="v2"
    )
    assert (first.change_cause, counts(first)) == ("first", (3, 0, 0, 0))
    assert (loaded.change_cause, counts(loaded)) == ("source", (1, 1, 0, 1))
    assert partition_loader.rows(finra_otc_weekly, "symbol", "share_quantity", "known_from") == [
        ("CHANGES", 7, NOON + A_WEEK),
        ("NEW", 100, NOON + A_WEEK),
        ("SAME", 100, NOON),
        ("STAYS", 100, NOON),
    ]
    assert history(partition_loader) == [("CHANGES", 100, NOON, NOON + A_WEEK, "source")]


@pytest.mark.slow_on_postgresql
def test_tables_derived_of_a_merged_partition_are_of_all_its_rows(partition_loader):
    merge(partition_loader, row("AAA"), row("BBB"))
    merge(partition_loader, row("BBB", "YATS"), version="v2")
    totals = partition_loader.rows(finra_symbol_week, "symbol", "total_share_quantity")
    assert totals == [("AAA", 100), ("BBB", 200)]
    merge(partition_loader, row("BBB", "XATS", share_quantity=5), version="v3", ranges_of=1)
    totals = partition_loader.rows(finra_symbol_week, "symbol", "total_share_quantity")
    assert totals == [("AAA", 100), ("BBB", 105)]


@pytest.mark.slow_on_postgresql
def test_a_merge_that_only_adds_rows_restates_nothing(partition_loader):
    merge(partition_loader, row("AAA"))
    assert merge(partition_loader, row("BBB"), version="v2").change_cause == "more"


@pytest.mark.slow_on_postgresql
def test_a_merge_that_changes_dates_alone_is_metadata(partition_loader):
    merge(partition_loader, row("AAA"), row("BBB"))
    loaded = merge(partition_loader, row("AAA", last_update_date=PUBLISHED + A_WEEK), version="v2")
    assert (loaded.change_cause, counts(loaded)) == ("metadata", (0, 1, 0, 0))
    assert [cause for *_, cause in history(partition_loader)] == ["metadata"]


@pytest.mark.slow_on_postgresql
def test_the_same_merge_again_writes_no_row(partition_loader):
    merge(partition_loader, row("AAA"), row("BBB"))
    merge(partition_loader, row("CCC"), version="v2")
    before = partition_loader.rows(finra_otc_weekly, "symbol", "known_from", "capture_id")
    again = merge(partition_loader, row("AAA"), row("BBB"))
    assert (again.change_cause, counts(again)) == ("none", (0, 0, 0, 2))
    assert partition_loader.rows(finra_otc_weekly, "symbol", "known_from", "capture_id") == before
    assert history(partition_loader) == []


@pytest.mark.slow
def test_an_earlier_merge_is_there_only_while_no_later_one_changed_its_rows(partition_loader):
    merge(partition_loader, row("AAA"), row("BBB"))
    merge(partition_loader, row("CCC"), version="v2")
    target = target_of(partition_loader, "merge")
    earlier = batch_of(partition_loader, target, row("AAA"), row("BBB"))
    assert partition_loader.warehouse.are_there([earlier]) == [True]
    merge(partition_loader, row("AAA", share_quantity=7), version="v3")
    assert partition_loader.warehouse.are_there([earlier]) == [False]
    state = partition_loader.warehouse.state(finra_otc_weekly, partition_loader.partition_key)
    assert not is_loaded(state, earlier)
    assert counts(merge(partition_loader, row("AAA"), row("BBB"))) == (0, 1, 0, 1)


@pytest.mark.slow_on_postgresql
def test_a_merge_of_a_part_leaves_the_rest_of_the_partition_alone(partition_loader):
    merge(partition_loader, row("AAA"), row("AAA", market="NON_ATS"))
    loaded = merge(partition_loader, row("AAA", share_quantity=7), scope=ATS, version="v2")
    assert counts(loaded) == (0, 1, 0, 0)
    assert partition_loader.rows(finra_otc_weekly, "market", "share_quantity") == [
        ("ATS", 7),
        ("NON_ATS", 100),
    ]


@pytest.mark.slow_on_postgresql
def test_a_merge_leaves_other_partitions_alone(partition_loader):
    other = PartitionLoader(
        partition_loader.warehouse, partition_loader.folder, week_start=MONDAY + A_WEEK
    )
    merge(partition_loader, row("AAA"))
    merge(other, row("AAA"))
    merge(partition_loader, row("AAA", share_quantity=7), version="v2")
    assert partition_loader.rows(finra_otc_weekly, "week_start", "share_quantity") == [
        (MONDAY, 7),
        (MONDAY + A_WEEK, 100),
    ]


@pytest.mark.slow
@pytest.mark.slow_on_postgresql
def test_merges_of_several_partitions_commit_in_one_transaction(partition_loader):
    other = PartitionLoader(
        partition_loader.warehouse, partition_loader.folder, week_start=MONDAY + A_WEEK
    )
    merge(partition_loader, row("AAA"), row("BBB"))
    batch = [
        batch_of(
            partition_loader,
            target_of(partition_loader, "merge"),
            row("AAA", share_quantity=7),
            version="v2",
        ),
        batch_of(other, target_of(other, "merge"), row("AAA"), row("BBB")),
    ]
    assert [counts(result) for result in partition_loader.warehouse.load_batches(batch)] == [
        (0, 1, 0, 0),
        (2, 0, 0, 0),
    ]
    assert partition_loader.warehouse.are_there(batch) == [True, True]
    assert partition_loader.rows(finra_otc_weekly, "week_start", "symbol", "share_quantity") == [
        (MONDAY, "AAA", 7),
        (MONDAY, "BBB", 100),
        (MONDAY + A_WEEK, "AAA", 100),
        (MONDAY + A_WEEK, "BBB", 100),
    ]


def test_a_merge_that_is_superseded_writes_nothing(partition_loader):
    late = target_of(partition_loader, "merge")
    merge(partition_loader, row("AAA"))
    with pytest.raises(SupersededError):
        partition_loader.write_batch(row("AAA", share_quantity=7), target=late)
    assert partition_loader.quantities() == {"AAA": 100}


@pytest.mark.slow_after_first
def test_a_delivery_that_replaces_its_scope_removes_rows_also_after_an_equal_merge(
    partition_loader,
):
    partition_loader.write_batch(row("AAA"), row("BBB"))
    merge(partition_loader, row("AAA"), version="v2")
    loaded = partition_loader.write_batch(row("AAA"), version="v2")
    assert counts(loaded) == (0, 0, 1, 1)
    assert partition_loader.quantities() == {"AAA": 100}


@pytest.mark.parametrize("warehouse", ["sqlite"], indirect=True)
def test_a_merge_looks_rows_up_by_their_whole_key(partition_loader):
    partition_loader.write_batch(*(row(f"S{number}") for number in range(50)))
    with recorded_selects() as statements:
        rows = [row("S1", share_quantity=7), row("S2")]
        partition_loader.write_batch(
            *rows,
            target=respecified(target_of(partition_loader, "merge"), transforms={}),
            version="v2",
        )
    [(statement, parameters), (counted, _), (latest, _)] = statements
    assert counted == statement
    assert latest.startswith("SELECT max(finra_otc_weekly.last_update_date)")
    with partition_loader.warehouse.reading() as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
    steps = [step[-1] for step in plan if finra_otc_weekly.name in step[-1]]
    assert len(steps) == 1
    assert "venue_id=?" in steps[0]


@contextmanager
def recorded_selects() -> Iterator[list[tuple[str, Any]]]:
    """Give what is selected of the weekly table meanwhile."""
    found: list[tuple[str, Any]] = []

    def record(_connection, _cursor, statement, parameters, *_):
        is_read = statement.startswith("SELECT") and f"FROM {finra_otc_weekly.name}" in statement
        if is_read:
            found.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", record)
    yield found
    event.remove(Engine, "before_cursor_execute", record)


ODD_TEXTS = ["", " ", "'", '"', "\\", "{a,b}", "NULL", "[1]", "é", "A\tB", "a,b", "%s", "\u2028"]


def test_rows_are_found_by_keys_of_any_text(partition_loader):
    partition_loader.write_batch(*(row("AAA", venue) for venue in [*ODD_TEXTS, "OTHER"]))
    keys = frame([row("AAA", venue) for venue in [*ODD_TEXTS, "ABSENT"]])
    with partition_loader.warehouse.reading() as connection:
        found = read_keys(connection, finra_otc_weekly, keys)
        nothing = read_keys(connection, finra_otc_weekly, keys.clear())
    assert sorted(found["venue_id"]) == sorted(ODD_TEXTS)
    assert found.schema == nothing.schema
    assert nothing.is_empty()


# append


@pytest.mark.slow
@pytest.mark.slow_on_postgresql
def test_an_append_adds_rows_and_takes_equal_ones_as_they_are(partition_loader, clock):
    append(partition_loader, row("AAA"))
    clock.at = NOON + A_WEEK
    loaded = append(partition_loader, row("AAA"), row("BBB"), version="v2")
    assert (loaded.change_cause, counts(loaded)) == ("more", (1, 0, 0, 1))
    assert partition_loader.rows(finra_otc_weekly, "symbol", "known_from") == [
        ("AAA", NOON),
        ("BBB", NOON + A_WEEK),
    ]
    assert counts(append(partition_loader, row("BBB"), version="v3")) == (0, 0, 0, 1)
    assert history(partition_loader) == []


@pytest.mark.slow_on_postgresql
def test_an_append_leaves_metadata_of_a_loaded_row_as_it_is(partition_loader):
    append(partition_loader, row("AAA"))
    later = row("AAA", last_update_date=PUBLISHED + A_WEEK)
    assert partition_loader.warehouse.are_there(
        [batch_of(partition_loader, target_of(partition_loader, "append"), later)]
    ) == [True]
    assert counts(append(partition_loader, later, version="v2")) == (0, 0, 0, 1)
    assert partition_loader.rows(finra_otc_weekly, "last_update_date") == [(PUBLISHED,)]
    assert history(partition_loader) == []


@pytest.mark.slow
@pytest.mark.slow_on_postgresql
def test_a_summary_of_an_append_has_the_metadata_that_is_loaded(partition_loader):
    append(partition_loader, row("AAA"))

    def dates(*, kept: pl.DataFrame, **_: pl.DataFrame) -> list[date]:
        return kept["last_update_date"].to_list()

    target = respecified(target_of(partition_loader, "append"), summarise=dates)
    later = row("AAA", last_update_date=PUBLISHED + A_WEEK)
    loaded = partition_loader.write_batch(later, row("BBB"), target=target, version="v2")
    assert loaded.change == [PUBLISHED]


@pytest.mark.slow_after_first
def test_an_append_with_other_values_of_a_loaded_row_is_quarantined_and_names_it(partition_loader):
    append(partition_loader, row("AAA"), row("BBB"))
    with pytest.raises(QuarantinedError, match="keeps_loaded_rows"):
        append(partition_loader, row("AAA", share_quantity=7), row("BBB"), row("NEW"), version="v2")
    assert partition_loader.quantities() == {"AAA": 100, "BBB": 100}
    [(outcome, found, offenders)] = [
        audit[1:]
        for audit in partition_loader.rows(audits, "name", "outcome", "found", "offenders")
        if audit[0] == "keeps_loaded_rows" and audit[1] == "failed"
    ]
    assert (outcome, found) == ("failed", "1")
    key = {"week_start": str(MONDAY), "tier": "T1", "market": "ATS"}
    assert json.loads(offenders) == [{**key, "symbol": "AAA", "venue_id": "XATS"}]
    assert partition_loader.rows(deliveries, "outcome") == [("landed",), ("held_back",)]


@pytest.mark.slow
def test_of_appends_in_one_transaction_one_that_is_quarantined_harms_no_other(partition_loader):
    other = PartitionLoader(
        partition_loader.warehouse, partition_loader.folder, week_start=MONDAY + A_WEEK
    )
    append(partition_loader, row("AAA"))
    append(other, row("AAA"))
    changed, new = row("AAA", share_quantity=7), row("NEW")
    batch = [
        batch_of(
            partition_loader, target_of(partition_loader, "append"), changed, new, version="v2"
        ),
        batch_of(other, target_of(other, "append"), row("AAA"), new, version="v2"),
    ]
    quarantined, loaded = partition_loader.warehouse.load_batches(batch)
    assert isinstance(quarantined, QuarantinedError)
    assert isinstance(loaded, WriteResult)
    assert counts(loaded) == (1, 0, 0, 1)
    assert partition_loader.rows(finra_otc_weekly, "week_start", "symbol") == [
        (MONDAY, "AAA"),
        (MONDAY + A_WEEK, "AAA"),
        (MONDAY + A_WEEK, "NEW"),
    ]


@pytest.mark.slow_on_postgresql
def test_tables_derived_of_an_appended_partition_are_of_all_its_rows(partition_loader):
    append(partition_loader, row("AAA"))
    append(partition_loader, row("BBB"), scope=ATS, version="v2")
    assert partition_loader.rows(finra_symbol_week, "symbol") == [("AAA",), ("BBB",)]


# What makes no sense


@pytest.mark.parametrize(
    "delivered",
    [{"ranges_of": 1}, {"scope": {"week_start": Days(MONDAY, MONDAY)}}],
    ids=["spilled", "days"],
)
def test_an_append_in_ranges_is_refused(partition_loader, delivered):
    with pytest.raises(ConfigurationError, match="expected rows without ranges"):
        append(partition_loader, row("AAA"), row("BBB"), **delivered)
    assert partition_loader.count(deliveries) == 0


def test_an_unknown_disposition_and_two_in_one_batch_are_refused(partition_loader):
    with pytest.raises(ConfigurationError, match="invalid write_disposition of finra_otc_weekly"):
        partition_loader.write_batch(row("AAA"), target=target_of(partition_loader, "upsert"))
    other = PartitionLoader(
        partition_loader.warehouse, partition_loader.folder, week_start=MONDAY + A_WEEK
    )
    batch = [
        batch_of(partition_loader, target_of(partition_loader, "merge"), row("AAA")),
        batch_of(other, target_of(other, "append"), row("AAA")),
    ]
    with pytest.raises(ConfigurationError, match="for all deliveries of a batch"):
        partition_loader.warehouse.load_batches(batch)
    assert partition_loader.count(finra_otc_weekly) == 0


# Replay


def replay_and_expect_disposition(
    partition_loader: PartitionLoader, rows_of: dict[str, list[Any]], disposition: Any
) -> ValidatedBatch[Any]:
    """Return the replay of all that makes up the partition: ``rows_of`` it by source version."""
    state, recorded = partition_loader.warehouse.recorded(
        finra_otc_weekly, partition_loader.partition_key
    )
    latest, effective = select_deliveries(recorded, partition_loader.partition_key)
    loads = combine_batches([frame(rows_of[each.source_version]) for each in effective])
    rows = fold_rows(finra_otc_weekly, effective, loads)
    written, delivery = replay_of_all(latest, effective)
    delivery = replace(delivery, captures=[partition_loader.capture() for _ in effective])
    assert written == ("append" if disposition == "append" else "replace_scope")
    target = target_of(partition_loader, written, token=state.token, rule_version="2")
    validated = Validated(rows, pl.DataFrame(schema=REJECT_SCHEMA))
    return prepare(target, delivery, validated)


@pytest.mark.slow
@pytest.mark.slow_on_postgresql
def test_a_replay_of_merges_is_one_delivery_of_their_latest_rows(partition_loader):
    rows_of = {
        "v1": [row("AAA"), row("BBB")],
        "v2": [row("BBB", share_quantity=7), row("CCC")],
    }
    for version, rows in rows_of.items():
        merge(partition_loader, *rows, version=version)
    assert partition_loader.warehouse.are_there(
        [replay_and_expect_disposition(partition_loader, rows_of, "merge")]
    ) == [True]
    by_newer_rules = {"v1": [row("AAA", share_quantity=1)], "v2": rows_of["v2"][:1]}
    [loaded] = partition_loader.warehouse.load_batches(
        [replay_and_expect_disposition(partition_loader, by_newer_rules, "merge")]
    )
    assert isinstance(loaded, WriteResult)
    assert (loaded.change_cause, counts(loaded)) == ("ours", (0, 1, 1, 1))
    assert partition_loader.quantities() == {"AAA": 1, "BBB": 7}
    assert partition_loader.warehouse.are_there(
        [replay_and_expect_disposition(partition_loader, by_newer_rules, "merge")]
    ) == [True]


@pytest.mark.slow
@pytest.mark.slow_on_postgresql
def test_a_replay_loads_a_quarantined_merge_with_loaded_ones(partition_loader):
    rows_of = {"v1": [row("AAA")], "v2": [row("BBB")]}
    merge(partition_loader, *rows_of["v1"], version="v1")
    with pytest.raises(QuarantinedError):
        merge(partition_loader, *rows_of["v2"], version="v2", audits=[FAILED])
    [loaded] = partition_loader.warehouse.load_batches(
        [replay_and_expect_disposition(partition_loader, rows_of, "merge")]
    )
    assert isinstance(loaded, WriteResult)
    assert partition_loader.quantities() == {"AAA": 100, "BBB": 100}


@pytest.mark.slow
@pytest.mark.slow_on_postgresql
def test_a_replay_of_a_whole_delivery_and_a_later_part_puts_the_part_over_it(partition_loader):
    rows_of = {
        "v1": [row("AAA"), row("AAA", market="NON_ATS")],
        "v2": [row("BBB")],
    }
    partition_loader.write_batch(*rows_of["v1"], version="v1")
    partition_loader.write_batch(*rows_of["v2"], version="v2", scope=ATS)
    assert partition_loader.warehouse.are_there(
        [replay_and_expect_disposition(partition_loader, rows_of, "replace_scope")]
    ) == [True]
    assert partition_loader.rows(finra_otc_weekly, "market", "symbol") == [
        ("ATS", "BBB"),
        ("NON_ATS", "AAA"),
    ]


@pytest.mark.slow_after_first
def test_a_part_that_is_older_than_a_whole_delivery_does_not_win_over_it(partition_loader):
    rows_of = {"v1": [row("AAA", share_quantity=1)], "v2": [row("AAA", share_quantity=2)]}
    with pytest.raises(QuarantinedError):
        partition_loader.write_batch(*rows_of["v1"], version="v1", scope=ATS, audits=[FAILED])
    partition_loader.write_batch(*rows_of["v2"], version="v2")
    assert partition_loader.warehouse.are_there(
        [replay_and_expect_disposition(partition_loader, rows_of, "replace_scope")]
    ) == [True]
    part = f"{finra_otc_weekly.name}:{partition_loader.partition_key}#1"
    _, recorded = partition_loader.warehouse.recorded(
        finra_otc_weekly, partition_loader.partition_key
    )
    with pytest.raises(ConfigurationError, match="is older than what is loaded"):
        select_deliveries(recorded, partition_loader.partition_key, group_id=part)


@pytest.mark.slow_after_first
def test_a_replay_of_appends_with_other_values_is_quarantined(partition_loader):
    rows_of = {"v1": [row("AAA")], "v2": [row("BBB")]}
    for version, rows in rows_of.items():
        append(partition_loader, *rows, version=version)
    assert partition_loader.warehouse.are_there(
        [replay_and_expect_disposition(partition_loader, rows_of, "append")]
    ) == [True]
    by_newer_rules = {**rows_of, "v1": [row("AAA", share_quantity=7)]}
    [ended] = partition_loader.warehouse.load_batches(
        [replay_and_expect_disposition(partition_loader, by_newer_rules, "append")]
    )
    assert isinstance(ended, QuarantinedError)
    assert partition_loader.quantities() == {"AAA": 100, "BBB": 100}


@pytest.mark.slow
@pytest.mark.slow_on_postgresql
def test_a_replay_of_several_deliveries_cannot_be_named(partition_loader):
    rows_of = {"v1": [row("AAA")], "v2": [row("BBB")]}
    for version, rows in rows_of.items():
        merge(partition_loader, *rows, version=version)
    newer = {**rows_of, "v1": [row("AAA", share_quantity=7)]}
    partition_loader.warehouse.load_batches(
        [replay_and_expect_disposition(partition_loader, newer, "merge")]
    )
    name = f"{finra_otc_weekly.name}:{partition_loader.partition_key}#3"
    _, recorded = partition_loader.warehouse.recorded(
        finra_otc_weekly, partition_loader.partition_key
    )
    with pytest.raises(ConfigurationError, match="replayed several deliveries at once"):
        select_deliveries(recorded, partition_loader.partition_key, group_id=name)


@pytest.mark.slow
@pytest.mark.slow_on_postgresql
def test_captures_of_a_whole_delivery_below_a_part_stay_needed(partition_loader):
    partition_loader.write_batch(row("AAA"))
    partition_loader.write_batch(row("AAA", share_quantity=7))
    partition_loader.write_batch(row("AAA", share_quantity=8), scope=ATS)
    with partition_loader.warehouse.reading() as connection:
        needed = find_effective_groups(connection)
    name = f"{finra_otc_weekly.name}:{partition_loader.partition_key}"
    assert needed == {f"{name}#2", f"{name}#3"}


@pytest.mark.slow
@pytest.mark.slow_on_postgresql
def test_captures_of_each_merge_and_append_and_of_what_is_below_them_stay_needed(partition_loader):
    other = PartitionLoader(
        partition_loader.warehouse, partition_loader.folder, week_start=MONDAY + A_WEEK
    )
    partition_loader.write_batch(row("AAA"))
    merge(partition_loader, row("AAA", share_quantity=7), version="v2")
    merge(partition_loader, row("AAA", share_quantity=8), version="v3")
    append(other, row("AAA"))
    with partition_loader.warehouse.reading() as connection:
        needed = find_effective_groups(connection)
    name = finra_otc_weekly.name
    assert needed == {
        f"{name}:{partition_loader.partition_key}#1",
        f"{name}:{partition_loader.partition_key}#2",
        f"{name}:{partition_loader.partition_key}#3",
        f"{name}:{other.partition_key}#1",
    }
    assert (
        partition_loader.rows(landings, "scope")[1:3]
        == [
            (f"tier=T1,week_start={MONDAY},write_disposition=merge",),
        ]
        * 2
    )
