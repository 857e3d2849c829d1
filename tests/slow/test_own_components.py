"""A Dagster project of another team has one source of ours, by one line of its `pyproject.toml`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from orchestration_project.settings import PROJECT_ROOT

PROJECT = """\
[project]
name = "team"
version = "0"

[tool.dg]
directory_type = "project"

[tool.dg.project]
root_module = "team"
"""
LINE = "\n[tool.orchestrate]\n"

RATES = """\
type: orchestration_project.FileDataset
attributes:
  name: rates_daily
  key: [currency]
  partitions: {every: day, since: 2026-11-02}
  fields:
    - {name: currency, type: text, description: ISO 4217}
    - {name: rate, type: "decimal(12, 6)", description: units per euro}
  source: {path: "in/{partition}.csv", format: csv}
"""
REPORT = """\
type: team.components.Report
attributes: {of: rates_daily}
"""
COMPONENTS = """\
import dagster as dg


class Report(dg.Component, dg.Model, dg.Resolvable):
    of: str

    def build_defs(self, context):
        spec = dg.AssetSpec("report", deps=[dg.AssetKey(["team", self.of])])
        return dg.Definitions(assets=[spec])
"""
PROGRAM = """\
import sys
from pathlib import Path

import dagster as dg

defs = dg.load_from_defs_folder(path_within_project=Path("src/team").resolve())
print(*sorted(key.to_user_string() for key in defs.resolve_all_asset_keys()), sep="\\n")
if len(sys.argv) > 1:
    with dg.DagsterInstance.ephemeral() as instance:
        job = defs.resolve_job_def("team_rates_daily")
        job.execute_in_process(partition_key=sys.argv[1], instance=instance)
"""
SOURCE = """\
from orchestration_project import Daily, Dataset, Field, derived, file_source

sales = Dataset(
    "sales",
    key=["shop"],
    partitions=Daily("2026-11-02"),
    fields=[Field("shop", str, "its name"), Field("amount", int, "pieces")],
    source=file_source("in/{partition}.csv", format="csv"),
)
totals = derived(
    "totals",
    key=["day"],
    fields=[Field("day", "date", "day"), Field("amount", int, "pieces")],
    sql="SELECT day, sum(amount) AS amount FROM sales GROUP BY day",
)
"""
OTHER = SOURCE.replace("sales", "orders").replace("totals", "sums")
DEFINITIONS = """\
import dagster as dg

import orchestration_project.definitions
from orchestration_project import load_definitions

report = dg.AssetSpec("report", deps=[dg.AssetKey(["team", "totals"])])
defs = dg.Definitions.merge(
    dg.Definitions(assets=[report]), load_definitions("sales", "totals")
)
"""
EXECUTION = """\
import dagster as dg

from orchestration_project import load_definitions
from team.definitions import defs

for each in (defs, load_definitions()):
    print(*sorted(key.to_user_string() for key in each.resolve_all_asset_keys()))
print(*sorted(job.name for job in defs.resolve_all_job_defs() if not job.name.startswith("__")))
print(*sorted(sensor.name for sensor in defs.sensors))
with dg.DagsterInstance.ephemeral() as instance:
    for name, partition in (("team_sales", "2026-11-03"), ("team_totals", None)):
        job = defs.resolve_job_def(name)
        assert job.execute_in_process(partition_key=partition, instance=instance).success
"""
DAY = "2026-11-03"
KEYS = [
    "report",
    "team/other_daily",
    "team/other_daily_source",
    "team/rates_daily",
    "team/rates_daily_source",
]


@pytest.fixture
def project(tmp_path):
    """A Dagster project, and what runs a program in it."""
    defs = tmp_path / "src" / "team" / "defs"
    files = {
        "pyproject.toml": PROJECT + LINE,
        "program.py": PROGRAM,
        "src/team/__init__.py": "",
        "src/team/defs/__init__.py": "",
        "src/team/defs/rates/defs.yaml": RATES,
        "src/team/defs/other/defs.yaml": RATES.replace("rates_daily", "other_daily"),
        "src/team/components.py": COMPONENTS,
        "src/team/defs/report/defs.yaml": REPORT,
        f"in/{DAY}.csv": "currency,rate\nUSD,1.09\nJPY,161.07\n",
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    environment = {
        "PATH": os.defpath,
        "HOME": str(tmp_path),
        "PYTHONPATH": f"{PROJECT_ROOT}:{tmp_path / 'src'}",
        "DEMO_CLOCK_NOW": "2026-11-04T09:00:00+00:00",
    }

    def run(*arguments):
        return subprocess.run(  # noqa: S603 - our own programs
            [sys.executable, *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    return tmp_path, defs, run


def export(run, *options):
    """Return the lines of the day's rows, as they are exported."""
    done = run("-m", "orchestration_project", "export", "rates_daily", *options)
    return done.stdout.splitlines()


