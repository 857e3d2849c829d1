"""The DAG of the examples, run by Airflow over a gateway with a demo."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import pytest

from orchestration_project.client import Client
from orchestration_project.settings import PROJECT_ROOT
from tests import programs
from tests.expecting import expect_exit

pytestmark = pytest.mark.slow

DAGS = PROJECT_ROOT / "examples" / "airflow"
AIRFLOW = PROJECT_ROOT / ".venv-airflow" / "bin"
CLOCK = {"DEMO_CLOCK_NOW": "2026-03-02T18:00:00+00:00"}
TIER, WEEK = "T1", "2026-02-02"


class Airflow:
    """Airflow with a database of its own, and a gateway with an operator's key.

    Attributes:
        url: Address of the gateway.
        key: Key of an operator.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._state = folder / "state"
        port, output = programs.free_port(), folder / "ui.log"
        command = ("orchestration_project", "ui", "--port", str(port))
        self._ui = programs.start_into(output, self._state, *command, **CLOCK)
        programs.wait_for(lambda: "op_" in output.read_text(), seconds=240)
        created = self.orchestrate("keys", "create", "--role", "operator", "--owner", "airflow")
        self.url, self.key = f"http://127.0.0.1:{port}", programs.key_in(created)
        expect_exit(self.run("db", "migrate"))

    def orchestrate(self, *arguments: str) -> str:
        """Run a command of ours; return what it printed."""
        return programs.run_without_failure(
            self._state, "orchestration_project", *arguments, **CLOCK
        )

    def run(self, *arguments: str, **changed: str) -> subprocess.CompletedProcess[str]:
        """Run a command of Airflow."""
        environment = {
            "PATH": f"{AIRFLOW}:/usr/bin:/bin",
            "HOME": str(self._folder),
            "AIRFLOW_HOME": str(self._folder / "airflow"),
            "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "ORCHESTRATION_PYTHON": sys.executable,
            "GATEWAY_URL": getattr(self, "url", ""),
            "GATEWAY_KEY": getattr(self, "key", ""),
            "PYTHONPATH": str(PROJECT_ROOT),
            **changed,
        }
        return subprocess.run(  # noqa: S603 - Airflow's own program
            [str(AIRFLOW / "airflow"), *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    def run_dag(self, **given: str) -> subprocess.CompletedProcess[str]:
        """Run the DAG, all of it in one process."""
        return self.run("dags", "test", "finra_week", "--conf", json.dumps(given))

    def runs(self) -> list[Mapping[str, object]]:
        """Return the runs of the week that the gateway knows."""
        answer = httpx.get(f"{self.url}/api/v1/runs", headers={"X-API-Key": self.key})
        return [run for run in answer.json()["runs"] if run["partition"] == f"{TIER}|{WEEK}"]

    def end(self) -> None:
        """End the gateway."""
        self._ui.terminate()
        self._ui.wait(timeout=programs.PATIENCE_SECONDS)


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    install = ["make", "--no-print-directory", ".venv-airflow/installed"]
    subprocess.run(install, cwd=PROJECT_ROOT, check=True)  # noqa: S603 - our Makefile
    started = Airflow(tmp_path_factory.mktemp("airflow"))
    yield started
    started.end()


def test_the_dag_loads_the_week_once_and_reads_its_rows(airflow: Airflow):
    done = airflow.run_dag(tier=TIER, week=WEEK)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    [run] = airflow.runs()
    said = done.stdout + done.stderr
    counted = re.search(rf"run {run['run_id']}: (\d+) rows of T1\|2026-02-02", said)
    assert counted
    with Client(airflow.url, airflow.key) as client:
        assert len(client.frame("finra_otc_weekly")) == int(counted[1])


def test_a_week_that_is_not_published_fails_the_dag_with_the_reason(airflow: Airflow):
    done = airflow.run_dag(tier=TIER, week="2026-02-23")
    assert done.returncode != 0
    assert "has no partition 'T1|2026-02-23'" in done.stdout + done.stderr


def test_a_gateway_with_another_version_of_the_api_is_refused(airflow: Airflow, tmp_path: Path):
    text = (DAGS / "finra_week.py").read_text()
    later = text.replace('API_VERSIONS = ["1"]', 'API_VERSIONS = ["2"]')
    (tmp_path / "finra_week.py").write_text(later)
    before = airflow.runs()
    done = airflow.run(*("dags", "test", "finra_week"), AIRFLOW__CORE__DAGS_FOLDER=str(tmp_path))
    assert done.returncode != 0
    assert "invalid version of the API: expected 2, found 1" in done.stdout + done.stderr
    assert airflow.runs() == before
