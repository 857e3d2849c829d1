"""Moving to another database, as a person does it over the demo."""

import re
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from orchestration_project.__main__ import main
from tests import databases, programs

RUN = ("orchestration_project", "run", "--weeks", "1")
COPY = ("orchestration_project", "copy-database", "--to")


@pytest.mark.slow
def test_after_a_move_to_postgresql_the_next_run_says_that_nothing_changed(state_dir, postgres_url):
    assert programs.run(state_dir, *RUN)[0] == 0
    before = databases.contents(databases.sqlite_url(state_dir))
    status, output, error = programs.run(state_dir, *COPY, postgres_url)
    assert status == 0, error
    assert "count and hash of each table are equal" in output
    assert databases.contents(postgres_url) == before
    status, output, error = programs.run(state_dir, *RUN, DATABASE_URL=postgres_url)
    assert status == 0, error
    assert "3 of 3 partitions: nothing changed at the source" in output
    assert databases.contents(postgres_url) == before
    status, _, error = programs.run(state_dir, *COPY, postgres_url)
    assert status == 1
    assert "the database to copy to is not empty" in error
    with psycopg.connect(postgres_url) as connection:
        assert connection.execute(
            "SELECT value FROM database_labels WHERE name = 'data'"
        ).fetchall() == [("demo",)]


@pytest.mark.slow
def test_the_sql_of_a_migration_is_printed_and_not_executed(state_dir, monkeypatch, capfd):
    monkeypatch.setenv("STATE_DIR", str(state_dir))
    assert main(["migrate", "--sql"]) == 0
    output = capfd.readouterr().out
    assert output.startswith("BEGIN IMMEDIATE;")
    assert "CREATE TABLE finra_otc_weekly " in output
    assert main(["migrate"]) == 0
    capfd.readouterr()
    assert main(["migrate", "--sql"]) == 0
    assert capfd.readouterr().out == "-- the tables are up to date\n"


@pytest.mark.slow
def test_a_program_waits_until_another_has_upgraded_the_tables(state_dir, monkeypatch, capfd):
    monkeypatch.setenv("STATE_DIR", str(state_dir))
    assert main(["migrate", "--wait", "0"]) == 1
    assert re.search(r"expected: version \d{4}\n +found: version none", capfd.readouterr().err)
    with ThreadPoolExecutor() as pool:
        wait = ("orchestration_project", "migrate", "--wait", "60")
        waiting = pool.submit(programs.run, state_dir, *wait)
        assert main(["migrate"]) == 0
        status, output, _ = waiting.result()
    assert status == 0
    assert "up to date" in output


@pytest.mark.slow
def test_what_is_wrong_with_the_other_database_is_said_of_it(state_dir, monkeypatch, capfd):
    monkeypatch.setenv("STATE_DIR", str(state_dir))
    assert main([*COPY[1:], ""]) == 1
    said = capfd.readouterr().err
    assert "invalid DATABASE_URL" in said
    assert "where: option=--to" in said


@pytest.mark.slow
def test_another_database_that_does_not_answer_names_its_option(state_dir, monkeypatch, capfd):
    monkeypatch.setenv("STATE_DIR", str(state_dir))
    assert main([*COPY[1:], "postgresql://ghost:hunter2@127.0.0.1:1/none"]) == 1
    said = capfd.readouterr().err
    assert "127.0.0.1:1/none" in said
    assert "where: option=--to" in said
    assert "hunter2" not in said
