"""Everything on PostgreSQL, as the README's section says: our data and Dagster's own."""

from uuid import uuid4

import psycopg
import pytest

from orchestration_project.migrations import VERSION_TABLE
from orchestration_project.tables.catalogue import tables
from orchestration_project.tables.views import VIEWS
from tests import databases, programs
from tests.tls import tls_proxy

RUN = ("orchestration_project", "run", "--weeks", "1")
MIGRATE = ("orchestration_project", "migrate")

MADE = """SELECT relname FROM pg_class
WHERE relkind IN ('r', 'v') AND relnamespace = 'public'::regnamespace"""


def requested(url: str, statement: str) -> list[tuple]:
    with psycopg.connect(url) as connection:
        return connection.execute(statement.encode()).fetchall()


def new_database(url: str) -> str:
    name = f"cli_{uuid4().hex}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return url.replace(url.partition("?")[0].rpartition("/")[2], name)


@pytest.mark.slow
def test_a_run_through_tls_leaves_only_our_tables(state_dir, tmp_path, postgres_url):
    data, own = new_database(postgres_url), new_database(postgres_url)
    with tls_proxy(postgres_url, tmp_path / "tls") as proxy:
        safe = {"sslmode": "verify-full", "sslrootcert": str(proxy.certificate)}
        urls = {
            "DATABASE_URL": proxy.url(data, **safe),
            "DAGSTER_DATABASE_URL": proxy.url(own, **safe),
        }
        status, _, error = programs.run(state_dir, *RUN, **urls)
    assert status == 0, error
    made = {name for (name,) in requested(data, MADE)}
    assert made == {*(table.name for table in tables()), *VIEWS, VERSION_TABLE}
    assert requested(data, "SELECT count(DISTINCT tier) FROM finra_otc_weekly") == [(3,)]
    assert requested(own, "SELECT status, count(*) > 2 FROM runs GROUP BY 1") == [("SUCCESS", True)]
    assert not [*state_dir.glob("*.sqlite"), *state_dir.rglob("*.db")]


@pytest.mark.slow
def test_a_role_that_may_make_no_tables_migrates_by_the_sql_that_it_prints(state_dir, postgres_url):
    url, role = new_database(postgres_url), f"role_{uuid4().hex}"
    limited = url.replace("postgres:@", f"{role}:@")
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute(f"CREATE ROLE {role} LOGIN".encode())
        owner.execute(b"REVOKE CREATE ON SCHEMA public FROM PUBLIC")  # as PostgreSQL 15 has it
        for _ in "twice":
            status, _, error = programs.run(state_dir, *MIGRATE, DATABASE_URL=limited)
            assert status == 1
            assert "this role may not bring the tables up to date" in error
        status, script, _ = programs.run(state_dir, *MIGRATE, "--sql", DATABASE_URL=limited)
        assert status == 0
        owner.execute(script.encode())
        rights = "SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public"
        owner.execute(f"GRANT {rights} TO {role}".encode())
    status, _, error = programs.run(state_dir, *RUN, DATABASE_URL=limited)
    assert status == 0, error
    assert databases.contents(url)["finra_otc_weekly"]
