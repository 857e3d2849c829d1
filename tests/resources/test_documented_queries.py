"""No query of the docs reads a table whole that grows with what is loaded, and gold's are right."""

import re
from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import Connection, text

from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.settings import PROJECT_ROOT
from orchestration_project.tables.catalogue import known_tables
from tests.resources.gold_loads import derive, load_week
from tests.resources.weeks import MONDAY, PartitionLoader

READ_WHOLE = {
    "access_audit": "the page asks for all requests",
    "audits": "the newest of all tables; some ten rows a delivery",
    "documents_files": "the page asks for all files",
    "fences": "one row per partition",
    "finra_symbols": "one row per symbol; a universe is chosen of all",
    "inbox": "the page asks for all messages",
    "mqtt_bridges": "one row per broker",
    "operations_alert_deliveries": "one row per alert and channel",
    "operations_backups": "one row per backup",
    "operations_control_tower": "one row per asset and window",
    "operations_damaged_artifacts": "one row per damaged file",
    "operations_hosts": "one row per process",
    "operations_runs": "the page asks for sums over all runs",
    "operations_schedules": "one row per schedule",
    "operations_sessions": "sums of all runs, of which it shows one",
    "operations_slo": "one row per objective",
    "operations_steps": "the page asks for all failed checks",
    "prices_symbol_months": "one row per symbol and month; the states of all are counted",
    "saas_dead_letters": "one row per refused task",
    "web_frontier": "the page asks for all sites",
}
"""Tables that a query of the docs may read whole, and why."""

NAMED = re.compile(r"\b(?:FROM|JOIN)\s+(\w+)(?:\s+(?:AS\s+)?(?!(?:USING|ON|WHERE|JOIN)\b)(\w+))?")


def queries() -> Iterator[tuple[str, str]]:
    """Yield each SELECT that a page shows, with the page's name."""
    for page in sorted(PROJECT_ROOT.glob("docs/**/*.md")):
        for block in re.findall(r"```sql\n(.*?)```", page.read_text(), re.DOTALL):
            statements = (part.strip() for part in block.split(";"))
            complete = (statement for statement in statements if "…" not in statement)
            yield from ((page.name, line) for line in complete if re.match("SELECT|WITH", line))


def read_whole(connection: Connection, query: str) -> set[str]:
    """Return the tables that SQLite reads neither by a key nor, with a LIMIT, by an index."""
    tables = {alias or name: name for name, alias in NAMED.findall(query)}
    plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}")
    lines = [str(step[3]) for step in plan]
    is_first_few = "LIMIT" in query and not any("FOR ORDER BY" in line for line in lines)
    scans = [line for line in lines if line.startswith("SCAN ")]
    found = {scan.split()[1] for scan in scans if not (is_first_few and "INDEX" in scan)}
    return {tables.get(name, name) for name in found} & known_tables().keys()


sqlite = pytest.mark.parametrize("warehouse", ["sqlite"], indirect=True)


@sqlite
def test_no_documented_query_reads_a_growing_table_whole(warehouse: Warehouse):
    found: set[str] = set()
    with warehouse.reading() as connection:
        for page, query in queries():
            tables = read_whole(connection, query)
            assert tables <= READ_WHOLE.keys(), (page, query)
            found |= tables
    assert found == READ_WHOLE.keys()


@sqlite
@pytest.mark.parametrize(
    "query",
    [
        "SELECT symbol FROM finra_otc_weekly WHERE symbol = 'AAA'",
        "SELECT w.symbol FROM finra_otc_weekly AS w JOIN captures c USING (capture_id)",
        "SELECT symbol FROM finra_otc_weekly_history ORDER BY share_quantity_micros LIMIT 1",
    ],
)
def test_a_query_that_reads_all_rows_is_found(warehouse: Warehouse, query: str):
    with warehouse.reading() as connection:
        assert any(name.startswith("finra_otc") for name in read_whole(connection, query))


@pytest.mark.slow_on_postgresql
def test_common_queries_have_the_rows_of_gold_and_those_of_a_week_of_one_tier(
    partition_loader: PartitionLoader,
):
    """T1 is published two weeks before the other tiers, so its newest weeks are alone."""
    weeks = [MONDAY, MONDAY + timedelta(weeks=1)]
    for week in weeks:
        for tier in ("T1", "T2", "OTCE") if week == MONDAY else ("T1",):
            rows = [{"symbol": "AAA", "share_quantity": 300}, {"symbol": "BBB"}]
            load_week(partition_loader, tier, week, rows)
    derive(partition_loader, weeks[:1])
    requested = [query for page, query in queries() if page == "query-by-sql.md"]
    with partition_loader.warehouse.reading() as connection:
        rows_of = [connection.execute(text(query)) for query in requested]
        found = [sorted(tuple(row)[1:] for row in rows) for rows in rows_of]
    tiers = ["OTCE", "T1", "T1", "T2"]
    assert found == [
        [(tier, 300_000_000, 1.0) for tier in tiers],
        [(tier, "XATS", 300_000_000) for tier in tiers],
        [(tier, 400_000_000, 1) for tier in tiers],
        [
            (symbol, micros, None)
            for symbol, micros in (("AAA", 300_000_000), ("BBB", 100_000_000))
            for _ in "123"
        ],
        [("ATS", "XATS", shares) for shares in (400, 1200)],
    ]
