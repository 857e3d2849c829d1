"""Evidence archives of both databases: they hold what the tables hold, and prove to be whole."""

import hashlib
import json
import re
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import dagster as dg
import polars as pl
import pytest
from sqlalchemy import insert

from orchestration_project.assets.operations import export_job
from orchestration_project.catalog import REGISTRY
from orchestration_project.domains.finra.tables.weekly import finra_otc_weekly
from orchestration_project.domains.prices.calendar import sessions
from orchestration_project.engine.captures import Captures
from orchestration_project.engine.connections.artifacts import FolderStore
from orchestration_project.engine.contracts.audits import Acceptance, apply_acceptance
from orchestration_project.engine.contracts.job_kinds import EXPORT_EVIDENCE
from orchestration_project.engine.contracts.presets import Preset
from orchestration_project.errors import ConfigurationError
from orchestration_project.redaction import hide
from orchestration_project.services.evidence.exporting import (
    Sources,
    export_evidence,
    resolve_file,
)
from orchestration_project.services.evidence.rules import MANIFEST
from orchestration_project.services.evidence.subjects import EvidenceRequest
from orchestration_project.services.evidence.verifying import verify
from orchestration_project.services.inbox.rows import Content
from orchestration_project.services.ledger import Ledger, reconcile
from orchestration_project.services.presets import (
    Presets,
    read_applied,
    record_verified_config,
    resolve_config,
)
from orchestration_project.settings import load_settings
from orchestration_project.tables.catalogue import tables
from orchestration_project.tables.operations_alerts import (
    operations_alert_deliveries,
    operations_alerts,
)
from orchestration_project.tables.schema import HISTORY
from tests.domains.prices import line
from tests.resources.price_loading import PriceLoader as Prices
from tests.resources.weeks import FAILED, NOON, rejected, row
from tests.runs import run_kind
from tests.webhook_runs import load_content

ON_SQLITE = pytest.mark.parametrize("warehouse", ["sqlite"], indirect=True)
"""Database of tests for which its kind makes no difference."""

SECRET = "hunter2-of-the-source"
AFTER = NOON + timedelta(days=9)
PARTITION = "T1|2025-11-10"


@dg.asset(check_specs=[dg.AssetCheckSpec("is_good", asset="part")])
def part(context: dg.AssetExecutionContext):
    context.log.info(f"asked with {SECRET}")
    yield dg.AssetCheckResult(passed=False, severity=dg.AssetCheckSeverity.WARN, metadata={"n": 7})
    yield dg.MaterializeResult()


@pytest.fixture(autouse=True)
def settings(tmp_path, monkeypatch):
    hide(SECRET)
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    return load_settings()


@pytest.fixture
def runs(partition_loader, clock, instance) -> tuple[str, str]:
    """Two runs of a session: one loads A and B of the week, the next, a day later, just A."""

    def run(*rows, **options) -> str:
        tags = {"session": "year end"}
        made = dg.materialize([part], instance=instance, tags=tags).run_id
        partition_loader.write_batch(*rows, target=partition_loader.target(run_id=made), **options)
        clock.at += timedelta(days=1)
        return made

    body = b"header\nA\nB\n"
    first = run(
        row("A", share_quantity=Decimal("9007199254.740993")),
        row("B", issue_name="two\u2028lines"),
        captures=[
            partition_loader.capture(body),
            partition_loader.capture(body),
            partition_loader.capture(SECRET.encode()),
        ],
        rejects=rejected(3).with_columns(record=pl.lit(SECRET)),
    )
    second = run(
        row("A", share_quantity=5),
        version="v2",
        captures=[partition_loader.capture(b"header\nA\n")],
    )
    reconcile(instance, Ledger(partition_loader.warehouse, clock), None)
    return first, second


@pytest.fixture
def export(partition_loader, clock, instance, settings):
    """Export what is requested, with the captured bytes."""

    def exported(file=None, store=None, tables=REGISTRY.tables, **wanted):
        store = Captures(store or FolderStore(partition_loader.folder))
        presets = read_applied(Presets(partition_loader.warehouse, clock))
        config = resolve_config(settings)
        sources = Sources(partition_loader.warehouse, instance, config, presets, tables, store)
        return export_evidence(sources, EvidenceRequest(**wanted), settings, file, now=AFTER)

    return exported


def contents(path: Path) -> dict[str, bytes]:
    with ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def lines(path: Path, name: str) -> list[dict]:
    return [json.loads(each) for each in contents(path)[f"{name}.jsonl"].split(b"\n")[:-1]]


