"""SQL of analysts on both databases: tables as of a moment; on SQLite, what may be read."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import polars as pl
import psycopg
import pytest
from psycopg.sql import SQL, Identifier
from sqlalchemy.engine import make_url

from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import ConfigurationError, TransientError
from orchestration_project.services.analyst_sql import postgresql, sqlite
from orchestration_project.services.analyst_sql.sqlite import Readable
from orchestration_project.tables.catalogue import known_tables
from tests.prepared import Prepared
from tests.resources.weeks import NOON, PartitionLoader, StoppedClock, row

Query = Callable[..., pl.DataFrame]
ROLE = "analyst_of_moments"
SHARES = (
    "SELECT symbol, share_quantity_micros / 1000000 AS shares FROM finra_otc_weekly ORDER BY symbol"
)
HOUR = timedelta(hours=1)
ALL = Readable(known_tables())


@pytest.fixture
def queries(
    request: pytest.FixtureRequest, tmp_path: Path, clock: StoppedClock, prepared: Prepared
) -> Iterator[tuple[PartitionLoader, Query]]:
    """Loads of a week, and SQL over them; by a role of its own on PostgreSQL."""
    if request.param == "sqlite":
        with Warehouse(prepared.sqlite(tmp_path / "w.sqlite"), clock=clock) as warehouse:
            warehouse.prepare(holds="real")
            file = tmp_path / "w.sqlite"
            yield (
                PartitionLoader(warehouse, tmp_path / "artifacts"),
                lambda query, **options: sqlite.run_query(file, query, ALL, **options),
            )
        return
    owner = prepared.postgresql()
    plain = owner.replace("postgresql+psycopg://", "postgresql://")
    role = Identifier(ROLE)
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute(SQL("DROP ROLE IF EXISTS {}").format(role))
        connection.execute(SQL("CREATE ROLE {} LOGIN PASSWORD 'x'").format(role))
        tables = "finra_otc_weekly, finra_otc_weekly_history, finra_symbols"
        connection.execute(f"GRANT SELECT ON {tables} TO {ROLE}".encode())
    url = make_url(plain).set(username=ROLE, password="x")
    analyst = url.render_as_string(hide_password=False)
    with Warehouse(owner, clock=clock) as warehouse:
        warehouse.prepare(holds="real")
        yield (
            PartitionLoader(warehouse, tmp_path / "artifacts"),
            lambda query, **options: postgresql.run_query(analyst, query, **options),
        )
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute(SQL("DROP OWNED BY {}").format(role))
        connection.execute(SQL("DROP ROLE {}").format(role))


BOTH = pytest.mark.parametrize("queries", ["sqlite", "postgresql"], indirect=True)


@pytest.mark.slow_after_first
@BOTH
def test_tables_of_a_query_have_the_rows_that_were_known_at_its_moment(queries, clock):
    partition_loader, ask = queries
    partition_loader.write_batch(row("AAA"), row("BBB"))
    clock.at += HOUR
    partition_loader.write_batch(row("AAA", share_quantity=200), row("CCC"), version="v2")
    assert ask(SHARES).rows() == [("AAA", 200), ("CCC", 100)]
    assert ask(SHARES, as_of=NOON).rows() == [("AAA", 100), ("BBB", 100)]
    assert ask(SHARES, as_of=NOON + HOUR).rows() == [("AAA", 200), ("CCC", 100)]
    assert ask(SHARES, as_of=NOON - HOUR).rows() == []
    joined = (
        "WITH own AS (SELECT symbol FROM finra_otc_weekly) SELECT count(*) AS pairs "
        'FROM own JOIN "finra_otc_weekly" AS other ON other.symbol = own.symbol'
    )
    assert ask(joined, as_of=NOON).rows() == [(2,)]


@BOTH
@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELECT * FROM finra_symbols", "finra_symbols keeps no history"),
        ("SELECT * FROM finra_otc_weekly_history", "finra_otc_weekly_history keeps no history"),
        ("SELECT 1 AS one FROM {schema}.finra_otc_weekly", "name tables without a schema"),
        ('SELECT 1 AS one FROM {schema} . "finra_otc_weekly"', "name tables without a schema"),
        ("SELECT 1 AS one FROM {schema}.[finra_otc_weekly]", "name tables without a schema"),
        ("SELECT 1 AS one FROM {schema}./**/finra_otc_weekly", "a comment behind a dot"),
        ("SELECT 1 AS one FROM {schema}.--\nfinra_otc_weekly", "a comment behind a dot"),
        ('SELECT 1 AS one FROM U&"finra\\005Fsymbols"', "a name with escapes"),
    ],
)
def test_a_query_as_of_a_moment_reads_nothing_of_another(request, queries, query, message):
    schema = "main" if "sqlite" in request.node.name else "public"
    with pytest.raises(ConfigurationError, match=message):
        queries[1](query.format(schema=schema), as_of=NOON)


@pytest.fixture
def file(tmp_path: Path, clock: StoppedClock, prepared: Prepared) -> Path:
    """A SQLite database with a week of five symbols."""
    file = tmp_path / "few.sqlite"
    with Warehouse(prepared.sqlite(file), clock=clock) as warehouse:
        warehouse.prepare(holds="real")
        rows = [row(f"S{number}", trade_count=number) for number in range(1, 6)]
        PartitionLoader(warehouse, tmp_path / "artifacts").write_batch(*rows)
    return file


def test_sqlite_gives_rows_and_computed_values(file):
    found = sqlite.run_query(
        file,
        "-- the largest\nSELECT symbol, trade_count, sum(trade_count) OVER () AS total "
        "FROM finra_otc_weekly ORDER BY trade_count DESC; ",
        ALL,
        limit=5,
    )
    assert found.rows()[:2] == [("S5", 5, 15), ("S4", 4, 15)]
    texts = "SELECT value FROM json_each('[1, 2]')"
    assert sqlite.run_query(file, texts, ALL).rows() == [(1,), (2,)]
    counted = "WITH own AS (SELECT * FROM finra_otc_weekly) SELECT count(*) AS n FROM own"
    assert sqlite.run_query(file, counted, ALL).rows() == [(5,)]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("DELETE FROM finra_otc_weekly", "something else than to read"),
        ("SELECT 1; DELETE FROM finra_otc_weekly", "one statement at a time"),
        ("ATTACH 'other.sqlite' AS other", "something else than to read"),
        ("PRAGMA table_info(finra_otc_weekly)", "something else than to read"),
        ("SELECT name FROM pragma_table_info('finra_otc_weekly')", "invalid SQL"),
        ("SELECT sql FROM sqlite_master", "no table or view sqlite_master"),
        ("SELECT load_extension('x')", "invalid SQL"),
        ("SELECT secret_hash FROM access_keys", "access_keys.secret_hash, which holds hashes"),
        ("SELECT version_num FROM alembic_version", "invalid SQL"),
        ("SELECT 1 AS a, 2 AS a", "columns have the same name"),
        ("SELECT symbol FROM finra_otc_weekly LIMIT 6 -- )", "at most 4 rows"),
        ("SELECT 1 AS n UNION SELECT 'x'", "column n has values of several types"),
        ("", "it has no columns"),
        ("SELECT 'a' LIKE '" + "%a" * 150 + "'", "too complex"),
    ],
)
def test_sqlite_refuses_what_is_no_read_of_data(file, query: str, message: str):
    before = file.read_bytes()
    with pytest.raises(ConfigurationError, match=message):
        sqlite.run_query(file, query, ALL, limit=4)
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    "query",
    [
        "WITH v_finra_otc_weekly AS (SELECT key_id FROM access_keys) "
        "SELECT * FROM v_finra_otc_weekly",
        "WITH finra_symbols AS (SELECT key_id FROM access_keys) SELECT * FROM finra_symbols",
        "SELECT * FROM (SELECT key_id FROM access_keys) AS finra_symbols",
        "SELECT symbol FROM finra_symbols WHERE EXISTS (SELECT 1 FROM access_keys)",
    ],
)
def test_a_name_that_a_query_gives_opens_no_table(file, query: str):
    readable = Readable({"finra_symbols", "v_finra_otc_weekly", "finra_otc_weekly"})
    with pytest.raises(ConfigurationError, match="access_keys, which may not be read"):
        sqlite.run_query(file, query, readable)


def test_sqlite_ends_what_takes_long_and_refuses_what_is_large(file):
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT sum(i) FROM n"
    with pytest.raises(ConfigurationError, match=r"a query of at most 0\.2 s"):
        sqlite.run_query(file, endless, ALL, timeout_seconds=0.2)
    with pytest.raises(ConfigurationError, match="1,048,576 bytes each"):
        sqlite.run_query(file, "SELECT zeroblob(5000000) AS large", ALL)
    many = "SELECT printf('%300s', symbol) AS text FROM finra_otc_weekly LIMIT {}"
    assert len(sqlite.run_query(file, many.format(3), ALL, max_bytes=1_000)) == 3
    with pytest.raises(ConfigurationError, match="1,000 bytes together"):
        sqlite.run_query(file, many.format(4), ALL, max_bytes=1_000)


def test_sqlite_reads_computed_tables_as_of_a_moment(file):
    query = (
        "WITH own AS (SELECT symbol FROM finra_otc_weekly) SELECT count(*) AS n, value "
        "FROM own, json_each('[7]') GROUP BY value"
    )
    assert sqlite.run_query(file, query, ALL, as_of=NOON).rows() == [(5, 7)]
    counted = "WITH own AS (SELECT * FROM finra_otc_weekly) SELECT count(*) AS n FROM own"
    assert sqlite.run_query(file, counted, ALL, as_of=NOON).rows() == [(5,)]


@pytest.mark.parametrize("content", [None, b"no database" * 100])
def test_a_file_that_cannot_be_read_is_no_fault_of_the_query(tmp_path, content):
    file = tmp_path / "damaged.sqlite"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(TransientError, match="the database cannot be read"):
        sqlite.run_query(file, "SELECT symbol FROM finra_otc_weekly", ALL)


@pytest.mark.slow
def test_each_role_reads_on_sqlite_what_it_reads_by_the_api(file):
    from orchestration_project.gateway.api.analyst_sql import readable_tables
    from orchestration_project.gateway.api.data import served

    refused = set[str]()
    for is_admin in (True, False):
        readable = Readable.of_role(readable_tables(is_admin), is_admin=is_admin)
        for name in known_tables():
            query = f"SELECT * FROM {name} LIMIT 0"  # noqa: S608 - names of our tables
            if name in readable.tables:
                sqlite.run_query(file, query, readable)
            else:
                with pytest.raises(ConfigurationError, match=r"which may not be read|hashes"):
                    sqlite.run_query(file, query, readable)
                refused.add(name)
    assert set(known_tables()) - refused <= served().keys()
    assert {"access_keys", "access_sessions", "inbox"} <= refused
