"""What needs a person, of every kind, with known answers for an operator's situation."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import dagster as dg
import pytest
from sqlalchemy import insert, select, update

from orchestration_project.assets.finra import DATASET_ASSETS
from orchestration_project.domains.events.tables import events_routing_dead_letters
from orchestration_project.domains.mqtt.tables import mqtt_dead_letters
from orchestration_project.domains.saas.tables import saas_dead_letters
from orchestration_project.domains.web.tables import web_proposals
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.roles import Role
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.delivery import capture_id
from orchestration_project.errors import ConfigurationError
from orchestration_project.services.attention.failed_runs import read_failed_runs
from orchestration_project.services.attention.marks import Marks
from orchestration_project.services.attention.rules import (
    KINDS,
    Attempt,
    ItemSelection,
    Selection,
    find_failure_start,
    has_partition,
)
from orchestration_project.tables.catalogue import asset_of
from orchestration_project.tables.operations_runs import operations_runs
from orchestration_project.tables.spine import balances, fences
from tests.prepared import Prepared
from tests.programs import DEMO
from tests.situations import HOUR, NOON, SHA256, WEEKLY, Situation


@pytest.fixture(params=["sqlite", "postgresql"])
def situation(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    prepared: Prepared,
) -> Iterator[Situation]:
    for name, value in {**DEMO, "STATE_DIR": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    with ExitStack() as stack:
        url, schema = prepared.sqlite(tmp_path / "w.sqlite"), None
        if request.param == "postgresql":
            url, schema = stack.enter_context(prepared.schema())
        yield Situation(stack.enter_context(Warehouse(url, clock=Clock(), schema=schema)))


@pytest.mark.slow_after_first
def test_a_partition_is_quarantined_since_the_first_delivery_after_the_last_loaded_one(situation):
    for number, outcome in enumerate(["held_back", "landed", "refused"], 1):
        situation.deliver("T2|2025-01-06", outcome, number)
    group = situation.deliver("T2|2025-01-06", "held_back", 4)
    situation.audit(group, "is_complete", f"2 rows; SHA-256 {SHA256}")
    entry = situation.entry("quarantined")
    assert (entry.since, entry.latest_at) == (NOON + 3 * HOUR, NOON + 4 * HOUR)
    assert (entry.title, entry.domain) == ("finra/otc_weekly T2|2025-01-06", "finra")
    assert [tuple(expectation) for expectation in entry.expectations] == [
        ("is_complete", "at least 8 rows", f"2 rows; SHA-256 {SHA256}")
    ]
    assert entry.capture_ids == [capture_id(group, 1)]
    assert entry.can_retry_help is False
    assert "until the source or a rule changes" in entry.advice
    accept = entry.launches["accept"].config["ops"]["replay_finra"]["config"]
    assert accept == {
        "table": WEEKLY,
        "group_id": group,
        "dry_run": False,
        "accept_sha256": SHA256,
    }
    retry = entry.launches["retry"]
    assert (retry.job, retry.partition, retry.range_tags) == (WEEKLY, "T2|2025-01-06", {})


@pytest.mark.slow_after_first
def test_a_batch_that_another_audit_quarantines_cannot_be_accepted(situation):
    group = situation.deliver("T2|2025-01-06", "held_back", 1)
    situation.audit(group, "is_complete", f"2 rows; SHA-256 {SHA256}")
    situation.audit(group, "has_few_rejects", "7 rejects")
    entry = situation.entry("quarantined")
    assert list(entry.actions) == ["retry", "replay", "ignore"]


@pytest.mark.slow_after_first
def test_a_failed_partition_is_one_entry_since_its_first_failure(situation):
    weekly = {"partition_key": "T1|2025-01-06", "asset": "finra/otc_weekly"}
    situation.run(1, "FAILURE", **weekly)
    situation.run(2, "SUCCESS", **weekly)
    situation.run(3, "FAILURE", **weekly)
    situation.run(4, "FAILURE", **weekly, category="defect")
    entry = situation.entry("failed_run")
    assert (entry.since, entry.latest_at) == (NOON + 3 * HOUR, NOON + 4 * HOUR)
    assert (entry.run_id, entry.asset, entry.partition) == (
        "run-4",
        "finra/otc_weekly",
        "T1|2025-01-06",
    )
    assert entry.can_retry_help is False
    assert "it is a defect" in entry.advice
    situation.run(5, "SUCCESS", **weekly | {"job": "__ASSET_JOB"})  # a backfill of the asset
    assert situation.entries("failed_run") == []


@pytest.mark.slow_after_first
def test_a_failed_range_is_made_good_by_its_partitions_and_a_failed_job_by_its_next_run(situation):
    weeks = ["T1|2025-12-01", "T1|2025-12-08", "T1|2025-12-15"]
    asset = {"asset": "finra/otc_weekly"}
    situation.run(1, "FAILURE", partition_key=f"{weeks[0]}...{weeks[2]}", **asset)
    situation.run(2, "FAILURE", job="operations_checks", domain="operations", step="verify")
    assert [entry.title for entry in situation.entries("failed_run")] == [
        "operations_checks",
        f"finra/otc_weekly {weeks[0]}...{weeks[2]}",
    ]
    situation.run(3, "SUCCESS", partition_key=weeks[0], **asset)
    situation.run(4, "SUCCESS", partition_key=f"{weeks[1]}...{weeks[2]}", **asset)
    assert [entry.title for entry in situation.entries("failed_run")] == ["operations_checks"]
    situation.run(5, "SUCCESS", job="operations_checks", domain="operations", step="verify")
    assert situation.entries("failed_run") == []


@pytest.mark.slow_after_first
def test_a_long_range_is_not_made_good_by_a_part_of_it(situation):
    first, last_loaded, last = "2010-01-01", "2015-06-23", "2015-06-24"  # 2,000 days and one more
    asset = {"asset": "finra/otc_weekly"}
    situation.run(1, "FAILURE", partition_key=f"{first}...{last}", **asset)
    situation.run(2, "SUCCESS", partition_key=f"{first}...{last_loaded}", **asset)
    days = {("finra", "otc_weekly"): dg.DailyPartitionsDefinition(first)}
    found = read_failed_runs(situation.warehouse, lambda: days)
    assert [entry.title for entry in found.entries] == [f"finra/otc_weekly {first}...{last}"]
    assert not found.is_cut
    situation.run(3, "SUCCESS", partition_key=f"{first}...{last}", **asset)
    assert read_failed_runs(situation.warehouse, lambda: days).entries == []


@pytest.mark.slow
def test_failures_beyond_those_that_are_read_are_said_to_be_left_out(situation):
    situation.run(1, "FAILURE", job="operations_checks", domain="operations", step="verify")
    with situation.warehouse.writing() as connection:
        [row] = connection.execute(select(operations_runs)).mappings().all()
        copies = [{**row, "run_id": f"copy-{number}"} for number in range(5_000)]
        connection.execute(insert(operations_runs), copies)
    assert read_failed_runs(situation.warehouse, dict).is_cut
    assert "failed_run" in situation.read().cut_kinds


@pytest.mark.slow_after_first
def test_a_run_that_failed_by_a_quarantined_partition_is_no_second_entry(situation):
    situation.deliver("T2|2025-01-06", "held_back", 1)
    situation.run(
        1, "FAILURE", partition_key="T2|2025-01-06", asset="finra/otc_weekly", category="contract"
    )
    situation.run(2, "FAILURE", partition_key="T1|2025-01-06", asset="finra/otc_weekly")
    assert situation.entry("failed_run").title == "finra/otc_weekly T1|2025-01-06"
    assert situation.entry("quarantined").run_id == "run-1"
    situation.deliver("T2|2025-01-06", "held_back", 3)  # by a later run, which is not recorded yet
    assert situation.entry("failed_run").title == "finra/otc_weekly T1|2025-01-06"


@pytest.mark.slow_after_first
def test_items_are_grouped_by_topic_and_reason_with_their_remedy(situation):
    situation.item("prices_symbols", "AAA", 1, reason_code="transient", reason="timed out")
    situation.item("prices_symbols", "BBB", 2, reason_code="transient", state="failed")
    situation.item("prices_symbols", "CCC", 3, reason_code="contract", reason="no price")
    situation.item("prices_symbols", "DDD", 3, state="done")
    contract, transient = sorted(situation.entries("failed_item"), key=lambda entry: entry.title)
    assert (transient.count, transient.since) == (2, NOON + HOUR)
    assert transient.items == ItemSelection("prices_symbols", "transient")
    assert transient.can_retry_help
    assert transient.advice == "a retry can help; 1 of 2 are retried automatically"
    assert transient.expectations[0] == ("AAA", "done", "1 dead, 1 failed: timed out")
    assert contract.can_retry_help is False
    assert "the data, or the rule that it breaks, has to change" in contract.advice


@pytest.mark.slow_after_first
def test_uploaded_files_that_failed_are_refused_uploads(situation):
    situation.item("documents/2026-01-05", "/inbox/letters/u1/a.pdf", 1, reason_code="encrypted")
    situation.item("documents/2026-01-05", "folder/b.pdf", 2, reason_code="encrypted")
    situation.item("uploads/letters", "u2", 3, reason_code="contract")
    uploads = situation.entries("refused_upload")
    assert [entry.title for entry in uploads] == [
        "uploads/letters: contract",
        "documents/2026-01-05: encrypted",
    ]
    assert situation.entry("failed_item").expectations[0].name == "folder/b.pdf"


@pytest.mark.slow_after_first
def test_dead_letters_are_grouped_and_lead_to_their_replay(situation):
    hour = {"failed_at": NOON + HOUR, "reason": "no such kind", "run_id": "run-1"}
    for arrival in (1, 2):
        situation.add(
            mqtt_dead_letters,
            arrival_id=arrival,
            reason_code="schema",
            received_at=NOON - arrival * HOUR,
            **hour,
        )
    situation.add(mqtt_dead_letters, arrival_id=3, reason_code="schema", ended_at=NOON, **hour)
    entry = situation.entry("dead_letter")
    assert (entry.count, entry.since, entry.domain) == (2, NOON - 2 * HOUR, "mqtt")
    assert entry.launches["replay"].job == "mqtt_replay_dead_letters"
    assert entry.launches["replay"].config == {
        "ops": {"replay_mqtt_dead_letters": {"config": {"reason_code": "schema", "dry_run": False}}}
    }


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("numbers", "expected"),
    [([1, 2, 3], 1), ([1, 3], 3), ([2, 3], 2)],
)
def test_a_letter_that_a_replay_made_again_is_as_old_as_the_first(situation, numbers, expected):
    """The attempt of a missing number succeeded, and left no letter."""
    for number in numbers:
        situation.add(
            saas_dead_letters,
            system="peopleforce",
            entity_type="task",
            entity_id="42",
            version_number=number,
            reason_code="refused",
            failed_at=NOON + number * HOUR,
            ended_at=None if number == 3 else NOON + number * HOUR + HOUR / 2,
        )
    assert situation.entry("dead_letter").since == NOON + expected * HOUR


@pytest.mark.slow_after_first
def test_letters_of_routing_are_replayed_by_source_and_reason(situation):
    situation.add(
        events_routing_dead_letters,
        source="git",
        delivery_id="d1",
        rule_id="r",
        letter_number=1,
        reason_code="wrong_type",
        stage="plan",
    )
    launch = situation.entry("dead_letter").launches["replay"]
    [config] = launch.config["ops"].values()
    assert (launch.job, config["config"]) == (
        "events_replay_routing",
        {"source": "git", "reason_code": "wrong_type", "dry_run": False},
    )


@pytest.mark.slow_after_first
def test_an_alert_that_replaced_others_is_as_old_as_the_first(situation):
    situation.alert(1, "replaced", ended=3)
    situation.alert(3, "replaced", ended=5)
    situation.alert(5, "open")
    entry = situation.entry("alert")
    assert (entry.since, entry.latest_at) == (NOON + HOUR, NOON + 5 * HOUR)
    assert (entry.alert_id, entry.domain) == (f"{5:032}", "finra")
    assert list(entry.actions) == ["close", "acknowledge", "ignore"]


@pytest.mark.slow_after_first
def test_an_imbalance_is_listed_until_its_partition_has_a_later_delivery(situation):
    group = situation.deliver("T1|2025-01-06", "landed", 1)
    unbalanced = {
        "table_name": WEEKLY,
        "equation": "records",
        "came_in": 7,
        "went_to": '{"rows": 5, "rejects": 1}',
        "state": "unbalanced",
        "run_id": "run-1",
    }
    situation.add(balances, subject=group, **unbalanced)
    situation.add(balances, subject="run-7", recorded_at=NOON - HOUR, **unbalanced)
    first, second = situation.entries("imbalance")
    assert [first.title, second.title] == [f"{WEEKLY} {group}", f"{WEEKLY} run-7"]
    assert first.expectations[0].found == "records: 7 != 5 rows + 1 rejects"
    situation.deliver("T1|2025-01-06", "landed", 2)
    assert situation.entry("imbalance").title == f"{WEEKLY} run-7"


@pytest.mark.slow_after_first
def test_an_open_proposal_has_its_preview_and_its_acceptance(situation):
    difference = ("k1", "changed", "price", '"1"', '"2"')
    evidence = {
        "day_before": "2026-01-04",
        "day": "2026-01-05",
        "items_before": 10,
        "items_without_proposal": 2,
        "items_after": 10,
        "fill_rates": {"price": {"before": 1.0, "without_proposal": 0.2, "after": 1.0}},
        "differences": [
            dict(zip(("item_key", "change", "field", "before", "after"), difference, strict=True))
        ],
    }
    situation.add(
        web_proposals,
        proposal_id="shop-1",
        site="shop",
        state="open",
        fields=json.dumps({"price": {"old": {"css": ".a"}, "new": {"css": ".b"}}}),
        evidence=json.dumps(evidence),
    )
    situation.add(web_proposals, proposal_id="shop-0", site="shop", state="rejected")
    entry = situation.entry("proposal")
    assert entry.title == "shop: selectors of price"
    assert entry.preview[0].rows == [("price", '{"css": ".a"}', '{"css": ".b"}')]
    assert entry.preview[1].rows == [("price", "100%", "20%", "100%")]
    assert [tuple(row) for row in entry.preview[2].rows] == [difference]
    accept = entry.launches["accept"]
    assert accept.job == "web_accept_proposal"
    assert "accept" in entry.actions_of(Role.OPERATOR)
    assert list(entry.actions_of(Role.VIEWER)) == []


@pytest.mark.slow_after_first
def test_late_data_is_an_entry_of_its_asset_and_loads_its_oldest_partition(situation):
    treasury = next(asset for asset in DATASET_ASSETS if asset.dataset.noun == "treasury_monthly")
    table = treasury.dataset.table.name
    situation.deliver("2025-09-01", "landed", 1, table)
    with situation.warehouse.writing() as connection:
        connection.execute(update(fences).values(changed_token=1))
    entry = next(entry for entry in situation.entries("late") if entry.asset == asset_of(table))
    assert (entry.partition, entry.count) == ("2025-10-01", 2)
    assert entry.expectations[0].found == "2 partitions missing"
    assert NOON - 90 * 24 * HOUR < entry.since < NOON
    assert entry.launches["retry"].partition == "2025-10-01"
    situation.deliver("2025-10-01", "held_back", 1, table)
    situation.deliver("2025-11-01", "held_back", 1, table)
    assert asset_of(table) not in {entry.asset for entry in situation.entries("late")}


@pytest.mark.slow_after_first
def test_entries_are_in_the_order_of_kinds_and_counted_and_filtered(situation):
    situation.alert(1, "open")
    situation.deliver("T2|2025-01-06", "held_back", 1)
    situation.deliver("T1|2025-01-06", "held_back", 1)
    situation.item("prices_symbols", "AAA", 1, reason_code="transient")
    inbox = situation.read()
    kinds = [entry.kind for entry in inbox.entries if entry.kind != "late"]
    assert kinds == ["quarantined", "quarantined", "failed_item", "alert"]
    assert kinds == sorted(kinds, key=KINDS.index)
    counts = inbox.counts("kind", Selection(domain="finra"))
    assert {name: count for name, count in counts.items() if name != "late"} == {
        "quarantined": 2,
        "alert": 1,
    }
    assert inbox.counts("domain", Selection("failed_item")) == {"prices": 1}
    assert [entry.kind for entry in inbox.select(Selection("alert", "finra"))] == ["alert"]


@pytest.mark.slow_after_first
def test_an_ignored_entry_is_hidden_until_it_ends_or_fails_again(situation):
    situation.deliver("T2|2025-01-06", "held_back", 1)
    entry, marks = situation.entry("quarantined"), Marks(situation.warehouse)
    marks.ignore(entry, " the source is informed ", Clock().now() + HOUR, by="ada")
    assert situation.entries("quarantined") == []
    [ignored] = situation.read().select(Selection("quarantined", is_ignored=True))
    assert ignored.mark is not None
    assert (ignored.mark.reason, ignored.mark.marked_by) == ("the source is informed", "ada")
    assert "restore" in ignored.actions
    assert ignored.entry_id == entry.entry_id
    situation.deliver("T2|2025-01-06", "held_back", 2)  # a replay in vain
    assert situation.entries("quarantined") == []
    situation.deliver("T2|2025-01-06", "landed", 3)
    situation.deliver("T2|2025-01-06", "held_back", 4)
    assert situation.entry("quarantined").entry_id == entry.entry_id
    marks.ignore(situation.entry("quarantined"), "again", Clock().now() + HOUR, by="ada")
    late = Marks(situation.warehouse, Clock())
    assert late.read()[entry.entry_id].is_in_effect(NOON + 4 * HOUR, Clock().now() + 2 * HOUR) is (
        False
    )
    marks.remove(entry)
    assert situation.entry("quarantined").mark is None


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("reason", "hours", "problem"),
    [
        (" ", 1, "invalid reason"),
        ("x" * 501, 1, "invalid reason"),
        ("later", -1, "invalid end"),
        ("later", 24 * 400, "invalid end"),
        ("later", None, "invalid end"),
    ],
)
def test_an_invalid_mark_is_refused(situation, reason: str, hours: int | None, problem: str):
    situation.deliver("T2|2025-01-06", "held_back", 1)
    until = None if hours is None else Clock().now() + hours * HOUR
    with pytest.raises(ConfigurationError, match=problem):
        Marks(situation.warehouse).ignore(situation.entry("quarantined"), reason, until, by="ada")
    assert situation.entry("quarantined").mark is None


@pytest.mark.parametrize(
    ("loaded", "partition", "expected"),
    [
        ("T1|2025-01-06", "T1|2025-01-06", True),
        ("T1|2025-01-06...T1|2025-02-03", "T1|2025-01-13", True),
        ("T1|2025-01-06", "T1|2025-01-06...T1|2025-01-13", False),
        ("T1|2025-01-06...T1|2025-02-03", "T2|2025-01-13", False),
        ("", "", True),
        ("", "T1", False),
    ],
)
def test_a_loaded_range_covers_a_partition(loaded: str, partition: str, expected: bool):
    assert has_partition(loaded, partition) is expected


def test_a_success_before_the_latest_failure_does_not_make_it_good():
    def attempt(number: int, partition: str = "2025-01-06") -> Attempt:
        return Attempt("a", partition, NOON + number * HOUR, NOON + number * HOUR)

    assert find_failure_start([attempt(1), attempt(3)], [attempt(2)], []) == NOON + 3 * HOUR
    assert find_failure_start([attempt(1), attempt(2)], [], []) == NOON + HOUR
    assert find_failure_start([attempt(1)], [attempt(2, "2025-01-13")], []) == NOON + HOUR
    assert find_failure_start([attempt(1)], [attempt(2)], []) is None