@pytest.mark.slow
def test_an_archive_of_a_run_holds_what_is_known_of_that_run_and_no_secret(export, runs):
    first, second = runs
    found = export(run_id=first)
    assert found.path.name == f"evidence-run-{first}.zip"
    members = contents(found.path)
    captures = lines(found.path, "captures")
    assert [capture["run_id"] for capture in captures] == [first] * 3
    assert len({capture["sha256"] for capture in captures}) == len(lines(found.path, "blobs")) == 2
    for capture in captures:
        assert (
            hashlib.sha256(members[f"bytes/{capture['sha256']}"]).hexdigest() == capture["sha256"]
        )
        assert isinstance(capture["capture_id"], str)
    [run] = lines(found.path, "runs")
    assert (run["run_id"], run["session"], run["status"]) == (first, "year end", "SUCCESS")
    assert [step["step_key"] for step in lines(found.path, "steps")] == ["part"]
    [load] = lines(found.path, "landings")
    assert (load["rows_added"], load["landed_at"]) == ("2", "2026-01-05T12:00:00.123456Z")
    assert [audit["name"] for audit in lines(found.path, "audits")] == ["has_unique_keys"]
    [reject] = lines(found.path, "rejects")
    assert (reject["line_number"], reject["record"]) == ("3", "***")
    [check] = lines(found.path, "checks")
    assert (check["asset"], check["passed"], check["metadata"]) == ("part", False, {"n": 7})
    events = [event["event"] for event in lines(found.path, "events")]
    assert events == ["captured", "captured", "captured", "checked", "landed"]
    messages = [event["message"] for event in lines(found.path, "run_events")]
    assert "asked with ***" in messages
    assert any("Started execution" in message for message in messages)
    text = b"".join(content for name, content in members.items() if not name.startswith("bytes/"))
    assert SECRET.encode() not in text
    assert second.encode() not in text


@pytest.mark.slow
@ON_SQLITE
def test_the_manifest_has_the_hash_size_and_rows_of_each_member(export, runs):
    found = export(run_id=runs[0])
    members = contents(found.path)
    assert found.sha256 == hashlib.sha256(found.path.read_bytes()).hexdigest()
    assert found.manifest.sha256 == hashlib.sha256(members[MANIFEST]).hexdigest()
    for member in found.manifest.members:
        content = members.pop(member.name)
        assert (member.byte_count, member.sha256) == (
            len(content),
            hashlib.sha256(content).hexdigest(),
        )
        if member.row_count is not None:
            assert member.row_count == content.count(b"\n")
    assert sorted(members) == ["SHA256SUMS", MANIFEST]
    verified = verify(found.path)
    assert (verified.problems, verified.manifest) == ([], found.manifest)


