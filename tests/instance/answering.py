"""A code location whose only asset writes down the settings and variables that its run has."""

import json
from typing import Any

import dagster as dg

from orchestration_project.settings import child_environment, load_settings

NAMES = ("DATABASE_URL", "DEMO_SEED", "COLOUR")


@dg.asset
def answered() -> None:
    settings: Any = load_settings()
    answer = {
        "settings": [settings.finra_lookback_weeks, settings.demo_seed],
        "variables": {name: child_environment().get(name, "") for name in NAMES},
    }
    (settings.state_path / "answer.json").write_text(json.dumps(answer))


defs = dg.Definitions(assets=[answered], executor=dg.in_process_executor)
