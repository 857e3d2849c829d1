"""`dbt-sources`: describe the tables as sources of a dbt project."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import click

from orchestration_project.cli.commands import Command

if TYPE_CHECKING:
    from dagster import PartitionsDefinition
    from sqlalchemy import Table

    from orchestration_project.registry import Domain

PARTITIONS_COMPARED = 10
"""The newest partitions, whose longest gap is how old loaded rows may be."""

GRACE = timedelta(days=1)


@click.command("dbt-sources", cls=Command)
@click.option(
    "--schema",
    metavar="NAME",
    help="Schema of the tables in dbt. [default: DATABASE_SCHEMA, else public; main of SQLite]",
)
def dbt_sources(schema: str | None) -> int:
    """Write a sources.yml for dbt: tables of the domains that are on, and those that you declare.

    It has descriptions, tests of keys and required columns, freshness, and the keys of Dagster's
    assets, so that dagster-dbt draws the lineage to them.
    """
    import yaml

    from orchestration_project.catalog import REGISTRY
    from orchestration_project.engine.own_derived import read_database_name
    from orchestration_project.settings import load_settings

    default = "main" if read_database_name() == "sqlite" else "public"
    chosen = schema or load_settings().database_schema or default
    sources = [
        {
            "name": domain.name,
            "description": f"Tables of {domain.name}, loaded with captures, checks and history.",
            "schema": chosen,
            "tables": tables,
        }
        for domain in REGISTRY.domains
        if (tables := list(_iterate_tables(domain)))
    ]
    text = yaml.safe_dump(
        {"version": 2, "sources": sources}, sort_keys=False, allow_unicode=True, width=100
    )
    print(text, end="")  # noqa: T201 - the result
    return 0


def _iterate_tables(domain: "Domain") -> "Iterator[Mapping[str, Any]]":
    """Yield the tables of a domain's assets that say since when their rows are known."""
    import dagster as dg

    from orchestration_project.engine.warehouse.target import KNOWN_FROM
    from orchestration_project.tables.catalogue import METADATA, table_of

    for assets in domain.definitions.assets:
        if not isinstance(assets, dg.AssetsDefinition):
            continue
        for key in assets.keys:
            table = METADATA.tables.get(table_of(key.to_user_string()))
            if table is not None and KNOWN_FROM in table.c:
                yield _describe_table(table, key.path, assets.specs_by_key[key].partitions_def)


def _describe_table(
    table: "Table", asset: "Sequence[str]", partitions: "PartitionsDefinition[Any] | None"
) -> Mapping[str, Any]:
    from orchestration_project.engine.warehouse.target import KNOWN_FROM

    key = list(table.primary_key.columns)
    tests: list[Any] = []
    if len(key) > 1:
        joined = " || '|' || ".join(f"cast({column.name} as text)" for column in key)
        arguments = {"column_name": f"({joined})"}
        tests.append({"unique": {"name": f"unique_key_of_{table.name}", "arguments": arguments}})
    described: dict[str, Any] = {
        "name": str(table.name),
        "description": str(table.comment),
        "config": {"meta": {"dagster": {"asset_key": list(asset)}}},
        **({"data_tests": tests} if tests else {}),
        "columns": [
            {
                "name": str(column.name),
                "description": str(column.comment),
                **_build_column_tests(is_unique=key == [column], is_required=not column.nullable),
            }
            for column in table.columns
        ],
    }
    if (gap := _find_longest_gap(partitions)) is not None:
        described["config"] |= {
            "loaded_at_field": KNOWN_FROM,
            "freshness": {
                "warn_after": {"count": (gap + GRACE).days, "period": "day"},
                "error_after": {"count": (2 * gap + GRACE).days, "period": "day"},
            },
        }
    return described


def _build_column_tests(*, is_unique: bool, is_required: bool) -> Mapping[str, Any]:
    tests = [*(["unique"] if is_unique else []), *(["not_null"] if is_required else [])]
    return {"data_tests": tests} if tests else {}


def _find_longest_gap(partitions: "PartitionsDefinition[Any] | None") -> timedelta | None:
    """Return the longest time between the newest partitions; None: they are not of days."""
    import dagster as dg

    if isinstance(partitions, dg.MultiPartitionsDefinition):
        partitions = partitions.time_window_partitions_def
    if not isinstance(partitions, dg.TimeWindowPartitionsDefinition):
        return None
    keys = partitions.get_partition_keys()[-PARTITIONS_COMPARED:]
    days = [date.fromisoformat(key[: len("2026-01-01")]) for key in keys]  # hours may follow
    gaps = [later - earlier for earlier, later in pairwise(days)]
    return max(gaps, default=timedelta(days=7))