@pytest.mark.slow
@ON_SQLITE
def test_the_same_evidence_is_the_same_file(export, runs):
    first = export(session="year end")
    content = first.path.read_bytes()
    again = export(session="year end")
    assert (again.path, again.path.read_bytes()) == (first.path, content)
    assert list(first.path.parent.iterdir()) == [first.path]
    with ZipFile(first.path) as archive:
        assert {member.date_time for member in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


@pytest.mark.slow
def test_an_archive_of_a_session_holds_all_of_its_runs(export, runs):
    found = export(session="year end")
    assert {each["run_id"] for each in lines(found.path, "runs")} == set(runs)
    assert {event["run_id"] for event in lines(found.path, "run_events")} == set(runs)
    assert [load["change_cause"] for load in lines(found.path, "landings")] == [
        "first",
        "source",
    ]


@pytest.mark.slow
def test_a_partition_at_a_time_is_what_was_known_then_and_what_had_led_to_it(export, runs):
    then, now = (
        export(partition=PARTITION, at=at).path for at in (NOON + timedelta(hours=1), AFTER)
    )
    quantities = [
        {
            record["symbol"]: record["share_quantity"]
            for record in lines(path, "rows/finra_otc_weekly")
        }
        for path in (then, now)
    ]
    assert quantities == [{"A": "9007199254.740993", "B": "100.000000"}, {"A": "5.000000"}]
    [names] = [
        record["issue_name"]
        for record in lines(then, "rows/finra_otc_weekly")
        if record["symbol"] == "B"
    ]
    assert names.splitlines() == ["two", "lines"]
    assert [len(lines(path, "landings")) for path in (then, now)] == [1, 2]
    assert [len(lines(path, "captures")) for path in (then, now)] == [3, 4]
    assert [each["run_id"] for each in lines(then, "runs")] == [runs[0]]
    assert {event["happened_at"] for event in lines(then, "events")} == {
        "2026-01-05T12:00:00.123456Z"
    }


@pytest.mark.slow
def test_alerts_about_a_partition_or_a_run_are_its_evidence_and_others_are_not(
    export, partition_loader, runs
):
    first, second = runs
    about = {
        "of the week": {"partitions": json.dumps(["OTCE|2026-01-26", PARTITION])},
        "of the run": {"run_id": first},
        "of the other run": {"run_id": second},
        "of another week": {"partitions": json.dumps([f"{PARTITION}0", "T1_2025-11-10"])},
        "later": {"partitions": json.dumps([PARTITION]), "raised_at": AFTER},
    }
    with partition_loader.warehouse.writing() as connection:
        for name, changes in about.items():
            connection.execute(insert(operations_alerts).values(alert(name) | changes))
            connection.execute(insert(operations_alert_deliveries).values(waiting(name)))
    at = NOON + timedelta(hours=1)
    of_week, of_run = (
        lines(export(**wanted).path, "alerts")
        for wanted in ({"partition": PARTITION, "at": at}, {"run_id": second})
    )
    assert [each["alert_id"] for each in of_week] == ["of the run", "of the week"]
    assert [each["alert_id"] for each in of_run] == ["of the other run"]
    [sent] = lines(export(run_id=second).path, "alert_deliveries")
    assert (sent["alert_id"], sent["state"], sent["attempt_count"]) == (
        "of the other run",
        "pending",
        "0",
    )


def alert(name: str) -> dict[str, Any]:
    """Return an alert, raised at noon, that is about nothing."""
    texts = ("alert_id", "kind", "severity", "title", "body", "state", "open_problems")
    return dict.fromkeys(texts, name) | {
        "assets": "[]",
        "partitions": "[]",
        "repeated_count": 0,
        "raised_at": NOON,
    }


def waiting(name: str) -> dict[str, Any]:
    state = {"channel": "mail", "state": "pending", "attempt_count": 0, "next_attempt_at": NOON}
    return {"alert_id": name, **state}


@pytest.mark.slow
@ON_SQLITE
def test_settings_are_those_in_effect_now_and_those_that_were_verified_for_the_runs(
    export, partition_loader, clock, instance, settings, monkeypatch
):
    before = resolve_config(settings)
    record_verified_config(partition_loader.warehouse, before, at=NOON, run_id="r")
    run_id = dg.materialize(
        [part], instance=instance, tags={"config_hash": before.config_hash}
    ).run_id
    reconcile(instance, Ledger(partition_loader.warehouse, clock), None)
    strict = Preset("strict", "load", {"ratio": 0.0})
    Presets(partition_loader.warehouse, clock).apply(strict, user="ada", reason="audit", run_id="r")
    found = export(run_id=run_id)
    assert {setting["config_hash"] for setting in lines(found.path, "settings")} == {
        before.config_hash
    }
    monkeypatch.setenv("FINRA_MAX_REJECT_RATIO", "0.25")
    monkeypatch.setenv("FINRA_ACCESS_TOKEN", SECRET)
    now = export_and_check_manifest(partition_loader, clock, instance, run_id)
    stored_settings = [tuple(setting.values()) for setting in lines(now, "settings")]
    new_hash = json.loads(contents(now)["versions.json"])["config_hash"]
    assert (new_hash, "FINRA_MAX_REJECT_RATIO", "0.25", "environment") in stored_settings
    assert (new_hash, "FINRA_ACCESS_TOKEN", "***", "environment") in stored_settings
    assert (before.config_hash, "FINRA_MAX_REJECT_RATIO", "0.005", "default") in stored_settings
    assert (new_hash, "load: ratio", "0.0", "preset strict#1, applied by ada") in stored_settings
    [applied] = lines(now, "presets")
    assert (applied["preset"], applied["reason"]) == ("strict", "audit")


def archive_at(address: str) -> Path:
    """Return the file at a path, or at a link of the gateway."""
    name = address.removeprefix("/api/v1/evidence/")
    return Path(address) if name == address else load_settings().state_path / "evidence" / name


def export_and_check_manifest(partition_loader, clock, instance, run_id: str, **config) -> Path:
    """Export by the asset, under the present settings; return where to."""
    result = run_kind(
        export_job,
        EXPORT_EVIDENCE,
        {
            "artifacts": FolderStore(partition_loader.folder),
            "registry": REGISTRY,
            "clock": clock,
            "settings": load_settings(),
            "warehouse": partition_loader.warehouse,
        },
        instance,
        run_id=run_id,
        **config,
    )
    [made] = result.asset_materializations_for_node("export")
    metadata: dict[str, Any] = {name: value.value for name, value in made.metadata.items()}
    path = archive_at(metadata["file"])
    assert metadata["bytes"] == path.stat().st_size
    assert metadata["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    rows = {record.data["member"]: record.data for record in metadata["contents"].records}
    assert rows["runs.jsonl"]["row_count"] == 1
    assert len(rows) == metadata["members"]
    assert metadata["manifest_sha256"] == verify(path).manifest_sha256
    return path


@pytest.mark.slow
@ON_SQLITE
def test_the_program_says_its_versions_and_which_rules_made_the_rows(export, runs):
    versions = json.loads(contents(export(run_id=runs[0]).path)["versions.json"])
    assert versions["rules"] == {"finra_otc_weekly": ["1"]}
    assert versions["packages"]["dagster"].startswith("1.13.")
    assert versions["python"].startswith("3.")
    assert versions["tables"]


@pytest.mark.slow
@ON_SQLITE
def test_bytes_that_are_gone_are_named_and_the_rest_is_evidence_all_the_same(
    export, runs, partition_loader
):
    gone = hashlib.sha256(b"header\nA\n").hexdigest()
    [file] = partition_loader.folder.rglob(f"{gone}*")
    file.unlink()
    found = export(run_id=runs[1])
    [missing] = lines(found.path, "missing_bytes")
    assert missing["sha256"] == gone
    assert "no such blob" in missing["why"]
    assert verify(found.path).problems == []


@pytest.mark.slow
@ON_SQLITE
def test_a_quarantined_delivery_is_evidence_too(export, partition_loader):
    with pytest.raises(Exception, match="is quarantined"):
        partition_loader.write_batch(row("A"), audits=[FAILED])
    found = export(partition=PARTITION, at=AFTER)
    assert [audit["outcome"] for audit in lines(found.path, "audits")] == ["failed"]
    assert lines(found.path, "rows/finra_otc_weekly") == lines(found.path, "landings") == []


@ON_SQLITE
def test_the_reason_of_an_accepted_delivery_is_evidence(export, partition_loader):
    audit = apply_acceptance(FAILED, "ab" * 32, Acceptance("ab" * 32, "a holiday"))
    partition_loader.write_batch(row("A"), audits=[audit])
    [found] = lines(export(partition=PARTITION, at=AFTER).path, "audits")
    assert (found["name"], found["outcome"]) == (FAILED.name, "passed")
    assert found["found"] == f"{FAILED.found}; accepted: a holiday"


@pytest.mark.slow_after_first
@ON_SQLITE
@pytest.mark.parametrize("subject", ["run", "session"])
def test_a_run_that_the_ledger_lacks_is_recorded_for_its_evidence(
    subject, partition_loader, export, instance
):
    made = dg.materialize([part], instance=instance, tags={"session": "year end"}).run_id
    partition_loader.write_batch(row("A"), target=partition_loader.target(run_id=made))
    found = export(**({"run_id": made} if subject == "run" else {"session": "year end"}))
    [recorded] = lines(found.path, "runs")
    assert (recorded["run_id"], recorded["status"]) == (made, "SUCCESS")


@pytest.mark.slow_after_first
@ON_SQLITE
@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({}, "it is not clear what the evidence shall be about"),
        ({"run_id": "x", "session": "y"}, "run_id, or session, or partition and at"),
        ({"partition": PARTITION}, "run_id, or session, or partition and at"),
        ({"run_id": "x", "at": NOON}, "run_id, or session, or partition and at"),
        ({"run_id": "x"}, "does not know the run x.*export operations_runs"),
        ({"session": "x"}, "does not know the session x.*export operations_sessions"),
        ({"partition": PARTITION, "at": AFTER + timedelta(1)}, "is not known yet"),
        ({"partition": "T9|x", "at": NOON}, "nothing was delivered of the partition.*export deliv"),
    ],
)
def test_what_is_unclear_or_was_never_recorded_is_refused_with_what_to_do(
    export, wanted, said, settings
):
    with pytest.raises(ConfigurationError) as refused:
        export(**wanted)
    assert re.search(said, str(refused.value), re.DOTALL)
    assert not (settings.state_path / "evidence").exists()


