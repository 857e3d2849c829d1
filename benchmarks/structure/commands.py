"""Counts the modules that commands import which need no definitions, on an empty installation.

Time on a shared machine varies by a factor of three; the number of modules does not.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from orchestration_project.settings import PROJECT_ROOT

COMMANDS = (
    "--version", "--help", "domains", "tables", "alerts check", "alerts list", "items list",
    "keys list", "artifacts list", "plugins list", "config show", "config diff", "config check",
    "schema diff", "access review", "approvals list", "objectives list", "objectives check",
    "pause --list", "completion bash", "verify --chain",
)  # fmt: skip
"""Commands that need no definitions, without a run or a request."""

ABSENT = ("alembic", "dagster", "httpx", "matplotlib", "numpy", "pandas", "psycopg", "rich")
"""Packages that neither they nor commands that read domains import."""

FRAMES = ("polars",)
"""Packages that a command without domains does not import either: it makes no frame."""

WITH_DOMAINS = ("datasets", "verify --balance", "verify --production")
"""Commands that read what the domains declare, or import probes, but read no definitions.

They import none of `ABSENT`.
"""

WITH_SOURCES = ("verify",)
"""Commands that request the sources of domains, and so import `CLIENTS`, but no definitions."""

CLIENTS = ("httpx", "rich")
"""Packages of `ABSENT` that a request over HTTP imports."""

WITH_DEFINITIONS = {
    "attention": "whether and when the schedules of sites are due, as Dagster reads them",
    "dbt-sources": "the partitions and keys of the assets",
}
"""Commands that read definitions, and what they need of them; they open no instance of Dagster."""

ABSENT_WITH_DEFINITIONS = ("alembic", "dagster_postgres", "matplotlib", "psycopg2", "structlog")
"""Packages of Dagster's storage and daemon, and of charts, which these commands do not import."""

TUESDAY = "2026-09-08T15:00:00Z"
"""DEMO_CLOCK_NOW of the commands.

On a Monday, `datasets` also needs the federal holidays, whose package has 310 modules of countries.
"""

PROGRAM = """
import contextlib, io, json, sys
from orchestration_project.__main__ import main

with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    main(sys.argv[1:])
installed = [name for name in sys.modules if name.split(".")[0] not in sys.stdlib_module_names]
print(json.dumps(installed))
"""


def read_modules_of(command: str, folder: Path, domains: str = "all", **settings: str) -> list[str]:
    """Return the modules outside of the standard library that a command imports.

    Args:
        command: The arguments of `orchestrate`.
        folder: STATE_DIR; a first command in it makes the database.
        domains: DOMAINS.
        settings: Further settings by name.
    """
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}  # noqa: TID251 - no setting
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *command.split()],
        cwd=PROJECT_ROOT,
        env={
            **kept,
            "STATE_DIR": str(folder),
            "DOMAINS": domains,
            "DEMO_CLOCK_NOW": TUESDAY,
            **settings,
        },
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def count_modules() -> Mapping[str, int]:
    """Return for each command without definitions how many modules it imports."""
    with TemporaryDirectory() as folder:
        read_modules_of("tables", Path(folder))
        read_modules_of("keys list", Path(folder))  # makes the tables, by Alembic
        offline = {
            command: len(read_modules_of(command, Path(folder)))
            for command in (*COMMANDS, *WITH_DOMAINS)
        }
        requesting = {
            command: len(read_modules_with_sources(command, Path(folder)))
            for command in WITH_SOURCES
        }
        return {**offline, **requesting}


def read_modules_with_sources(command: str, folder: Path) -> list[str]:
    """Return the modules that a command imports on a default installation with a folder as source.

    Args:
        command: The arguments of `orchestrate`.
        folder: STATE_DIR, and the source of FINRA.
    """
    files = {"FINRA_SOURCE": "files", "FINRA_FILES_DIR": str(folder)}
    read_modules_of("keys list", folder, "finra", **files)  # makes the tables of real data
    return read_modules_of(command, folder, "finra", **files)
