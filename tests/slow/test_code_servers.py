"""A code server of another host, by its port on this one: runs of its domain start there."""

import json
import signal

import dagster as dg
import psutil
import pytest
from dagster._core.storage.tags import GRPC_INFO_TAG

from orchestration_project.cli.execution import repository
from orchestration_project.instance.storage import open_instance
from tests import programs
from tests.cli.test_ui import Ui
from tests.programs import wait_for

pytestmark = pytest.mark.slow

LAUNCH = """mutation {{ launchRun(executionParams: {{
  selector: {{repositoryLocationName: "{location}", repositoryName: "__repository__",
    jobName: "{job}"}},
  executionMetadata: {{tags: [{{key: "dagster/partition", value: "{partition}"}}]}},
  runConfigData: {{}} }})
  {{ __typename ... on LaunchRunSuccess {{ run {{ runId }} }}
    ... on PythonError {{ message }} }} }}"""

LOCATIONS = """{ workspaceOrError { ... on Workspace { locationEntries { name
  locationOrLoadError { ... on RepositoryLocation { repositories { jobs { name } } } } } } } }"""

ASSETS = """{ workspaceOrError { ... on Workspace { locationEntries { name
  locationOrLoadError { ... on RepositoryLocation { repositories { assetNodes {
    isExecutable assetKey { path } } } } } } } } }"""

START = """mutation {{ startSensor(sensorSelector: {{repositoryName: "__repository__",
  repositoryLocationName: "{location}", sensorName: "{sensor}"}}) {{ __typename }} }}"""

TICKS = """{{ sensorOrError(sensorSelector: {{repositoryName: "__repository__",
  repositoryLocationName: "{location}", sensorName: "{sensor}"}}) {{
  ... on Sensor {{ sensorState {{ ticks {{ status }} }} }} }} }}"""

MAIN = "orchestration_project.definitions"


class Site:
    """A `ui`, and the code server of the domain finra."""

    def __init__(self, state_dir):
        self.state_dir, self.port = state_dir, programs.free_port()
        self.start_server()
        self.ui = Ui(state_dir, CODE_SERVERS=f"finra=127.0.0.1:{self.port}")
        self.ui.announcement()
        wait_for(self.jobs, 120)

    def start_server(self):
        command = ("orchestration_project", "code-server", "--domains", "finra", "--port")
        self.server = programs.start_unheard(self.state_dir, *command, str(self.port))

    def kill_server(self):
        for process in [*psutil.Process(self.server.pid).children(recursive=True), self.server]:
            process.send_signal(signal.SIGKILL)
        self.server.wait()

    def jobs(self):
        """Return the names of the jobs of each location, None until all are loaded."""
        entries = self.ui.graphql(LOCATIONS)["workspaceOrError"]["locationEntries"]
        found = {entry["name"]: entry["locationOrLoadError"] for entry in entries}
        if not all(value and value.get("repositories") for value in found.values()):
            return None
        return {
            name: {job["name"] for each in value["repositories"] for job in each["jobs"]}
            - {"__ASSET_JOB"}
            for name, value in found.items()
        }

    def load(self, partition):
        """Launch a run of finra, wait for its success, and return its id."""
        run = self.launch("finra", "finra_otc_weekly", partition)
        wait_for(lambda: self.status(run) == "SUCCESS", 180)
        return run

    def launch(self, location, job, partition=""):
        answer = self.ui.graphql(LAUNCH.format(location=location, job=job, partition=partition))
        return answer["launchRun"]["run"]["runId"]

    def assets(self):
        """Return the assets that each location can make or check."""
        entries = self.ui.graphql(ASSETS)["workspaceOrError"]["locationEntries"]
        return {
            entry["name"]: [
                "/".join(node["assetKey"]["path"])
                for repository in entry["locationOrLoadError"]["repositories"]
                for node in repository["assetNodes"]
                if node["isExecutable"]
            ]
            for entry in entries
        }

    def start_sensor_without_failure(self, location, sensor):
        answer = self.ui.graphql(START.format(location=location, sensor=sensor))
        assert answer["startSensor"]["__typename"] == "Sensor", answer

    def has_ticked(self, location, sensor):
        answer = self.ui.graphql(TICKS.format(location=location, sensor=sensor))
        ticks = answer["sensorOrError"]["sensorState"]["ticks"]
        return any(tick["status"] in ("SUCCESS", "SKIPPED") for tick in ticks)

    def status(self, run_id):
        query = f'{{runOrError(runId: "{run_id}") {{... on Run {{status}}}}}}'
        return self.ui.graphql(query)["runOrError"]["status"]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    site = Site(tmp_path_factory.mktemp("site") / "state")
    yield site
    site.ui.end(signal.SIGTERM)
    programs.kill_all_of(site.state_dir)
    site.server.wait()


def test_each_code_server_has_its_domains_and_no_job_is_in_two(site):
    found = site.jobs()
    assert found is not None
    assert set(found) == {MAIN, "finra"}
    assert "finra_otc_weekly" in found["finra"]
    assert "operations_runs" in found[MAIN]
    assert found["finra"].isdisjoint(found[MAIN])


def test_each_asset_is_in_the_one_location_of_its_domain(site):
    assets = site.assets()
    assert {name.partition("/")[0] for name in assets["finra"]} == {"finra"}
    assert {name for name in assets[MAIN] if name.startswith("finra/")} == set()
    for name in ("finra/otc_weekly", "fx/rates_daily", "operations/runs"):
        assert [*assets["finra"], *assets[MAIN]].count(name) == 1
    assert len({*assets["finra"], *assets[MAIN]}) == len(assets["finra"]) + len(assets[MAIN])


@pytest.mark.parametrize(
    ("location", "sensor"), [("finra", "finra_on_landing"), (MAIN, "operations_on_run_end")]
)
def test_a_sensor_of_each_location_ticks(site, location, sensor):
    site.start_sensor_without_failure(location, sensor)
    wait_for(lambda: site.has_ticked(location, sensor), 180)


@pytest.fixture
def instance(site, monkeypatch):
    monkeypatch.setenv("STATE_DIR", str(site.state_dir))
    with open_instance() as instance:
        yield instance


def test_a_run_starts_on_the_host_of_its_code_server(site, instance):
    run = site.load("T1|2026-02-02")
    tags = instance.get_run_by_id(run).tags
    assert json.loads(tags[GRPC_INFO_TAG]) == {"host": "127.0.0.1", "port": site.port}


def test_while_a_code_server_is_away_its_runs_wait_and_those_of_others_do_not(site, instance):
    earlier = instance.get_run_by_id(site.load("T2|2026-02-02"))
    site.kill_server()
    waiting = queued(instance, earlier, "T1|2026-02-09")
    other = site.launch(MAIN, "operations_checks")
    wait_for(lambda: site.status(other) == "SUCCESS", 120)
    assert site.status(waiting) in ("QUEUED", "STARTING")
    site.start_server()
    wait_for(lambda: site.status(waiting) == "SUCCESS", 240)


def queued(instance, earlier, partition):
    """Put a run of finra into the queue, as a schedule does; the UI asks the code server first."""
    run = instance.create_run_for_job(
        repository().get_job(earlier.job_name),
        job_code_origin=earlier.job_code_origin,
        remote_job_origin=earlier.remote_job_origin,
        tags={"dagster/partition": partition},
    )
    instance.report_dagster_event(dg.DagsterEvent.job_enqueue(run), run.run_id)
    return run.run_id
