"""Everything by way of PgBouncer: our data and Dagster's own, each command and the `ui`."""

import shutil
from uuid import uuid4

import psycopg
import pytest

from orchestration_project.instance.storage import open_instance
from tests import databases, programs
from tests.faults.stack import Stack, count_loads
from tests.pooler import PROGRAM, pooled
from tests.postgres import new_database

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which(PROGRAM), reason="pgbouncer is not installed"),
]

PROJECT = "orchestration_project"
COMMANDS = [
    (PROJECT, "migrate"),
    (PROJECT, "verify"),
    (PROJECT, "run", "--weeks", "1"),
    ("dagster", "job", "execute", "-m", f"{PROJECT}.definitions", "-j", "operations_checks"),
]
SETTINGS = ("DATABASE_URL", "DAGSTER_DATABASE_URL")
OPTION = "?options=-c%20lock_timeout%3D1s"


@pytest.fixture(scope="module", params=["transaction", "session"])
def by_way(request, postgres_server):
    """Turns a URL of the server into one by way of a pooler in that mode."""
    with pooled(postgres_server, request.param) as by_way:
        yield by_way


@pytest.fixture
def urls(postgres_server):
    """URLs of our data and of Dagster's own, without a pooler."""
    return {name: new_database(postgres_server, f"pool_{uuid4().hex}") for name in SETTINGS}


def test_every_command_works(by_way, urls, tmp_path):
    through = {name: by_way(url) for name, url in urls.items()}
    for command in COMMANDS:
        status, output, error = programs.run(tmp_path / "state", *command, **through)
        assert status == 0, (command, output, error)
        assert "Traceback" not in error
    assert databases.contents(urls["DATABASE_URL"])["finra_otc_weekly"]


def test_a_backup_is_restored_and_no_session_keeps_its_settings(
    by_way, urls, postgres_server, tmp_path
):
    through = {name: by_way(url) for name, url in urls.items()}
    state, place = tmp_path / "state", str(tmp_path / "place")
    assert programs.run(state, *COMMANDS[0], **through)[0] == 0
    found = [programs.run(state, PROJECT, "backup", "--to", place, **through)]
    empty = {name: new_database(postgres_server, f"pool_{uuid4().hex}") for name in SETTINGS}
    elsewhere = {name: by_way(url) for name, url in empty.items()}
    command = (PROJECT, "restore", "--from", place, "--check")
    found += [programs.run(tmp_path / "restored", *command, **elsewhere)]
    assert [status for status, _, _ in found] == [0, 0], found
    for url in [*through.values(), *elsewhere.values()]:
        for _ in range(10):
            with psycopg.connect(url) as connection:
                kept = connection.execute("SELECT * FROM current_schemas(false)").fetchone()
                assert kept == (["public"],)


def test_the_ui_runs_a_backfill(by_way, urls, tmp_path):
    stack = Stack(tmp_path, **{name: by_way(url) for name, url in urls.items()})
    try:
        stack.start()
        stack.backfill_without_failure(["T1|2026-02-02", "T2|2026-01-26", "OTCE|2026-01-26"])
        programs.wait_for(lambda: stack.backfill_states() == ["COMPLETED_SUCCESS"], seconds=240)
    finally:
        stack.kill_all()
    assert count_loads(urls["DATABASE_URL"]) == 3


def test_no_session_keeps_what_a_page_or_a_load_has_set(by_way, urls, tmp_path, monkeypatch):
    through = by_way(urls["DAGSTER_DATABASE_URL"])
    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    monkeypatch.setenv("DAGSTER_DATABASE_URL", through)
    with open_instance() as instance:
        instance.optimize_for_webserver(15_000, 3600, 20)
        for _ in range(10):
            assert instance.get_runs() == []
    for _ in range(10):
        with psycopg.connect(through) as connection:
            found = connection.execute("SHOW statement_timeout").fetchone()
            assert found == ("0",)


@pytest.mark.parametrize("setting", SETTINGS)
def test_an_option_that_it_refuses_names_the_setting_to_change(setting, by_way, urls, tmp_path):
    through = {name: by_way(url) for name, url in urls.items()}
    through[setting] += OPTION
    status, output, error = programs.run(tmp_path / "state", PROJECT, "run", **through)
    assert status == 1
    assert "unsupported startup parameter: options" in error
    assert f"take that option out of {setting} and give it to the role" in error
    assert "Traceback" not in output + error
