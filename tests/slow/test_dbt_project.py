"""The dbt project of the examples over a loaded demo: sources, tests, freshness and lineage."""

import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from orchestration_project.settings import PROJECT_ROOT
from tests.expecting import expect_exit

EXAMPLE = PROJECT_ROOT / "examples" / "dbt"
PROGRAMS = Path(sys.executable).parent

PROGRAM = """\
import dagster as dg
import definitions

graph = definitions.defs.resolve_asset_graph()
[model] = graph.executable_asset_keys
print(model.to_user_string(), "of", *(key.to_user_string() for key in graph.get(model).parent_keys))
with dg.DagsterInstance.ephemeral() as instance:
    resources = {"dbt": definitions.DbtCliResource(definitions.PROJECT)}
    done = dg.materialize([definitions.reports], resources=resources, instance=instance)
    print("checks", sum(each.passed for each in done.get_asset_check_evaluations()))
"""


@pytest.mark.slow
def test_a_dbt_model_over_our_tables_has_lineage_to_our_assets(tmp_path):
    folder = tmp_path / "dbt"
    shutil.copytree(EXAMPLE, folder)
    environment = {
        "PATH": f"{PROGRAMS}:{os.defpath}",
        "HOME": str(tmp_path),
        "PYTHONPATH": str(PROJECT_ROOT),
        "STATE_DIR": str(tmp_path / "state"),
        "DOMAINS": "fx",
        "DATA_PROFILE": "demo",
        "DAGSTER_IS_DEV_CLI": "1",
        "DO_NOT_TRACK": "1",
        "WAREHOUSE_FILE": str(tmp_path / "state" / "demo.sqlite"),
        "REPORTS_FILE": str(folder / "reports.sqlite"),
    }

    def run(*command):
        done = subprocess.run(  # noqa: S603 - our own program, and dbt
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        expect_exit(done)
        return done.stdout

    def orchestrate(*arguments):
        return run(sys.executable, "-m", "orchestration_project", *arguments)

    orchestrate("backfill", "fx_rates_daily", "--from", "2026-10-05", "--to", "2026-10-07")
    sources = orchestrate("dbt-sources", "--schema", "warehouse")
    assert sources == (folder / "models" / "sources.yml").read_text()
    [source] = yaml.safe_load(sources)["sources"]
    [rates] = source["tables"]
    assert rates["config"]["meta"] == {"dagster": {"asset_key": ["fx", "rates_daily"]}}

    printed = run(sys.executable, "-c", PROGRAM)
    assert "fx_monthly of fx/rates_daily" in printed
    assert "checks 2" in printed
    assert "PASS=8 WARN=0 ERROR=0" in run("dbt", "build", "--profiles-dir", ".")
    with sqlite3.connect(folder / "reports.sqlite") as reports:
        found = reports.execute("SELECT DISTINCT rate_month, day_count FROM fx_monthly").fetchall()
    assert found == [("2026-10", 3)]
    assert "freshness of fx.fx_rates_daily" in run(
        "dbt", "source", "freshness", "--profiles-dir", "."
    )
