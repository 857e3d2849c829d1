"""The `ui` command as a person meets it: real processes, asked over HTTP."""

import signal
import socket

import dagster as dg
import psutil
import pytest

from orchestration_project.__main__ import main
from orchestration_project.cli.ui import answers
from orchestration_project.instance.storage import open_instance
from tests import programs
from tests.expecting import expect_present

UI = ("orchestration_project", "--quiet", "ui", "--port")
JOB = "finra_otc_weekly"
CONTROL_TOWER = "operations_checks"
JOB_EXECUTE = (
    *("dagster", "job", "execute", "-m", "orchestration_project.definitions"),
    *("-j", JOB, "--tags", '{"dagster/partition": "T1|2026-02-09"}'),
)
FORK_SERVER = "fork-server"
LAUNCH = """mutation {launchRun(executionParams: {selector: {
repositoryLocationName: "orchestration_project.definitions", repositoryName: "__repository__",
jobName: "operations_runs"},
runConfigData: "ops: {handle_runs: {config: {list_sessions: {}}}}"}) {__typename
... on LaunchRunSuccess {run {runId}}}}"""
SLEEPER = ("dagster", "job", "execute", "-f", "tests/instance/sleeper.py", "-j", "__ASSET_JOB")


@dg.asset
def one():
    return None


class Ui:
    """A `ui` that answers."""

    def __init__(self, state_dir, **environment):
        self.state_dir = state_dir
        self.port = programs.free_port()
        self.process = programs.start(state_dir, *UI, str(self.port), **environment)

    def announcement(self):
        """Return its first line, and keep the key that the others say."""
        first, _, key = (expect_present(self.process.stdout).readline() for _ in range(3))
        self.key = programs.key_in(key)
        return first

    def run_states(self, job=None):
        return programs.run_states(self.port, self.key, job)

    def graphql(self, query):
        return programs.graphql(self.port, query, self.key)

    def launch(self):
        """Launch a run and wait until it succeeded."""
        run_id = self.graphql(LAUNCH)["launchRun"]["run"]["runId"]
        query = f'{{runOrError(runId: "{run_id}") {{... on Run {{status}}}}}}'
        programs.wait_for(lambda: self.graphql(query)["runOrError"]["status"] == "SUCCESS")

    def end(self, number):
        self.process.send_signal(number)
        self.process.communicate(timeout=programs.PATIENCE_SECONDS)
        return self.process.returncode


def is_gone(state_dir):
    return not programs.processes_of(state_dir)


@pytest.fixture(scope="module")
def ui(tmp_path_factory):
    ui = Ui(tmp_path_factory.mktemp("ui") / "state", DOMAINS="finra")  # fewer load faster
    assert ui.announcement() == f"Dagster UI: http://127.0.0.1:{ui.port} (Ctrl-C stops it)\n"
    yield ui
    ui.end(signal.SIGTERM)
    programs.kill_all_of(ui.state_dir)  # as the `tail` of a run that was killed while it started


@pytest.mark.slow
def test_a_run_of_dagsters_own_command_in_a_new_shell_shows_in_the_ui(ui):
    before = len(ui.run_states(JOB))
    status, _, error = programs.run(ui.state_dir, *JOB_EXECUTE)
    assert status == 0, error
    assert ui.run_states(JOB)[: -before or None] == ["SUCCESS"]  # sensors may start other jobs


def test_requests_need_the_key_that_is_printed_and_not_logged(ui):
    with pytest.raises(KeyError, match="data"):
        programs.graphql(ui.port, "{version}")
    assert ui.graphql("{version}")["version"]
    assert "op_" not in "".join(log.read_text() for log in (ui.state_dir / "logs").glob("*.log"))


def test_all_daemons_are_healthy(ui):
    query = "{instance {daemonHealth {allDaemonStatuses {daemonType healthy required}}}}"

    def is_healthy():
        statuses = ui.graphql(query)["instance"]["daemonHealth"]
        return all(status["healthy"] for status in statuses["allDaemonStatuses"])

    assert programs.wait_for(is_healthy)


