"""Retry of failed files by commands in new shells, as the how-to page has them."""

import json
from pathlib import Path

import pytest

from tests import programs

OPTIONS = "{dry_run: false, reason_codes: [truncated]}"
RETRY = f"ops: {{handle_runs: {{config: {{retry_failures: {OPTIONS}}}}}}}\n"


@pytest.mark.slow
def test_dagster_job_execute_makes_exactly_the_chosen_files_ready_and_the_load_takes_them_up(
    tmp_path: Path,
):
    state, folder, config = tmp_path / "state", tmp_path / "inbox", tmp_path / "retry.yaml"
    folder.mkdir()
    (folder / "good.txt").write_text("fine")
    (folder / "cut.json").write_text("{")
    (folder / "odd.bin").write_bytes(b"\x00\x01\x02" * 99)
    config.write_text(RETRY)
    settings = {
        "DATA_PROFILE": "real",
        "DOCUMENTS_SOURCE": "folder",
        "DOCUMENTS_DIR": str(folder),
        "DOCUMENTS_STABLE_SECONDS": "0",
    }

    def run_and_check_status(*arguments: str) -> tuple[int, str]:
        status, output, error = programs.run(state, *arguments, **settings)
        assert status in (0, 1), error
        return status, output

    def items() -> dict[str, tuple[str, int]]:
        _, listed = run_and_check_status("orchestration_project", "--json", "items", "list")
        rows = json.loads(listed)
        return {row["item_key"]: (row["state"], row["attempt_count"]) for row in rows}

    status, output = run_and_check_status("orchestration_project", "load", "documents")
    lines = output.splitlines()
    assert status == 1
    assert [line.split(":")[0].split()[-1] for line in lines if line.startswith("no text")] == [
        "cut.json",
        "odd.bin",
    ]
    assert "next: orchestrate documents timeline cut.json" in lines
    loaded = {"good.txt": ("done", 1), "cut.json": ("dead", 1), "odd.bin": ("dead", 1)}
    assert items() == loaded
    job = ("-j", "operations_runs", "-m", "orchestration_project.definitions")
    assert run_and_check_status("dagster", "job", "execute", *job, "-c", str(config))[0] == 0
    assert items() == {**loaded, "cut.json": ("ready", 1)}
    assert run_and_check_status("orchestration_project", "load", "documents")[0] == 1
    assert items() == {**loaded, "cut.json": ("dead", 2)}
