"""A dataset that tests declare, and deliveries of it as a source would write them."""

from collections.abc import Iterable, Sequence
from datetime import date
from functools import partial
from typing import Any

import polars as pl
from sqlalchemy import MetaData

from orchestration_project.domains.finra.declaration import (
    MIDNIGHT,
    FinraDataset,
    finra_dataset,
)
from orchestration_project.engine.contracts.contract import Claim
from orchestration_project.engine.contracts.partitioning import Partition, fill_json
from orchestration_project.engine.own.contracts import find_day_field
from orchestration_project.engine.own.partitions import Weekly
from orchestration_project.engine.own.sources import HttpSource
from orchestration_project.tables.schema import (
    HISTORY,
    METADATA,
    Field,
    count,
    dataset_table,
    day,
    text,
)
from tests.expecting import expect_type

FIELDS = (
    Field("weekOf", day("week_start", "Monday of the week", key=True)),
    Field("region", text("region", "Where; one of two", key=True)),
    Field("bond", text("cusip", "Which bond", key=True), form="cusip"),
    Field("note", text("note", "What else; blank: nothing", key=True), may_be_blank=True),
    Field("trades", count("trade_count", "Trades")),
    Field("volume", count("volume", "Volume x 10^6; NULL: none", optional=True), scale=6),
    Field("remark", text("remark", "Words; NULL: none", optional=True)),
    Field("seen", day("seen_date", "Day; NULL: none", optional=True)),
)


TABLE = dataset_table("finra_test_dataset", "One row per week, region, bond and note.", *FIELDS)
for each in (TABLE, TABLE.info[HISTORY]):
    METADATA.remove(each)  # none of the project's

declare = partial(
    finra_dataset,
    "testGroup",
    "testDataset",
    TABLE,
    FIELDS,
    Weekly(
        "2014-05-12",
        published=MIDNIGHT,
        delay_days=8,
        column="week_start",
        value_column="region",
        values=("EAST", "WEST"),
    ),
    licence="none",
    checks=(
        Claim("has_trades", "Every row has a trade.", pl.col("trade_count") == 0),
        Claim("is_quiet", "Few trades.", pl.col("trade_count") > 1000, only_warns=True),
    ),
)


DATASET = declare()


def query_of(dataset: FinraDataset, partition: Partition) -> dict[str, Any]:
    """Return the query for a partition."""
    source = expect_type(dataset.declared.source, HttpSource)
    texts = dataset.partitioning.texts_of(partition)
    return fill_json(source.json_query, date.fromisoformat(texts[0]), partition.value)


def check_filters_and_list_values(dataset: FinraDataset, partition: Partition) -> dict[str, str]:
    """Return the values of fields by which a partition is queried."""
    filters = query_of(dataset, partition)["compareFilters"]
    assert all(query_filter["compareType"] == "EQUAL" for query_filter in filters)
    return {query_filter["fieldName"]: query_filter["fieldValue"] for query_filter in filters}


def known_partitions(
    dataset: FinraDataset, listed: Iterable[Sequence[str]]
) -> tuple[list[Partition], list[str]]:
    """Return the partitions that a list has, and values that are not known."""
    name = find_day_field(dataset.declared)
    return dataset.partitioning.known_in(listed, dataset=dataset.name, day_field=name)


def own_metadata() -> MetaData:
    """Return metadata that makes just the dataset's tables."""
    metadata = MetaData()
    for table in (DATASET.table, DATASET.history):
        table.to_metadata(metadata)
    return metadata


WEEK = "2026-01-05"
APPLE, CISCO, GOOGLE = "037833100", "17275R102", "38259P508"


def record(bond: str = APPLE, /, **changes: object) -> dict[str, object]:
    """Return one record, as the source has it."""
    usual: dict[str, object] = {
        "weekOf": WEEK,
        "region": "EAST",
        "bond": bond,
        "note": "",
        "trades": 7,
        "volume": 1.5,
        "remark": None,
        "seen": "2026-01-09",
    }
    return usual | changes
