"""Pages of a table on both databases: they make up the table, in the order of its key."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.tables.catalogue import relation
from orchestration_project.tables.queries.paging import cursor_after, page
from orchestration_project.tables.schema import key_names
from orchestration_project.tables.spine import source_fields

BEGIN = datetime(2026, 1, 1, 12, 0, 0, 123456, UTC)
DATASETS, FIELDS = ("B", "a", "Ä", "é\\\t'"), ("x", "x y")


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def warehouse(request, tmp_path_factory):
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('paging')}/tables.sqlite"
    else:
        url = request.getfixturevalue("postgres_url")
    with Warehouse(url, clock=Clock()) as warehouse:
        warehouse.prepare(holds="demo")
        rows = [
            {
                "source": "demo",
                "dataset": dataset,
                "field_name": name,
                "first_seen_at": BEGIN + timedelta(microseconds=number),
                "field_type": "String",
                "last_seen_at": BEGIN,
                "gone_at": None,
            }
            for dataset in DATASETS
            for name in FIELDS
            for number in range(2)
        ]
        with warehouse.writing() as connection:
            connection.execute(insert(source_fields), rows)
        yield warehouse


@pytest.mark.slow
@pytest.mark.parametrize("limit", [1, 3, 5, 100])
def test_pages_make_up_the_table_in_the_order_of_its_key(warehouse, limit):
    chosen = relation("source_fields")
    names = chosen.columns([])
    whole = warehouse.frame(page(chosen, names, [], cursor=None, limit=None), source_fields)
    found, cursor = [], None
    while len(found) <= whole.height:
        statement = page(chosen, names, [], cursor=cursor, limit=limit)
        rows = warehouse.frame(statement, source_fields).rows(named=True)
        if not rows:
            break
        found += rows
        cursor = cursor_after(chosen, rows[-1])
    assert found == whole.rows(named=True)
    assert len(found) == len(DATASETS) * len(FIELDS) * 2
    keys = [[str(row[name]).encode() for name in key_names(source_fields)] for row in found]
    assert keys == sorted(keys)


@pytest.mark.slow_on_postgresql
def test_a_page_is_looked_up_by_its_whole_key_however_deep_it_lies(warehouse):
    chosen = relation("source_fields")
    key = {"source": "demo", "dataset": "a", "field_name": "x", "first_seen_at": BEGIN}
    statement = page(chosen, ["field_type"], [], cursor=cursor_after(chosen, key), limit=1)
    with warehouse.reading() as connection:
        is_sqlite = connection.dialect.name == "sqlite"
        if not is_sqlite:
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        sql = statement.compile(connection, compile_kwargs={"literal_binds": True})
        plan = connection.exec_driver_sql(f"EXPLAIN {'QUERY PLAN' if is_sqlite else ''} {sql}")
        plan_text = "\n".join(str(line) for line in plan)
    names = ", ".join(key_names(source_fields))
    looked_up = f"({names.replace(' ', '')})>(" if is_sqlite else f"Cond: (ROW({names}) > ROW("
    assert looked_up in plan_text


@pytest.mark.slow
def test_pages_in_iso_have_the_same_rows_with_moments_as_text(warehouse):
    chosen = relation("source_fields")
    names = chosen.columns([])
    whole = warehouse.frame(page(chosen, names, [], cursor=None, limit=None), source_fields)
    found, cursor = [], None
    for _ in range(whole.height):
        statement = page(chosen, names, [], cursor=cursor, limit=1, in_iso=True)
        with warehouse.reading() as connection:
            [row] = connection.execute(statement).mappings().all()
        found.append(dict(row))
        cursor = cursor_after(chosen, row)
    assert found == [
        {
            name: value.strftime("%Y-%m-%dT%H:%M:%S.%fZ") if isinstance(value, datetime) else value
            for name, value in row.items()
        }
        for row in whole.rows(named=True)
    ]
