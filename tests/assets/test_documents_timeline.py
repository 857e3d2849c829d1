"""The timeline of a document: what happened, in order, with what to do about it."""

import json

import pytest

from orchestration_project.__main__ import main
from orchestration_project.resources.documents.timeline import read_timeline
from orchestration_project.services.erasure.requests import ErasureRequests
from orchestration_project.tables.spine import captures, work_items
from tests.document_desk import BOTH, DocumentDesk
from tests.document_desk import desk as desk
from tests.document_desk import folder as folder


def kinds(desk: DocumentDesk, name: str) -> list[str]:
    found = read_timeline(desk.warehouse, name)
    assert found
    times = [each.happened_at for each in found.events if each.happened_at]
    assert times == sorted(times)
    return [each.kind for each in found.events]


@pytest.mark.slow
@BOTH
def test_a_document_is_followed_from_its_first_sight_to_its_successor_and_its_end(desk):
    desk.write(a_txt="first version", b_json=b"{")
    desk.load()
    first = desk.id_of("a.txt")
    assert sorted(kinds(desk, "a.txt")) == sorted(
        ["first_seen", "stable", "captured", "extracted", "attempt", "loaded"]
    )
    [run_id] = {run_id for (run_id,) in desk.rows(captures.c.run_id)}
    found = read_timeline(desk.warehouse, first)
    assert found
    assert (found.document_id, found.paths, found.state) == (first, ["a.txt"], "loaded")
    assert {each.run_id for each in found.events} == {run_id, None}
    desk.write(a_txt="second version, which is longer")
    desk.load()
    (desk.folder / "a.txt").unlink()
    desk.load()
    found = read_timeline(desk.warehouse, "a.txt")
    assert found
    assert found.document_id == desk.id_of("a.txt") != first
    assert [each.kind for each in found.events][-1] == "gone"
    superseded = read_timeline(desk.warehouse, first)
    assert superseded
    [event] = [each for each in superseded.events if each.kind == "superseded"]
    assert str(found.document_id) in event.text
    assert event.happened_at


def test_a_failure_has_its_reason_what_to_do_and_whether_another_attempt_follows(desk):
    desk.write(cut_json=b"{")
    (desk.folder / "late.txt").symlink_to(desk.folder / "target")
    desk.load()
    dead = read_timeline(desk.warehouse, "cut.json")
    assert dead
    [attempt] = [each for each in dead.events if each.kind == "attempt"]
    assert attempt.text.startswith("attempt 1 of 3 failed, and no further one follows: the file")
    assert (attempt.reason_code, dead.state) == ("truncated", "refused")
    assert attempt.remedy == (
        "deliver the whole file again; then retry it with operations_runs, unless a new "
        "version comes"
    )
    [outcome] = [each for each in dead.events if each.kind == "failed"]
    assert outcome.remedy == "deliver the whole file again"
    unread = read_timeline(desk.warehouse, "late.txt")
    assert unread
    assert (unread.document_id, unread.state) == (None, "stable")
    [attempt] = [each for each in unread.events if each.kind == "attempt"]
    [due] = [
        due for key, due in desk.rows(work_items.c.item_key, work_items.c.due_at) if "late" in key
    ]
    assert attempt.remedy == (
        f"deliver the file again; retried from {due:%Y-%m-%d %H:%M:%S} UTC on"
    )


@pytest.mark.slow
def test_the_command_prints_it_with_links_to_runs_and_knows_what_was_erased(
    desk, capfd, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PUBLIC_URL", "https://ops.example.com")
    (desk.folder / "line\nbreak.txt").write_text("fine")
    desk.load()
    [(run_id,)] = desk.rows(captures.c.run_id)
    assert main(["documents", "timeline", "line\nbreak.txt"]) == 0
    out = capfd.readouterr().out
    assert "first_seen  line%0Abreak.txt was listed\n" in out
    assert f"run: https://ops.example.com/runs/{run_id}\n" in out
    assert main(["--json", "documents", "timeline", desk.id_of("line%0Abreak.txt")]) == 0
    found = json.loads(capfd.readouterr().out)
    assert found["paths"] == ["line%0Abreak.txt"]
    assert {each["run_url"] for each in found["events"]} == {
        f"https://ops.example.com/runs/{run_id}",
        None,
    }
    assert main(["documents", "timeline", "nothing\x1b[31m"]) == 1
    assert "invalid PATH|ID 'nothing\\x1b[31m': expected a path or document_id" in (
        capfd.readouterr().err
    )
    requests = ErasureRequests(desk.warehouse, desk.clock)
    request = requests.read(
        requests.add("documents/document", ["gone.txt"], user_name="ada", reason="asked for")
    )
    counts = ("rows_deleted", "rows_masked", "captures_deleted", "captures_redacted")
    row = dict.fromkeys((*counts, "artifacts_deleted", "files_changed"), 0)
    requests.record(request, row | {"tables": "{}", "not_reached": "[]", "run_id": "one"})
    assert kinds(desk, "gone.txt") == ["erased"]
    assert read_timeline(desk.warehouse, "other.txt") is None
