"""A code location whose only asset counts, in a file, how often it was computed."""

import dagster as dg

from orchestration_project.settings import load_shared_settings


@dg.asset
def counted(context: dg.AssetExecutionContext) -> None:
    with (load_shared_settings().state_path / "counted").open("a") as file:
        file.write(f"{context.run.run_id}\n")


defs = dg.Definitions(assets=[counted], executor=dg.in_process_executor)
