"""Declarations of every table: comments, keys, types; and timestamps that are never naive."""

from datetime import UTC, datetime, timedelta, timezone

import polars as pl
import pytest
from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateTable

from orchestration_project.domains.finra.datasets import DATASETS
from orchestration_project.domains.finra.declaration import FinraDataset
from orchestration_project.domains.finra.tables import weekly as finra
from orchestration_project.engine.contracts.values import derive_schema
from orchestration_project.tables.catalogue import TABLE_MODULES, asset_of, table_of
from orchestration_project.tables.schema import (
    METADATA,
    SQLITE_TIMESTAMP,
    UtcTimestamp,
    key_names,
)

HISTORY = "_history"
PREFIXES = {
    "spine": "",
    "cboe": "",
    "webhooks": "events",
    "erasures": "operations",
    "finra_market": "finra",
    "finra_short": "finra",
    "finra_symbols": "finra",
    "finra_weekly": "finra",
    "operations_alerts": "operations",
    "operations_artifacts": "operations",
    "operations_deployment": "operations",
    "operations_edits": "operations",
    "operations_objectives": "operations",
    "operations_runs": "operations",
}
"""Title of tables whose module has another name than their prefix."""

NO_OWN_TABLES = (
    *("catalogue", "conditions", "operations_events"),
    *("finra_lineage", "key_groups", "queries", "schema", "views"),
)
"""Modules that declare none; tables of FINRA's datasets have names that its data suggests."""

MODULES = {
    subject: {name: table for name, table in vars(module).items() if isinstance(table, Table)}
    for subject, module in TABLE_MODULES.items()
    if subject not in (*NO_OWN_TABLES, "finra_datasets", "finra_equity_datasets")
}
TABLES = list(METADATA.tables.values())
EACH_TABLE = pytest.mark.parametrize("table", TABLES, ids=[table.name for table in TABLES])
POSTGRES, SQLITE = postgresql.dialect(), sqlite.dialect()
NOON_IN_NEW_YORK = datetime(2025, 11, 10, 12, 0, 0, 123456, timezone(timedelta(hours=-5)))


@pytest.mark.parametrize("module", MODULES)
def test_a_table_has_the_name_of_its_variable_and_its_domains_prefix(module: str):
    declared = MODULES[module]
    assert {name: table.name for name, table in declared.items()} == {
        name: name for name in declared
    }
    prefix = PREFIXES.get(module, module)
    assert {f"{name}_".startswith(f"{prefix}_") for name in declared} == {bool(prefix)}


@pytest.mark.parametrize("dataset", DATASETS, ids=lambda dataset: dataset.name)
def test_a_dataset_has_a_table_of_its_fields_and_a_key_that_begins_with_its_partition(
    dataset: FinraDataset,
):
    columns = [column.name for column in dataset.table.columns]
    fields = [field.column.name for field in dataset.fields]
    assert columns == [*fields, "capture_id", "known_from"]
    assert dataset.history.name == f"{dataset.table.name}_history"
    columns = dataset.partitioning.columns
    assert set(columns) <= set(key_names(dataset.table))
    by_column = {field.column.name: field for field in dataset.fields}
    kinds = [by_column[name].kind for name in columns]
    assert kinds == ["Date", "String"][: len(kinds)]
    assert bool(dataset.partitioning.values) == (len(kinds) > 1)
    assert table_of(asset_of(dataset.table.name)) == dataset.table.name


def test_the_name_of_a_tables_asset_is_its_own_unless_it_says_otherwise():
    names = ("finra_otc_weekly", "finra_treasury_weekly", "fact_bond_trade_activity", "x_y_z")
    assets = ["finra/otc_weekly", "finra/treasury_weekly", "finra/bond_trade_activity", "x/y_z"]
    assert [asset_of(name) for name in names] == assets
    assert [table_of(name) for name in assets] == list(names)


@EACH_TABLE
def test_a_table_says_what_a_row_is_and_each_column_what_it_holds(table: Table):
    assert str(table.comment).startswith("One row per ") or table.name == "database_labels"
    assert str(table.comment).endswith(".")
    assert [column.name for column in table.columns if not column.comment] == []


@EACH_TABLE
def test_a_table_has_a_key_that_is_never_null_and_comes_first(table: Table):
    key = key_names(table)
    names = [column.name for column in table.columns]
    first = key[:-1] if table.name.endswith(HISTORY) else key  # known_from stays in its place
    assert key
    assert names[: len(first)] == first
    assert [name for name in key if table.c[name].nullable] == []


def test_a_history_has_the_columns_of_its_table_and_until_when_and_why():
    current, history = finra.finra_otc_weekly, finra.finra_otc_weekly_history
    own = ["known_to", "change_cause", "rule_version"]
    assert [column.name for column in history.columns] == [
        *(column.name for column in current.columns),
        *own,
        *("ended_on", "is_load_day"),
    ]
    for column in current.columns:
        copy = history.c[column.key]
        assert (type(copy.type), copy.nullable, copy.comment) == (
            type(column.type),
            column.nullable,
            column.comment,
        )
    assert key_names(history) == [*key_names(current), "known_from"]
    assert [history.c[name].nullable for name in own] == [False] * 3


