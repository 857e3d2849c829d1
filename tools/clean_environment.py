"""The environment in which files are generated from the code: neither settings nor `.env` count."""

import os
from pathlib import Path

KEPT = ("HOME", "LANG", "PATH", "TMPDIR")


def clean_environment(state_folder: Path | str) -> None:
    """Leave out environment and `.env` before code is imported that reads them; all domains are on.

    ``state_folder`` is the STATE_DIR.
    """
    from orchestration_project.settings import settings_class

    settings_class().model_config["env_file"] = None
    for name in list(os.environ):
        if name not in KEPT:
            del os.environ[name]
    os.environ |= {"STATE_DIR": str(state_folder), "DOMAINS": "all", "FINRA_DATASETS": "all"}
