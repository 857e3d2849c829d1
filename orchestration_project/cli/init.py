"""`init`: write a project for sources of one's own, which runs at once, offline."""

import re
from datetime import date, timedelta
from pathlib import Path

import click

from orchestration_project.cli.commands import Command
from orchestration_project.cli.console import OUTPUT, echo, preview
from orchestration_project.errors import ConfigurationError

SAMPLE_DAYS = 3

PYPROJECT = """\
[project]
name = "{name}"
version = "0.1.0"
requires-python = ">=3.11"
dependencies = ["orchestration_project>={release}"]

[dependency-groups]
dev = ["pytest"]

[tool.orchestrate]

[tool.dg]
directory_type = "project"

[tool.dg.project]
root_module = "defs"
defs_module = "defs"
code_location_target_module = "orchestration_project.definitions"
"""

ENVIRONMENT = """\
# Settings and secrets of this project; `orchestrate config show` lists all. Keep it private.
DATA_PROFILE=real
DOMAINS={name}
"""

IGNORED = """\
.env
var/
.venv/
__pycache__/
"""

WORKSPACE = """\
load_from:
  - python_module: orchestration_project.definitions
"""

MAKEFILE = """\
ORCHESTRATE ?= orchestrate
PYTHON ?= python

.PHONY: run test ui

run: ## makes the tables, then loads all days that have a file
\t$(ORCHESTRATE) schema apply
\t$(ORCHESTRATE) backfill temperatures --from {first} --to {last}

test: ## judges recorded samples by the declarations, offline
\t$(PYTHON) -m pytest -q tests

ui: ## serves Dagster's UI behind a login
\t$(ORCHESTRATE) ui
"""

README = """\
# {name}

Sources of our own, loaded with raw captures, contracts, history and lineage.

```console
make run     # makes the tables, loads the example
make test    # judges samples, offline
make ui      # http://127.0.0.1:3000
```

- `defs/<source>/source.py` declares a source: key, fields, partitions, address, checks.
- `orchestrate new-source NAME --url URL` proposes one from an answer.
- `orchestrate preview NAME` shows the rows that a load would have.
- `orchestrate export temperatures --as-of 2026-01-01` writes what was known at a time.
- `.env` has the settings. Secrets are named in a declaration, and set here.
"""

SOURCE = '''\
"""Daily temperatures of two stations: an example that needs no network."""

from orchestration_project import Daily, Dataset, Field, between, decimal, file_source, row_count

temperatures = Dataset(
    "temperatures",
    key=["station"],
    partitions=Daily(since="{first}"),
    fields=[
        Field("station", str, "name of the station"),
        Field("high", decimal(5, 1), "highest, degrees Celsius", check=between(-90, 60)),
        Field("low", decimal(5, 1), "lowest, degrees Celsius", check=between(-90, 60)),
    ],
    source=file_source("defs/temperatures/in/{{partition}}.csv", format="csv"),
    checks=[row_count(min=2)],
    description="One row per day and station.",
)
'''

TEST = '''\
"""The recorded samples keep the contracts of their sources, and bad rows are rejected."""

import subprocess

from orchestration_project import judge_sample


def test_samples_keep_their_contracts():
    subprocess.run(["orchestrate", "test"], check=True)


def test_a_temperature_that_no_station_has_is_rejected():
    document = "station,high,low\\nHarbour,11.5,3.0\\nRoof,99.0,3.0\\n"
    judged = judge_sample("temperatures", document, partition="{first}")
    assert [row["station"] for row in judged.rows] == ["Harbour"]
    assert [code for code, _ in judged.rejects] == ["out_of_range"]
'''

READING = "station,high,low\nMarch Field,{high},{low}\nHarbour,{high},{low}\n"


@click.command(cls=Command, has_dry_run=True)
@click.argument("folder", type=click.Path(path_type=Path))
def init(folder: Path) -> int:
    """Write a project into the new FOLDER: one example source, its test, Makefile, README.

    It depends on this package, and runs at once: `make run`, `make test`, `make ui`.
    """
    from orchestration_project.engine.connections.clock import Clock

    name = re.sub(r"[^a-z0-9]+", "_", folder.resolve().name.lower()).strip("_")
    if not name or not name[0].isalpha():
        raise click.UsageError(f"{folder.name!r} gives no name: expected letters, digits and _")
    _refuse_taken(folder, name)
    files = _render_files(name, Clock().today("UTC"))
    if OUTPUT.is_dry_run:
        preview(f"would write {len(files)} files into {folder}", files=sorted(files))
        return 0
    for path, text in files.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (folder / ".env").chmod(0o600)
    echo(f"wrote {len(files)} files into {folder}; next: cd {folder} && make run")
    return 0


def _refuse_taken(folder: Path, name: str) -> None:
    from orchestration_project.settings.chosen import packaged_domains

    if folder.exists() and any(folder.iterdir()):
        raise ConfigurationError(
            f"invalid folder {folder}: it is not empty",
            expected="a new folder, or an empty one",
            found=f"{len(list(folder.iterdir()))} entries",
            remedy="choose another folder",
        )
    if name in packaged_domains():
        raise ConfigurationError(
            f"invalid name {name!r}: a domain of the package has it",
            expected="another name",
            found=name,
            remedy="choose another folder",
        )


def _render_files(name: str, today: date) -> dict[str, str]:
    """Return the text of each file, by its path in the project."""
    from orchestration_project import release
    from orchestration_project.settings import default_path

    days = [today - timedelta(days=number) for number in range(SAMPLE_DAYS, 0, -1)]
    values = {"name": name, "first": days[0], "last": days[-1], "release": release()}
    source = "defs/temperatures"
    readings = [READING.format(high=f"{11 + n}.5", low=f"{3 + n}.0") for n in range(SAMPLE_DAYS)]
    return {
        "pyproject.toml": PYPROJECT.format(**values),
        ".env": ENVIRONMENT.format(**values),
        ".gitignore": IGNORED,
        "dagster.yaml": default_path(Path("dagster.yaml")).read_text(),
        "workspace.yaml": WORKSPACE,
        "Makefile": MAKEFILE.format(**values),
        "README.md": README.format(**values),
        f"{source}/source.py": SOURCE.format(**values),
        **{f"{source}/in/{day}.csv": text for day, text in zip(days, readings, strict=True)},
        f"{source}/samples/{days[0]}.csv": readings[0],
        "tests/test_samples.py": TEST.format(**values),
    }
