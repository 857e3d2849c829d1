"""Read-only SQL of analysts: what it returns, and what it refuses."""

from collections.abc import Iterator
from decimal import Decimal

import psycopg
import pytest
from psycopg.sql import SQL, Identifier
from sqlalchemy import func, select
from sqlalchemy.engine import make_url

from orchestration_project.domains.finra.tables.weekly import finra_otc_weekly
from orchestration_project.errors import ConfigurationError, TransientError
from orchestration_project.services.analyst_sql.postgresql import run_query
from tests.prepared import Prepared

ROLE = "analyst_of_tests"


@pytest.fixture(scope="module")
def urls(prepared: Prepared) -> Iterator[tuple[str, str]]:
    """A database, by its owner, and by a role that may read two tables."""
    owner = prepared.postgresql().replace("postgresql+psycopg://", "postgresql://")
    with psycopg.connect(owner, autocommit=True) as connection:
        connection.execute(SQL("DROP ROLE IF EXISTS {}").format(Identifier(ROLE)))
        connection.execute(SQL("CREATE ROLE {} LOGIN PASSWORD 'x'").format(Identifier(ROLE)))
        connection.execute(
            SQL("GRANT SELECT ON finra_symbols, access_keys TO {}").format(Identifier(ROLE))
        )
        connection.execute(SQL("REVOKE SELECT ON access_keys FROM {}").format(Identifier(ROLE)))
        connection.execute(
            "INSERT INTO finra_symbols SELECT 'S' || n, 'T1', NULL, '2025-11-10', '2025-11-10', "
            "n, 0, 0, false, now() FROM generate_series(1, 5) n"
        )
    url = make_url(owner).set(username=ROLE, password="x")
    yield owner, url.render_as_string(hide_password=False)
    with psycopg.connect(owner, autocommit=True) as connection:
        connection.execute(SQL("DROP OWNED BY {}").format(Identifier(ROLE)))
        connection.execute(SQL("DROP ROLE {}").format(Identifier(ROLE)))


def test_a_query_has_its_rows_with_their_types(urls):
    found = run_query(
        urls[1],
        "-- the largest\nSELECT symbol, week_count, sum(week_count) OVER () AS total "
        "FROM finra_symbols ORDER BY week_count DESC; ",
        limit=5,
    )
    assert found.rows()[:2] == [("S5", 5, Decimal(15)), ("S4", 4, Decimal(15))]
    assert run_query(urls[1], "SELECT 'a%s{b}' AS text, NULL AS nothing").rows() == [
        ("a%s{b}", None)
    ]


def test_more_rows_than_the_limit_are_refused_and_the_limit_is_named(urls):
    with pytest.raises(ConfigurationError, match="at most 4 rows"):
        run_query(urls[1], "SELECT * FROM finra_symbols", limit=4)


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("DELETE FROM finra_symbols", "invalid SQL: expected one SELECT"),
        ("WITH gone AS (DELETE FROM finra_symbols RETURNING 1) SELECT * FROM gone", "invalid SQL"),
        ("SELECT 1) AS q; DROP TABLE finra_symbols; SELECT (1", "invalid SQL"),
        ("SELECT 1; COMMIT", "invalid SQL"),
        ("SELECT * FROM access_keys", "permission denied for table access_keys"),
        ("SELECT * FROM finra_tier_week", "permission denied for table finra_tier_week"),
        ("SELECT pg_read_file('/etc/passwd')", "permission denied"),
        ("SELECT set_config('transaction_read_only', 'off', false)", "read-write mode"),
        ("SELECT 1 AS a, 2 AS a", "columns have the same name"),
    ],
)
def test_what_is_no_read_of_data_is_refused(urls, query: str, message: str):
    with pytest.raises(ConfigurationError, match=message) as refused:
        run_query(urls[1], query)
    assert "PASSWORD" not in str(refused.value)
    assert run_query(urls[1], "SELECT count(*) AS n FROM finra_symbols").rows() == [(5,)]


def test_large_rows_are_refused_before_the_driver_has_them(urls):
    with pytest.raises(ConfigurationError, match="1,048,576 bytes each"):
        run_query(urls[1], "SELECT repeat('x', 5000000) AS text")
    with pytest.raises(ConfigurationError, match="division by zero"):
        run_query(urls[1], "SELECT 1 / (n - n) AS n FROM generate_series(1, 2) AS n")
    many = "SELECT repeat('x', 300) AS text FROM generate_series(1, {})"
    assert len(run_query(urls[1], many.format(3), max_bytes=1_000)) == 3
    with pytest.raises(ConfigurationError, match="1,000 bytes together"):
        run_query(urls[1], many.format(4), max_bytes=1_000)
    assert run_query(urls[1], "SELECT 1 AS one").rows() == [(1,)]


def test_a_query_that_takes_long_is_ended(urls):
    with pytest.raises(ConfigurationError, match=r"a query of at most 0\.2 s"):
        run_query(urls[1], "SELECT pg_sleep(60)", timeout_seconds=0.2)


def test_a_role_that_may_do_too_much_is_refused(urls):
    owner, analyst = urls
    with pytest.raises(ConfigurationError, match="it is a superuser; it may write"):
        run_query(owner, "SELECT 1 AS one")
    with psycopg.connect(owner, autocommit=True) as connection:
        for grant, refused in (
            ("SELECT", "it may read access_keys.secret_hash"),
            ("INSERT", "it may write access_keys"),
        ):
            connection.execute(f"GRANT {grant} ON access_keys TO {ROLE}".encode())
            with pytest.raises(ConfigurationError, match=refused):
                run_query(analyst, "SELECT 1 AS one")
            connection.execute(f"REVOKE {grant} ON access_keys FROM {ROLE}".encode())


def test_a_server_that_is_not_there_is_an_error_without_the_url():
    with pytest.raises(TransientError, match="cannot be reached") as refused:
        run_query("postgresql://me:s3cret@127.0.0.1:1/x", "SELECT 1")
    assert "s3cret" not in str(refused.value)


def test_without_the_setting_the_route_asks_the_sqlite_file(api, loaded):
    query = "query=SELECT%20count(*)%20AS%20n%20FROM%20finra_otc_weekly&format=csv"
    count = int(api.ask("GET", f"/sql?{query}", "viewer").text.split()[1])
    with api.services.warehouse.reading() as connection:
        assert count == connection.scalar(select(func.count()).select_from(finra_otc_weekly)) > 0
    before = api.ask("GET", f"/sql?{query}&as_of=2020-01-01T00:00:00Z", "viewer").text
    assert before.split() == ["n", "0"]
    problem = api.expect_problem("GET", f"/sql?{query.replace('weekly', 'weekl')}", "viewer")
    assert problem["status"] == 422
    assert "no such table" in str(problem)