def test_the_share_of_the_largest_venue_has_one_name():
    names = {
        column.name
        for table in METADATA.tables.values()
        for column in table.columns
        if "venue_share" in column.name
    }
    assert names == {"top_venue_share", "top_3_venue_share", "top_5_venue_share"}


def test_the_key_of_the_weekly_table_is_week_tier_market_symbol_and_venue():
    key = ["week_start", "tier", "market", "symbol", "venue_id"]
    assert key_names(finra.finra_otc_weekly) == key


def test_a_schema_has_the_type_of_each_column():
    assert derive_schema(finra.finra_venue_week) == {
        "week_start": pl.Date(),
        "tier": pl.String(),
        "market": pl.String(),
        "venue_id": pl.String(),
        "share_quantity": pl.Decimal(38, 6),
        "trade_count": pl.Int64(),
        "symbol_count": pl.Int64(),
        "tier_share": pl.Float64(),
        "rank": pl.Int64(),
        "share_in_market": pl.Float64(),
        "rank_in_market": pl.Int64(),
        "notional_usd": pl.Int64(),
        "vwap": pl.Float64(),
        "notional_share": pl.Float64(),
        "firm_crd_number": pl.Int64(),
        "participant_name": pl.String(),
        "published_at": pl.Datetime("us", "UTC"),
        "known_from": pl.Datetime("us", "UTC"),
    }
    names = ["known_from", "symbol"]
    known_from = pl.Datetime("us", "UTC")
    assert derive_schema(finra.finra_otc_weekly, names) == {
        "known_from": known_from,
        "symbol": pl.String(),
    }


@EACH_TABLE
def test_every_column_has_a_type_in_memory(table: Table):
    assert list(derive_schema(table)) == [column.key for column in table.columns]


@EACH_TABLE
def test_names_give_the_kind_of_a_column(table: Table):
    kinds = {
        "_start": pl.Date(),
        "_date": pl.Date(),
        "_at": pl.Datetime("us", "UTC"),
        "_usd": pl.Int64(),
        "_bytes": pl.Int64(),
        "_share": pl.Float64(),
        "_count": pl.Int64(),
        "_quantity": pl.Decimal(38, 6),
        "_number": pl.Int64(),
    }
    schema = derive_schema(table)
    assert {
        name: schema[name]
        for name in schema
        for suffix, kind in kinds.items()
        if name.endswith(suffix) and schema[name] != kind
    } == {}


@EACH_TABLE
def test_text_is_compared_byte_by_byte_and_sqlite_clusters_by_the_key(table: Table):
    ddl = str(CreateTable(table).compile(dialect=POSTGRES))
    assert ddl.count(' TEXT COLLATE "C"') == ddl.count(" TEXT")
    assert ddl.count(" TIMESTAMP WITH TIME ZONE") == ddl.count(" TIMESTAMP")  # microseconds
    assert " SERIAL" not in ddl
    assert "WITHOUT ROWID" in str(CreateTable(table).compile(dialect=SQLITE))


@pytest.mark.parametrize("dialect", [POSTGRES, SQLITE], ids=["postgresql", "sqlite"])
def test_a_naive_timestamp_is_refused(dialect: postgresql.base.PGDialect):
    naive = NOON_IN_NEW_YORK.replace(tzinfo=None)
    with pytest.raises(ValueError, match=r"a timestamp needs a time zone, got datetime\.datetime"):
        UtcTimestamp().process_bind_param(naive, dialect)


@pytest.mark.parametrize("dialect", [POSTGRES, SQLITE], ids=["postgresql", "sqlite"])
def test_a_timestamp_comes_back_in_utc_with_its_microseconds(dialect: postgresql.base.PGDialect):
    kind = UtcTimestamp()
    stored = kind.process_bind_param(NOON_IN_NEW_YORK, dialect)
    assert stored is not None
    assert stored.replace(tzinfo=None) == datetime(2025, 11, 10, 17, 0, 0, 123456)  # noqa: DTZ001
    back = kind.process_result_value(stored, dialect)
    assert back == NOON_IN_NEW_YORK
    assert back is not None
    assert back.tzinfo is UTC
    assert kind.process_result_value(NOON_IN_NEW_YORK, dialect) == NOON_IN_NEW_YORK
    assert kind.process_bind_param(None, dialect) is None
    assert kind.process_result_value(None, dialect) is None


def test_the_text_of_a_timestamp_sorts_and_reads_as_sqlalchemy_writes_it():
    moments = pl.Series([NOON_IN_NEW_YORK.astimezone(UTC)], dtype=pl.Datetime("us", "UTC"))
    assert moments.dt.strftime(SQLITE_TIMESTAMP).to_list() == ["2025-11-10 17:00:00.123456"]
