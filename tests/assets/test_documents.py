"""Documents through their job: counts, spans, repeats, changed files, replay and retries."""

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from orchestration_demo.documents.corpus import write_corpus
from sqlalchemy import func, select

from orchestration_project.__main__ import main
from orchestration_project.catalog import REGISTRY
from orchestration_project.catalog.documents import DOCUMENTS
from orchestration_project.definitions import defs
from orchestration_project.domains.documents.tables import (
    documents,
    documents_chunks,
    documents_files,
    documents_pages,
    documents_pages_history,
)
from orchestration_project.engine.work_items import WorkItems
from orchestration_project.services.status import read_deadlines
from orchestration_project.settings import load_settings
from orchestration_project.tables.spine import captures, work_items
from tests import databases
from tests.assets.conftest import BOTH
from tests.resources.balances import assert_balanced
from tests.resources.definitions import RESOURCES
from tests.runs import metadata_by_partition

DAY = "2026-03-02"
[SENSOR] = DOCUMENTS.definitions.sensors


@pytest.fixture
def folder(tmp_path: Path, demo_settings: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of documents, whose files are loaded at the first poll."""
    folder = tmp_path / "inbox"
    folder.mkdir()
    settings = {
        "DATA_PROFILE": "real",
        "DOCUMENTS_SOURCE": "folder",
        "DOCUMENTS_DIR": str(folder),
        "DOCUMENTS_STABLE_SECONDS": "0",
        "DOCUMENTS_OCR": "never",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return folder


def tick(instance: dg.DagsterInstance) -> list[str]:
    """Return the partitions that the sensor requests runs for."""
    with dg.build_resources(RESOURCES, instance) as made:
        resources = {name: getattr(made, name) for name in SENSOR.required_resource_keys}
        context = dg.build_sensor_context(
            instance=instance, resources=resources, repository_def=defs.get_repository_def()
        )
        found = SENSOR.evaluate_tick(context)
    return [str(run_request.partition_key) for run_request in found.run_requests or ()]


def run(instance: dg.DagsterInstance, **config: Any) -> Mapping[str, Any]:
    result = defs.resolve_job_def("documents_load").execute_in_process(
        instance=instance,
        partition_key=DAY,
        run_config={"ops": {"documents_load_day": {"config": config}}},
    )
    return metadata_by_partition(result)


def everything(url: str) -> list[list[str]]:
    """Return all rows that a load writes, as texts."""
    tables = (documents, documents_files, documents_pages, documents_chunks, captures, work_items)
    return [sorted(map(repr, databases.rows(url, select(table)))) for table in tables]


def expected_of(corpus: Path) -> Sequence[Mapping[str, Any]]:
    with (corpus / "manifest.jsonl").open() as manifest:
        return [json.loads(line) for line in manifest]


def outcomes(url: str) -> dict[str, tuple[str, str]]:
    """Return state and reason code of the document of each path."""
    wanted = select(documents_files.c.path, documents.c.state, documents.c.reason_code).join(
        documents, documents.c.document_id == documents_files.c.document_id
    )
    return {path: (state, code or "") for path, state, code in databases.rows(url, wanted)}


def failed_items(url: str) -> dict[str, tuple[str, str]]:
    columns = work_items.c
    wanted = select(columns.item_key, columns.state, columns.reason_code)
    is_failed = columns.state.in_(["failed", "dead"])
    found = databases.rows(url, wanted.where(is_failed))
    return {key: (state, code) for key, state, code in found}


@pytest.mark.slow
@pytest.mark.slow_on_postgresql
@BOTH
def test_mixed_files_end_as_the_manifest_says_with_exact_spans_and_a_second_run_does_nothing(
    url, folder, instance, monkeypatch: pytest.MonkeyPatch
):
    write_corpus(folder, seed=7, count=60)
    monkeypatch.setenv("DOCUMENTS_DIR", str(folder / "files"))
    expected = expected_of(folder)
    assert tick(instance) == [DAY]
    loaded = run(instance)["capture"][DAY]
    by_state = Counter(made_file["state"] for made_file in expected)
    counts = {state: loaded[f"{state}_document_count"] for state in by_state}
    assert counts == by_state
    assert by_state["loaded"] >= 54
    found = outcomes(url)
    assert {path: state for path, (state, _) in found.items()} == {
        made_file["path"]: made_file["state"] for made_file in expected
    }
    for made_file in expected:
        if made_file["state"] != "loaded" or made_file["reason_code"]:
            assert found[made_file["path"]] == (made_file["state"], made_file["reason_code"])
    assert_words(url, expected)
    assert_spans(url)
    assert_balanced(url, "documents", "documents_pages")
    failed = {
        made_file["path"] for made_file in expected if made_file["state"] not in ("loaded", "empty")
    }
    assert set(failed_items(url)) == failed
    before = everything(url)
    assert tick(instance) == []
    again = run(instance)["capture"][DAY]
    assert sum(again[f"{state}_document_count"] for state in by_state) == 0
    assert everything(url) == before


def assert_words(url: str, expected: Sequence[Mapping[str, Any]]) -> None:
    """Known words of each file are in its pages, or in those of the files within it."""
    texts: dict[str, str] = {}
    for document_id, text in databases.rows(
        url, select(documents_pages.c.document_id, documents_pages.c.text)
    ):
        texts[document_id] = texts.get(document_id, "") + text
    rows = databases.rows(url, select(documents.c.document_id, documents.c.parent_id))
    within: dict[str, list[str]] = {}
    for document_id, parent_id in rows:
        within.setdefault(parent_id, []).append(document_id)
    files = dict(databases.rows(url, select(documents_files.c.path, documents_files.c.document_id)))

    def text_of(document_id: str) -> str:
        inner = (text_of(document) for document in within.get(document_id, ()))
        return "".join([texts.get(document_id, ""), *inner])

    missing = {
        made_file["path"]: [
            word for word in made_file["words"] if word not in text_of(files[made_file["path"]])
        ]
        for made_file in expected
        if not made_file["copy_of"]
    }
    assert not any(missing.values()), missing


def assert_spans(url: str) -> None:
    pages = {
        (document_id, number): text
        for document_id, number, text in databases.rows(
            url,
            select(
                documents_pages.c.document_id, documents_pages.c.page_number, documents_pages.c.text
            ),
        )
    }
    columns = documents_chunks.c
    chunks = databases.rows(
        url,
        select(
            columns.document_id,
            columns.page_number,
            columns.start_offset,
            columns.end_offset,
            columns.text,
        ),
    )
    assert len(chunks) > 50
    for document_id, number, start, end, text in chunks:
        assert pages[document_id, number][start:end] == text
    counts = databases.rows(url, select(documents.c.document_id, documents.c.chunk_count))
    made = Counter(chunk[0] for chunk in chunks)
    assert {key: count for key, count in counts if count} == made


@pytest.mark.slow
@BOTH
def test_same_bytes_are_one_document_a_changed_file_supersedes_and_a_gone_one_stays(
    url, folder, instance
):
    (folder / "a.txt").write_text("alpha beta")
    (folder / "sub").mkdir()
    (folder / "sub" / "b.txt").write_text("alpha beta")
    (folder / "c.txt").write_text("gamma")
    assert tick(instance) == [DAY]
    run(instance)
    ids = dict(databases.rows(url, select(documents_files.c.path, documents_files.c.document_id)))
    assert ids["a.txt"] == ids["sub/b.txt"]
    assert counted(url, documents.c.document_id) == 2
    (folder / "c.txt").write_text("delta, and so on")
    (folder / "a.txt").write_text("epsilon")
    assert tick(instance) == [DAY]
    run(instance)
    now = dict(databases.rows(url, select(documents_files.c.path, documents_files.c.document_id)))
    superseded = dict(
        databases.rows(url, select(documents.c.document_id, documents.c.superseded_by))
    )
    assert superseded[ids["c.txt"]] == now["c.txt"]
    assert superseded[ids["a.txt"]] is None  # sub/b.txt has it still
    assert superseded[now["c.txt"]] is None
    (folder / "c.txt").unlink()
    (folder / "d.txt").write_text("gamma")  # a document of before at another path
    assert tick(instance) == [DAY]
    metadata = run(instance)["capture"][DAY]
    assert metadata["unchanged_document_count"] == 1
    states = dict(databases.rows(url, select(documents_files.c.path, documents_files.c.state)))
    assert states == {"a.txt": "loaded", "c.txt": "gone", "d.txt": "loaded", "sub/b.txt": "loaded"}
    superseded = dict(
        databases.rows(url, select(documents.c.document_id, documents.c.superseded_by))
    )
    assert superseded[ids["c.txt"]] is None
    assert counted(url, documents.c.document_id) == 4


def counted(url: str, column: Any) -> int:
    [(count,)] = databases.rows(url, select(func.count(column)))
    return count


@pytest.mark.slow
def test_a_file_replaced_with_the_same_size_and_time_is_read_again(url, folder, instance):
    file, other = folder / "a.txt", folder / "b.txt"
    file.write_text("alpha")
    other.write_text("gamma")
    assert tick(instance) == [DAY]
    run(instance)
    times = file.stat().st_atime_ns, file.stat().st_mtime_ns
    file.write_text("omega")
    os.utime(file, ns=times)
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (5, times[1])
    assert tick(instance) == [DAY]
    run(instance)
    texts = {text for (text,) in databases.rows(url, select(documents_pages.c.text))}
    assert "omega" in texts
    before = everything(url)[0]
    other.chmod(0o600)  # the bytes are the same
    assert tick(instance) == [DAY]
    run(instance)
    assert everything(url)[0] == before
    assert tick(instance) == []


@pytest.mark.slow
def test_hostile_names_links_and_pipes_end_with_a_reason_of_their_own(
    url, folder, instance, tmp_path: Path
):
    outside = tmp_path / "secret.txt"
    outside.write_text("not to be read")
    odd = ["line\nbreak.txt", "100%.txt", "-rf", "a\u202egnp.txt", "\u00e9.txt", " .txt"]
    for name in odd:
        (folder / name).write_text(f"text of {len(name)} {name[0]!r}")
    (folder / os.fsdecode(b"latin\xff.txt")).write_text("bytes that are not UTF-8")
    (folder / "in.txt").symlink_to(folder / "-rf")
    (folder / "out.txt").symlink_to(outside)
    (folder / "loop.txt").symlink_to(folder / "loop.txt")
    (folder / "nowhere.txt").symlink_to(folder / "nothing")
    (folder / "folder.txt").symlink_to(folder, target_is_directory=True)
    os.mkfifo(folder / "pipe.txt")
    assert tick(instance) == [DAY]
    run(instance)
    good = {
        "line%0Abreak.txt",
        "100%25.txt",
        "-rf",
        "a%E2%80%AEgnp.txt",
        "\u00e9.txt",
        " .txt",
        "latin%FF.txt",
        "in.txt",
    }
    assert outcomes(url) == dict.fromkeys(good, ("loaded", "")) | {
        "in.txt": outcomes(url)["in.txt"]
    }
    assert failed_items(url) == {
        "out.txt": ("dead", "not_a_file"),
        "loop.txt": ("failed", "unreadable"),
        "nowhere.txt": ("failed", "vanished"),
        "folder.txt": ("dead", "not_a_file"),
        "pipe.txt": ("dead", "not_a_file"),
    }
    texts = [text for (text,) in databases.rows(url, select(documents_pages.c.text))]
    assert not any("not to be read" in text for text in texts)


@pytest.mark.slow
def test_a_replay_extracts_captured_bytes_by_new_rules_without_the_folder(
    url, folder, instance, monkeypatch: pytest.MonkeyPatch
):
    words = " ".join(f"word{number}" for number in range(100))
    (folder / "a.txt").write_text(words)
    (folder / "bad.pdf").write_bytes(b"%PDF-1.7 and nothing else")
    tick(instance)
    run(instance)
    assert counted(url, documents_chunks.c.chunk_id) == 1
    (folder / "a.txt").unlink()
    (folder / "bad.pdf").unlink()
    monkeypatch.setenv("DOCUMENTS_CHUNK_WORDS", "20")
    assert run(instance)["capture"][DAY]["loaded_document_count"] == 0  # nothing waits
    replayed = run(instance, replay=True)["capture"][DAY]
    assert (replayed["loaded_document_count"], replayed["refused_document_count"]) == (1, 1)
    assert replayed["not_read_document_count"] == 0
    sizes = databases.rows(url, select(documents_chunks.c.word_count))
    assert sizes == [(20,)] * 5
    assert_new_rules(url)
    again = run(instance, replay=True)["capture"][DAY]
    assert (again["loaded_document_count"], again["refused_document_count"]) == (0, 0)
    assert again["not_read_document_count"] == 2  # nor are their bytes verified


def assert_new_rules(url: str) -> None:
    versions = databases.rows(url, select(documents.c.rule_version).distinct())
    assert len(versions) == 1
    assert "/20/" in versions[0][0]
    assert counted(url, documents_pages_history.c.text) == 0  # no page changed


@pytest.mark.slow
def test_a_retry_takes_up_failed_files_alone(url, folder, instance):
    (folder / "good.txt").write_text("fine")
    (folder / "late.txt").symlink_to(folder / "target")
    tick(instance)
    run(instance)
    assert failed_items(url) == {"late.txt": ("failed", "vanished")}
    (folder / "target").write_text("here now")
    with dg.build_resources(RESOURCES, instance) as made:
        items = WorkItems(made.warehouse, made.clock)
        assert [work_item.item_key for work_item in items.retry(f"documents/{DAY}")] == ["late.txt"]
    captured = run(instance)["capture"][DAY]
    assert captured["loaded_document_count"] == 2  # the retried one, and the new file target
    assert captured["unchanged_document_count"] == 0
    assert failed_items(url) == {}


@pytest.mark.slow
def test_files_that_a_killed_run_left_claimed_are_due_at_once(url, folder, instance):
    (folder / "a.txt").write_text("fine")
    assert tick(instance) == [DAY]
    with dg.build_resources(RESOURCES, instance) as made:
        items = WorkItems(made.warehouse, made.clock)
        until = made.clock.now() + timedelta(hours=4)
        topic = f"documents/{DAY}"
        assert items.claim(topic, limit=9, run_id="killed", until=until)
        assert tick(instance) == [DAY]
        assert items.claim(topic, limit=9, run_id="killed too", until=until)
    assert run(instance)["capture"][DAY]["loaded_document_count"] == 1
    assert failed_items(url) == {}


def test_a_file_that_waits_too_long_fails_the_check_and_makes_the_domain_late(
    url, folder, instance, monkeypatch: pytest.MonkeyPatch
):
    (folder / "a.txt").write_text("fine")
    tick(instance)
    job = defs.resolve_job_def("documents_freshness")
    monkeypatch.setenv("DEMO_CLOCK_NOW", "2026-03-02T15:30:00+00:00")
    [check] = job.execute_in_process(instance=instance).get_asset_check_evaluations()
    assert check.passed
    monkeypatch.setenv("DEMO_CLOCK_NOW", "2026-03-02T17:30:00+00:00")
    [check] = job.execute_in_process(instance=instance).get_asset_check_evaluations()
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    reason = "1 file waits, the oldest since 2026-03-02 15:"  # and the minutes of the tests so far
    assert reason in str(check.description)
    with dg.build_resources(RESOURCES, instance) as made:
        [late] = read_deadlines(REGISTRY, load_settings(), made.warehouse, made.clock)
    assert (late.reason[: len(reason)], late.job) == (reason, "documents_load")


@pytest.mark.slow
def test_the_command_prints_counts_and_its_status_says_whether_all_was_extracted(
    url, folder, capfd, monkeypatch: pytest.MonkeyPatch
):
    assert main(["load", "documents", "--json"]) == 3  # there are none yet
    assert json.loads(capfd.readouterr().out)["outcome"] == "not_published"
    (folder / "a.txt").write_text("fine")
    assert main(["--json", "load", "documents"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert (found["counts"], found["days"]) == ({"loaded": 1}, [DAY])
    assert found["outcome"] == "loaded"
    (folder / "b.pdf").write_bytes(b"")
    assert main(["load", "documents", DAY]) == 1
    assert "empty" in capfd.readouterr().out
    assert main(["load", "documents"]) == 1  # nothing waits, and b.pdf is still empty
    assert "1 of 2 listed files have text" in capfd.readouterr().out
    for day in ("2026-02-30", "2100-01-01"):
        with pytest.raises(SystemExit, match="2"):
            main(["load", "documents", day])
    monkeypatch.delenv("DOCUMENTS_SOURCE")
    with pytest.raises(SystemExit, match="2"):
        main(["load", "documents"])


@pytest.mark.slow
@pytest.mark.parametrize(
    "url", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)], indirect=True
)
def test_the_command_replays_days_and_says_what_came_of_it(
    url, folder, capfd, monkeypatch: pytest.MonkeyPatch
):
    (folder / "a.txt").write_text(" ".join(f"word{number}" for number in range(100)))
    (folder / "bad.pdf").write_bytes(b"%PDF-1.7 and nothing else")
    assert main(["load", "documents"]) == 1
    (folder / "a.txt").unlink()
    monkeypatch.setenv("DOCUMENTS_CHUNK_WORDS", "20")
    capfd.readouterr()
    assert main(["replay", "--table", "documents_pages", "--all", "--dry-run"]) == 0
    assert (
        "would be replayed: captured documents that other rules made; days: 1"
        in capfd.readouterr().out
    )
    assert main(["--json", "replay", "--table", "documents_pages", "--all"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert found["counts"] == {"loaded_document_count": 1, "refused_document_count": 1}
    assert [partition["partition"] for partition in found["partitions"]] == [DAY]
    assert databases.rows(url, select(documents_chunks.c.word_count)) == [(20,)] * 5
    monkeypatch.setenv("DOCUMENTS_CHUNK_WORDS", "50")
    assert main(["replay", "--table", "documents_pages", DAY]) == 0
    assert "       1  loaded document\n" in capfd.readouterr().out
    assert databases.rows(url, select(documents_chunks.c.word_count)) == [(50,)] * 2
    assert main(["replay", "--table", "documents_pages", "--from", DAY]) == 0
    assert "       2  not read document\n" in capfd.readouterr().out  # nothing is outdated


@pytest.mark.slow
def test_what_is_no_day_of_documents_cannot_be_replayed(url, folder, capfd):
    (folder / "a.txt").write_text("fine")
    assert main(["load", "documents"]) == 0
    replay = ["replay", "--table", "documents_pages"]
    for given, said in (
        (["yesterday"], "invalid day 'yesterday': expected a date, e.g. 2026-11-02"),
        (["2026-02-30"], "invalid day '2026-02-30'"),
        (["2026-03-01"], "no document of 2026-03-01 is recorded"),
        (["--to", "2026-03-01"], "there is nothing to replay"),
    ):
        assert main([*replay, *given]) == 1
        assert said in capfd.readouterr().err
    for given in (["--all", "--allow-older"], ["--tier", "T1"]):
        with pytest.raises(SystemExit, match="2"):
            main([*replay, *given])
    with pytest.raises(SystemExit, match="2"):
        main(["replay", "--group", "documents_pages:abc#1"])
    assert "do not apply to documents_pages" in capfd.readouterr().err
