"""FINRA's routes of the API: the trading of a week and tier, and gold as of a time."""

import io
from datetime import date
from typing import Literal

from pydantic import Field
from starlette.responses import Response

from orchestration_project.domains.api.models import Page
from orchestration_project.domains.finra.selection import week_ending_on
from orchestration_project.engine.warehouse.as_of import DerivedAsOf, derive_as_of
from orchestration_project.errors import ConfigurationError
from orchestration_project.gateway.api.data import (
    FILE,
    MEDIA_TYPES,
    USUAL_ROWS,
    Text,
    page_response,
    read_page,
)
from orchestration_project.gateway.api.operation import Body, Call, Moment, Operation, Parameters
from orchestration_project.gateway.api.problems import not_found, problem_of
from orchestration_project.gateway.api.runs import MAX_PAGE_ENTRIES, Name
from orchestration_project.services.export import WRITERS
from orchestration_project.tables.catalogue import relation

TRADE_ACTIVITY = "v_finra_otc_weekly"


class Activity(Parameters):
    """Week and tier to read."""

    week_ending: date = Field(description="The Friday on which the week ends")
    tier: Name = Field(description="Such as T1")
    symbol: Name | None = Field(None, description="Symbol; default: all")
    limit: int = Field(USUAL_ROWS, ge=1, le=MAX_PAGE_ENTRIES, description="Maximum number of rows")
    cursor: Text | None = Field(None, description="`next_cursor` of the previous page")


async def trade_activity(call: Call[Activity, Body]) -> Response:
    """Read the trading of a week and tier, a row for each symbol and venue or firm."""
    wanted = call.query
    try:
        week = week_ending_on(wanted.week_ending.isoformat())
    except ConfigurationError as error:
        raise problem_of(error, 422) from error
    wheres = [f"week_start={week}", f"tier={wanted.tier}"]
    wheres += [f"symbol={wanted.symbol}"] if wanted.symbol is not None else []
    chosen = relation(TRADE_ACTIVITY)
    found = await call.services.in_thread(
        read_page, call.services, chosen, (), wheres, wanted.cursor, wanted.limit
    )
    if not found.rows and wanted.symbol is None and wanted.cursor is None:
        raise not_found("nothing is landed of it")
    return page_response(TRADE_ACTIVITY, found)


class Gold(Parameters):
    """Partition of a gold table, and the time of which it is."""

    name: Name = Field(description="The name of a gold table")
    partition: Name = Field(
        description="T1|2025-11-10; Monday or day of tables of all tiers; symbol of prices; all"
    )
    as_of: Moment | None = Field(None, description="Of what was loaded by then; default: all")
    published_by: date | None = Field(
        None, description="Of what FINRA had published by that day; default: all"
    )
    format: Literal["csv", "parquet"] = Field("parquet", description="Format of the response")


async def read_gold(call: Call[Gold, Body]) -> Response:
    """Derive a partition of a gold table as of a time, of weekly rows, and send it as a file.

    The header X-Missing-Earlier-State counts weekly rows that are left out.
    """
    wanted = call.query
    try:
        found = await call.services.in_thread(_derive, call)
    except ConfigurationError as error:
        raise problem_of(error, 422) from error
    content = io.BytesIO()
    WRITERS[wanted.format]([found.rows], content)
    headers = {
        "content-disposition": f'attachment; filename="{wanted.name}.{wanted.format}"',
        "cache-control": "no-store",
        "x-missing-earlier-state": str(len(found.left_out.keys)),
        "x-undated": str(found.left_out.undated_count),
    }
    return Response(content.getvalue(), 200, headers, MEDIA_TYPES[wanted.format])


def _derive(call: Call[Gold, Body]) -> DerivedAsOf:
    wanted, services = call.query, call.services
    return derive_as_of(
        services.warehouse,
        services.registry().tables_as_of,
        wanted.name,
        wanted.partition,
        at=wanted.as_of,
        day=wanted.published_by,
    )


OPERATIONS = (
    Operation(
        "GET",
        "/finra/gold/{name}",
        "viewer",
        "Derive gold as of a time",
        read_gold,
        query=Gold,
        media={"text/csv": FILE, "application/vnd.apache.parquet": FILE},
    ),
    Operation(
        "GET",
        "/finra/trade-activity",
        "viewer",
        "Read the trading of a week",
        trade_activity,
        query=Activity,
        answer=Page,
    ),
)
