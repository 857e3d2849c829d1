"""The timeline of a document: what happened, in order, with what to do about it."""

import json

import pytest

from orchestration_project.__main__ import main
from orchestration_project.resources.documents.timeline import read_timeline
from orchestration_project.services.erasure.requests import ErasureRequests
from orchestration_project.tables.spine import captures, work_items
from tests.document_loader import BOTH, DocumentLoader
from tests.document_loader import document_loader as document_loader
from tests.document_loader import folder as folder


def check_order_and_list_kinds(document_loader: DocumentLoader, name: str) -> list[str]:
    found = read_timeline(document_loader.warehouse, name)
    assert found
    times = [event.happened_at for event in found.events if event.happened_at]
    assert times == sorted(times)
    return [event.kind for event in found.events]


@pytest.mark.slow
@BOTH
def test_a_document_is_followed_from_its_first_sight_to_its_successor_and_its_end(document_loader):
    document_loader.write(a_txt="first version", b_json=b"{")
    document_loader.load()
    first = document_loader.id_of("a.txt")
    assert sorted(check_order_and_list_kinds(document_loader, "a.txt")) == sorted(
        ["first_seen", "stable", "captured", "extracted", "attempt", "loaded"]
    )
    [run_id] = {run_id for (run_id,) in document_loader.rows(captures.c.run_id)}
    found = read_timeline(document_loader.warehouse, first)
    assert found
    assert (found.document_id, found.paths, found.state) == (first, ["a.txt"], "loaded")
    assert {event.run_id for event in found.events} == {run_id, None}
    document_loader.write(a_txt="second version, which is longer")
    document_loader.load()
    (document_loader.folder / "a.txt").unlink()
    document_loader.load()
    found = read_timeline(document_loader.warehouse, "a.txt")
    assert found
    assert found.document_id == document_loader.id_of("a.txt") != first
    assert [event.kind for event in found.events][-1] == "gone"
    superseded = read_timeline(document_loader.warehouse, first)
    assert superseded
    [event] = [event for event in superseded.events if event.kind == "superseded"]
    assert str(found.document_id) in event.text
    assert event.happened_at


@pytest.mark.slow
def test_a_failure_has_its_reason_what_to_do_and_whether_another_attempt_follows(document_loader):
    document_loader.write(cut_json=b"{")
    (document_loader.folder / "late.txt").symlink_to(document_loader.folder / "target")
    document_loader.load()
    dead = read_timeline(document_loader.warehouse, "cut.json")
    assert dead
    [attempt] = [event for event in dead.events if event.kind == "attempt"]
    assert attempt.text.startswith("attempt 1 of 3 failed, and no further one follows: the file")
    assert (attempt.reason_code, dead.state) == ("truncated", "refused")
    assert attempt.remedy == (
        "deliver the whole file again; then retry it with operations_runs, unless a new "
        "version comes"
    )
    [outcome] = [event for event in dead.events if event.kind == "failed"]
    assert outcome.remedy == "deliver the whole file again"
    unread = read_timeline(document_loader.warehouse, "late.txt")
    assert unread
    assert (unread.document_id, unread.state) == (None, "stable")
    [attempt] = [event for event in unread.events if event.kind == "attempt"]
    [due] = [
        due
        for key, due in document_loader.rows(work_items.c.item_key, work_items.c.due_at)
        if "late" in key
    ]
    assert attempt.remedy == (
        f"deliver the file again; retried from {due:%Y-%m-%d %H:%M:%S} UTC on"
    )


@pytest.mark.slow
def test_the_command_prints_it_with_links_to_runs_and_knows_what_was_erased(
    document_loader, capfd, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PUBLIC_URL", "https://ops.example.com")
    (document_loader.folder / "line\nbreak.txt").write_text("fine")
    document_loader.load()
    [(run_id,)] = document_loader.rows(captures.c.run_id)
    assert main(["documents", "timeline", "line\nbreak.txt"]) == 0
    out = capfd.readouterr().out
    assert "first_seen  line%0Abreak.txt was listed\n" in out
    assert f"run: https://ops.example.com/runs/{run_id}\n" in out
    assert main(["--json", "documents", "timeline", document_loader.id_of("line%0Abreak.txt")]) == 0
    found = json.loads(capfd.readouterr().out)
    assert found["paths"] == ["line%0Abreak.txt"]
    assert {event["run_url"] for event in found["events"]} == {
        f"https://ops.example.com/runs/{run_id}",
        None,
    }
    assert main(["documents", "timeline", "nothing\x1b[31m"]) == 2
    assert "invalid PATH|ID 'nothing\\x1b[31m': expected a path or document_id" in (
        capfd.readouterr().err
    )
    requests = ErasureRequests(document_loader.warehouse, document_loader.clock)
    request = requests.read(
        requests.add("documents/document", ["gone.txt"], user_name="ada", reason="asked for")
    )
    counts = ("rows_deleted", "rows_masked", "captures_deleted", "captures_redacted")
    row = dict.fromkeys((*counts, "artifacts_deleted", "files_changed"), 0)
    requests.record(request, row | {"tables": "{}", "not_reached": "[]", "run_id": "one"})
    assert check_order_and_list_kinds(document_loader, "gone.txt") == ["erased"]
    assert read_timeline(document_loader.warehouse, "other.txt") is None
