"""What an asset check says of itself, and of the partitions that failed it."""

import json

import dagster as dg
import pytest

from orchestration_project import redaction
from orchestration_project.definitions import defs
from orchestration_project.engine.contracts.audits import AuditSummary
from orchestration_project.services.ledger.reading import read_facts
from orchestration_project.services.metadata import check_result, check_spec, redact_table

TABLE = dg.AssetKey(["finra", "otc_weekly"])
FAILED: dict[str, object] = {
    "partition_key": "T1|2026-02-09",
    "expected": "0 keys with several rows",
    "found": "2",
    "offenders": '[{"symbol": "AAPL"}]',
    "group_id": "finra_otc_weekly:T1|2026-02-09#1",
    "run_id": "a-run",
    "audited_at": "2026-03-02",
}


def result_of(summary: AuditSummary) -> dg.AssetCheckResult:
    return check_result(TABLE, summary, dg.AssetCheckSeverity.ERROR)


def test_every_check_of_a_load_describes_its_claim_effect_limit_and_remedy():
    graph = defs.resolve_asset_graph()
    specs = {
        (key.asset_key.to_user_string(), key.name): graph.get_check_spec(key)
        for key in graph.asset_check_keys
    }
    spec = specs["finra/otc_weekly", "has_few_rejects"]
    assert spec.description == (
        "The share of rejected lines is within the limit.\n\n"
        "A failure quarantines the partition: nothing of it is published.\n\n"
        "Limit: `FINRA_MAX_REJECT_RATIO` = 0.005.\n\n"
        "What to do: read the table rejects; report it, or raise the limit."
    )
    for each in specs.values():
        claim, effect, *rest = str(each.description).split("\n\n")
        assert claim.endswith(".")
        assert effect.startswith("A failure ")
        assert rest[-1].startswith("What to do: ")
        assert each.blocking == effect.startswith("A failure quarantines the ")
    assert {key[0].split("/")[0] for key, spec in specs.items() if spec.blocking} == {
        "cboe",
        "finra",
        "fx",
        "prices",
        "web",
    }


def test_a_check_without_anything_to_judge_says_so_first():
    result = result_of(AuditSummary("has_rows", [], 0, 2, [], ["expected 4 weeks, found 1"]))
    assert result.description == "not applicable: expected 4 weeks, found 1"
    assert next(iter(result.metadata.items())) == (
        "outcome",
        dg.MetadataValue.text("not applicable: expected 4 weeks, found 1"),
    )
    assert result.metadata["partitions_passed"].value == 0


def test_a_failed_check_names_partition_run_and_offenders_first():
    result = result_of(AuditSummary("has_unique_keys", [], 25, 1, [FAILED], ["no totals"]))
    assert list(result.metadata)[:6] == [
        "outcome",
        "failed",
        "pages",
        "run",
        "expected",
        "found",
    ]
    assert result.description == (
        "failed in 1 of 26 partitions; not applicable in 1: no totals: T1|2026-02-09. "
        "expected 0 keys with several rows, found 2"
    )
    assert result.metadata["pages"].value == (
        "[T1|2026-02-09](/assets/finra/otc_weekly?view=partitions&partition=T1%7C2026-02-09)"
    )
    assert result.metadata["run"] == dg.MetadataValue.dagster_run("a-run")
    offenders = result.metadata["offenders"]
    assert isinstance(offenders, dg.TableMetadataValue)
    assert [record.data for record in offenders.records] == [{"symbol": "AAPL"}]


def test_quoted_rows_are_cut_to_a_size_and_have_no_secret(monkeypatch: pytest.MonkeyPatch):
    secrets = redaction.Secrets()
    secrets.hide("hunter2-hunter2")
    monkeypatch.setattr("orchestration_project.services.metadata.redacted", secrets.redacted)
    table = redact_table({"record": f"hunter2-hunter2 {'x' * 5000}"} for _ in range(500))
    cells = [str(record.data["record"]) for record in table.records]
    assert 50 < len(cells) < 100
    assert len(json.dumps(cells)) < 24_000
    assert {cell[:5] for cell in cells} == {"*** x"}


@dg.multi_asset(
    specs=[dg.AssetSpec("rows")],
    check_specs=[
        check_spec(name, asset=dg.AssetKey("rows"), description="It holds.", quarantines="part")
        for name in ("has_rows", "has_unique_keys")
    ],
)
def rows():
    yield dg.MaterializeResult(asset_key="rows")
    for summary in (
        AuditSummary("has_rows", [], 0, 1, [], ["no totals"]),
        AuditSummary("has_unique_keys", [], 1, 0, [FAILED]),
    ):
        yield check_result(dg.AssetKey("rows"), summary, dg.AssetCheckSeverity.ERROR)


@dg.asset(deps=["rows"])
def sums() -> None: ...


def test_a_check_that_failed_for_another_partition_blocks_neither_its_run_nor_what_follows():
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize([rows, sums], instance=instance)
        assert result.success
        assert [str(event.step_key) for event in result.get_asset_materialization_events()] == [
            "rows",
            "sums",
        ]
        record = instance.get_run_record_by_id(result.run_id)
        assert record is not None
        (step,) = [step for step in read_facts(instance, record).steps if step.checks]
    assert {check.name: check.passed for check in step.checks} == {
        "rows has_rows": None,
        "rows has_unique_keys": False,
    }


def test_a_table_without_rows_is_a_table():
    assert list(redact_table([]).records) == []
