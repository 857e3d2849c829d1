"""A code location whose asset waits until a file lets it end; it notes begin and end in another."""

from pathlib import Path

import dagster as dg

from orchestration_project.settings import load_shared_settings
from tests.programs import wait_for


@dg.asset
def waits(context: dg.AssetExecutionContext) -> None:
    folder = load_shared_settings().state_path / context.run.tags["run_group"]
    _note(folder, f"begin {context.run.run_id}")
    wait_for((folder / "go").exists, seconds=600)
    _note(folder, f"end {context.run.run_id}")


def _note(folder: Path, line: str) -> None:
    with (folder / "notes").open("a") as file:
        file.write(f"{line}\n")


defs = dg.Definitions(assets=[waits], executor=dg.in_process_executor)
