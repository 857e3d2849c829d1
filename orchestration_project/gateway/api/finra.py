"""FINRA's routes of the API: the trading of a week and tier."""

from datetime import date

from pydantic import Field
from starlette.responses import Response

from orchestration_project.domains.api.models import Page
from orchestration_project.domains.finra.selection import week_ending_on
from orchestration_project.errors import ConfigurationError
from orchestration_project.gateway.api.data import USUAL_ROWS, Text, page_response, read_page
from orchestration_project.gateway.api.operation import Body, Call, Operation, Parameters
from orchestration_project.gateway.api.problems import not_found, problem_of
from orchestration_project.gateway.api.runs import MAX_PAGE_ENTRIES, Name
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


OPERATIONS = (
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