@pytest.mark.slow
def test_a_dagster_project_of_its_own_has_history_of_one_source(project):
    folder, _, run = project
    assert run("-m", "orchestration_project", "migrate").returncode == 0
    loaded = run("program.py", DAY)
    assert loaded.returncode == 0, loaded.stderr
    assert loaded.stdout.splitlines()[:5] == KEYS
    columns = ("--columns", "currency,rate")
    first = ["currency,rate", "JPY,161.070000", "USD,1.090000"]
    assert export(run, *columns) == first
    known = export(run, "--columns", "known_from")[1]

    (folder / "in" / f"{DAY}.csv").write_text("currency,rate\nUSD,1.08\nJPY,161.07\n")
    assert run("-m", "orchestration_project", "load", "rates_daily", DAY).returncode == 0
    assert export(run, *columns) == [*first[:2], "USD,1.080000"]
    assert export(run, *columns, "--as-of", known) == first


@pytest.mark.slow
def test_a_wrong_component_fails_with_its_line_in_dagster_and_in_our_programs(project):
    folder, defs, run = project
    (defs / "rates" / "defs.yaml").write_text(RATES.replace("type: text", "type: txt"))
    for arguments in (("program.py",), ("-m", "orchestration_project", "migrate")):
        done = run(*arguments)
        assert done.returncode != 0
        assert "line 7: attributes.fields.0.type: type of field 'currency'" in done.stderr
        assert "src/team/defs/rates/defs.yaml" in done.stderr
    (defs / "rates" / "defs.yaml").write_text(RATES)
    (folder / "pyproject.toml").write_text(PROJECT)
    assert "add [tool.orchestrate] to the pyproject.toml" in run("program.py").stderr


def dg(folder, *arguments):
    """Run Dagster's `dg` in a project."""
    return subprocess.run(  # noqa: S603 - a program of the tests' environment
        [Path(sys.executable).with_name("dg"), *arguments],
        cwd=folder,
        env={
            "PATH": os.defpath,
            "HOME": str(folder),
            "PYTHONPATH": f"{PROJECT_ROOT}:{folder / 'src'}",
            "COLUMNS": "200",
        },
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_dg_lists_checks_and_scaffolds_our_components(project):
    folder, defs, _ = project
    listed = dg(folder, "list", "components").stdout
    for name in ("DltDataset", "FileDataset", "HttpDataset", "SqlTable"):
        assert f"orchestration_project.{name}" in listed
    checked = dg(folder, "check", "yaml")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    made = dg(folder, "scaffold", "defs", "orchestration_project.HttpDataset", "more")
    assert made.returncode == 0, made.stderr
    text = (defs / "more" / "defs.yaml").read_text()
    assert text.startswith("type: orchestration_project.HttpDataset")


@pytest.mark.slow
def test_dg_names_file_and_line_of_a_wrong_attribute(project):
    folder, defs, _ = project
    (defs / "rates" / "defs.yaml").write_text(RATES.replace("key: [currency]", "keys: [currency]"))
    place = defs / "rates"  # without it, Dagster 1.13 checks the last file alone of each type
    wrong = dg(folder, "check", "yaml", str(place.relative_to(folder)))
    assert wrong.returncode == 1
    assert "rates/defs.yaml:4" in wrong.stdout + wrong.stderr


@pytest.mark.slow
def test_a_dagster_project_has_the_definitions_of_sources_in_python(project):
    folder, defs, run = project
    for name in ("rates", "other", "report"):
        (defs / name / "defs.yaml").unlink()
    for name, text in (("sales", SOURCE), ("orders", OTHER)):
        (defs / name).mkdir()
        (defs / name / "source.py").write_text(text)
    (folder / "src" / "team" / "definitions.py").write_text(DEFINITIONS)
    (folder / "in" / f"{DAY}.csv").write_text("shop,amount\nNorth,2\nSouth,3\n")
    assert run("-m", "orchestration_project", "migrate").returncode == 0
    executed = run("-c", EXECUTION)
    assert executed.returncode == 0, executed.stderr
    chosen, everything, jobs, sensors = executed.stdout.splitlines()
    assert chosen == "report team/sales team/sales_source team/totals"
    assert everything == (
        "team/orders team/orders_source team/sales team/sales_source team/sums team/totals"
    )
    assert (jobs, sensors) == ("team_sales team_totals", "team_on_sales team_on_totals")
    exported = run("-m", "orchestration_project", "export", "totals", "--columns", "day,amount")
    assert exported.stdout.splitlines() == ["day,amount", f"{DAY},5"]
    validated = run("-m", "dagster", "definitions", "validate", "-m", "team.definitions")
    assert validated.returncode == 0, validated.stdout
    wrong = run("-c", "import orchestration_project as o; o.load_definitions('sale')")
    assert "the project declares no dataset or derived table 'sale'" in wrong.stderr
    assert "did you mean sales?" in wrong.stderr
