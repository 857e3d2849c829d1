"""Datasets of FINRA's Query API, or in its shape, as the declarations that a project makes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property

from sqlalchemy import Table

from orchestration_project.domains.finra.calendar import FIRST_WEEK_OF_ALL, is_closed
from orchestration_project.engine.contracts.contract import Claim, Contract
from orchestration_project.engine.contracts.delimited import DELIMITER, Parsed, parse_parts
from orchestration_project.engine.contracts.partitioning import Partition, Partitioning
from orchestration_project.engine.contracts.parts import Part
from orchestration_project.engine.contracts.queries import FieldList, Listing
from orchestration_project.engine.own.contracts import build_contract, build_partitioning
from orchestration_project.engine.own.declarations import Dataset
from orchestration_project.engine.own.packaged import build_fields
from orchestration_project.engine.own.partitions import Calendar, Daily, Partitions
from orchestration_project.engine.own.sources import http_source, offsets
from orchestration_project.tables.schema import (
    HISTORY,
    Field,
    asset_of_table,
    key_names,
    list_source_fields,
)

FIXED_INCOME, OTC_MARKET = "fixedIncomeMarket", "otcMarket"
"""Groups of datasets: the first answers to clients with a credential alone."""

API_URL = "https://api.finra.org"
"""FINRA's own server; FINRA_API_URL may name another one."""

MIDNIGHT = "00:00 America/New_York"
TRADING_DAYS = Daily(
    FIRST_WEEK_OF_ALL,
    calendar=Calendar(closed=is_closed, skips=False),
    zone="America/New_York",
    column="trade_date",
)
"""Partitions by day; FINRA lists which days there are."""

PAGING = offsets(
    size=5000,
    limit="limit",
    total="Record-Total",
    page_total="Total-Records-On-Page",
    max_offset=500_000,
)


@dataclass(frozen=True)
class Endpoints:
    """Addresses of a dataset: of queries, of its partitions, and of its fields."""

    data_url: str
    listing: Listing
    fields: FieldList


def endpoints(group: str, name: str) -> Endpoints:
    """Return the addresses of a dataset of the Query API."""
    of_dataset = f"group/{group}/name/{name}"
    listing = f"{API_URL}/partitions/{of_dataset}"
    return Endpoints(
        f"{API_URL}/data/{of_dataset}",
        Listing(listing, path="availablePartitions", member="partitions"),
        FieldList(f"{API_URL}/metadata/{of_dataset}", path="fields"),
    )


@dataclass(frozen=True)
class FinraDataset:
    """A declared dataset, and what it has beside its declaration.

    Attributes:
        group: FINRA's name of its group.
        name: FINRA's name of it.
        declared: Its declaration.
        table: Where it is loaded.
        fields: The fields that fill the table.
        is_licensed: Whether it takes a feed of one's own: FINRA does not publish it.
        metadata_columns: Columns whose change alone is not a restatement.
    """

    group: str
    name: str
    declared: Dataset
    table: Table
    fields: Sequence[Field]
    is_licensed: bool = False
    metadata_columns: Sequence[str] = ()

    @property
    def noun(self) -> str:
        """Its name among the assets of this domain."""
        return asset_of_table(self.table).split("/")[1]

    @property
    def history(self) -> Table:
        """History table of replaced and removed rows."""
        return self.table.info[HISTORY]

    @cached_property
    def partitioning(self) -> Partitioning:
        """Its partitions."""
        return build_partitioning(self.declared)

    @cached_property
    def contract(self) -> Contract:
        """Contract of its deliveries."""
        return build_contract(self.declared, self.table, self.fields, b"")

    @property
    def first_day(self) -> date | None:
        """The first partition's day, where FINRA_FIRST_WEEK does not say it: FINRA ended it."""
        partitions = self.declared.partitions
        return partitions.since if partitions.calendar.last_day else None

    @property
    def needs_credential(self) -> bool:
        """Whether FINRA answers to clients with a credential alone, which is free."""
        return self.group == FIXED_INCOME and not self.is_licensed

    @property
    def access(self) -> str:
        """Requirement of access, in a few words."""
        if self.is_licensed:
            return "a licensed feed"
        return "a free credential" if self.needs_credential else "open to all"

    def parse(self, parts: Sequence[Part], partition: Partition) -> Parsed:
        """Return the texts of a delivery, whichever partition it is of.

        Raises:
            ContractError: A part's header lacks a field of the dataset.
        """
        return parse_parts(parts, [field.name for field in self.contract.fields], of=self.name)


def finra_dataset(
    group: str,
    name: str,
    table: Table,
    fields: Sequence[Field],
    partitions: Partitions,
    *,
    licence: str,
    checks: Sequence[Claim],
    rule_version: str = "3",
    only_rows: Mapping[str, str] | None = None,
    is_licensed: bool = False,
    metadata_columns: Sequence[str] = (),
) -> FinraDataset:
    """Declare a dataset whose partitions are queried in an order that makes their pages certain.

    ``only_rows`` are values of fields that choose the rows of a partition.
    """
    where, source_fields = endpoints(group, name), list_source_fields(fields)
    names = {own_field.column.key: own_field.name for own_field in source_fields}
    texts = {names[partitions.column]: "{partition}"}
    texts |= {names[partitions.value_column]: "{value}"} if partitions.value_column else {}
    query = {
        "fields": [own_field.name for own_field in source_fields],
        "compareFilters": [
            {"fieldName": field, "fieldValue": text, "compareType": "EQUAL"}
            for field, text in {**texts, **(only_rows or {})}.items()
        ],
        "sortFields": [
            own_field.name
            for own_field in source_fields
            if own_field.column.primary_key and own_field.name not in texts
        ],
        "delimiter": DELIMITER,
        "quoteValues": False,
    }
    declared = Dataset(
        table.name,
        key=key_names(table),
        partitions=partitions,
        fields=build_fields(fields),
        source=http_source(
            where.data_url,
            json_query=query,
            headers={"Accept": "text/plain"},
            paging=PAGING,
            listing=where.listing,
            field_list=where.fields,
            format="csv",
            delimiter=DELIMITER,
            quote="",
        ),
        checks=checks,
        licence=licence,
        rule_version=rule_version,
    )
    return FinraDataset(group, name, declared, table, fields, is_licensed, metadata_columns)