@ON_SQLITE
def test_a_time_before_the_first_delivery_gets_the_time_of_that(export, runs):
    with pytest.raises(ConfigurationError, match=r"its first delivery is of 2026-01-05T12:00"):
        export(partition=PARTITION, at=NOON - timedelta(days=1))


@pytest.mark.parametrize(
    "file",
    [
        *("../x.zip", "a/../../x.zip", "/srv/../etc/x.zip", "link/x.zip", "x.txt", "x", "", ".zip"),
        *("x.zip/..", "a\0.zip"),
    ],
)
def test_a_path_that_leads_elsewhere_than_it_seems_to_or_names_no_archive_is_refused(
    settings, file
):
    folder = settings.state_path / "evidence"
    folder.mkdir(parents=True)
    (folder / "link").symlink_to(settings.state_path)
    with pytest.raises(ConfigurationError, match="evidence is not written to"):
        resolve_file(settings, file)


@pytest.mark.slow
@ON_SQLITE
def test_a_path_of_ones_own_is_taken_and_no_file_there_is_replaced(export, runs, tmp_path):
    file = str(tmp_path / "for-ada.zip")
    assert export(file, run_id=runs[0]).path == Path(file)
    with pytest.raises(ConfigurationError, match="is there already"):
        export(file, run_id=runs[0])