@pytest.mark.slow
def test_runs_start_although_the_process_that_they_are_forked_from_was_killed(ui):
    forks = {
        process.pid: process
        for process in programs.processes_of(ui.state_dir)
        if process.name() == FORK_SERVER
    }
    [loaded] = [process for process in forks.values() if process.ppid() not in forks]  # no run
    ui.launch()
    loaded.kill()
    ui.launch()


@pytest.mark.slow
def test_a_run_whose_process_was_killed_is_marked_as_failed(ui):
    # unheard, as Dagster's `tail` of its log may outlive it, with what it says
    process = programs.start_unheard(ui.state_dir, *SLEEPER)
    programs.wait_for(lambda: "STARTED" in ui.run_states(SLEEPER[-1]))
    process.kill()
    process.wait()
    programs.wait_for(lambda: "FAILURE" in ui.run_states(SLEEPER[-1]))


@pytest.mark.slow
def test_a_second_ui_on_the_same_state_dir_is_refused(ui):
    status, output, error = programs.run(ui.state_dir, *UI, str(programs.free_port()))
    assert (status, output) == (1, "")
    assert error == (
        "another `ui` runs on this STATE_DIR\n"
        f"  found: process {ui.process.pid}\n"
        "  what to do: use that one, stop it, or set another STATE_DIR\n"
        f"  where: state_dir={ui.state_dir}\n"
    )
    ui.run_states()  # the first still answers


@pytest.mark.slow
def test_a_taken_port_is_refused_before_anything_starts(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        status, output, error = programs.run(tmp_path / "state", *UI, str(port))
    assert (status, output) == (1, "")
    assert error == (
        f"the UI cannot be served on 127.0.0.1:{port}\n"
        f"  found: Address already in use (while attempting to bind on address "
        f"('127.0.0.1', {port}))\n"
        "  what to do: stop what uses that port, or choose another: make ui PORT=3001\n"
    )
    assert is_gone(tmp_path / "state")
    assert not (tmp_path / "state" / "logs").exists()


def test_an_unusable_state_dir_is_a_clear_error(tmp_path, monkeypatch, capfd):
    (tmp_path / "file").touch()
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "file" / "state"))
    assert main(["ui", "--port", "3000"]) == 1
    output, error = capfd.readouterr()
    assert output == ""
    assert error.startswith("checking settings, database and port\nSTATE_DIR cannot be used\n")


@pytest.mark.slow
def test_a_wrong_option_is_a_usage_error(capfd):
    with pytest.raises(SystemExit) as ended:
        main(["ui", "--port", "70000"])
    assert ended.value.code == 2
    assert "'--port': 70000 is not in the range 1<=x<=65535" in capfd.readouterr().err


@pytest.mark.slow
def test_a_long_log_becomes_the_one_before_and_begins_again(ui):
    log = ui.state_dir / "logs" / "daemon.log"
    before = log.with_name("daemon.previous.log")
    with log.open("ab") as grown:
        grown.write(b"said long ago\n" * 1_300_000)
    programs.wait_for(lambda: before.exists() and log.stat().st_size < 1_000_000)
    assert before.read_bytes().count(b"said long ago\n") == 1_300_000
    programs.wait_for(lambda: log.stat().st_size)
    assert b"\0" not in log.read_bytes()  # as a gap would be


@pytest.mark.slow
def test_with_postgresql_it_shows_the_runs_there_and_ctrl_c_leaves_no_process(
    tmp_path, postgres_url, monkeypatch
):
    monkeypatch.setenv("DAGSTER_DATABASE_URL", postgres_url)
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    with open_instance() as instance:
        dg.materialize([one], instance=instance)
    ui = Ui(tmp_path / "state", DAGSTER_DATABASE_URL=postgres_url)
    ui.announcement()
    assert ui.run_states("__ephemeral_asset_job__") == ["SUCCESS"]
    programs.wait_for(lambda: "SUCCESS" in ui.run_states(CONTROL_TOWER), seconds=300)  # it draws
    family = psutil.Process(ui.process.pid).children(recursive=True)
    assert len(family) >= 5  # watcher, code server and its worker, web server, daemon
    assert ui.end(signal.SIGINT) == 0
    assert is_gone(ui.state_dir)
    _, left = psutil.wait_procs(family, timeout=60)  # who inherits them may take its time
    assert left == []
    assert {path.name for path in tmp_path.iterdir()} == {"state"}


