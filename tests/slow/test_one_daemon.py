"""Two daemons of one installation, as somebody starts them by mistake on two hosts."""

import pytest
from sqlalchemy import select

from orchestration_project.instance.storage import open_instance
from orchestration_project.settings import PROJECT_ROOT
from orchestration_project.tables.operations_deployment import operations_hosts
from orchestration_project.tables.spine import leases
from tests import databases, programs

DAEMON = ("orchestration_project.instance.daemon", "run", "-m", "orchestration_project.definitions")

pytestmark = pytest.mark.slow


@pytest.fixture
def state_dir(tmp_path):
    folder = tmp_path / "state"
    (folder / "dagster").mkdir(parents=True)
    (folder / "dagster" / "dagster.yaml").symlink_to(PROJECT_ROOT / "dagster.yaml")
    yield folder
    programs.kill_all_of(folder)


def test_a_second_daemon_of_one_installation_refuses_to_start(state_dir, monkeypatch):
    monkeypatch.setenv("STATE_DIR", str(state_dir))
    open_instance().dispose()
    url, home = databases.sqlite_url(state_dir), str(state_dir / "dagster")
    first = programs.start_unheard(state_dir, *DAEMON, DAGSTER_HOME=home)
    programs.wait_for(
        lambda: databases.has_table(url, "operations_hosts"), programs.PATIENCE_SECONDS
    )
    seen = select(operations_hosts.c.role, operations_hosts.c.stopped_at)
    programs.wait_for(lambda: databases.rows(url, seen), programs.PATIENCE_SECONDS)
    status, _, error = programs.run(state_dir, *DAEMON, DAGSTER_HOME=home)
    assert status == 1
    assert "another daemon of this installation runs" in error
    assert f"process {first.pid} on" in error
    first.terminate()
    first.wait(programs.PATIENCE_SECONDS)
    [(role, stopped_at)] = databases.rows(url, seen)
    assert (role, stopped_at is None) == ("daemon", False)
    held = select(leases.c.holder).where(leases.c.name == "dagster_daemon")
    assert databases.rows(url, held) == [("",)]