@pytest.mark.slow
@ON_SQLITE
def test_sessions_whose_names_look_alike_have_archives_of_their_own(
    export, instance, partition_loader, clock
):
    names = ("year end", "year_end", "year/end", "../end", "e" * 300, "e" * 301)
    job = dg.Definitions([part]).resolve_implicit_global_asset_job_def()
    for name in names:
        instance.create_run_for_job(job, tags={"session": name})
    reconcile(instance, Ledger(partition_loader.warehouse, clock), None)
    paths = {name: export(session=name).path for name in names}
    assert len(set(paths.values())) == len(names)
    assert {path.parent for path in paths.values()} == {paths["year_end"].parent}
    assert paths["year_end"].name == "evidence-session-year_end.zip"
    assert re.fullmatch(r"evidence-session-year_end-[0-9a-f]{8}\.zip", paths["year end"].name)


@pytest.mark.slow
@ON_SQLITE
def test_an_export_that_fails_leaves_the_earlier_archive_and_nothing_else(export, runs, tmp_path):
    found = export(run_id=runs[0])
    content = found.path.read_bytes()
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "blobs").touch()  # a file where a folder should be
    with pytest.raises(ConfigurationError, match="cannot read the artifact"):
        export(store=FolderStore(broken), run_id=runs[0])
    assert found.path.read_bytes() == content
    assert list(found.path.parent.iterdir()) == [found.path]


def test_every_table_with_history_says_what_a_partition_of_it_is():
    with_history = {table.name for table in tables() if HISTORY in table.info}
    assert set(REGISTRY.tables) == with_history
    assert REGISTRY.tables[finra_otc_weekly.name].scope_of(PARTITION)["tier"] == "T1"


@pytest.mark.slow
def test_a_symbol_of_prices_is_a_partition_with_its_rows_at_the_time(
    export, partition_loader, clock, tmp_path
):
    prices = Prices(partition_loader.warehouse, tmp_path, clock)
    days = sessions(date(2025, 12, 1), date(2025, 12, 31))
    for symbol in ("AAA", "BBB"):
        prices.write(symbol, *map(line, days))
    prices.load("AAA", "BBB", months=["2025-12-01"])
    found = export(partition="AAA", at=AFTER)
    rows = lines(found.path, "rows/prices_daily")
    assert [(price["symbol"], price["trade_date"]) for price in rows] == [
        ("AAA", day.isoformat()) for day in days
    ]


@pytest.mark.slow
def test_a_webhook_delivery_is_a_partition_with_its_row_at_the_time(
    export, partition_loader, clock
):
    for name in ("1", "1|a"):
        content = Content("git", name, "push", b'{"a": 1}', {}, NOON)
        load_content(
            partition_loader.warehouse, clock, FolderStore(partition_loader.folder), content
        )
    found = export(partition="git|1|a", at=AFTER)
    [event] = lines(found.path, "rows/events_webhooks")
    assert (event["source"], event["delivery_id"]) == ("git", "1|a")


@pytest.mark.slow
@ON_SQLITE
def test_a_partition_of_unknown_partitions_is_refused(export, runs):
    with pytest.raises(ConfigurationError, match="which rows of finra_otc_weekly") as refused:
        export(tables={}, partition=PARTITION, at=AFTER)
    assert "run_id" in refused.value.remedy
