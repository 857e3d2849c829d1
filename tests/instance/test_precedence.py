"""The environment comes before `.env` in every program, also in those that Dagster starts."""

import json
import os
import shutil
import signal
import subprocess
import sys

import pytest

from orchestration_project.settings import PROJECT_ROOT
from tests import databases, programs
from tests.rabbitmq import requires_rabbitmq, running_broker

LOCATION = "tests.instance.answering"
JOB = "operations_checks"
LINKED = ("*.yaml", "pyproject.toml", "config")

LAUNCH = """mutation {launchRun(executionParams: {selector: {
repositoryLocationName: "tests.instance.answering", repositoryName: "__repository__",
jobName: "__ASSET_JOB"}}) {__typename ... on LaunchRunSuccess {run {runId}}}}"""


class Checkout:
    """A checkout with an `.env`, in which programs start as from a shell with variables."""

    def __init__(self, folder):
        self.root = folder / "checkout"
        self.state_dir = folder / "state"
        self.wrong = folder / "wrong"
        self.url = databases.sqlite_url(self.state_dir)
        self.home = self.state_dir / "dagster"
        self.home.mkdir(parents=True)
        self.programs = []
        self._copy()
        (self.home / "dagster.yaml").symlink_to(self.root / "dagster.yaml")
        (self.root / ".env").write_text(
            f"STATE_DIR={self.wrong}\nDATABASE_URL=sqlite:///{self.wrong}.sqlite\n"
            f"DEMO_SEED=5\nCOLOUR=red\nFINRA_LOOKBACK_WEEKS=9\nRUN_LAUNCHER=k8s\n"
        )

    def _copy(self):
        without = shutil.ignore_patterns("templates")
        package = "orchestration_project"
        shutil.copytree(PROJECT_ROOT / package, self.root / package, ignore=without)
        for file in (file for pattern in LINKED for file in PROJECT_ROOT.glob(pattern)):
            (self.root / file.name).symlink_to(file)
        (self.root / "tests" / "instance").mkdir(parents=True)
        for name in ("__init__.py", "instance/__init__.py", "instance/answering.py"):
            shutil.copy2(PROJECT_ROOT / "tests" / name, self.root / "tests" / name)

    def start(self, *arguments, **variables):
        environment = {
            "PATH": os.defpath,
            "HOME": str(self.state_dir.parent),
            "PYTHONPATH": str(self.root),
            "STATE_DIR": str(self.state_dir),
            "DATABASE_URL": self.url,
            "DEMO_SEED": "7",
            "COLOUR": "blue",
            "RUN_LAUNCHER": "local",
            **variables,
        }
        with (self.state_dir / "log").open("a") as log:
            started = subprocess.Popen(  # noqa: S603 - a Python module that a test names
                [sys.executable, "-m", *arguments],
                cwd=self.root,
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.programs.append(started)
        return started

    def run_without_failure(self, *arguments, **variables):
        status = self.start(*arguments, **variables).wait(programs.PATIENCE_SECONDS)
        assert status == 0, (self.state_dir / "log").read_text()

    def launch(self, port):
        """Launch a run of the asset by a web server that has just started; return its answer."""

        def launch():
            try:
                return programs.graphql(port, LAUNCH)["launchRun"].get("run")
            except (OSError, ValueError, KeyError, TypeError):  # it starts
                return None

        programs.wait_for(launch, 60)
        return self.answer()

    def answer(self):
        """Return what the run wrote down, as soon as it did."""
        file = self.state_dir / "answer.json"
        programs.wait_for(file.exists, 60)
        return json.loads(file.read_text())

    def kill(self):
        for started in self.programs:
            started.send_signal(signal.SIGTERM)
        for started in self.programs:
            started.wait(programs.PATIENCE_SECONDS)
        programs.kill_all_of(self.state_dir)
        programs.kill_all_of(self.wrong)


@pytest.fixture
def checkout(tmp_path):
    checkout = Checkout(tmp_path)
    yield checkout
    checkout.kill()


def expected_answer(checkout):
    """Return what every run should write down: `.env` only where the environment is silent."""
    return {
        "settings": [9, 7],
        "variables": {
            "DATABASE_URL": checkout.url,
            "DEMO_SEED": "7",
            "COLOUR": "blue",
        },
    }


@pytest.mark.slow
@pytest.mark.parametrize("home", ["", pytest.param("with DAGSTER_HOME", marks=pytest.mark.slow)])
def test_dagster_job_execute_has_the_environment_before_env_file(checkout, home):
    variables = {"DAGSTER_HOME": str(checkout.home)} if home else {}
    command = ("dagster", "job", "execute", "-m", LOCATION, "-j", "__ASSET_JOB")
    checkout.run_without_failure(*command, **variables)
    assert checkout.answer() == expected_answer(checkout)
    assert not list(checkout.root.parent.glob("wrong*"))
    assert list(checkout.home.rglob("*.db"))


@pytest.mark.slow
def test_dagster_dev_passes_the_environment_to_daemon_code_server_and_run(checkout):
    port = programs.free_port()
    checkout.start("dagster", "dev", "-m", LOCATION, "--port", str(port))
    assert checkout.launch(port) == expected_answer(checkout)
    assert not list(checkout.root.parent.glob("wrong*"))


@pytest.mark.slow
def test_dagster_dev_in_a_folder_without_our_dagster_yaml_passes_the_environment(checkout):
    (checkout.root / "dagster.yaml").unlink()
    port = programs.free_port()
    checkout.start("dagster", "dev", "-m", LOCATION, "--port", str(port))
    assert checkout.launch(port) == expected_answer(checkout)


@pytest.mark.slow
def test_the_environment_comes_before_a_dagster_home_of_env_file(checkout):
    other = checkout.root.parent / "other_home"
    other.mkdir()
    (other / "dagster.yaml").symlink_to(checkout.root / "dagster.yaml")
    with (checkout.root / ".env").open("a") as file:
        file.write(f"DAGSTER_HOME={other}\n")
    command = ("dagster", "job", "execute", "-m", LOCATION, "-j", "__ASSET_JOB")
    checkout.run_without_failure(*command, DAGSTER_HOME=str(checkout.home))
    assert checkout.answer() == expected_answer(checkout)
    assert not list(checkout.root.parent.glob("wrong*"))
    assert list(checkout.home.rglob("*.db"))


@pytest.mark.slow
def test_webserver_and_daemon_have_the_environment_before_env_file(checkout):
    port = programs.free_port()
    location = ("-m", LOCATION)
    home = {"DAGSTER_HOME": str(checkout.home)}
    checkout.start("dagster_webserver", *location, "--port", str(port), **home)
    checkout.start("orchestration_project.instance.daemon", "run", *location, **home)
    assert checkout.launch(port) == expected_answer(checkout)
    assert not list(checkout.root.parent.glob("wrong*"))


@pytest.mark.slow
@requires_rabbitmq
def test_a_worker_has_the_environment_before_env_file(checkout, postgres_url, tmp_path):
    port = programs.free_port()
    with running_broker(tmp_path) as broker:
        remote = {
            "DAGSTER_DATABASE_URL": postgres_url,
            "RUN_LAUNCHER": "celery",
            "BROKER_URL": broker.url,
        }
        checkout.start("orchestration_project", "worker", **remote)
        checkout.start("dagster", "dev", "-m", LOCATION, "--port", str(port), **remote)
        assert checkout.launch(port) == expected_answer(checkout)
        checkout.kill()
    assert not list(checkout.root.parent.glob("wrong*"))


@pytest.mark.slow
def test_orchestrate_and_its_ui_have_the_environment_before_env_file(checkout):
    checkout.run_without_failure("orchestration_project", "config", "show")
    log = (checkout.state_dir / "log").read_text()
    assert f"{checkout.state_dir}" in log
    assert f"{checkout.wrong}" not in log
    port = programs.free_port()
    checkout.start("orchestration_project", "ui", "--port", str(port))
    log = checkout.state_dir / "log"
    programs.wait_for(lambda: "op_" in log.read_text(), programs.PATIENCE_SECONDS)
    key = programs.key_in(log.read_text())
    query = LAUNCH.replace(LOCATION, "orchestration_project.definitions")
    query = query.replace("__ASSET_JOB", JOB)
    assert programs.graphql(port, query, key)["launchRun"].get("run")
    programs.wait_for(lambda: "SUCCESS" in programs.run_states(port, key, JOB), 120)
    assert not list(checkout.root.parent.glob("wrong*"))