@pytest.mark.slow
def test_sigterm_at_start_leaves_no_process_and_no_unprinted_key(tmp_path):
    ui = Ui(tmp_path / "state")
    programs.wait_for((tmp_path / "state" / "logs" / "code-server.log").exists)
    assert ui.end(signal.SIGTERM) == 0
    assert is_gone(ui.state_dir)
    status, keys, _ = programs.run(ui.state_dir, "orchestration_project", "keys", "list")
    assert (status, len(keys.splitlines())) == (0, 1)  # the headings: the next start says one


@pytest.mark.slow
def test_kill_9_of_it_leaves_no_process_and_frees_the_state_dir(tmp_path):
    ui = Ui(tmp_path / "state")
    ui.announcement()
    assert ui.end(signal.SIGKILL) == -signal.SIGKILL
    assert programs.wait_for(lambda: is_gone(ui.state_dir))


@pytest.mark.slow
def test_the_death_of_one_program_ends_all_and_shows_its_last_words(tmp_path):
    ui = Ui(tmp_path / "state")
    log = tmp_path / "state" / "logs" / "code-server.log"
    programs.wait_for(lambda: log.exists() and "Starting" in log.read_text())
    [code_server] = [
        process
        for process in programs.processes_of(ui.state_dir)
        if "code-server" in process.cmdline()
    ]
    code_server.kill()
    _, error = ui.process.communicate(timeout=programs.PATIENCE_SECONDS)
    assert ui.process.returncode == 1
    assert error.startswith("code-server ended by itself with status -9; all is stopped\n")
    assert "Starting Dagster code proxy server" in error
    assert is_gone(ui.state_dir)


@pytest.mark.slow
def test_killed_programs_are_restarted_and_runs_go_on(tmp_path):
    ui = Ui(tmp_path / "state")
    ui.announcement()
    words = {"code-server", "gateway", "orchestration_project.instance.daemon"}
    children = psutil.Process(ui.process.pid).children()
    killed = [child for child in children if words & set(child.cmdline())]
    assert len(killed) == len(words)
    for program in killed:
        program.kill()
    log = tmp_path / "state" / "logs" / "daemon.previous.log"
    assert programs.wait_for(log.exists)
    assert programs.wait_for(lambda: answers("127.0.0.1", ui.port))
    programs.wait_for(lambda: ui.graphql(LAUNCH)["launchRun"].get("run"))
    programs.wait_for(lambda: "SUCCESS" in ui.run_states(), seconds=120)
    assert ui.process.poll() is None
    assert ui.end(signal.SIGTERM) == 0
    assert is_gone(ui.state_dir)


@pytest.mark.slow
def test_the_death_of_the_process_that_holds_the_code_ends_all(tmp_path):
    ui = Ui(tmp_path / "state", PROGRAM_MAX_ENDS="1")
    ui.announcement()
    [code_server] = [
        process
        for process in psutil.Process(ui.process.pid).children()
        if "code-server" in process.cmdline()
    ]
    [child] = code_server.children()
    child.kill()
    _, error = ui.process.communicate(timeout=40)
    assert ui.process.returncode == 1
    assert error.startswith(
        "code-server ended by itself in the process that does its work; all is stopped\n"
    )
    assert is_gone(ui.state_dir)


@pytest.mark.slow
def test_others_than_this_machine_are_not_served_without_what_protects_them(
    tmp_path, monkeypatch, capfd
):
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    assert main(["--quiet", "ui", "--port", "3000", "--host", "10.0.0.1"]) == 1
    output, error = capfd.readouterr()
    assert output == ""
    assert error.startswith("the UI is not served on 10.0.0.1, where others than this machine")
    assert "TRUSTED_PROXIES" in error
    assert is_gone(tmp_path / "state")
